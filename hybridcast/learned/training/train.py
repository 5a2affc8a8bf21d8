"""Training: samples event by event, members, and their weights from events that the members have not seen.

1. Each event's samples are drawn once and kept on disk, so that a run that was stopped goes on.
2. The events are parted into groups, by region where there are enough regions. Members are trained on all groups but
   one, in turn, and asked about the one left out.
3. From these answers the weights of the members are fitted, which calibrates them too; with the network and without it.
   The network is kept only if the blend with it is better. Where samples have model fields, the members and weights of
   `hybridcast.learned.nwp_stage` are made in the same way.
4. The members are trained again on all events.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hybridcast.core.types import Array
from hybridcast.datasets.events import SPACING, Event
from hybridcast.errors import InputError
from hybridcast.learned.blend import Blend, Scored, fit_blend, probability
from hybridcast.learned.boosting import THRESHOLDS, Boosting, BoostingSettings, train_boosting
from hybridcast.learned.logistic import NEIGHBOURHOOD, SCALES, LogisticMember, fit_logistic_member
from hybridcast.learned.network import Network, NetworkSettings, apply_network, require_torch
from hybridcast.learned.network_inputs import THRESHOLDS as NETWORK_THRESHOLDS
from hybridcast.learned.nwp_stage import (
    NwpStage,
    SourceAnswers,
    SourceMembers,
    fit_stage,
    source_answers,
    train_source_members,
)
from hybridcast.learned.trained_model import MANIFEST, NETWORK, TrainedModel, save_model
from hybridcast.learned.training.network import cut_window, fit_network
from hybridcast.learned.training.sample_store import (
    Report,
    count_rows,
    draw_missing,
    load_field_cases,
    load_samples,
    sampling_digest,
)
from hybridcast.learned.training.samples import Samples, Sampling, concatenate_samples
from hybridcast.predictors.registry import index_of

#: Members in the order of the blend; the linear ones first, and the network last, where there is one.
LINEAR = {"neighbourhood": NEIGHBOURHOOD, "scales": SCALES}
MEMBERS = (*LINEAR, "boosting")
#: By how much the network has to lower the Brier score of the blend, as a share, to be kept.
LEAST_GAIN = 0.002
_LEAD_TIME = index_of("lead_time")


@dataclass(frozen=True)
class TrainingSettings:
    """What a training depends on."""

    sampling: Sampling = field(default_factory=Sampling)
    boosting: BoostingSettings = field(default_factory=BoostingSettings)
    thresholds: tuple[float, ...] = THRESHOLDS
    folds: int = 4
    """Groups that are left out in turn to find the weights."""
    rows: int = 400_000
    """Most rows a training uses; more are thinned out, every event alike."""
    network: NetworkSettings | None = None
    """None trains none. It needs torch, and two events to learn from besides those left out."""
    fields: int = 400
    """Most issue times the network learns from; more are thinned out, every event alike."""

    def __post_init__(self) -> None:
        """Refuse thresholds that the network does not have."""
        if self.network is not None and self.thresholds != NETWORK_THRESHOLDS:
            raise InputError(
                f"thresholds are {self.thresholds}",
                f"the network has {NETWORK_THRESHOLDS} mm/h",
                "Train with these, or without a network",
            )


class EventSamples(NamedTuple):
    """The samples of an event, and how much it counts."""

    event: Event
    samples: Samples
    weight: Array
    """Of its rows, ``(row,)``."""
    store: Path = Path()
    """Where its issue times are."""


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
        As `hybridcast.datasets.events.load_events` gives them.
    work
        Folder for the samples; those that are there already, of the same settings, are used again.
    leave_out
        Regions whose events take no part at all.
    workers
        Processes that draw samples; each holds one event in memory.
    report
        Called with a line whenever something is done.

    Raises
    ------
    InputError
        If a region to leave out is not there, or fewer than two events with rain are left.
    DependencyError
        If the settings have a network, and torch is not installed.
    """
    settings = settings or TrainingSettings()
    if settings.network is not None:
        require_torch()
    regions = {event.region for event in events}
    if not set(leave_out) <= regions:
        raise InputError(
            f"regions to leave out: {', '.join(leave_out)}",
            f"the regions are {', '.join(sorted(regions))}",
            "Choose from these",
        )
    kept = [event for event in events if event.region not in leave_out]
    drawn = draw(kept, Path(work), settings, workers, report)
    if len(drawn) < 2:
        raise InputError(
            f"{len(drawn)} of {len(kept)} events have an issue time with rain",
            "a model is trained on two events at least",
            "Add events, or check their files with: hybridcast forecast",
        )
    groups = assign_groups([one.event for one in drawn], settings.folds)
    scored, with_sources = [], []
    for group in sorted(set(groups)):
        members = train_members([one for one, g in zip(drawn, groups, strict=True) if g != group], settings)
        left_out = [one for one, g in zip(drawn, groups, strict=True) if g == group]
        scored.append(answers(members, left_out))
        with_sources.append(answers_with_sources(members, left_out))
        report(f"group {group + 1} of {len(set(groups))} left out: {', '.join(one.event.name for one in left_out)}")
    by_lead = _joined_answers(scored)
    blends = fit_blends(by_lead, settings.thresholds, len(scored[0][0].scores) > len(MEMBERS))
    scores = {name: value for blend in blends for name, value in compute_brier_scores(blend, by_lead).items()}
    for line in score_lines(scores):
        report(line)
    keep = _network_earns_its_place(blends, scores, report)
    members = train_members(drawn, settings if keep else replace(settings, network=None))
    stage, scores_there = _stage(members, with_sources, settings.thresholds, report)
    scores |= scores_there
    report(f"trained on {len(drawn)} events of {len({one.event.region for one in drawn})} regions")
    return TrainedModel(
        boosting=members.boosting,
        linear=members.linear,
        blend=blends[-1] if members.network else blends[0],
        spacing=SPACING,
        about=_about(drawn, groups, leave_out, settings, scores),
        network=members.network,
        plain=blends[0] if members.network else None,
        sources=stage,
    )


def _stage(
    members: Members, answered: Sequence[SourceAnswers | None], thresholds: Sequence[float], report: Report
) -> tuple[NwpStage | None, dict[str, Any]]:
    """Fit the stage with other sources on events left out; with its Brier scores there."""
    known = [one for one in answered if one is not None]
    if members.sources is None or not known:
        return None, {}
    joined_answers = SourceAnswers(
        _joined_answers([one.inside for one in known]), _joined_answers([one.outside for one in known])
    )
    stage = fit_stage(members.sources, MEMBERS, joined_answers, thresholds)
    if stage is None:
        return None, {}
    scores = {
        f"{name}, {where}": value
        for where, blend, scored in (
            ("with a model, radar known", stage.inside, joined_answers.inside),
            ("with a model, radar unknown", stage.outside, joined_answers.outside),
        )
        for name, value in compute_brier_scores(blend, scored).items()
    }
    for line in score_lines(scores):
        report(line)
    return stage, scores


def fit_blends(by_lead: Sequence[Scored], thresholds: Sequence[float], with_network: bool) -> list[Blend]:
    """Fit the blend of the members without the network, and with it if it was asked."""
    without = [one._replace(scores=one.scores[: len(MEMBERS)]) for one in by_lead]
    blends = [fit_blend(MEMBERS, thresholds, without)]
    return [*blends, fit_blend((*MEMBERS, NETWORK), thresholds, by_lead)] if with_network else blends


def _network_earns_its_place(blends: Sequence[Blend], scores: dict[str, Any], report: Report) -> bool:
    """Compare the blends on events left out: mean over lead times and thresholds of the share of the Brier score."""
    if len(blends) == 1:
        return False
    plain, full = scores[_name_of(blends[0])], scores[_name_of(blends[1])]
    ratios = [full[lead][t] / plain[lead][t] for lead in plain for t in plain[lead] if plain[lead][t] > 0]
    gain = 1 - float(np.mean(ratios)) if ratios else 0.0
    keep = gain >= LEAST_GAIN
    report(f"the network lowers the Brier score of the blend by {gain:.1%}: {'kept' if keep else 'left out'}")
    return keep


def train_without(
    events: Sequence[Event],
    regions: Sequence[str],
    work: str | Path,
    *,
    settings: TrainingSettings | None = None,
    workers: int = 1,
    report: Report = print,
) -> dict[str, Path]:
    """Train a model without each of some regions, to show how it does there; those on disk are used again.

    Returns
    -------
    dict
        Region -> folder of the model that has not seen it, in `work`.
    """
    settings = settings or TrainingSettings()
    folder = Path(work).expanduser() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for region in regions:
        made[region] = folder / f"without-{region}-{sampling_digest(events, settings)}"
        if not (made[region] / MANIFEST).exists():
            report(f"training a model without {region}")
            model = train(events, work, settings=settings, leave_out=[region], workers=workers, report=report)
            save_model(model, made[region])
    return made


def draw(
    events: Sequence[Event], work: Path, settings: TrainingSettings, workers: int, report: Report
) -> list[EventSamples]:
    """Draw all events, or take what is on disk; events without a case are left out."""
    stores = draw_missing(
        events, work.expanduser() / "samples", settings.sampling, workers, report, fields=settings.network is not None
    )
    share = min(1.0, settings.rows / max(sum(count_rows(store) for store in stores), 1))
    drawn = [(event, store, load_samples(store, share)) for event, store in zip(events, stores, strict=True)]
    kept = [one for one in drawn if one[2].lead.size]
    made = weighted([(event, samples) for event, _, samples in kept])
    return [one._replace(store=store) for one, (_, store, _) in zip(made, kept, strict=True)]


def weighted(drawn: Sequence[tuple[Event, Samples]]) -> list[EventSamples]:
    """Return events their weights: more cases count more, but ever less; many events of a region too."""
    cases = np.array([np.unique(samples.case).size for _, samples in drawn], np.float64)
    regions = np.array([event.region for event, _ in drawn])
    of_region = np.array([cases[regions == region].sum() for region in regions])
    shares = np.sqrt(cases) / of_region**0.25
    made = []
    for (event, samples), share in zip(drawn, shares, strict=True):
        made.append(EventSamples(event, samples, (samples.weight / samples.weight.sum() * share).astype(np.float32)))
    total = sum(float(one.weight.sum()) for one in made)
    rows = sum(one.weight.size for one in made)
    return [one._replace(weight=one.weight * np.float32(rows / total)) for one in made]


def assign_groups(events: Sequence[Event], folds: int) -> list[int]:
    """Part events into groups of like size, a region never in two of them; by event if regions are few."""
    keys = [event.region for event in events]
    if len(set(keys)) < folds:
        keys = [event.name for event in events]
    sizes = {key: keys.count(key) for key in keys}
    loads = [0] * min(folds, len(sizes))
    group: dict[str, int] = {}
    for key in sorted(sizes, key=lambda k: (-sizes[k], k)):
        group[key] = int(np.argmin(loads))
        loads[group[key]] += sizes[key]
    return [group[key] for key in keys]


# --- members --------------------------------------------------------------------------------------------------


class Members(NamedTuple):
    """Trained members."""

    linear: tuple[LogisticMember, ...]
    boosting: Boosting
    network: Network | None = None
    sources: SourceMembers | None = None

    def of_radar(self, rows: Array, lead: float) -> list[Array]:
        """Log odds of the members in `MEMBERS`, each ``(threshold, row)``."""
        return [*(member.scores(rows, lead) for member in self.linear), self.boosting.scores(rows)]


def train_members(drawn: Sequence[EventSamples], settings: TrainingSettings) -> Members:
    """Train all members on some events."""
    samples = concatenate_samples([one.samples for one in drawn])
    weight = np.concatenate([one.weight for one in drawn])
    data = (samples.predictors, samples.observed, weight, samples.lead, settings.thresholds)
    linear = tuple(fit_logistic_member(name, columns, *data) for name, columns in LINEAR.items())
    boosting = train_boosting(samples, weight, settings.boosting, settings.thresholds)
    sources = train_source_members(samples, weight, settings.boosting, settings.thresholds)
    return Members(linear, boosting, train_network(drawn, settings), sources)


def train_network(drawn: Sequence[EventSamples], settings: TrainingSettings) -> Network | None:
    """Train the network, stopped by every fifth event, from every region in turn; None without two events."""
    if settings.network is None or len(drawn) < 2:
        return None
    generator = np.random.default_rng(settings.sampling.seed)
    side = 2 * settings.network.crop
    total = sum(int(one.samples.case.max()) + 1 for one in drawn)
    every = -(-total // settings.fields)
    cases = {
        one.event.name: [cut_window(case, side, generator) for case in load_field_cases(one.store, every)]
        for one in sorted(drawn, key=lambda one: (one.event.region, one.event.name))
    }
    names = list(cases)
    stop = set(names[min(2, len(names) - 1) :: 5])
    learn = {name: found for name, found in cases.items() if name not in stop}
    return fit_network(learn, {name: cases[name] for name in stop}, settings.network)


def answers(members: Members, drawn: Sequence[EventSamples]) -> list[Scored]:
    """Ask members about events, one answer for each lead time."""
    samples = concatenate_samples([one.samples for one in drawn])
    weight = np.concatenate([one.weight for one in drawn])
    said = [members.boosting.scores(samples.predictors)]
    if members.network is not None:
        said.append(np.concatenate([network_scores(members.network, one) for one in drawn], axis=1))
    found = []
    for lead in np.unique(samples.lead):
        at = samples.lead == lead
        rows = samples.predictors[at]
        linear = (member.scores(rows, float(lead)) for member in members.linear)
        scores = np.stack([*linear, *(scores[:, at] for scores in said)])
        found.append(Scored(float(lead), scores, samples.observed[at], weight[at]))
    return found


def answers_with_sources(members: Members, drawn: Sequence[EventSamples]) -> SourceAnswers | None:
    """Ask members about the rows of events that have model fields."""
    if members.sources is None:
        return None
    samples = concatenate_samples([one.samples for one in drawn])
    weight = np.concatenate([one.weight for one in drawn])
    return source_answers(members.sources, members.of_radar, samples, weight)


def network_scores(network: Network, one: EventSamples) -> Array:
    """Ask the network about the rows of an event, ``(threshold, row)``, one issue time after the other."""
    samples = one.samples
    found = np.empty((len(NETWORK_THRESHOLDS), samples.lead.size), np.float32)
    minutes = samples.predictors[:, _LEAD_TIME]
    for number, case in enumerate(load_field_cases(one.store)):
        said = apply_network(case.inputs, network)
        mine = samples.case == number
        for lead in np.unique(minutes[mine]):
            at = mine & (minutes == lead)
            found[:, at] = said.at(samples.departure_points[at], float(lead))
    return found


def _joined_answers(parts: Sequence[Sequence[Scored]]) -> list[Scored]:
    """Put the answers of several groups together, lead time by lead time."""
    leads = sorted({one.lead for part in parts for one in part})
    found = []
    for lead in leads:
        same = [one for part in parts for one in part if one.lead == lead]
        found.append(
            Scored(
                lead,
                np.concatenate([one.scores for one in same], axis=2),
                np.concatenate([one.observed for one in same]),
                np.concatenate([one.weight for one in same]),
            )
        )
    return found


def _name_of(blend: Blend) -> str:
    """Name a blend among the scores."""
    return "blend" if NETWORK in blend.members else "blend without network"


def compute_brier_scores(blend: Blend, scored: Sequence[Scored]) -> dict[str, Any]:
    """Brier scores of members and blend on events left out, by lead time (min) and threshold (mm/h)."""
    found: dict[str, Any] = {name: {} for name in (*blend.members, _name_of(blend))}
    for one in scored:
        said = one.scores[: len(blend.members)]
        chances = [*probability(said), probability(blend.scores(said, one.lead))]
        for name, chance in zip(found, chances, strict=True):
            found[name][f"{one.lead:g}"] = {
                f"{threshold:g}": round(
                    float(np.average((p - (one.observed >= threshold)) ** 2, weights=one.weight)), 5
                )
                for threshold, p in zip(blend.thresholds, chance, strict=True)
            }
    return found


def score_lines(scores: dict[str, Any], threshold: str = "1") -> list[str]:
    """Say the Brier scores at one threshold, a line for each member."""
    lines = []
    for name, by_lead in scores.items():
        shown = ", ".join(
            f"{lead} min {values[threshold]:.4f}" for lead, values in by_lead.items() if threshold in values
        )
        lines.append(f"Brier score at {threshold} mm/h, events left out, {name}: {shown}")
    return lines


def _about(
    drawn: Sequence[EventSamples],
    groups: Sequence[int],
    leave_out: Sequence[str],
    settings: TrainingSettings,
    scores: dict[str, Any],
) -> dict[str, Any]:
    packages = ("hybridcast", "lightgbm", "numpy", "scipy", "numba")
    return {
        "events": [
            {
                "name": one.event.name,
                "region": one.event.region,
                "source": one.event.dataset or one.event.radar,
                "licence": one.event.licence,
                "cases": int(np.unique(one.samples.case).size),
                "rows": int(one.weight.size),
                "group": group,
            }
            for one, group in zip(drawn, groups, strict=True)
        ],
        "regions_left_out": list(leave_out),
        "settings": asdict(settings),
        "brier_scores_of_events_left_out": scores,
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
