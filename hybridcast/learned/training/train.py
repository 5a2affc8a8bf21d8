"""Training of a model: samples event by event, weights from events left out, members from all events.

1. Each event's samples are drawn once and kept on disk, so that a training that was stopped goes on.
2. The events are divided into groups, by region if the regions are enough. Members are trained on all groups but one,
   in turn, and evaluated on the group left out.
3. The weights of the members, which sum to one, are fitted on these forecasts. Optional members are kept only if the
   blend with them is better. Where samples have NWP rain, the weights of `hybridcast.learned.nwp_stage` are fitted in
   the same way.
4. The members that have a weight are trained on all events.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hybridcast.core.extras import extra
from hybridcast.datasets.events import SPACING, Event
from hybridcast.errors import InputError
from hybridcast.learned.trained_model import MANIFEST, TrainedModel, save_model
from hybridcast.learned.training.cross_validation import (
    Fold,
    cross_validate,
    join_forecasts,
    train_members,
    training_digest,
)
from hybridcast.learned.training.event_samples import EventSamples, assign_groups, load_event_samples
from hybridcast.learned.training.optimisation import require_torch
from hybridcast.learned.training.sample_store import Report
from hybridcast.learned.training.settings import TrainingSettings
from hybridcast.learned.training.weights import fit_weights


def train(
    events: Sequence[Event],
    work: str | Path,
    *,
    settings: TrainingSettings | None = None,
    leave_out: Sequence[str] = (),
    workers: int = 1,
    report: Report = print,
) -> TrainedModel:
    """Train a model.

    Parameters
    ----------
    events
        Events, as `hybridcast.datasets.events.load_events` returns them.
    work
        Folder for the samples; those that it already has of the same settings are used again.
    settings
        `TrainingSettings()` by default.
    leave_out
        Regions whose events take no part in the training.
    workers
        Processes that draw samples; each holds one event in memory.
    report
        Function that is called with a line of text whenever a step is finished.

    Raises
    ------
    InputError
        If a region to leave out does not exist, or fewer than two events with rain are left.
    DependencyError
        If LightGBM is not installed, or the settings have a network and torch is not.
    """
    settings = settings or TrainingSettings()
    chosen = _select_events(events, leave_out)
    samples = _load_samples(chosen, work, settings, workers, report)
    groups = assign_groups([one.event for one in samples], settings.folds)
    folds = cross_validate(samples, groups, settings, _models_folder(work), workers, report)
    weights = fit_weights(join_forecasts(folds), settings.thresholds, report)
    members = train_members(samples, settings, weights.members)
    originals = [one for one in samples if not one.varied]
    report(f"trained on {len(originals)} events of {len({one.event.region for one in originals})} regions")
    about = _about(samples, groups, leave_out, settings, weights.brier_scores)
    return TrainedModel(members, weights.blends, SPACING, about, weights.nwp_stage)


def _load_samples(
    events: Sequence[Event], work: str | Path, settings: TrainingSettings, workers: int, report: Report
) -> list[EventSamples]:
    with extra("train", "training"):
        import lightgbm  # noqa: F401  (an error before samples are drawn, which takes long)
    if settings.network is not None:
        require_torch()
    samples = load_event_samples(events, Path(work), settings, workers, report)
    count = sum(not one.varied for one in samples)
    if count < 2:
        raise InputError(
            f"{count} of {len(events)} events have an issue time with rain",
            "a model is trained on two events at least",
            "Add events, or check their files with: hybridcast forecast",
        )
    return samples


def _models_folder(work: str | Path) -> Path:
    folder = Path(work).expanduser() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _select_events(events: Sequence[Event], leave_out: Sequence[str]) -> list[Event]:
    """Return the events of all regions but some."""
    regions = {event.region for event in events}
    if not set(leave_out) <= regions:
        raise InputError(
            f"regions to leave out: {', '.join(leave_out)}",
            f"the regions are {', '.join(sorted(regions))}",
            "Choose from these",
        )
    return [event for event in events if event.region not in leave_out]


def train_without(
    events: Sequence[Event],
    regions: Sequence[str],
    work: str | Path,
    *,
    settings: TrainingSettings | None = None,
    workers: int = 1,
    report: Report = print,
) -> dict[str, Path]:
    """Train a model without each of some regions, to verify it there; models that exist already are used again.

    All of them come from one cross-validation: the members of the model without a region are those that were trained
    without its group of regions, and their weights are fitted on the forecasts for the other groups. No outcome of the
    region is used in either; the members that made those other forecasts had it among their training data.

    Returns
    -------
    dict
        Folder of the model that was trained without the region, in `work`, by region.

    Raises
    ------
    InputError
        If the events are of one region only.
    """
    settings = settings or TrainingSettings()
    folder = _models_folder(work)
    digest = training_digest(events, settings)
    made = {region: folder / f"without-{region}-{digest}" for region in regions}
    if any(not (path / MANIFEST).exists() for path in made.values()):
        for region, model in _train_by_region(events, regions, work, settings, workers, report).items():
            save_model(model, made[region])
    return made


def _train_by_region(
    events: Sequence[Event],
    regions: Sequence[str],
    work: str | Path,
    settings: TrainingSettings,
    workers: int,
    report: Report,
) -> dict[str, TrainedModel]:
    """Return the model without each region, see `train_without`."""
    samples = _load_samples(events, work, settings, workers, report)
    count = len({one.event.region for one in samples})
    if count < 2:
        raise InputError(
            f"events of {count} region", "a region is left out of two at least", "Add events of another region"
        )
    groups = assign_groups([one.event for one in samples], min(settings.folds, count))
    folds = cross_validate(samples, groups, settings, _models_folder(work), workers, report)
    group_of = {one.event.region: group for one, group in zip(samples, groups, strict=True)}
    out = {region: group_of.get(region, 0) for region in regions}  # one without samples is left out of every fold
    made = {group: _train_without_group(group, samples, groups, folds, settings, report) for group in set(out.values())}
    return {region: made[group] for region, group in out.items()}


def _train_without_group(
    out: int,
    samples: Sequence[EventSamples],
    groups: Sequence[int],
    folds: Sequence[Fold],
    settings: TrainingSettings,
    report: Report,
) -> TrainedModel:
    """Return the model without a group of regions: members of its fold, weights from the forecasts for the others."""
    left_out = sorted({one.event.region for one in folds[out].left_out})
    report(f"weights of the model without {', '.join(left_out)}")
    weights = fit_weights(join_forecasts(fold for k, fold in enumerate(folds) if k != out), settings.thresholds, report)
    members = {name: member for name, member in folds[out].members.items() if name in weights.members}
    kept = [k for k, group in enumerate(groups) if group != out]
    about = _about([samples[k] for k in kept], [groups[k] for k in kept], left_out, settings, weights.brier_scores)
    return TrainedModel(members, weights.blends, SPACING, about, weights.nwp_stage)


def _about(
    samples: Sequence[EventSamples],
    groups: Sequence[int],
    leave_out: Sequence[str],
    settings: TrainingSettings,
    scores: dict[str, Any],
) -> dict[str, Any]:
    """Return the description of a training that is stored with the model."""
    packages = ("hybridcast", "lightgbm", "numpy", "scipy", "numba")
    return {
        "events": [
            {
                "name": one.event.name,
                "region": one.event.region,
                "source": one.event.dataset or one.event.radar,
                "licence": one.event.licence,
                "licence_source": one.event.licence_source or "not verified",
                "cases": int(np.unique(one.samples.case).size),
                "rows": int(one.weight.size),
                "group": group,
            }
            for one, group in zip(samples, groups, strict=True)
            if not one.varied
        ],
        "regions_left_out": list(leave_out),
        "settings": asdict(settings),
        "brier_scores_of_events_left_out": scores,
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
