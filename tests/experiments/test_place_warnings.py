"""The script that verifies warnings at invented places: it runs, continues, and writes what it counted."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from helpers.paths import ROOT
from helpers.synthetic import START, rain, translation
from hybridcast import Advection, forecast


def test_warnings_of_a_short_day_are_scored_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "notebooks"))
    import place_warnings

    radar = rain((64, 64), translation(1.0, 0.5), frames=25, later=30, spacing=1000.0, seed=3)
    radar.to_netcdf(tmp_path / "radar.nc", engine="h5netcdf")
    made = []

    def advect(recent, **times):
        made.append(times["issue_time"])
        return forecast(recent, nowcaster=Advection(), **times)

    monkeypatch.setattr(place_warnings, "NOWCASTERS", {"advection": advect})
    arguments = ["--radar", tmp_path / "radar.nc", "--days", "2020-06-01", "--first", "14:00", "--last", "14:30"]
    arguments += ["--work", tmp_path / "work", "--out", tmp_path / "found.json"]
    monkeypatch.setattr(sys, "argv", ["place_warnings.py", *map(str, arguments)])
    place_warnings.main()
    assert made == [START + np.timedelta64(minutes, "m") for minutes in (120, 135, 150)]
    place_warnings.main()
    assert len(made) == 3  # the day is in the folder of work
    found = json.loads((tmp_path / "found.json").read_text())["own"]
    assert (found["days"], found["places"]) == (["2020-06-01"], 20)
    assert {row["raise_at"] for row in found["rows"]} == set(place_warnings.RAISE_AT)
    whole, *rows = [row for row in found["rows"] if row["raise_at"] == 0.5]
    assert [row["level"] for row in (whole, *rows[:2])] == ["all levels", "5 mm/h", "2 mm in 30min"]
    for name in ("hits", "misses", "false_alarms", "hits_30min_before"):
        assert whole[name] == sum(row[name] for row in rows)
    for row in rows:
        places = 6 if row["level"].endswith("anywhere") else 14
        assert sum(one["forecasts"] for one in row["reliability"]) <= 3 * places
    assert sum(one["forecasts"] for one in rows[0]["reliability"]) == pytest.approx(42, abs=12)  # some run out of view
    assert "| 5 mm/h | advection |" in capsys.readouterr().out
    place_warnings.write_page(tmp_path / "warnings.md", {"own": found})
    assert "| all levels | advection |" in (tmp_path / "warnings.md").read_text()
    assert (tmp_path / "warnings.png").is_file()
