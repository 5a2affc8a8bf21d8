"""Varied copies of events: the same weather as other networks would have seen it, learned from and never scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridcast import precipitation
from hybridcast.core.grid import cell_kilometres
from hybridcast.core.time_steps import time_step
from hybridcast.datasets.events import load_events
from hybridcast.learned.training.cross_validation import cross_validate
from hybridcast.learned.training.event_samples import assign_groups, load_event_samples
from hybridcast.learned.training.train import train
from hybridcast.learned.training.variation import (
    MAX_ZOOM,
    RELATIONS,
    Variation,
    draw_variation,
    keep_frames,
    vary_cells,
)

START = np.datetime64("2021-06-01T12:00", "ns")
MINUTE = np.timedelta64(1, "m")
AS_IT_IS = Variation(1.0, 1.0, 1.0, 1)


@pytest.fixture
def radar():
    rates = np.random.default_rng(0).gamma(0.5, 4.0, (13, 20, 30)).astype(np.float32)
    rates[:, :5] = 0
    rates[:, :, :5] = np.nan
    y, x = np.arange(20) * -1000.0, np.arange(30) * 1000.0
    return precipitation(rates, time=START + np.arange(13) * 5 * MINUTE, y=y, x=x, crs="EPSG:3035")


def vary(radar, issue, variation):
    return keep_frames(vary_cells(radar, variation), issue, variation.stride)


def test_without_a_change_nothing_changes(radar):
    same = vary(radar, radar["time"].values[6], AS_IT_IS)
    np.testing.assert_allclose(same, radar, rtol=1e-6)
    for axis in radar.dims:
        np.testing.assert_array_equal(same[axis], radar[axis])


@pytest.mark.parametrize("frame", [5, 6, 7])
@pytest.mark.parametrize("stride", [2, 3])
def test_the_frame_of_the_issue_time_stays_and_the_step_is_longer(radar, frame, stride):
    issue = radar["time"].values[frame]
    seen = vary(radar, issue, AS_IT_IS._replace(stride=stride))
    assert issue in seen["time"].values
    assert time_step(seen["time"].values) == stride * 5 * MINUTE
    np.testing.assert_allclose(seen.sel(time=issue), radar.sel(time=issue), rtol=1e-6)


def test_cells_are_larger_around_the_same_middle(radar):
    seen = vary(radar, radar["time"].values[6], AS_IT_IS._replace(zoom=1.25))
    np.testing.assert_allclose(cell_kilometres(seen), 1.25 * np.array(cell_kilometres(radar)), rtol=1e-3)
    for axis in ("y", "x"):
        assert float(seen[axis].mean()) == pytest.approx(float(radar[axis].mean()))
    assert seen.attrs == radar.attrs


def test_another_relation_keeps_the_order_of_rates_what_is_dry_and_what_is_unknown(radar):
    seen = vary(radar, radar["time"].values[6], Variation(0.8, 1.1, 1.0, 1))
    np.testing.assert_array_equal(np.isnan(seen), np.isnan(radar))
    np.testing.assert_array_equal(seen.values == 0, radar.values == 0)
    known = np.isfinite(radar.values)
    order = np.argsort(radar.values[known], kind="stable")
    assert (np.diff(seen.values[known][order]) >= 0).all()
    np.testing.assert_allclose(seen, 0.8 * radar.values.astype(np.float64) ** 1.1, rtol=1e-5)
    assert seen.dtype == np.float32


def test_variations_are_bounded_and_differ():
    drawn = [draw_variation(np.random.default_rng(seed)) for seed in range(200)]
    assert len(set(drawn)) == 200
    assert all(1 / MAX_ZOOM <= one.zoom <= MAX_ZOOM for one in drawn)
    assert {one.stride for one in drawn} == {1, 2, 3}
    assert len({round(one.exponent, 6) for one in drawn}) == len(RELATIONS)
    at_ten = np.array([one.factor * 10**one.exponent for one in drawn])
    assert 4 < at_ten.min() < 10 < at_ten.max() < 25


def test_copies_are_learned_from_and_not_scored(archive, small_training, tmp_path):
    settings = replace(small_training, varied=True)
    events, lines = load_events(archive), []
    samples = load_event_samples(events, tmp_path, settings, 1, lines.append)
    assert [one.name for one in samples] == [e.name for e in events] + [f"{e.name}, varied" for e in events]
    assert sum("varied" in line for line in lines) == len(events)
    plain, copy = samples[0].samples, samples[len(events)].samples
    assert not np.array_equal(plain.observed, copy.observed)
    groups = assign_groups([one.event for one in samples], 3)
    (tmp_path / "models").mkdir()
    folds = cross_validate(samples, groups, settings, tmp_path / "models", 1, lines.append)
    scored = [one.name for fold in folds for one in fold.left_out]
    assert sorted(scored) == sorted(event.name for event in events)
    model = train(events, tmp_path, settings=settings, report=lines.append)
    assert [one["name"] for one in model.about["events"]] == [event.name for event in events]
    assert lines[-1] == "trained on 6 events of 3 regions"
