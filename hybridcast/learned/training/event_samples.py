"""Samples of events for a training: drawn or loaded, weighted, and parted into groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hybridcast.core.types import Array, Doubles
from hybridcast.datasets.events import Event
from hybridcast.learned.predictor_rows import has_nwp
from hybridcast.learned.training.sample_store import Report, SampleCount, count_samples, draw_missing, load_samples
from hybridcast.learned.training.samples import Samples, concatenate_samples
from hybridcast.learned.training.settings import TrainingSettings


class EventSamples(NamedTuple):
    """Samples of an event, with their weights in a training."""

    event: Event
    samples: Samples
    weight: Array
    """Weight of each row, ``(row,)``."""
    store: Path = Path()
    """Store of its issue times."""
    varied: bool = False
    """Whether it is a varied copy of the event: members learn from it, and are not scored on it."""

    @property
    def name(self) -> str:
        """Name of the event, other than that of the event itself for a varied copy."""
        return f"{self.event.name}, varied" if self.varied else self.event.name


class TrainingData(NamedTuple):
    """Data that members are trained on."""

    events: Sequence[EventSamples]
    """Events one by one."""
    samples: Samples
    """Rows of all events, or some of them."""
    weight: Array
    """Weight of each row of `samples`, ``(row,)``."""
    settings: TrainingSettings

    @classmethod
    def of(cls, events: Sequence[EventSamples], settings: TrainingSettings) -> TrainingData:
        """Return the data of some events."""
        samples = concatenate_samples([one.samples for one in events])
        return cls(events, samples, np.concatenate([one.weight for one in events]), settings)

    def with_nwp(self) -> TrainingData:
        """Return the data of the rows with NWP rain."""
        rows = has_nwp(self.samples.predictors)
        samples = Samples(**{name: getattr(self.samples, name)[rows] for name in Samples._fields})
        return self._replace(samples=samples, weight=self.weight[rows])


def load_event_samples(
    events: Sequence[Event], work: Path, settings: TrainingSettings, workers: int, report: Report
) -> list[EventSamples]:
    """Return the samples of events, drawn unless they are in the folder `work`; events without any are left out.

    The varied copies follow the events, if the settings want them. More rows than `TrainingSettings.rows` are thinned
    out, so that each event keeps rows in proportion to its weight.
    """
    folder, with_fields = work.expanduser() / "samples", settings.network is not None
    drawn = []
    for varied in (False, True) if settings.varied else (False,):
        sampling = replace(settings.sampling, varied=varied)
        stores = draw_missing(events, folder, sampling, workers, report, fields=with_fields)
        sizes = [count_samples(store) for store in stores]
        drawn += [_Drawn(*one, varied) for one in zip(events, stores, sizes, strict=True) if one[-1].rows]
    if not drawn:
        return []
    totals = weigh_events([one.event for one in drawn], [one.size.cases for one in drawn])
    kept = share_rows(totals, [one.size.rows for one in drawn], settings.rows)
    loaded = [(one.event, load_samples(one.store, rows)) for one, rows in zip(drawn, kept, strict=True)]
    weighted = weight_events(loaded)
    return [samples._replace(store=one.store, varied=one.varied) for samples, one in zip(weighted, drawn, strict=True)]


class _Drawn(NamedTuple):
    """Samples of an event on disk."""

    event: Event
    store: Path
    size: SampleCount
    varied: bool


def weigh_events(events: Sequence[Event], cases: Sequence[int]) -> Doubles:
    """Return the weight of each event: the square root of its issue times, over that of the events of its region.

    So a region counts by the square root of its days: a network with a hundred days does not outweigh all others, whose
    weather it has not seen.
    """
    regions = [event.region for event in events]
    of_region = np.array([regions.count(region) for region in regions])
    return np.asarray(np.sqrt(np.asarray(cases, np.float64) / of_region))


def share_rows(weights: Doubles, available: Sequence[int], limit: int) -> list[int]:
    """Share out a number of rows in proportion to weights; what an event does not have goes to the others.

    Examples
    --------
    >>> share_rows(np.array([1.0, 1.0, 2.0]), [100, 10, 100], 90)
    [27, 10, 53]
    """
    have = np.asarray(available, np.float64)
    kept = np.zeros(have.size)
    open_ = np.ones(have.size, bool)
    while open_.any():
        kept[open_] = (limit - kept[~open_].sum()) * weights[open_] / weights[open_].sum()
        full = open_ & (kept >= have)
        if not full.any():
            break
        kept[full] = have[full]
        open_ &= ~full
    return [max(1, round(rows)) for rows in kept.tolist()]


def weight_events(events: Sequence[tuple[Event, Samples]]) -> list[EventSamples]:
    """Return events with weights of their rows, whose sum is the number of rows; see `weigh_events`."""
    totals = weigh_events([event for event, _ in events], [np.unique(samples.case).size for _, samples in events])
    scale = sum(samples.weight.size for _, samples in events) / totals.sum()
    return [
        EventSamples(event, samples, (samples.weight / samples.weight.sum() * total * scale).astype(np.float32))
        for (event, samples), total in zip(events, totals, strict=True)
    ]


def assign_groups(events: Sequence[Event], folds: int) -> list[int]:
    """Return the number of the group of each event: groups of similar size that part no region, or no event if few."""
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
