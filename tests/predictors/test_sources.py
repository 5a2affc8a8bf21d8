"""Other sources: what is there at an issue time, what is left out and why, and forecasts with every combination."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.core.field import with_crs
from hybridcast.core.forecast_files import load_forecast, save_forecast
from hybridcast.core.source_report import SourceReport, render_reports
from hybridcast.datasets.pseudo_nwp import simulate_runs_before
from hybridcast.errors import InputError
from hybridcast.forecasting import forecast
from hybridcast.fusion.hybrid import load_hybrid
from hybridcast.motion.estimate import DenseFlow
from hybridcast.nowcasters.base import Advection
from hybridcast.nwp.schema import nwp_fields
from hybridcast.predictors.registry import ALL_PREDICTORS, PREDICTORS, RADAR_PREDICTORS, SOURCE_PREDICTORS
from hybridcast.predictors.sources import Sources, compute_source_predictors, select_sources
from hybridcast.predictors.state import build_predictor_state, predictors_eulerian
from hybridcast.stations import station_reports
from hybridcast.terrain import terrain_dataset

MINUTE, HOUR = np.timedelta64(1, "m"), np.timedelta64(1, "h")
SHAPE = (60, 66)
CRS = "EPSG:3035"
RATE, ADVECTED, CHANCE = "precipitation_rate", "precipitation_rate_advected", "probability_of_exceedance"
LEADS = (np.array([15, 30, 60, 90, 120]) * 60e9).astype("timedelta64[ns]")


@pytest.fixture(scope="module")
def day():
    """Rain for six hours on cells of 2 km, seen within a disc."""
    rain = synthetic.rain(SHAPE, synthetic.translation(0.8, -0.5), frames=73, cell=5.0, seen=synthetic.disc(SHAPE, 0.7))
    x, y = (np.arange(n) * 2000.0 + 4_000_000.0 - 1_000_000.0 * (axis == "y") for axis, n in (("x", 66), ("y", 60)))
    rain = rain.assign_coords(x=("x", x, rain.x.attrs), y=("y", y, rain.y.attrs))
    return with_crs(rain, CRS)


@pytest.fixture(scope="module")
def recent(day):
    """The two hours before the issue time."""
    return day.isel(time=slice(12, 37))


@pytest.fixture(scope="module")
def issue(recent):
    return recent["time"].values[-1]


@pytest.fixture(scope="module")
def everywhere(day, issue):
    """Pseudo-NWP that covers the whole grid, also outside the coverage of the radar."""
    runs = simulate_runs_before(day, issue, ages=(3, 6))
    filled = runs[RATE].ffill("x").bfill("x").ffill("y").bfill("y")
    return runs.assign({RATE: filled.fillna(0.0).assign_attrs(runs[RATE].attrs)})


@pytest.fixture(scope="module")
def gauges(recent):
    """Gauges every 8 cells that see twice as much as the radar, every 5 min."""
    rows, columns = (np.arange(4, n, 8) for n in SHAPE)
    at = np.array(list(itertools.product(rows, columns)))
    rates = 2 * np.nan_to_num(recent.values[:, at[:, 0], at[:, 1]]).T
    places = {"x": recent.x.values[at[:, 1]], "y": recent.y.values[at[:, 0]]}
    names = [f"g{k}" for k in range(len(at))]
    return station_reports(rates, station=names, time=recent["time"].values, interval=5 * MINUTE, coords=places)


@pytest.fixture(scope="module")
def hills(recent):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return terrain_dataset((500 + 200 * np.sin(x / 9) * np.cos(y / 7)).astype(np.float32), recent)


@pytest.fixture(scope="module")
def hybrid(model_folder):
    return load_hybrid(model_folder)


def make(recent, hybrid, **given):
    return forecast(recent, nowcaster=hybrid, lead_time="2h", step="30min", **given)


def shifted(nwp, by):
    return nwp.assign_coords(reference_time=nwp["reference_time"] + by)


# --- selection -----------------------------------------------------------------------------------------------


def test_without_data_there_are_no_sources(recent):
    sources = select_sources(recent)
    assert not sources
    assert sources.reports == ()
    assert compute_source_predictors(sources, recent, DenseFlow().estimate(recent), LEADS) is None


def test_used_sources_are_named_with_their_age(recent, everywhere, gauges, hills):
    sources = select_sources(recent, nwp=everywhere, stations=gauges, terrain=hills)
    assert sources.has_rain
    assert [report.source for report in sources.reports] == ["nwp", "nwp", "terrain", "stations"]
    assert "h old" in sources.reports[0].age
    assert sources.reports[-1].name == "56 stations"
    assert all(report.is_used for report in sources.reports)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda nwp, _: shifted(nwp, 2 * HOUR), "h old"),  # not available yet
        (lambda nwp, _: shifted(nwp, -48 * HOUR), "no lead time beyond the issue time"),
        (lambda nwp, _: nwp.assign_coords(x=nwp.x + 5e6), "lies elsewhere"),
    ],
)
def test_nwp_runs_without_information_are_left_out(recent, everywhere, change, reason):
    sources = select_sources(recent, nwp=change(everywhere.isel(reference_time=[0]), recent))
    assert sources.nwp is None
    assert reason in render_reports(sources.reports, used=False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda g: g.assign_coords(time=g.time - 3 * HOUR), "no report|old"),
        (lambda g: g.assign_coords(x=g.x + 1e6), "none of them on the radar's grid"),
        (lambda g: g.assign(precipitation_rate=g.precipitation_rate * np.nan), "no report is left"),
        (lambda g: g.isel(station=[]), "0, none of them"),
    ],
)
def test_stations_without_information_are_left_out(recent, gauges, change, reason):
    import re

    sources = select_sources(recent, stations=change(gauges))
    assert sources.stations is None
    assert re.search(reason, render_reports(sources.reports, used=False))


def test_wrong_sources_are_errors(recent, everywhere, hills):
    with pytest.raises(InputError, match="surface_altitude"):
        select_sources(recent, terrain=hills[["slope_x"]])
    with pytest.raises(InputError, match="terrain and radar"):
        select_sources(recent, terrain=hills.isel(x=slice(5, None)))
    with pytest.raises(InputError):
        select_sources(recent, nwp=everywhere.rename({RATE: "rain"}))


# --- predictors -----------------------------------------------------------------------------------------------


def test_rows_are_wider_with_sources_and_else_the_same(recent, everywhere, gauges, hills):
    motion = DenseFlow().estimate(recent)
    cells = np.argwhere(np.isfinite(recent.values[-1]))[::40].astype(np.int32)
    sources = select_sources(recent, nwp=everywhere, stations=gauges, terrain=hills)
    plain = predictors_eulerian(build_predictor_state(recent, motion, LEADS), cells)
    wide = predictors_eulerian(
        build_predictor_state(recent, motion, LEADS, sources=compute_source_predictors(sources, recent, motion, LEADS)),
        cells,
    )
    assert plain.shape[-1] == len(RADAR_PREDICTORS)
    assert wide.shape[-1] == len(ALL_PREDICTORS)
    np.testing.assert_array_equal(wide[..., : len(RADAR_PREDICTORS)], plain)
    there = dict(zip(SOURCE_PREDICTORS, np.isfinite(wide[..., len(RADAR_PREDICTORS) :]).mean(axis=(0, 1)), strict=True))
    absent = {one.name for one in PREDICTORS if one.group == "nwp" and not set(one.needs) <= set(everywhere)}
    assert {"nwp_wind_speed", "nwp_humidity", "nwp_cape"} <= absent
    assert all((share == 0) == (name in absent) for name, share in there.items() if name != "nwp_skill_64"), there


# --- forecasts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", list(itertools.product((False, True), repeat=3)))
def test_every_combination_makes_a_forecast(recent, hybrid, everywhere, gauges, hills, given, tmp_path):
    names = [name for name, there in zip(("nwp", "stations", "terrain"), given, strict=True) if there]
    every = {"nwp": everywhere, "stations": gauges, "terrain": hills}
    result = make(recent, hybrid, **{name: every[name] for name in names})
    rate = result[RATE].values
    assert result.attrs["sources_used"].startswith("radar")
    assert [name in result.attrs["sources_used"] for name in ("nwp", "stations", "terrain")] == list(given)
    assert result.attrs["sources_left_out"] == "none"
    assert np.nanmin(rate) >= 0
    known = np.isfinite(result[ADVECTED].values)
    assert np.isfinite(rate[known]).all()
    if "nwp" in names:
        assert np.isfinite(rate).mean() > 0.99  # inflow from outside the coverage is taken from NWP
    else:
        np.testing.assert_array_equal(np.isfinite(rate), known)
    chance = result[CHANCE].values
    np.testing.assert_array_equal(np.isfinite(chance).all(axis=0), np.isfinite(rate))
    assert (np.nanmin(chance), np.nanmax(chance)) >= (0, 0)
    assert np.nanmax(chance) <= 1
    np.testing.assert_allclose(result["source_weight"].sum("source"), 1, atol=1e-6)
    assert ("radar_adjustment" in result.attrs) == ("stations" in names)
    xr.testing.assert_allclose(load_forecast(save_forecast(result, tmp_path / "f.nc"))[RATE], result[RATE])


def test_gauges_that_see_twice_as_much_make_the_forecast_wetter(recent, hybrid, gauges):
    plain, adjusted = make(recent, hybrid), make(recent, hybrid, stations=gauges)
    ratio = float(adjusted[ADVECTED].sum() / plain[ADVECTED].sum())
    assert 1.5 < ratio < 2.1


def test_without_nwp_stations_and_terrain_leave_unknown_cells_unknown(recent, hybrid, gauges, hills):
    plain, other = make(recent, hybrid), make(recent, hybrid, stations=gauges, terrain=hills)
    # the adjusted radar has a slightly other motion
    assert (np.isnan(plain[RATE].values) != np.isnan(other[RATE].values)).mean() < 0.005


def test_nothing_after_the_issue_time_counts(day, recent, hybrid, everywhere, gauges, issue):
    """Later radar, later reports, and runs that are not available yet."""
    first = make(recent, hybrid, nwp=everywhere, stations=gauges)
    more = xr.concat([everywhere, shifted(everywhere.isel(reference_time=[0]) * 0 + 50, 24 * HOUR)], "reference_time")
    later = gauges.assign_coords(time=gauges.time + 125 * MINUTE) * 0 + 99
    reports = xr.concat([gauges, later], "time").assign_attrs(gauges.attrs)
    reports = reports.assign(precipitation_rate=reports[RATE].assign_attrs(gauges[RATE].attrs))
    runs = more.assign({RATE: more[RATE].assign_attrs(everywhere[RATE].attrs)})
    second = make(day, hybrid, nwp=runs, stations=reports, issue_time=issue)
    np.testing.assert_array_equal(first[RATE], second[RATE])
    np.testing.assert_array_equal(first[CHANCE], second[CHANCE])


def test_nwp_on_another_projection_gives_nearly_the_same(recent, hybrid, everywhere):
    """The runs, put on a grid of longitudes and latitudes."""
    import pyproj

    to_degrees = pyproj.Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    corners = to_degrees.transform(*np.meshgrid(everywhere.x.values, everywhere.y.values))
    lon = np.arange(corners[0].min() - 0.1, corners[0].max() + 0.1, 0.02)
    lat = np.arange(corners[1].min() - 0.1, corners[1].max() + 0.1, 0.015)
    back = pyproj.Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(*np.meshgrid(lon, lat))
    on_degrees = everywhere[RATE].interp(
        x=xr.DataArray(back[0], dims=("lat", "lon")),
        y=xr.DataArray(back[1], dims=("lat", "lon")),
        method="nearest",
        kwargs={"fill_value": None},
    )
    nwp = nwp_fields(
        {RATE: on_degrees.values.astype(np.float32)},
        reference_time=everywhere.reference_time.values,
        lead_time=everywhere.lead_time.values,
        y=lat,
        x=lon,
        crs="EPSG:4326",
    )
    one, other = (make(recent, hybrid, nwp=runs)[CHANCE].sel(threshold=1.0).values for runs in (everywhere, nwp))
    known = np.isfinite(one) & np.isfinite(other)
    assert known.mean() > 0.95
    assert np.corrcoef(one[known], other[known])[0, 1] > 0.97


def test_nwp_of_half_the_domain_fills_that_half(recent, hybrid, everywhere):
    half = everywhere.isel(x=slice(0, 30))
    rate = make(recent, hybrid, nwp=half)[RATE].values
    alone = np.isfinite(make(recent, hybrid)[RATE].values)
    assert np.isfinite(rate[:, :, :26]).all()
    np.testing.assert_array_equal(np.isfinite(rate[:, :, 36:]), alone[:, :, 36:])


def test_without_any_radar_the_forecast_is_that_of_nwp(recent, hybrid, everywhere):
    gone = recent.copy(data=np.full(recent.shape, np.nan, np.float32))
    result = make(gone, hybrid, nwp=everywhere)
    assert np.isfinite(result[RATE].values).mean() > 0.99
    assert result.attrs["sources_used"].startswith("nwp")
    wet = float((result[RATE] >= 1).mean())
    assert 0.5 * float((everywhere[RATE] >= 1).mean()) < wet < 2 * float((everywhere[RATE] >= 1).mean())
    assert np.isnan(make(gone, hybrid)[RATE].values).all()


def test_dry_radar_and_wet_nwp(recent, hybrid, everywhere):
    dry = recent.copy(data=np.where(np.isnan(recent.values), np.nan, 0).astype(np.float32))
    result = make(dry, hybrid, nwp=everywhere)
    assert np.isfinite(result[RATE].values).mean() > 0.99
    assert np.isfinite(result["source_weight"].values).all()


def test_simulated_nwp_is_named_in_the_result(recent, hybrid, everywhere):
    simulated = everywhere.assign_attrs(simulated="pseudo-NWP: no model was run")
    assert make(recent, hybrid, nwp=simulated).attrs["simulated"] == "pseudo-NWP: no model was run"
    assert "simulated" not in make(recent, hybrid, nwp=everywhere.assign_attrs(simulated="")).attrs
    assert "simulated" not in forecast(recent, nowcaster=Advection(), lead_time="30min", nwp=simulated).attrs


def test_a_nowcaster_without_other_sources_names_what_it_ignores(recent, everywhere, gauges):
    result = forecast(recent, nowcaster=Advection(), lead_time="30min", nwp=everywhere, stations=gauges)
    assert "nwp (advection (dense flow, linear) takes none)" in result.attrs["sources_left_out"]
    assert "nwp" not in result.attrs["sources_used"]
    assert "radar adjusted by" in result.attrs["radar_adjustment"]


def test_a_model_trained_without_other_sources_uses_radar_alone(recent, hybrid, everywhere):
    bare = replace(hybrid, model=replace(hybrid.model, nwp_stage=None))
    one, other = make(recent, bare, nwp=everywhere), make(recent, hybrid)
    np.testing.assert_array_equal(one[RATE], other[RATE])


@pytest.mark.slow
def test_ten_thousand_stations(recent, hybrid):
    generator = np.random.default_rng(0)
    x, y = (generator.uniform(axis.min(), axis.max(), 10_000) for axis in (recent.x.values, recent.y.values))
    rates = generator.gamma(0.3, 2.0, (10_000, 12)).astype(np.float32)
    reports = station_reports(
        rates,
        station=[f"s{k}" for k in range(10_000)],
        time=recent["time"].values[-1] - np.arange(11, -1, -1) * 10 * MINUTE,
        interval=10 * MINUTE,
        coords={"x": x, "y": y},
    )
    result = make(recent, hybrid, stations=reports)
    assert "stations" in result.attrs["sources_used"]


def test_sources_do_not_need_one_another():
    assert not Sources()
    assert not Sources(reports=(SourceReport("nwp", "nwp", False, reason="gone"),))


def test_the_size_of_blocks_does_not_matter(recent, hybrid, everywhere, monkeypatch):
    whole = make(recent, hybrid, nwp=everywhere)
    monkeypatch.setattr("hybridcast.fusion.members.BLOCK_ROWS", 50)
    in_blocks = make(recent, hybrid, nwp=everywhere)
    # the last bits of a product of matrices may depend on its number of rows
    xr.testing.assert_allclose(whole, in_blocks, rtol=1e-4)
    assert whole.assign_attrs(history="").attrs == in_blocks.assign_attrs(history="").attrs
    assert (whole["source_weight"].sel(source="nwp") > 0).any()
