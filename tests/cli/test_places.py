"""The command ``places``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.small_ensembles import build_ensemble
from hybridcast import save_forecast

TOML = """
levels = ["2 mm/h"]
[[place]]
name = "[A] town"
x = 302500.0
y = 6701500.0
crs = "EPSG:3067"
[[place]]
name = "elsewhere"
latitude = 0.0
longitude = 0.0
"""


@pytest.fixture
def files(tmp_path):
    members = np.array([[0, 0, 4], [0, 2, 2], [0, 0, 0], [0, 0, 3]])[..., None, None] * np.ones((4, 5))
    save_forecast(build_ensemble(members), tmp_path / "forecast.nc")
    (tmp_path / "places.toml").write_text(TOML)
    return tmp_path


def test_places_are_listed_and_written(run, files):
    csv, objects = files / "places.csv", files / "places.json"
    code, out, err = run("places", files / "forecast.nc", "--places", files / "places.toml", "-o", csv, "-o", objects)
    assert code == 0, err
    assert "[A] town" in out
    assert "75 %" in out
    assert "2 mm/h" in out
    assert "outside the grid" in out
    assert "no radar" in err
    assert csv.read_text(encoding="utf-8").count("\n") == 7
    assert json.loads(objects.read_text(encoding="utf-8"))["places"][0]["levels"][0]["warning_probability"] == 0.75


def test_mistakes_are_one_line(run, files):
    for arguments, message in (
        (("--places", files / "absent.toml"), "No such file"),
        (("--places", files / "places.toml", "--label", "id"), "states them itself"),
        (("--places", files / "places.toml", "-o", files / "places.xls"), ".csv"),
        (("--places", files / "places.toml", "--thresholds", "a"), "rates, mm/h"),
    ):
        code, _, err = run("places", files / "forecast.nc", *arguments)
        assert code == 1, arguments
        assert message in err, err
        assert "Traceback" not in err
