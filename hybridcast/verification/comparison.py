"""Comparison of several nowcasters at one issue time on the same points, and files of their statistics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from hybridcast.core.field import RATE
from hybridcast.core.files import atomic_write
from hybridcast.nowcasters.base import Advection, Nowcaster, Persistence
from hybridcast.verification.statistics import compute_statistics

REFERENCE = "advection"
"""Name of the plain advection, which is part of every comparison: scores at equal wet area use its wet area."""
FALLBACK = "persistence"
"""Name of persistence, which is part of every comparison: it knows every point that the radar observed."""


def add_references(nowcasters: Mapping[str, Nowcaster]) -> dict[str, Nowcaster]:
    """Return the nowcasters with persistence and advection before them, unless they are among them."""
    return {FALLBACK: Persistence(), REFERENCE: Advection(), **nowcasters}


def compute_nowcaster_statistics(
    forecasts: Mapping[str, xr.Dataset],
    observed: xr.DataArray,
    *,
    valid: xr.DataArray,
    reference: xr.DataArray | None = None,
    **options: Any,
) -> xr.Dataset:
    """Compute the statistics of the forecasts of several nowcasters over the same points.

    Parameters
    ----------
    forecasts
        Forecasts by name of their nowcaster, as `hybridcast.verification.statistics.compute_statistics` takes them.
    observed
        Precipitation field with frames at the valid times.
    valid
        Boolean: the points to compare, such as `hybridcast.verification.statistics.common_mask` returns.
    reference
        `precipitation_rate` whose wet area is used at equal wet area; by default that of the advection.
    options
        Further arguments of `compute_statistics`.

    Returns
    -------
    Dataset
        The statistics with the dim `nowcaster` before their others; zero where a forecast has no such statistic.
    """
    reference = forecasts[REFERENCE][RATE] if reference is None else reference
    statistics = [
        compute_statistics(forecast, observed, valid=valid, reference=reference, **options)
        for forecast in forecasts.values()
    ]
    return xr.concat(statistics, xr.Variable("nowcaster", list(forecasts)), join="outer", fill_value=0.0)


def write_statistics(statistics: xr.Dataset, path: Path) -> None:
    """Write statistics to a file that appears only when it is complete; its folder is created if needed.

    The format is NetCDF 3, which opens in a twentieth of the time that HDF5 takes for so many small variables.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        statistics.to_netcdf(part, engine="scipy")


def read_statistics(path: Path) -> xr.Dataset:
    """Read a file of `write_statistics` into memory."""
    with xr.open_dataset(path, engine="scipy", decode_timedelta=True) as file:
        return file.load()
