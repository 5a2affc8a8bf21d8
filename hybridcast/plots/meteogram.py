"""Meteogram: the forecast at one point by lead time, with its uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyproj
import xarray as xr

from hybridcast.core.axes import nearest_turn
from hybridcast.core.field import crs_of, metres_per_cell
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY
from hybridcast.core.types import MINUTE, Doubles, Mask
from hybridcast.ensembles.products import quantiles
from hybridcast.errors import InputError
from hybridcast.plots import parts
from hybridcast.plots.colours import RAIN_COLOURS, RATE_STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RADIUS = 10_000.0
"""Half width of the window around the point from which the range of the forecast is taken, m."""
PAST_MINUTES = 60.0
"""Duration of the observation that is drawn before the issue time, min."""
FAN = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Levels of the quantiles of members whose bands are drawn, with the median between."""
FORECAST_COLOUR = "#2f80cc"
OBSERVED_COLOUR = "#202020"
#: Beside the panel, because inside it would hide a part of the lines.
_LEGEND = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "fontsize": "small", "frameon": False}


class Point(NamedTuple):
    """A cell of a grid."""

    row: int
    column: int
    name: str
    """Position as text, for titles."""


def plot_meteogram(
    forecast: xr.Dataset,
    observed: xr.DataArray | None = None,
    *,
    x: float | None = None,
    y: float | None = None,
    longitude: float | None = None,
    latitude: float | None = None,
) -> Figure:
    """Draw the forecast at one point: the rate with its range, the probabilities, and the observation.

    Parameters
    ----------
    forecast
        As in `plot_forecast`. With ``probability_of_exceedance`` there is a second panel, in which the height of each
        band is the exceedance probability of its rate. With ``precipitation_rate_ensemble`` the range is a fan of
        quantiles of the members at the point, otherwise that of the rates around it.
    observed
        Rain rate on the same grid, mm h-1, dims ``(time, y, x)``; drawn from an hour before the issue time to the last
        lead time.
    x, y
        Position in the units of the grid, instead of longitude and latitude. The nearest cell is used.
    longitude, latitude
        Position in degrees, instead of x and y.

    Raises
    ------
    InputError
        If the position is not given in one of the two ways or is outside the grid, or if it is given in degrees and the
        projection of the grid is unknown; and as in `plot_forecast`.

    Examples
    --------
    >>> plot_meteogram(forecast, observed, longitude=24.94, latitude=60.17)  # doctest: +SKIP
    """
    rain = parts.check_forecast(forecast, observed)
    point = find_point(forecast, x=x, y=y, longitude=longitude, latitude=latitude)
    has_probabilities = PROBABILITY in forecast
    figure = parts.new_figure((8.4, 5.0 if has_probabilities else 3.2))
    panels = figure.subplots(1 + has_probabilities, 1, squeeze=False, sharex=True)[:, 0]
    if ENSEMBLE in forecast:
        _draw_fan(panels[0], forecast[ENSEMBLE].isel(y=point.row, x=point.column))
    else:
        _draw_range(panels[0], rain, point)
    _draw_rates(panels[0], rain, observed, point)
    if has_probabilities:
        _draw_probabilities(panels[1], forecast[PROBABILITY], point)
    panels[-1].set_xlabel("minutes after the issue time")
    panels[-1].set_xlim(panels[0].get_xlim()[0], _lead_minutes(rain)[-1] + 2)
    figure.suptitle(f"{parts.issue_title(rain)}\nat {point.name}", fontsize="medium")
    return figure


def find_point(
    grid: xr.Dataset | xr.DataArray,
    *,
    x: float | None,
    y: float | None,
    longitude: float | None,
    latitude: float | None,
) -> Point:
    """Return the cell at x and y (in the units of the grid), or at longitude and latitude.

    Raises
    ------
    InputError
        If the position is not given in one of the two ways, is outside the grid, or cannot be projected.
    """
    both = (x is not None and y is not None, longitude is not None and latitude is not None)
    given = sum(value is not None for value in (x, y, longitude, latitude))
    if given != 2 or not any(both):
        found = f"x={x}, y={y}, longitude={longitude}, latitude={latitude}"
        raise InputError(found, "a place is x and y, or longitude and latitude", "Give one of the two pairs")
    if longitude is not None and latitude is not None:
        north, east = "NS"[latitude < 0], "EW"[longitude < 0]
        name = f"{abs(latitude):.3f}° {north}, {abs(longitude):.3f}° {east}"
        x, y = _project(grid, longitude, latitude)
    else:
        assert x is not None
        assert y is not None
        name = f"x = {x:g}°, y = {y:g}°" if parts.is_geographic(grid) else f"x = {x:,.0f} m, y = {y:,.0f} m"
    return Point(_find_cell(grid, "y", y, name), _find_cell(grid, "x", x, name), name)


def _project(grid: xr.Dataset | xr.DataArray, longitude: float, latitude: float) -> tuple[float, float]:
    crs = crs_of(grid)
    if crs is None:
        raise InputError("the grid has no CRS", "degrees need a grid whose place is known", "Give the place as x and y")
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    if crs.is_geographic:  # the grid may go on beyond the date line
        x = nearest_turn(np.asarray(x), grid["x"].values)
    return float(x), float(y)


def _find_cell(grid: xr.Dataset | xr.DataArray, axis: str, value: float, name: str) -> int:
    centres = np.asarray(grid[axis].values, dtype=np.float64)
    half = abs(centres[-1] - centres[0]) / max(1, centres.size - 1) / 2
    if not centres.min() - half <= value <= centres.max() + half:
        found = f"{name} has {axis} = {value:g}"
        rule = f"the grid reaches from {centres.min() - half:g} to {centres.max() + half:g}"
        raise InputError(found, rule, "Choose a place inside")
    return int(np.abs(centres - value).argmin())


def _lead_minutes(data: xr.DataArray) -> Doubles:
    return np.asarray(data["lead_time"].values / MINUTE, dtype=np.float64)


def _draw_range(ax: Axes, rain: xr.DataArray, point: Point) -> None:
    """Draw the range of the rates around a point."""
    low, high = _range_around(rain, point)
    label = f"range within {RADIUS / 1000:g} km"
    ax.fill_between(_lead_minutes(rain), low, high, color=FORECAST_COLOUR, alpha=0.25, lw=0, label=label)


def _draw_fan(ax: Axes, members: xr.DataArray) -> None:
    """Draw bands between quantiles of the members at a point, and their median."""
    minutes, count = _lead_minutes(members), members.sizes["realization"]
    levels = quantiles(members, FAN).values
    for k in range(len(FAN) // 2):
        label = f"{100 * FAN[k]:g} to {100 * FAN[-1 - k]:g} % of {count} members"
        low, high = levels[k], levels[-1 - k]
        ax.fill_between(minutes, low, high, color=FORECAST_COLOUR, alpha=0.18 * (1 + k), lw=0, label=label)
    ax.plot(minutes, levels[len(FAN) // 2], color=FORECAST_COLOUR, lw=1.2, ls="--", label="median of members")


def _draw_rates(ax: Axes, rain: xr.DataArray, observed: xr.DataArray | None, point: Point) -> None:
    minutes = _lead_minutes(rain)
    rates = rain.transpose("lead_time", "y", "x").values[:, point.row, point.column]
    ax.plot(minutes, rates, color=FORECAST_COLOUR, lw=2, marker="o", ms=3.5, label="forecast", clip_on=False)
    if observed is not None:
        since = (observed["time"].values - rain["reference_time"].values) / MINUTE
        shown = (since >= -PAST_MINUTES) & (since <= minutes[-1])
        truth = observed.transpose("time", "y", "x").isel(time=shown)[:, point.row, point.column].values
        ax.plot(since[shown], truth, color=OBSERVED_COLOUR, lw=1.2, marker="x", ms=4, label="observed")
    _shade_unknown(ax, minutes, np.isnan(rates))
    ax.axvline(0, color="#808080", lw=1, ls=":")
    ax.set_ylabel("rate (mm h$^{-1}$)")
    ax.set_ylim(0, max(RATE_STEPS[3], 1.05 * ax.get_ylim()[1]))
    ax.grid(alpha=0.3)
    ax.legend(**_LEGEND)


def _range_around(rain: xr.DataArray, point: Point) -> tuple[Doubles, Doubles]:
    """Return the 10th and the 90th percentile of the forecast around a point, by lead time; NaN if all is unknown."""
    dy, dx = metres_per_cell(rain)
    shape = rain.sizes["y"], rain.sizes["x"]
    steps = (np.broadcast_to(step, shape)[point.row, point.column] for step in (dy, dx))
    rows, columns = (max(1, round(RADIUS / abs(float(step)))) for step in steps)
    window = rain.transpose("lead_time", "y", "x").values[
        :,
        max(0, point.row - rows) : point.row + rows + 1,
        max(0, point.column - columns) : point.column + columns + 1,
    ]
    values = window.reshape(len(window), -1)
    known = np.isfinite(values).any(axis=1)
    bounds = np.full((2, len(values)), np.nan)
    if known.any():
        bounds[:, known] = np.nanpercentile(values[known], [10, 90], axis=1)
    return bounds[0], bounds[1]


def _draw_probabilities(ax: Axes, probabilities: xr.DataArray, point: Point) -> None:
    minutes = _lead_minutes(probabilities)
    at_point = probabilities.transpose("threshold", "lead_time", "y", "x").values[:, :, point.row, point.column]
    for rate, values in zip(probabilities["threshold"].values, at_point, strict=True):
        colour = RAIN_COLOURS[int(np.clip(np.digitize(rate, RATE_STEPS) - 1, 0, len(RAIN_COLOURS) - 1))]
        ax.fill_between(minutes, 0, 100 * values, color=colour, lw=0.8, ec="#606060", label=f"≥ {rate:g} mm/h")
    _shade_unknown(ax, minutes, np.isnan(at_point).all(axis=0))
    ax.set_ylim(0, 100)
    ax.set_ylabel("probability (%)")
    ax.grid(alpha=0.3)
    ax.legend(**_LEGEND)


def _shade_unknown(ax: Axes, minutes: Doubles, unknown: Mask) -> None:
    """Shade the lead times at which the forecast is unknown."""
    if not unknown.any():
        return
    width = float(np.diff(minutes).min()) if minutes.size > 1 else 5.0
    for number, middle in enumerate(minutes[unknown]):
        label = "unknown" if number == 0 else None
        ax.axvspan(middle - width / 2, middle + width / 2, color="#cdcdcd", lw=0, zorder=0, label=label)
