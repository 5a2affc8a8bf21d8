"""What is drawn of each event, on disk: drawn once, so that a training that was stopped goes on.

A Zarr store for each event: the rows of samples in its root, and whole issue times for the network in the group
``fields``, half precision, an issue time in each chunk, so that no training holds more of them than it looks at.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path

import dask
import numpy as np
import xarray as xr

from hybridcast.datasets.events import SPACING, Event
from hybridcast.learned import network_inputs as inputs
from hybridcast.learned.network_inputs import FieldCase, FieldOutcome, NetworkInputs
from hybridcast.learned.training.samples import DrawnEvent, Samples, Sampling, sample_event
from hybridcast.predictors.registry import ALL_PREDICTORS

Report = Callable[[str], None]

_FIELDS = "fields"
_COLUMNS = ("observed", "weight", "lead", "case")
#: What the inputs of the network depend on.
_INPUTS = (inputs.PLANES, inputs.LEADS, inputs.THRESHOLDS, inputs.SPACING)


def sampling_digest(*parts: object) -> str:
    """Return a short word for all that something depends on."""
    told = json.dumps([parts, ALL_PREDICTORS, SPACING, _INPUTS], default=_plain)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def draw_missing(events: Sequence[Event], folder: Path, sampling: Sampling, workers: int, report: Report) -> list[Path]:
    """Draw the events that are not in `folder` yet; give the store of each event."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [event for event in events if not store_path(event, folder, sampling).exists()]
    for start in range(0, len(missing), max(1, workers)):
        batch = missing[start : start + max(1, workers)]
        tasks = [dask.delayed(_draw_one)(event, folder, sampling) for event in batch]
        counts = dask.compute(*tasks, scheduler="processes" if len(batch) > 1 else "synchronous", num_workers=workers)
        for k, (event, count) in enumerate(zip(batch, counts, strict=True)):
            report(f"{start + k + 1} of {len(missing)}: {event.name} ({event.region}), {count} samples")
    return [store_path(event, folder, sampling) for event in events]


def store_path(event: Event, folder: Path, sampling: Sampling) -> Path:
    """Name the store of an event by all that it depends on."""
    return folder / f"{event.name}-{sampling_digest(event, sampling)}.zarr"


def _draw_one(event: Event, folder: Path, sampling: Sampling) -> int:
    drawn = sample_event(event, sampling)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
        made = Path(scratch) / "samples"
        write_store(drawn, made)
        made.rename(store_path(event, folder, sampling))
    return int(drawn.samples.lead.size)


def write_store(drawn: DrawnEvent, store: Path) -> None:
    """Write what was drawn of an event."""
    samples = drawn.samples
    data = xr.Dataset({name: ("row", getattr(samples, name)) for name in _COLUMNS})
    data["predictors"] = (("row", "predictor"), samples.predictors)
    data["place"] = (("row", "axis"), samples.place)
    data.chunk(row=max(1, min(65_536, samples.lead.size)), predictor=-1).to_zarr(store, zarr_format=2)
    if drawn.cases:
        fields = _fields(drawn.cases)
        fields.chunk(case=1).to_zarr(store, group=_FIELDS, mode="a", zarr_format=2)


def _fields(cases: Sequence[FieldCase]) -> xr.Dataset:
    seen = [case.inputs for case in cases]
    came = [case.outcome for case in cases]
    grid = ("y", "x")
    return xr.Dataset(
        {
            "planes": (("case", "plane", *grid), np.stack([one.planes.astype(np.float16) for one in seen])),
            "conditions": (("case", "condition"), np.stack([one.conditions for one in seen])),
            "smooth": (("case", "lead", *grid), np.stack([one.smooth.astype(np.float16) for one in seen])),
            "known": (("case", "lead", *grid), np.stack([one.known for one in came])),
            "reached": (("case", "lead", "threshold", *grid), np.stack([one.reached for one in came])),
        },
        attrs={"block": seen[0].block},
    )


def count_rows(store: Path) -> int:
    """Count the samples of an event."""
    with xr.open_zarr(store, chunks={}) as data:
        return int(data.sizes["row"])


def load_samples(store: Path, share: float) -> Samples:
    """Load a random share of an event's samples."""
    with xr.open_zarr(store) as data:
        count = data.sizes["row"]
        kept = np.sort(np.random.default_rng(0).permutation(count)[: round(share * count)])
        loaded = data.isel(row=kept).load()
    columns = {name: loaded[name].values for name in _COLUMNS}
    rows = loaded["predictors"].values.reshape(-1, len(ALL_PREDICTORS))
    return Samples(predictors=rows, place=loaded["place"].values.reshape(-1, 2), **columns)


def load_field_cases(store: Path, every: int = 1) -> Iterator[FieldCase]:
    """Load an event's issue times one after the other, or every so many of them."""
    with xr.open_zarr(store, group=_FIELDS, chunks={}) as data:
        for k in range(0, data.sizes["case"], every):
            one = data.isel(case=k).load()
            yield FieldCase(
                NetworkInputs(
                    one["planes"].values, one["conditions"].values, one["smooth"].values, int(data.attrs["block"])
                ),
                FieldOutcome(one["known"].values, one["reached"].values),
            )
