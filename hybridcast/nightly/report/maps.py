"""Maps of the worst cases: forecast beside observation, as small pictures inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import xarray as xr
from PIL import Image

from hybridcast.core.time_steps import iso_time
from hybridcast.nightly.records import WorstCase
from hybridcast.nightly.report.formatting import format_score
from hybridcast.nightly.series import to_minutes
from hybridcast.plots import render_field

MAX_CELLS = 420
"""Maximum number of cells on the longer side of a map, which fills half a phone or a third of a screen."""


@dataclass(frozen=True)
class MapPicture:
    """A picture and its presentation."""

    source: str
    """The picture as a ``data:`` URL."""
    ratio: str
    """Width / height, for CSS."""
    description: str
    """Description for people who cannot see the picture."""


@dataclass(frozen=True)
class MapPair:
    """Forecast and observation of a worst case."""

    title: str
    score: str
    extent: str
    """Size of the map as text."""
    forecast: MapPicture
    observed: MapPicture


def draw_worst_cases(cases: tuple[WorstCase, ...]) -> list[MapPair]:
    """Draw the maps of the worst cases."""
    return [_draw_pair(case) for case in cases]


def _draw_pair(case: WorstCase) -> MapPair:
    lead = to_minutes(case.lead_time)
    valid = case.issue_time + case.lead_time
    _, (west, east, south, north), stretch = render_field(case.observed, MAX_CELLS)
    unit = " km" if stretch == 1.0 else "°"
    return MapPair(
        title=f"{case.nowcaster}, issued {_format_time(case.issue_time)}, lead time {lead:g} min, "
        f"valid {_format_time(valid)}",
        score=format_score(case.score),
        extent=f"{_format_length(east - west)}{unit} by {_format_length(north - south)}{unit}, north is up",
        forecast=_draw_map(case.forecast, "forecast"),
        observed=_draw_map(case.observed, "observed"),
    )


def _draw_map(field: xr.DataArray, name: str) -> MapPicture:
    colours, (west, east, south, north), stretch = render_field(field, MAX_CELLS)
    image = Image.fromarray(np.ascontiguousarray(colours[::-1, :, :3])).convert("P", palette=Image.Palette.ADAPTIVE)
    data = io.BytesIO()
    image.save(data, format="png", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
    return MapPicture(source, f"{east - west:.5g} / {stretch * (north - south):.5g}", _describe(field, name))


def _describe(field: xr.DataArray, name: str) -> str:
    values = field.values[np.isfinite(field.values)]
    text = f"{name}: {100 * values.size / max(field.size, 1):.0f} % of the map is known"
    if not values.size:
        return text
    return f"{text}, rain on {100 * (values >= 0.1).mean():.0f} % of that, at most {values.max():.3g} mm/h"


def _format_time(time: np.datetime64) -> str:
    return iso_time(time).replace("T", " ").removesuffix("Z")[:16]


def _format_length(length: float) -> str:
    return f"{length:.0f}" if length >= 20 else f"{length:.1f}"
