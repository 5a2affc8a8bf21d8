"""Members of an ensemble on a web map: small pictures side by side, and their rates at the samples of meteograms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.core.types import Array
from hybridcast.ensembles.one_pass import CellSamples
from hybridcast.webmap.canvas import Canvas, make_canvas
from hybridcast.webmap.pictures import RAIN, Codes, encode
from hybridcast.webmap.samples import plan_samples

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

    def draw(self, tiles: Codes) -> bytes:
        """Return the PNG of the members of one lead time from the colours of their pixels, row by row.

        `tiles` are numbers of colours of `RAIN`, shape ``(realization, row, column)``.
        """
        height, width = self.canvas.shape
        codes = np.zeros((-(-self.count // COLUMNS) * height, COLUMNS * width), np.uint8)
        for number, tile in enumerate(tiles):
            row, column = divmod(number, COLUMNS)
            codes[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
        return encode(codes, RAIN)


def plan_sheet(forecast: xr.Dataset) -> Sheet | None:
    """Return how members are drawn; None of a forecast without."""
    if ENSEMBLE not in forecast:
        return None
    return Sheet(make_canvas(forecast, TILE_PIXELS), forecast.sizes["realization"])


class MembersOnMap:
    """What a map page shows of members, taken of them while they are in memory.

    Parameters
    ----------
    forecast
        Forecast with members.
    convert
        Function of rates, such as one that rounds them as a file does.

    Raises
    ------
    InputError
        If the grid cannot be shown on a web map.
    """

    def __init__(self, forecast: xr.Dataset, convert: Callable[[Array], Array] = np.asarray) -> None:
        canvas = make_canvas(forecast, TILE_PIXELS)
        leads, count = (forecast[ENSEMBLE].sizes[dim] for dim in ("lead_time", "realization"))
        samples = plan_samples(forecast, make_canvas(forecast)).chosen
        self._cells, self._convert = canvas.cells, convert
        self._samples = CellSamples(forecast, samples, convert)
        self.tiles = np.zeros((leads, count, *canvas.shape), np.uint8)
        """Numbers of the colours of the pixels of `Sheet`, shape ``(lead_time, realization, row, column)``."""

    def take(self, lead: int, first: int, members: Array) -> None:
        """See `hybridcast.ensembles.one_pass.Use.take`."""
        rates = self._convert(members.reshape(len(members), -1)[:, self._cells])
        colours = RAIN.classify(np.where(self._cells < 0, np.float32(np.nan), rates))
        self.tiles[lead, first : first + len(members)] = colours
        self._samples.take(lead, first, members)

    @property
    def rates(self) -> Array:
        """Rates at the samples inside the grid, mm h-1, shape ``(lead_time, realization, sample)``.

        `ValueError` if not all members were shown.
        """
        return self._samples.rates
