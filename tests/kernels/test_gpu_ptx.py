"""Every CUDA kernel compiles for two generations of devices, without one, and does no arithmetic in float64."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from numba import boolean, float32, int32, int64, types

from hybridcast_kernels import devices

pytest.importorskip("numba_cuda")
pytestmark = pytest.mark.skipif(devices.simulated(), reason="the simulator compiles nothing")

if not devices.simulated():
    from numba.cuda import compile_ptx, dispatcher

    from hybridcast_kernels import advection_gpu, flow_gpu

PLANES, LINE = types.Array(float32, 3, "C"), types.Array(float32, 1, "C")
PARTS, LEADS = types.Array(float32, 2, "C"), types.Array(float32, 4, "C")
ADVECT = (PLANES, PLANES, PLANES, LINE, types.Array(int32, 1, "C"), LEADS)
ARGUMENTS = {
    "first_level": (PLANES, int64, float32, float32, PLANES, PLANES),
    "halve": (PLANES, PLANES, PLANES, PLANES),
    "warp": (PLANES, PLANES, LINE, PLANES, PLANES, PLANES),
    "tensor": (PLANES, PLANES, LINE, PLANES),
    "window": (PLANES, int64, int64, PLANES),
    "add_up": (PLANES, PARTS),
    "judge_trace": (PARTS, int64, boolean, boolean, LINE),
    "judge_motion": (PARTS, int64, LINE),
    "solve": (PLANES, PLANES, int64, float32, float32, LINE, PLANES),
    "start_from_mean": (LINE, PLANES),
    "smooth": (PLANES, int64, float32, LINE, PLANES),
    "enlarge": (PLANES, int64, PLANES),
    "finish": (PLANES, int64, LINE, PLANES),
    "fill": (PLANES, float32),
    "advect_nearest": ADVECT,
    "advect_linear": ADVECT,
    "advect_cubic": ADVECT,
    "filter_splines": (PLANES, int64, PLANES),
}
DEVICE_FUNCTIONS = {"follow", "plane_mean"}


def kernels():
    found = {**vars(flow_gpu), **vars(advection_gpu)}
    return {name: value for name, value in found.items() if isinstance(value, dispatcher.CUDADispatcher)}


def test_no_kernel_is_left_out():
    assert set(kernels()) == set(ARGUMENTS) | DEVICE_FUNCTIONS


@pytest.fixture
def ptx_of(monkeypatch):
    """Give a function that compiles a kernel for a compute capability."""

    def compile_for(name, capability):
        # numba asks the current device what to compile called functions for; there is none
        stub = SimpleNamespace(compute_capability=capability)
        monkeypatch.setattr(dispatcher, "get_current_device", lambda: stub)
        text, _ = compile_ptx(kernels()[name].py_func, ARGUMENTS[name], device=False, cc=capability)
        return text

    try:
        compile_for("fill", (8, 0))
    except OSError as error:
        pytest.skip(f"no CUDA compiler: {error}")
    return compile_for


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_it_compiles_and_knows_no_float64(ptx_of, name, capability):
    text = ptx_of(name, capability)
    assert f".target sm_{capability[0]}{capability[1]}" in text
    assert re.search(r"\.visible \.entry", text)
    assert ".f32" in text
    assert not re.findall(r"^.*\.f64\b.*$", text, re.M)
    assert ".local " not in text  # nothing is spilled to slow memory by the front end


def test_a_float64_would_be_seen(monkeypatch):
    """The pattern above finds what it is to find."""
    stub = SimpleNamespace(compute_capability=(8, 0))
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: stub)

    def careless(array):
        array[0] = array[1] * 2.0 + 1

    try:
        text, _ = compile_ptx(careless, (LINE,), device=False, cc=(8, 0))
    except OSError as error:
        pytest.skip(f"no CUDA compiler: {error}")
    assert re.findall(r"^.*\.f64\b.*$", text, re.M)
