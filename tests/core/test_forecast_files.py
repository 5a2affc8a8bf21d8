"""Forecasts on disk: members in every packing and format, made one lead time at a time, whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr

from helpers import synthetic
from helpers.ensembles import lazy_members
from helpers.paths import ROOT
from hybridcast.core.forecast_files import load_forecast, round_probabilities, round_rates, save_forecast
from hybridcast.core.forecast_schema import ENSEMBLE, add_ensemble, add_member_weights, add_probabilities
from hybridcast.errors import ForecastFileError, InputError, ReadError
from hybridcast.forecasting import forecast
from hybridcast.motion.estimate import estimate_motion
from hybridcast.nowcasters.base import Advection, Persistence
from hybridcast.radar import open_radar

LEADS, SHAPE, COUNT = 3, (37, 41), 4
PACKINGS = ("float16", "float32", "packed")
SUFFIXES = (".nc", ".zarr")


def rates(seed=0, count=COUNT):
    """Rates of members, mm/h: dry, drizzle at the threshold, downpours, and unknown."""
    made = np.random.default_rng(seed).gamma(0.3, 5.0, (count, LEADS, *SHAPE)).astype(np.float32)
    made[made < 0.1] = 0
    made[:, 0, 0] = [0, 0.1, 250, 0.5, 1, 5, 10, *np.full(SHAPE[1] - 7, 1e-3)]
    made[:, 1, :, :9] = np.nan
    made[:, 2] = np.nan
    return made


def plain(crs="EPSG:3035"):
    """A forecast without members, of several variables."""
    rain = synthetic.rain(SHAPE, seen=synthetic.disc(SHAPE), crs=crs)
    made = forecast(rain, nowcaster=Advection(), lead_time="15min")
    chance = np.random.default_rng(1).random((2, LEADS, *SHAPE), np.float32)
    weights = np.ones((2, 2, LEADS), np.float32)
    return add_member_weights(add_probabilities(made, chance, [0.1, 1.0]), weights, ["boosting", "network"])


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def with_lazy(base, made, note=lambda lead: None):
    """The forecast with members that are made when they are computed; `note` is told of each lead time."""

    def make(lead):
        note(lead)
        return made[:, lead].copy()

    return add_ensemble(base, lazy_members(len(made), made.shape[1:], make), rate_is_mean=False)


# --- round trips ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("lazy", [True, False], ids=["lazy", "in memory"])
def test_members_come_back_within_the_resolution(tmp_path, suffix, packing, lazy):
    base, made = plain(), rates()
    result = with_lazy(base, made) if lazy else add_ensemble(base, made, rate_is_mean=False)
    path = save_forecast(result, tmp_path / f"forecast{suffix}", packing=packing)
    read = load_forecast(path)
    members = read[ENSEMBLE]
    assert members.chunks == ((COUNT,), (1,) * LEADS, *((size,) for size in SHAPE))
    assert members.dtype == np.float32
    values = members.values
    np.testing.assert_array_equal(np.isnan(values), np.isnan(made))
    assert (values[made == 0] == 0).all()
    tolerance = {"float32": {"rtol": 0}, "float16": {"rtol": 2**-11, "atol": 2**-25}, "packed": {"atol": 0.00501}}
    np.testing.assert_allclose(values, made, **({"rtol": 1e-6} | tolerance[packing]))
    for threshold in (0.5, 1.0, 5.0, 10.0):
        assert (values[made == np.float32(threshold)] == threshold).all()
    if packing == "packed":
        assert (values[made == np.float32(0.1)] >= np.float32(0.1)).all()
    others = read.drop_vars([ENSEMBLE, "realization"])
    xr.testing.assert_identical(others, load_forecast(save_forecast(base, tmp_path / f"base{suffix}")))
    xr.testing.assert_equal(others.drop_vars("probability_of_exceedance"), base.drop_vars("probability_of_exceedance"))


def test_netcdf_and_zarr_hold_the_same(tmp_path):
    result = with_lazy(plain(), rates())
    for packing in PACKINGS:
        one, other = (load_forecast(save_forecast(result, tmp_path / f"a{s}", packing=packing)) for s in SUFFIXES)
        xr.testing.assert_identical(one.compute(), other.compute())
        np.testing.assert_array_equal(one[ENSEMBLE], round_rates(rates(), packing))
        xr.testing.assert_equal(
            one.drop_vars(ENSEMBLE).drop_dims("realization", errors="ignore"), round_probabilities(plain())
        )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_read_can_be_written_again_in_any_way(tmp_path, suffix):
    path = save_forecast(with_lazy(plain(), rates()), tmp_path / f"a{suffix}", packing="packed")
    first = load_forecast(path)
    for other in SUFFIXES:
        for packing in PACKINGS:
            again = load_forecast(save_forecast(first, tmp_path / f"b{other}", packing=packing))
            np.testing.assert_allclose(again[ENSEMBLE], first[ENSEMBLE], rtol=2**-11, atol=1e-7)
            xr.testing.assert_equal(again.drop_vars(ENSEMBLE), first.drop_vars(ENSEMBLE))
    save_forecast(first, path, packing="float16")  # in place of the folder or file that its members are read from
    np.testing.assert_allclose(load_forecast(path)[ENSEMBLE], rates(), rtol=2**-11, atol=0.00501)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_first_of_many_members_are_those_of_few(tmp_path, suffix):
    few, many = (
        load_forecast(save_forecast(with_lazy(plain(), rates()[:n]), tmp_path / f"{n}{suffix}")) for n in (2, COUNT)
    )
    np.testing.assert_array_equal(many[ENSEMBLE][:2], few[ENSEMBLE])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_one_member_of_one_lead_time_on_few_cells(tmp_path, suffix, shape):
    rain = synthetic.rain(shape)
    result = forecast(rain, nowcaster=Persistence(), lead_time="5min")
    result = add_ensemble(result, np.full((1, 1, *shape), 2.0), rate_is_mean=False)
    read = load_forecast(save_forecast(result, tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(read[ENSEMBLE], np.full((1, 1, *shape), 2.0))


# --- one lead time at a time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_lead_time_is_made_once_and_only_one_is_in_memory(tmp_path, suffix, packing):
    made, alive, most = [], set(), 0

    def make(lead):
        nonlocal most
        made.append(lead)
        values = np.full((COUNT, *SHAPE), lead, np.float32)
        alive.add(lead)
        weakref.finalize(values, alive.discard, lead)
        most = max(most, len(alive))
        return values

    rain = synthetic.rain(SHAPE)
    base = forecast(rain, nowcaster=Persistence(), lead_time="1h")
    result = add_ensemble(base, lazy_members(COUNT, base.precipitation_rate.shape, make), rate_is_mean=False)
    path = save_forecast(result, tmp_path / f"forecast{suffix}", packing=packing)
    assert sorted(made) == list(range(12))
    assert most == 1
    values = load_forecast(path)[ENSEMBLE]
    np.testing.assert_array_equal(values[:, 7], np.full((COUNT, *SHAPE), 7))
    assert len(made) == 12


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_chunks_of_members_are_written_too(tmp_path, suffix):
    made = rates()
    result = add_ensemble(plain(), made, rate_is_mean=False)
    result[ENSEMBLE] = result[ENSEMBLE].chunk({"realization": 3, "lead_time": 2, "y": 10, "x": 7})
    result = result.assign(precipitation_rate=result.precipitation_rate.chunk({"y": 10})).transpose("x", ...)
    read = load_forecast(save_forecast(result, tmp_path / f"a{suffix}", packing="float32"))
    np.testing.assert_array_equal(read[ENSEMBLE], made)
    np.testing.assert_array_equal(read.precipitation_rate.transpose("x", ...), result.precipitation_rate)


@pytest.mark.parametrize(
    ("dim", "said"), [("realization", "members have the dims"), ("lead_time", "'precipitation_rate' by lead_time")]
)
def test_members_without_a_dim_are_refused(tmp_path, dim, said):
    result = add_ensemble(plain(), rates(), rate_is_mean=False)
    with pytest.raises(InputError, match=said) as caught:
        save_forecast(result.isel({dim: 0}), tmp_path / "a.nc")
    assert f"isel({dim}=[0])" in str(caught.value)
    assert names_in(tmp_path) == []
    kept = result.isel({dim: [0]})
    assert load_forecast(save_forecast(kept, tmp_path / "a.nc")).sizes[dim] == 1


def test_damaged_members_name_their_file(tmp_path):
    path = save_forecast(with_lazy(plain(), rates()), tmp_path / "forecast.zarr")
    (path / ENSEMBLE / "2.1.0.0").write_bytes(b"damaged")
    members = load_forecast(path)[ENSEMBLE]
    np.testing.assert_allclose(members[:, 0], rates()[:, 0], rtol=2**-11, atol=1e-7)
    with pytest.raises(ReadError, match=r"forecast\.zarr: its values are damaged"):
        members[:, 1].load()


# --- whole or not at all --------------------------------------------------------------------------------------


def fail_at(lead, error):
    def note(made):
        if made == lead:
            raise error

    return note


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_among_the_members_leaves_the_old_forecast(tmp_path, suffix, error):
    path = save_forecast(plain(), tmp_path / f"forecast{suffix}")
    before = load_forecast(path)
    with pytest.raises(type(error)):
        save_forecast(with_lazy(plain(), rates(), fail_at(1, error)), path)
    xr.testing.assert_identical(load_forecast(path), before)
    assert names_in(tmp_path) == [path.name]


KILLED = """
import os, signal, sys
sys.path[:0] = {paths}
import test_forecast_files as t
kill = lambda lead: lead == 1 and os.kill(os.getpid(), signal.SIGKILL)
t.save_forecast(t.with_lazy(t.plain(), t.rates(), kill), {path!r})
"""


@pytest.mark.process
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_process_leaves_the_old_forecast(tmp_path, suffix):
    path = save_forecast(plain(), tmp_path / f"forecast{suffix}")
    before = load_forecast(path)
    paths = [str(Path(__file__).parent), str(ROOT / "tests"), str(ROOT), str(ROOT / "kernels")]
    code = KILLED.format(paths=paths, path=str(path))
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    xr.testing.assert_identical(load_forecast(path), before)
    assert sorted(name.startswith(".forecast-") for name in names_in(tmp_path)) == [False, True]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_forecast_is_replaced_as_a_whole(tmp_path, suffix):
    path = save_forecast(with_lazy(plain(), rates()), tmp_path / f"forecast{suffix}")
    save_forecast(plain(), path)
    assert ENSEMBLE not in load_forecast(path)
    assert names_in(tmp_path) == [path.name]


def test_only_a_forecast_is_replaced(tmp_path):
    folder = tmp_path / "rain.zarr"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists and holds something else; only a folder of the same kind"):
        save_forecast(plain(), folder)
    assert (folder / "thesis.txt").read_text() == "years of work"
    radar = tmp_path / "radar.zarr"
    synthetic.rain(SHAPE).to_dataset(name="precipitation_rate").to_zarr(radar, zarr_format=2)
    with pytest.raises(InputError, match="holds something else"):
        save_forecast(plain(), radar)
    (tmp_path / "file.zarr").write_text("a file")
    with pytest.raises(InputError, match="holds something else"):
        save_forecast(plain(), tmp_path / "file.zarr")
    with pytest.raises(InputError, match="is a folder or a device"):
        save_forecast(plain(), tmp_path)
    with pytest.raises(InputError, match=r"absent' does not exist.*Create it"):
        save_forecast(plain(), tmp_path / "absent" / "forecast.zarr")
    assert names_in(tmp_path) == ["file.zarr", "radar.zarr", "rain.zarr"]


def test_others_may_read_a_folder_as_they_may_a_file(tmp_path):
    paths = [save_forecast(plain(), tmp_path / f"forecast{suffix}") for suffix in SUFFIXES]
    file, folder = (path.stat().st_mode & 0o666 for path in paths)
    assert file == folder
    assert (folder & 0o444 == 0) or paths[1].stat().st_mode & 0o100


# --- what is refused ------------------------------------------------------------------------------------------


def test_rates_that_do_not_fit_are_refused_not_clipped(tmp_path):
    made = rates()
    made[1, 1, 20, 20] = 70_000
    for suffix in SUFFIXES:
        with pytest.raises(InputError) as error:
            save_forecast(with_lazy(plain(), made), tmp_path / f"a{suffix}", packing="float16")
        assert "to 70000 mm/h; packing='float16' holds 0 to 65504 mm/h. Choose packing='float32'." in str(error.value)
        assert "--packing float32" in error.value.for_command_line
        with pytest.raises(InputError, match="from -1 to"):
            save_forecast(with_lazy(plain(), made - 1), tmp_path / f"a{suffix}", packing="packed")
        assert names_in(tmp_path) == []
    for packing in ("packed", "float32"):
        path = save_forecast(with_lazy(plain(), made), tmp_path / "a.zarr", packing=packing)
        assert float(load_forecast(path)[ENSEMBLE][1, 1, 20, 20]) == 70_000


def test_unknown_packings_are_refused(tmp_path):
    with pytest.raises(InputError, match="packing = 'zip'; members are stored as float16, float32, packed"):
        save_forecast(plain(), tmp_path / "a.nc", packing="zip")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_could_not_be_loaded_replaces_no_forecast(tmp_path, suffix):
    path = save_forecast(plain(), tmp_path / f"a{suffix}")
    whole = load_forecast(path).compute()
    negative = whole.assign(precipitation_rate=whole.precipitation_rate - 5)
    for wrong, said in (
        (whole.isel(lead_time=0), "by lead_time.*Select with lists"),
        (whole.drop_vars("time"), "no time"),
        (whole.drop_vars("precipitation_rate"), "by lead_time"),
        (negative, "0 or more"),
    ):
        with pytest.raises(InputError, match=said):
            save_forecast(wrong, path)
    xr.testing.assert_identical(load_forecast(path).compute(), whole)


@pytest.mark.parametrize("name", ["nothing.zarr", "empty.zarr", "radar.zarr"])
def test_folders_that_are_no_forecast_are_not_loaded(tmp_path, name):
    (tmp_path / "empty.zarr").mkdir()
    synthetic.rain(SHAPE).to_dataset(name="precipitation_rate").to_zarr(tmp_path / "radar.zarr", zarr_format=2)
    with pytest.raises(InputError, match="save_forecast"):
        load_forecast(tmp_path / name)


def test_a_forecast_of_members_is_no_observation(tmp_path):
    for suffix in SUFFIXES:
        path = save_forecast(with_lazy(plain(), rates()), tmp_path / f"forecast{suffix}")
        with pytest.raises(ForecastFileError, match=r"\+5 to \+15 min"):
            open_radar(path)


# --- other readers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_c_library_reads_the_members(tmp_path, packing):
    path = save_forecast(with_lazy(plain(), rates()), tmp_path / "forecast.nc", packing=packing)
    with netCDF4.Dataset(path) as file:
        members, realization = file[ENSEMBLE], file["realization"]
        assert members.dimensions == ("realization", "lead_time", "y", "x")
        assert members.standard_name == "lwe_precipitation_rate"
        assert members.units == "mm h-1"
        assert members.grid_mapping == "spatial_ref"
        assert members.chunking() == [1, 1, *SHAPE]
        assert realization.standard_name == "realization"
        assert np.issubdtype(realization.dtype, np.integer)
        values = np.ma.filled(members[:].astype(float), np.nan)
    np.testing.assert_allclose(values, rates(), rtol=2**-11, atol=0.00501 if packing == "packed" else 1e-7)


@pytest.mark.parametrize("packing", PACKINGS)
def test_zarr_is_of_format_2_with_consolidated_metadata(tmp_path, packing):
    path = save_forecast(with_lazy(plain(), rates()), tmp_path / "forecast.zarr", packing=packing)
    metadata = json.loads((path / ".zmetadata").read_text())["metadata"]
    array, attrs = metadata[f"{ENSEMBLE}/.zarray"], metadata[f"{ENSEMBLE}/.zattrs"]
    assert array["dtype"] == {"float16": "<f2", "float32": "<f4", "packed": "<i4"}[packing]
    assert array["chunks"] == [1, 1, *SHAPE]
    assert attrs["standard_name"] == "lwe_precipitation_rate"
    assert attrs["_ARRAY_DIMENSIONS"] == ["realization", "lead_time", "y", "x"]
    assert metadata["realization/.zattrs"]["standard_name"] == "realization"
    assert metadata["precipitation_rate/.zarray"]["chunks"] == [1, *SHAPE]
    assert zarr.open_group(path, mode="r")[ENSEMBLE].shape == (COUNT, LEADS, *SHAPE)
    with xr.open_zarr(path) as read:
        np.testing.assert_allclose(read[ENSEMBLE], rates(), rtol=2**-11, atol=0.00501)


@pytest.mark.parametrize("packing", PACKINGS)
def test_members_keep_the_cf_conventions(tmp_path, packing):
    checker = pytest.importorskip("compliance_checker.runner")
    checker.CheckSuite.load_all_available_checkers()
    path = save_forecast(with_lazy(plain(), rates()), tmp_path / "forecast.nc", packing=packing)
    report = tmp_path / "report.json"
    passed, errors = checker.ComplianceChecker.run_checker(
        str(path), ["cf:1.10"], 0, "strict", output_filename=str(report), output_format="json"
    )
    assert not errors
    found = json.loads(report.read_text())["cf:1.10"]
    levels = ("high_priorities", "medium_priorities")
    assert [message for level in levels for check in found[level] for message in check["msgs"]] == []
    assert passed


def test_fields_without_members_are_the_same_bytes_with_them(tmp_path):
    base = plain()
    paths = [tmp_path / "a.nc", tmp_path / "b.nc"]
    for path, result in zip(paths, (base, with_lazy(base, rates())), strict=True):
        save_forecast(result, path)
    with netCDF4.Dataset(paths[0]) as one, netCDF4.Dataset(paths[1]) as other:
        for name in one.variables:
            np.testing.assert_array_equal(other[name][:], one[name][:])
            assert other[name].chunking() == one[name].chunking()


def test_the_motion_is_kept(tmp_path):
    rain = synthetic.rain(SHAPE)
    result = with_lazy(forecast(rain, nowcaster=Advection(), lead_time="15min"), rates())
    read = load_forecast(save_forecast(result, tmp_path / "a.zarr"))
    np.testing.assert_array_equal(read.u, estimate_motion(rain).u)
