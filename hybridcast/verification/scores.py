"""Scores computed from additive statistics (`hybridcast.verification.statistics`); NaN where a score is not defined.

Every score keeps the dims of its statistics that it does not sum over, such as ``lead_time``, ``threshold`` and
``nowcaster``. Definitions: Wilks (2019), Statistical Methods in the Atmospheric Sciences, chapter 9. `support` returns
the sample sizes of the scores.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from hybridcast.verification.statistics import BIN_QUANTITIES


def support(statistics: xr.Dataset) -> xr.Dataset:
    """Return the sample sizes: `cases` and valid `points`, and observed `events` for each threshold."""
    return xr.Dataset(
        {
            "cases": statistics["cases"],
            "points": statistics["count"],
            "events": statistics["hits"] + statistics["misses"],
        }
    )


# --- events ---------------------------------------------------------------------------------------------------


def csi(statistics: xr.Dataset) -> xr.DataArray:
    """Return the critical success index, hits / (hits + misses + false alarms); 1 is best."""
    return _ratio(statistics["hits"], statistics["hits"] + statistics["misses"] + statistics["false_alarms"])


def csi_equal_area(statistics: xr.Dataset) -> xr.DataArray:
    """Return the critical success index with as many wet points in each frame as the reference forecast has."""
    hits = statistics["hits_equal_area"]
    return _ratio(hits, hits + statistics["misses_equal_area"] + statistics["false_alarms_equal_area"])


def frequency_bias(statistics: xr.Dataset) -> xr.DataArray:
    """Return forecast events / observed events; 1 is best, and the forecast is too wet above 1."""
    return _ratio(statistics["hits"] + statistics["false_alarms"], statistics["hits"] + statistics["misses"])


def probability_of_detection(statistics: xr.Dataset) -> xr.DataArray:
    """Return the fraction of the observed events that were forecast; 1 is best."""
    return _ratio(statistics["hits"], statistics["hits"] + statistics["misses"])


def false_alarm_ratio(statistics: xr.Dataset) -> xr.DataArray:
    """Return the fraction of the forecast events that were not observed; 0 is best."""
    return _ratio(statistics["false_alarms"], statistics["hits"] + statistics["false_alarms"])


def equitable_threat_score(statistics: xr.Dataset) -> xr.DataArray:
    """Return the CSI corrected for random hits (Gilbert skill score); 1 is best, 0 is no skill."""
    forecast, observed = statistics["hits"] + statistics["false_alarms"], statistics["hits"] + statistics["misses"]
    random_hits = _ratio(forecast * observed, statistics["count"])
    return _ratio(statistics["hits"] - random_hits, forecast + observed - statistics["hits"] - random_hits)


# --- rates ----------------------------------------------------------------------------------------------------


def mean_error(statistics: xr.Dataset) -> xr.DataArray:
    """Return the mean of forecast minus observation, mm h-1."""
    return _ratio(statistics["forecast"] - statistics["observed"], statistics["count"]).assign_attrs(units="mm h-1")


def mean_absolute_error(statistics: xr.Dataset) -> xr.DataArray:
    """Return the mean absolute error, mm h-1."""
    return _ratio(statistics["absolute_error"], statistics["count"]).assign_attrs(units="mm h-1")


def root_mean_square_error(statistics: xr.Dataset) -> xr.DataArray:
    """Return the root mean square error, mm h-1."""
    squares = statistics["forecast_squared"] - 2 * statistics["product"] + statistics["observed_squared"]
    return (_ratio(squares.clip(min=0), statistics["count"]) ** 0.5).assign_attrs(units="mm h-1")


def correlation(statistics: xr.Dataset) -> xr.DataArray:
    """Return Pearson's correlation over all points; NaN if forecast or observation is constant."""
    n = statistics["count"]
    covariance = n * statistics["product"] - statistics["forecast"] * statistics["observed"]
    return _ratio(
        covariance, (_scaled_variance(statistics, "forecast") * _scaled_variance(statistics, "observed")) ** 0.5
    )


# --- spatial scales -------------------------------------------------------------------------------------------


def fractions_skill_score(statistics: xr.Dataset) -> xr.DataArray:
    """Return the fractions skill score for each scale and threshold; 1 is best.

    The rule at borders is described in `hybridcast.verification.statistics`.
    """
    return 1 - _ratio(statistics["fraction_difference"], statistics["fraction_squares"])


def window_coverage(statistics: xr.Dataset) -> xr.DataArray:
    """Return the mean valid fraction of the windows of the fractions skill score, for each scale."""
    return _ratio(statistics["window_fraction"], statistics["count"])


def spectral_ratio(statistics: xr.Dataset) -> xr.DataArray:
    """Return forecast power / observed power for each wavelength; 1 is best, and the forecast is too smooth below 1."""
    return _ratio(statistics["forecast_power"], statistics["observed_power"])


# --- probabilities --------------------------------------------------------------------------------------------


def brier_score(statistics: xr.Dataset) -> xr.DataArray:
    """Return the Brier score, the mean squared error of the probability; 0 is best."""
    bins = _bins(statistics)
    errors = bins["probability_squared"] - 2 * bins["probability_of_events"] + bins["events"]
    return _ratio(errors.sum("probability_bin"), bins["count"].sum("probability_bin"))


def brier_parts(statistics: xr.Dataset) -> xr.Dataset:
    """Split the Brier score into `reliability` (0 is best), `resolution` (higher is better) and `uncertainty`.

    The decomposition of Murphy (1973) over the bins, each at its mean probability. `within_bins` is the remainder, the
    Brier score minus (reliability - resolution + uncertainty) (Stephenson et al., 2008, doi:10.1175/2007WAF2006116.1);
    it is zero if all probabilities of a bin are the same.
    """
    bins = _bins(statistics)
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
    parts["within_bins"] = brier_score(statistics) - (parts["reliability"] - parts["resolution"] + parts["uncertainty"])
    return parts


def reliability_diagram(statistics: xr.Dataset) -> xr.Dataset:
    """Return the mean `probability`, the observed `frequency` and the number of `points` of each probability bin."""
    bins = _bins(statistics)
    return xr.Dataset(
        {
            "probability": _ratio(bins["probability"], bins["count"]),
            "frequency": _ratio(bins["events"], bins["count"]),
            "points": bins["count"],
        }
    )


def roc(statistics: xr.Dataset) -> xr.Dataset:
    """Return the relative operating characteristic: an event is forecast from each bin of probability on.

    Returns
    -------
    Dataset
        `detected`, the fraction of the events, and `false_alarm_rate`, the fraction of the other points, that are
        forecast as events, by `probability_bin`. From the first bin on these are all points; the point (0, 0) is left
        out.
    """
    bins = _bins(statistics)

    def from_bin_on(values: xr.DataArray) -> xr.DataArray:
        return (
            values.isel(probability_bin=slice(None, None, -1))
            .cumsum("probability_bin")
            .isel(probability_bin=slice(None, None, -1))
            .assign_coords(probability_bin=values["probability_bin"])
        )

    events, others = bins["events"], bins["count"] - bins["events"]
    return xr.Dataset(
        {
            "detected": _ratio(from_bin_on(events), events.sum("probability_bin")),
            "false_alarm_rate": _ratio(from_bin_on(others), others.sum("probability_bin")),
        }
    )


def roc_area(statistics: xr.Dataset) -> xr.DataArray:
    """Return the area under the relative operating characteristic, by trapezoids; 1 is best, 0.5 is no skill."""
    curve = roc(statistics)
    x = xr.concat(
        [curve["false_alarm_rate"], xr.zeros_like(curve["detected"].isel(probability_bin=0))], "probability_bin"
    )
    y = xr.concat([curve["detected"], xr.zeros_like(curve["detected"].isel(probability_bin=0))], "probability_bin")
    steps = -x.diff("probability_bin").drop_vars("probability_bin")
    heights = (y + y.shift(probability_bin=1)).isel(probability_bin=slice(1, None)).drop_vars("probability_bin") / 2
    return (steps * heights).sum("probability_bin", skipna=False)


def crps(statistics: xr.Dataset) -> xr.DataArray:
    """Return the continuous ranked probability score from the Brier scores at the thresholds, mm h-1; 0 is best.

    This is the integral of the Brier score over the threshold, by trapezoids, from 0, where the Brier score of the
    lowest threshold is used, to the highest threshold. Errors among rates above the highest threshold do not count. So
    all kinds of forecasts can be compared; `crps_ensemble` is the score of the members themselves.
    """
    scores = brier_score(statistics)
    thresholds = statistics["threshold"].values
    edges = np.concatenate([[0.0, thresholds[0]], thresholds[1:]])
    widths = np.diff(edges)
    weights = np.zeros(thresholds.size)
    weights[0] = widths[0]
    weights[1:] += widths[1:] / 2
    weights[:-1] += widths[1:] / 2
    total = (scores * xr.DataArray(weights, dims="threshold")).sum("threshold", skipna=False)
    return total.assign_attrs(units="mm h-1")


# --- members --------------------------------------------------------------------------------------------------


def crps_ensemble(statistics: xr.Dataset) -> xr.DataArray:
    """Return the continuous ranked probability score of the members as a distribution of their own, mm h-1; 0 is best.

    It is that of the forecast which gives each of these members the same probability, and gets better with their
    number: `fair_crps` compares ensembles of different sizes.
    """
    return _ratio(
        statistics["ensemble_error"] - statistics["ensemble_spread"], statistics["ensemble_count"]
    ).assign_attrs(units="mm h-1")


def fair_crps(statistics: xr.Dataset) -> xr.DataArray:
    """Return the fair continuous ranked probability score, mm h-1; 0 is best, and noise may bring it below.

    Its expectation is the score of an ensemble without end, whatever the number of members (Ferro, 2014,
    doi:10.1002/qj.2270). NaN for a single member.
    """
    total = statistics["ensemble_error"] - statistics["ensemble_fair_spread"]
    return _of_two_members(statistics, _ratio(total, statistics["ensemble_count"])).assign_attrs(units="mm h-1")


def ensemble_spread(statistics: xr.Dataset) -> xr.DataArray:
    """Return the root mean variance of the members, with the factor (members + 1) / members, mm h-1.

    With this factor it is the error of the mean of a reliable ensemble, whatever the number of members (Fortin et al.,
    2014, doi:10.1175/JHM-D-14-0008.1). NaN for a single member.
    """
    variance = _ratio(statistics["ensemble_variance"], statistics["ensemble_count"])
    return _of_two_members(statistics, variance**0.5).assign_attrs(units="mm h-1")


def error_of_ensemble_mean(statistics: xr.Dataset) -> xr.DataArray:
    """Return the root mean square error of the mean of the members, mm h-1."""
    return (_ratio(statistics["ensemble_squared_error"], statistics["ensemble_count"]) ** 0.5).assign_attrs(
        units="mm h-1"
    )


def spread_to_error(statistics: xr.Dataset) -> xr.DataArray:
    """Return the spread of the members / the error of their mean; 1 is best, and members are too alike below."""
    return _ratio(ensemble_spread(statistics), error_of_ensemble_mean(statistics))


def rank_histogram(statistics: xr.Dataset) -> xr.DataArray:
    """Return the fraction of the points at which the observation has each rank among the members; uniform is best."""
    return _ratio(statistics["rank_count"], statistics["rank_count"].sum("rank"))


def reliability_index(statistics: xr.Dataset) -> xr.DataArray:
    """Return the distance of the rank histogram from a flat one; 0 is best, 2 the worst possible.

    It is the sum over the ranks of the absolute difference from 1 / (members + 1) (Delle Monache et al., 2006,
    doi:10.1029/2005JD006917). `reliability_index_of_sampling` is the value that a reliable ensemble has.
    """
    ranks = _mean_members(statistics) + 1
    distance = abs(rank_histogram(statistics) - 1 / ranks)
    return distance.where(statistics["rank"] < ranks).sum("rank", skipna=True).where(ranks.notnull())


def reliability_index_of_sampling(statistics: xr.Dataset) -> xr.DataArray:
    """Return the reliability index that is expected of a reliable ensemble because the number of cases is finite.

    The counts of a rank in independent cases deviate from those of a flat histogram at random, with a variance that is
    estimated by the mean square over the cases; so the points of a case may depend on each other. The mean absolute
    value of a normal deviate is sqrt(2 / pi) times its standard deviation.
    """
    deviation = (2 / np.pi * statistics["rank_deviation"]) ** 0.5
    return _ratio(deviation.sum("rank"), statistics["ensemble_count"])


def energy_score(statistics: xr.Dataset) -> xr.DataArray:
    """Return the fair energy score of the field of all blocks, mm h-1; 0 is best.

    The distance of two fields is the root mean square over the blocks (Gneiting and Raftery, 2007,
    doi:10.1198/016214506000001437); every case has the same weight. NaN for a single member.
    """
    total = statistics["energy_error"] - statistics["energy_spread"]
    return _ratio(total, statistics["field_count"]).assign_attrs(units="mm h-1")


def variogram_score(statistics: xr.Dataset) -> xr.DataArray:
    """Return the fair variogram score of order 0.5 of the field of all blocks, mm h-1; 0 is best.

    The squared error of the mean root difference of two blocks, averaged over pairs of near blocks (Scheuerer and
    Hamill, 2015, doi:10.1175/MWR-D-14-00269.1): it shows whether blocks depend on each other as they should. NaN for a
    single member.
    """
    return _ratio(statistics["variogram_error"], statistics["field_count"]).assign_attrs(units="mm h-1")


def spectral_ratio_of_members(statistics: xr.Dataset) -> xr.DataArray:
    """Return mean power of a member / observed power for each wavelength; 1 is best."""
    return _ratio(statistics["member_power"].where(statistics["member_power"] > 0), statistics["observed_power"])


# --- parts ----------------------------------------------------------------------------------------------------


def _bins(statistics: xr.Dataset) -> xr.Dataset:
    """Return the statistics by probability bin, named by their quantity."""
    return xr.Dataset({quantity: statistics[f"bin_{quantity}"] for quantity in BIN_QUANTITIES})


def _scaled_variance(statistics: xr.Dataset, name: str) -> xr.DataArray:
    """Return the variance times the squared count, and 0 where it is within the rounding of the sums."""
    squares = statistics["count"] * statistics[f"{name}_squared"]
    variance = squares - statistics[name] ** 2
    return variance.where(variance > 1e-12 * squares, 0.0)


def _mean_members(statistics: xr.Dataset) -> xr.DataArray:
    """Return the mean number of members; NaN without any."""
    return _ratio(statistics["ensemble_members"], statistics["ensemble_count"])


def _of_two_members(statistics: xr.Dataset, score: xr.DataArray) -> xr.DataArray:
    """Return the score where there are two members at least."""
    return score.where(_mean_members(statistics) > 1)


def _ratio(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    return numerator / denominator.where(denominator > 0)
