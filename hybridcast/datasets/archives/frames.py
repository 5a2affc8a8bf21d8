"""Radar frames, appended to Zarr stores of a day each, hour by hour: no more than an hour of frames is in memory.

The stores are CF precipitation fields, chunked in time, whole images. They get their names together, when all of the
files that they are made of are read; until then they lie in a folder of parts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import GRID_MAPPING, RATE, check_same_grid, iso_time, regular_times
from hybridcast.errors import InputError, ReadError

#: Frames of a chunk are those of an hour at 5 min, unless they are larger than this, bytes.
CHUNK_FRAMES = 12
CHUNK_BYTES = 64_000_000
#: Whole hundredths of a millimetre in 5 minutes, mm/h: MeteoNet's numbers, in half the memory and without loss.
HUNDREDTHS: dict[str, Any] = {"dtype": "int16", "scale_factor": 0.12, "_FillValue": -1}
_TIME = {"units": "seconds since 1970-01-01", "dtype": "int64"}


class Named(NamedTuple):
    """Some frames, and the name of the store they belong to."""

    store: str
    frames: xr.DataArray


def chunk_frames(shape: tuple[int, ...]) -> int:
    """Return the number of frames of a chunk, for images of that shape."""
    return max(1, min(CHUNK_FRAMES, CHUNK_BYTES // (4 * int(np.prod(shape)))))


def write_stores(blocks: Iterable[Named], folder: Path, part: str, packing: dict[str, Any] | None = None) -> list[Any]:
    """Write frames to Zarr stores ``folder/NAME.zarr``, all of them or none.

    Parameters
    ----------
    blocks
        Frames in time order, with the names of their stores.
    folder
        Where stores go; it is made.
    part
        Name of a folder below it that holds what is not complete.
    packing
        Encoding of the values; float32 by default.

    Returns
    -------
    list of dict
        For each store: ``day``, ``from``, ``to``, ``frames``, ``missing`` (on the steps between), ``wettest`` (the
        largest share of 1 mm/h or more of what a frame sees), and ``left_out`` if frames were, or ``irregular``.
    """
    parts = folder / f".{part}.part"
    shutil.rmtree(parts, ignore_errors=True)  # of a run that was stopped
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
            _take_place(parts / f"{name}.zarr", folder / f"{name}.zarr")
    finally:
        shutil.rmtree(parts, ignore_errors=True)
    return [{"day": name, **store.summary()} for name, store in stores.items()]


def _take_place(new: Path, old: Path) -> None:
    """Return a folder the name of another one, which is gone then."""
    gone = new.with_suffix(".gone")
    if old.exists():
        old.replace(gone)
    new.replace(old)
    shutil.rmtree(gone, ignore_errors=True)


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
        """Take frames that come after all before; others are left out, and counted."""
        if self.first is None:
            self.first = frames.isel(time=slice(0, 0))
        check_same_grid(self.first, frames, f"the frames of {self.path.stem}")
        later = _rising(frames["time"].values, self.times[-1] if self.times else None)
        self.left_out += int((~later).sum())
        frames = frames.isel(time=later)
        if not frames.sizes["time"]:
            return
        self.times.extend(frames["time"].values)
        self.wettest = max(self.wettest, float(wet_shares(frames).max()))
        self.waiting.append(frames.assign_coords(y=self.first["y"], x=self.first["x"]))
        count = chunk_frames(frames.shape[1:])
        while sum(part.sizes["time"] for part in self.waiting) >= count:
            together = _together(self.waiting)
            self._append(together[:count])
            self.waiting = [together[count:]] if together.sizes["time"] > count else []

    def flush(self) -> None:
        """Write what waits for a chunk to become full."""
        if self.waiting:
            self._append(_together(self.waiting))
            self.waiting = []

    def _append(self, frames: xr.DataArray) -> None:
        data = frames.drop_encoding().to_dataset(name=RATE)
        if self.path.exists():
            grown = data.drop_vars(["y", "x", GRID_MAPPING], errors="ignore")
            grown.to_zarr(self.path, append_dim="time", consolidated=False)
            return
        chunks = (chunk_frames(frames.shape[1:]), *frames.shape[1:])
        encoding = {RATE: {"chunks": chunks, **self.packing}, "time": {**_TIME, "chunks": (len(self.times) + 288,)}}
        data.assign_attrs(Conventions="CF-1.11").to_zarr(self.path, mode="w", consolidated=False, encoding=encoding)

    def summary(self) -> dict[str, Any]:
        """Say what is in the store."""
        times = np.array(self.times)
        told: dict[str, Any] = {"from": iso_time(times[0]), "to": iso_time(times[-1]), "frames": times.size}
        try:
            told["missing"] = regular_times(xr.DataArray(times, coords={"time": times})).size - times.size
        except InputError as error:
            told |= {"missing": None, "irregular": str(error)}
        if self.left_out:
            told["left_out"] = f"{self.left_out} frames that came twice, or after later ones"
        return {**told, "wettest": round(self.wettest, 5)}


def _rising(times: NDArray[np.datetime64], after: np.datetime64 | None) -> NDArray[np.bool_]:
    """Tell which times are later than all before."""
    before = np.maximum.accumulate(times.astype("datetime64[ns]").astype(np.int64))
    start = np.iinfo(np.int64).min if after is None else after.astype("datetime64[ns]").astype(np.int64)
    highest = np.maximum(np.concatenate([[start], before[:-1]]), start)
    return np.asarray(times.astype(np.int64) > highest)


def _together(frames: list[xr.DataArray]) -> xr.DataArray:
    if len(frames) == 1:
        return frames[0]
    return xr.concat(frames, dim="time", coords="minimal", compat="override", combine_attrs="override")


def wet_shares(frames: xr.DataArray) -> NDArray[np.float64]:
    """Return the fraction of the known cells of each frame that has 1 mm/h or more."""
    values = frames.values
    seen = np.isfinite(values).sum(axis=(1, 2))
    return np.asarray((values >= 1.0).sum(axis=(1, 2)) / np.maximum(seen, 1))


def blocks_of(field: xr.DataArray) -> Iterable[xr.DataArray]:
    """Return a field, lazy or not, by parts of a chunk in memory."""
    count = chunk_frames(field.shape[1:])
    for first in range(0, field.sizes["time"], count):
        try:
            yield field[first : first + count].compute()
        except (OSError, ValueError, RuntimeError) as error:  # a lazy file shows its damage now
            raise ReadError(Path(str(field.encoding.get("source", "radar"))), str(error)) from error
