"""The choice between CPU and GPU, from the command line down to the kernels."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast import Advection, Persistence, advect, estimate_motion, forecast
from hybridcast.core.device import HasDevice, choose_device, with_device
from hybridcast.errors import InputError
from hybridcast.motion.estimate import DIS, DenseFlow
from hybridcast.settings import AdvectionSettings, MotionSettings
from hybridcast_kernels import devices

MINUTE = np.timedelta64(1, "m")
LEADS = np.arange(5, 20, 5) * MINUTE


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(devices, "_found", (False, "no GPU: this machine has no NVIDIA driver"))
    monkeypatch.setattr(devices, "simulated", lambda: False)


@pytest.fixture
def a_gpu(monkeypatch):
    monkeypatch.setattr(devices, "_found", (True, "NVIDIA Test, compute capability 9.0"))


# --- the choice -----------------------------------------------------------------------------------------------


def test_auto_is_the_cpu_where_no_gpu_works(no_gpu):
    assert choose_device("auto") == devices.Choice("cpu", "no GPU: this machine has no NVIDIA driver")
    assert choose_device("cpu").device == "cpu"


def test_auto_is_the_gpu_where_one_works(a_gpu):
    assert (
        choose_device("auto") == choose_device("cuda") == devices.Choice("cuda", "NVIDIA Test, compute capability 9.0")
    )
    assert choose_device("cpu").device == "cpu"


def test_a_gpu_that_is_not_there_is_refused_with_the_reason(no_gpu):
    rain = synthetic.rain((20, 20))
    motion = estimate_motion(rain)
    for call in (
        lambda: choose_device("cuda"),
        lambda: forecast(rain, device="cuda"),
        lambda: forecast(rain, nowcaster=Advection(device="cuda")),
        lambda: estimate_motion(rain, device="cuda"),
        lambda: estimate_motion(rain, method=DenseFlow(device="cuda")),
        lambda: advect(rain[-1], motion, LEADS, device="cuda"),
    ):
        with pytest.raises(InputError, match=r"no NVIDIA driver; the device is there\. Choose 'auto'"):
            call()


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="device is 'gpu', not 'auto', 'cpu' or 'cuda'"):
        forecast(synthetic.rain((20, 20)), device="gpu")


def test_a_gpu_that_does_not_work_is_left_alone_and_the_reason_told(monkeypatch):
    def broken(name):
        raise RuntimeError("driver too\n old")

    monkeypatch.setattr(devices, "_found", None)
    monkeypatch.setattr(devices, "simulated", lambda: False)
    monkeypatch.setattr(devices, "_driver_is_there", lambda: True)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(devices.importlib, "import_module", broken)
    assert choose_device("auto") == devices.Choice("cpu", "the GPU does not work: RuntimeError: driver too old")


def test_a_gpu_that_computes_nonsense_is_left_alone(monkeypatch):
    class Wrong:
        name = staticmethod(lambda: "NVIDIA Wrong")
        advect = staticmethod(lambda field, flow, leads: np.zeros((1, 1, 16, 16), np.float32))

    monkeypatch.setattr(devices.importlib, "import_module", lambda name: Wrong)
    assert devices._try_kernel() == (False, "the GPU (NVIDIA Wrong) gives wrong results")


def test_without_numba_cuda_the_reason_is_how_to_get_it(monkeypatch):
    monkeypatch.setattr(devices, "_found", None)
    monkeypatch.setattr(devices, "simulated", lambda: False)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    assert choose_device("auto").device == "cpu"
    assert "pip install 'hybridcast[cuda]'" in choose_device("auto").reason


# --- how methods carry it -------------------------------------------------------------------------------------


def test_methods_and_those_they_are_made_of_take_the_device():
    method = Advection(DenseFlow(MotionSettings(frames=3)), AdvectionSettings("nearest"))
    assert with_device(method, "auto") is method
    on_cpu = with_device(method, "cpu")
    assert (on_cpu.device, on_cpu.motion.device) == ("cpu", "cpu")
    assert dataclasses.replace(on_cpu, device="auto", motion=method.motion) == method
    assert with_device(Persistence(), "cpu") == Persistence()


def test_methods_that_know_no_gpu_are_refused_on_one(a_gpu):
    with pytest.raises(InputError, match="persistence runs on the CPU only; the method has a GPU twin"):
        with_device(Persistence(), "cuda")
    with pytest.raises(InputError, match="DIS fast runs on the CPU only"):
        estimate_motion(synthetic.rain((20, 20)), method=DIS(), device="cuda")
    assert with_device(Advection(DIS()), "cuda").motion == DIS()


def test_a_method_that_is_set_to_the_gpu_already_is_accepted(a_gpu):
    method = Advection(DenseFlow(device="cuda"), device="cuda")
    assert with_device(method, "cuda") == method
    assert isinstance(method, HasDevice)
    assert not isinstance(Persistence(), HasDevice)


def test_the_device_is_in_the_settings_of_a_forecast():
    assert (
        '"device": "cpu"' in forecast(synthetic.rain((20, 20)), device="cpu", nowcaster=Advection()).attrs["settings"]
    )


# --- importing ------------------------------------------------------------------------------------------------


def run(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_forecast_on_the_cpu_loads_nothing_of_cuda():
    code = """
import sys
import numpy as np
from hybridcast import forecast, precipitation
times = np.datetime64("2020-01-01") + np.arange(2) * np.timedelta64(5, "m")
field = precipitation(np.zeros((2, 9, 9)), time=times, y=np.arange(9) * 1e3, x=np.arange(9) * 1e3, crs=None)
forecast(field, lead_time="5min", device="cpu")
print([name for name in sys.modules if name.startswith(("numba.cuda.cudadrv", "hybridcast_kernels.gpu", "cuda."))])
"""
    assert run(code) == "[]"


def test_importing_the_cuda_kernels_initialises_no_device():
    pytest.importorskip("numba_cuda")
    code = """
from numba.cuda.cudadrv.driver import Driver
calls = []
Driver.ensure_initialized = lambda self: calls.append(self)
import hybridcast_kernels.gpu
print(calls)
"""
    assert run(code, NUMBA_ENABLE_CUDASIM="0") == "[]"


# --- the same forecast on both: on a device, or on the simulator ------------------------------------------------

needs_cuda = pytest.mark.skipif(
    not (devices.simulated() or devices.cuda_works()[0]), reason=f"no CUDA device: {devices.cuda_works()[1]}"
)
SMALL = DenseFlow(MotionSettings(frames=2, iterations=1, window=1.0, smoothing=1.0, final_smoothing=1.0))


def same(ours: xr.Dataset, theirs: xr.Dataset, at_most: float) -> None:
    for name in ours.data_vars:
        np.testing.assert_array_equal(np.isnan(ours[name]), np.isnan(theirs[name]))
        np.testing.assert_allclose(ours[name], theirs[name], atol=at_most)
    assert {**ours.attrs, "settings": "", "history": ""} == {**theirs.attrs, "settings": "", "history": ""}


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("seen", [None, np.zeros((7, 6), bool)], ids=["rain", "missing"])
def test_a_forecast_on_the_gpu_is_that_on_the_cpu(seen):
    rain = synthetic.rain((7, 6), synthetic.translation(0.7, -0.3), frames=3, cell=2.0, seen=seen)
    model = Advection(SMALL)
    on_cpu, on_gpu = (forecast(rain, lead_time="15min", nowcaster=model, device=device) for device in ("cpu", "cuda"))
    same(on_gpu, on_cpu, 2e-3)


@pytest.mark.gpu
@needs_cuda
def test_a_late_radar_is_carried_on_on_the_gpu_too():
    rain = synthetic.rain((7, 6), synthetic.translation(0.7, -0.3), frames=3, cell=2.0)
    rain[-1] = np.nan
    model = Advection(SMALL, AdvectionSettings("nearest"))
    on_cpu, on_gpu = (
        forecast(rain, lead_time="40min", step="20min", nowcaster=model, device=d) for d in ("cpu", "cuda")
    )
    assert on_gpu.attrs["status"] == "radar is late: latest frame is 5 min old"
    same(on_gpu, on_cpu, 2e-3)


@pytest.mark.gpu
@needs_cuda
def test_motion_and_advection_alone_are_those_of_the_cpu():
    rain = synthetic.rain((7, 6), synthetic.translation(0.7, -0.3), frames=2, cell=2.0)
    motion = estimate_motion(rain, method=SMALL, device="cpu")
    same(estimate_motion(rain, method=SMALL, device="cuda"), motion, 2e-3)
    fields = xr.Dataset({"a": rain[-1], "b": 2 * rain[-1]})
    out = np.empty((2, 3, 7, 6), np.float32)
    moved = advect(fields, motion, LEADS, device="cuda", out=out)
    assert np.shares_memory(moved.a.values, out)
    same(moved, advect(fields, motion, LEADS, device="cpu"), 2e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not devices.cuda_works()[0], reason=f"no CUDA device: {devices.cuda_works()[1]}")
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_a_real_event_is_forecast_alike_by_both(real, interpolation):
    """FMI 2017-05-09, two hours: a thousandth of the points may differ (the nearest cell of two half way)."""
    from hybridcast import open_radar

    rain = open_radar(real("fmi/20170509/*.pgm.gz")[:5])
    model = Advection(settings=AdvectionSettings(interpolation))
    ours, theirs = (forecast(rain, nowcaster=model, device=device) for device in ("cuda", "cpu"))
    apart = np.abs(ours.precipitation_rate.values - theirs.precipitation_rate.values)
    assert np.nanmean(apart > 0.05) < (5e-3 if interpolation == "nearest" else 1e-3)
    unknown = np.isnan(ours.precipitation_rate.values) != np.isnan(theirs.precipitation_rate.values)
    assert unknown.mean() < 1e-3
    assert float(np.abs(ours.u - theirs.u).max()) < 0.05
