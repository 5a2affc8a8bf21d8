"""Constants of the members of an ensemble, fitted on the ranks of the observation within forecasts of real events.

A member is a sample of each cell's exceedance curve, placed by Gaussian noise (`hybridcast.ensembles.noise`). If z is
the noise that would give the observation, the correlation of z between two cells, or between two lead times along the
motion, is the one that the noise needs. Only exceedance is used, because much is dry: the mean of (e_i - p_i) (e_j -
p_j), of the event e with the probability p, is the sum over n of rho^n h_n(p_i) h_n(p_j), with h_n = He_(n-1)(z)
phi(z) / sqrt(n!) (Pearson's tetrachoric series, 1900, doi:10.1098/rsta.1900.0022). Sums of both sides over all pairs
of a distance are autocorrelations, by FFT, and are solved for rho. Then come, by least squares and with equal weights
of regions, the shares of the octaves by lead time, their memory, one factor of scale for each region, and the rule
that finds this factor from the sharpness of the forecast. What the package has differs from the fit in the finest
scales and in the rule, see ``notebooks/decisions.md``.

Regions are forecast by models that have not seen them. Run it with
``python notebooks/ensemble_fit.py --work scratch``: models in the folder are used again, a missing one takes an hour.
Prints the constants and writes ensemble_fit.json beside this file.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.interpolate import BSpline
from scipy.optimize import brentq, least_squares, minimize_scalar
from scipy.special import factorial, ndtri

from hybridcast import forecast
from hybridcast.core.grid import cell_size
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import MINUTE
from hybridcast.datasets.events import Event, issue_times, load_event_radar, load_events
from hybridcast.ensembles.noise import SCALE_LEAD, SCALE_RATE
from hybridcast.fusion.hybrid import Hybrid, load_hybrid
from hybridcast.learned.training.settings import standard_settings
from hybridcast.learned.training.train import train_without
from hybridcast.motion.estimate import cells_per_step
from hybridcast_kernels.advection_cpu import advect

Floats = NDArray[np.float64]

#: Rates (mm h-1) whose exceedance is compared; the correlation does not depend on them much.
RATES = (0.5, 1.0)
#: Terms of the series.
TERMS = 8
#: Limits of the distances, km; the first ring is the cell itself.
RINGS = np.array([0.01, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80])
STARTS, LAGS = (10, 30, 60, 90), (0, 10, 20, 30, 40, 60, 90)
#: Spacing of the octaves, km.
SPACING = 2.0 ** np.arange(1, 8)
#: Spacing that stands for the constant of the domain, where a memory needs one.
WHOLE_DOMAIN = 512.0
#: Lead times of the printed shares, min.
SHOWN_LEADS = (10, 30, 60, 90, 120)
_SPLINE = BSpline.basis_element(np.arange(-4, 5), extrapolate=False)


class Point(NamedTuple):
    """Correlation of the noise that the observations of a region ask for."""

    start: float
    """First lead time, min."""
    end: float
    """Second lead time, min."""
    distance: float
    """Distance along the motion, km."""
    correlation: float


class Case(NamedTuple):
    """Sums over the pairs of one forecast, and what else is fitted."""

    sums: dict[tuple[float, int, int], Floats]
    """Sums ``(term + 2, ring)`` by rate, first lead time and lag."""
    vagueness: float
    """Mean of p (1 - p) over mean of p, for the probability p that the scale of an event is told from."""


class Rings:
    """Pairs of cells of one grid by their distance."""

    def __init__(self, shape: tuple[int, int], cell: float) -> None:
        self.size = tuple(next_fast_len(n + min(n, int(RINGS[-1] / cell) + 1)) for n in shape)
        rows, columns = (np.fft.fftfreq(n, 1 / n) * cell for n in self.size)
        self.distance = np.hypot(rows[:, None], columns)
        self.ring = np.where(self.distance < min(RINGS[-1], 0.7 * min(shape) * cell), self._number(), len(RINGS))

    def _number(self) -> NDArray[np.int64]:
        number: NDArray[np.int64] = np.digitize(self.distance, RINGS)
        return number

    def transform(self, terms: Floats) -> NDArray[np.complex128]:
        """Return the Fourier transforms of fields ``(term, y, x)``."""
        spectra: NDArray[np.complex128] = rfft2(terms, s=self.size)
        return spectra

    def sums(self, one: NDArray[np.complex128], other: NDArray[np.complex128]) -> Floats:
        """Return sums of products over the pairs of each ring, and last those of the first term times distance."""
        products = irfft2(np.conj(one) * other, s=self.size)
        planes = [*products, products[1] * self.distance]
        return np.stack([np.bincount(self.ring.ravel(), p.ravel(), len(RINGS) + 1)[: len(RINGS)] for p in planes])


def residual_terms(probability: Floats, exceeded: Floats) -> Floats:
    """Return the residual and the terms of the series, ``(term + 1, y, x)``, 0 where the probability is NaN."""
    known = np.isfinite(probability) & np.isfinite(exceeded)
    p = np.clip(np.where(known, probability, 0.5), 2e-4, 1 - 2e-4)
    z = -ndtri(p)
    polynomials = [np.ones_like(z), z]
    for n in range(1, TERMS - 1):
        polynomials.append(z * polynomials[n] - n * polynomials[n - 1])
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    terms = [h * density / np.sqrt(factorial(n + 1)) for n, h in enumerate(polynomials)]
    return np.where(known, np.stack([exceeded - p, *terms]), 0.0)


def latent_correlation(sums: Floats) -> float:
    """Return the correlation of the noise for sums ``(term + 2,)`` over the pairs of a ring; NaN without pairs."""
    powers = np.arange(1, TERMS + 1)
    if sums[1] <= 0:
        return np.nan

    def excess(rho: float) -> float:
        return float((sums[1:-1] * rho**powers).sum() - sums[0])

    if excess(0.99) < 0 or excess(-0.5) > 0:
        return 0.99 if excess(0.99) < 0 else -0.5
    return float(brentq(excess, -0.5, 0.99))


def to_moving_frame(field: Floats, flow: Floats, minutes: float) -> Floats:
    """Return a field at a lead time at the cells that its air comes from."""
    values = np.ascontiguousarray(field[None], np.float32)
    back = np.ascontiguousarray(-flow, np.float32)
    return advect(values, back, np.array([minutes], np.float32), 0, longest_step=15.0)[0, 0].astype(float)


def pair_sums(
    made: xr.Dataset, observed: Floats, flow: Floats, minutes: Sequence[int], cell: float
) -> dict[tuple[float, int, int], Floats]:
    """Return the sums over pairs of one forecast in the moving frame, by rate, first lead time and lag."""
    rings = Rings((observed.shape[1], observed.shape[2]), cell)
    sums = {}
    for rate in RATES:
        chance = made["probability_of_exceedance"].sel(threshold=rate).values.astype(float)
        spectra = {}
        for lead, p, rain in zip(minutes, chance, observed, strict=True):
            rain, p = to_moving_frame(rain, flow, lead), to_moving_frame(p, flow, lead)
            spectra[lead] = rings.transform(residual_terms(p, np.where(np.isfinite(rain), rain >= rate, np.nan)))
        pairs = [(start, lag) for start in STARTS for lag in LAGS if start in spectra and start + lag in spectra]
        sums |= {(rate, start, lag): rings.sums(spectra[start], spectra[start + lag]) for start, lag in pairs}
    return sums


def evaluate_case(radar: xr.DataArray, issue: np.datetime64, nowcaster: Hybrid) -> Case | None:
    """Forecast one case, and return its sums; None if the forecast is advection alone or the frame is dry."""
    step = int(time_step(radar["time"].values) / MINUTE)
    gap = next(g for g in (10, 15, 30) if g % step == 0)
    minutes = list(range(gap, 121, gap))
    made = forecast(radar, issue_time=issue, lead_time="120min", step=f"{gap}min", nowcaster=nowcaster)
    chance = made["probability_of_exceedance"].sel(threshold=SCALE_RATE, lead_time=SCALE_LEAD * MINUTE).values
    chance = chance[np.isfinite(chance)].astype(float)
    if "fallback" in made.attrs or not chance.sum() > 0:
        return None
    observed = radar.reindex(time=issue + np.array(minutes) * MINUTE).values.astype(float)
    flow = cells_per_step(made[["u", "v"]], MINUTE)
    vagueness = float((chance * (1 - chance)).sum() / chance.sum())
    return Case(pair_sums(made, observed, flow, minutes, cell_size(radar) / 1e3), vagueness)


def evaluate_events(events: Sequence[Event], models: dict[str, Path], count: int) -> dict[str, list[Case]]:
    """Return the cases by region."""
    cases = defaultdict(list)
    for event in events:
        if event.region not in models:
            continue
        nowcaster = load_hybrid(models[event.region])
        nowcaster = replace(nowcaster, thresholds=nowcaster.model.thresholds)
        radar = load_event_radar(event).compute()
        for issue in issue_times(radar, event, max_count=count):
            case = evaluate_case(radar, issue, nowcaster)
            if case is not None:
                cases[event.region].append(case)
                print(event.name, issue, flush=True)
    return dict(cases)


def correlations(cases: Sequence[Case]) -> list[Point]:
    """Return the correlations that some cases ask for, by lead times and distance."""
    return [point for key in {key for case in cases for key in case.sums} for point in _points(cases, key)]


def _points(cases: Sequence[Case], key: tuple[float, int, int]) -> Iterator[Point]:
    _, start, lag = key
    sums = np.sum([case.sums[key] for case in cases if key in case.sums], axis=0)
    for ring in range(1 if lag == 0 else 0, sums.shape[1]):
        rho = latent_correlation(sums[:, ring])
        if np.isfinite(rho):
            yield Point(start, start + lag, float(sums[-1, ring] / sums[1, ring]), rho)


class Noise(NamedTuple):
    """Correlation of the noise in space and time, as the members have it."""

    level: Floats
    """Logarithm of the shares at 30 min, up to a constant, ``(octave + 1,)``."""
    trend: Floats
    """Its change with the logarithm of lead time."""
    knot_minutes: float
    """Interval between the knots of an octave with a spacing of 8 km, min."""
    growth: float
    """Exponent of the interval between knots as a function of the spacing."""

    @classmethod
    def of(cls, x: Floats) -> Noise:
        """Return the noise of a vector of parameters."""
        n = SPACING.size + 1
        return cls(x[:n], x[n : 2 * n], float(np.exp(x[2 * n])), float(x[2 * n + 1]))

    def shares(self, minutes: Floats) -> Floats:
        """Return the share of each octave in the variance, ``(lead, octave + 1)``."""
        logits = self.level + self.trend * np.log(np.asarray(minutes)[:, None] / 30)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def correlation(self, points: Floats, scale: float) -> Floats:
        """Return the correlation at points ``(point, 4)``, with the shares at spacings that are 2^scale as large."""
        start, end, distance = points[:, 0], points[:, 1], points[:, 2]
        amplitudes = np.sqrt(self.shares(start) * self.shares(end))
        knots = self.knot_minutes * (np.append(SPACING, WHOLE_DOMAIN) * 2.0**scale / 8) ** self.growth
        memory = kernel_correlation((end - start)[:, None] / knots)
        return np.asarray((amplitudes * octave_correlation(distance / 2.0**scale) * memory).sum(axis=1))


def kernel_correlation(lag: Floats) -> Floats:
    """Return the correlation of a moving average with the kernel cos(pi x / 2), |x| < 1, at lags x."""
    x = np.minimum(np.abs(lag), 2.0)
    return np.asarray((1 - x / 2) * np.cos(np.pi * x / 2) + np.sin(np.pi * x / 2) / np.pi)


def octave_correlation(distance: Floats) -> Floats:
    """Return the correlation of white noise smoothed by a cubic B-spline, ``(distance, octave + 1)``; the last is 1."""
    x = np.minimum(np.abs(distance)[:, None] / SPACING / np.sqrt(2), 3.999)
    return np.append(np.asarray((_SPLINE(x) / _SPLINE(0.0)) ** 2), np.ones((len(distance), 1)), axis=1)


def fit_noise(points: Sequence[Floats]) -> tuple[Noise, Floats]:
    """Return the noise and the scale of each region (logarithm, base 2), with smooth shares and a mean scale of 0."""
    n = 2 * (SPACING.size + 1) + 2

    def misfit(x: Floats) -> Floats:
        noise, scale = Noise.of(x), x[n:]
        parts = [(noise.correlation(p, s) - p[:, 3]) / np.sqrt(len(p)) for p, s in zip(points, scale, strict=True)]
        smooth = [0.1 * np.diff(noise.level[:-1], 2), 0.5 * np.diff(noise.trend[:-1], 2), 0.1 * noise.trend]
        weak = [0.01 * (noise.level + 2), np.array([0.1 * (noise.growth - 0.8), 2 * scale.mean()]), 0.05 * scale]
        return np.concatenate([*parts, *(part / 17 for part in [*smooth, *weak])])

    octaves = SPACING.size + 1
    begin = [np.full(octaves, -2.0), np.linspace(-0.5, 0.5, octaves), [3.5, 0.8], np.zeros(len(points))]
    x = least_squares(misfit, np.concatenate(begin)).x
    return Noise.of(x), x[n:]


def fit_case_scale(case: Case, noise: Noise) -> float:
    """Return the scale (logarithm, base 2) that fits one case best."""
    points = np.array(correlations([case]))

    def misfit(scale: float) -> float:
        return float(((noise.correlation(points, scale) - points[:, 3]) ** 2).mean())

    return float(minimize_scalar(misfit, bounds=(-3, 3), method="bounded").x)


def fit_scale_rule(cases: dict[str, list[Case]], noise: Noise) -> list[float]:
    """Return the factor of the vagueness of the forecast, and the constant, for the scale of a case."""
    frames = [np.array([(case.vagueness, 1.0) for case in part]) for part in cases.values()]
    scales = [np.array([fit_case_scale(case, noise) for case in part]) for part in cases.values()]
    weights = np.concatenate([np.full(len(part), min(1 / np.sqrt(len(part)), 0.55)) for part in scales])
    rule = np.linalg.lstsq(np.concatenate(frames) * weights[:, None], np.concatenate(scales) * weights, rcond=None)[0]
    return [round(float(value), 3) for value in rule]


def describe(cases: dict[str, list[Case]]) -> dict[str, object]:
    """Fit everything, and return the constants with the numbers by region."""
    points = [np.array(correlations(part)) for part in cases.values()]
    noise, scales = fit_noise(points)
    misfits = [np.sqrt(np.mean((noise.correlation(p, s) - p[:, 3]) ** 2)) for p, s in zip(points, scales, strict=True)]
    regions = {
        name: {"cases": len(part), "scale": round(float(s), 2), "misfit": round(float(m), 3)}
        for (name, part), s, m in zip(cases.items(), scales, misfits, strict=True)
    }
    return {
        "spacing_km": SPACING.tolist(),
        "shares": {str(lead): noise.shares(np.array([lead])).round(3)[0].tolist() for lead in SHOWN_LEADS},
        "knot_minutes_at_8_km": round(noise.knot_minutes, 1),
        "growth": round(noise.growth, 2),
        "scale_from_vagueness_constant": fit_scale_rule(cases, noise),
        "regions": regions,
    }


def main() -> None:
    """Fit the constants and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default="scratch", help="folder of models")
    parser.add_argument("--cases", type=int, default=2, help="maximum number of issue times of an event")
    parser.add_argument("--regions", nargs="*", help="regions; all by default")
    options = parser.parse_args()
    events = load_events()
    regions = options.regions or sorted({event.region for event in events})
    models = train_without(events, regions, options.work, settings=standard_settings())
    fitted = describe(evaluate_events(events, models, options.cases))
    Path(__file__).with_suffix(".json").write_text(json.dumps(fitted, indent=1) + "\n")
    print(json.dumps(fitted, indent=1))


if __name__ == "__main__":
    main()
