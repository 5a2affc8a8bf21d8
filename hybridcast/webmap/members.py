"""Members of an ensemble on a web map: small pictures side by side, and their rates at the samples of meteograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.core.types import Array
from hybridcast.webmap.canvas import Canvas, make_canvas
from hybridcast.webmap.pictures import RAIN, encode

TILE_PIXELS = 180
"""Largest number of pixels on a side of the picture of a member."""
COLUMNS = 5


@dataclass(frozen=True, eq=False)
class Sheet:
    """A picture with one tile for each member."""

    canvas: Canvas
    """Pixels of a tile."""
    count: int
    """Number of members."""

    def to_json(self) -> dict[str, Any]:
        """Return what a browser needs to know."""
        height, width = self.canvas.shape
        return {"count": self.count, "columns": COLUMNS, "width": width, "height": height}

    def draw(self, members: Array) -> bytes:
        """Return the PNG of the members of one lead time, shape ``(realization, y, x)``, row by row."""
        height, width = self.canvas.shape
        cells = self.canvas.cells
        values = np.where(cells < 0, np.float32(np.nan), members.reshape(self.count, -1)[:, cells])
        codes = np.zeros((-(-self.count // COLUMNS) * height, COLUMNS * width), np.uint8)
        for number, tile in enumerate(RAIN.classify(values)):
            row, column = divmod(number, COLUMNS)
            codes[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
        return encode(codes, RAIN)


def plan_sheet(forecast: xr.Dataset) -> Sheet | None:
    """Return how members are drawn; None of a forecast without."""
    if ENSEMBLE not in forecast:
        return None
    return Sheet(make_canvas(forecast, TILE_PIXELS), forecast.sizes["realization"])


def draw_and_sample(forecast: xr.Dataset, sheet: Sheet, chosen: NDArray[np.int32], files: Sequence[Path]) -> Array:
    """Write the picture of the members of each lead time, and return their rates at cells.

    Members are computed once, lead time by lead time.

    Parameters
    ----------
    forecast
        Forecast with members.
    sheet
        As `plan_sheet` returns it.
    chosen
        Numbers of the cells, shape ``(cell,)``.
    files
        File of the picture of each lead time.

    Returns
    -------
    ndarray
        mm h-1, shape ``(lead_time, realization, cell)``.
    """
    members = forecast[ENSEMBLE].transpose("realization", "lead_time", "y", "x")
    count, leads = members.shape[:2]
    found = np.empty((leads, count, chosen.size), np.float32)
    for lead, file in enumerate(files):
        rates = members.isel(lead_time=lead).values
        found[lead] = rates.reshape(count, -1)[:, chosen]
        file.write_bytes(sheet.draw(rates))
    return found
