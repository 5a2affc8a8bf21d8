"""Training on simulated rain: what is drawn, what is left out, what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.datasets.events import Event, load_event_radar, load_events
from hybridcast.errors import DependencyError, InputError
from hybridcast.learned.blend import Blend, MemberForecasts
from hybridcast.learned.members import RADAR_MEMBERS
from hybridcast.learned.network import NetworkSettings
from hybridcast.learned.network_inputs import LEADS as NETWORK_LEADS
from hybridcast.learned.trained_model import TrainedModel, load_model
from hybridcast.learned.training import sample_store as stored
from hybridcast.learned.training.brier_scores import compute_brier_scores
from hybridcast.learned.training.cross_validation import forecast_fields, train_members
from hybridcast.learned.training.event_samples import EventSamples, assign_groups, load_event_samples, weight_events
from hybridcast.learned.training.samples import (
    Samples,
    Sampling,
    concatenate_samples,
    sample_case,
    sample_event,
    sample_fields,
)
from hybridcast.learned.training.train import train, train_without
from hybridcast.learned.training.weights import select_blends
from hybridcast.motion.estimate import DenseFlow
from hybridcast.predictors.registry import ALL_PREDICTORS

MINUTE = np.timedelta64(1, "m")
LEADS = (15, 30, 60)
PAIRS = ("region-1, region-2", "region-0, region-2", "region-0, region-1")


def events_of(*regions):
    return [Event(f"event-{k}", region, radar="x") for k, region in enumerate(regions)]


def samples_of(cases=1, rows=10, wetness=1.0):
    case = np.repeat(np.arange(cases, dtype=np.int32), rows)
    ones = np.ones(case.size, np.float32)
    places = np.zeros((case.size, 2), np.float32)
    return Samples(np.zeros((case.size, len(ALL_PREDICTORS)), np.float32), wetness * ones, ones, ones, case, places)


# --- the whole training ---------------------------------------------------------------------------------------


class Training(NamedTuple):
    """A training that was done, its folder of samples, and the lines that it reported."""

    model: TrainedModel
    work: Path
    lines: list[str]


@pytest.fixture(scope="module")
def networked(small_training):
    """Return the settings of a small training with a network."""
    network = NetworkSettings(widths=(4, 6), steps=12, batch=2, crop=20, check_every=4, seeds=(0,))
    return replace(small_training, network=network)


@pytest.fixture(scope="module")
def training(archive, networked, tmp_path_factory):
    """Train a small model on the archive."""
    work, lines = tmp_path_factory.mktemp("work"), []
    return Training(train(load_events(archive), work, settings=networked, report=lines.append), work, lines)


def test_a_model_is_trained_and_tells_what_it_was_made_of(training, networked):
    model = training.model
    assert set(RADAR_MEMBERS) <= set(model.members) <= {*RADAR_MEMBERS, "network", "nwp", "fused"}
    assert all(member.name == name for name, member in model.members.items())
    assert model.without("network").blend.members == RADAR_MEMBERS
    assert model.blend.leads == LEADS
    assert model.blend.thresholds == model.members["boosting"].thresholds == networked.thresholds
    assert (model.blend.weights[..., :-1] >= 0).all()
    assert np.isfinite(model.blend.weights).all()
    about = json.loads(json.dumps(model.about))  # plain JSON
    assert [one["region"] for one in about["events"]] == [f"region-{k}" for k in (0, 1, 2, 0, 1, 2)]
    assert all(one["cases"] == 3 and one["rows"] == 3 * 3 * 120 for one in about["events"])
    assert about["regions_left_out"] == []
    assert about["settings"]["sampling"]["leads"] == [15, 30, 60]
    assert "lightgbm" in about["versions"]


def test_groups_are_left_out_in_turn_and_said(training):
    left_out = [line for line in training.lines if " left out: " in line]
    assert len(left_out) == 3
    assert left_out[0] == "group 1 of 3 left out: event-0a, event-0b"


def test_the_blend_is_better_than_climate_on_events_left_out(training):
    """And no worse than its members by more than the noise of six events."""
    scores = training.model.about["brier_scores_of_events_left_out"]
    here = {name for name in scores if "with NWP" not in name}
    assert here == {*RADAR_MEMBERS, "network", "blend without network", "blend"}
    for lead in ("15", "30", "60"):
        for name in ("blend", "blend without network"):
            blend = scores[name][lead]["0.1"]
            assert blend < 0.2  # 30 % are wet: climate gives 0.21
            assert blend <= min(scores[name][lead]["0.1"] for name in RADAR_MEMBERS) + 0.005


def test_the_network_is_kept_only_if_it_gains(training):
    said = [line for line in training.lines if "the network lowers" in line]
    assert len(said) == 1
    assert said[0].endswith("kept") == ("network" in training.model.members) == (len(training.model.blends) == 2)


@pytest.mark.parametrize(("full", "kept"), [(0.09, True), (0.0999, False), (0.11, False)])
def test_how_much_the_network_has_to_gain(full, kept):
    leads = (30.0,)
    blends = [
        Blend(("a",), (1.0,), leads, np.zeros((1, 1, 2))),
        Blend(("a", "network"), (1.0,), leads, np.zeros((1, 1, 3))),
    ]
    scores = {"blend without network": {"30": {"1": 0.1}}, "blend": {"30": {"1": full}}}
    lines = []
    assert select_blends(blends, scores, lines.append) == ((blends[1], blends[0]) if kept else (blends[0],))
    assert lines[0].endswith("kept") is kept


def test_without_a_network_none_is_trained_nor_torch_asked_for(archive, training, networked, monkeypatch):
    monkeypatch.setattr("hybridcast.learned.training.optimisation.has_torch", lambda: False)
    with pytest.raises(DependencyError, match="hybridcast\\[network\\]"):
        train(load_events(archive), training.work, settings=networked)
    plain = replace(networked, network=None)
    model = train(load_events(archive), training.work, settings=plain, report=[].append)
    assert "network" not in model.members
    assert model.blend.members == RADAR_MEMBERS
    assert model.members["boosting"].texts == training.model.members["boosting"].texts


def test_the_network_is_asked_about_rows_where_their_air_is(archive, training, networked):
    """Its odds on a block that a row lies in the middle of are those of the row."""
    events = load_event_samples(load_events(archive), training.work, networked, 1, print)
    one = events[0]
    odds = forecast_fields(train_members(events, networked, ["network"])["network"], one)
    assert odds.shape == (6, one.samples.lead.size)
    assert np.isfinite(odds).all()
    assert (np.diff(odds, axis=0) <= 0).all()
    wet = one.samples.observed >= 1
    assert odds[2, wet].mean() > odds[2, ~wet].mean() + 0.5


def test_other_thresholds_than_those_of_the_network_are_refused(networked):
    with pytest.raises(InputError, match="or without a network"):
        replace(networked, thresholds=(0.1, 3.0))


def test_a_second_training_draws_nothing_and_gives_the_same(archive, training, networked):
    drawn = [line for line in training.lines if line.endswith("samples")]
    assert drawn == [
        f"{k + 1} of 6: {name} ({name[:-1].replace('event', 'region')}), 1080 samples"
        for k, name in enumerate(["event-0a", "event-1a", "event-2a", "event-0b", "event-1b", "event-2b"])
    ]
    lines = []
    again = train(load_events(archive), training.work, settings=networked, report=lines.append)
    trained = [line for line in training.lines if line.startswith("members trained on")]
    assert trained == [f"members trained on 4 events of {two}" for two in PAIRS]
    assert lines == training.lines[9:]
    assert again.members["boosting"].texts == training.model.members["boosting"].texts
    np.testing.assert_array_equal(again.blend.weights, training.model.blend.weights)


def test_only_what_is_missing_is_drawn_and_other_settings_draw_anew(archive, small_training, tmp_path):
    events = load_events(archive)
    lines = []
    draw = load_event_samples
    draw(events[:2], tmp_path, small_training, 1, lines.append)
    draw(events[:3], tmp_path, small_training, 1, lines.append)
    assert [line.split(": ")[1].split()[0] for line in lines] == ["event-0a", "event-1a", "event-2a"]
    other = replace(small_training, sampling=replace(small_training.sampling, seed=1))
    draw(events[:1], tmp_path, other, 1, lines.append)
    assert len(lines) == 4
    assert not [path for path in (tmp_path / "samples").iterdir() if path.name.startswith(".")]


def test_a_region_left_out_is_not_even_read(archive, training, small_training, tmp_path):
    """Its files may be gone; the samples on disk of an earlier training are not asked either."""
    events = [
        e if e.region != "region-1" else replace(e, radar=str(tmp_path / "gone.nc")) for e in load_events(archive)
    ]
    lines = []
    model = train(events, training.work, settings=small_training, leave_out=["region-1"], report=lines.append)
    assert model.about["regions_left_out"] == ["region-1"]
    assert {one["region"] for one in model.about["events"]} == {"region-0", "region-2"}
    assert not [line for line in lines if "event-1" in line]
    assert lines[-1] == "trained on 4 events of 2 regions"
    assert model.members["boosting"].texts != training.model.members["boosting"].texts


def test_rows_are_thinned_out_every_event_alike(archive, training, small_training):
    thin = replace(small_training, rows=1000)
    drawn = load_event_samples(load_events(archive), training.work, thin, 1, print)
    assert [one.weight.size for one in drawn] == [167] * 6


def test_an_unknown_region_is_refused_before_anything_is_drawn(archive, small_training, tmp_path):
    with pytest.raises(InputError, match=r"the regions are region-0, region-1, region-2\. Choose from these"):
        train(load_events(archive), tmp_path / "work", settings=small_training, leave_out=["atlantis"])
    assert not (tmp_path / "work").exists()


def test_two_events_are_too_few_if_one_is_dry(archive, small_training, tmp_path):
    dry = synthetic.rain((32, 32), frames=27, spacing=2000.0) * 0
    dry.assign_attrs(units="mm h-1").to_netcdf(tmp_path / "dry.nc", engine="h5netcdf")
    events = [load_events(archive)[0], Event("dry", "r", radar=str(tmp_path / "dry.nc"), longest="1h")]
    lines = []
    with pytest.raises(InputError, match="1 of 2 events have an issue time with rain"):
        train(events, tmp_path, settings=small_training, report=lines.append)
    assert lines[1] == "2 of 2: dry (r), 0 samples"


def test_models_without_each_region_come_from_one_cross_validation(archive, training, networked):
    lines = []
    events = load_events(archive)
    made = train_without(events, ["region-1", "region-2"], training.work, settings=networked, report=lines.append)
    assert not [line for line in lines if line.startswith("members trained on")]  # they are those of `training`
    for region, folder in made.items():
        model = load_model(folder)
        assert model.about["regions_left_out"] == [region]
        assert {one["region"] for one in model.about["events"]} == {"region-0", "region-1", "region-2"} - {region}
        assert model.members["boosting"].texts != training.model.members["boosting"].texts
    weights = [load_model(folder).blend.weights for folder in made.values()]
    assert not np.array_equal(*weights)
    lines.clear()
    assert train_without(events, ["region-2"], training.work, settings=networked, report=lines.append) == {
        "region-2": made["region-2"]
    }
    assert not lines


def test_outcomes_of_the_region_left_out_do_not_reach_the_weights(archive, training, networked, monkeypatch):
    """Weights without a region are fitted on the forecasts for all others."""
    seen = []

    def stop(folds):
        seen.append({one.event.region for fold in folds for one in fold.left_out})
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridcast.learned.training.train.join_forecasts", stop)
    with pytest.raises(KeyboardInterrupt):
        train_without(load_events(archive), ["region-0"], training.work, settings=networked)
    assert seen == [{"region-1", "region-2"}]


def test_one_region_cannot_be_left_out(archive, small_training, tmp_path):
    events = [event for event in load_events(archive) if event.region == "region-0"]
    with pytest.raises(InputError, match="Add events of another region"):
        train_without(events, ["region-0"], tmp_path, settings=small_training, report=[].append)


# --- parts ----------------------------------------------------------------------------------------------------


def test_a_region_is_never_parted_where_there_are_enough():
    regions = list("aaaaabbbccdde")
    groups = assign_groups(events_of(*regions), 3)
    assert set(groups) == {0, 1, 2}
    for region in set(regions):
        assert len({g for g, r in zip(groups, regions, strict=True) if r == region}) == 1
    sizes = np.bincount(groups)
    assert sizes.max() - sizes.min() <= 1
    assert assign_groups(events_of(*regions), 3) == groups


def test_few_regions_are_parted_by_event():
    assert sorted(assign_groups(events_of("a", "a", "a", "b"), 3)) == [0, 0, 1, 2]
    assert sorted(assign_groups(events_of("a", "a"), 3)) == [0, 1]


def test_weights_sum_to_the_rows_and_more_cases_count_more_but_less_than_in_proportion():
    events = events_of("a", "a", "b", "c")
    drawn = weight_events([(e, samples_of(cases=n)) for e, n in zip(events, (4, 4, 4, 16), strict=True)])
    assert all(isinstance(one, EventSamples) for one in drawn)
    sums = np.array([one.weight.sum() for one in drawn])
    assert sums.sum() == pytest.approx(10 * 28)
    assert sums[0] == pytest.approx(sums[1])
    assert sums[2] < sums[0] + sums[1] < 2 * sums[2]
    assert sums[2] < sums[3] < 4 * sums[2]


def test_cases_are_numbered_on():
    both = concatenate_samples([samples_of(2, 3), samples_of(1, 2)])
    assert both.case.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]


def test_brier_scores_of_certain_members():
    observed = np.array([0, 2, 2, 0], np.float32)
    right = np.where(observed >= 1, 9, -9).astype(np.float32)
    log_odds = {"wrong": -right[None], "right": right[None]}
    forecasts = MemberForecasts(15.0, log_odds, observed, np.ones(4, np.float32))
    blend = Blend(("right", "wrong"), (1.0,), (15.0,), np.array([[[1, 0, 0]]], np.float32))
    assert compute_brier_scores(blend, [forecasts]) == {
        "right": {"15": {"1": 0.0}},
        "wrong": {"15": {"1": pytest.approx(1, abs=1e-3)}},
        "blend without network": {"15": {"1": 0.0}},
    }


# --- samples --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def radar(archive):
    return load_event_radar(load_events(archive)[0])


def case(radar, issue, seed=0, **options):
    sampling = Sampling(leads=LEADS, cells=200, **options)
    return sample_case(radar, issue, sampling, np.random.default_rng(seed), DenseFlow())


def test_observations_are_those_of_the_lead_time_at_the_cell(radar):
    issue = radar.time.values[8]
    drawn = case(radar.copy(data=np.broadcast_to(np.arange(27.0, dtype=np.float32)[:, None, None], radar.shape)), issue)
    np.testing.assert_array_equal(drawn.observed, 8 + drawn.lead / 5)
    assert drawn.predictors.shape == (600, len(ALL_PREDICTORS))
    np.testing.assert_array_equal(drawn.predictors[:, ALL_PREDICTORS.index("lead_time")], drawn.lead)


def test_what_comes_after_the_issue_time_is_no_predictor(radar):
    issue = radar.time.values[8]
    changed = radar.copy(deep=True)
    changed[9:] = 50.0
    one, other = case(radar, issue), case(changed, issue)
    np.testing.assert_array_equal(one.predictors, other.predictors)
    assert (other.observed == 50).all()
    assert not (one.observed == 50).any()
    cut = case(radar.where(radar.time <= issue), issue)
    assert cut.observed.size == 0


def test_missing_observations_are_no_dry_ones(radar):
    later = radar.copy(deep=True)
    later[11] = np.nan  # 15 min after
    later[14, :32] = np.nan
    drawn = case(later, radar.time.values[8])
    assert np.isfinite(drawn.observed).all()
    assert set(drawn.lead) == {30, 60}
    assert (drawn.lead == 30).sum() < (drawn.lead == 60).sum() == 200


def test_weights_make_up_for_choosing_wet_places_more_often(radar):
    """Rain in the first columns only; what is observed is the column, whose weighted mean is that of all places."""
    columns = radar.copy(data=np.broadcast_to(np.arange(64, dtype=np.float32), radar.shape).copy())
    columns[:9] = np.where(np.arange(64) < 5, 2.0, 0.0)
    drawn = case(columns, radar.time.values[8])
    assert np.unique(drawn.weight).size == 2
    assert drawn.observed.mean() < 26
    assert np.average(drawn.observed, weights=drawn.weight) == pytest.approx(31.5, abs=3)


def test_an_event_gives_the_same_samples_each_time(archive):
    event = load_events(archive)[1]
    sampling = Sampling(leads=LEADS, cells=30, cases=2)
    one, other = sample_event(event, sampling), sample_event(event, sampling)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    renamed = sample_event(replace(event, name="other"), sampling)
    assert not np.array_equal(one.observed, renamed.observed)


def test_drawn_samples_are_plain_zarr(training):
    stores = sorted((training.work / "samples").iterdir())
    assert len(stores) == 6
    with xr.open_zarr(stores[0]) as data:
        assert data.predictors.dtype == np.float32
        assert data.sizes == {"row": 1080, "predictor": len(ALL_PREDICTORS), "axis": 2}


def test_issue_times_are_read_as_they_were_written(archive, tmp_path):
    event, sampling = load_events(archive)[1], Sampling(leads=LEADS, cells=30, cases=3)
    store = stored.draw_missing([event], tmp_path, sampling, 1, print, fields=True)[0]
    drawn, read = list(sample_fields(event, sampling)), list(stored.load_field_cases(store))
    assert len(read) == len(drawn) == stored.load_samples(store, 10**6).case.max() + 1 == 3
    for one, other in zip(drawn, read, strict=True):
        np.testing.assert_array_equal(one.outcome.known, other.outcome.known)
        np.testing.assert_array_equal(one.outcome.reached, other.outcome.reached)
        np.testing.assert_allclose(one.inputs.planes, other.inputs.planes, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(one.inputs.smooth, other.inputs.smooth, atol=0.02)
        np.testing.assert_array_equal(one.inputs.conditions, other.inputs.conditions)
        assert one.inputs.block == other.inputs.block
        assert other.outcome.known.shape[0] == len(NETWORK_LEADS)
    assert len(list(stored.load_field_cases(store, 2))) == 2


def test_fields_are_drawn_only_for_a_network_and_added_to_samples_on_disk(
    archive, small_training, networked, tmp_path, monkeypatch
):
    def unexpected(*args, **kwargs):
        raise AssertionError("a network is not trained")

    events, lines = load_events(archive), []
    with monkeypatch.context() as patch:
        for name in ("build_network_inputs", "observe_outcome"):
            patch.setattr(f"hybridcast.learned.training.samples.{name}", unexpected)
        model = train(events, tmp_path, settings=small_training, report=lines.append)
        assert "network" not in model.members
    stores = sorted((tmp_path / "samples").iterdir())
    assert not [store for store in stores if (store / "fields").exists()]
    before = [stored.load_samples(store, 10**6).observed for store in stores]
    load_event_samples(events, tmp_path, networked, 1, lines.append)
    for store, observed in zip(stores, before, strict=True):
        assert len(list(stored.load_field_cases(store))) == 3
        np.testing.assert_array_equal(stored.load_samples(store, 10**6).observed, observed)
    assert sorted((tmp_path / "samples").iterdir()) == stores
