"""The command line states what a table of gauges does not."""

from __future__ import annotations

import pytest

from helpers.synthetic import moving_block


@pytest.fixture
def rain(tmp_path):
    path = tmp_path / "rain.nc"
    moving_block().to_netcdf(path)
    return path


def test_what_a_table_does_not_say_is_an_option(run, rain, tmp_path):
    table = tmp_path / "gauges.csv"
    rows = [f"A,01/06/2024 12:{m:02d},13.32,-28.91,0.5" for m in (1, 5, 15)]
    table.write_text("\n".join(["station,time,lat,lon,R1", *rows]))
    given = ["forecast", rain, "-o", tmp_path / "f.nc", "--stations", table]
    stated = ["--stations-rain", "R1", "--stations-time-format", "%d/%m/%Y %H:%M", "--stations-interval", "5min"]
    code, _, err = run(*given)
    assert code != 0
    assert "--stations-rain" in " ".join(err.split())
    code, _, err = run(*given, *stated[:2])
    assert "--stations-time-format" in " ".join(err.split())
    code, _, err = run(*given, *stated[:4])
    assert "--stations-interval" in " ".join(err.split())
    code, out, _ = run(*given, *stated)
    assert code == 0
    assert "sources: radar; 1 station" in out


GOOD = "station,time,lat,lon,rain_mm\n" + "".join(f"A,2024-06-01 12:{m}0,13.32,-28.9,0\n" for m in range(3))


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (GOOD.replace("time", "Time (CET)"), [], "states another time than the end of the interval in UTC"),
        ("time,A,B\n2024-06-01 12:10,0,0\n", [], "columns time, A, B, but no station"),
        (GOOD, ["--stations-time-format", "%Q"], "time_format '%Q'"),
        (GOOD.replace("-28.9", "1402934").replace("13.32", "5204410"), [], "beyond 90"),
    ],
)
def test_tables_that_are_refused(run, rain, tmp_path, text, options, says):
    table = tmp_path / "gauges.csv"
    table.write_text(text)
    code, _, err = run("forecast", rain, "-o", tmp_path / "f.nc", "--stations", table, *options)
    assert code != 0
    assert says in " ".join(err.split())
    assert "station_reports" not in err


def test_gauges_of_another_time_are_left_out_with_the_times(run, rain, tmp_path):
    """A clock that is off by hours, or the file of another day, leaves no report to use."""
    table = tmp_path / "gauges.csv"
    table.write_text(GOOD.replace("2024-06-01 12", "2024-06-01 10"))
    code, out, _ = run("forecast", rain, "-o", tmp_path / "f.nc", "--stations", table)
    assert code == 0
    assert "no report from 2024-06-01 12:00" in " ".join(out.split())
    assert "all are from 2024-06-01 10:00 to 2024-06-01 10:20 UTC" in " ".join(out.split())
