"""Parts of figures: figures without pyplot, axes on a field's own grid, colour bars and titles."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.extras import extra
from hybridcast.core.field import RATE, check_same_grid, crs_of
from hybridcast.core.files import atomic_write
from hybridcast.core.types import MINUTE, Doubles, LeadTimes
from hybridcast.ensembles.products import select_rain
from hybridcast.errors import InputError
from hybridcast.plots.coast import Extent, find_outlines
from hybridcast.plots.colours import (
    PROBABILITY_COLOURS,
    PROBABILITY_STEPS,
    RAIN_COLOURS,
    RATE_STEPS,
    palette,
    probability_colours,
    rain_colours,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MAX_CELLS = 1000
"""Approximate number of cells a side to which larger fields are thinned; no panel has more pixels."""
NOTEBOOK_DPI = 65
"""Resolution of figures in a notebook, pixels per inch; low, because they are stored in it."""
ARROWS = 12
"""Number of motion arrows in a row."""
PANELS = 4
"""Number of lead times that are drawn by default."""
COAST_COLOUR = "#505050"


# --- a figure -------------------------------------------------------------------------------------------------


def new_figure(size: tuple[float, float]) -> Figure:
    """Return an empty figure of this size in inches, which needs no display."""
    with extra("plot", "a figure"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    FigureCanvasAgg(figure)
    figure._repr_png_ = partial(_to_png, figure)  # type: ignore[attr-defined]  # shown by a notebook, without pyplot
    return figure


def _to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=NOTEBOOK_DPI)
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path, *, dpi: float = 130) -> Path:
    """Write a figure to a file (PNG, PDF or SVG by its suffix) that appears, or changes, only when it is complete.

    Examples
    --------
    >>> save_figure(plot_precipitation(field), "field.png")  # doctest: +SKIP
    """
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=dpi)
    return Path(path).expanduser()


def figure_size(field: xr.DataArray, columns: int, rows: int) -> tuple[float, float]:
    """Return the size of a figure (inches) with panels of the field's shape, a colour bar and titles."""
    _, (west, east, south, north), stretch = render_field(field)
    aspect = float(np.clip(stretch * (north - south) / (east - west), 0.35, 2.5))
    width = {1: 5.2, 2: 4.6}.get(columns, 3.4)
    return columns * width + 1.6, rows * (width - 0.3) * aspect + 1.4


# --- a map ----------------------------------------------------------------------------------------------------


def draw_field(ax: Axes, field: xr.DataArray, *, is_probability: bool = False, coast: bool = True) -> AxesImage:
    """Draw a field of rain rate, or of a probability, with coastlines and borders."""
    colours, extent, stretch = render_field(field, is_probability=is_probability)
    image = ax.imshow(colours, extent=extent, origin="lower", interpolation="nearest", aspect=stretch)
    geographic = is_geographic(field)
    for axis, name in (("x", "longitude"), ("y", "latitude")):
        getattr(ax, f"set_{axis}label")(f"{name} (°)" if geographic else f"{axis} (km)")
    ax.tick_params(labelsize="small")
    ax.locator_params(nbins=5)
    ax.ticklabel_format(style="plain", useOffset=False)
    if coast:
        _draw_coast(ax, field, extent, 1.0 if geographic else 1000.0)
    return image


def _draw_coast(ax: Axes, field: xr.DataArray, extent: Extent, unit: float) -> None:
    from matplotlib.collections import LineCollection

    west, east, south, north = (edge * unit for edge in extent)
    lines = find_outlines(crs_of(field), (west, east, south, north))
    if lines:
        collection = LineCollection([line / unit for line in lines], colors=COAST_COLOUR, linewidths=0.6, label="coast")
        ax.add_collection(collection, autolim=False)


def render_field(
    field: xr.DataArray, max_cells: int = MAX_CELLS, *, is_probability: bool = False
) -> tuple[NDArray[np.uint8], Extent, float]:
    """Return a field as an image, with its extent and the stretch of y.

    Parameters
    ----------
    field
        Rain rate, mm h-1, dims ``(y, x)``, as `plot_precipitation` takes it; or a probability, 0 to 1.
    max_cells
        Maximum number of cells on the longer side; a larger field is thinned.
    is_probability
        Whether the field is a probability.

    Returns
    -------
    tuple
        Colours as those of `rain_colours`, from south to north and from west to east; west, east, south and north edge
        in km or degrees; and the drawn length of a unit of y relative to that of x.

    Raises
    ------
    InputError
        If `field` has other dims than y and x.
    """
    if set(field.dims) != {"y", "x"}:
        found, rule = f"the field has the dims {field.dims}", "a picture shows the dims y and x"
        raise InputError(found, rule, "Select one time, or one lead time")
    thin = max(1, -(-max(field.sizes["y"], field.sizes["x"]) // max_cells))
    thinned = field.isel(y=slice(thin // 2, None, thin), x=slice(thin // 2, None, thin)).transpose("y", "x")
    south, north, upwards = _edges(thinned["y"].values, field["y"].values)
    west, east, eastwards = _edges(thinned["x"].values, field["x"].values)
    values = thinned.values[:: 1 if upwards else -1, :: 1 if eastwards else -1]
    colours = probability_colours(values) if is_probability else rain_colours(values)
    if is_geographic(field):
        stretch = 1.0 / max(0.1, float(np.cos(np.deg2rad((south + north) / 2))))
        return colours, (west, east, south, north), stretch
    return colours, (west / 1000, east / 1000, south / 1000, north / 1000), 1.0


def _edges(thinned: NDArray[Any], centres: NDArray[Any]) -> tuple[float, float, bool]:
    """Return the outer edges of the thinned cells, and whether their centres increase."""
    width = abs(float(thinned[-1] - thinned[0])) / (thinned.size - 1) if thinned.size > 1 else _total_width(centres)
    return float(thinned.min()) - width / 2, float(thinned.max()) + width / 2, bool(thinned[-1] >= thinned[0])


def _total_width(centres: NDArray[Any]) -> float:
    return abs(float(centres[1] - centres[0])) * centres.size if centres.size > 1 else 1.0


def is_geographic(field: xr.DataArray | xr.Dataset) -> bool:
    """Return whether the grid is in degrees instead of metres."""
    crs = crs_of(field)
    return crs.is_geographic if crs is not None else str(field["x"].attrs.get("units", "")).startswith("degree")


def draw_observed(ax: Axes, observed: xr.DataArray, rate: xr.DataArray, *, coast: bool = True) -> None:
    """Draw the observation at the valid time of one lead time of a forecast; grey and a word where there is none."""
    truth = select_observed(observed, rate)
    draw_field(ax, xr.full_like(rate, np.nan) if truth is None else truth, coast=coast)
    if truth is None:
        ax.text(0.5, 0.5, "not observed", transform=ax.transAxes, ha="center", va="center", color="#404040")


def draw_motion(ax: Axes, motion: xr.Dataset, *, key: bool) -> None:
    """Draw `u` and `v` (m s-1, dims y and x), if present, as arrows; `key` adds a key of their length."""
    if not {"u", "v"} <= set(motion.variables) or set(motion["u"].dims) != {"y", "x"}:
        return
    from matplotlib.patheffects import withStroke

    step = max(1, max(motion.sizes["y"], motion.sizes["x"]) // ARROWS)
    shown = motion[["u", "v"]].isel(y=slice(step // 2, None, step), x=slice(step // 2, None, step)).transpose("y", "x")
    unit = 1.0 if is_geographic(motion) else 1000.0
    x, y, u, v = shown["x"].values / unit, shown["y"].values / unit, shown["u"].values, shown["v"].values
    speed = max(1.0, float(np.nanpercentile(np.hypot(u, v), 90)) if np.isfinite(u).any() else 1.0)
    arrows = ax.quiver(x, y, u, v, color="#202020", pivot="mid", scale=speed * ARROWS * 1.1, width=0.003)
    arrows.set_path_effects([withStroke(linewidth=1.6, foreground="white")])  # visible on dark rain too
    if key:
        rounded = float(f"{speed:.1g}")
        ax.quiverkey(
            arrows,
            0.97,
            1.02,
            rounded,
            f"{rounded:g} m/s",
            labelpos="W",
            labelsep=0.06,
            fontproperties={"size": "small"},
        )


def draw_key(figure: Figure, panels: list[Axes], *, threshold: float | None = None) -> None:
    """Add the colour bar and the legend of white and grey, of rain rate or of the probability of `threshold`."""
    from matplotlib.patches import Patch

    if threshold is None:
        colours, white = _draw_rate_bar(figure, panels), f"dry (below {RATE_STEPS[0]:g} mm/h)"
    else:
        colours, white = _draw_probability_bar(figure, panels, threshold), f"below {PROBABILITY_STEPS[0]:.0%}"
    patches = [
        Patch(facecolor=colour, edgecolor="#808080", label=label)
        for label, colour in ((white, colours[0]), ("unknown (outside radar coverage)", colours[-1]))
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    figure.draw_without_rendering()  # the first layout does not know yet how wide the tick labels are


def _draw_rate_bar(figure: Figure, panels: list[Axes]) -> Doubles:
    """Draw the colour bar of rain rate, and return the palette."""
    from matplotlib.colors import ListedColormap

    colours = palette(RAIN_COLOURS) / 255.0
    colormap = ListedColormap(colours[1:-2]).with_extremes(over=colours[-2])
    labels = [f"{edge:g}" for edge in RATE_STEPS]
    _draw_bar(figure, panels, colormap, RATE_STEPS, labels, extend="max", label="precipitation rate (mm h$^{-1}$)")
    return colours


def _draw_probability_bar(figure: Figure, panels: list[Axes], threshold: float) -> Doubles:
    """Draw the colour bar of probability, and return the palette."""
    from matplotlib.colors import ListedColormap

    colours = palette(PROBABILITY_COLOURS) / 255.0
    edges = (*PROBABILITY_STEPS, 1.0)
    label = f"probability of {threshold:g} mm h$^{{-1}}$ or more"
    labels = [f"{edge:.0%}" for edge in edges]
    _draw_bar(figure, panels, ListedColormap(colours[1:-1]), edges, labels, extend="neither", label=label)
    return colours


def _draw_bar(
    figure: Figure,
    panels: list[Axes],
    colormap: Colormap,
    edges: Sequence[float],
    labels: list[str],
    *,
    extend: str,
    label: str,
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm

    scale = ScalarMappable(BoundaryNorm(edges, len(edges) - 1), colormap)
    bar = figure.colorbar(scale, ax=panels, extend=extend, ticks=edges, fraction=0.05, pad=0.015, aspect=25)
    bar.ax.set_yticklabels(labels)
    bar.set_label(label)


# --- selections and titles ------------------------------------------------------------------------------------


def check_forecast(forecast: xr.Dataset, observed: xr.DataArray | None, realization: int | None = None) -> xr.DataArray:
    """Return the rain rate of a forecast, after checking the forecast and the grid of the observation.

    With `realization` it is that of one member, in memory.

    Raises
    ------
    InputError
        If the forecast lacks the rain rate, its time of issue or the member, or `observed` is on another grid.
    """
    if RATE not in forecast or set(forecast[RATE].dims) != {"lead_time", "y", "x"}:
        found = f"it has {list(forecast.data_vars)} with dims {dict(forecast.sizes)}"
        rule = f"a forecast has the variable {RATE!r} with dims lead_time, y and x"
        raise InputError(found, rule, "Pass a forecast of hybridcast")
    if "reference_time" not in forecast.coords:
        rule = "a forecast has its time of issue"
        raise InputError("there is no coordinate 'reference_time'", rule, "Add it with .assign_coords(...)")
    if observed is not None:
        check_same_grid(forecast, observed, "forecast and observation")
    return forecast[RATE] if realization is None else _select_member(forecast, realization)


def _select_member(forecast: xr.Dataset, realization: int) -> xr.DataArray:
    members = select_rain(forecast)
    numbers = members["realization"].values.tolist()
    if realization not in numbers:
        found = f"realization = {realization}"
        raise InputError(found, f"the members are {numbers[0]} to {numbers[-1]}", "Choose one of them")
    return members.sel(realization=realization).compute()  # of a lazy one, all members of each lead time are made


def select_leads(rain: xr.DataArray, wanted: Sequence[np.timedelta64] | None) -> LeadTimes:
    """Return the lead times to draw; by default four, evenly spaced up to the last."""
    known = rain["lead_time"].values
    if wanted is None:
        count = min(PANELS, known.size)
        return cast("LeadTimes", known[np.linspace(0, known.size, count + 1)[1:].round().astype(int) - 1])
    chosen = np.asarray(wanted, dtype=known.dtype)
    unknown = [format_minutes(lead) for lead in chosen if lead not in known]
    if unknown or not chosen.size:
        rule = f"the forecast reaches from +{format_minutes(known[0])} to +{format_minutes(known[-1])} min"
        raise InputError(f"lead times asked for: {unknown} min", rule, "Choose among forecast['lead_time']")
    return cast("LeadTimes", chosen)


def valid_time(rate: xr.DataArray) -> np.datetime64:
    """Return the valid time of one lead time of a forecast."""
    if "time" in rate.coords:
        return cast(np.datetime64, rate["time"].values)
    return cast(np.datetime64, rate["reference_time"].values + rate["lead_time"].values)


def select_observed(observed: xr.DataArray, rate: xr.DataArray) -> xr.DataArray | None:
    """Return the observed frame at the valid time of one lead time; None if there is none."""
    found = np.flatnonzero(observed["time"].values == valid_time(rate))
    return observed.isel(time=int(found[0])) if found.size else None


def lead_title(rate: xr.DataArray) -> str:
    """Return the lead time and the valid time as a title."""
    valid, issued = as_datetime(valid_time(rate)), as_datetime(rate["reference_time"].values)
    day = "" if valid.date() == issued.date() else f"{valid:%d %b} "
    return f"+{format_minutes(rate['lead_time'].values)} min, {day}{valid:%H:%M} UTC"


def issue_title(rain: xr.DataArray) -> str:
    """Return the time of issue as a title, with the number of the member if the rain is that of one."""
    issued = f"Precipitation forecast issued {as_datetime(rain['reference_time'].values):%Y-%m-%d %H:%M} UTC"
    one = "realization" in rain.coords and not rain["realization"].ndim
    return f"{issued}, member {int(rain['realization'])}" if one else issued


def as_datetime(time: Any) -> datetime:
    """Return a numpy time as a Python datetime."""
    return cast(datetime, np.asarray(time).astype("datetime64[s]").item())


def format_minutes(lead: Any) -> str:
    """Return a lead time in minutes as text."""
    return f"{lead / MINUTE:g}"
