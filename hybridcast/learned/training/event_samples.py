"""Samples of events for a training: drawn or loaded, weighted, and parted into groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hybridcast.core.types import Array, Doubles
from hybridcast.datasets.events import Event
from hybridcast.learned.predictor_rows import has_nwp
from hybridcast.learned.training.sample_store import Report, count_samples, draw_missing, load_samples
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

    More rows than `TrainingSettings.rows` are thinned out, so that each event keeps rows in proportion to its weight.
    """
    folder, with_fields = work.expanduser() / "samples", settings.network is not None
    stores = draw_missing(events, folder, settings.sampling, workers, report, fields=with_fields)
    sizes = [count_samples(store) for store in stores]
    drawn = [(event, store, size) for event, store, size in zip(events, stores, sizes, strict=True) if size.rows]
    if not drawn:
        return []
    totals = weigh_events([event for event, _, _ in drawn], [size.cases for _, _, size in drawn])
    kept = share_rows(totals, [size.rows for _, _, size in drawn], settings.rows)
    loaded = [(event, load_samples(store, rows)) for (event, store, _), rows in zip(drawn, kept, strict=True)]
    return [one._replace(store=store) for one, (_, store, _) in zip(weight_events(loaded), drawn, strict=True)]


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
