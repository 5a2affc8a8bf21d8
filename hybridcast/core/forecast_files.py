"""Forecasts on disk: CF NetCDF files and Zarr folders, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import RATE
from hybridcast.core.files import atomic_folder, atomic_write, check_folder
from hybridcast.core.forecast_schema import (
    DIMS,
    ENSEMBLE,
    PROBABILITY,
    load_fields,
    move_labels_aside,
    restore_labels,
)
from hybridcast.core.lazy_values import make_lazy
from hybridcast.core.netcdf import write_netcdf
from hybridcast.core.types import Array
from hybridcast.core.zarr_folders import STATUS, TILE_ROWS, is_finished, is_large, write_zarr
from hybridcast.errors import InputError
from hybridcast_kernels.packing_cpu import MISSING, round_to_bits, to_half, to_multiples

Packing = Literal["float16", "float32", "packed"]
"""Numbers that members are stored in, see `save_forecast`."""
ZARR = ".zarr"
"""Suffix of forecasts that are folders."""

#: Decimal digits that probabilities keep in a file, and the bits after the point that it takes.
PROBABILITY_DIGITS, PROBABILITY_BITS = 4, 14
#: Interval between the rates of packed members, mm h-1.
STEP = 0.01
#: Chunks of fields that are read when they are needed: one lead time, all realizations.
ONE_LEAD_TIME = {"realization": -1, "lead_time": 1, "y": -1, "x": -1}
_ONE_FIELD = {"threshold": 1}
_MISSING_AS_NAN = {"_FillValue": np.float32(np.nan)}


class _Stored(NamedTuple):
    """How members are stored."""

    convert: Callable[[Array], NDArray[Any]]
    dtype: type[np.generic]
    largest: float
    """Largest rate that can be stored, mm h-1."""
    attrs: dict[str, Any]


def save_forecast(result: xr.Dataset, path: str | Path, *, packing: Packing = "float16") -> Path:
    """Write a forecast to a CF NetCDF file, or to a Zarr folder; an existing forecast is replaced.

    It is written beside `path` and takes its place at the end, so that an interrupted call leaves what was there. Times
    are written as seconds since 1970-01-01, lead times in minutes, rates as compressed float32. Probabilities are
    rounded to the nearest multiple of 2^-14, their attribute ``least_significant_digit`` says so (a convention of
    netCDF4-python): it makes the file half as large. Members are computed and written one lead time after the other.

    Parameters
    ----------
    result
        Forecast, as `hybridcast.forecast` returns it.
    path
        A folder if it ends in ``.zarr`` (Zarr format 2 with consolidated metadata, which older readers know too), a
        NetCDF 4 file otherwise. Zarr compresses several times as fast. Each field is a chunk, so that a map is read at
        once; above 4 million cells it is in chunks of 64 rows, so that a series at a place reads few rows of each.
        Until all of it is written, its attribute ``store_status`` says so, and `load_forecast` refuses it.
    packing
        How the rates of members are stored. ``"float16"``: rounded to half precision, a relative error of at most
        1/2048; NetCDF has no such type, there the rounded values are float32. ``"float32"``: exact, twice as large.
        ``"packed"``: whole multiples of 0.01 mm h-1 (``scale_factor``), the smallest. They have four bytes, of which
        the upper two vanish in the compression: two bytes would end at 327 mm h-1.

    Returns
    -------
    Path
        `path`, with ``~`` expanded.

    Raises
    ------
    InputError
        If the folder does not exist or is not writable; `path` exists and is not a file (a folder, for ``.zarr``, that
        holds a forecast); `packing` is unknown; `result` lacks the rain rate by lead time, or its times; rates are
        negative; members lack a dim; or one exceeds the largest rate of `packing`.
    """
    path = Path(path).expanduser()
    _check_packing(packing)
    _check_is_forecast(result)
    in_zarr = path.suffix.lower() == ZARR
    data = _prepare(result, packing, in_zarr=in_zarr)
    if in_zarr:
        with atomic_folder(path, _is_forecast) as part:
            write_zarr(data, part, _describe_coordinates(data))
    else:
        with atomic_write(path) as part:
            write_netcdf(data, part, _compress(data) | _describe_coordinates(data))
    return path


def _check_is_forecast(result: xr.Dataset) -> None:
    """Raise `InputError` unless `load_forecast` would read the forecast, before an older one is replaced."""
    remedy = "Select with lists, as in result.isel(lead_time=[0]), which keep the dims"
    if not _is_by_lead_time(result):
        found = f"the forecast has {', '.join(map(str, result.data_vars)) or 'no variable'}"
        found += f", {RATE!r} with the dims {result[RATE].dims}" if RATE in result else ""
        raise InputError(found, f"a forecast has {RATE!r} by lead_time", remedy)
    missing = [name for name in ("time", "reference_time") if name not in result.coords]
    if missing:
        raise InputError(f"the forecast has no {' and no '.join(missing)}", "it has its times", "Keep its coordinates")
    rates = result[RATE]
    if not rates.chunks and (rates.values < 0).any():
        raise InputError(f"a rate of {float(rates.min()):g} mm/h", "rates are 0 or more, or NaN", "Correct them")


def check_target(path: str | Path, packing: Packing) -> None:
    """Raise `InputError` unless a forecast can be streamed to a path: a Zarr folder that may be written."""
    path = Path(path).expanduser()
    _check_packing(packing)
    if path.suffix.lower() != ZARR:
        rule = f"a forecast is written while it is made to a Zarr folder, whose name ends in {ZARR}"
        raise InputError(f"out = {str(path)!r}", rule, "Rename it, or write the result with save_forecast(...)")
    check_folder(path, _is_forecast)


def _check_packing(packing: str) -> None:
    if packing not in get_args(Packing):
        rule = f"members are stored as {', '.join(get_args(Packing))}"
        raise InputError(f"packing = {packing!r}", rule, "Choose one of these")


def _prepare(result: xr.Dataset, packing: Packing, *, in_zarr: bool) -> xr.Dataset:
    """Return the forecast as it is stored: members stay lazy, and in Zarr other lazy fields; all else is in memory."""
    data = _keep_grid_mapping(result if in_zarr else load_fields(result)).drop_encoding()
    fields = data.drop_vars(ENSEMBLE, errors="ignore")
    made = move_labels_aside(round_probabilities(fields.map(_align) if in_zarr else fields))
    if ENSEMBLE not in data:
        return made
    return made.assign({ENSEMBLE: _store_members(data[ENSEMBLE], packing, in_zarr=in_zarr)})


def _align(field: xr.DataArray) -> xr.DataArray:
    """Return a lazy variable in chunks that are whole numbers of those on disk; one in memory as it is."""
    if not field.chunks:
        return field
    if not set(DIMS) <= set(field.dims):
        return field.chunk(-1)
    sizes = dict(zip(field.dims, field.chunks, strict=True))
    in_tiles = is_large(field) and not any(size % TILE_ROWS for size in sizes["y"][:-1])
    one = {name: 1 for name in field.dims if name not in {"y", "x"}}
    return (
        field if len(sizes["x"]) == 1 and (in_tiles or len(sizes["y"]) == 1) else field.chunk({**one, "y": -1, "x": -1})
    )


def round_probabilities(result: xr.Dataset) -> xr.Dataset:
    """Return the forecast with its probabilities as in a file: multiples of a power of two, `PROBABILITY_DIGITS`."""
    if PROBABILITY not in result:
        return result
    exact, convert = result[PROBABILITY], partial(round_to_bits, bits=PROBABILITY_BITS)
    rounded = exact.copy(data=exact.data.map_blocks(convert) if exact.chunks else convert(exact.values))
    return result.assign({PROBABILITY: rounded.assign_attrs(least_significant_digit=PROBABILITY_DIGITS)})


def round_rates(rates: Array, packing: Packing) -> Array:
    """Return rates of members, mm h-1, any shape, as `load_forecast` reads them from a file of this packing."""
    stored = _convert(rates, _stored(packing, in_zarr=True), packing)
    if packing != "packed":
        return stored.astype(np.float32, copy=False)
    return np.where(stored == MISSING, np.nan, stored * STEP).astype(np.float32)


def _store_members(members: xr.DataArray, packing: Packing, *, in_zarr: bool) -> xr.DataArray:
    """Return the members as they are stored, dask arrays of at most one lead time in a chunk."""
    if set(members.dims) != {"realization", *DIMS}:
        found, rule = f"members have the dims {members.dims}", f"they have realization, {', '.join(DIMS)}"
        raise InputError(found, rule, "Select with lists, as in result.isel(realization=[0]), which keep the dims")
    how = _stored(packing, in_zarr=in_zarr)
    chunks = {name: size for name, size in ONE_LEAD_TIME.items() if name != "realization" or not members.chunks}
    by_lead = members.transpose("realization", *DIMS).chunk(chunks, token=ENSEMBLE)
    convert = partial(_convert, how=how, packing=packing)
    stored = by_lead.data.map_blocks(convert, dtype=how.dtype, meta=np.empty((0,) * 4, how.dtype))
    return by_lead.copy(data=stored).assign_attrs(how.attrs)


def _stored(packing: Packing, *, in_zarr: bool) -> _Stored:
    exact = partial(np.asarray, dtype=np.float32)
    if packing == "float32":
        return _Stored(exact, np.float32, np.inf, _MISSING_AS_NAN)
    if packing == "packed":
        attrs = {"scale_factor": STEP, "_FillValue": MISSING, "comment": f"rounded to {STEP} mm h-1"}
        return _Stored(partial(to_multiples, step=STEP), np.int32, np.iinfo(np.int32).max * STEP, attrs)
    rounded = {"comment": "rounded to half precision, 11 significant bits"}
    largest = float(np.finfo(np.float16).max)
    if in_zarr:
        return _Stored(to_half, np.float16, largest, {"_FillValue": np.float16(np.nan), **rounded})
    return _Stored(lambda rates: exact(to_half(rates)), np.float32, largest, {**_MISSING_AS_NAN, **rounded})


def _convert(rates: Array, how: _Stored, packing: Packing) -> NDArray[Any]:
    """Return rates as they are stored; `InputError` if one is outside of their range."""
    try:
        return how.convert(rates)
    except OverflowError as error:
        raise InputError(
            f"members are from {np.nanmin(rates):g} to {np.nanmax(rates):g} mm/h",
            f"packing={packing!r} holds 0 to {how.largest:g} mm/h",
            "Choose packing='float32'",
            cli_remedy="Choose --packing float32",
        ) from error


def _compress(data: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return the encoding of fields in NetCDF; members have a chunk for each field."""
    how = {"zlib": True, "complevel": 1, "shuffle": True}
    encoding: dict[str, dict[str, Any]] = {
        str(name): how | _MISSING_AS_NAN
        for name, variable in data.data_vars.items()
        if variable.dtype == np.float32 and name != ENSEMBLE
    }
    if ENSEMBLE in data:
        encoding[ENSEMBLE] = {**how, "chunksizes": (1, 1, *data[ENSEMBLE].shape[2:])}
    return encoding


def _describe_coordinates(data: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return the encoding of the coordinates."""
    seconds = {"units": "seconds since 1970-01-01T00:00:00", "calendar": "standard", "dtype": "int64"}
    encoding: dict[str, dict[str, Any]] = {name: {**seconds, "_FillValue": None} for name in ("time", "reference_time")}
    encoding["lead_time"] = {"units": "minutes", "dtype": "float64", "_FillValue": None}
    return encoding | {axis: {"_FillValue": None} for axis in ("y", "x", "threshold") if axis in data.coords}


def load_forecast(path: str | Path, *, lazy: bool | None = None) -> xr.Dataset:
    """Read a forecast that was written by `save_forecast`.

    Members of an ensemble are read when they are needed: they are a dask array of one chunk for each lead time,
    float32.

    Parameters
    ----------
    path
        The file or folder.
    lazy
        Whether other fields at lead times are read when they are needed too, as dask arrays of one chunk for each lead
        time and threshold, or now, into memory. By default they are if they have more than 4 million cells each.

    Raises
    ------
    InputError
        If the file or folder does not exist, is not a forecast, or has not been written to the end.

    Examples
    --------
    >>> load_forecast("forecast.nc")  # doctest: +SKIP
    """
    path = Path(path).expanduser()
    try:
        result = restore_labels(_read(path, lazy))
    except (OSError, ValueError, KeyError) as error:
        found, rule = f"{path} cannot be read ({error})", "a forecast is a NetCDF file or a Zarr folder"
        raise InputError(found, rule, "Make one with save_forecast(...)") from error
    if not is_finished(result.attrs):
        raise InputError(
            f"{path} is {result.attrs[STATUS]}", "a forecast is read when all of it is written", "Make it again"
        )
    result.attrs.pop(STATUS, None)
    if not _is_by_lead_time(result):
        found = f"{path} holds {list(result.data_vars)}"
        raise InputError(found, f"a forecast has {RATE!r} by lead_time", "Make one with save_forecast(...)")
    return result


def _read(path: Path, lazy: bool | None) -> xr.Dataset:
    """Return the variables of a file or folder, the members of an ensemble lazily, and others if `lazy`."""
    engine: Any = "zarr" if path.is_dir() else "h5netcdf"
    file = xr.open_dataset(path, engine=engine, chunks=None, decode_timedelta=True, decode_coords="all")
    file = _keep_grid_mapping(file)
    later = [name for name, variable in file.data_vars.items() if name == ENSEMBLE or _is_read_later(variable, lazy)]
    if not later:
        with file:
            return file.load()
    fields = make_lazy(file[later], path, _ONE_FIELD | ONE_LEAD_TIME)  # the file stays open as long as it is needed
    return file.drop_vars(later).load().assign({name: fields[name].astype(np.float32) for name in later})


def _is_read_later(variable: xr.DataArray, lazy: bool | None) -> bool:
    return set(DIMS) <= set(variable.dims) and (is_large(variable) if lazy is None else lazy)


def _keep_grid_mapping(data: xr.Dataset) -> xr.Dataset:
    """Return the data with the attribute ``grid_mapping`` of variables where xarray made it a part of the encoding."""
    found = {name: variable.encoding.get("grid_mapping") for name, variable in data.data_vars.items()}
    return data.assign(
        {name: data[name].assign_attrs(grid_mapping=mapping) for name, mapping in found.items() if mapping}
    )


def _is_forecast(folder: Path) -> bool:
    """Return whether a folder holds a forecast in Zarr."""
    try:
        with xr.open_dataset(folder, engine="zarr", chunks=None, decode_times=False) as data:
            return _is_by_lead_time(data)
    except (OSError, ValueError, KeyError):
        return False


def _is_by_lead_time(data: xr.Dataset) -> bool:
    return RATE in data and "lead_time" in data[RATE].dims


__all__ = ["ZARR", "Packing", "load_forecast", "save_forecast"]
