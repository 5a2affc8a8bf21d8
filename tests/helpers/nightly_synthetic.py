"""Nights of small regions: statistics of real forecasts of simulated rain, made by `compute_statistics`."""

from __future__ import annotations

from functools import cache

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from helpers import synthetic
from hybridcast.core.forecast_schema import PROBABILITY, forecast_dataset
from hybridcast.nightly.records import RegionNight, WorstCase
from hybridcast.verification.statistics import FSS_SCALES, THRESHOLDS, compute_statistics

SHAPE = (48, 60)
LEADS = np.array([15, 30, 60], "timedelta64[m]").astype("timedelta64[ns]")
#: How far each nowcaster's rain is off, cells per lead time.
MODELS = {"blend": 2.0, "advection": 5.0, "persistence": 9.0}
PROBABILISTIC = "blend"


def date(number: int) -> str:
    """Return the date of a night."""
    return str(np.datetime64("2020-06-01") + np.timedelta64(number, "D"))


def forecasts(
    seed: int, off: dict[str, float], *, rain: float = 1.0, seen=None
) -> tuple[dict[str, xr.Dataset], xr.DataArray]:
    """Return a forecast of each nowcaster and the observation: the same rain, displaced by the error of each."""
    observed = synthetic.rain(SHAPE, frames=1, later=12, seed=seed, wet=0.3, seen=seen, spacing=2000.0) * rain
    made = {}
    for name, cells in off.items():
        truth = observed.sel(time=observed.time.values[0] + LEADS).values
        moved = [np.roll(frame, round(cells * (k + 1)), axis=1) for k, frame in enumerate(truth)]
        made[name] = forecast_dataset(moved, observed.isel(time=[0]), LEADS)
        if name == PROBABILISTIC:
            made[name][PROBABILITY] = probabilities(np.array(moved))
    return made, observed


def probabilities(rate) -> xr.DataArray:
    """Return the fraction of the surrounding points that reach each threshold."""
    unknown = np.isnan(rate)
    wet = np.array([gaussian_filter((np.nan_to_num(rate) >= level).astype(float), (0, 2, 2)) for level in THRESHOLDS])
    wet[:, unknown] = np.nan
    return xr.DataArray(
        np.round(wet, 3).astype(np.float32),
        dims=("threshold", "lead_time", "y", "x"),
        coords={"threshold": list(THRESHOLDS), "lead_time": LEADS},
    )


@cache
def day_statistics(
    number: int, region: int = 0, *, rain: float = 1.0, worse: float = 0.0, cases: int = 4
) -> xr.Dataset:
    """Return the statistics of a day, dims ``("nowcaster", ...)``; `worse` displaces the first nowcaster more."""
    total = None
    for case in range(cases):
        seed = 1000 * region + 20 * number + case
        jitter = np.random.default_rng(seed).uniform(-1, 1)
        off = {name: cells + jitter + (worse if name == PROBABILISTIC else 0.0) for name, cells in MODELS.items()}
        made, observed = forecasts(seed, off, rain=rain)
        statistics = [compute_statistics(one, observed, scales=FSS_SCALES) for one in made.values()]
        both = xr.concat(statistics, xr.Variable("nowcaster", list(made)))
        total = both if total is None else total + both
    return total


def history(days, regions=("north", "south"), **changes) -> xr.Dataset:
    """Return the statistics of the days of regions, as the store returns them."""
    return xr.concat(
        [
            xr.concat(
                [day_statistics(number, k, **changes) for number in days], xr.Variable("date", [date(n) for n in days])
            )
            for k in range(len(regions))
        ],
        xr.Variable("region", list(regions)),
    )


def worst(number: int) -> tuple[WorstCase, ...]:
    """Return two cases with their maps, one of them with a hole in its coverage."""
    found = []
    for case, seen in enumerate((None, synthetic.disc(SHAPE))):
        made, observed = forecasts(20 * number + case, MODELS, seen=seen)
        rate = made["blend"].precipitation_rate.isel(lead_time=-1, drop=True)
        found.append(
            WorstCase(
                issue_time=observed.time.values[0],
                lead_time=LEADS[-1],
                nowcaster="blend",
                score=0.1 + 0.1 * case,
                forecast=rate,
                observed=observed.isel(time=-1),
            )
        )
    return tuple(found)


def night(number: int, region: str = "north", statistics: xr.Dataset | None = None, **changes) -> RegionNight:
    """Return the night of a region."""
    given = {
        "region": region,
        "date": date(number),
        "state": "good" if statistics is not None else "failed",
        "notes": (),
        "expected": 4,
        "done": 4 if statistics is not None else 0,
        "seconds": 12.3,
        "nowcasters": tuple(MODELS),
        "statistics": statistics,
        "hourly": None,
        "worst": (),
    }
    return RegionNight(**(given | changes))
