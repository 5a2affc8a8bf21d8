"""Samples on disk: each event is drawn once, so that a training that was interrupted continues.

A Zarr store for each event holds the rows of its samples. If a network is trained, the store inside it named
``fields`` holds network inputs and outcomes of whole issue times, in half precision and one issue time per chunk, so
that a training reads only the issue times that it uses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from hybridcast.core.files import atomic_folder
from hybridcast.core.parallel import WorkerPool
from hybridcast.datasets.events import SPACING, Event
from hybridcast.learned import network_inputs
from hybridcast.learned.network_inputs import FieldCase, FieldOutcome, NetworkInputs
from hybridcast.learned.training.samples import Samples, Sampling, sample_event, sample_fields
from hybridcast.predictors.registry import ALL_PREDICTORS

Report = Callable[[str], None]
"""Function that receives a line of progress."""

_FIELDS = "fields"
_COLUMNS = ("observed", "weight", "lead", "case")
#: Constants that the network inputs depend on.
_INPUTS = (network_inputs.PLANES, network_inputs.LEADS, network_inputs.THRESHOLDS, network_inputs.BLOCK_SPACING)


def sampling_digest(*parts: object) -> str:
    """Return a short hexadecimal digest of `parts` and of the constants that samples depend on."""
    text = json.dumps([parts, ALL_PREDICTORS, SPACING, _INPUTS], default=_to_json)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _to_json(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def _never(_: Path) -> bool:
    """Return that no folder of samples is replaced: each is drawn once."""
    return False


# --- drawing --------------------------------------------------------------------------------------------------


def draw_missing(
    events: Sequence[Event], folder: Path, sampling: Sampling, workers: int, report: Report, *, fields: bool = False
) -> list[Path]:
    """Draw the samples of the events that are not in `folder` yet.

    Parameters
    ----------
    events
        Events to draw from.
    folder
        Folder of the stores; created if it does not exist.
    sampling
        Settings of the random choice.
    workers
        Number of processes; each holds one event in memory.
    report
        Function that receives a line for each event drawn.
    fields
        Whether to draw the fields of the network too.

    Returns
    -------
    list of Path
        Store of each event.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stores = {event: store_path(event, folder, sampling) for event in events}
    missing = [event for event, store in stores.items() if not _is_complete(store, fields)]
    batch_size = max(1, workers)
    with WorkerPool(batch_size) as pool:
        for start in range(0, len(missing), batch_size):
            batch = missing[start : start + batch_size]
            counts: dict[str, int] = {}
            pool.run([partial(_draw_event, event, stores[event], sampling, fields) for event in batch], counts.update)
            for number, event in enumerate(batch, start + 1):
                about = f"{event.region}, varied" if sampling.varied else event.region
                report(f"{number} of {len(missing)}: {event.name} ({about}), {counts[event.name]} samples")
    return list(stores.values())


def store_path(event: Event, folder: Path, sampling: Sampling) -> Path:
    """Return the path of the store of an event, named by everything that its samples depend on."""
    return folder / f"{event.name}-{sampling_digest(event, sampling)}.zarr"


def _is_complete(store: Path, fields: bool) -> bool:
    if not store.exists():
        return False
    return not fields or (store / _FIELDS).exists() or not count_samples(store).rows


def _draw_event(event: Event, store: Path, sampling: Sampling, fields: bool) -> dict[str, int]:
    """Draw what is missing of an event, and return the number of its samples by the name of the event."""
    if not store.exists():
        with atomic_folder(store, _never) as part:
            write_samples(sample_event(event, sampling), part)
    if not _is_complete(store, fields):
        with atomic_folder(store / _FIELDS, _never) as part:
            write_fields(sample_fields(event, sampling), part)
    return {event.name: count_samples(store).rows}


# --- reading and writing --------------------------------------------------------------------------------------


def write_samples(samples: Samples, store: Path) -> None:
    """Write the samples of an event."""
    data = xr.Dataset({name: ("row", getattr(samples, name)) for name in _COLUMNS})
    data["predictors"] = (("row", "predictor"), samples.predictors)
    data["departure_points"] = (("row", "axis"), samples.departure_points)
    data.chunk(row=max(1, min(65_536, samples.lead.size)), predictor=-1).to_zarr(store, zarr_format=2)


def write_fields(cases: Iterable[FieldCase], store: Path) -> None:
    """Write network inputs and outcomes, one issue time at a time."""
    for number, case in enumerate(cases):
        data = _field_dataset(case).expand_dims("case").chunk(case=1)
        if number:
            data.to_zarr(store, append_dim="case", zarr_format=2)
        else:
            data.to_zarr(store, zarr_format=2)


def _field_dataset(case: FieldCase) -> xr.Dataset:
    inputs, outcome, grid = case.inputs, case.outcome, ("y", "x")
    return xr.Dataset(
        {
            "planes": (("plane", *grid), inputs.planes.astype(np.float16)),
            "conditions": ("condition", inputs.conditions),
            "smooth": (("lead", *grid), inputs.smooth.astype(np.float16)),
            "known": (("lead", *grid), outcome.known),
            "reached": (("lead", "threshold", *grid), outcome.reached),
        },
        attrs={"block": inputs.block},
    )


class SampleCount(NamedTuple):
    """Size of the samples of an event."""

    rows: int
    cases: int
    """Number of issue times."""


def count_samples(store: Path) -> SampleCount:
    """Return the number of samples of an event and of their issue times."""
    with xr.open_zarr(store, chunks={}) as data:
        rows = int(data.sizes["row"])
        return SampleCount(rows, int(np.unique(data["case"].values).size) if rows else 0)


def load_samples(store: Path, count: int) -> Samples:
    """Load `count` randomly chosen samples of an event, or all if it has fewer."""
    with xr.open_zarr(store) as data:
        kept = np.sort(np.random.default_rng(0).permutation(data.sizes["row"])[:count])
        loaded = data.isel(row=kept).load()
    columns = {name: loaded[name].values for name in _COLUMNS}
    rows = loaded["predictors"].values.reshape(-1, len(ALL_PREDICTORS))
    return Samples(predictors=rows, departure_points=loaded["departure_points"].values.reshape(-1, 2), **columns)


def load_field_cases(store: Path, every: int = 1) -> Iterator[FieldCase]:
    """Yield network inputs and outcomes of every `every`-th issue time of an event, one by one."""
    with xr.open_zarr(store / _FIELDS, chunks={}) as data:
        for number in range(0, data.sizes["case"], every):
            one = data.isel(case=number).load()
            planes, conditions, smooth = (one[name].values for name in ("planes", "conditions", "smooth"))
            yield FieldCase(
                NetworkInputs(planes, conditions, smooth, int(data.attrs["block"])),
                FieldOutcome(one["known"].values, one["reached"].values),
            )
