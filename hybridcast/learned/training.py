"""Training: samples event by event, members, and their weights from events that the members have not seen.

1. Each event's samples are drawn once and kept on disk, so that a run that was stopped goes on.
2. The events are parted into groups, by region where there are enough regions. Members are trained on all groups but
   one, in turn, and asked about the one left out.
3. From these answers the weights of the members are fitted, which calibrates them too.
4. The members are trained again on all events.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.errors import InputError
from hybridcast.events import SPACING, Event
from hybridcast.features import NAMES
from hybridcast.learned.blend import Blend, Scored, fit_blend, probability
from hybridcast.learned.boosting import THRESHOLDS, Boosting, BoostingSettings, train_boosting
from hybridcast.learned.linear import NEIGHBOURHOOD, SCALES, LinearMember, fit_member
from hybridcast.learned.model import MANIFEST, TrainedModel, save_model
from hybridcast.learned.samples import Samples, Sampling, joined, sample_event

Array = NDArray[np.float32]
Report = Callable[[str], None]

#: Members in the order of the blend; the linear ones first.
LINEAR = {"neighbourhood": NEIGHBOURHOOD, "scales": SCALES}
MEMBERS = (*LINEAR, "boosting")


@dataclass(frozen=True)
class TrainingSettings:
    """What a training depends on."""

    sampling: Sampling = field(default_factory=Sampling)
    boosting: BoostingSettings = field(default_factory=BoostingSettings)
    thresholds: tuple[float, ...] = THRESHOLDS
    folds: int = 3
    """Groups that are left out in turn to find the weights."""
    rows: int = 400_000
    """Most rows a training uses; more are thinned out, every event alike."""


class EventSamples(NamedTuple):
    """The samples of an event, and how much it counts."""

    event: Event
    samples: Samples
    weight: Array
    """Of its rows, ``(row,)``."""


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
        As `hybridcast.events.load_events` gives them.
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
    """
    settings = settings or TrainingSettings()
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
    groups = groups_of([one.event for one in drawn], settings.folds)
    scored, rows = [], []
    for group in sorted(set(groups)):
        members = train_members([one for one, g in zip(drawn, groups, strict=True) if g != group], settings)
        left_out = [one for one, g in zip(drawn, groups, strict=True) if g == group]
        scored.append(answers(members, left_out))
        rows.append(left_out)
        report(f"group {group + 1} of {len(set(groups))} left out: {', '.join(one.event.name for one in left_out)}")
    by_lead = _joined_answers(scored)
    blend = fit_blend(MEMBERS, settings.thresholds, by_lead)
    scores = brier_scores(blend, by_lead)
    for line in score_lines(scores):
        report(line)
    members = train_members(drawn, settings)
    report(f"trained on {len(drawn)} events of {len({one.event.region for one in drawn})} regions")
    return TrainedModel(
        boosting=members.boosting,
        linear=members.linear,
        blend=blend,
        spacing=SPACING,
        about=_about(drawn, groups, leave_out, settings, scores),
    )


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
        made[region] = folder / f"without-{region}-{_digest(events, settings)}"
        if not (made[region] / MANIFEST).exists():
            report(f"training a model without {region}")
            model = train(events, work, settings=settings, leave_out=[region], workers=workers, report=report)
            save_model(model, made[region])
    return made


def _digest(*parts: object) -> str:
    """Give a short word for all that something depends on."""
    told = json.dumps([parts, NAMES, SPACING], default=_plain)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


# --- samples on disk ------------------------------------------------------------------------------------------


def draw(
    events: Sequence[Event], work: Path, settings: TrainingSettings, workers: int, report: Report
) -> list[EventSamples]:
    """Draw the samples of all events, or take those on disk; events without a case are left out."""
    folder = work.expanduser() / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [event for event in events if not _store_of(event, folder, settings.sampling).exists()]
    for start in range(0, len(missing), max(1, workers)):
        batch = missing[start : start + max(1, workers)]
        tasks = [dask.delayed(_draw_one)(event, folder, settings.sampling) for event in batch]
        counts = dask.compute(*tasks, scheduler="processes" if len(batch) > 1 else "synchronous", num_workers=workers)
        for k, (event, count) in enumerate(zip(batch, counts, strict=True)):
            report(f"{start + k + 1} of {len(missing)}: {event.name} ({event.region}), {count} samples")
    stores = [_store_of(event, folder, settings.sampling) for event in events]
    total = sum(_rows_in(store) for store in stores)
    share = min(1.0, settings.rows / max(total, 1))
    drawn = [(event, _load(store, share)) for event, store in zip(events, stores, strict=True)]
    return weighted([(event, samples) for event, samples in drawn if samples.lead.size])


def _store_of(event: Event, folder: Path, sampling: Sampling) -> Path:
    """Name the store of an event's samples by all that they depend on."""
    return folder / f"{event.name}-{_digest(event, sampling)}.zarr"


def _draw_one(event: Event, folder: Path, sampling: Sampling) -> int:
    samples = sample_event(event, sampling)
    columns = {
        "observed": samples.observed,
        "weight": samples.weight,
        "lead": samples.lead,
        "case": samples.case,
    }
    data = xr.Dataset({name: ("row", values) for name, values in columns.items()})
    data["predictors"] = (("row", "feature"), samples.predictors)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
        made = Path(scratch) / "samples"
        data.chunk(row=max(1, min(65_536, samples.lead.size)), feature=-1).to_zarr(made, zarr_format=2)
        made.rename(_store_of(event, folder, sampling))
    return int(samples.lead.size)


def _rows_in(store: Path) -> int:
    with xr.open_zarr(store, chunks={}) as data:
        return int(data.sizes["row"])


def _load(store: Path, share: float) -> Samples:
    """Load a random share of an event's samples."""
    with xr.open_zarr(store) as data:
        count = data.sizes["row"]
        kept = np.sort(np.random.default_rng(0).permutation(count)[: round(share * count)])
        loaded = data.isel(row=kept).load()
    return Samples(
        loaded["predictors"].values.reshape(-1, len(NAMES)),
        *(loaded[name].values for name in ("observed", "weight", "lead", "case")),
    )


def weighted(drawn: Sequence[tuple[Event, Samples]]) -> list[EventSamples]:
    """Give events their weights: more cases count more, but ever less; many events of a region too."""
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


def groups_of(events: Sequence[Event], folds: int) -> list[int]:
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

    linear: tuple[LinearMember, ...]
    boosting: Boosting


def train_members(drawn: Sequence[EventSamples], settings: TrainingSettings) -> Members:
    """Train all members on some events."""
    samples = joined([one.samples for one in drawn])
    weight = np.concatenate([one.weight for one in drawn])
    data = (samples.predictors, samples.observed, weight, samples.lead, settings.thresholds)
    linear = tuple(fit_member(name, columns, *data) for name, columns in LINEAR.items())
    return Members(linear, train_boosting(samples, weight, settings.boosting, settings.thresholds))


def answers(members: Members, drawn: Sequence[EventSamples]) -> list[Scored]:
    """Ask members about events, one answer for each lead time."""
    samples = joined([one.samples for one in drawn])
    weight = np.concatenate([one.weight for one in drawn])
    boosted = members.boosting.scores(samples.predictors)
    found = []
    for lead in np.unique(samples.lead):
        at = samples.lead == lead
        rows = samples.predictors[at]
        scores = np.stack([*(member.scores(rows, float(lead)) for member in members.linear), boosted[:, at]])
        found.append(Scored(float(lead), scores, samples.observed[at], weight[at]))
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


def brier_scores(blend: Blend, scored: Sequence[Scored]) -> dict[str, Any]:
    """Brier scores of members and blend on events left out, by lead time (min) and threshold (mm/h)."""
    found: dict[str, Any] = {name: {} for name in (*blend.members, "blend")}
    for one in scored:
        chances = [*probability(one.scores), probability(blend.scores(one.scores, one.lead))]
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
