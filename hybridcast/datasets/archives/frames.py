"""Radar frames, appended to one Zarr store per day, hour by hour: memory holds no more than an hour of frames.

The stores are CF precipitation fields, chunked in time, with whole images. They get their final names together when all
of their files have been read; until then they are in a temporary folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import GRID_MAPPING, RATE, check_same_grid
from hybridcast.core.time_steps import iso_time, regular_times
from hybridcast.errors import InputError, ReadError

#: Maximum number of frames of a chunk, an hour at 5 min, and maximum size of a chunk, bytes.
CHUNK_FRAMES = 12
CHUNK_BYTES = 64_000_000
#: Encoding of rates, mm h-1, as whole hundredths of a millimetre in 5 minutes: MeteoNet's values in half the size
#: without loss.
HUNDREDTHS: dict[str, Any] = {"dtype": "int16", "scale_factor": 0.12, "_FillValue": -1}
_TIME = {"units": "seconds since 1970-01-01", "dtype": "int64"}


class StoreFrames(NamedTuple):
    """Frames, with the name of the store that they belong to."""

    store: str
    frames: xr.DataArray


def frames_per_chunk(shape: tuple[int, ...]) -> int:
    """Return the number of frames of a chunk for images of a shape."""
    return max(1, min(CHUNK_FRAMES, CHUNK_BYTES // (4 * int(np.prod(shape)))))


def write_stores(
    blocks: Iterable[StoreFrames], folder: Path, part: str, packing: dict[str, Any] | None = None
) -> list[Any]:
    """Write frames to Zarr stores ``folder/NAME.zarr``, all of them or none.

    Parameters
    ----------
    blocks
        Frames in the order of time, with the names of their stores.
    folder
        Folder of the stores; created if it does not exist.
    part
        Name of the temporary folder below it.
    packing
        Encoding of the values; float32 by default.

    Returns
    -------
    list of dict
        For each store: ``day``, ``from``, ``to``, ``frames``, ``missing`` (number of frames missing in between),
        ``wettest`` (maximum over frames of the fraction of valid cells with at least 1 mm/h); ``left_out`` if frames
        were left out, and ``irregular`` if the time steps are.
    """
    parts = folder / f".{part}.part"
    shutil.rmtree(parts, ignore_errors=True)  # of an interrupted run
    parts.mkdir(parents=True)
    stores: dict[str, _Store] = {}
    try:
        for name, frames in blocks:
            if name not in stores:
                stores[name] = _Store(parts / f"{name}.zarr", packing or {})
            stores[name].add(frames)
        for store in stores.values():
            store.flush()
        for name in stores:
            _replace_folder(parts / f"{name}.zarr", folder / f"{name}.zarr")
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return [{"day": name, **store.summary()} for name, store in stores.items()]


def _replace_folder(new: Path, old: Path) -> None:
    """Rename a folder to the name of another one, which is deleted."""
    deleted = new.with_suffix(".gone")
    if old.exists():
        old.replace(deleted)
    new.replace(old)
    shutil.rmtree(deleted, ignore_errors=True)


class _Store:
    """A Zarr store that grows by whole chunks."""

    def __init__(self, path: Path, packing: dict[str, Any]) -> None:
        self.path = path
        self.packing = packing
        self.waiting: list[xr.DataArray] = []
        self.times: list[np.datetime64] = []
        self.first: xr.DataArray | None = None
        self.wettest = 0.0
        self.left_out = 0

    def add(self, frames: xr.DataArray) -> None:
        """Add frames later than all before; other frames are left out and counted."""
        if self.first is None:
            self.first = frames.isel(time=slice(0, 0))
        check_same_grid(self.first, frames, f"the frames of {self.path.stem}")
        later = _find_later(frames["time"].values, self.times[-1] if self.times else None)
        self.left_out += int((~later).sum())
        frames = frames.isel(time=later)
        if not frames.sizes["time"]:
            return
        self.times.extend(frames["time"].values)
        self.wettest = max(self.wettest, float(wet_fractions(frames).max()))
        self.waiting.append(frames.assign_coords(y=self.first["y"], x=self.first["x"]))
        count = frames_per_chunk(frames.shape[1:])
        while sum(part.sizes["time"] for part in self.waiting) >= count:
            frames = _concatenate(self.waiting)
            self._append(frames[:count])
            self.waiting = [frames[count:]] if frames.sizes["time"] > count else []

    def flush(self) -> None:
        """Write the frames of an incomplete chunk."""
        if self.waiting:
            self._append(_concatenate(self.waiting))
            self.waiting = []

    def _append(self, frames: xr.DataArray) -> None:
        data = frames.drop_encoding().to_dataset(name=RATE)
        if self.path.exists():
            grown = data.drop_vars(["y", "x", GRID_MAPPING], errors="ignore")
            grown.to_zarr(self.path, append_dim="time", consolidated=False)
            return
        chunks = (frames_per_chunk(frames.shape[1:]), *frames.shape[1:])
        encoding = {RATE: {"chunks": chunks, **self.packing}, "time": {**_TIME, "chunks": (len(self.times) + 288,)}}
        data.assign_attrs(Conventions="CF-1.11").to_zarr(self.path, mode="w", consolidated=False, encoding=encoding)

    def summary(self) -> dict[str, Any]:
        """Return a description of the frames in the store."""
        times = np.array(self.times)
        found: dict[str, Any] = {"from": iso_time(times[0]), "to": iso_time(times[-1]), "frames": times.size}
        try:
            found["missing"] = regular_times(xr.DataArray(times, coords={"time": times})).size - times.size
        except InputError as error:
            found |= {"missing": None, "irregular": str(error)}
        if self.left_out:
            found["left_out"] = f"{self.left_out} frames that occurred twice, or after later ones"
        return {**found, "wettest": round(self.wettest, 5)}


def _find_later(times: NDArray[np.datetime64], after: np.datetime64 | None) -> NDArray[np.bool_]:
    """Return which times are later than all before."""
    before = np.maximum.accumulate(times.astype("datetime64[ns]").astype(np.int64))
    start = np.iinfo(np.int64).min if after is None else after.astype("datetime64[ns]").astype(np.int64)
    highest = np.maximum(np.concatenate([[start], before[:-1]]), start)
    return np.asarray(times.astype(np.int64) > highest)


def _concatenate(frames: list[xr.DataArray]) -> xr.DataArray:
    if len(frames) == 1:
        return frames[0]
    return xr.concat(frames, dim="time", coords="minimal", compat="override", combine_attrs="override")


def wet_fractions(frames: xr.DataArray) -> NDArray[np.float64]:
    """Return the fraction of the valid cells of each frame with at least 1 mm/h."""
    values = frames.values
    known = np.isfinite(values).sum(axis=(1, 2))
    return np.asarray((values >= 1.0).sum(axis=(1, 2)) / np.maximum(known, 1))


def iterate_blocks(field: xr.DataArray) -> Iterable[xr.DataArray]:
    """Yield a field, lazy or not, in memory in parts of the size of a chunk."""
    count = frames_per_chunk(field.shape[1:])
    for first in range(0, field.sizes["time"], count):
        try:
            yield field[first : first + count].compute()
        except (OSError, ValueError, RuntimeError) as error:  # damage of a lazy file is detected here
            raise ReadError(Path(str(field.encoding.get("source", "radar"))), str(error)) from error
