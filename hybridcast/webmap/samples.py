"""What a forecast says at sampled pixels of a map, in bytes, for meteograms in a browser.

Every n-th pixel is sampled, n being 1 where there are few, so that a page stays small. Samples are stored in square
tiles, of which a browser loads the one that is clicked: gzip, base64, planes of one byte for each sample.

Rates have logarithmic steps of 3.5 %, probabilities steps of half a percent, and minutes those of `Layout.minutes`.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import RATE
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY
from hybridcast.core.types import MINUTE, Array, Doubles
from hybridcast.ensembles.products import quantiles
from hybridcast.places.products import RAIN
from hybridcast.places.rain_times import conditional_quantiles, find_rain_times
from hybridcast.plots.meteogram import FAN
from hybridcast.webmap.canvas import Canvas

MAX_SAMPLES = 60_000
TILE = 32
"""Number of samples along a side of a tile."""
MISSING = 255
"""What is unknown, and what is outside the grid."""
LOWEST, STEPS_PER_OCTAVE = 0.05, 20
"""Rate of code 1, mm h-1, and the number of codes up to twice a rate."""
_TIME_QUANTILES = (0.1, 0.5, 0.9)
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Layout:
    """Which pixels are sampled, and how the bytes are laid out."""

    stride: int
    """Every so manyeth pixel is sampled along rows and columns."""
    cells: NDArray[np.int32]
    """Cells of the samples, shape ``(row, column)``; below zero outside the grid."""
    pixel_cells: float
    """Length of a pixel in cells, in the middle of the grid."""
    minutes: float
    """Unit of times, min."""
    names: tuple[str, ...]
    """Planes by lead time."""
    time_names: tuple[str, ...]
    """Planes that are the same for all lead times."""

    @property
    def chosen(self) -> NDArray[np.int32]:
        """Cells of the samples inside the grid, row by row."""
        return self.cells[self.cells >= 0]

    def to_json(self) -> dict[str, Any]:
        """Return what a browser needs to know."""
        rows, columns = self.cells.shape
        coding = {"lowest": LOWEST, "steps_per_octave": STEPS_PER_OCTAVE, "missing": MISSING, "minutes": self.minutes}
        shape = {"stride": self.stride, "offset": self.stride // 2, "rows": rows, "columns": columns, "tile": TILE}
        return {**shape, **coding, "planes": list(self.names), "time_planes": list(self.time_names)}


def plan_samples(forecast: xr.Dataset, canvas: Canvas) -> Layout:
    """Choose the samples of a forecast."""
    rows, columns = canvas.shape
    stride = max(1, int(np.ceil(np.sqrt(rows * columns / MAX_SAMPLES))))
    names = ["rate"]
    if ENSEMBLE in forecast:
        names += [f"rate_q{100 * level:g}" for level in FAN]
    if PROBABILITY in forecast:
        names += [f"probability_{threshold:g}" for threshold in forecast["threshold"].values]
    times = ["known", "probability_of_rain", "probability_of_end"]
    times += [f"minutes_to_{what}_q{100 * level:g}" for what in ("rain", "end") for level in _TIME_QUANTILES]
    longest = float(forecast["lead_time"].values[-1] / MINUTE)
    unit = max(1.0, np.ceil(longest / (MISSING - 1)))
    offset = stride // 2
    cells = canvas.cells[offset::stride, offset::stride]
    return Layout(stride, cells, canvas.pixel_cells, float(unit), tuple(names), tuple(times))


def encode_samples(
    forecast: xr.Dataset, layout: Layout, members: Array | None, raining: Array | None
) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each tile that has a cell of the grid.

    Parameters
    ----------
    forecast
        The forecast.
    layout
        As `plan_samples` returns it.
    members
        Rates of members at the samples inside the grid, mm h-1, shape ``(lead_time, realization, sample)``, samples row
        by row; None without members.
    raining
        Observed rate at the same samples at the issue time, mm h-1, NaN where unknown; None if it is not known.
    """
    inside, chosen = layout.cells >= 0, layout.chosen
    by_lead = _encode_leads(forecast, chosen, members)
    planes = np.concatenate([by_lead, _encode_times(layout, forecast, chosen, members, raining)])
    rows, columns = layout.cells.shape
    whole = np.full((len(planes), rows, columns), MISSING, np.uint8)
    whole[:, inside] = planes
    for row in range(0, rows, TILE):
        for column in range(0, columns, TILE):
            part = (slice(row, row + TILE), slice(column, column + TILE))
            if inside[part].any():
                packed = gzip.compress(whole[(slice(None), *part)].tobytes(), 6, mtime=0)
                yield f"{row // TILE}_{column // TILE}", base64.b64encode(packed).decode("ascii")


def encode_rates(rates: NDArray[Any]) -> Bytes:
    """Return rates, mm h-1, as codes: 0 is dry, and each step of 1 is 3.5 % more."""
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.rint(1 + STEPS_PER_OCTAVE * np.log2(np.asarray(rates, np.float32) / np.float32(LOWEST)))
    codes = np.where(rates < LOWEST, 0, np.clip(codes, 1, MISSING - 1))
    return np.where(np.isnan(rates), MISSING, codes).astype(np.uint8)


def encode_fractions(fractions: NDArray[Any]) -> Bytes:
    """Return fractions, 0 to 1, as whole two hundredths."""
    return np.where(np.isnan(fractions), MISSING, np.rint(np.nan_to_num(fractions) * 200)).astype(np.uint8)


def _encode_minutes(minutes: Doubles, unit: float) -> Bytes:
    return np.where(np.isnan(minutes), MISSING, np.rint(np.nan_to_num(minutes) / unit)).astype(np.uint8)


def _encode_leads(forecast: xr.Dataset, chosen: NDArray[np.int32], members: Array | None) -> Bytes:
    """Return the planes by lead time, shape ``(plane and lead time, sample)``."""
    planes = [encode_rates(pick_cells(forecast[RATE], chosen))]
    if members is not None:
        dims = ("lead_time", "realization", "sample")
        planes += list(encode_rates(quantiles(xr.DataArray(members, dims=dims), FAN).values))
    if PROBABILITY in forecast:
        of_threshold = (forecast[PROBABILITY].isel(threshold=k) for k in range(forecast.sizes["threshold"]))
        planes += [encode_fractions(pick_cells(one, chosen)) for one in of_threshold]
    return np.concatenate(planes)


def pick_cells(field: xr.DataArray, chosen: NDArray[np.int32]) -> Array:
    """Return the values of cells, shape ``(lead_time, cell)``."""
    values = field.transpose("lead_time", "y", "x").values
    return np.asarray(values.reshape(len(values), -1)[:, chosen])


def _encode_times(
    layout: Layout, forecast: xr.Dataset, chosen: NDArray[np.int32], members: Array | None, raining: Array | None
) -> Bytes:
    """Return the planes of the beginning and the end of rain, shape ``(plane, sample)``."""
    leads = forecast["lead_time"].values
    now = None if raining is None else np.where(np.isfinite(raining), raining >= np.float32(RAIN), np.nan)
    scenarios = pick_cells(forecast[RATE], chosen)[:, None] if members is None else members
    found = find_rain_times(scenarios, leads, RAIN, now)
    known = found.known.min(axis=0)
    is_known = (known > 0) | (np.zeros(chosen.size, bool) if now is None else now == 1)
    comes, ends = (np.isfinite(times).sum(axis=0) for times in (found.onset, found.end))
    chances = np.stack([comes / len(found.onset), ends / np.maximum(comes, 1)])
    chances[0, ~is_known] = chances[1, comes == 0] = np.nan
    if members is None:
        chances[:] = np.nan  # one field has no probability
    spread = [conditional_quantiles(times, np.array(_TIME_QUANTILES)) for times in (found.onset, found.end)]
    minutes = _encode_minutes(np.concatenate([known[None], *spread]), layout.minutes)
    return np.concatenate([minutes[:1], encode_fractions(chances), minutes[1:]])
