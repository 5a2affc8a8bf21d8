"""What pictures are made of: figures without pyplot, axes on a field's own grid, colour bars, titles."""

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

from hybridcast.core.field import RATE, check_same_grid, crs_of
from hybridcast.core.files import atomic_write
from hybridcast.errors import InputError
from hybridcast.plots.coast import outlines
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
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

#: Larger fields are thinned to about this many cells a side: no panel has more pixels.
MAX_CELLS = 1000
#: Pixels an inch of what a notebook shows; small enough to be kept in it.
NOTEBOOK_DPI = 65
ARROWS = 12  # a row
PANELS = 4
LINE = "#505050"
Extent = tuple[float, float, float, float]


# --- a figure -------------------------------------------------------------------------------------------------


def new_figure(size: tuple[float, float]) -> Figure:
    """Return an empty figure of that size in inches, which is drawn on no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    FigureCanvasAgg(figure)
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]  # what a notebook shows, without pyplot
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=NOTEBOOK_DPI)
    return buffer.getvalue()


def save_figure(figure: Figure, path: str | Path, *, dpi: float = 130) -> Path:
    """Write `figure` to `path` (PNG, PDF, SVG by its suffix), which appears, or changes, only when it is complete.

    Examples
    --------
    >>> save_figure(plot_precipitation(field), "field.png")  # doctest: +SKIP
    """
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, dpi=dpi)
    return Path(path).expanduser()


def size_of(field: xr.DataArray, columns: int, rows: int) -> tuple[float, float]:
    """Return a figure size (inches) that fits panels of the field's shape, colour bar and titles included."""
    _, (west, east, south, north), stretch = render_field(field)
    tall = float(np.clip(stretch * (north - south) / (east - west), 0.35, 2.5))
    width = {1: 5.2, 2: 4.6}.get(columns, 3.4)
    return columns * width + 1.6, rows * (width - 0.3) * tall + 1.4


# --- a map ----------------------------------------------------------------------------------------------------


def draw(ax: Axes, field: xr.DataArray, *, probability: bool = False, coast: bool = True) -> AxesImage:
    """Draw a field of rain rate, or of a probability, with coastlines and borders."""
    colours, extent, stretch = render_field(field, probability=probability)
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
    lines = outlines(crs_of(field), (west, east, south, north))
    if lines:
        collection = LineCollection([line / unit for line in lines], colors=LINE, linewidths=0.6, label="coast")
        ax.add_collection(collection, autolim=False)


def render_field(
    field: xr.DataArray, max_cells: int = MAX_CELLS, *, probability: bool = False
) -> tuple[NDArray[np.uint8], Extent, float]:
    """Return the colours of a field from south to north and west to east, their extent, and the stretch of y.

    Parameters
    ----------
    field
        mm h-1, dims ``(y, x)``, as `plot_precipitation` takes it; or a probability, 0 to 1.
    max_cells
        A field with more cells on its longer side is thinned.
    chance
        Whether it is a probability.

    Returns
    -------
    tuple
        Colours as of `rain_colours`; west, east, south and north edge in km or degrees; how much taller a unit of y
        is drawn than one of x.

    Raises
    ------
    InputError
        If `field` has other dims than y and x.
    """
    if set(field.dims) != {"y", "x"}:
        found, rule = f"the field has the dims {field.dims}", "a picture shows the dims y and x"
        raise InputError(found, rule, "Select one time, or one lead time")
    thin = max(1, -(-max(field.sizes["y"], field.sizes["x"]) // max_cells))
    few = field.isel(y=slice(thin // 2, None, thin), x=slice(thin // 2, None, thin)).transpose("y", "x")
    south, north, upwards = _edges(few["y"].values, field["y"].values)
    west, east, eastwards = _edges(few["x"].values, field["x"].values)
    values = few.values[:: 1 if upwards else -1, :: 1 if eastwards else -1]
    colours = probability_colours(values) if probability else rain_colours(values)
    if is_geographic(field):
        stretch = 1.0 / max(0.1, float(np.cos(np.deg2rad((south + north) / 2))))
        return colours, (west, east, south, north), stretch
    return colours, (west / 1000, east / 1000, south / 1000, north / 1000), 1.0


def _edges(few: NDArray[Any], every: NDArray[Any]) -> tuple[float, float, bool]:
    """Return the outer edges of cells with these centres, and whether the centres ascend."""
    width = abs(float(few[-1] - few[0])) / (few.size - 1) if few.size > 1 else _width(every)
    return float(few.min()) - width / 2, float(few.max()) + width / 2, bool(few[-1] >= few[0])


def _width(centres: NDArray[Any]) -> float:
    return abs(float(centres[1] - centres[0])) * centres.size if centres.size > 1 else 1.0


def is_geographic(field: xr.DataArray | xr.Dataset) -> bool:
    """Tell a grid in degrees from one in metres."""
    crs = crs_of(field)
    return crs.is_geographic if crs is not None else str(field["x"].attrs.get("units", "")).startswith("degree")


def draw_motion(ax: Axes, motion: xr.Dataset, *, key: bool) -> None:
    """Draw `u` and `v` (m s-1, dims y and x) as arrows, with a `key` to their length; nothing if they are not there."""
    if not {"u", "v"} <= set(motion.variables) or set(motion["u"].dims) != {"y", "x"}:
        return
    from matplotlib.patheffects import withStroke

    step = max(1, max(motion.sizes["y"], motion.sizes["x"]) // ARROWS)
    few = motion[["u", "v"]].isel(y=slice(step // 2, None, step), x=slice(step // 2, None, step)).transpose("y", "x")
    unit = 1.0 if is_geographic(motion) else 1000.0
    x, y, u, v = few["x"].values / unit, few["y"].values / unit, few["u"].values, few["v"].values
    speed = max(1.0, float(np.nanpercentile(np.hypot(u, v), 90)) if np.isfinite(u).any() else 1.0)
    arrows = ax.quiver(x, y, u, v, color="#202020", pivot="mid", scale=speed * ARROWS * 1.1, width=0.003)
    arrows.set_path_effects([withStroke(linewidth=1.6, foreground="white")])  # to be seen on dark rain too
    if key:
        nice = float(f"{speed:.1g}")
        ax.quiverkey(
            arrows, 0.97, 1.02, nice, f"{nice:g} m/s", labelpos="W", labelsep=0.06, fontproperties={"size": "small"}
        )


def explain(figure: Figure, panels: list[Axes], *, threshold: float | None = None) -> None:
    """Add the colour bar and what white and grey mean; of the probability of `threshold` if that is given."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Patch

    levels, steps = (
        (RATE_STEPS, RAIN_COLOURS) if threshold is None else ((*PROBABILITY_STEPS, 1.0), PROBABILITY_COLOURS)
    )
    colours = palette(steps) / 255.0
    if threshold is None:
        shown, extend = ListedColormap(colours[1:-2]).with_extremes(over=colours[-2]), "max"
        label, white = "precipitation rate (mm h$^{-1}$)", f"dry (below {RATE_STEPS[0]:g} mm/h)"
    else:
        shown, extend = ListedColormap(colours[1:-1]), "neither"
        label, white = f"probability of {threshold:g} mm h$^{{-1}}$ or more", f"below {PROBABILITY_STEPS[0]:.0%}"
    scale = ScalarMappable(BoundaryNorm(levels, len(levels) - 1), shown)
    bar = figure.colorbar(scale, ax=panels, extend=extend, ticks=levels, fraction=0.05, pad=0.015, aspect=25)
    bar.ax.set_yticklabels([f"{level:g}" if threshold is None else f"{level:.0%}" for level in levels])
    bar.set_label(label)
    patches = [
        Patch(facecolor=colour, edgecolor="#808080", label=word)
        for word, colour in ((white, colours[0]), ("unknown (not seen by radar)", colours[-1]))
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    figure.draw_without_rendering()  # the first layout does not know yet how wide the tick labels are


# --- choosing and naming --------------------------------------------------------------------------------------


def check_forecast(forecast: xr.Dataset, observed: xr.DataArray | None) -> xr.DataArray:
    """Return the rain rate of a forecast; raise `InputError` if it is none, or `observed` is on another grid."""
    if RATE not in forecast or set(forecast[RATE].dims) != {"lead_time", "y", "x"}:
        found = f"it has {list(forecast.data_vars)} with dims {dict(forecast.sizes)}"
        rule = f"a forecast has the variable {RATE!r} with dims lead_time, y and x"
        raise InputError(found, rule, "Pass what hybridcast's forecasts return")
    if "reference_time" not in forecast.coords:
        rule = "a forecast says when it was issued"
        raise InputError("there is no coordinate 'reference_time'", rule, "Add it with .assign_coords(...)")
    if observed is not None:
        check_same_grid(forecast, observed, "forecast and observation")
    return forecast[RATE]


def chosen_leads(rain: xr.DataArray, wanted: Sequence[np.timedelta64] | None) -> NDArray[Any]:
    """Return the lead times that are asked for, by default four, evenly spaced and up to the last."""
    known = rain["lead_time"].values
    if wanted is None:
        count = min(PANELS, known.size)
        return cast("NDArray[Any]", known[np.linspace(0, known.size, count + 1)[1:].round().astype(int) - 1])
    chosen = np.asarray(wanted, dtype=known.dtype)
    unknown = [minutes(lead) for lead in chosen if lead not in known]
    if unknown or not chosen.size:
        rule = f"the forecast reaches from +{minutes(known[0])} to +{minutes(known[-1])} min"
        raise InputError(f"lead times asked for: {unknown} min", rule, "Choose among forecast['lead_time']")
    return chosen


def valid_time(now: xr.DataArray) -> np.datetime64:
    """Return the valid time of one lead time."""
    if "time" in now.coords:
        return cast(np.datetime64, now["time"].values)
    return cast(np.datetime64, now["reference_time"].values + now["lead_time"].values)


def at_same_time(observed: xr.DataArray, now: xr.DataArray) -> xr.DataArray | None:
    """Return what was observed at the valid time of `now`, None if nothing was."""
    found = np.flatnonzero(observed["time"].values == valid_time(now))
    return observed.isel(time=int(found[0])) if found.size else None


def lead_title(now: xr.DataArray) -> str:
    """Say which lead time it is, and when that is."""
    valid, issued = as_datetime(valid_time(now)), as_datetime(now["reference_time"].values)
    day = "" if valid.date() == issued.date() else f"{valid:%d %b} "
    return f"+{minutes(now['lead_time'].values)} min, {day}{valid:%H:%M} UTC"


def issue_title(rain: xr.DataArray) -> str:
    """Say what it is and when it was issued."""
    return f"Precipitation forecast issued {as_datetime(rain['reference_time'].values):%Y-%m-%d %H:%M} UTC"


def as_datetime(time: Any) -> datetime:
    """Return a numpy time as one of Python."""
    return cast(datetime, np.asarray(time).astype("datetime64[s]").item())


def minutes(lead: Any) -> str:
    """Return a lead time in minutes."""
    return f"{lead / np.timedelta64(60, 's'):g}"
