"""Sums and scores against `scores`, scoringrules, pysteps and nowcast-bench, which were written by others."""

from __future__ import annotations

import nowcast_bench.metrics
import numpy as np
import pytest
import scores
import scoringrules
import xarray as xr
from pysteps.verification import spatialscores
from pysteps.verification.detcatscores import det_cat_fct
from pysteps.verification.detcontscores import det_cont_fct
from scores.categorical import ThresholdEventOperator
from scores.spatial import fss_2d

from helpers import synthetic
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY, forecast_dataset
from hybridcast.nowcasters.base import Advection
from hybridcast.radar import open_radar
from hybridcast.verification import scores as ours
from hybridcast.verification.statistics import FSS_SCALES, THRESHOLDS, compute_statistics

SHAPE = (50, 61)
LEADS = np.arange(1, 4) * np.timedelta64(5, "m")
SPACE = ["y", "x"]


def case(holes: float = 0.0, spacing: float = 1000.0, members: int = 0):
    """A forecast that is the truth, displaced and disturbed; with holes in both, if asked for."""
    rng = np.random.default_rng(4)
    observed = synthetic.rain(SHAPE, frames=1, later=3, wet=0.5, spacing=spacing).copy()
    observed *= 30 / observed.max()
    rate = np.roll(observed.values[1:], 3, axis=2) * rng.lognormal(0, 0.3, (3, *SHAPE)).astype(np.float32)
    rate[rng.random(rate.shape) < holes] = np.nan
    observed.values[rng.random(observed.shape) < holes] = np.nan
    forecast = forecast_dataset(rate, observed.isel(time=[0]), LEADS)
    if members:
        noise = rng.lognormal(0, 0.8, (members, 3, *SHAPE)).astype(np.float32)
        forecast[ENSEMBLE] = (("realization", "lead_time", "y", "x"), noise * rate)
    return forecast, observed


def pair(forecast, observed):
    """Both as DataArrays along `lead_time`, float64."""
    f = forecast.precipitation_rate.drop_vars(["time", "reference_time"], errors="ignore").astype(float)
    return f, f.copy(data=observed.values[1:].astype(float))


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_tables_are_those_of_scores(holes):
    forecast, observed = case(holes)
    f, o = pair(forecast, observed)
    statistics = compute_statistics(forecast, observed)
    for threshold in THRESHOLDS:
        level = float(np.float32(threshold))
        manager = ThresholdEventOperator(default_event_threshold=level).make_contingency_manager(
            f, o, event_threshold=level
        )
        table = manager.transform(preserve_dims="lead_time")
        here = statistics.sel(threshold=threshold)
        for score, theirs in {
            ours.csi: table.critical_success_index(),
            ours.frequency_bias: table.frequency_bias(),
            ours.probability_of_detection: table.probability_of_detection(),
            ours.false_alarm_ratio: table.false_alarm_ratio(),
            ours.equitable_threat_score: table.equitable_threat_score(),
        }.items():
            np.testing.assert_allclose(score(here), theirs, rtol=1e-12, err_msg=score.__name__)


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_errors_are_those_of_scores(holes):
    forecast, observed = case(holes)
    f, o = pair(forecast, observed)
    statistics = compute_statistics(forecast, observed)
    for score, theirs in {
        ours.mean_error: scores.continuous.additive_bias(f, o, preserve_dims="lead_time"),
        ours.mean_absolute_error: scores.continuous.mae(f, o, preserve_dims="lead_time"),
        ours.root_mean_square_error: scores.continuous.rmse(f, o, preserve_dims="lead_time"),
        ours.correlation: scores.continuous.correlation.pearsonr(f, o, preserve_dims="lead_time"),
    }.items():
        np.testing.assert_allclose(score(statistics), theirs, rtol=1e-9, err_msg=score.__name__)


def test_the_fractions_skill_score_is_that_of_pysteps():
    forecast, observed = case()
    f, o = pair(forecast, observed)
    fss = ours.fractions_skill_score(compute_statistics(forecast, observed, scales=FSS_SCALES))
    for scale in FSS_SCALES:
        cells = 2 * int(scale / 2) + 1
        for threshold in THRESHOLDS:
            level = float(np.float32(threshold))
            for k in range(3):
                mine = float(fss.sel(scale=scale, threshold=threshold)[k])
                assert mine == pytest.approx(spatialscores.fss(f.values[k], o.values[k], level, cells))


def test_the_fractions_skill_score_is_that_of_scores():
    """On rain with a dry margin: `scores` has a row and a column of windows more, centred outside the field."""
    forecast, observed = case()
    inside = np.zeros(SHAPE, bool)
    inside[:28, :40] = True
    forecast, observed = forecast.where(inside, 0), observed.where(inside, 0)
    f, o = pair(forecast, observed)
    fss = ours.fractions_skill_score(compute_statistics(forecast, observed, scales=FSS_SCALES))
    for scale in FSS_SCALES:
        cells = 2 * int(scale / 2) + 1
        for threshold in THRESHOLDS:
            theirs = fss_2d(
                f, o, event_threshold=float(np.float32(threshold)), window_size=(cells, cells),
                spatial_dims=("y", "x"), zero_padding=True, preserve_dims=["lead_time"],
                threshold_operator=np.greater_equal,
            )  # fmt: skip
            mine = fss.sel(scale=scale, threshold=threshold).fillna(0)  # 0 is what it has where there is no event
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_tables_and_fractions_are_those_of_nowcast_bench():
    forecast, observed = case(holes=0.2)
    whole, seen = case()
    statistics, fss = (
        compute_statistics(forecast, observed),
        ours.fractions_skill_score(compute_statistics(whole, seen, scales=FSS_SCALES)),
    )
    for threshold in THRESHOLDS:
        level = float(np.float32(threshold))
        for k in range(3):
            f, o = forecast.precipitation_rate.values[k], observed.values[k + 1]
            here = statistics.isel(lead_time=k).sel(threshold=threshold)
            bench = nowcast_bench.metrics
            assert float(ours.csi(here)) == pytest.approx(bench.csi(o, f, level).value)
            assert float(ours.equitable_threat_score(here)) == pytest.approx(bench.ets(o, f, level).value)
            assert float(ours.probability_of_detection(here)) == pytest.approx(bench.pod(o, f, level).value)
            assert float(ours.false_alarm_ratio(here)) == pytest.approx(bench.far(o, f, level).value)
            assert float(ours.frequency_bias(here)) == pytest.approx(bench.bias(o, f, level).value)
            for scale in FSS_SCALES:
                theirs = bench.fss(
                    seen.values[k + 1], whole.precipitation_rate.values[k], level, 2 * int(scale / 2) + 1,
                    boundary="pad",
                ).value  # fmt: skip
                assert float(fss.sel(scale=scale, threshold=threshold)[k]) == pytest.approx(theirs)


@pytest.mark.filterwarnings("ignore:Encountered a NaN")
@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_ensembles_are_judged_as_by_scores(holes):
    forecast, observed = case(holes, members=7)
    _, o = pair(forecast, observed)
    members = forecast[ENSEMBLE].drop_vars(["time", "reference_time"]).astype(float)
    statistics = compute_statistics(forecast, observed).sel(block=0.0)
    for method, score in {"ecdf": ours.crps_ensemble, "fair": ours.fair_crps}.items():
        theirs = scores.probability.crps_for_ensemble(
            members, o, "realization", method=method, preserve_dims="lead_time"
        )
        np.testing.assert_allclose(score(statistics), theirs, rtol=1e-9)
    ranks = scores.probability.rank_histogram(members, o, "realization", preserve_dims="lead_time")
    np.testing.assert_allclose(ours.rank_histogram(statistics).transpose("lead_time", "rank"), ranks, atol=1e-12)
    for threshold in THRESHOLDS:
        level = float(np.float32(threshold))
        brier = scores.probability.brier_score_for_ensemble(
            members, o, "realization", level, fair_correction=False, preserve_dims="lead_time"
        ).squeeze("threshold", drop=True)
        np.testing.assert_allclose(ours.brier_score(statistics.sel(threshold=threshold)), brier, rtol=1e-6)


def test_probabilities_are_judged_as_by_scores():
    forecast, observed = case(holes=0.2)
    _, o = pair(forecast, observed)
    rng = np.random.default_rng(1)
    p = rng.beta(0.5, 2.0, (len(THRESHOLDS), 3, *SHAPE)).astype(np.float32)
    forecast[PROBABILITY] = (("threshold", "lead_time", "y", "x"), p)
    forecast = forecast.assign_coords(threshold=np.float32(THRESHOLDS))
    statistics = compute_statistics(forecast, observed)
    known = forecast.precipitation_rate.notnull().values & o.notnull()
    for i, threshold in enumerate(THRESHOLDS):
        here = statistics.sel(threshold=threshold)
        events = (o >= float(np.float32(threshold))).where(known).astype(float)
        given = o.copy(data=p[i].astype(float))
        theirs = scores.probability.brier_score(given, events, preserve_dims="lead_time")
        np.testing.assert_allclose(ours.brier_score(here), theirs, rtol=1e-9)
        # by bins, the area under the curve is that of probabilities rounded to their bins
        rounded = given.copy(data=np.floor(given.values * 20 + 0.5) / 20)
        area = scores.probability.roc_auc(rounded.where(known), events, reduce_dims=SPACE)
        np.testing.assert_allclose(ours.roc_area(here), area, rtol=1e-9)


def test_the_crps_by_thresholds_is_that_of_the_ensemble_where_they_are_dense():
    forecast, observed = case(members=9)
    top = float(max(forecast[ENSEMBLE].max(), observed.max()))
    statistics = compute_statistics(forecast, observed, thresholds=np.geomspace(0.005, top, 250))
    np.testing.assert_allclose(ours.crps(statistics), ours.crps_ensemble(statistics.sel(block=0.0)), rtol=5e-3)


def field_of_blocks(values, size, known=None):
    """Return the means of the known cells of each block, ``(..., y, x)``, block by block; NaN where too few are."""
    rows, columns = values.shape[-2] // size, values.shape[-1] // size
    found = np.full((*values.shape[:-2], rows, columns), np.nan)
    known = np.isfinite(values.reshape(-1, *values.shape[-2:])).all(axis=0) if known is None else known
    for i in range(rows):
        for j in range(columns):
            window = np.s_[i * size : (i + 1) * size, j * size : (j + 1) * size]
            if known[window].mean() >= 0.8:
                found[..., i, j] = values[(..., *window)][..., known[window]].astype(float).mean(axis=-1)
    return found


def near_weights(shape, reach):
    """Return the inverse distance of each pair of points of a grid up to `reach` apart, 0 for others and the same."""
    y, x = (c.ravel() for c in np.indices(shape))
    distance = np.hypot(y[:, None] - y, x[:, None] - x)
    near = (distance > 0) & (distance <= reach)
    return np.where(near, 1 / np.where(near, distance, 1), 0)


@pytest.mark.parametrize("holes", [0.0, 0.1])
@pytest.mark.parametrize("side", [0.0, 3.0, 10.0])
def test_members_on_blocks_are_judged_as_by_scoringrules(side, holes):
    forecast, observed = case(holes, members=7)
    members, o = forecast[ENSEMBLE].values, observed.values[1:]
    statistics = compute_statistics(forecast, observed, blocks=(3.0, 10.0)).sel(block=side)
    for k in range(3):
        known = np.isfinite(members[:, k]).all(axis=0) & np.isfinite(o[k])
        drawn, truth = (field_of_blocks(v, int(side) or 1, known) for v in (members[:, k], o[k]))
        points = np.isfinite(truth)
        drawn, truth, here = drawn[:, points], truth[points], statistics.isel(lead_time=k)
        assert float(here["ensemble_count"]) == truth.size > 20
        for estimator, score in {"nrg": ours.crps_ensemble, "fair": ours.fair_crps}.items():
            theirs = scoringrules.crps_ensemble(truth, drawn, m_axis=0, estimator=estimator).mean()
            assert float(score(here)) == pytest.approx(theirs, rel=1e-6)
        if side:
            theirs = scoringrules.es_ensemble(truth, drawn, estimator="fair") / np.sqrt(truth.size)
            assert float(ours.energy_score(here)) == pytest.approx(theirs, rel=1e-6)
            weights = near_weights(points.shape, 5)[np.ix_(points.ravel(), points.ravel())]
            theirs = scoringrules.vs_ensemble(truth, drawn, weights, p=0.5, estimator="fair") / weights.sum()
            assert float(ours.variogram_score(here)) == pytest.approx(theirs, rel=1e-6)


def test_the_crps_of_a_deterministic_forecast_is_its_absolute_error_where_thresholds_are_dense():
    forecast, observed = case()
    top = float(max(forecast.precipitation_rate.max(), observed.max()))
    statistics = compute_statistics(forecast, observed, thresholds=np.geomspace(0.005, top, 250))
    np.testing.assert_allclose(ours.crps(statistics), ours.mean_absolute_error(statistics), rtol=1e-2)
    assert isinstance(ours.crps(statistics), xr.DataArray)


def test_a_real_forecast_is_judged_as_by_pysteps(real):
    """An hour of MeteoSwiss radar, on the part that has no gaps."""
    radar = open_radar(real("mch/20160711/*.gif")[:24]).isel(y=slice(200, 420), x=slice(250, 500)).load()
    made = Advection().forecast(radar.isel(time=slice(0, 12)), np.array([30, 60]) * np.timedelta64(1, "m"))
    inside = {"y": slice(60, 160), "x": slice(60, 190)}
    forecast, observed = made.isel(inside), radar.isel(inside)
    assert not observed.isnull().any()
    assert not forecast.precipitation_rate.isnull().any()
    statistics = compute_statistics(forecast, observed, scales=(5.0, 20.0))
    for k, lead in enumerate((6, 12)):
        f, o = forecast.precipitation_rate.values[k].astype(float), observed.values[11 + lead].astype(float)
        here = statistics.isel(lead_time=k)
        theirs = det_cont_fct(f, o, ["RMSE", "MAE", "corr_p"])
        assert float(ours.root_mean_square_error(here)) == pytest.approx(theirs["RMSE"])
        assert float(ours.mean_absolute_error(here)) == pytest.approx(theirs["MAE"])
        assert float(ours.correlation(here)) == pytest.approx(theirs["corr_p"])
        for threshold in (0.5, 1.0, 2.0):
            at = here.sel(threshold=threshold)
            # pysteps counts what is above the threshold, we what is at it too
            theirs = det_cat_fct(f, o, np.nextafter(threshold, 0), ["CSI", "POD", "FAR", "ETS", "BIAS"])
            for name, score in (
                ("CSI", ours.csi), ("POD", ours.probability_of_detection), ("FAR", ours.false_alarm_ratio),
                ("ETS", ours.equitable_threat_score), ("BIAS", ours.frequency_bias),
            ):  # fmt: skip
                assert float(score(at)) == pytest.approx(theirs[name]), name
            for scale, cells in ((5.0, 5), (20.0, 21)):
                fss = float(ours.fractions_skill_score(at).sel(scale=scale))
                assert fss == pytest.approx(spatialscores.fss(f, o, threshold, cells))
