"""Maps: one field, motion, a forecast beside what was observed, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import xarray as xr

from hybridcast.core.field import check_same_grid
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.errors import InputError
from hybridcast.plots import parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTLINE_BLOCKS = 200  # on the longer side


def plot_precipitation(
    field: xr.DataArray, ax: Axes | None = None, *, title: str | None = None, coast: bool = True
) -> Figure:
    """Draw one field of rain rate on its own projection.

    Parameters
    ----------
    field
        mm h-1, dims ``(y, x)``, with coordinates in metres of a projection or in degrees, y in either direction.
    ax
        Where to draw. By default a new figure with a colour bar and a legend.
    title
        By default the time of `field`, if it has one.
    coast
        Whether to draw coastlines and borders, where cartopy is installed and the place is known.

    Returns
    -------
    Figure
        The figure; its map is ``figure.axes[0]``.

    Raises
    ------
    InputError
        If `field` has other dims than y and x.

    Examples
    --------
    >>> field = xr.DataArray(np.zeros((3, 4)), coords={"y": [0, 1000, 2000], "x": [0, 1000, 2000, 3000]},
    ...                      dims=("y", "x"))
    >>> plot_precipitation(field).axes[0].get_xlabel()
    'x (km)'
    """
    own = ax is None
    if ax is None:
        ax = parts.new_figure(parts.size_of(field, 1, 1)).add_subplot()
    parts.draw(ax, field, coast=coast)
    ax.set_title(_time_title(field) if title is None else title)
    figure = cast("Figure", ax.figure)
    if own:
        parts.explain(figure, [ax])
    return figure


def plot_motion(
    motion: xr.Dataset, field: xr.DataArray | None = None, *, title: str | None = None, coast: bool = True
) -> Figure:
    """Draw motion as arrows over the rain that moves.

    Parameters
    ----------
    motion
        `u` and `v` in m s-1, dims ``(y, x)``, as `estimate_motion` gives it.
    field
        Rain rate in mm h-1 on the same grid, dims ``(y, x)``; by default nothing is under the arrows.
    title
        By default the time of `field`, if it has one.
    coast
        As in `plot_precipitation`.

    Raises
    ------
    InputError
        If `motion` has no u and v, or `field` is on another grid.

    Examples
    --------
    >>> plot_motion(estimate_motion(radar), radar[-1])  # doctest: +SKIP
    """
    if not {"u", "v"} <= set(motion.data_vars) or set(motion["u"].dims) != {"y", "x"}:
        found = f"it has {list(motion.data_vars)}"
        raise InputError(found, "motion has u and v with dims y and x", "Use estimate_motion(recent)")
    if field is not None:
        check_same_grid(motion, field, "motion and field")
    under = xr.zeros_like(motion["u"]) if field is None else field
    ax = parts.new_figure(parts.size_of(under, 1, 1)).add_subplot()
    parts.draw(ax, under, coast=coast)
    parts.draw_motion(ax, motion, key=True)
    default = "Motion" if field is None else f"Motion, {_time_title(field)}".rstrip(", ")
    ax.set_title(default if title is None else title, loc="left")
    figure = cast("Figure", ax.figure)
    if field is not None:
        parts.explain(figure, [ax])
    return figure


def plot_forecast(
    forecast: xr.Dataset,
    observed: xr.DataArray | None = None,
    *,
    lead_times: Sequence[np.timedelta64] | None = None,
    coast: bool = True,
) -> Figure:
    """Draw a forecast at some lead times, and under it what was observed then.

    Parameters
    ----------
    forecast
        Variable ``precipitation_rate`` in mm h-1, dims ``(lead_time, y, x)``, scalar coordinate ``reference_time``.
        If it has ``u`` and ``v`` (m s-1, dims ``(y, x)``), they are drawn as arrows.
    observed
        Rain rate on the same grid, dims ``(time, y, x)``; a valid time that it lacks gives an empty panel.
    lead_times
        Which to draw; by default four, evenly spaced and up to the last.
    coast
        As in `plot_precipitation`.

    Raises
    ------
    InputError
        If `forecast` lacks a variable or a lead time that is asked for, or `observed` is on another grid.

    Examples
    --------
    >>> figure = plot_forecast(forecast, observed)  # doctest: +SKIP
    >>> save_figure(figure, "forecast.png")  # doctest: +SKIP
    """
    rain = parts.check_forecast(forecast, observed)
    chosen = parts.chosen_leads(rain, lead_times)
    rows = 1 if observed is None else 2
    figure = parts.new_figure(parts.size_of(rain.isel(lead_time=0), len(chosen), rows))
    panels = figure.subplots(rows, len(chosen), squeeze=False, sharex=True, sharey=True)
    for i, lead in enumerate(chosen):
        now = rain.sel(lead_time=lead)
        parts.draw(panels[0, i], now, coast=coast)
        parts.draw_motion(panels[0, i], forecast, key=False)
        panels[0, i].set_title(parts.lead_title(now), fontsize="medium")
        if observed is not None:
            _draw_observed(panels[1, i], observed, now, coast)
    _name_rows(panels, ("forecast", "observed") if observed is not None else ())
    figure.suptitle(parts.issue_title(rain))
    parts.explain(figure, list(panels.flat))
    return figure


def plot_probability(
    forecast: xr.Dataset,
    observed: xr.DataArray | None = None,
    *,
    threshold: float = 1.0,
    lead_times: Sequence[np.timedelta64] | None = None,
    coast: bool = True,
) -> Figure:
    """Draw the probability that `threshold` is reached at some lead times, and around it where it then was.

    Parameters
    ----------
    forecast
        What a trained model gives: ``probability_of_exceedance``, dims ``(threshold, lead_time, y, x)``.
    observed
        Rain rate on the same grid, dims ``(time, y, x)``: a line is drawn around what reached `threshold`.
    threshold
        mm h-1, one of those of `forecast`.
    lead_times
        Which to draw; by default four, evenly spaced and up to the last.
    coast
        As in `plot_precipitation`.

    Raises
    ------
    InputError
        If `forecast` has no probabilities, or not of `threshold`; and as in `plot_forecast`.

    Examples
    --------
    >>> plot_probability(forecast, observed, threshold=5.0)  # doctest: +SKIP
    """
    rain = parts.check_forecast(forecast, observed)
    chance = select_probability(forecast, threshold)
    chosen = parts.chosen_leads(rain, lead_times)
    figure = parts.new_figure(parts.size_of(rain.isel(lead_time=0), len(chosen), 1))
    panels = figure.subplots(1, len(chosen), squeeze=False, sharex=True, sharey=True)
    for ax, lead in zip(panels[0], chosen, strict=True):
        now = rain.sel(lead_time=lead)
        parts.draw(ax, chance.sel(lead_time=lead), probability=True, coast=coast)
        ax.set_title(parts.lead_title(now), fontsize="medium")
        seen = None if observed is None else parts.at_same_time(observed, now)
        if seen is not None:
            _outline(ax, seen, threshold)
    _name_rows(panels, ())
    around = "" if observed is None else "\nline: where it then was so, smoothed"
    figure.suptitle(f"{parts.issue_title(rain)}: chance of {threshold:g} mm/h or more{around}", fontsize="medium")
    parts.explain(figure, list(panels.flat), threshold=threshold)
    return figure


def select_probability(forecast: xr.Dataset, threshold: float) -> xr.DataArray:
    """Return the probability of one threshold (mm h-1), dims ``(lead_time, y, x)``; `InputError` if it has none."""
    if PROBABILITY not in forecast:
        found = f"the forecast has {list(forecast.data_vars)}"
        raise InputError(found, f"{PROBABILITY} comes from a trained model", "Forecast with nowcaster='default'")
    known = forecast["threshold"].values
    near = np.flatnonzero(np.isclose(known, threshold))
    if not near.size:
        found = f"threshold = {threshold:g} mm/h"
        rule = f"the forecast has {', '.join(f'{value:g}' for value in known)}"
        raise InputError(found, rule, "Choose one of these, or forecast with thresholds=[...]")
    return forecast[PROBABILITY].isel(threshold=int(near[0]))


def _outline(ax: Axes, seen: xr.DataArray, threshold: float) -> None:
    """Draw a line around the blocks most of which reached the threshold: around single cells it would be a scrawl."""
    unit = 1.0 if parts.is_geographic(seen) else 1000.0
    block = max(1, max(seen.sizes.values()) // OUTLINE_BLOCKS)
    reached = (seen >= threshold).where(seen.notnull()).transpose("y", "x")
    few = reached.coarsen(y=block, x=block, boundary="trim").mean().fillna(0.0)
    if float(few.min()) < 0.5 <= float(few.max()) and min(few.shape) > 1:
        ax.contour(few["x"] / unit, few["y"] / unit, few.values, levels=[0.5], colors="#b3123f", linewidths=1.0)


def _draw_observed(ax: Axes, observed: xr.DataArray, forecast: xr.DataArray, coast: bool) -> None:
    seen = parts.at_same_time(observed, forecast)
    parts.draw(ax, xr.full_like(forecast, np.nan) if seen is None else seen, coast=coast)
    if seen is None:
        ax.text(0.5, 0.5, "not observed", transform=ax.transAxes, ha="center", va="center", color="#404040")


def _name_rows(panels: np.ndarray, names: Sequence[str]) -> None:
    """Name what is only at the left and at the bottom, with the names of the rows."""
    for ax in panels.flat:
        ax.label_outer()
    for ax, name in zip(panels[:, 0], names, strict=False):
        ax.set_ylabel(f"{name}\n{ax.get_ylabel()}")


def _time_title(field: xr.DataArray) -> str:
    if "time" not in field.coords or field["time"].ndim:
        return ""
    return f"{parts.as_datetime(field['time'].values):%Y-%m-%d %H:%M} UTC"


__all__ = ["plot_forecast", "plot_motion", "plot_precipitation", "plot_probability", "select_probability"]
