"""Maps of the worst cases: forecast beside observation, as small pictures inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import xarray as xr
from PIL import Image

from hybridcast.core.field import iso_time
from hybridcast.nightly.records import WorstCase
from hybridcast.nightly.series import minutes_of
from hybridcast.plots import picture

#: No map has more cells on its longer side: it is shown on half a phone or a third of a screen.
MOST_CELLS = 420


@dataclass(frozen=True)
class Map:
    """One picture and how it is shown."""

    source: str
    """As a ``data:`` URL."""
    ratio: str
    """Width by height, for CSS."""
    words: str
    """What it shows, for who cannot see it."""


@dataclass(frozen=True)
class Pair:
    """A worst case."""

    title: str
    score: str
    extent: str
    forecast: Map
    observed: Map


def pairs(cases: tuple[WorstCase, ...]) -> list[Pair]:
    """Draw the worst cases."""
    return [_pair(case) for case in cases]


def _pair(case: WorstCase) -> Pair:
    lead = minutes_of(case.lead_time)
    valid = case.issue_time + case.lead_time
    _, (west, east, south, north), stretch = picture(case.observed, MOST_CELLS)
    unit = " km" if stretch == 1.0 else "°"
    return Pair(
        title=f"{case.nowcaster}, issued {_time(case.issue_time)}, {lead:g} min ahead, valid {_time(valid)}",
        score=f"{case.score:.2f}" if np.isfinite(case.score) else "–",
        extent=f"{_short(east - west)}{unit} by {_short(north - south)}{unit}, north is up",
        forecast=_map(case.forecast, "forecast"),
        observed=_map(case.observed, "observed"),
    )


def _map(field: xr.DataArray, name: str) -> Map:
    colours, (west, east, south, north), stretch = picture(field, MOST_CELLS)
    image = Image.fromarray(np.ascontiguousarray(colours[::-1, :, :3])).convert("P", palette=Image.Palette.ADAPTIVE)
    data = io.BytesIO()
    image.save(data, format="png", optimize=True)
    values = field.values
    seen = np.isfinite(values)
    wet = float((values[seen] >= 0.1).mean()) if seen.any() else np.nan
    words = f"{name}: {100 * seen.mean():.0f} % of the map is known" + (
        f", rain on {100 * wet:.0f} % of that, at most {np.nanmax(values):.3g} mm/h" if seen.any() else ""
    )
    source = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
    return Map(source, f"{east - west:.5g} / {stretch * (north - south):.5g}", words)


def _time(time: np.datetime64) -> str:
    return iso_time(time).replace("T", " ").removesuffix("Z")[:16]


def _short(length: float) -> str:
    return f"{length:.0f}" if length >= 20 else f"{length:.1f}"
