"""The nowcaster with attention: every combination of sources, nothing of the future, nothing made of the unknown."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.core.field import with_crs
from hybridcast.datasets.pseudo_nwp import simulate_runs_before
from hybridcast.errors import InputError
from hybridcast.forecasting import forecast
from hybridcast.predictors.sources import Sources, select_sources
from hybridcast.stations import station_reports

torch = pytest.importorskip("torch")

from early_fusion import attention as at  # noqa: E402
from early_fusion.nowcaster import Attention, early_fusion  # noqa: E402

from hybridcast.core.forecast_schema import PROBABILITY  # noqa: E402
from hybridcast.core.source_report import SourceReport  # noqa: E402

MINUTE = np.timedelta64(1, "m")
SHAPE = (60, 66)
RATE = "precipitation_rate"
LEADS = (np.array([10, 30, 75, 120]) * 60e9).astype("timedelta64[ns]")
SETTINGS = at.AttentionSettings(width=8, layers=1)


@pytest.fixture(scope="module")
def day():
    """Simulated rain for six hours on cells of 2 km, seen within a disc."""
    rain = synthetic.rain(SHAPE, synthetic.translation(0.8, -0.5), frames=73, cell=5.0, seen=synthetic.disc(SHAPE, 0.7))
    x, y = (np.arange(n) * 2000.0 + 4_000_000.0 - 1_000_000.0 * (axis == "y") for axis, n in (("x", 66), ("y", 60)))
    return with_crs(rain.assign_coords(x=("x", x, rain.x.attrs), y=("y", y, rain.y.attrs)), "EPSG:3035")


@pytest.fixture(scope="module")
def recent(day):
    """The two hours before the issue time."""
    return day.isel(time=slice(12, 37))


@pytest.fixture(scope="module")
def runs(day, recent):
    """Pseudo-NWP that covers the radar's domain, where the radar sees nothing too."""
    made = simulate_runs_before(day, recent["time"].values[-1], ages=(3, 6))
    filled = made[RATE].ffill("x").bfill("x").ffill("y").bfill("y")
    return made.assign({RATE: filled.fillna(0.0).assign_attrs(made[RATE].attrs)})


@pytest.fixture(scope="module")
def gauges(recent):
    """Gauges every 8 cells that see twice as much as the radar, every 5 min."""
    rows, columns = (np.arange(4, n, 8) for n in SHAPE)
    where = np.array(list(itertools.product(rows, columns)))
    rates = 2 * np.nan_to_num(recent.values[:, where[:, 0], where[:, 1]]).T
    places = {"x": recent.x.values[where[:, 1]], "y": recent.y.values[where[:, 0]]}
    names = [f"g{k}" for k in range(len(where))]
    return station_reports(rates, station=names, time=recent["time"].values, interval=5 * MINUTE, coords=places)


@pytest.fixture(scope="module")
def attention():
    """A network whose numbers are drawn at random: what is tested holds for any."""
    generator = np.random.default_rng(1)
    made = {k: v.numpy() for k, v in at.build_network(SETTINGS, 0, np.geomspace(0.3, 0.01, 6)).state_dict().items()}
    made["last.weight"] = generator.normal(0, 0.3, made["last.weight"].shape).astype(np.float32)
    parameters = {f"0.{name}": value for name, value in made.items()}
    parameters["scaling"] = np.ones((2, len(at.PREDICTORS)), np.float32)
    return Attention(at.CrossAttention(parameters, SETTINGS))


def make(attention, recent, **given):
    return attention.with_sources(select_sources(recent, **given)).forecast(recent, LEADS)


@pytest.mark.parametrize("given", list(itertools.product((False, True), repeat=2)))
def test_every_combination_makes_a_forecast(attention, recent, runs, gauges, given):
    every = {"nwp": runs, "stations": gauges}
    names = [name for name, there in zip(every, given, strict=True) if there]
    result = make(attention, recent, **{name: every[name] for name in names})
    rate, chance = result[RATE].values, result[PROBABILITY].values
    assert result.attrs["nowcaster"] == "early fusion by attention"
    assert chance.shape == (3, 4, *SHAPE)
    assert np.nanmin(rate) >= 0
    assert np.nanmin(chance) >= 0
    assert np.nanmax(chance) <= 1
    assert (np.diff(chance, axis=0)[:, np.isfinite(rate)] <= 0).all()
    np.testing.assert_array_equal(np.isfinite(chance).all(axis=0), np.isfinite(rate))
    if "nwp" in names:
        assert np.isfinite(rate).mean() > 0.99
    else:
        assert 0.3 < np.isfinite(rate).mean() < 0.95  # what flows in from outside is unknown


def test_each_source_changes_the_chances(attention, recent, runs, gauges):
    plain, model, stations = (
        make(attention, recent, **given)[PROBABILITY].values for given in ({}, {"nwp": runs}, {"stations": gauges})
    )
    known = np.isfinite(plain)
    assert np.abs(model - plain)[known].max() > 1e-3
    assert np.abs(stations - plain)[known].max() > 1e-3


def test_nothing_after_the_issue_time_counts(attention, day, recent, runs, gauges):
    """Later radar, later reports, and runs that are not there yet."""
    first = forecast(recent, nowcaster=attention, lead_time="2h", step="30min", nwp=runs)
    assert [word in first.attrs["sources_used"] for word in ("radar", "nwp", "stations")] == [True, True, False]
    late = runs.isel(reference_time=[0]) * 0 + 50
    late = late.assign_coords(reference_time=late["reference_time"] + 24 * 60 * MINUTE)
    more = xr.concat([runs, late], "reference_time")
    more = more.assign({RATE: more[RATE].assign_attrs(runs[RATE].attrs)})
    issue = recent["time"].values[-1]
    second = forecast(day, nowcaster=attention, lead_time="2h", step="30min", nwp=more, issue_time=issue)
    np.testing.assert_array_equal(first[RATE], second[RATE])
    np.testing.assert_array_equal(first[PROBABILITY], second[PROBABILITY])
    later = gauges.assign_coords(time=gauges.time + 125 * MINUTE) * 0 + 99
    reports = xr.concat([gauges, later], "time").assign_attrs(gauges.attrs)
    reports = reports.assign(precipitation_rate=reports[RATE].assign_attrs(gauges[RATE].attrs))
    one, other = (make(attention, recent, stations=given) for given in (gauges, reports))
    np.testing.assert_array_equal(one[PROBABILITY], other[PROBABILITY])


def test_the_sharp_field_is_as_wet_as_frame_and_chances_say_together_and_in_the_order_of_the_chances(attention, recent):
    from hybridcast.advection import advect
    from hybridcast.motion.estimate import DenseFlow

    result = make(attention, recent)
    advected = advect(recent.isel(time=-1), DenseFlow().estimate(recent), LEADS).values
    for k in range(len(LEADS)):
        rate, known = result[RATE].values[k], np.isfinite(advected[k])
        np.testing.assert_array_equal(np.isfinite(rate), known)
        for threshold in (0.1, 1.0):
            wet, frame = ((field[known] >= threshold).mean() for field in (rate, advected[k]))
            promised = result[PROBABILITY].sel(threshold=threshold).values[k][known].mean()
            assert wet == pytest.approx(np.sqrt(frame * promised), abs=0.03)
        chance = result[PROBABILITY].sel(threshold=1.0).values[k]
        wet = rate >= 1
        assert chance[wet].mean() > chance[known & ~wet].mean()


def test_without_any_radar_the_model_speaks_alone_and_without_both_nothing_is_known(attention, recent, runs):
    gone = recent.copy(data=np.full(recent.shape, np.nan, np.float32))
    assert np.isfinite(make(attention, gone, nwp=runs)[RATE].values).mean() > 0.99
    nothing = make(attention, gone)
    assert np.isnan(nothing[RATE].values).all()
    assert np.isnan(nothing[PROBABILITY].values).all()
    assert "no radar data" in nothing.attrs["status"]


def test_dry_radar_late_radar_and_gaps_are_borne(attention, recent, runs):
    dry = recent.copy(data=np.where(np.isnan(recent.values), np.nan, 0).astype(np.float32))
    assert (np.nan_to_num(make(attention, dry)[RATE].values) == 0).all()
    late = recent.copy()
    late[-2:] = np.nan
    result = make(attention, late, nwp=runs)
    assert "late" in result.attrs["status"]
    assert np.isfinite(result[RATE].values).mean() > 0.99
    holes = recent.copy()
    holes[:, 20:30, 20:40] = np.nan
    plain = make(attention, holes)[RATE].values
    assert np.isnan(plain[0, 22:28, 24:36]).all()


def test_fine_cells_and_thresholds_of_choice(attention):
    fine = synthetic.rain((97, 83), frames=6, spacing=1000.0)
    result = replace(attention, thresholds=(0.5, 10.0)).forecast(fine, LEADS[:2])
    assert result[PROBABILITY].shape == (2, 2, 97, 83)
    with pytest.raises(InputError, match="which the network was trained for"):
        replace(attention, thresholds=(0.3,))


def test_it_comes_back_from_disk_and_is_told_apart(attention, recent, tmp_path):
    again = early_fusion(at.save_attention(attention.network, tmp_path / "early.safetensors"))
    np.testing.assert_array_equal(
        again.forecast(recent, LEADS[:1])[PROBABILITY], attention.forecast(recent, LEADS[:1])[PROBABILITY]
    )
    assert again.fingerprint == attention.fingerprint
    assert again.fingerprint != attention.with_sources(Sources(reports=(SourceReport("nwp", "nwp"),))).fingerprint
