"""Sequences as people have them: doubled, shifted by seconds, mixed, overlapping, with forecasts and wrong clocks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

from helpers.text_radar import TextRadar, TimedTextRadar
from hybridcast.core.field import precipitation
from hybridcast.core.time_steps import regular_times, usual_step
from hybridcast.errors import ForecastFileError, InputError, InputWarning, NoFramesError, ReadError
from hybridcast.forecasting import forecast
from hybridcast.nowcasters.base import Persistence
from hybridcast.radar import open_radar

DAY = "2020-01-01T"


def write(folder, **files):
    """Write files by name; a text without ``rate`` gets one."""
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text if text.startswith("rate") else f"rate 1 {text}")
    return str(folder / "*.txt")


def at(folder, *times, text=""):
    """Write a file for each time of day."""
    return write(folder, **{f"f{k}": f"rate {k} time={DAY}{time} {text}" for k, time in enumerate(times)})


def opened(paths, reader=None, **options):
    return open_radar(paths, reader or TextRadar(), **options)


def clocks(field):
    return [str(time)[11:16] for time in field.time.values]


def present(field):
    return np.isfinite(field.values).any(axis=(1, 2)).tolist()


# --- forecasts among observations -----------------------------------------------------------------------------


def test_forecasts_are_left_out_without_a_missing_frame_and_with_one_note(tmp_path):
    paths = at(tmp_path, "12:00", "12:05")
    for lead in range(5, 125, 5):
        write(tmp_path, **{f"f_20200101_{1200 + lead}": f"lead=+{lead}min"})
    with pytest.warns(InputWarning, match=r"forecasts are no observations.*\+5min.* and 21 more") as notes:
        field = opened(paths)
    assert len(notes) == 1
    assert clocks(field) == ["12:00", "12:05"]
    assert field.attrs["forecasts_left_out"].count("min)") == 24
    assert "unreadable_files" not in field.attrs
    result = forecast(field, lead_time="10min", nowcaster=Persistence())
    assert "forecasts, no observations" in result.attrs["sources_left_out"]
    assert "and 19 more" in result.attrs["sources_left_out"]


def test_forecasts_are_left_out_with_strict_too(tmp_path):
    write(tmp_path, later="lead=+5min")
    with pytest.warns(InputWarning, match="forecasts"):
        assert clocks(opened(at(tmp_path, "12:00", "12:05"), strict=True)) == ["12:00", "12:05"]


def test_a_forecast_alone_and_only_forecasts_are_refused(tmp_path):
    write(tmp_path, a="lead=+5min")
    with pytest.raises(ForecastFileError, match=r"a\.txt: a forecast \(\+5min\)"):
        opened(tmp_path / "a.txt")
    with pytest.raises(ForecastFileError, match="none of the 2 files"):
        opened(write(tmp_path, b="lead=+10min"))


# --- seconds of jitter ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["12:00:03", "12:04:58", "12:10:11", "12:15:00"], ["12:00", "12:05", "12:10", "12:15"]),
        (["11:59:45", "12:05:20", "12:09:40", "12:20:10"], ["12:00", "12:05", "12:10", "12:15", "12:20"]),
        # of a radar whose nominal times are two minutes late; DWD's sweeps differ so (wetterdienst #193)
        (["12:02:07", "12:06:55", "12:12:02", "12:16:59"], ["12:02", "12:07", "12:12", "12:17"]),
        (["23:55:02", "23:59:58"], ["23:55", "00:00"]),
    ],
)
def test_seconds_are_rounded_to_the_step_with_a_note(tmp_path, times, expected):
    with pytest.warns(InputWarning, match="s off the 5 min steps: they were rounded"):
        field = opened(at(tmp_path, *times))
    assert clocks(field) == expected
    assert (np.diff(field.time.values) == np.timedelta64(5, "m")).all()
    assert 0 < field.attrs["times_rounded_seconds"] <= 20


def test_mrms_steps_of_two_minutes_with_seconds(tmp_path):
    paths = at(tmp_path, "12:00:38", "12:02:37", "12:04:40", "12:06:38")
    with pytest.warns(InputWarning, match="rounded"):
        field = opened(paths)
    assert (np.diff(field.time.values) == np.timedelta64(2, "m")).all()
    assert abs(field.time.values[0] - np.datetime64(f"{DAY}12:00:38")) < np.timedelta64(3, "s")


def test_times_of_regular_odd_seconds_stay_as_they_are(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field = opened(at(tmp_path, "12:00:20", "12:10:20", "12:20:20"))  # GOES scans
    assert str(field.time.values[0]).startswith(f"{DAY}12:00:20")
    assert "times_rounded_seconds" not in field.attrs


def test_microseconds_of_times_in_days_are_rounded_without_a_note(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field = opened(at(tmp_path, "12:00:00", "12:04:59.999998", "12:10:00.000001"))
    assert clocks(field) == ["12:00", "12:05", "12:10"]


def test_a_minute_is_no_jitter(tmp_path):
    with pytest.raises(InputError, match=r"12:11:00 \(f2\.txt\) is off the 5 min steps"):
        opened(at(tmp_path, "12:00", "12:05", "12:11", "12:15", "12:20"))


def test_two_frames_are_never_rounded_to_one(tmp_path):
    with pytest.raises(InputError, match=r"f1\.txt and f2\.txt are 4 s apart") as error:
        opened(at(tmp_path, "12:00:01", "12:05:00", "12:05:04", "12:10"))
    assert "Leave out one of the two files" in error.value.for_command_line


def test_a_frame_that_is_sent_again_seconds_later_counts_once(tmp_path):
    times = zip("abcd", ("12:00", "12:05", "12:05:04", "12:10"), strict=True)
    paths = write(tmp_path, **{name: f"time={DAY}{time}" for name, time in times})
    with pytest.warns(InputWarning, match=r"b\.txt and c\.txt are 4 s apart, at .*, and equal: they are used once"):
        assert clocks(opened(paths)) == ["12:00", "12:05", "12:10"]


def test_a_lost_frame_between_jittered_ones_is_dated_by_its_name(tmp_path):
    for minute, second in ((0, 3), (5, 1), (15, 2)):
        write(tmp_path, **{f"r_2020010112{minute:02d}": f"time={DAY}12:{minute:02d}:{second:02d}"})
    paths = write(tmp_path, r_202001011210="damaged", r_202001011220="damaged")
    with pytest.warns(InputWarning):
        field = opened(paths)
    assert clocks(field) == ["12:00", "12:05", "12:10", "12:15", "12:20"]
    assert present(field) == [True, True, False, True, False]


def test_regular_times_rounds_a_field_of_the_user_too():
    times = np.array([f"{DAY}12:00:03", f"{DAY}12:04:58", f"{DAY}12:10:00"], "datetime64[ns]")
    field = precipitation(np.zeros((3, 2, 2)), time=times, y=[0, 1000], x=[0, 1000], crs=None)
    with pytest.warns(InputWarning, match="up to 3 s off"):
        assert clocks(regular_times(field)) == ["12:00", "12:05", "12:10"]


# --- doubles --------------------------------------------------------------------------------------------------


def test_an_equal_frame_counts_once_and_both_files_are_named(tmp_path):
    paths = write(tmp_path, a=f"time={DAY}12:00,{DAY}12:05", b=f"time={DAY}12:05,{DAY}12:10", c=f"time={DAY}12:10")
    with pytest.warns(InputWarning, match=r"12:05:00Z in .*a\.txt and .*b\.txt, and 1 more"):
        field = opened(paths)
    assert clocks(field) == ["12:00", "12:05", "12:10"]


def test_different_frames_of_one_time_are_refused_with_both_files(tmp_path):
    # MeteoSwiss's documentation of radar products has a case of two CPC files for one period
    paths = at(tmp_path, "12:00", "12:05", "12:05", "12:10")
    with pytest.raises(
        InputError, match=r"f1\.txt and .*f2\.txt hold different frames of 2020-01-01T12:05:00Z"
    ) as error:
        opened(paths)
    assert "Leave out one of the two files" in str(error.value)
    assert "Leave out one of the two files" in error.value.for_command_line


def test_missing_and_dry_are_different_frames(tmp_path):
    paths = write(tmp_path, a=f"rate 0 time={DAY}12:00", b=f"rate nan time={DAY}12:00", c=f"rate 0 time={DAY}12:05")
    with pytest.raises(InputError, match="different frames"):
        opened(paths)


def test_frames_of_one_file_whose_times_were_cut_to_days(tmp_path):
    """Appending with times in whole days makes all times of a day one (xarray #5969, as told in xapres #13)."""
    rates = xr.concat([precipitation(np.full((1, 2, 2), rate), time=[np.datetime64("2020-01-01")], y=[0, 1e3],
                                     x=[0, 1e3], crs="EPSG:3035") for rate in (1.0, 2.0, 3.0)], "time")  # fmt: skip
    rates.to_netcdf(tmp_path / "days.nc")
    with pytest.raises(InputError, match=r"days\.nc holds two different frames of 2020-01-01T00:00:00Z"):
        open_radar(tmp_path / "days.nc")


def test_an_hour_of_local_time_that_comes_twice_is_refused(tmp_path):
    """Without a zone, 02:00 to 02:55 comes twice when summer time ends; nothing tells which is which."""
    hours = ["01:55", "02:00", "02:05", "02:00", "02:05", "03:00"]
    with pytest.raises(InputError, match="hold different frames"):
        opened(at(tmp_path, *hours))


# --- mixtures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("west=500", "share one grid"),
        ("crs=EPSG:3857", "share one projection"),
        ("sum=60", r"a\.txt holds rain rates, b\.txt sums over 60 min"),
        ("dbz", r"a\.txt holds rain rates, b\.txt rates from reflectivity"),
        ("product=RW", r"a\.txt holds a radar, b\.txt RW"),
    ],
)
def test_two_products_are_refused_with_one_file_of_each(tmp_path, text, expected):
    write(tmp_path, a=f"time={DAY}12:00", c=f"time={DAY}12:10")
    with pytest.raises(InputError, match=expected) as error:
        opened(write(tmp_path, b=f"time={DAY}12:05 {text}"))
    assert "b.txt" in str(error.value)
    assert "Give the files of one" in error.value.for_command_line


def test_reflectivity_converted_by_two_relations_is_noted(tmp_path):
    paths = write(tmp_path, a=f"time={DAY}12:00 dbz", b=f"time={DAY}12:05 dbz=Z=316R^1.5")
    with pytest.warns(InputWarning, match=r"a\.txt is converted by .*, b\.txt by .*316"):
        opened(paths)


def test_sums_over_5_and_60_minutes_are_refused(tmp_path):
    write(tmp_path, a=f"time={DAY}12:00 sum=5", b=f"time={DAY}12:05 sum=5")
    with pytest.raises(InputError, match=r"a\.txt holds sums over 5 min, c\.txt sums over 60 min"):
        opened(write(tmp_path, c=f"time={DAY}12:10 sum=60"))


def test_a_product_with_the_time_of_its_making_in_the_source_is_one(tmp_path):
    write(tmp_path, a=f"time={DAY}12:00 product=made-120012")
    assert opened(write(tmp_path, b=f"time={DAY}12:05 product=made-120513")).sizes["time"] == 2


# --- sums and time steps --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times",
    [
        ["12:00", "12:15", "12:30"],  # OPERA ACRR
        ["12:00", "12:10", "12:20"],  # MeteoSwiss CombiPrecip, updated every 10 min (its documentation)
        ["12:00", "12:02", "12:04"],  # MRMS RadarOnly_QPE_01H
        ["11:00", "12:00", "12:05"],  # only two of three
    ],
)
def test_hourly_sums_more_often_than_hourly_are_no_rates(tmp_path, times):
    with pytest.raises(InputError, match=r"sums over 60 min overlap: f\d\.txt and f\d\.txt are \d+ min apart") as error:
        opened(at(tmp_path, *times, text="sum=60"))
    assert "only the files that are 60 min apart" in error.value.for_command_line


def test_overlapping_sums_in_one_file_are_refused_too(tmp_path):
    with pytest.raises(InputError, match=r"overlap: two frames of a\.txt"):
        opened(write(tmp_path, a=f"time={DAY}12:00,{DAY}12:15 sum=60"))


def test_sums_one_interval_apart_are_rates_even_with_gaps_and_jitter(tmp_path):
    with pytest.warns(InputWarning, match="rounded") as notes:
        field = opened(at(tmp_path, "12:00:02", "12:05", "12:15", text="sum=5"))
    assert len(notes) == 1
    assert present(field) == [True, True, False, True]


@pytest.mark.parametrize("minutes", ["0", "-5", "nan"])
def test_an_interval_that_is_none_makes_a_file_unreadable(tmp_path, minutes):
    with pytest.raises(ReadError, match=r"a\.txt: accumulation_interval_minutes is"):
        opened(write(tmp_path, a=f"time={DAY}12:00 sum={minutes}"))


def test_sums_shorter_than_the_step_are_noted(tmp_path):
    with pytest.warns(InputWarning, match="sums over 5 min every 15 min"):
        assert opened(at(tmp_path, "12:00", "12:15", "12:30", text="sum=5")).sizes["time"] == 3


@pytest.mark.parametrize(
    ("times", "step"),
    [
        (["12:00", "12:05", "12:10", "12:20", "12:30", "12:40"], 5),  # 5 min, then 10
        (["11:00", "11:10", "11:20", "11:30", "11:40", "11:45", "11:50", "11:55"], 5),  # 10 min, then 5
    ],
)
def test_a_step_that_changes_leaves_missing_frames(tmp_path, times, step):
    field = opened(at(tmp_path, *times))
    assert (np.diff(field.time.values) == np.timedelta64(step, "m")).all()
    assert [clock for clock, there in zip(clocks(field), present(field), strict=True) if there] == times


def test_frames_every_2_minutes_among_5_are_refused(tmp_path):
    with pytest.raises(InputError, match="is off the") as error:
        opened(at(tmp_path, "12:00", "12:05", "12:10", "12:12", "12:14", "12:15"))
    assert "--radar-step" in error.value.for_command_line


def test_the_step_can_be_stated_where_frames_are_irregular(tmp_path):
    paths = at(tmp_path, "12:00", "12:10", "12:25")
    field = opened(paths, step=np.timedelta64(5, "m"))
    assert present(field) == [True, False, True, False, False, True]


def test_nanoseconds_between_frames_are_no_step_to_fill(tmp_path):
    with pytest.raises(InputError, match=r"apart|scattered"):
        opened(at(tmp_path, "12:00", "12:00:00.000000001", "12:05"))


# --- far times ------------------------------------------------------------------------------------------------


def test_the_time_of_a_clock_that_was_not_set_is_an_unreadable_file(tmp_path):
    write(tmp_path, a=f"time={DAY}12:00", b=f"time={DAY}12:10")
    with pytest.warns(InputWarning, match=r"c\.txt: its time is 1970-01-01T00:05:00Z"):
        assert clocks(opened(write(tmp_path, c="time=1970-01-01T00:05"))) == ["12:00", "12:10"]
    with pytest.raises(ReadError, match="1970"):
        opened(tmp_path / "c.txt")


def test_a_frame_of_another_year_is_named(tmp_path):
    paths = at(tmp_path, "12:00", "12:05", "12:10")
    write(tmp_path, odd="time=2021-01-01T12:15")
    with pytest.raises(InputError, match=r"2020-01-01T12:10:00 \(f2\.txt\) and 2021-01-01T12:15:00 \(odd\.txt\)"):
        opened(paths)
    with pytest.raises(InputError, match=r"2021-01-01T12:15:00Z in .*odd\.txt, comes 8784 hours after") as error:
        opened(paths, history="2h")
    assert "--issue-time 2020-01-01T12:10" in error.value.for_command_line
    period = (f"{DAY}10:10", f"{DAY}12:10")
    assert clocks(opened(paths, times=period)) == ["12:00", "12:05", "12:10"]


def test_frames_of_two_days_are_one_history(tmp_path):
    write(tmp_path, a="time=2020-01-01T12:00", b="time=2020-01-01T12:05")
    paths = write(tmp_path, c="time=2020-01-03T06:00", d="time=2020-01-03T06:05")
    with pytest.raises(InputError, match="4 frames are scattered"):
        opened(paths)
    assert clocks(opened(paths, history="2h")) == ["06:00", "06:05"]


def test_frames_of_the_future_are_noted(tmp_path):
    now = np.datetime64("now")
    times = [now + np.timedelta64(minutes, "m") for minutes in (475, 480)]
    with pytest.warns(InputWarning, match=r"b\.txt: its time, .*, is 8\.0 hours ahead"):
        opened(write(tmp_path, a=f"time={times[0]}", b=f"time={times[1]}"))


# --- only what is needed --------------------------------------------------------------------------------------


def hourly(folder, reader=None):
    """Write three hours of frames every 10 minutes, and return the paths."""
    times = np.datetime64(f"{DAY}12:00") + np.arange(19) * np.timedelta64(10, "m")
    return write(folder, **{f"f{k:02d}": f"rate {k} time={time}" for k, time in enumerate(times)})


def test_only_the_frames_of_the_history_are_decoded(tmp_path):
    reader = TimedTextRadar()
    field = opened(hourly(tmp_path), reader, history="2h")
    assert clocks(field)[0] == "13:00"
    assert clocks(field)[-1] == "15:00"
    assert sorted(reader.decoded) == [f"f{k:02d}.txt" for k in range(6, 19)]
    xr.testing.assert_identical(field, opened(hourly(tmp_path), TextRadar(), history="2h"))
    xr.testing.assert_equal(field, opened(hourly(tmp_path)).sel(time=slice(f"{DAY}13:00", None)))


def test_files_that_are_not_used_are_counted_and_those_of_another_format_named(tmp_path, monkeypatch):
    assert opened(hourly(tmp_path), TimedTextRadar(), history="2h").attrs["files_outside_period"] == 6
    assert "files_outside_period" not in opened(hourly(tmp_path), TimedTextRadar()).attrs

    class Other(TimedTextRadar):
        NAME = "other"

        def recognises(self, path, head):
            return path.name.startswith("other")

    write(tmp_path, other=f"time={DAY}09:00")
    known = {"other": Other(), "text": TimedTextRadar()}
    monkeypatch.setattr("hybridcast.radar.formats", lambda: known)
    with pytest.warns(InputWarning, match=r"1 files of another format, such as .*other\.txt \(other\)"):
        open_radar(str(tmp_path / "*.txt"), history="2h")


def test_names_do_not_decide_what_is_decoded(tmp_path):
    """A name may state local time or that of processing; the header is read."""
    write(tmp_path, radar_202001010100=f"time={DAY}13:00", radar_202001011400=f"time={DAY}12:50")
    field = opened(write(tmp_path, x=f"time={DAY}13:10"), TimedTextRadar(), history="30min")
    assert clocks(field) == ["12:50", "13:00", "13:10"]


def test_times_select_files_before_they_are_decoded(tmp_path):
    reader = TimedTextRadar()
    field = opened(hourly(tmp_path), reader, times=(f"{DAY}12:20", f"{DAY}12:40"))
    assert clocks(field) == ["12:20", "12:30", "12:40"]
    assert len(reader.decoded) == 3


def test_damage_is_found_only_where_it_matters(tmp_path):
    paths = hourly(tmp_path)
    write(tmp_path, f00=f"damaged time={DAY}12:00", f17=f"damaged time={DAY}14:50")
    with pytest.warns(InputWarning, match=r"f17\.txt: no rate") as notes:
        field = opened(paths, TimedTextRadar(), history="2h")
    assert len(notes) == 1
    assert [clock for clock, there in zip(clocks(field), present(field), strict=True) if not there] == ["14:50"]
    with pytest.raises(ReadError, match="f17"):
        opened(paths, TimedTextRadar(), history="2h", strict=True)


def test_the_newest_frame_lost_is_a_missing_frame_at_the_end(tmp_path):
    paths = hourly(tmp_path)
    write(tmp_path, f18=f"damaged time={DAY}15:00")
    with pytest.warns(InputWarning, match="f18"):
        field = opened(paths, TimedTextRadar(), history="1h")
    assert clocks(field)[-1] == "15:00"
    assert present(field)[-2:] == [True, False]


def test_forecasts_do_not_move_the_period(tmp_path):
    paths = hourly(tmp_path)
    write(tmp_path, z=f"lead=+60min time={DAY}16:00")
    with pytest.warns(InputWarning, match="forecasts"):
        assert clocks(opened(paths, TimedTextRadar(), history="1h"))[-1] == "15:00"


def test_a_frame_rounded_to_the_end_of_the_period_is_in_it(tmp_path):
    paths = at(tmp_path, "12:00:02", "12:05", "12:10:04", "12:15:01")
    for reader in (TextRadar(), TimedTextRadar()):
        with pytest.warns(InputWarning, match="rounded"):
            assert clocks(opened(paths, reader, times=(f"{DAY}12:00", f"{DAY}12:10"))) == ["12:00", "12:05", "12:10"]


def test_no_frame_in_the_period_gives_the_option_of_the_command_line(tmp_path):
    with pytest.raises(NoFramesError, match="no frame from 2019") as error:
        opened(hourly(tmp_path), TimedTextRadar(), times=("2019-01-01", "2019-01-02"))
    assert "from 2020-01-01T12:00:00Z to 2020-01-01T15:00:00Z, in UTC (--issue-time" in error.value.for_command_line


def test_a_frame_seconds_before_the_period_is_none_of_it(tmp_path):
    paths = at(tmp_path, "11:15")
    with pytest.raises(NoFramesError, match=r"no frame from 2020.*there are frames from"):
        opened(paths, times=(f"{DAY}11:15:07", f"{DAY}11:30"))


def test_each_is_applied_to_the_selected_frames(tmp_path):
    seen = []
    reader = TextRadar()
    opened(hourly(tmp_path), reader, history="1h", each=lambda frames: seen.extend(clocks(frames)) or frames)
    assert seen == ["14:00", "14:10", "14:20", "14:30", "14:40", "14:50", "15:00"]


def test_usual_step_is_the_most_frequent():
    minutes = np.array([0, 5, 10, 20, 30, 40]).astype("datetime64[m]").astype("datetime64[ns]")
    assert usual_step(minutes) == np.timedelta64(10, "m")
    assert usual_step(minutes[:5]) == np.timedelta64(5, "m")
