"""Warnings at the places of a region: forecasts of each issue time at the places, and their verification over a day.

The rule of warnings goes from one issue time to the next, while issue times are forecast side by side; so each case
writes what its forecasts say of the places, and warnings are raised, kept and cleared when all cases of the day are
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.files import atomic_write
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.nightly.config import RegionSettings, load_places
from hybridcast.places import at_places, observe_gauges, observe_radar
from hybridcast.stations import open_stations
from hybridcast.verification.warnings import score_warnings

#: Rates, mm h-1, whose probabilities are verified.
_THRESHOLDS = (0.1, 1.0, 5.0)
#: What the rule and the scores need of `at_places`.
_NEEDED = (
    PROBABILITY,
    "warning_probability",
    "level_probability",
    "minutes_to_level_quantile",
    "level_known",
    "level_basis",
    "level_threshold",
    "raise_at",
    "clear_at",
    "hold",
)


def write_place_forecasts(
    region: RegionSettings, forecasts: Mapping[str, xr.Dataset], radar: xr.DataArray, path: Path
) -> None:
    """Write what the forecasts of all nowcasters say of the places of a region."""
    places = load_places(str(region.places))
    tables = [
        at_places(result, places, radar=radar, thresholds=_THRESHOLDS, windows=(), quantiles=[0.5])[list(_NEEDED)]
        for result in forecasts.values()
    ]
    joined = xr.concat(tables, "nowcaster", combine_attrs="drop", coords="minimal", compat="override", join="exact")
    with atomic_write(path) as part:
        joined.assign_coords(nowcaster=list(forecasts)).to_netcdf(part, engine="h5netcdf")


def score_places(
    region: RegionSettings, files: Sequence[Path], radar: xr.DataArray, gauge_files: Sequence[Path]
) -> xr.Dataset | None:
    """Return the statistics of the warnings of a day; None without places or without a case.

    Parameters
    ----------
    region
        Settings of the region.
    files
        Files that `write_place_forecasts` wrote, in the order of issue times.
    radar
        Frames of the day.
    gauge_files
        Files of gauges.

    Returns
    -------
    Dataset
        As `hybridcast.verification.warnings.score_warnings` returns it, with the dims ``nowcaster`` and ``observer`` in
        front; gauges are left out if none of them is a place.
    """
    if region.places is None or not files:
        return None
    places = load_places(region.places)
    observed = {"radar": observe_radar(radar, places)}
    if gauge_files:
        by_gauges = observe_gauges(open_stations(list(gauge_files)), places)
        if np.isfinite(by_gauges["precipitation_rate"]).any():
            observed["gauges"] = by_gauges
    tables = []
    for file in files:
        with xr.open_dataset(file, engine="h5netcdf", decode_timedelta=True) as opened:
            tables.append(opened.load())
    parts = [
        xr.concat([_score(tables, str(name), one) for name in tables[0]["nowcaster"].values], "nowcaster")
        for one in observed.values()
    ]
    joined = xr.concat(parts, "observer").assign_coords(
        nowcaster=tables[0]["nowcaster"].values, observer=list(observed)
    )
    return joined.drop_attrs()


def _score(tables: Sequence[xr.Dataset], nowcaster: str, observed: xr.Dataset) -> xr.Dataset:
    return score_warnings([table.sel(nowcaster=nowcaster) for table in tables], observed)
