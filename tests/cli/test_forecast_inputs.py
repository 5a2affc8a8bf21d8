"""What `hybridcast forecast` reads, notes and refuses of radar files as people have them."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import xarray as xr

from helpers.synthetic import moving_block
from hybridcast.cli import app

QUICK = ("--nowcaster", "persistence")


@pytest.fixture
def forecast(run, tmp_path):
    """Return a function that forecasts from files and returns exit status, output, errors and attributes."""

    def call(*arguments):
        result = tmp_path / "result.nc"
        code, out, err = run("forecast", *arguments, "-o", result, *QUICK)
        if code:
            return code, out, err, {}
        with xr.open_dataset(result) as data:
            return code, out, err, data.attrs

    return call


def write(folder, minutes):
    """Write a frame of moving rain for each time, and return a glob of all."""
    start = moving_block().time.values[0]
    rain = moving_block(len(minutes))
    for k, minute in enumerate(minutes):
        frame = rain[k : k + 1].assign_coords(time=[start + np.timedelta64(round(60 * minute), "s")])
        frame.to_netcdf(folder / f"rain_{minute:06.2f}.nc")
    return folder / "rain_*.nc"


def test_only_the_last_two_hours_are_used_and_it_says_so(forecast, tmp_path):
    code, _, err, attrs = forecast(write(tmp_path, range(0, 200, 10)))
    assert code == 0
    assert "radar: frames from 2024-06-01 13:10 to 2024-06-01 15:10 UTC; 7 other files not used" in err
    assert attrs["frames_used"] == "2024-06-01T15:10:00Z"


def test_later_frames_than_the_issue_time_are_not_used(forecast, tmp_path):
    files = write(tmp_path, range(0, 60, 10))
    code, out, _, attrs = forecast(files, "--issue-time", "2024-06-01T14:20+02:00")
    assert code == 0
    assert "issued 2024-06-01 12:20 UTC" in out
    assert attrs["frames_used"].endswith("2024-06-01T12:20:00Z")


@pytest.mark.parametrize("text", ["202406011220", "1717243200", "12:20", "01.06.2024 12:20", "soon"])
def test_an_issue_time_that_is_no_iso_8601_is_refused(forecast, tmp_path, text):
    code, _, err, _ = forecast(write(tmp_path, (0, 10)), "--issue-time", text)
    assert code == 1
    assert f"--issue-time {text}; it is a date and a time in ISO 8601" in err
    assert "Write, e.g., 2017-05-09T12:00" in err


@pytest.mark.parametrize("option", ["--lead-time", "--step", "--radar-step", "--nwp-delay"])
def test_durations_are_checked_before_files_and_named_by_their_option(forecast, option):
    code, _, err, _ = forecast("no/such/file.nc", option, "10")
    assert code == 1
    assert f"{option} = '10'; it is a duration with a unit" in err


def test_seconds_of_jitter_are_a_note(forecast, tmp_path):
    code, _, err, attrs = forecast(write(tmp_path, (0.05, 5, 9.9, 15)))
    assert code == 0
    assert "note: times are up to 6 s off the 5 min steps: they were rounded to them" in err
    assert attrs["frames_used"].endswith("2024-06-01T12:15:00Z")


def test_irregular_frames_are_refused_with_an_option_that_works(forecast, tmp_path):
    files = write(tmp_path, (0, 10, 25))
    code, _, err, _ = forecast(files)
    assert code == 1
    assert "12:25:00 (rain_025.00.nc) is off the 10 min steps" in err
    assert "--radar-step" in err
    assert " step=" not in err
    code, out, _, _ = forecast(files, "--radar-step", "5min")
    assert code == 0
    assert "radar frame 2024-06-01T12:05:00Z (missing)" in out


def test_a_lone_frame_a_day_later_is_refused_with_an_option_that_works(forecast, tmp_path):
    files = write(tmp_path, (0, 5, 10, 3000))
    code, _, err, _ = forecast(files)
    assert code == 1
    assert "rain_3000.00.nc" in err
    assert "give --issue-time 2024-06-01T12:10" in err
    assert forecast(files, "--issue-time", "2024-06-01T12:10")[0] == 0


def test_overlapping_sums_are_refused_by_the_names_of_the_files(forecast, tmp_path):
    start = moving_block().time.values[0]
    for minute in (0, 15, 30):
        amount = moving_block(1).assign_coords(time=[start + np.timedelta64(minute, "m")])
        hourly = {"units": "mm", "standard_name": "rainfall_amount", "cell_methods": "time: sum (interval: 60 minutes)"}
        amount.assign_attrs(hourly).to_netcdf(tmp_path / f"rain_{minute:02d}.nc")
    code, _, err, _ = forecast(tmp_path / "rain_*.nc")
    assert code == 1
    assert "sums over 60 min overlap: rain_00.nc and rain_15.nc are 15 min apart" in err


def test_our_own_forecasts_are_no_radar(forecast, run, tmp_path):
    rain = write(tmp_path, range(0, 30, 5))
    made = tmp_path / "made.nc"
    assert run("forecast", rain, "-o", made, *QUICK)[0] == 0
    code, _, err, _ = forecast(made)
    assert code == 1
    assert "made.nc: a forecast (" in err
    assert "xarray" not in err
    code, out, err, attrs = forecast(rain, made)
    assert code == 0
    assert err.count("forecasts are no observations") == 1
    assert "forecasts, no observations" in out
    assert "missing" not in attrs["sources_left_out"]


def test_names_that_the_terminal_cannot_show_are_escaped(monkeypatch, tmp_path):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    made = tmp_path / "prévision.nc"
    monkeypatch.setattr(sys, "argv", ["hybridcast", "forecast", str(write(tmp_path, (0, 5))), "-o", str(made), *QUICK])
    with pytest.raises(SystemExit) as stop:
        app.main()
    assert stop.value.code == 0
    shown.seek(0)
    assert "pr\\xe9vision.nc" in shown.read()
    assert made.exists()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (MemoryError(), 1), (RuntimeError("odd"), 1)])
def test_interrupts_and_failures_are_one_line_at_most(run, monkeypatch, tmp_path, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("hybridcast.radar.open_radar", fail)
    found, out, err = run("forecast", write(tmp_path, (0, 5)), *QUICK)
    assert found == code
    assert len(err.strip().splitlines()) <= 1
    assert "Traceback" not in out + err
