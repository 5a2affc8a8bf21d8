"""Cross-validation: forecasts of members for events that they were not trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hybridcast.core.parallel import WorkerPool
from hybridcast.core.types import Array
from hybridcast.datasets.events import SPACING, Event
from hybridcast.learned.blend import Blend, MemberForecasts, concatenate_forecasts
from hybridcast.learned.member import FieldMember, Member, MemberInputs, evaluate_members, uses_nwp
from hybridcast.learned.members import BUILDERS, NWP_MEMBERS
from hybridcast.learned.predictor_rows import has_nwp, has_radar
from hybridcast.learned.trained_model import FORMAT, TrainedModel, load_model, save_model
from hybridcast.learned.training.event_samples import EventSamples, TrainingData
from hybridcast.learned.training.sample_store import Report, load_field_cases, sampling_digest
from hybridcast.learned.training.samples import concatenate_samples
from hybridcast.learned.training.settings import TrainingSettings
from hybridcast.predictors.registry import index_of

#: Minimum number of rows with NWP rain, times the number of thresholds, to train members that use it.
MIN_ROWS = 50
_LEAD_TIME = index_of("lead_time")


class Validation(NamedTuple):
    """Forecasts for events left out, one for each lead time."""

    all_rows: list[MemberForecasts]
    with_radar: list[MemberForecasts]
    """Rows with NWP rain whose air the radar knows."""
    without_radar: list[MemberForecasts]
    """Rows with NWP rain whose air the radar does not know."""


def train_members(
    events: Sequence[EventSamples], settings: TrainingSettings, names: Iterable[str] | None = None
) -> dict[str, Member]:
    """Train members on events, all of them or those with some names; those that cannot be trained are left out."""
    data = TrainingData.of(events, settings)
    with_nwp = data.with_nwp()
    members: dict[str, Member] = {}
    for builder in BUILDERS:
        if names is not None and builder.name not in set(names):
            continue
        of_member = with_nwp if uses_nwp(builder) else data
        if uses_nwp(builder) and of_member.weight.size < MIN_ROWS * len(settings.thresholds):
            continue
        member = builder.train(of_member)
        if member is not None:
            members[builder.name] = member
    return members


class Fold(NamedTuple):
    """Members that were trained without a group of events, and their forecasts for it."""

    members: dict[str, Member]
    left_out: list[EventSamples]
    forecasts: Validation


def cross_validate(
    events: Sequence[EventSamples],
    groups: Sequence[int],
    settings: TrainingSettings,
    folder: Path,
    workers: int,
    report: Report,
) -> list[Fold]:
    """Train members without each group of events in turn, and forecast the events left out.

    A network is trained with its first seed only, because each seed takes as long as all other members together.

    Parameters
    ----------
    events, groups
        Events, and the number of the group of each.
    settings
        Settings of the training.
    folder
        Folder in which the members of each fold are kept, so that a training that was stopped goes on.
    workers
        Number of processes, each of which trains a fold.
    report
        Function that receives a line for each fold.
    """
    if settings.network is not None:
        settings = replace(settings, network=replace(settings.network, seeds=settings.network.seeds[:1]))
    numbers = sorted(set(groups))
    parted = [
        (
            [one for one, number in zip(events, groups, strict=True) if number != group],
            [one for one, number in zip(events, groups, strict=True) if number == group and not one.varied],
        )
        for group in numbers
    ]
    stored = [folder / f"members-{training_digest([one.event for one in kept], settings)}" for kept, _ in parted]
    missing = [
        partial(_store_members, kept, settings, path)
        for (kept, _), path in zip(parted, stored, strict=True)
        if not path.exists()
    ]
    with WorkerPool(max(1, min(workers, len(missing)))) as pool:
        pool.run(missing, lambda trained: report(f"members trained on {trained}"))
    folds = []
    for (_, left_out), path in zip(parted, stored, strict=True):
        members = dict(load_model(path).members)
        folds.append(Fold(members, left_out, forecast_samples(members, left_out)))
        report(f"group {len(folds)} of {len(numbers)} left out: {', '.join(one.event.name for one in left_out)}")
    return folds


def join_forecasts(folds: Iterable[Fold]) -> Validation:
    """Return the forecasts of several folds together."""
    return Validation(*(concatenate_forecasts(part) for part in zip(*(fold.forecasts for fold in folds), strict=True)))


def training_digest(events: Sequence[Event], settings: TrainingSettings) -> str:
    """Return a short digest of all that members which are trained on events depend on."""
    builders = [(builder.name, builder.predictors) for builder in BUILDERS]
    return sampling_digest(FORMAT, events, settings, builders)


def _store_members(events: Sequence[EventSamples], settings: TrainingSettings, path: Path) -> str:
    """Train members and store them, as a model without fitted weights; return what they were trained on."""
    members = train_members(events, settings)
    of_radar = tuple(name for name, member in members.items() if not uses_nwp(member))
    save_model(TrainedModel(members, (Blend.equal(of_radar, settings.thresholds),), SPACING), path)
    names, regions = ({getattr(one.event, key) for one in events} for key in ("name", "region"))
    return f"{len(names)} events of {', '.join(sorted(regions))}"


def forecast_samples(members: Mapping[str, Member], events: Sequence[EventSamples]) -> Validation:
    """Return the forecasts of members for the samples of events."""
    samples = concatenate_samples([one.samples for one in events])
    weight = np.concatenate([one.weight for one in events])
    of_fields = [member for member in members.values() if isinstance(member, FieldMember)]
    others = [member for member in members.values() if not isinstance(member, FieldMember)]
    from_fields = {
        member.name: np.concatenate([forecast_fields(member, one) for one in events], axis=1) for member in of_fields
    }
    nwp, radar = has_nwp(samples.predictors), has_radar(samples.predictors)
    if not set(NWP_MEMBERS) <= members.keys():
        nwp[:] = False
    found = Validation([], [], [])
    for lead in np.unique(samples.lead):
        rows = np.flatnonzero(samples.lead == lead)
        inputs = MemberInputs(samples.predictors, samples.departure_points).select(rows)
        log_odds = evaluate_members(others, inputs, float(lead))
        log_odds |= {name: values[:, rows] for name, values in from_fields.items()}
        forecasts = MemberForecasts(float(lead), log_odds, samples.observed[rows], weight[rows])
        found.all_rows.append(forecasts)
        for part, mask in ((found.with_radar, nwp & radar), (found.without_radar, nwp & ~radar)):
            if mask[rows].any():
                part.append(forecasts.select(mask[rows]))
    return found


def forecast_fields(member: FieldMember, event: EventSamples) -> Array:
    """Return the log odds of a member that works on whole fields, ``(threshold, row)``, for the samples of an event."""
    samples = event.samples
    log_odds = np.empty((len(member.thresholds), samples.lead.size), np.float32)
    inputs = MemberInputs(samples.predictors, samples.departure_points)
    minutes = samples.predictors[:, _LEAD_TIME]
    for number, case in enumerate(load_field_cases(event.store)):
        of_case = inputs._replace(field_outputs={member.name: member.apply(case.inputs)})
        for lead in np.unique(minutes[samples.case == number]):
            rows = np.flatnonzero((samples.case == number) & (minutes == lead))
            log_odds[:, rows] = member.log_odds(of_case.select(rows), float(lead))
    return log_odds
