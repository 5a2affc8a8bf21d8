"""Many nowcasters of one issue time, scored on the same points; their sums as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from hybridcast.core.field import NAME
from hybridcast.core.files import written_whole
from hybridcast.nowcasters.base import Advection, Nowcaster, Persistence
from hybridcast.verification.statistics import sums_of

#: The plain advection, always among those compared: its wet area is the one for scores at equal wet area.
REFERENCE = "advection"
#: Always among them too: it knows what the radar saw.
FALLBACK = "persistence"


def complete(nowcasters: Mapping[str, Nowcaster]) -> dict[str, Nowcaster]:
    """Return the nowcasters with persistence and advection first."""
    return {FALLBACK: Persistence(), REFERENCE: Advection(), **nowcasters}


def sums_of_nowcasters(
    forecasts: Mapping[str, xr.Dataset],
    observed: xr.DataArray,
    *,
    valid: xr.DataArray,
    reference: xr.DataArray | None = None,
    **options: Any,
) -> xr.Dataset:
    """Sum up the forecasts of all nowcasters over the same points.

    Parameters
    ----------
    forecasts
        By name, as `hybridcast.verification.statistics.sums_of` takes them.
    valid
        Where to compare, such as `common_mask` finds.
    reference
        `precipitation_rate` whose wet area is taken; by default that of the advection.
    options
        What else `sums_of` takes.

    Returns
    -------
    Dataset
        The sums with a dim `nowcaster` before the others; zero where a kind of forecast has none.
    """
    reference = forecasts[REFERENCE][NAME] if reference is None else reference
    made = [sums_of(found, observed, valid=valid, reference=reference, **options) for found in forecasts.values()]
    return xr.concat(made, xr.Variable("nowcaster", list(forecasts)), join="outer", fill_value=0.0)


def write_sums(sums: xr.Dataset, path: Path) -> None:
    """Write sums, whole or not at all; the folder is made if need be.

    NetCDF 3: opened in a twentieth of the time that HDF5 takes for so many small variables.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        sums.to_netcdf(part, engine="scipy")


def read_sums(path: Path) -> xr.Dataset:
    """Read what `write_sums` wrote."""
    with xr.open_dataset(path, engine="scipy", decode_timedelta=True) as file:
        return file.load()
