"""One field for each lead time instead of all members: their mean, their median, the best places, or one scenario."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from hybridcast.core.field import RATE, metres_per_cell
from hybridcast.core.types import Array
from hybridcast.ensembles.products import quantiles, select_rain
from hybridcast.settings import check_known

Summary: TypeAlias = Literal["mean", "median", "field", "scenario"]
SUMMARIES: tuple[Summary, ...] = ("mean", "median", "field", "scenario")


def summarize(forecast: xr.Dataset, kind: Summary) -> xr.DataArray:
    """Return one field of rain rate for each lead time.

    Parameters
    ----------
    forecast
        Forecast with members.
    kind
        ``"mean"``: the mean of the members, the best guess of the amount at a cell; smooth, with too large wet areas
        and too little heavy rain.
        ``"median"``: the median of the members at each cell; dry where rain is less likely than not.
        ``"field"``: the deterministic field, `precipitation_rate`; rain of the observed intensities at the best places.
        ``"scenario"``: the most typical member (`find_typical_member`), with the texture and the intensities of rain
        at places that are possible, not best; its number is the scalar coordinate ``realization``.

    Returns
    -------
    DataArray
        `precipitation_rate`, mm h-1, dims ``("lead_time", "y", "x")``; lazy if the members are. The mean and the median
        are unknown where a member is.

    Raises
    ------
    InputError
        If the forecast has no members, or `kind` is none of these.

    Examples
    --------
    >>> summarize(forecast(radar, members=20), "median")  # doctest: +SKIP
    """
    check_known(kind, SUMMARIES, "kind")
    if kind == "field":
        return forecast[RATE]
    members = select_rain(forecast)
    if kind == "scenario":
        return members.isel(realization=find_typical_member(forecast)).rename(RATE)
    if kind == "median":
        made = quantiles(members, 0.5).drop_vars("quantile")
    else:
        made = members.astype(np.float32).mean("realization", skipna=False)
    attrs = {**members.attrs, "long_name": f"{kind} of the members", "cell_methods": f"realization: {kind}"}
    return made.rename(RATE).assign_attrs(attrs)


def find_typical_member(forecast: xr.Dataset) -> int:
    """Return the position of the member whose rain over the whole area is nearest to the median of all members.

    The mean rain over the cells that all members know is compared by lead time; the member with the smallest mean
    absolute difference is chosen, the first of equals. Fields are not compared cell by cell: smooth or dry members
    would be nearest to the others, because rain at other places counts as an error twice.

    Raises
    ------
    InputError
        If the forecast has no members.
    """
    members = select_rain(forecast)
    rain = _mean_over_area(members).values
    known = np.isfinite(rain).all(axis=1)
    if not known.any():
        return 0
    difference = np.abs(rain[known] - np.median(rain[known], axis=1, keepdims=True))
    return int(difference.mean(axis=0).argmin())


def _mean_over_area(members: xr.DataArray) -> xr.DataArray:
    """Return the mean rain of each member over the cells known to all, dims ``(lead_time, realization)``."""
    dy, dx = metres_per_cell(members)
    area = np.abs(dy * dx)

    def average(values: Array) -> Array:
        known = np.isfinite(values).all(axis=-3, keepdims=True)
        weights = np.where(known, area, np.float32(0))
        total = weights.sum(axis=(-2, -1), dtype=np.float64)
        with np.errstate(invalid="ignore"):  # all unknown
            rain = np.where(known, values, np.float32(0)) * area
            return np.asarray(rain.sum(axis=(-2, -1), dtype=np.float64) / total)

    found: xr.DataArray = xr.apply_ufunc(
        average,
        members.chunk(realization=-1, y=-1, x=-1) if members.chunks else members,
        input_core_dims=[["realization", "y", "x"]],
        output_core_dims=[["realization"]],
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return found.transpose("lead_time", "realization")
