"""Each benchmark runs once, on a small field, so that they cannot rot."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from helpers import synthetic
from helpers.paths import ROOT

SMALL = (64, 70)


@pytest.fixture(scope="module")
def speed():
    specification = importlib.util.spec_from_file_location("speed", ROOT / "notebooks" / "speed.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["speed"] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    yield module
    del sys.modules["speed"]


@pytest.fixture(scope="module")
def small(speed):
    return speed.Size(
        repeats=0, max_seconds=5.0, sides=(48, 64), leads=(2, 3), copy_bytes=2**20, ensemble_leads=2, steps=(2, 1)
    )


@pytest.fixture(scope="module")
def radar(speed):
    return synthetic.rain(SMALL, frames=speed.FRAMES)


@pytest.mark.parametrize(
    "name", ["motion", "advection", "forecasts", "stages", "ensembles", "growth", "first_call", "reading", "cycle"]
)
def test_every_comparison_runs(speed, small, radar, name, monkeypatch):
    monkeypatch.setattr(speed, "peak_of_process", lambda members, size: None)  # it fetches a real event
    if name != "growth":
        pytest.importorskip("pysteps")
    rows = speed.COMPARISONS[name](radar, small)
    assert rows
    # members are the difference of two times, which on a small field are equal
    assert all(row["ms"] > 0 for row in rows if name != "ensembles")
    assert len(rows) == 3 or name != "ensembles"
    if name == "motion":
        assert {row["how"].partition(",")[0] for row in rows} >= {"dense flow", "pysteps-vet", "OpenCV DIS fast"}
    if name == "cycle":
        assert [row["how"] for row in rows] == ["all", "radar", "forecast", "file", "places", "pictures", "map"]
        in_turn = [row for row in rows[1:] if row["how"] != "pictures"]  # which are drawn while the file is written
        assert rows[0]["ms"] >= sum(row["ms"] for row in in_turn) - len(rows)
    if name == "advection":
        assert rows[0]["largest difference from pysteps, mm/h"] < 0.01
        assert 0 < rows[0]["share of copy rate"] < 1


def test_no_comparison_is_left_out(speed):
    marks = test_every_comparison_runs.pytestmark
    names = next(mark.args[1] for mark in marks if mark.name == "parametrize")
    assert sorted([*names, "continents"]) == sorted(speed.COMPARISONS)  # that one takes a minute


def test_a_simulated_continent_has_the_real_rain_on_a_dry_plane(speed, radar):
    piece = radar.copy(data=np.where(radar >= 0.1, radar, 0))
    continent = speed.simulated_continent(piece, 400, 500, wet=0.05)
    assert continent.shape == (speed.FRAMES, 400, 500)
    latest = continent[-1].values
    assert 0.02 < (latest >= 0.1).mean() < 0.07
    assert latest.max() == piece.values[-1].max()


def test_what_opencv_and_torch_sample_is_what_ours_samples(speed):
    """On a field that is seen everywhere: the comparison is of the same work."""
    import cv2

    field = synthetic.rain(SMALL, frames=1).values[0]
    flow = synthetic.rotation(0.02, (35, 30)).flow(SMALL)
    ours = speed.advect_arrays(field[None], flow, np.arange(1, 4, dtype=np.float32))[0]
    places = speed.trajectories(flow, 3)
    theirs = cv2.remap(field, places[2, 0], places[2, 1], cv2.INTER_LINEAR, borderValue=float("nan"))
    whole = speed.remap_along(field, flow, 3)[2]
    inner = np.isfinite(ours[2]) & np.isfinite(theirs) & np.isfinite(whole)
    assert inner.mean() > 0.8
    # OpenCV takes positions to a 32nd of a cell, or less coarsely in newer versions
    assert np.abs(theirs - ours[2])[inner].max() < 0.05 * field.max()
    assert np.abs(whole - ours[2])[inner].max() < 0.05 * field.max()


def test_the_table_is_made_of_all_that_is_measured(speed):
    row = {"what": "motion, 3 frames of 4 x 5", "how": "dense flow", "ms": 1.0, "ours is faster by": 1.0, "peak MB": 3}
    shared = {**row, "share of copy rate": 0.25}
    forecast = {**row, "what": "forecast", "peak MB / output MB": 1.5}
    grown = {"what": "area, 64 x 64", "how": "motion", "ms": 2.0, "ns per cell": 1.0}
    first = {"what": "first call, cold", "how": "motion", "ms": 9000}
    about = {"copy GB/s": 10.0, "date": "2030-01-01", "machine": "x", "threads": 2, "load": 0.1}
    about |= {"size": {"repeats": 3}, "versions": {"numba": "1"}}
    result = {"about": about, "motion": [shared], "advection": [row], "forecasts": [forecast]}
    ensembles = {**row, "what": "20 members", "without members, ms": 1700}
    result |= {"ensembles": [ensembles], "growth": [grown], "first_call": [first], "reading": [first]}
    result |= {"stages": [{**row, "how": "trees"}], "continents": [{**row, "what": "CIRRUS", "peak MB": 900}]}
    result |= {"cycle": [{"what": "cycle", "how": "file", "ms": 4000}]}
    text = speed.markdown(result)
    assert "| motion, 3 frames of 4 x 5 | trees | 1.0 | 3 |" in text
    assert "| CIRRUS | dense flow | 1.0 | 900 |" in text
    assert "| cycle | file | 4000.0 |  |" in text
    assert "| motion, 3 frames of 4 x 5 | dense flow | 1.0 | 1.0 | 3 |" in text
    assert "motion, 3 frames 25.0%" in text
    assert "| first call, cold | motion | 9000.0 | |" in text
    assert "divided by the size of its output: 1.5" in text


def test_tiled_fields_go_on_without_a_seam(speed, radar):
    large = speed.tiled(radar, 150)
    assert large.shape == (speed.FRAMES, 150, 150)
    np.testing.assert_array_equal(large.values[:, :64, :70], radar.values)
    np.testing.assert_array_equal(large.values[:, 64], large.values[:, 63])
