"""Maps of a field, of motion, of a forecast beside the observation, and of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import check_same_grid
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.errors import InputError
from hybridcast.plots import parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTLINE_BLOCKS = 200
"""Number of blocks on the longer side of the field from which outlines are drawn."""


def plot_precipitation(
    field: xr.DataArray, ax: Axes | None = None, *, title: str | None = None, coast: bool = True
) -> Figure:
    """Draw a field of rain rate on its own projection.

    Parameters
    ----------
    field
        Rain rate, mm h-1, dims ``(y, x)``, with coordinates in metres of a projection or in degrees; y may increase or
        decrease.
    ax
        Axes to draw on; by default those of a new figure with a colour bar and a legend.
    title
        Title; by default the time of `field`, if it has one.
    coast
        Whether to draw coastlines and borders, if the projection is known.

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
        ax = parts.new_figure(parts.figure_size(field, 1, 1)).add_subplot()
    parts.draw_field(ax, field, coast=coast)
    ax.set_title(_format_time(field) if title is None else title)
    figure = cast("Figure", ax.figure)
    if own:
        parts.draw_key(figure, [ax])
    return figure


def plot_motion(
    motion: xr.Dataset, field: xr.DataArray | None = None, *, title: str | None = None, coast: bool = True
) -> Figure:
    """Draw motion as arrows over the rain.

    Parameters
    ----------
    motion
        Dataset with `u` and `v`, m s-1, dims ``(y, x)``, as `estimate_motion` returns it.
    field
        Rain rate under the arrows, mm h-1, on the same grid, dims ``(y, x)``; by default none.
    title
        Title; by default the time of `field`, if it has one.
    coast
        As in `plot_precipitation`.

    Raises
    ------
    InputError
        If `motion` lacks u or v, or `field` is on another grid.

    Examples
    --------
    >>> plot_motion(estimate_motion(radar), radar[-1])  # doctest: +SKIP
    """
    if not {"u", "v"} <= set(motion.data_vars) or set(motion["u"].dims) != {"y", "x"}:
        found = f"it has {list(motion.data_vars)}"
        raise InputError(found, "motion has u and v with dims y and x", "Use estimate_motion(recent)")
    if field is not None:
        check_same_grid(motion, field, "motion and field")
    background = xr.zeros_like(motion["u"]) if field is None else field
    ax = parts.new_figure(parts.figure_size(background, 1, 1)).add_subplot()
    parts.draw_field(ax, background, coast=coast)
    parts.draw_motion(ax, motion, key=True)
    default = "Motion" if field is None else f"Motion, {_format_time(field)}".rstrip(", ")
    ax.set_title(default if title is None else title, loc="left")
    figure = cast("Figure", ax.figure)
    if field is not None:
        parts.draw_key(figure, [ax])
    return figure


def plot_forecast(
    forecast: xr.Dataset,
    observed: xr.DataArray | None = None,
    *,
    lead_times: Sequence[np.timedelta64] | None = None,
    realization: int | None = None,
    coast: bool = True,
) -> Figure:
    """Draw a forecast at some lead times, with the observation below it.

    Parameters
    ----------
    forecast
        Dataset with ``precipitation_rate``, mm h-1, dims ``(lead_time, y, x)``, and the scalar coordinate
        ``reference_time``. Its ``u`` and ``v`` (m s-1, dims ``(y, x)``), if present, are drawn as arrows.
    observed
        Rain rate on the same grid, mm h-1, dims ``(time, y, x)``; the panel of a valid time without a frame is empty.
    lead_times
        Lead times to draw; by default four, evenly spaced up to the last.
    realization
        Number of a member to draw instead of the deterministic field.
    coast
        As in `plot_precipitation`.

    Raises
    ------
    InputError
        If `forecast` lacks a variable, one of the lead times or the member, or `observed` is on another grid.

    Examples
    --------
    >>> figure = plot_forecast(forecast, observed)  # doctest: +SKIP
    >>> save_figure(figure, "forecast.png")  # doctest: +SKIP
    """
    rain = parts.check_forecast(forecast, observed, realization)
    leads = parts.select_leads(rain, lead_times)
    rows = 1 if observed is None else 2
    figure = parts.new_figure(parts.figure_size(rain.isel(lead_time=0), len(leads), rows))
    panels = figure.subplots(rows, len(leads), squeeze=False, sharex=True, sharey=True)
    for i, lead in enumerate(leads):
        rate = rain.sel(lead_time=lead)
        parts.draw_field(panels[0, i], rate, coast=coast)
        parts.draw_motion(panels[0, i], forecast, key=False)
        panels[0, i].set_title(parts.lead_title(rate), fontsize="medium")
        if observed is not None:
            parts.draw_observed(panels[1, i], observed, rate, coast=coast)
    _label_rows(panels, ("forecast", "observed") if observed is not None else ())
    figure.suptitle(parts.issue_title(rain))
    parts.draw_key(figure, list(panels.flat))
    return figure


def plot_probability(
    forecast: xr.Dataset,
    observed: xr.DataArray | None = None,
    *,
    threshold: float = 1.0,
    lead_times: Sequence[np.timedelta64] | None = None,
    coast: bool = True,
) -> Figure:
    """Draw the probability to reach a threshold at some lead times, with an outline of the observed area.

    Parameters
    ----------
    forecast
        Forecast from a trained model, with ``probability_of_exceedance``, dims ``(threshold, lead_time, y, x)``.
    observed
        Rain rate on the same grid, mm h-1, dims ``(time, y, x)``; the area that reaches `threshold` is outlined.
    threshold
        Rate threshold, mm h-1, one of those of `forecast`.
    lead_times
        Lead times to draw; by default four, evenly spaced up to the last.
    coast
        As in `plot_precipitation`.

    Raises
    ------
    InputError
        If `forecast` has no probabilities of `threshold`; and as in `plot_forecast`.

    Examples
    --------
    >>> plot_probability(forecast, observed, threshold=5.0)  # doctest: +SKIP
    """
    rain = parts.check_forecast(forecast, observed)
    probability = select_probability(forecast, threshold)
    leads = parts.select_leads(rain, lead_times)
    figure = parts.new_figure(parts.figure_size(rain.isel(lead_time=0), len(leads), 1))
    panels = figure.subplots(1, len(leads), squeeze=False, sharex=True, sharey=True)
    for ax, lead in zip(panels[0], leads, strict=True):
        rate = rain.sel(lead_time=lead)
        parts.draw_field(ax, probability.sel(lead_time=lead), is_probability=True, coast=coast)
        ax.set_title(parts.lead_title(rate), fontsize="medium")
        truth = None if observed is None else parts.select_observed(observed, rate)
        if truth is not None:
            _outline(ax, truth, threshold)
    _label_rows(panels, ())
    outline = "" if observed is None else "\nline: observed, smoothed"
    title = f"{parts.issue_title(rain)}: probability of {threshold:g} mm/h or more{outline}"
    figure.suptitle(title, fontsize="medium")
    parts.draw_key(figure, list(panels.flat), threshold=threshold)
    return figure


def select_probability(forecast: xr.Dataset, threshold: float) -> xr.DataArray:
    """Return the probability to reach one threshold (mm h-1), dims ``(lead_time, y, x)``.

    Raises
    ------
    InputError
        If the forecast has no probabilities of this threshold.
    """
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


def _outline(ax: Axes, rate: xr.DataArray, threshold: float) -> None:
    """Draw a line around the area that reaches the threshold, in blocks: around single cells it would be a scrawl."""
    unit = 1.0 if parts.is_geographic(rate) else 1000.0
    block = max(1, max(rate.sizes.values()) // OUTLINE_BLOCKS)
    reached = (rate >= threshold).where(rate.notnull()).transpose("y", "x")
    fraction = reached.coarsen(y=block, x=block, boundary="trim").mean().fillna(0.0)
    if float(fraction.min()) < 0.5 <= float(fraction.max()) and min(fraction.shape) > 1:
        x, y = fraction["x"] / unit, fraction["y"] / unit
        ax.contour(x, y, fraction.values, levels=[0.5], colors="#b3123f", linewidths=1.0)


def _label_rows(panels: NDArray[Any], names: Sequence[str]) -> None:
    """Label the axes at the left and at the bottom only, with the names of the rows."""
    for ax in panels.flat:
        ax.label_outer()
    for ax, name in zip(panels[:, 0], names, strict=False):
        ax.set_ylabel(f"{name}\n{ax.get_ylabel()}")


def _format_time(field: xr.DataArray) -> str:
    if "time" not in field.coords or field["time"].ndim:
        return ""
    return f"{parts.as_datetime(field['time'].values):%Y-%m-%d %H:%M} UTC"
