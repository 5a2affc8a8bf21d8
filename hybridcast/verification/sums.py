"""Additive sums of forecast and observation: cases add up in any order, and scores are derived last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from hybridcast.field import NAME, check_same_grid

THRESHOLDS = (0.1, 1.0, 5.0)


def sums_of(
    forecast: xr.Dataset,
    observed: xr.DataArray,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    valid: xr.DataArray | None = None,
) -> xr.Dataset:
    """Sum up one forecast against what then was observed.

    Parameters
    ----------
    forecast
        With `precipitation_rate`, dims ``("lead_time", "y", "x")``, and its valid `time`.
    observed
        Precipitation field with frames at the valid times; lead times without a frame count nothing.
    thresholds
        Rates, mm h-1, for the contingency tables.
    valid
        Boolean, dims ``("lead_time", "y", "x")``: where to compare, for several nowcasters the same. By default
        wherever both are known; a point that is not known to both never counts.

    Returns
    -------
    Dataset
        Along `lead_time`: `count`, `forecast`, `observed`, their `_squared` and `product`, `absolute_error`;
        along `threshold` too: `hits`, `misses`, `false_alarms`. All of them add up over cases.

    Raises
    ------
    InputError
        If forecast and observation are not on the same grid.
    """
    check_same_grid(forecast, observed, "forecast and observation")
    at_valid_times = observed.transpose("time", "y", "x").reindex(time=forecast["time"].values)
    seen = at_valid_times.values.astype(np.float64)
    rate = forecast[NAME].transpose("lead_time", "y", "x").values.astype(np.float64)
    known = np.isfinite(rate) & np.isfinite(seen)
    if valid is not None:
        known &= valid.transpose("lead_time", "y", "x").values
    f, o = np.where(known, rate, 0.0), np.where(known, seen, 0.0)
    plain = {
        "count": known,
        "forecast": f,
        "observed": o,
        "forecast_squared": f * f,
        "observed_squared": o * o,
        "product": f * o,
        "absolute_error": np.abs(f - o),
    }
    result = xr.Dataset(
        {name: ("lead_time", values.sum(axis=(1, 2), dtype=np.float64)) for name, values in plain.items()},
        coords={"lead_time": forecast["lead_time"].values, "threshold": np.asarray(thresholds, dtype=np.float64)},
    )
    tables = {"hits": [], "misses": [], "false_alarms": []}  # type: dict[str, list[np.ndarray]]
    for threshold in np.asarray(thresholds, dtype=np.float32):  # as rates are: 0.7 mm/h reaches a threshold of 0.7
        yes, happened = known & (rate >= threshold), known & (seen >= threshold)
        tables["hits"].append((yes & happened).sum(axis=(1, 2)))
        tables["misses"].append((~yes & happened).sum(axis=(1, 2)))
        tables["false_alarms"].append((yes & ~happened).sum(axis=(1, 2)))
    for name, rows in tables.items():
        result[name] = (("threshold", "lead_time"), np.array(rows, dtype=np.float64))
    return result
