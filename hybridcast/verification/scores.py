"""Scores from additive sums (`hybridcast.verification.statistics`); NaN where a score is not defined.

Definitions: Wilks (2019), Statistical Methods in the Atmospheric Sciences, chapter 9. `support` says what a score rests
on: cases, valid points, events.
"""

from __future__ import annotations

import numpy as np
import xarray as xr


def support(sums: xr.Dataset) -> xr.Dataset:
    """Return what scores rest on: `cases` and valid `points` by lead time, observed `events` by threshold too."""
    return xr.Dataset({"cases": sums["cases"], "points": sums["count"], "events": sums["hits"] + sums["misses"]})


# --- wet or dry -----------------------------------------------------------------------------------------------


def csi(sums: xr.Dataset) -> xr.DataArray:
    """Critical success index: hits over hits, misses and false alarms; 1 is best."""
    return _ratio(sums["hits"], sums["hits"] + sums["misses"] + sums["false_alarms"])


def csi_equal_area(sums: xr.Dataset) -> xr.DataArray:
    """Critical success index with as many wet points in each frame as the reference forecast had."""
    hits = sums["hits_equal_area"]
    return _ratio(hits, hits + sums["misses_equal_area"] + sums["false_alarms_equal_area"])


def frequency_bias(sums: xr.Dataset) -> xr.DataArray:
    """Forecast over observed occurrences; 1 is best, above it the forecast is too wet."""
    return _ratio(sums["hits"] + sums["false_alarms"], sums["hits"] + sums["misses"])


def probability_of_detection(sums: xr.Dataset) -> xr.DataArray:
    """Share of the observed events that were forecast; 1 is best."""
    return _ratio(sums["hits"], sums["hits"] + sums["misses"])


def false_alarm_ratio(sums: xr.Dataset) -> xr.DataArray:
    """Share of the forecast events that did not happen; 0 is best."""
    return _ratio(sums["false_alarms"], sums["hits"] + sums["false_alarms"])


def equitable_threat_score(sums: xr.Dataset) -> xr.DataArray:
    """CSI beyond the hits that chance would give (Gilbert skill score); 1 is best, 0 no skill."""
    forecast, observed = sums["hits"] + sums["false_alarms"], sums["hits"] + sums["misses"]
    by_chance = _ratio(forecast * observed, sums["count"])
    return _ratio(sums["hits"] - by_chance, forecast + observed - sums["hits"] - by_chance)


# --- rates ----------------------------------------------------------------------------------------------------


def mean_error(sums: xr.Dataset) -> xr.DataArray:
    """Mean of forecast minus observation, mm h-1."""
    return _ratio(sums["forecast"] - sums["observed"], sums["count"]).assign_attrs(units="mm h-1")


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


# --- places and scales ----------------------------------------------------------------------------------------


def fractions_skill_score(sums: xr.Dataset) -> xr.DataArray:
    """Fractions skill score by scale and threshold; 1 is best. The rule at borders is that of the sums' module."""
    return 1 - _ratio(sums["fraction_difference"], sums["fraction_squares"])


def window_coverage(sums: xr.Dataset) -> xr.DataArray:
    """How much of the windows of the fractions skill score was valid, on average, by scale."""
    return _ratio(sums["window_share"], sums["count"])


def spectral_ratio(sums: xr.Dataset) -> xr.DataArray:
    """Power of the forecast over that of the observation, by wavelength; 1 is best, below it the forecast is smooth."""
    return _ratio(sums["forecast_power"], sums["observed_power"])


# --- probabilities --------------------------------------------------------------------------------------------


def brier_score(sums: xr.Dataset) -> xr.DataArray:
    """Mean squared error of the probability; 0 is best."""
    bins = _of_bins(sums)
    errors = bins["probability_squared"] - 2 * bins["probability_of_events"] + bins["events"]
    return _ratio(errors.sum("probability_bin"), bins["count"].sum("probability_bin"))


def brier_parts(sums: xr.Dataset) -> xr.Dataset:
    """Split the Brier score: `reliability` (0 is best), `resolution` (more is better), `uncertainty`.

    Murphy (1973) over the bins, each at its mean probability. `within_bins` is what is left, by which the Brier score
    is more than reliability - resolution + uncertainty (Stephenson et al., 2008, doi:10.1175/2007WAF2006116.1); it is
    zero where all probabilities of a bin are the same.
    """
    bins = _of_bins(sums)
    n = bins["count"].sum("probability_bin")
    base = _ratio(bins["events"].sum("probability_bin"), n)
    frequency = _ratio(bins["events"], bins["count"])
    mean = _ratio(bins["probability"], bins["count"])
    parts = xr.Dataset(
        {
            "reliability": _ratio((bins["count"] * (mean - frequency) ** 2).sum("probability_bin"), n),
            "resolution": _ratio((bins["count"] * (frequency - base) ** 2).sum("probability_bin"), n),
            "uncertainty": base * (1 - base),
        }
    )
    parts["within_bins"] = brier_score(sums) - (parts["reliability"] - parts["resolution"] + parts["uncertainty"])
    return parts


def reliability_diagram(sums: xr.Dataset) -> xr.Dataset:
    """Return the mean `probability`, the observed `frequency` and the `points` of each bin of probability."""
    bins = _of_bins(sums)
    return xr.Dataset(
        {
            "probability": _ratio(bins["probability"], bins["count"]),
            "frequency": _ratio(bins["events"], bins["count"]),
            "points": bins["count"],
        }
    )


def roc(sums: xr.Dataset) -> xr.Dataset:
    """Relative operating characteristic: an event is said to come from each bin of probability on.

    Returns
    -------
    Dataset
        `detected`, the share of events, and `false_alarm_rate`, the share of the others, by `probability_bin`; the
        first bin has them all, the point (0, 0) is left out.
    """
    bins = _of_bins(sums)

    def from_here_on(values: xr.DataArray) -> xr.DataArray:
        return (
            values.isel(probability_bin=slice(None, None, -1))
            .cumsum("probability_bin")
            .isel(probability_bin=slice(None, None, -1))
            .assign_coords(probability_bin=values["probability_bin"])
        )

    events, others = bins["events"], bins["count"] - bins["events"]
    return xr.Dataset(
        {
            "detected": _ratio(from_here_on(events), events.sum("probability_bin")),
            "false_alarm_rate": _ratio(from_here_on(others), others.sum("probability_bin")),
        }
    )


def roc_area(sums: xr.Dataset) -> xr.DataArray:
    """Area under the relative operating characteristic, by trapezoids; 1 is best, 0.5 no skill."""
    curve = roc(sums)
    x = xr.concat(
        [curve["false_alarm_rate"], xr.zeros_like(curve["detected"].isel(probability_bin=0))], "probability_bin"
    )
    y = xr.concat([curve["detected"], xr.zeros_like(curve["detected"].isel(probability_bin=0))], "probability_bin")
    steps = -x.diff("probability_bin").drop_vars("probability_bin")
    heights = (y + y.shift(probability_bin=1)).isel(probability_bin=slice(1, None)).drop_vars("probability_bin") / 2
    return (steps * heights).sum("probability_bin", skipna=False)


def crps(sums: xr.Dataset) -> xr.DataArray:
    """Continuous ranked probability score from the Brier scores at the thresholds, mm h-1; 0 is best.

    The integral of the Brier score over the threshold, by trapezoids, from 0, where the Brier score of the lowest
    threshold is taken, to the highest threshold; errors among rates above that one are not seen. So all kinds of
    forecasts can be compared; the score of an ensemble as it is: `crps_ensemble`.
    """
    scores = brier_score(sums)
    levels = sums["threshold"].values
    edges = np.concatenate([[0.0, levels[0]], levels[1:]])
    widths = np.diff(edges)
    weights = np.zeros(levels.size)
    weights[0] = widths[0]
    weights[1:] += widths[1:] / 2
    weights[:-1] += widths[1:] / 2
    total = (scores * xr.DataArray(weights, dims="threshold")).sum("threshold", skipna=False)
    return total.assign_attrs(units="mm h-1")


def crps_ensemble(sums: xr.Dataset) -> xr.DataArray:
    """Continuous ranked probability score of the members' own distribution, mm h-1; 0 is best."""
    return _ratio(sums["ensemble_error"] - sums["ensemble_spread"], sums["ensemble_count"]).assign_attrs(units="mm h-1")


def rank_histogram(sums: xr.Dataset) -> xr.DataArray:
    """Share of the points at which the observation has each rank among the members; even is best."""
    return _ratio(sums["rank_count"], sums["rank_count"].sum("rank"))


# --- parts ----------------------------------------------------------------------------------------------------


def _of_bins(sums: xr.Dataset) -> xr.Dataset:
    return xr.Dataset(
        {str(name).removeprefix("bin_"): sums[name] for name in sums.data_vars if str(name).startswith("bin_")}
    )


def _spread(sums: xr.Dataset, name: str) -> xr.DataArray:
    """Variance times the squared count, and 0 where it is no more than the rounding of the sums."""
    squares = sums["count"] * sums[f"{name}_squared"]
    spread = squares - sums[name] ** 2
    return spread.where(spread > 1e-12 * squares, 0.0)


def _ratio(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    return numerator / denominator.where(denominator > 0)
