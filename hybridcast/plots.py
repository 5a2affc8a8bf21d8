"""Pictures of precipitation: one field, a forecast beside what was observed, and a film of it.

Colours say the same everywhere: white is dry (below 0.1 mm/h), grey is unknown (outside coverage), and ten steps from
light to dark, which stay in order for the colour-blind and on a grey printer, are rain. Figures are made without
pyplot, so nothing here touches the state of a notebook or needs a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.errors import InputError
from hybridcast.field import NAME, check_same_grid, crs_of
from hybridcast.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = [
    "LEVELS",
    "animate_forecast",
    "colour_key",
    "picture",
    "plot_forecast",
    "plot_precipitation",
    "rain_colours",
    "save_figure",
]

#: Edges of the colour steps, mm h-1; below the first it is dry, above the last there is one more step.
LEVELS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
DRY = (255, 255, 255, 255)
UNKNOWN = (205, 205, 205, 255)
#: Larger fields are thinned to about this many cells a side: no panel has more pixels.
MOST_CELLS = 1000
ARROWS = 14  # a row
PANELS = 4


def rain_colours(rate: NDArray[Any]) -> NDArray[np.uint8]:
    """Give the colours of rain rates.

    Parameters
    ----------
    rate
        mm h-1, any shape, NaN where unknown.

    Returns
    -------
    ndarray
        Red, green, blue and opacity from 0 to 255, shape of `rate` and 4.

    Examples
    --------
    >>> rain_colours(np.array([0.0, np.nan])).tolist()
    [[255, 255, 255, 255], [205, 205, 205, 255]]
    """
    steps = np.digitize(rate, LEVELS)  # 0 dry, 1 to 10 rain; NaN sorts last
    return _palette()[np.where(np.isnan(rate), len(LEVELS) + 1, steps)]


def colour_key() -> list[tuple[str, str]]:
    """Give what each colour says and the colour, ``#rrggbb``: dry, the lower edges of the steps of rain, unknown."""
    words = [f"dry (below {LEVELS[0]:g} mm/h)", *(f"{level:g}" for level in LEVELS), "unknown"]
    return [(word, "#{:02x}{:02x}{:02x}".format(*colour)) for word, colour in zip(words, _palette(), strict=True)]


def plot_precipitation(field: xr.DataArray, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw one field of rain rate.

    Parameters
    ----------
    field
        mm h-1, dims ``(y, x)``, with coordinates in metres of a projection or in degrees, y in either direction.
    ax
        Where to draw. By default a new figure with a colour bar and a legend, which is ``result.figure``.
    title
        By default the time of `field`, if it has one.

    Raises
    ------
    InputError
        If `field` has other dims than y and x.

    Examples
    --------
    >>> field = xr.DataArray(np.zeros((3, 4)), coords={"y": [0, 1000, 2000], "x": [0, 1000, 2000, 3000]},
    ...                      dims=("y", "x"))
    >>> plot_precipitation(field).get_xlabel()
    'x (km)'
    """
    own = ax is None
    if ax is None:
        figure = _figure(_size(field, 1, 1))
        ax = figure.add_subplot()
    _draw(ax, field)
    if title is None and "time" in field.coords and field["time"].ndim == 0:
        title = f"{_datetime(field['time'].values):%Y-%m-%d %H:%M} UTC"
    ax.set_title(title or "")
    if own:
        _explain(cast("Figure", ax.figure), [ax])
    return ax


def plot_forecast(
    forecast: xr.Dataset, observed: xr.DataArray | None = None, *, lead_times: Sequence[np.timedelta64] | None = None
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

    Raises
    ------
    InputError
        If `forecast` lacks a variable or a lead time that is asked for, or `observed` is on another grid.

    Examples
    --------
    >>> figure = plot_forecast(forecast, observed)  # doctest: +SKIP
    >>> save_figure(figure, "forecast.png")  # doctest: +SKIP
    """
    rain = _check_forecast(forecast, observed)
    chosen = _choose(rain, lead_times)
    rows = 1 if observed is None else 2
    figure = _figure(_size(rain.isel(lead_time=0), len(chosen), rows))
    panels = figure.subplots(rows, len(chosen), squeeze=False, sharex=True, sharey=True)
    for i, lead in enumerate(chosen):
        now = rain.sel(lead_time=lead)
        _draw(panels[0, i], now)
        _draw_motion(panels[0, i], forecast, key=i == len(chosen) - 1)
        panels[0, i].set_title(_lead_title(now))
        if observed is not None:
            _draw_observed(panels[1, i], observed, now)
    for panel in panels.flat:
        panel.label_outer()
    if observed is not None:
        panels[0, 0].set_ylabel(f"forecast\n{panels[0, 0].get_ylabel()}")
        panels[1, 0].set_ylabel(f"observed\n{panels[1, 0].get_ylabel()}")
    figure.suptitle(_issue_title(rain))
    _explain(figure, list(panels.flat))
    return figure


def animate_forecast(
    forecast: xr.Dataset,
    path: str | Path,
    observed: xr.DataArray | None = None,
    *,
    frames_per_second: float = 4.0,
) -> Path:
    """Write a film (GIF) of a forecast, beside what was observed if that is given.

    Parameters
    ----------
    forecast, observed
        As in `plot_forecast`.
    path
        File to write; it appears, or changes, only when the film is complete.
    frames_per_second
        Lead times a second.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        As in `plot_forecast`.

    Examples
    --------
    >>> animate_forecast(forecast, "forecast.gif")  # doctest: +SKIP
    """
    from PIL import Image

    rain = _check_forecast(forecast, observed)
    columns = 1 if observed is None else 2
    figure = _figure(_size(rain.isel(lead_time=0), columns, 1))
    panels = figure.subplots(1, columns, squeeze=False, sharex=True, sharey=True)[0]
    images = [_draw(panel, rain.isel(lead_time=0)) for panel in panels]
    _draw_motion(panels[0], forecast, key=True)
    if observed is not None:
        panels[1].set_title("observed")
        panels[1].label_outer()
    panels[0].set_title(_lead_title(rain.isel(lead_time=-1)))
    figure.suptitle(_issue_title(rain))
    _explain(figure, list(panels))
    figure.set_layout_engine("none")  # what is laid out once stays where it is from frame to frame
    frames = []
    for i in range(rain.sizes["lead_time"]):
        now = rain.isel(lead_time=i)
        panels[0].set_title(_lead_title(now))
        images[0].set_data(picture(now)[0])
        if observed is not None:
            seen = _at(observed, now)
            images[1].set_data(picture(xr.full_like(now, np.nan) if seen is None else seen)[0])
            panels[1].set_title("observed" if seen is not None else "not observed")
        drawn = Image.fromarray(_pixels(figure)[..., :3])
        frames.append(drawn.quantize(128, dither=Image.Dither.NONE))  # the colours are few and flat
    milliseconds = round(1000 / frames_per_second)
    with written_whole(path) as unfinished:
        frames[0].save(unfinished, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)
    return Path(path).expanduser()


def save_figure(figure: Figure, path: str | Path, *, dpi: float = 130) -> Path:
    """Write `figure` to `path` (PNG, PDF, SVG by its suffix), which appears, or changes, only when it is complete.

    Examples
    --------
    >>> save_figure(plot_precipitation(field).figure, "field.png")  # doctest: +SKIP
    """
    with written_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=dpi)
    return Path(path).expanduser()


# --- parts of a picture ---------------------------------------------------------------------------------------


def _palette() -> NDArray[np.uint8]:
    """Give the colours of dry, the ten steps of rain, and unknown, shape ``(12, 4)``."""
    import matplotlib as mpl

    rain = mpl.colormaps["magma_r"](np.linspace(0.07, 0.97, len(LEVELS)), bytes=True)
    return np.vstack([DRY, rain, UNKNOWN]).astype(np.uint8)


def _figure(size: tuple[float, float]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    """Draw `figure` and give its pixels, red, green, blue and opacity."""
    figure.canvas.draw()
    return np.array(cast(Any, figure.canvas).buffer_rgba())


def _size(field: xr.DataArray, columns: int, rows: int) -> tuple[float, float]:
    """Give a size (inches) in which panels of the field's shape leave little white, colour bar and titles included."""
    _, (west, east, south, north), stretch = picture(field)
    tall = float(np.clip(stretch * (north - south) / (east - west), 0.35, 2.5))
    width = {1: 5.2, 2: 4.6}.get(columns, 3.4)
    return columns * width + 1.6, rows * (width - 0.3) * tall + 1.4


def _draw(ax: Axes, field: xr.DataArray) -> AxesImage:
    colours, extent, stretch = picture(field)
    image = ax.imshow(colours, extent=extent, origin="lower", interpolation="nearest", aspect=stretch)
    for axis, name in (("x", "longitude"), ("y", "latitude")):
        getattr(ax, f"set_{axis}label")(f"{name} (°)" if _is_geographic(field) else f"{axis} (km)")
    ax.tick_params(labelsize="small")
    return image


def picture(
    field: xr.DataArray, most_cells: int = MOST_CELLS
) -> tuple[NDArray[np.uint8], tuple[float, float, float, float], float]:
    """Give the colours of a field from south to north and west to east, their extent, and the stretch of y.

    Parameters
    ----------
    field
        mm h-1, dims ``(y, x)``, as `plot_precipitation` takes it.
    most_cells
        A field with more cells on its longer side is thinned.

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
    thin = max(1, -(-max(field.sizes["y"], field.sizes["x"]) // most_cells))
    few = field.isel(y=slice(thin // 2, None, thin), x=slice(thin // 2, None, thin)).transpose("y", "x")
    south, north, upwards = _edges(few["y"].values, field["y"].values)
    west, east, eastwards = _edges(few["x"].values, field["x"].values)
    values = few.values[:: 1 if upwards else -1, :: 1 if eastwards else -1]
    if _is_geographic(field):
        stretch = 1.0 / max(0.1, float(np.cos(np.deg2rad((south + north) / 2))))
        return rain_colours(values), (west, east, south, north), stretch
    return rain_colours(values), (west / 1000, east / 1000, south / 1000, north / 1000), 1.0


def _edges(few: NDArray[Any], every: NDArray[Any]) -> tuple[float, float, bool]:
    """Give the outer edges of cells with these centres, and whether the centres ascend."""
    width = abs(float(few[-1] - few[0])) / (few.size - 1) if few.size > 1 else _width(every)
    return float(few.min()) - width / 2, float(few.max()) + width / 2, bool(few[-1] >= few[0])


def _width(centres: NDArray[Any]) -> float:
    return abs(float(centres[1] - centres[0])) * centres.size if centres.size > 1 else 1.0


def _is_geographic(field: xr.DataArray | xr.Dataset) -> bool:
    crs = crs_of(field)
    return crs.is_geographic if crs is not None else str(field["x"].attrs.get("units", "")).startswith("degree")


def _draw_motion(ax: Axes, forecast: xr.Dataset, *, key: bool) -> None:
    if not {"u", "v"} <= set(forecast.variables) or forecast["u"].dims != ("y", "x"):
        return
    step = max(1, max(forecast.sizes["y"], forecast.sizes["x"]) // ARROWS)
    few = forecast[["u", "v"]].isel(y=slice(step // 2, None, step), x=slice(step // 2, None, step))
    unit = 1.0 if _is_geographic(forecast) else 1000.0
    x, y, u, v = few["x"].values / unit, few["y"].values / unit, few["u"].values, few["v"].values
    speed = max(1.0, float(np.nanpercentile(np.hypot(u, v), 90)) if np.isfinite(u).any() else 1.0)
    arrows = ax.quiver(x, y, u, v, color="#2f6f8f", pivot="mid", scale=speed * ARROWS * 1.1, width=0.004)
    if key:
        nice = float(f"{speed:.1g}")
        ax.quiverkey(arrows, 0.86, 0.05, nice, f"{nice:g} m/s", labelpos="N", fontproperties={"size": "small"})


def _draw_observed(ax: Axes, observed: xr.DataArray, forecast: xr.DataArray) -> None:
    seen = _at(observed, forecast)
    _draw(ax, xr.full_like(forecast, np.nan) if seen is None else seen)
    if seen is None:
        ax.text(0.5, 0.5, "not observed", transform=ax.transAxes, ha="center", va="center", color="#404040")


def _explain(figure: Figure, panels: list[Axes]) -> None:
    """Add the colour bar and what white and grey mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Patch

    palette = _palette() / 255.0
    colours = ListedColormap(palette[1:-2]).with_extremes(over=palette[-2])
    scale = ScalarMappable(BoundaryNorm(LEVELS, len(LEVELS) - 1), colours)
    bar = figure.colorbar(scale, ax=panels, extend="max", ticks=LEVELS, fraction=0.05, pad=0.015, aspect=25)
    bar.ax.set_yticklabels([f"{level:g}" for level in LEVELS])
    bar.set_label("precipitation rate (mm h$^{-1}$)")
    keys = (("dry (below 0.1 mm/h)", palette[0]), ("unknown", palette[-1]))
    patches = [Patch(facecolor=colour, edgecolor="#808080", label=label) for label, colour in keys]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    figure.draw_without_rendering()  # the first layout does not know yet how wide the tick labels are


# --- choosing and naming --------------------------------------------------------------------------------------


def _check_forecast(forecast: xr.Dataset, observed: xr.DataArray | None) -> xr.DataArray:
    if NAME not in forecast or set(forecast[NAME].dims) != {"lead_time", "y", "x"}:
        found = f"it has {list(forecast.data_vars)} with dims {dict(forecast.sizes)}"
        rule = f"a forecast has the variable {NAME!r} with dims lead_time, y and x"
        raise InputError(found, rule, "Pass what hybridcast's forecasts return")
    if "reference_time" not in forecast.coords:
        rule = "a forecast says when it was issued"
        raise InputError("there is no coordinate 'reference_time'", rule, "Add it with .assign_coords(...)")
    if observed is not None:
        check_same_grid(forecast, observed, "forecast and observation")
    return forecast[NAME]


def _choose(rain: xr.DataArray, wanted: Sequence[np.timedelta64] | None) -> NDArray[Any]:
    known = rain["lead_time"].values
    if wanted is None:
        count = min(PANELS, known.size)
        return cast("NDArray[Any]", known[np.linspace(0, known.size, count + 1)[1:].round().astype(int) - 1])
    chosen = np.asarray(wanted, dtype=known.dtype)
    unknown = [_minutes(lead) for lead in chosen if lead not in known]
    if unknown or not chosen.size:
        rule = f"the forecast reaches from +{_minutes(known[0])} to +{_minutes(known[-1])} min"
        raise InputError(f"lead times asked for: {unknown} min", rule, "Choose among forecast['lead_time']")
    return chosen


def _valid_time(now: xr.DataArray) -> np.datetime64:
    if "time" in now.coords:
        return cast(np.datetime64, now["time"].values)
    return cast(np.datetime64, now["reference_time"].values + now["lead_time"].values)


def _at(observed: xr.DataArray, now: xr.DataArray) -> xr.DataArray | None:
    """Give what was observed at the valid time of `now`, None if nothing was."""
    found = np.flatnonzero(observed["time"].values == _valid_time(now))
    return observed.isel(time=int(found[0])) if found.size else None


def _lead_title(now: xr.DataArray) -> str:
    valid, issued = _datetime(_valid_time(now)), _datetime(now["reference_time"].values)
    day = "" if valid.date() == issued.date() else f"{valid:%d %b} "
    return f"+{_minutes(now['lead_time'].values)} min, valid {day}{valid:%H:%M} UTC"


def _issue_title(rain: xr.DataArray) -> str:
    return f"Precipitation forecast issued {_datetime(rain['reference_time'].values):%Y-%m-%d %H:%M} UTC"


def _datetime(time: Any) -> datetime:
    return cast(datetime, np.asarray(time).astype("datetime64[s]").item())


def _minutes(lead: Any) -> str:
    return f"{lead / np.timedelta64(60, 's'):g}"
