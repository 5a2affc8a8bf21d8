"""The CUDA kernels against those of the CPU and the slow oracle.

On a CUDA device (``make gpu``), or on numba's simulator: `test_gpu_simulated.py` runs this module there, so that every
run of the suite does. Fields are small: the simulator makes a Python thread of each of CUDA's.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from helpers import reference, synthetic
from helpers.paths import ROOT
from hybridcast_kernels import advection_cpu, devices, flow_cpu
from hybridcast_kernels.flow_cpu import FlowOptions

SIMULATED = devices.simulated()
WORKS, REASON = devices.cuda_works()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not (SIMULATED or WORKS), reason=f"no CUDA device: {REASON}"),
]
if SIMULATED or WORKS:
    from hybridcast_kernels import advection_gpu, flow_gpu, gpu, gpu_arrays
    from hybridcast_kernels.gpu_arrays import launch_over, upload

f4 = np.float32
SHAPES = [(12, 16), (13, 17), (1, 9), (8, 1)]
ORDERS = [0, 1, 3]
ROUNDING = 2e-4  # mm/h, float32 against float64


@pytest.fixture(autouse=True, scope="module")
def _small_blocks():
    """Threads that idle or wait cost the simulator more than those that work."""
    if SIMULATED:
        gpu_arrays.BLOCK = (5, 5, 1)
        flow_gpu.SUM_THREADS = 4
        flow_gpu.SUM_BLOCKS = 2
        flow_gpu.SUM_CELLS = 256


def frame(shape, *, seed=0, missing=0.2):
    rng = np.random.default_rng(seed)
    rate = np.maximum(rng.gamma(0.7, 6, shape) - 0.5, 0).astype(f4)
    rate[rng.random(shape) < missing] = np.nan
    return rate


def device(*shape):
    return upload(np.full(shape, -99, f4))


def run(kernel, shape, *arguments):
    """Launch over a shape, uploading arrays."""
    kernel[launch_over(shape)](*(upload(a) if isinstance(a, np.ndarray) else a for a in arguments))


# --- the steps of the flow ------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [0.4, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_first_levels_are_the_oracles(shape, missing):
    rate = frame(shape, missing=missing)
    image, mask = device(1, *shape), device(1, *shape)
    run(flow_gpu.first_level, (1, *shape), rate[None], 1, f4(0.1), f4(40), image, mask)
    np.testing.assert_allclose(image.copy_to_host()[0], reference.decibel(np.nan_to_num(rate), 0.1, 40), atol=1e-4)
    np.testing.assert_array_equal(mask.copy_to_host()[0], np.isfinite(rate))
    small = tuple(-(-size // 2) for size in shape)
    image, mask = device(1, *small), device(1, *small)
    run(flow_gpu.first_level, (1, *small), rate[None], 2, f4(0.1), f4(40), image, mask)
    for got, expected in zip((image, mask), reference.decibel_halves(rate, 0.1, 40), strict=True):
        np.testing.assert_allclose(got.copy_to_host()[0], expected, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_halves_are_the_oracles(shape):
    image = np.nan_to_num(frame(shape, missing=0))
    mask = np.random.default_rng(2).choice([0, 0.25, 0.5, 1], shape).astype(f4)
    half = tuple(-(-size // 2) for size in shape)
    got = device(1, *half), device(1, *half)
    run(flow_gpu.halve, (1, *half), image[None], mask[None], *got)
    for ours, theirs in zip(got, reference.halves(image, mask), strict=True):
        np.testing.assert_allclose(ours.copy_to_host()[0], theirs, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_are_carried_as_on_the_cpu(shape):
    rng = np.random.default_rng(3)
    images, masks = rng.random((2, 3, *shape)).astype(f4)
    flow = rng.normal(0, 2, (2, *shape)).astype(f4)
    offsets = np.array([-3, -1, 0], f4)
    expected = np.empty_like(images), np.empty_like(masks)
    flow_cpu.warp_rows(images, masks, offsets, flow, *expected, 0, shape[0])
    got = device(*images.shape), device(*images.shape)
    run(flow_gpu.warp, images.shape, images, masks, offsets, flow, *got)
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours.copy_to_host(), theirs, atol=1e-6)


@pytest.mark.parametrize("radius", [1, 7])
@pytest.mark.parametrize("shape", SHAPES)
def test_windows_are_boxes_passed_twice(radius, shape):
    values = np.random.default_rng(4).normal(size=(2, *shape)).astype(f4)
    for along in (0, 1):
        got = device(*values.shape)
        run(flow_gpu.window, values.shape, values, along, radius, got)
        expected = reference.box_mean(reference.box_mean(values, radius, along + 1), radius, along + 1)
        np.testing.assert_allclose(got.copy_to_host(), expected, atol=2e-6)


@pytest.mark.parametrize("shape", [(12, 16), (13, 17), (1, 9)])
def test_tensors_are_the_oracles(shape):
    rng = np.random.default_rng(5)
    warped, masks = rng.random((2, 3, *shape)).astype(f4)
    offsets = np.array([-3, -1, 0], f4)
    got = device(5, *shape)
    run(flow_gpu.tensor, shape, warped, masks, offsets, got)
    np.testing.assert_allclose(got.copy_to_host(), reference.structure_tensors(warped, masks, offsets), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (13, 17), (33, 40)])
def test_sums_are_numpys(shape):
    planes = np.random.default_rng(7).normal(size=(3, *shape)).astype(f4)
    work = flow_gpu.device_workspace()
    partial = flow_gpu._sums(upload(planes), 3, work).copy_to_host()
    assert partial.shape[1] == (2 if shape == (33, 40) else 1)
    np.testing.assert_allclose(partial.sum(axis=1), planes.sum(axis=(1, 2)), atol=1e-4)


@pytest.mark.parametrize("trace", [1.7, 0.0])
def test_the_fit_and_its_smoothing_are_those_of_the_cpu(trace):
    """And without echo the flow stays as it is."""
    rng = np.random.default_rng(6)
    shape, radius = (11, 14), 2
    half = rng.random((3, *shape)).astype(f4)
    tensors = np.stack([half[0] ** 2 + half[1] ** 2, half[0] * half[2], half[2] ** 2, half[0], half[1]]).astype(f4)
    flow = rng.normal(size=(2, *shape)).astype(f4)
    state = np.array([trace, trace > 0, 0, 0, 0], f4)
    weighted, smoothed, there = device(3, *shape), device(3, *shape), upload(flow)
    run(flow_gpu.solve, shape, tensors, there, radius, f4(0.1), f4(2), state, weighted)
    run(flow_gpu.window, (3, *shape), weighted, 0, 1, smoothed)
    run(flow_gpu.smooth, shape, smoothed, 1, f4(0.03), state, there)
    if trace:
        scratch, expected = np.empty_like(tensors), np.empty((3, *shape), f4)
        ridge, least = f4(f4(0.1) * f4(trace)), f4(f4(0.03) * f4(trace))
        flow_cpu.solve_columns(tensors, scratch, flow, expected, radius, ridge, f4(2), 0, shape[1])
        np.testing.assert_allclose(weighted.copy_to_host(), expected, atol=1e-5)
        flow_cpu.smooth_columns(expected, scratch[:3], 1, 0, shape[1])
        flow_cpu.smooth_rows(expected, 1, least, flow, 0, shape[0])
    np.testing.assert_allclose(there.copy_to_host(), flow, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "fine", "factor"), [((5, 7), (10, 13), 2), ((1, 4), (3, 16), 4), ((6, 5), (6, 5), 1)]
)
def test_flows_are_enlarged_as_on_the_cpu(shape, fine, factor):
    flow = np.random.default_rng(8).normal(size=(2, *shape)).astype(f4)
    expected, got, finished = np.empty((2, *fine), f4), device(2, *fine), device(2, *fine)
    flow_cpu.enlarge_rows(flow, expected, factor, 0, fine[0])
    run(flow_gpu.enlarge, (2, *fine), flow, factor, got)
    np.testing.assert_allclose(got.copy_to_host(), expected, atol=1e-6)
    for found in (1, 0):
        run(flow_gpu.finish, (2, *fine), flow, factor, np.array([0, 0, found, 0, 0], f4), finished)
        np.testing.assert_allclose(finished.copy_to_host(), found * expected, atol=1e-6)


# --- whole flows ----------------------------------------------------------------------------------------------

QUICK = FlowOptions(iterations=1, window=1.0, smoothing=1.0, final_smoothing=1.0)


@pytest.mark.parametrize(
    ("shape", "finest", "disc"),
    [((11, 10), None, True), ((13, 11), 1, False), ((1, 9), None, False), ((3, 2), None, False)],
)
def test_flow_is_that_of_the_cpu(monkeypatch, shape, finest, disc):
    monkeypatch.setattr(flow_cpu, "COARSEST", 5)  # two levels on a small field
    rate = synthetic.rain(shape, synthetic.translation(1.2, -0.6), frames=3, cell=2.5).values
    if disc:
        rate = np.where(synthetic.disc(shape), rate, f4(np.nan))
    offsets = np.array([-3, -1, 0], f4)
    options = FlowOptions(iterations=1, window=1.0, smoothing=1.0, final_smoothing=2.0, finest=finest)
    expected, found = flow_cpu.estimate(rate, offsets, options)
    flow, found_too = gpu.estimate(rate, offsets, options)
    assert found_too == found
    assert flow.dtype == f4
    assert np.abs(flow - expected).max() < 2e-4


@pytest.mark.parametrize("value", [0.0, np.nan, 5.0], ids=["dry", "missing", "even rain"])
def test_nothing_to_track_is_no_motion(value):
    flow, found = gpu.estimate(np.full((2, 6, 7), value, f4), np.array([-1, 0], f4), QUICK)
    assert not found
    assert flow.tobytes() == np.zeros((2, 6, 7), f4).tobytes()


def test_the_same_input_gives_the_same_bits():
    rate = synthetic.rain((6, 8), frames=2, cell=2.0).values
    offsets = np.array([-1, 0], f4)
    first, _ = gpu.estimate(rate, offsets, QUICK)
    gpu.estimate(np.full((2, 5, 5), 7, f4), offsets, QUICK)
    again, _ = gpu.estimate(rate, offsets, QUICK)
    assert first.tobytes() == again.tobytes()


# --- advection ------------------------------------------------------------------------------------------------


def scene(shape, missing=0.1, seed=3):
    rng = np.random.default_rng(seed)
    field = rng.uniform(1, 5, shape).astype(f4)
    field[rng.random(shape) < 0.3] = 0
    field[rng.random(shape) < missing] = np.nan
    flow = np.stack([np.full(shape, 0.37), np.full(shape, -0.21)]) + rng.normal(0, 0.05, (2, *shape))
    return field, flow.astype(f4)


def on_the_cpu(fields, flow, leads, order, **options):
    coefficients = None
    if order == 3:
        coefficients = np.stack([reference.spline_coefficients(field) for field in fields]).astype(f4)
    return advection_cpu.advect(fields, flow, leads, order, coefficients=coefficients, **options)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(13, 17), (1, 12), (9, 1), (1, 1), (2, 3)])
def test_advection_equals_cpu_and_oracle(order, shape):
    """Some air comes from outside, some from missing cells."""
    field, flow = scene(shape)
    leads = np.arange(1, 5, dtype=f4)
    ours = gpu.advect(field[None], flow, leads, order)
    assert ours.shape == (1, 4, *shape)
    np.testing.assert_allclose(ours, on_the_cpu(field[None], flow, leads, order), atol=ROUNDING)
    oracle = reference.advect(field, flow, leads, order, guess="extrapolated")
    np.testing.assert_allclose(ours[0], oracle, atol=ROUNDING)


@pytest.mark.parametrize("order", ORDERS)
def test_several_fields_are_each_as_alone(order):
    field, flow = scene((11, 14))
    fields = np.stack([field, scene((11, 14), 0, 4)[0], np.full((11, 14), np.nan, f4)])
    leads = np.array([0.5, 1, 3], f4)
    together = gpu.advect(fields, flow, leads, order, longest_step=1.0)
    np.testing.assert_allclose(together, on_the_cpu(fields, flow, leads, order, longest_step=1.0), atol=ROUNDING)
    for k in range(3):
        alone = gpu.advect(fields[k : k + 1], flow, leads, order, longest_step=1.0)
        assert alone.tobytes() == together[k : k + 1].tobytes()
    assert np.isnan(together[2]).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("speed", [40.0, 1e8, 1e30])
def test_air_from_far_outside_is_unknown(order, speed):
    field = scene((7, 9), missing=0)[0][None]
    for component, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        flow = np.zeros((2, 7, 9), f4)
        flow[component] = sign * speed
        assert np.isnan(gpu.advect(field, flow, np.array([1, 2], f4), order)).all()


def test_whole_cells_are_a_shift_to_the_bit():
    field = scene((9, 13))[0]
    flow = np.stack([np.full((9, 13), 2.0), np.full((9, 13), -1.0)]).astype(f4)
    moved = gpu.advect(field[None], flow, np.array([1, 2], f4))[0]
    for k in (1, 2):
        np.testing.assert_array_equal(moved[k - 1, :-k, 2 * k :], field[k:, : -2 * k])
        assert np.isnan(moved[k - 1, -k:]).all()
        assert np.isnan(moved[k - 1, :, : 2 * k]).all()


@pytest.mark.parametrize("shape", [(13, 17), (1, 9), (2, 3)])
def test_spline_coefficients_are_the_oracles(shape):
    field = scene(shape)[0]
    got = advection_gpu.spline_coefficients(upload(field[None])).copy_to_host()[0]
    np.testing.assert_allclose(got, reference.spline_coefficients(field), atol=2e-5)


def test_out_is_written_and_given_back():
    field, flow = scene((6, 8))
    out = np.full((1, 2, 6, 8), -1, f4)
    leads = np.array([1, 2], f4)
    assert gpu.advect(field[None], flow, leads, out=out) is out
    np.testing.assert_array_equal(out, gpu.advect(field[None], flow, leads))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow": np.zeros((2, 8, 8), f4)}, "flow has shape"),
        ({"leads": np.array([2, 1], f4)}, "leads are"),
        ({"out": np.zeros((1, 3, 8, 9), f4)}, "out is"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    fitting = {"fields": np.zeros((1, 8, 9), f4), "flow": np.zeros((2, 8, 9), f4), "leads": np.array([1, 2], f4)}
    with pytest.raises(ValueError, match=message):
        gpu.advect(**{**fitting, **change})


# --- memory ---------------------------------------------------------------------------------------------------


@pytest.fixture
def limited(monkeypatch):
    """Give a function that lets no allocation on the device be larger than so many bytes."""
    whole = gpu_arrays.cuda.device_array

    def limit(size):
        def device_array(shape, dtype):
            if np.prod(shape) * np.dtype(dtype).itemsize > size:
                error = gpu_arrays.CudaAPIError(gpu_arrays.OUT_OF_MEMORY, "out of memory")
                error.code = gpu_arrays.OUT_OF_MEMORY
                raise error
            return whole(shape, dtype)

        monkeypatch.setattr(gpu_arrays.cuda, "device_array", device_array)

    return limit


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("fits", "size"), [(7, 7), (6, 4), (3, 2), (1, 1)])
def test_what_does_not_fit_is_made_in_parts_to_the_bit(limited, order, fits, size):
    """`fits` lead times have room; all seven, then half as many are tried, and so on."""
    fields = np.stack([scene((5, 7))[0], scene((5, 7), seed=5)[0]])
    flow = scene((5, 7))[1]
    leads = np.array([0.5, 1, 2, 3, 4, 4.5, 6], f4)
    whole = gpu.advect(fields, flow, leads, order, longest_step=1.0)
    limited(fits * fields.nbytes)
    parts = [part.shape[1] for _, part in advection_gpu.tiles(upload(fields), upload(flow), leads, order)]
    assert parts == [size] * -(-7 // size)
    assert gpu.advect(fields, flow, leads, order, longest_step=1.0).tobytes() == whole.tobytes()


def test_what_fits_in_no_part_is_said(limited):
    field, flow = scene((5, 7))
    there = upload(field[None]), upload(flow)
    limited(field.nbytes - 1)
    with pytest.raises(gpu_arrays.DeviceMemoryError, match="no 0 MB free"):
        list(advection_gpu.tiles(*there, np.array([1, 2, 3], f4)))


def test_other_errors_of_the_device_are_not_taken_for_it(monkeypatch):
    def device_array(shape, dtype):
        error = gpu_arrays.CudaAPIError(700, "illegal address")
        error.code = 700
        raise error

    monkeypatch.setattr(gpu_arrays.cuda, "device_array", device_array)
    with pytest.raises(gpu_arrays.CudaAPIError):
        gpu_arrays.empty((2, 2))


def test_host_arrays_are_not_taken_for_those_of_the_device():
    with pytest.raises(TypeError, match="no __cuda_array_interface__"):
        flow_gpu.estimate(np.zeros((2, 8, 8), f4), np.array([-1, 0], f4))


# --- forecasts ------------------------------------------------------------------------------------------------


def test_a_forecast_is_flow_and_advection_with_the_fields_copied_once(monkeypatch):
    rate = synthetic.rain((7, 8), frames=3, cell=2.0).values
    offsets, leads = np.array([-2, -1, 0], f4), np.array([1, 2, 3], f4)
    flow, _ = gpu.estimate(rate, offsets, QUICK)
    expected = gpu.advect(rate[-1:], flow, leads)
    up, down = [], []
    arrays = type(upload(rate))
    to, back = arrays.copy_to_device, arrays.copy_to_host
    monkeypatch.setattr(arrays, "copy_to_device", lambda self, a, **k: (up.append(a.nbytes), to(self, a, **k))[1])
    monkeypatch.setattr(
        arrays, "copy_to_host", lambda self, *a, **k: (down.append(self.nbytes), back(self, *a, **k))[1]
    )
    rates, same_flow, found = gpu.forecast(rate, offsets, leads, QUICK)
    assert found
    assert same_flow.tobytes() == flow.tobytes()
    assert rates.tobytes() == expected.tobytes()
    plane = rate[0].nbytes
    assert sorted(size // plane for size in up if size >= plane) == [3]  # the frames; the rest are a few numbers
    assert sorted(size // plane for size in down if size >= plane) == [2, 3]  # the flow, and the lead times


@pytest.mark.skipif(SIMULATED, reason="the simulator has no device pointers")
def test_tensors_of_torch_go_in_and_come_out_without_a_copy():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    rate = synthetic.rain((64, 70), frames=3).values
    there = torch.as_tensor(rate, device="cuda")
    flow, _ = flow_gpu.estimate(there, np.array([-2, -1, 0], f4))
    moved = advection_gpu.advect(there[-1:], flow, np.array([1, 2], f4))
    tensor = torch.as_tensor(moved, device="cuda")
    assert tensor.data_ptr() == moved.__cuda_array_interface__["data"][0]
    expected, _, _ = gpu.forecast(rate, np.array([-2, -1, 0], f4), np.array([1, 2], f4))
    np.testing.assert_array_equal(tensor.cpu().numpy(), expected)


def test_the_benchmark_measures_every_kernel_and_the_whole():
    specification = importlib.util.spec_from_file_location("speed_gpu", ROOT / "notebooks" / "speed_gpu.py")
    speed = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(speed)
    radar = synthetic.rain((6, 5), frames=2, cell=2.0)
    rows = speed.kernels(radar.values, 1e9, 1)
    assert len(rows) == 10
    assert all(row["ms"] > 0 for row in rows)
    speed.LEADS = np.array([1, 2], f4)
    if not SIMULATED:  # which takes a minute for it
        assert len(speed.measure([radar], 1, 2**20)["rows"]) == 16
