"""What a forecast takes of the machine: threads when many are made at once, and memory."""

from __future__ import annotations

import threading
import tracemalloc

import dask
import numpy as np
import pytest

from helpers import synthetic
from helpers.paths import ROOT
from hybridcast import Advection, advect, estimate_motion, forecast, save_forecast
from hybridcast.errors import InputError
from hybridcast_kernels import parallel

LEADS = np.arange(5, 65, 5) * np.timedelta64(1, "m")
#: Bytes for each cell that `notebooks/getting_started.md` states of a streamed forecast of 24 lead times.
BYTES_PER_CELL = 160


def test_dask_workers_get_what_each_gets_alone_and_share_one_pool(set_threads):
    set_threads(2)
    scenes = [synthetic.rain((130, 120), seed=k) for k in range(6)]
    alone = [forecast(scene, lead_time="30min", device="cpu") for scene in scenes]
    together = dask.compute(
        *(dask.delayed(forecast)(scene, lead_time="30min", device="cpu") for scene in scenes),
        scheduler="threads",
        num_workers=6,
    )
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.precipitation_rate, other.precipitation_rate)
        np.testing.assert_array_equal(one.u, other.u)
    assert parallel.threads() == 2
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("hybridcast")]
    assert len({thread.name for thread in ours if thread.name.startswith("hybridcast_")}) <= 2


def test_a_forecast_of_24_leads_takes_at_most_twice_its_output():
    radar = synthetic.rain((500, 400), frames=4)
    forecast(radar, lead_time="10min", device="cpu", nowcaster=Advection())
    tracemalloc.start()
    result = forecast(radar, lead_time="2h", device="cpu", nowcaster=Advection())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.sizes["lead_time"] == 24
    assert peak < 1.5 * result.precipitation_rate.nbytes


def test_advection_into_memory_that_is_there_takes_none_for_its_result():
    radar = synthetic.rain((500, 400), frames=3)
    motion = estimate_motion(radar, device="cpu")
    expected = advect(radar[-1], motion, LEADS, device="cpu")
    out = np.full((12, 500, 400), -1, np.float32)
    tracemalloc.start()
    result = advect(radar[-1], motion, LEADS, device="cpu", out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.shares_memory(result.values, out)
    np.testing.assert_array_equal(result, expected)
    assert peak < 0.6 * out.nbytes  # the motion in cells, and its mask


@pytest.mark.parametrize(
    "out", [np.empty((11, 20, 20), np.float32), np.empty((12, 20, 20)), np.empty((12, 20, 40), np.float32)[..., ::2]]
)
def test_memory_that_does_not_fit_is_refused(out):
    radar = synthetic.rain((20, 20), frames=3)
    with pytest.raises(InputError, match=r"it is contiguous float32 of shape \(12, 20, 20\)"):
        advect(radar[-1], estimate_motion(radar), LEADS, out=out)


def test_a_forecast_in_memory_is_saved_without_a_copy(tmp_path):
    made = forecast(synthetic.rain((500, 400), frames=3), lead_time="2h", nowcaster=Advection(), device="cpu")
    save_forecast(made.isel(lead_time=[0]), tmp_path / "first.nc")
    tracemalloc.start()
    save_forecast(made, tmp_path / "forecast.nc")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.5 * made["precipitation_rate"].nbytes


@pytest.mark.slow
def test_a_streamed_forecast_takes_no_more_for_a_cell_than_the_guide_says(tmp_path, set_threads, monkeypatch):
    """With rain everywhere, where every node is evaluated, and no frame compresses well.

    The memory that grows with the number of threads, and that of a band, are not those of the cells.
    """
    set_threads(2)
    monkeypatch.setattr("hybridcast.core.zarr_folders.LARGE_GRID", 100)
    scenes = {
        rows: synthetic.rain((rows, 320), synthetic.translation(1.5, 0.0), frames=13).chunk(time=1)
        for rows in (128, 512, 1280)
    }
    forecast(scenes[128], lead_time="10min", device="cpu", out=tmp_path / "small.zarr")
    peaks = []
    for rows in (512, 1280):
        tracemalloc.start()
        written = forecast(scenes[rows], lead_time="2h", device="cpu", out=tmp_path / f"{rows}.zarr")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert written.sizes["lead_time"] == 24
    text = (ROOT / "notebooks" / "getting_started.md").read_text("utf-8")
    assert f"{BYTES_PER_CELL} bytes for each cell" in text
    grown = (peaks[1] - peaks[0]) / ((1280 - 512) * 320)
    assert grown < BYTES_PER_CELL
    assert grown > 50  # the frames and the motion alone take as much: they are in what is measured
