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
