"""The one call and its file: times, what is used and what is not, whole files, skill."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from helpers import synthetic
from helpers.ensembles import SimulatedEnsemble
from hybridcast import forecasting
from hybridcast.core.field import precipitation
from hybridcast.core.forecast_files import save_forecast
from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.core.time_steps import iso_time
from hybridcast.errors import InputError, InputWarning
from hybridcast.forecasting import build_lead_times
from hybridcast.nowcasters.base import Advection, DescribesSettings, Nowcaster, Persistence, TakesSources
from hybridcast.radar import open_radar
from hybridcast.verification import scores
from hybridcast.verification.statistics import compute_statistics

MINUTE = np.timedelta64(1, "m")
SHAPE = (64, 72)


def scene(**options):
    return synthetic.rain(options.pop("shape", SHAPE), synthetic.translation(3, -2), **options)


def forecast(rain, *, nowcaster=None, **options):
    """By plain advection unless said otherwise; the trained model has tests of its own."""
    return forecasting.forecast(rain, nowcaster=Advection() if nowcaster is None else nowcaster, **options)


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    """Identical, but for when they were made."""
    xr.testing.assert_identical(one.assign_attrs(history=""), other.assign_attrs(history=""))


# --- what comes out -------------------------------------------------------------------------------------------


def test_a_forecast_holds_what_it_promises():
    rain = scene(crs="EPSG:3035", seen=synthetic.disc(SHAPE))
    result = forecast(rain, lead_time="30min")
    assert result.precipitation_rate.dims == ("lead_time", "y", "x")
    assert result.precipitation_rate.shape == (6, *SHAPE)
    assert result.precipitation_rate.dtype == np.float32
    assert set(result.coords) == {"lead_time", "time", "reference_time", "y", "x", "spatial_ref"}
    assert set(result.data_vars) == {"precipitation_rate", "unknown_fraction", "u", "v"}
    np.testing.assert_array_equal(result.lead_time, np.arange(5, 35, 5) * MINUTE)
    assert result.reference_time.values == rain.time.values[-1]
    expected = np.isnan(result.precipitation_rate).mean(("y", "x"))
    np.testing.assert_allclose(result.unknown_fraction, expected, atol=1e-6)
    assert (np.diff(result.unknown_fraction) > 0).all()


def test_attributes_say_how_it_was_made():
    rain = scene().copy()
    rain[1] = np.nan
    rain = rain.assign_attrs(source="two radars", institution="Weather Office", unreadable_files="a.h5 (damaged)")
    attrs = forecast(rain).attrs
    assert attrs["Conventions"] == "CF-1.10"
    assert attrs["institution"] == "Weather Office"
    assert "two radars" in attrs["source"]
    assert attrs["frames_used"] == "2020-06-01T12:00:00Z, 2020-06-01T12:10:00Z, 2020-06-01T12:15:00Z"
    assert attrs["sources_used"] == "radar"
    assert attrs["sources_left_out"] == "radar frame 2020-06-01T12:05:00Z (missing); unreadable: a.h5 (damaged)"
    assert attrs["nowcaster"] == Advection().name
    assert attrs["status"] == "ok"
    assert json.loads(attrs["settings"])["settings"] == {"interpolation": "linear"}
    assert forecast(scene()).attrs["sources_left_out"] == "none"


def test_the_model_is_the_one_given():
    rain = scene()
    result = forecast(rain, nowcaster=Persistence())
    assert result.attrs["nowcaster"] == "persistence"
    assert "u" not in result
    np.testing.assert_array_equal(result.precipitation_rate[-1], rain[-1])


def test_lazy_radar_gives_the_same():
    rain = scene()
    same(forecast(rain.chunk(time=1)), forecast(rain))


def test_the_input_is_left_as_it_is():
    rain = scene()
    before = rain.copy(deep=True)
    forecast(rain)
    xr.testing.assert_identical(rain, before)


# --- times ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lead_time", "step", "minutes"),
    [
        ("2h", None, np.arange(5, 125, 5)),
        ("17min", None, [5, 10, 15]),
        ("90min", "30min", [30, 60, 90]),
        (np.timedelta64(20, "m"), np.timedelta64(10, "m"), [10, 20]),
        (pd.Timedelta("10min"), pd.Timedelta("2min"), [2, 4, 6, 8, 10]),
        ("1h", "1h", [60]),
    ],
)
@pytest.mark.filterwarnings("ignore:the last lead time is 15 min")
def test_lead_times_are_those_asked_for(lead_time, step, minutes):
    np.testing.assert_array_equal(build_lead_times(scene(), lead_time, step), np.array(minutes) * MINUTE)


def test_a_lead_time_that_is_no_multiple_of_the_step_is_noted():
    with pytest.warns(InputWarning, match="the last lead time is 100 min, not 120 min.*the step, 50 min"):
        build_lead_times(scene(), "2h", "50min")


@pytest.mark.parametrize("thresholds", [1.0, [], "1", ["a"]])
def test_thresholds_that_are_no_list_of_rates_are_refused(thresholds):
    with pytest.raises(InputError, match="thresholds"):
        forecast(scene(), lead_time="10min", thresholds=thresholds)


@pytest.mark.parametrize(("minutes", "expected"), [(1, 5), (2, 6), (4, 8), (5, 5), (10, 10), (15, 15)])
def test_the_step_is_the_radars_or_as_many_as_make_five_minutes(minutes, expected):
    leads = build_lead_times(scene(minutes=minutes), "1h")
    assert (np.diff(leads, prepend=np.timedelta64(0)) == expected * MINUTE).all()


def test_one_frame_is_forecast_in_steps_of_five_minutes():
    assert forecast(scene(frames=1), lead_time="20min").sizes["lead_time"] == 4


def test_the_frames_used_are_those_that_the_motion_used():
    radar = scene(frames=8)
    result = forecast(radar, lead_time="10min")
    assert result.attrs["frames_used"].count("Z") == 4
    assert iso_time(radar.time.values[-1]) in result.attrs["frames_used"]
    still = forecast(radar, lead_time="10min", nowcaster=Persistence())
    assert still.attrs["frames_used"] == iso_time(radar.time.values[-1])


def test_the_step_is_the_radars_at_its_first_frame_too():
    radar = scene(frames=4)
    steps = np.diff(forecast(radar, issue_time=radar.time.values[0], lead_time="30min").lead_time.values)
    assert (steps == np.diff(radar.time.values)[0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nowcaster": "persistence"}, "a model is a folder"),
        ({"nowcaster": Advection}, "an object"),
        ({"lead_time": 2}, "unit"),
        ({"lead_time": "120"}, "unit"),
    ],
)
def test_unknown_folders_classes_and_durations_without_unit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        forecast(scene(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lead_time": "soon"}, "lead_time = 'soon'; it is a duration. Write, for example, '2h'"),
        ({"lead_time": "0min"}, "lead_time = '0min'; it is above zero"),
        ({"lead_time": "-1h"}, "lead_time = '-1h'; it is above zero"),
        ({"lead_time": None}, "lead_time = None"),
        ({"lead_time": np.timedelta64("NaT")}, "it is above zero"),
        ({"step": "often"}, "step = 'often'; it is a duration"),
        ({"step": "0min"}, "step = '0min'; it is above zero"),
        ({"lead_time": "10min", "step": "1h"}, "step 60 min, lead_time 10 min; there is at least one step"),
        ({"issue_time": "yesterday"}, "'yesterday'"),
        ({"issue_time": "2020-06-01T12:07"}, "lies between frames; it is a whole number of time steps (5 min)"),
        ({"issue_time": "2020-06-01T11:55"}, "has no frame"),
        ({"issue_time": "2020-06-02"}, "has no frame"),
    ],
)
def test_times_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError) as error:
        forecast(scene(), **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.values, "found ndarray"),
        (lambda r: r.to_dataset(), "found Dataset"),
        (lambda r: r[0], "dims are ('y', 'x')"),
        (lambda r: r.isel(time=[0, 1, 3]), "Fill gaps with hybridcast.regular_times"),
        (lambda r: r.isel(time=[2, 0, 1]), "Sort, and drop doubled times"),
        (lambda r: r.isel(time=[0, 1, 1]), "Sort, and drop doubled times"),
        (lambda r: r.isel(time=[]), "'time' has length 0"),
        (lambda r: r.assign_coords(time=np.arange(4)), "time is of type int64"),
        (lambda r: r.assign_attrs(units="dBZ"), "units are 'dBZ'"),
        (lambda r: r.drop_attrs(), "no units"),
        (lambda r: (r - 1).assign_attrs(r.attrs), "a rain rate is not negative"),
    ],
)
@pytest.mark.parametrize("issue_time", [None, "2020-06-01T12:10"])
def test_fields_that_break_the_contract_are_refused(change, message, issue_time):
    with pytest.raises(InputError) as error:
        forecast(change(scene()), issue_time=issue_time)
    assert message in str(error.value)


# --- issue time -----------------------------------------------------------------------------------------------


def test_the_abilities_of_a_nowcaster_are_used():
    """It receives the sources, and describes its settings itself."""

    class Able:
        name = "able"
        sources = None

        def forecast(self, recent, lead_times):
            return Persistence().forecast(recent, lead_times)

        def with_sources(self, sources):
            able = Able()
            able.sources = sources
            received.append(sources)
            return able

        def describe_settings(self):
            return {"received": self.sources is not None}

    received = []
    able = Able()
    assert isinstance(able, Nowcaster)
    assert isinstance(able, TakesSources)
    assert isinstance(able, DescribesSettings)
    result = forecast(scene(), nowcaster=able)
    assert len(received) == 1
    assert json.loads(result.attrs["settings"]) == {"received": True}


@pytest.mark.parametrize("nowcaster", [Advection(), Persistence()], ids=lambda n: n.name)
def test_nothing_after_the_issue_time_is_used(nowcaster):
    rain = scene(frames=4, later=4)
    issue = rain.time.values[3]
    result = forecast(rain, issue_time=issue, nowcaster=nowcaster)
    changed = rain.copy()
    changed[4:] = 2000.0
    same(forecast(changed, issue_time=issue, nowcaster=nowcaster), result)
    changed[4:] = np.nan
    same(forecast(changed, issue_time=issue, nowcaster=nowcaster), result)
    same(forecast(rain.isel(time=slice(None, 4)), nowcaster=nowcaster), result)


@pytest.mark.parametrize(
    "issue_time",
    [
        "2020-06-01T12:10",
        datetime(2020, 6, 1, 12, 10),  # naive is UTC
        datetime(2020, 6, 1, 12, 10, tzinfo=UTC),
        datetime(2020, 6, 1, 14, 10, tzinfo=timezone(timedelta(hours=2))),
        np.datetime64("2020-06-01T12:10"),
        pd.Timestamp("2020-06-01T12:10"),
        pd.Timestamp("2020-06-01T12:10", tz="UTC"),
    ],
)
def test_the_issue_time_is_utc_however_it_is_given(issue_time):
    assert forecast(scene(), issue_time=issue_time).reference_time.values == np.datetime64("2020-06-01T12:10")


@pytest.mark.parametrize("delay", [5, 20, 45])
def test_a_late_radar_is_carried_on_and_said_to_be_late(delay):
    """As good as the forecast made in time, at the same valid times."""
    rain = scene()
    issue = rain.time.values[-1] + delay * MINUTE
    result = forecast(rain, issue_time=issue, lead_time="15min")
    assert result.reference_time.values == issue
    assert result.attrs["status"] == f"radar is late: latest frame is {delay} min old"
    in_time = forecast(rain, lead_time=f"{15 + delay}min")
    expected = in_time.precipitation_rate[-3:].values
    np.testing.assert_array_equal(result.time, in_time.time[-3:])
    apart = np.abs(result.precipitation_rate.values - expected)
    assert np.isfinite(apart).mean() > 0.1
    assert np.nanmean(apart) < 0.01
    missing = result.attrs["sources_left_out"].split("; ")
    assert len(missing) == delay // 5
    assert missing[-1] == f"radar frame {np.datetime_as_string(issue, unit='s')}Z (missing)"


def test_missing_last_frames_are_a_late_radar_too():
    rain = scene(frames=6).copy()
    rain[-2:] = np.nan
    result = forecast(rain, lead_time="15min")
    assert result.attrs["status"] == "radar is late: latest frame is 10 min old"
    same(result, forecast(rain[:-2], issue_time=rain.time.values[-1], lead_time="15min"))


def test_one_frame_may_be_late():
    rain = scene(frames=1)
    result = forecast(rain, issue_time="2020-06-01T12:20", lead_time="10min")
    assert result.reference_time.values == np.datetime64("2020-06-01T12:20")
    assert result.attrs["status"] == "radar is late: latest frame is 20 min old"
    assert result.sizes["lead_time"] == 2
    np.testing.assert_array_equal(result.precipitation_rate[0], rain[0])


def test_a_radar_of_short_steps_may_be_late_by_the_hour():
    """Two frames an hour ago and nothing since, at steps of 2 min."""
    rain = scene(frames=2, minutes=2)
    result = forecast(rain, issue_time="2020-06-01T13:00", lead_time="10min")
    assert result.attrs["status"] == "radar is late: latest frame is 58 min old"


# --- little or nothing seen -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (7, 9), SHAPE])
@pytest.mark.parametrize(
    "change",
    [
        lambda r: r,
        lambda r: r * 0,
        lambda r: r * np.nan,
        lambda r: r.where(r.time != r.time[1]),
        lambda r: r.where(r.time != r.time[3]),
        lambda r: r.where(r.time == r.time[2]),
        lambda r: r.isel(time=[3]),
    ],
    ids=["rain", "dry", "all missing", "a frame missing", "the last missing", "one frame seen", "one frame"],
)
def test_whatever_is_missing_there_is_a_forecast_and_unknown_is_not_dry(shape, change):
    seen = np.ones(shape, bool)
    seen[:, : shape[1] // 3] = False
    rain = change(scene(shape=shape, seen=seen)).assign_attrs(units="mm h-1")
    result = forecast(rain, lead_time="15min", nowcaster=Advection())
    rate = result.precipitation_rate.values
    assert rate.shape == (3, *shape)
    assert np.nanmin(rate, initial=0) >= 0
    # motion is to the right, by 3 cells, where there is any: the unseen stays unknown
    assert seen.all() or np.isnan(rate[0][~seen]).mean() > 0.9
    if not np.isfinite(rain).any():
        assert np.isnan(rate).all()
        assert (result.unknown_fraction == 1).all()
        assert result.attrs["sources_used"] == result.attrs["frames_used"] == "none"


# --- members --------------------------------------------------------------------------------------------------


def test_members_are_made_when_they_are_computed_one_lead_time_at_a_time():
    rain, nowcaster = scene(crs="EPSG:3035", seen=synthetic.disc(SHAPE)), SimulatedEnsemble()
    result = forecast(rain, lead_time="30min", nowcaster=nowcaster, members=np.int64(3), seed=7)
    members = result[ENSEMBLE]
    assert nowcaster.computed == []
    assert members.dims == ("realization", "lead_time", "y", "x")
    assert members.chunks == ((3,), (1,) * 6, (64,), (72,))
    assert members.attrs["standard_name"] == result.precipitation_rate.attrs["standard_name"]
    assert members.attrs["grid_mapping"] == "spatial_ref"
    np.testing.assert_array_equal(result.realization, [0, 1, 2])
    assert json.loads(result.attrs["settings"]).items() >= {"members": 3, "seed": 7}.items()
    one = members.isel(lead_time=4).values
    assert nowcaster.computed == [4]
    np.testing.assert_array_equal(np.isnan(one), np.broadcast_to(result.precipitation_rate[4].isnull(), one.shape))
    np.testing.assert_array_equal(result.unknown_fraction, forecast(rain, nowcaster=Persistence()).unknown_fraction[:6])


def test_the_first_of_many_members_are_those_of_few():
    few, many = (forecast(scene(), nowcaster=SimulatedEnsemble(), members=n, seed=1)[ENSEMBLE] for n in (2, 5))
    np.testing.assert_array_equal(many[:2], few)
    other = forecast(scene(), nowcaster=SimulatedEnsemble(), members=2, seed=2)[ENSEMBLE]
    assert (other != few).any()


def test_without_members_the_forecast_is_as_before():
    result = forecast(scene(), nowcaster=SimulatedEnsemble(), seed=5)
    assert ENSEMBLE not in result
    assert "seed" not in json.loads(forecast(scene(), members=0).attrs["settings"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": -1}, "members = -1; it is a whole number from 0 to 10000"),
        ({"members": 10**9}, "members = 1000000000; it is a whole number from 0 to 10000"),
        ({"members": 2.0}, "members = 2.0; it is a whole number"),
        ({"members": True}, "members = True; it is a whole number"),
        ({"members": None}, "members = None; it is a whole number"),
        ({"members": 2, "seed": -1}, "seed = -1; it is a whole number from 0 to 4294967295"),
        ({"members": 2, "seed": 2**32}, "seed = 4294967296; it is a whole number from 0 to 4294967295"),
        ({"members": 2, "seed": None}, "seed = None; it is a whole number"),
        ({"members": 2, "nowcaster": Advection()}, "makes no members of an ensemble. Leave out members, or choose"),
    ],
)
def test_members_that_cannot_be_made_are_refused(options, message):
    with pytest.raises(InputError) as error:
        forecast(scene(), **({"nowcaster": SimulatedEnsemble()} | options))
    assert message in str(error.value)


# --- the file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", [None, "EPSG:3035"])
def test_what_is_saved_is_read_again(tmp_path, crs):
    result = forecast(scene(crs=crs, seen=synthetic.disc(SHAPE)), lead_time="30min")
    path = save_forecast(result, tmp_path / "forecast.nc")
    assert path == tmp_path / "forecast.nc"
    with xr.open_dataset(path, decode_timedelta=True, decode_coords="all") as read:
        xr.testing.assert_equal(read.load(), result)
        assert read.attrs == result.attrs
        assert read.precipitation_rate.dtype == np.float32
        assert read.precipitation_rate.attrs["units"] == "mm h-1"
        assert read.lead_time.dtype == "timedelta64[ns]"
        assert read.time.encoding["units"].startswith("seconds since 1970-01-01")
        assert read.precipitation_rate.encoding["zlib"]
    assert [file.name for file in tmp_path.iterdir()] == ["forecast.nc"]


def test_persistence_is_saved_too(tmp_path):
    result = forecast(scene(), nowcaster=Persistence())
    with xr.open_dataset(save_forecast(result, str(tmp_path / "p.nc")), decode_timedelta=True) as read:
        xr.testing.assert_equal(read.load(), result)


def test_a_file_read_again_can_be_saved_again(tmp_path):
    result = forecast(scene(crs="EPSG:3035"), lead_time="10min")
    with xr.open_dataset(save_forecast(result, tmp_path / "a.nc"), decode_timedelta=True, decode_coords="all") as read:
        save_forecast(read.load(), tmp_path / "b.nc")
    with xr.open_dataset(tmp_path / "b.nc", decode_timedelta=True, decode_coords="all") as read:
        xr.testing.assert_equal(read.load(), result)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, error):
    result = forecast(scene(), lead_time="10min")
    path = tmp_path / "forecast.nc"
    path.write_bytes(b"the old one")

    def fail(data, target, encoding):
        target.write_bytes(b"half")
        raise error

    monkeypatch.setattr("hybridcast.core.forecast_files.write_netcdf", fail)
    with pytest.raises(type(error)):
        save_forecast(result, path)
    assert path.read_bytes() == b"the old one"
    assert [file.name for file in tmp_path.iterdir()] == ["forecast.nc"]


def test_an_existing_file_is_replaced_and_a_missing_folder_named(tmp_path):
    path = tmp_path / "forecast.nc"
    path.write_bytes(b"the old one")
    result = forecast(scene(), lead_time="10min")
    save_forecast(result, path)
    with xr.open_dataset(path, decode_timedelta=True) as read:
        assert read.sizes["lead_time"] == 2
    with pytest.raises(InputError, match=r"folder '.*absent' does not exist.*Create it"):
        save_forecast(result, tmp_path / "absent" / "forecast.nc")


def geographic():
    rain = scene()
    return precipitation(
        rain.values, time=rain.time, y=50 + 0.01 * np.arange(64)[::-1], x=8 + 0.02 * np.arange(72), crs="EPSG:4326"
    )


STEREOGRAPHIC = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=25 +R=6371288 +units=m"


@pytest.mark.parametrize(
    "rain",
    [scene(), scene(crs="EPSG:3035"), scene(crs=STEREOGRAPHIC), geographic(), scene(crs="EPSG:3067") * np.nan],
    ids=["local", "EPSG:3035", "polar stereographic", "geographic", "all unknown"],
)
@pytest.mark.parametrize("model", [Advection(), "default"], ids=["advection", "default"])
def test_the_file_keeps_the_cf_conventions(tmp_path, rain, model):
    checker = pytest.importorskip("compliance_checker.runner")
    checker.CheckSuite.load_all_available_checkers()
    rain = rain.assign_attrs(units="mm h-1")
    path = save_forecast(forecast(rain, lead_time="15min", nowcaster=model), tmp_path / "forecast.nc")
    report = tmp_path / "report.json"
    passed, errors = checker.ComplianceChecker.run_checker(
        str(path), ["cf:1.10"], 0, "strict", output_filename=str(report), output_format="json"
    )
    assert not errors
    found = json.loads(report.read_text())["cf:1.10"]
    problems = [
        message for level in ("high_priorities", "medium_priorities") for c in found[level] for message in c["msgs"]
    ]
    assert problems == []
    assert passed


# --- skill ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "motion", [synthetic.translation(1.5, -1), synthetic.rotation(0.02, (60, 60))], ids=["translation", "rotation"]
)
def test_advection_beats_persistence_on_moving_rain(motion):
    rain = synthetic.rain((120, 120), motion, frames=4, later=12)
    issue = rain.time.values[3]
    sums = {}
    for model in (Advection(), Persistence()):
        result = forecast(rain, issue_time=issue, lead_time="1h", nowcaster=model)
        sums[model.name] = compute_statistics(result, rain, valid=result.precipitation_rate.notnull()).isel(
            lead_time=[5, 11]
        )
    ours, theirs = sums.values()
    assert (scores.mean_absolute_error(ours) < 0.35 * scores.mean_absolute_error(theirs)).all()
    assert (scores.correlation(ours) > 0.9).all()
    assert (scores.correlation(theirs) < 0.8).all()
    assert (scores.csi(ours) > scores.csi(theirs) + 0.1).all()


def test_advection_beats_persistence_on_real_rain(real):
    """FMI 2017-05-09 at 12:00 UTC, 30 min ahead, where both are known."""
    files = real("fmi/20170509/*.pgm.gz")
    names = [f"20170509{time}" for time in ("1145", "1150", "1155", "1200", "1230")]
    rain = open_radar([file for file in files if file.name[:12] in names])
    rain = rain.isel(y=slice(300, 900), x=slice(150, 650)).compute()
    issue = np.datetime64("2017-05-09T12:00")
    results = [
        forecast(rain, issue_time=issue, lead_time="30min", nowcaster=model) for model in (Advection(), Persistence())
    ]
    valid = results[0].precipitation_rate.notnull() & results[1].precipitation_rate.notnull()
    sums = [compute_statistics(result, rain, valid=valid).isel(lead_time=5) for result in results]
    assert sums[0]["count"] == sums[1]["count"] > 100_000
    ours, theirs = (float(scores.correlation(s)) for s in sums)
    assert ours > theirs + 0.1
    at = [0.1, 1.0, 5.0]  # at 10 mm/h next to nothing is hit by either
    assert (scores.csi(sums[0]).sel(threshold=at) > scores.csi(sums[1]).sel(threshold=at)).all()
