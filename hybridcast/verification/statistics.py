"""Additive sums of forecast and observation: cases add up in any order, and scores are derived last.

Everything is summed over one mask: the points known to the observation, to the forecast and, by `valid`, to all the
nowcasters compared (`common_mask`). A point that is not known never counts, neither as wet nor as dry.

**At equal wet area** each frame of the forecast is judged as if it had as many wet points as a reference forecast, the
plain advection: its n highest values are its wet points, with n counted on the same mask. So no score is won by a
bias. Where several points share the value at the cut (dry ones, often), each counts with the same share, which is what
drawing among them would give on average.

**The fractions skill score** compares the share of wet cells in windows (Roberts and Lean, 2008,
doi:10.1175/2007MWR2123.1). There is one window around each valid point, and in it the events on valid points are
divided by all cells of the window: what lies beyond the edge of the grid or of the mask is an event of neither. A
window of which a part is valid so counts with the square of that part. On a field without gaps this is the rule of
pysteps; `window_share` says how much of the windows was valid. A window reaches ``floor(scale / 2 / spacing)`` cells
from its centre to each side.

**Spectra** are those of the rates on the mask, zero elsewhere for forecast and observation alike, in octaves of the
wavelength.

**Probabilities** are summed in bins centred at 0, 0.05, ..., 1, which hold the probabilities of an ensemble of 20 and
the 0 and 1 of a deterministic forecast exactly; sums of their squares make the Brier score exact for any others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import fft

from hybridcast.core.field import NAME, check_same_grid, metres_per_cell
from hybridcast.errors import InputError
from hybridcast_kernels import verification_cpu as kernels

THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Rates, mm h-1."""
SCALES = (1.0, 5.0, 10.0, 20.0, 40.0)
"""Sides of the windows of the fractions skill score, km."""
BINS = 21
"""Bins of probability."""
OCTAVES = tuple(2.0**k for k in range(1, 10))
"""Edges of the bands of wavelength, km."""
PROBABILITY = "probability_of_exceedance"
ENSEMBLE = f"{NAME}_ensemble"

Mask = NDArray[np.uint8]


def sums_of(
    forecast: xr.Dataset,
    observed: xr.DataArray,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    scales: Sequence[float] = (),
    spectra: bool = False,
    valid: xr.DataArray | None = None,
    reference: xr.DataArray | None = None,
) -> xr.Dataset:
    """Sum up one forecast against what then was observed.

    Parameters
    ----------
    forecast
        With `precipitation_rate`, dims ``("lead_time", "y", "x")``, and its valid `time`; at gauges the dims are
        ``("lead_time", "station")``. Where it holds `probability_of_exceedance`, with a dim `threshold` more, or else
        `precipitation_rate_ensemble`, with a dim `realization` more, these are its probabilities; otherwise they are 0
        and 1.
    observed
        Precipitation field with frames at the valid times; lead times without a frame count nothing.
    thresholds
        Rates, mm h-1, rising.
    scales
        Sides of the windows of the fractions skill score, km; none by default, `SCALES` are the usual ones.
    spectra
        Whether to sum up power by wavelength.
    valid
        Boolean, dims as the rate: where to compare, for several nowcasters the same. By default wherever both are
        known; a point that is not known to both never counts.
    reference
        `precipitation_rate` of the forecast whose wet area is taken, for the tables at equal wet area; unknown points
        of it are not wet.

    Returns
    -------
    Dataset
        Along `lead_time`: `cases` (1 where anything counted), `count`, `forecast`, `observed`, their `_squared` and
        `product`, `absolute_error`. Along `threshold` too: `hits`, `misses`, `false_alarms` (and the three with
        ``_equal_area``). Along `probability_bin` too: `bin_count`, `bin_events`, `bin_probability`,
        `bin_probability_squared`, `bin_probability_of_events`. Along `scale`: `window_share`, and along `threshold`
        too `fraction_difference` and `fraction_squares`. Along `wavelength` (the middle of each octave, km)
        `forecast_power` and `observed_power`, (mm h-1)2. Of an ensemble `ensemble_error`, `ensemble_spread`, and along
        `rank` `rank_count`. All of them add up over cases.

    Raises
    ------
    InputError
        If forecast and observation are not on the same grid, `thresholds` do not rise, or the forecast has
        probabilities, but not at one of `thresholds`.
    """
    space = _same_places(forecast, observed)
    dims = ("lead_time", *space)
    levels = _rising(thresholds)
    rate = _values(forecast[NAME], dims)
    seen = _at_valid_times(forecast, observed, space)
    probability = _probabilities(forecast, levels, dims)
    known = np.isfinite(rate) & np.isfinite(seen)
    if probability is not None:
        known &= np.isfinite(probability).all(axis=0)
    if valid is not None:
        known &= valid.transpose(*dims).values
    reaches = window_reaches(forecast, scales) if scales else []
    frames = [
        _Frame(
            rate[k],
            seen[k],
            known[k].astype(np.uint8),
            levels.astype(np.float32),  # as rates are: 0.7 mm/h reaches a threshold of 0.7
            None if probability is None else probability[:, k],
            None if reference is None else _values(reference, dims)[k],
        ).sums(reaches)
        for k in range(len(rate))
    ]
    members = _members(forecast, dims)
    if members is not None:
        for k, frame in enumerate(frames):
            frame |= _ensemble(members[:, k], seen[k], known[k])
    if spectra:
        bands = _bands(forecast)
        for k, frame in enumerate(frames):
            frame["forecast_power"] = _power(rate[k], known[k], bands)
            frame["observed_power"] = _power(seen[k], known[k], bands)
    return _labelled(frames, forecast["lead_time"].values, levels, scales)


def common_mask(forecasts: Iterable[xr.Dataset], observed: xr.DataArray) -> xr.DataArray:
    """Find where all of `forecasts`, with their probabilities, and the observation are known.

    Returns
    -------
    DataArray
        Boolean, dims ``("lead_time", "y", "x")`` or ``("lead_time", "station")``.
    """
    known: xr.DataArray | None = None
    for forecast in forecasts:
        space = _same_places(forecast, observed)
        here = forecast[NAME].notnull().transpose("lead_time", *space)
        if PROBABILITY in forecast:
            here &= forecast[PROBABILITY].notnull().all("threshold").transpose("lead_time", *space)
        if known is None:
            known = here.reset_coords(drop=True) & np.isfinite(_at_valid_times(forecast, observed, space))
        else:
            known &= here.values
    if known is None:
        raise InputError("there is no forecast", "a mask is common to one forecast at least", "Give the forecasts")
    return known.rename("valid")


def window_reaches(grid: xr.Dataset | xr.DataArray, scales: Sequence[float]) -> list[tuple[int, int]]:
    """Return how many cells the windows of `scales` (km) reach from their centre, ``(y, x)`` each.

    On a grid of longitude and latitude the mean width of the cells counts.
    """
    dy, dx = metres_per_cell(grid)
    spacings = abs(dy) / 1000, float(np.abs(dx).mean(dtype=np.float64)) / 1000
    return [(_reach(scale, spacings[0]), _reach(scale, spacings[1])) for scale in scales]


def _reach(scale: float, spacing: float) -> int:
    return int(np.floor(scale / 2 / spacing + 1e-6))  # a hair more: 20 km are ten cells of 2 km whatever their rounding


# --- one frame ------------------------------------------------------------------------------------------------


class _Frame:
    """One lead time: all arrays of one shape, the probabilities with the threshold before it."""

    def __init__(
        self,
        rate: NDArray[np.float32],
        seen: NDArray[np.float32],
        valid: Mask,
        levels: NDArray[np.float32],
        probability: NDArray[np.float32] | None,
        reference: NDArray[np.float32] | None,
    ) -> None:
        self.rate, self.seen, self.valid, self.levels = rate, seen, valid, levels
        self.probability, self.reference = probability, reference
        self.forecast_class, self.observed_class = np.empty(rate.shape, np.uint8), np.empty(rate.shape, np.uint8)
        kernels.classes(rate, valid, levels, self.forecast_class)
        kernels.classes(seen, valid, levels, self.observed_class)

    def sums(self, reaches: list[tuple[int, int]]) -> dict[str, NDArray[np.float64]]:
        """All sums of this frame, by name; those by threshold have it first."""
        moments = kernels.pair_sums(self.rate.ravel(), self.seen.ravel(), self.valid.ravel())
        sums = dict(zip(kernels.MOMENTS, moments, strict=True))
        sums["cases"] = np.float64(sums["count"] > 0)
        tables = self._tables()
        sums |= tables | self._bins(tables, sums["count"])
        if self.reference is not None:
            sums |= self._equal_area(self.reference)
        if reaches:
            parts = kernels.fraction_sums(
                self.forecast_class, self.observed_class, self.valid, self.levels.size, reaches
            )
            sums |= zip(("fraction_difference", "fraction_squares", "window_share"), parts, strict=True)
        return sums

    def _tables(self) -> dict[str, NDArray[np.float64]]:
        counts = kernels.joint_counts(
            self.forecast_class.ravel(), self.observed_class.ravel(), self.valid.ravel(), self.levels.size
        )
        above = range(1, self.levels.size + 1)
        return {
            "hits": np.array([counts[k:, k:].sum() for k in above], np.float64),
            "misses": np.array([counts[:k, k:].sum() for k in above], np.float64),
            "false_alarms": np.array([counts[k:, :k].sum() for k in above], np.float64),
        }

    def _equal_area(self, reference: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """Tables with as many wet points as the reference; points at the cut are shared."""
        valid = self.valid.astype(bool)
        ordered = np.sort(self.rate[valid])
        wet = np.array([np.count_nonzero(reference[valid] >= level) for level in self.levels])
        cuts = np.array([ordered[-n] if n else np.inf for n in wet], np.float32)
        counts = kernels.counts_at_cuts(self.rate.ravel(), self.observed_class.ravel(), self.valid.ravel(), cuts)
        above, events_above, at, events_at = counts.T.astype(np.float64)
        hits = events_above + events_at * np.where(at > 0, (wet - above) / np.maximum(at, 1), 0.0)
        events = np.array([np.count_nonzero(self.observed_class > k) for k in range(self.levels.size)])
        return {
            "hits_equal_area": hits,
            "misses_equal_area": events - hits,
            "false_alarms_equal_area": wet - hits,
        }

    def _bins(self, tables: dict[str, NDArray[np.float64]], count: np.float64) -> dict[str, NDArray[np.float64]]:
        """Sums of the probabilities, ``(threshold, probability_bin)``."""
        if self.probability is None:
            sums = _certain(**tables, count=count)
        else:
            sums = np.stack(
                [
                    kernels.probability_sums(p.ravel(), self.observed_class.ravel(), k, self.valid.ravel(), BINS)
                    for k, p in enumerate(self.probability)
                ],
                axis=1,
            )
        return {f"bin_{name}": values for name, values in zip(_OF_BINS, sums, strict=True)}


#: What `kernels.probability_sums` sums up, in its order.
_OF_BINS = ("count", "events", "probability", "probability_squared", "probability_of_events")


def _certain(
    hits: NDArray[np.float64], misses: NDArray[np.float64], false_alarms: NDArray[np.float64], count: np.float64
) -> NDArray[np.float64]:
    """Sums of probabilities that are 0 or 1, as `kernels.probability_sums` gives them, ``(5, threshold, bin)``."""
    sums = np.zeros((len(_OF_BINS), hits.size, BINS))
    yes = hits + false_alarms
    sums[0, :, 0], sums[0, :, -1] = count - yes, yes
    sums[1, :, 0], sums[1, :, -1] = misses, hits
    sums[2, :, -1] = sums[3, :, -1] = yes
    sums[4, :, -1] = hits
    return sums


def _ensemble(
    members: NDArray[np.float32], seen: NDArray[np.float32], known: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Sums of the members ``(realization, ...)`` of one frame; a point unknown to one of them never counts."""
    valid = known & np.isfinite(members).all(axis=0)
    sums, ranks = kernels.ensemble_sums(members.reshape(len(members), -1), seen.ravel(), valid.ravel())
    return {
        "ensemble_count": np.asarray(np.count_nonzero(valid), np.float64),
        "ensemble_error": sums[0],
        "ensemble_spread": sums[1],
        "rank_count": ranks,
    }


def _bands(grid: xr.Dataset) -> NDArray[np.intp]:
    """Number of the octave of each wave of the real Fourier transform, 0 and ``len(OCTAVES)`` for those beyond."""
    dy, dx = metres_per_cell(grid)
    cycles_y = np.fft.fftfreq(grid.sizes["y"], abs(dy) / 1000)
    cycles_x = np.fft.rfftfreq(grid.sizes["x"], float(np.abs(dx).mean(dtype=np.float64)) / 1000)
    with np.errstate(divide="ignore"):
        wavelength = 1 / np.hypot(cycles_y[:, None], cycles_x)
    return np.asarray(np.searchsorted(OCTAVES, wavelength, side="right"))


def _power(rate: NDArray[np.float32], known: NDArray[np.bool_], bands: NDArray[np.intp]) -> NDArray[np.float64]:
    """Share of each octave in the sum of squares of the rates."""
    waves = fft.rfft2(np.where(known, rate, np.float32(0)))
    power = np.abs(waves).astype(np.float64) ** 2
    columns = rate.shape[1]
    power[:, 1 : (columns + 1) // 2] *= 2  # their mirror images are not in it
    return np.bincount(bands.ravel(), power.ravel(), minlength=len(OCTAVES) + 1)[1 : len(OCTAVES)] / rate.size


# --- labels ---------------------------------------------------------------------------------------------------


_OTHER_DIMS = {
    "window_share": ("scale",),
    "rank_count": ("rank",),
    "forecast_power": ("wavelength",),
    "observed_power": ("wavelength",),
}


def _labelled(
    frames: list[dict[str, NDArray[np.float64]]],
    lead_times: NDArray[np.timedelta64],
    levels: NDArray[np.float64],
    scales: Sequence[float],
) -> xr.Dataset:
    dims: dict[str, tuple[str, ...]] = {}
    for name in frames[0]:
        if name.startswith("bin_"):
            dims[name] = ("threshold", "probability_bin")
        elif name.startswith("fraction_"):
            dims[name] = ("scale", "threshold")
        elif name.startswith(("hits", "misses", "false_alarms")):
            dims[name] = ("threshold",)
        else:
            dims[name] = _OTHER_DIMS.get(name, ())
    coords: dict[str, Any] = {
        "lead_time": lead_times,
        "threshold": ("threshold", levels, {"units": "mm h-1"}),
        "probability_bin": np.linspace(0, 1, BINS).round(6),
    }
    if scales:
        coords["scale"] = ("scale", np.asarray(scales, dtype=np.float64), {"units": "km"})
    if "forecast_power" in dims:
        middles = np.sqrt(np.multiply(OCTAVES[1:], OCTAVES[:-1])).round(3)
        coords["wavelength"] = ("wavelength", middles, {"units": "km"})
    if "rank_count" in dims:
        coords["rank"] = np.arange(frames[0]["rank_count"].size)
    return xr.Dataset(
        {
            name: ((*dims[name], "lead_time"), np.stack([np.asarray(frame[name]) for frame in frames], axis=-1))
            for name in frames[0]
        },
        coords=coords,
    )


def _same_places(forecast: xr.Dataset, observed: xr.DataArray) -> tuple[str, ...]:
    """Return the dims of space, after making sure that both have the same places along them."""
    if "station" not in forecast[NAME].dims:
        check_same_grid(forecast, observed, "forecast and observation")
        return ("y", "x")
    if "station" not in observed.dims or not np.array_equal(forecast["station"].values, observed["station"].values):
        raise InputError(
            f"the forecast is at {forecast.sizes['station']} stations, the observation is not at the same",
            "forecast and observation share their stations",
            "Select the same ones, in one order",
        )
    return ("station",)


def _rising(thresholds: Sequence[float]) -> NDArray[np.float64]:
    levels = np.asarray(thresholds, dtype=np.float64)
    if levels.ndim != 1 or not levels.size or not (np.diff(levels) > 0).all() or not levels[0] > 0:
        raise InputError(f"thresholds are {tuple(thresholds)}", "they are above zero and rise", "Sort them")
    return levels


def _values(rate: xr.DataArray, dims: tuple[str, ...]) -> NDArray[np.float32]:
    return np.ascontiguousarray(rate.transpose(*dims).values, dtype=np.float32)


def _at_valid_times(forecast: xr.Dataset, observed: xr.DataArray, space: tuple[str, ...]) -> NDArray[np.float32]:
    """Return what was observed at the valid times, NaN where there is no frame."""
    frames = observed.transpose("time", *space).reindex(time=forecast["time"].values)
    return np.ascontiguousarray(frames.values, dtype=np.float32)


def _members(forecast: xr.Dataset, dims: tuple[str, ...]) -> NDArray[np.float32] | None:
    return _values(forecast[ENSEMBLE], ("realization", *dims)) if ENSEMBLE in forecast else None


def _probabilities(
    forecast: xr.Dataset, levels: NDArray[np.float64], dims: tuple[str, ...]
) -> NDArray[np.float32] | None:
    """Return the probabilities at `levels`, ``(threshold, ...)``; None where the forecast has none."""
    if PROBABILITY in forecast:
        own = forecast[PROBABILITY]["threshold"].values.astype(np.float64)
        places = [int(np.argmin(np.abs(own - level))) for level in levels]
        absent = [f"{level:g}" for place, level in zip(places, levels, strict=True) if abs(own[place] - level) > 1e-5]
        if absent:
            raise InputError(
                f"the forecast has no probability at {', '.join(absent)} mm/h (it has {own.tolist()})",
                "probabilities are given at the thresholds",
                "Choose thresholds among those of the forecast",
            )
        return _values(forecast[PROBABILITY].isel(threshold=places), ("threshold", *dims))
    members = _members(forecast, dims)
    return None if members is None else exceedance(members, levels)


def exceedance(members: NDArray[np.float32], levels: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the share of the members ``(realization, ...)`` at each level or above, NaN where one is unknown."""
    unknown = np.isnan(members).any(axis=0)
    shares = np.empty((levels.size, *members.shape[1:]), np.float32)
    for k, level in enumerate(levels.astype(np.float32)):
        shares[k] = (members >= level).mean(axis=0, dtype=np.float32)
    shares[:, unknown] = np.nan
    return shares
