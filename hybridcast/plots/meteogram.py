"""What a forecast says at one place, lead time by lead time, and how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.field import crs_of, metres_per_cell
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.errors import InputError
from hybridcast.plots import parts
from hybridcast.plots.colours import RAIN_COLOURS, RATE_STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How far around the point (m) the range of the forecast is looked for: rain that is a little off is no surprise.
AROUND = 10_000.0
STEP = "#2f80cc"
SEEN = "#202020"
#: Beside the panel: inside it, it would hide what is said.
LEGEND = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "fontsize": "small", "frameon": False}


class Place(NamedTuple):
    """A cell of a grid."""

    row: int
    column: int
    name: str


def plot_meteogram(
    forecast: xr.Dataset,
    observed: xr.DataArray | None = None,
    *,
    x: float | None = None,
    y: float | None = None,
    longitude: float | None = None,
    latitude: float | None = None,
) -> Figure:
    """Draw the forecast at one place: the rate with its range around, the chances, and what came if that is known.

    Parameters
    ----------
    forecast
        As in `plot_forecast`; with ``probability_of_exceedance`` there is a second panel, in which the height of each
        band is the chance that its rate is reached.
    observed
        Rain rate on the same grid, dims ``(time, y, x)``; its times up to the last lead time are drawn, those before
        the issue time too (an hour of them at most).
    x, y
        The place in the units of the grid; or instead
    longitude, latitude
        in degrees. The nearest cell is shown.

    Raises
    ------
    InputError
        If the place is not given in one of the two ways, lies outside the grid, or the grid's own place is not
        known; and as in `plot_forecast`.

    Examples
    --------
    >>> plot_meteogram(forecast, observed, longitude=24.94, latitude=60.17)  # doctest: +SKIP
    """
    rain = parts.check_forecast(forecast, observed)
    place = place_of(forecast, x=x, y=y, longitude=longitude, latitude=latitude)
    with_chances = PROBABILITY in forecast
    figure = parts.new_figure((8.4, 5.0 if with_chances else 3.2))
    panels = figure.subplots(1 + with_chances, 1, squeeze=False, sharex=True)[:, 0]
    _draw_rates(panels[0], rain, observed, place)
    if with_chances:
        _draw_chances(panels[1], forecast[PROBABILITY], place)
    panels[-1].set_xlabel("minutes after the issue time")
    panels[-1].set_xlim(panels[0].get_xlim()[0], minutes_of(rain)[-1] + 2)
    figure.suptitle(f"{parts.issue_title(rain)}\nat {place.name}", fontsize="medium")
    return figure


def place_of(
    grid: xr.Dataset | xr.DataArray,
    *,
    x: float | None,
    y: float | None,
    longitude: float | None,
    latitude: float | None,
) -> Place:
    """Find the cell at x and y (units of the grid), or at longitude and latitude; or raise `InputError`."""
    both = (x is not None and y is not None, longitude is not None and latitude is not None)
    given = sum(value is not None for value in (x, y, longitude, latitude))
    if given != 2 or not any(both):
        found = f"x={x}, y={y}, longitude={longitude}, latitude={latitude}"
        raise InputError(found, "a place is x and y, or longitude and latitude", "Give one of the two pairs")
    if longitude is not None and latitude is not None:
        north, east = "NS"[latitude < 0], "EW"[longitude < 0]
        name = f"{abs(latitude):.3f}° {north}, {abs(longitude):.3f}° {east}"
        x, y = _projected(grid, longitude, latitude)
    else:
        assert x is not None
        assert y is not None
        name = f"x = {x:g}°, y = {y:g}°" if parts.is_geographic(grid) else f"x = {x:,.0f} m, y = {y:,.0f} m"
    return Place(_index(grid, "y", y, name), _index(grid, "x", x, name), name)


def _projected(grid: xr.Dataset | xr.DataArray, longitude: float, latitude: float) -> tuple[float, float]:
    crs = crs_of(grid)
    if crs is None:
        raise InputError("the grid has no CRS", "degrees need a grid whose place is known", "Give the place as x and y")
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    return float(x), float(y)


def _index(grid: xr.Dataset | xr.DataArray, axis: str, value: float, name: str) -> int:
    centres = np.asarray(grid[axis].values, dtype=np.float64)
    half = abs(centres[-1] - centres[0]) / max(1, centres.size - 1) / 2
    if not centres.min() - half <= value <= centres.max() + half:
        found = f"{name} has {axis} = {value:g}"
        rule = f"the grid reaches from {centres.min() - half:g} to {centres.max() + half:g}"
        raise InputError(found, rule, "Choose a place inside")
    return int(np.abs(centres - value).argmin())


def minutes_of(rain: xr.DataArray) -> np.ndarray:
    """Return the lead times in minutes."""
    return np.asarray(rain["lead_time"].values / np.timedelta64(1, "m"), dtype=np.float64)


def _draw_rates(ax: Axes, rain: xr.DataArray, observed: xr.DataArray | None, place: Place) -> None:
    minutes = minutes_of(rain)
    here = rain.transpose("lead_time", "y", "x").values[:, place.row, place.column]
    low, high = _range_around(rain, place)
    ax.fill_between(minutes, low, high, color=STEP, alpha=0.25, lw=0, label=f"range within {AROUND / 1000:g} km")
    ax.plot(minutes, here, color=STEP, lw=2, marker="o", ms=3.5, label="forecast", clip_on=False)
    if observed is not None:
        since = (observed["time"].values - rain["reference_time"].values) / np.timedelta64(1, "m")
        shown = (since >= -60) & (since <= minutes[-1])
        seen = observed.transpose("time", "y", "x").isel(time=shown)[:, place.row, place.column].values
        ax.plot(since[shown], seen, color=SEEN, lw=1.2, marker="x", ms=4, label="observed")
    _grey_unknown(ax, minutes, np.isnan(here))
    ax.axvline(0, color="#808080", lw=1, ls=":")
    ax.set_ylabel("rate (mm h$^{-1}$)")
    ax.set_ylim(0, max(RATE_STEPS[3], 1.05 * ax.get_ylim()[1]))
    ax.grid(alpha=0.3)
    ax.legend(**LEGEND)


def _range_around(rain: xr.DataArray, place: Place) -> tuple[np.ndarray, np.ndarray]:
    """Return the 10th and 90th percentile of the forecast around a place, by lead time; NaN where all is unknown."""
    dy, dx = metres_per_cell(rain)
    rows, columns = (max(1, round(AROUND / abs(float(d)))) for d in (dy, dx[place.row]))
    part = (
        rain.transpose("lead_time", "y", "x")
        .values[
            :,
            max(0, place.row - rows) : place.row + rows + 1,
            max(0, place.column - columns) : place.column + columns + 1,
        ]
        .reshape(rain.sizes["lead_time"], -1)
    )
    known = np.isfinite(part).any(axis=1)
    bounds = np.full((2, len(part)), np.nan)
    if known.any():
        bounds[:, known] = np.nanpercentile(part[known], [10, 90], axis=1)
    return bounds[0], bounds[1]


def _draw_chances(ax: Axes, chances: xr.DataArray, place: Place) -> None:
    minutes = minutes_of(chances)
    here = chances.transpose("threshold", "lead_time", "y", "x").values[:, :, place.row, place.column]
    for rate, values in zip(chances["threshold"].values, here, strict=True):
        colour = RAIN_COLOURS[int(np.clip(np.digitize(rate, RATE_STEPS) - 1, 0, len(RAIN_COLOURS) - 1))]
        ax.fill_between(minutes, 0, 100 * values, color=colour, lw=0.8, ec="#606060", label=f"≥ {rate:g} mm/h")
    _grey_unknown(ax, minutes, np.isnan(here).all(axis=0))
    ax.set_ylim(0, 100)
    ax.set_ylabel("chance (%)")
    ax.grid(alpha=0.3)
    ax.legend(**LEGEND)


def _grey_unknown(ax: Axes, minutes: np.ndarray, unknown: np.ndarray) -> None:
    """Shade the lead times of which nothing is known, and say so."""
    if not unknown.any():
        return
    width = float(np.diff(minutes).min()) if minutes.size > 1 else 5.0
    for number, middle in enumerate(minutes[unknown]):
        label = "unknown" if number == 0 else None
        ax.axvspan(middle - width / 2, middle + width / 2, color="#cdcdcd", lw=0, zorder=0, label=label)
