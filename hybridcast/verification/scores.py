"""Scores from additive sums (`hybridcast.verification.sums`); NaN where a score is not defined.

Definitions: Wilks (2019), Statistical Methods in the Atmospheric Sciences, chapter 9.
"""

from __future__ import annotations

import xarray as xr


def csi(sums: xr.Dataset) -> xr.DataArray:
    """Critical success index: hits over hits, misses and false alarms; 1 is best."""
    return _ratio(sums["hits"], sums["hits"] + sums["misses"] + sums["false_alarms"])


def frequency_bias(sums: xr.Dataset) -> xr.DataArray:
    """Forecast over observed occurrences; 1 is best, above it the forecast is too wet."""
    return _ratio(sums["hits"] + sums["false_alarms"], sums["hits"] + sums["misses"])


def mean_absolute_error(sums: xr.Dataset) -> xr.DataArray:
    """Mean absolute error, mm h-1."""
    return _ratio(sums["absolute_error"], sums["count"]).assign_attrs(units="mm h-1")


def root_mean_square_error(sums: xr.Dataset) -> xr.DataArray:
    """Root mean square error, mm h-1."""
    squares = sums["forecast_squared"] - 2 * sums["product"] + sums["observed_squared"]
    return (_ratio(squares.clip(min=0), sums["count"]) ** 0.5).assign_attrs(units="mm h-1")


def correlation(sums: xr.Dataset) -> xr.DataArray:
    """Pearson's correlation over all points; NaN where forecast or observation are everywhere the same."""
    n = sums["count"]
    covariance = n * sums["product"] - sums["forecast"] * sums["observed"]
    return _ratio(covariance, (_spread(sums, "forecast") * _spread(sums, "observed")) ** 0.5)


def _spread(sums: xr.Dataset, name: str) -> xr.DataArray:
    """Variance times the squared count, and 0 where it is no more than the rounding of the sums."""
    squares = sums["count"] * sums[f"{name}_squared"]
    spread = squares - sums[name] ** 2
    return spread.where(spread > 1e-12 * squares, 0.0)


def _ratio(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    return numerator / denominator.where(denominator > 0)
