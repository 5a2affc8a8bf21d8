"""Forecasts that are written while they are made: the same as in memory, whole or not at all, refused beforehand."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.core.forecast_files import load_forecast, save_forecast
from hybridcast.core.forecast_schema import load_fields
from hybridcast.errors import InputError
from hybridcast.forecasting import forecast
from hybridcast.fusion.hybrid import load_hybrid
from hybridcast.nowcasters.base import Advection

SHAPE = (150, 60)
FIELDS = ("precipitation_rate", "precipitation_rate_advected", "probability_of_exceedance", "unknown_fraction")
ENSEMBLE = "precipitation_rate_ensemble"


@pytest.fixture
def large(monkeypatch):
    """Every grid counts as large, and members come in small groups."""
    monkeypatch.setattr("hybridcast.core.zarr_folders.LARGE_GRID", 100)
    monkeypatch.setattr("hybridcast.ensembles.realizations.CHUNK_BYTES", 2 * 4 * SHAPE[0] * SHAPE[1])


@pytest.fixture(scope="module")
def nowcaster(model_folder):
    return load_hybrid(model_folder)


def scene(**options):
    return synthetic.rain(SHAPE, synthetic.translation(1.5, -1.0), frames=8, seen=synthetic.disc(SHAPE, 0.6), **options)


def streamed(path, nowcaster, **options):
    return forecast(scene(), lead_time="20min", nowcaster=nowcaster, out=path, **options)


def in_memory(path, nowcaster, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hybridcast.core.zarr_folders.LARGE_GRID", 10**6)
        made = forecast(scene(), lead_time="20min", nowcaster=nowcaster, **options)
        return load_forecast(save_forecast(made, path), lazy=False)


def test_a_streamed_forecast_is_the_one_in_memory(tmp_path, large, nowcaster):
    written = streamed(tmp_path / "a.zarr", nowcaster, members=5, seed=3)
    whole = in_memory(tmp_path / "b.zarr", nowcaster, members=5, seed=3)
    xr.testing.assert_identical(written.compute().assign_attrs(history=""), whole.compute().assign_attrs(history=""))
    assert all(written[name].chunks for name in (*FIELDS[:3], ENSEMBLE))
    assert np.isnan(written[FIELDS[0]]).any()
    assert (written[ENSEMBLE] > 0).any()


def test_frames_that_are_read_when_they_are_needed_give_the_same(tmp_path, large, nowcaster):
    options = {"lead_time": "20min", "nowcaster": nowcaster, "members": 2}
    lazy = forecast(scene().chunk(time=1), out=tmp_path / "a.zarr", **options)
    plain = forecast(scene(), out=tmp_path / "b.zarr", **options)
    xr.testing.assert_identical(lazy.compute().assign_attrs(history=""), plain.compute().assign_attrs(history=""))


def test_fields_are_not_held_in_memory_while_they_are_made(tmp_path, large, nowcaster, monkeypatch):
    monkeypatch.setattr("hybridcast.fusion.field_bands.FieldBands.compute", None)
    streamed(tmp_path / "a.zarr", nowcaster)


def test_without_any_radar_data_it_is_all_unknown(tmp_path, large, nowcaster):
    rain = scene() * np.nan
    written = forecast(
        rain.assign_attrs(units="mm h-1"), lead_time="20min", nowcaster=nowcaster, out=tmp_path / "a.zarr"
    )
    assert "no radar data" in written.attrs["fallback"]
    assert np.isnan(written[FIELDS[0]]).all()
    assert np.isnan(written[FIELDS[2]]).all()
    assert (written[FIELDS[3]] == 1).all()


def test_large_fields_are_in_tiles_and_read_when_they_are_needed(tmp_path, large, nowcaster):
    path = tmp_path / "a.zarr"
    streamed(path, nowcaster)
    stored = xr.open_zarr(path)
    assert stored[FIELDS[0]].encoding["chunks"] == (1, 64, 60)
    assert stored[FIELDS[2]].encoding["chunks"] == (1, 1, 64, 60)
    assert load_forecast(path)[FIELDS[0]].chunks is not None
    assert load_forecast(path, lazy=False)[FIELDS[0]].chunks is None


def test_a_small_forecast_is_written_and_opened_too(tmp_path, nowcaster):
    written = streamed(tmp_path / "a.zarr", nowcaster)
    xr.testing.assert_identical(
        written.compute().assign_attrs(history=""),
        in_memory(tmp_path / "b.zarr", nowcaster).assign_attrs(history=""),
    )
    assert written[FIELDS[0]].chunks is not None
    assert load_forecast(tmp_path / "a.zarr")[FIELDS[0]].chunks is None


def test_a_nowcaster_without_bands_is_written_too(tmp_path, large):
    written = forecast(scene(), lead_time="10min", nowcaster=Advection(), out=tmp_path / "a.zarr")
    made = forecast(scene(), lead_time="10min", nowcaster=Advection())
    np.testing.assert_array_equal(written[FIELDS[0]], made[FIELDS[0]])


def test_lazy_fields_in_other_chunks_are_written(tmp_path, large, nowcaster):
    made = in_memory(tmp_path / "a.zarr", nowcaster)
    again = load_forecast(save_forecast(made.chunk(y=50, x=33, lead_time=2), tmp_path / "b.zarr"), lazy=False)
    xr.testing.assert_identical(again, made)


def test_an_interrupted_forecast_leaves_the_old_one_and_no_finished_other(tmp_path, large, nowcaster, monkeypatch):
    path = tmp_path / "a.zarr"
    before = streamed(path, nowcaster).compute()
    from hybridcast.fusion import field_bands

    whole, calls = field_bands.fuse, []

    def interrupted(*args, **options):
        calls.append(args[3])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*args, **options)

    monkeypatch.setattr(field_bands, "fuse", interrupted)
    monkeypatch.setattr("hybridcast.core.files.shutil.rmtree", lambda *args, **options: None)  # as if it were killed
    with pytest.raises(KeyboardInterrupt):
        streamed(path, nowcaster)
    xr.testing.assert_identical(load_forecast(path, lazy=False), before)
    (rest,) = [one for one in tmp_path.iterdir() if one != path]
    with pytest.raises(InputError, match="Make it again"):
        load_forecast(rest)


@pytest.mark.parametrize(
    ("out", "message"), [("a.nc", "save_forecast"), ("nowhere/a.zarr", "Create it"), (".", "ends in .zarr")]
)
def test_what_cannot_be_written_is_refused_before_anything_is_made(tmp_path, out, message, monkeypatch):
    monkeypatch.setattr("hybridcast.forecasting.screen_frames", None)
    with pytest.raises(InputError, match=message):
        streamed(tmp_path / out, "default")


def test_fields_of_a_large_grid_are_made_when_they_are_computed(large, nowcaster, tmp_path):
    made = forecast(scene(), lead_time="20min", nowcaster=nowcaster, members=2)
    assert all(made[name].chunks for name in (*FIELDS, ENSEMBLE))
    assert made[FIELDS[0]].chunks == ((4,), (64, 64, 22), (60,))
    fields = load_fields(made)
    assert list(fields) == list(made)
    assert not any(fields[name].chunks for name in FIELDS)
    assert fields[ENSEMBLE].chunks
    read = load_forecast(save_forecast(made, tmp_path / "a.nc"), lazy=False).assign_attrs(history="")
    xr.testing.assert_identical(read, in_memory(tmp_path / "b.nc", nowcaster, members=2).assign_attrs(history=""))


def test_a_forecast_that_does_not_fit_is_refused_beforehand(tmp_path, monkeypatch, nowcaster):
    monkeypatch.setattr("hybridcast.core.memory.measure_available_memory", lambda: 0.5)
    with pytest.raises(InputError, match=r"20 fields of 150 x 60 cells take 0.0 GB.*fewer lead times"):
        forecast(scene(), lead_time="20min", nowcaster=nowcaster)
    with pytest.raises(InputError, match="fewer lead times") as raised:
        forecast(scene(), lead_time="2h", nowcaster=Advection())
    assert "out=" not in str(raised.value)
    monkeypatch.setattr("hybridcast.core.memory.measure_available_memory", lambda: float("nan"))
    assert forecast(scene(), lead_time="20min", nowcaster=nowcaster).sizes["lead_time"] == 4


def test_a_large_one_that_does_not_fit_is_streamed_or_lazy(tmp_path, monkeypatch, large, nowcaster):
    monkeypatch.setattr("hybridcast.core.memory.measure_available_memory", lambda: 0.5)
    assert streamed(tmp_path / "a.zarr", nowcaster).sizes["lead_time"] == 4
    made = forecast(scene(), lead_time="20min", nowcaster=nowcaster)
    with pytest.raises(InputError, match=r"fields of the forecast take 0.0 GB.*out='forecast\.zarr'"):
        save_forecast(made, tmp_path / "a.nc")


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield cluster, client


def test_workers_of_a_cluster_make_the_same_fields_and_members_though_one_is_killed(
    tmp_path, large, nowcaster, cluster
):
    made, (machines, client) = forecast(scene(), lead_time="20min", nowcaster=nowcaster, members=5, seed=3), cluster
    futures = client.compute(made)
    os.kill(next(iter(machines.workers.values())).pid, signal.SIGKILL)
    computed = load_forecast(save_forecast(futures.result(), tmp_path / "a.zarr"), lazy=False)
    whole = in_memory(tmp_path / "b.zarr", nowcaster, members=5, seed=3)
    xr.testing.assert_identical(computed.assign_attrs(history=""), whole.assign_attrs(history=""))


def test_a_forecast_is_written_by_the_workers_of_an_active_client(tmp_path, large, nowcaster, cluster, monkeypatch):
    whole = in_memory(tmp_path / "b.zarr", nowcaster)
    monkeypatch.setattr("hybridcast.fusion.field_bands.fuse", None)  # in this process, not in the workers
    written = streamed(tmp_path / "a.zarr", nowcaster).compute()
    xr.testing.assert_identical(written.assign_attrs(history=""), whole.assign_attrs(history=""))
