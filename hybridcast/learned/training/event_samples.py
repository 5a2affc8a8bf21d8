"""Samples of events for a training: drawn or loaded, weighted, and parted into groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hybridcast.core.types import Array
from hybridcast.datasets.events import Event
from hybridcast.learned.predictor_rows import has_nwp
from hybridcast.learned.training.sample_store import Report, count_rows, draw_missing, load_samples
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
    """Return the samples of events, drawn unless they are in the folder `work`; events without any are left out."""
    folder, with_fields = work.expanduser() / "samples", settings.network is not None
    stores = draw_missing(events, folder, settings.sampling, workers, report, fields=with_fields)
    fraction = min(1.0, settings.rows / max(sum(count_rows(store) for store in stores), 1))
    loaded = [(event, store, load_samples(store, fraction)) for event, store in zip(events, stores, strict=True)]
    kept = [one for one in loaded if one[2].lead.size]
    weighted = weight_events([(event, samples) for event, _, samples in kept])
    return [one._replace(store=store) for one, (_, store, _) in zip(weighted, kept, strict=True)]


def weight_events(events: Sequence[tuple[Event, Samples]]) -> list[EventSamples]:
    """Return events with weights, which grow slower than the number of their issue times and of events of a region."""
    cases = np.array([np.unique(samples.case).size for _, samples in events], np.float64)
    regions = np.array([event.region for event, _ in events])
    of_region = np.array([cases[regions == region].sum() for region in regions])
    totals = np.sqrt(cases) / of_region**0.25
    made = []
    for (event, samples), total in zip(events, totals, strict=True):
        made.append(EventSamples(event, samples, (samples.weight / samples.weight.sum() * total).astype(np.float32)))
    sum_of_weights = sum(float(one.weight.sum()) for one in made)
    rows = sum(one.weight.size for one in made)
    return [one._replace(weight=one.weight * np.float32(rows / sum_of_weights)) for one in made]


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
