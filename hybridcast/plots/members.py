"""Members of an ensemble side by side, beside the observation and the deterministic field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from hybridcast.ensembles.products import select_rain
from hybridcast.errors import InputError
from hybridcast.plots import parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
"""Number of panels in a row."""
MEMBERS = 6
"""Number of members that are drawn by default."""


def plot_members(
    forecast: xr.Dataset,
    observed: xr.DataArray | None = None,
    *,
    lead_time: np.timedelta64 | None = None,
    count: int = MEMBERS,
    coast: bool = True,
) -> Figure:
    """Draw the first members of an ensemble at one lead time, after the observation and the deterministic field.

    Parameters
    ----------
    forecast
        As in `plot_forecast`, with ``precipitation_rate_ensemble``, dims ``(realization, lead_time, y, x)``.
    observed
        Rain rate on the same grid, mm h-1, dims ``(time, y, x)``; the first panel is its frame at the valid time.
    lead_time
        Lead time to draw; by default the last.
    count
        Number of members; all of them if there are fewer.
    coast
        As in `plot_precipitation`.

    Raises
    ------
    InputError
        If the forecast has no members, or `count` is below 1; and as in `plot_forecast`.

    Examples
    --------
    >>> plot_members(forecast, observed, lead_time=np.timedelta64(60, "m"))  # doctest: +SKIP
    """
    if count < 1:
        raise InputError(f"count = {count}", "at least one member is drawn", "Give, e.g., count=6")
    rain = parts.check_forecast(forecast, observed)
    lead = parts.select_leads(rain, None if lead_time is None else [lead_time])[-1]
    rate = rain.sel(lead_time=lead)
    members = select_rain(forecast).sel(lead_time=lead).isel(realization=slice(0, count)).compute()
    others = 1 if observed is None else 2
    figure, panels = _new_panels(rate, members.sizes["realization"] + others)
    if observed is not None:
        parts.draw_observed(panels[0], observed, rate, coast=coast)
        panels[0].set_title("observed", fontsize="medium")
    parts.draw_field(panels[others - 1], rate, coast=coast)
    is_mean = rate.attrs.get("cell_methods") == "realization: mean"
    panels[others - 1].set_title("mean of the members" if is_mean else "deterministic field", fontsize="medium")
    for ax, member in zip(panels[others:], members.transpose("realization", ...), strict=True):
        parts.draw_field(ax, member, coast=coast)
        ax.set_title(f"member {int(member['realization'])}", fontsize="medium")
    _label_outer(panels)
    figure.suptitle(f"{parts.issue_title(rate)}\n{parts.lead_title(rate)}")
    parts.draw_key(figure, panels)
    return figure


def _new_panels(rate: xr.DataArray, count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels in rows of `COLUMNS`."""
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = parts.new_figure(parts.figure_size(rate, columns, rows))
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _label_outer(panels: list[Axes]) -> None:
    """Label the axes at the left, and those with no panel below."""
    for k, ax in enumerate(panels):
        if k % COLUMNS:
            ax.set_ylabel("")
        if k + COLUMNS < len(panels):
            ax.set_xlabel("")
        ax.tick_params(labelleft=k % COLUMNS == 0, labelbottom=k + COLUMNS >= len(panels))
