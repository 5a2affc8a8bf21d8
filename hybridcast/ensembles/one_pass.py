"""Members that are made once for several uses.

Members are lazy, and to make them costs more than most of what is made of them. While those of a lead time are in
memory for one use, such as writing a file, `hand_on` shows them to others, which take what they need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.core.types import Array

_DIMS = ("realization", "lead_time", "y", "x")


class Use(Protocol):
    """What is shown members, in any order, each once."""

    def take(self, lead: int, first: int, members: Array) -> None:
        """Take what is needed of some members at one lead time.

        Parameters
        ----------
        lead
            Number of the lead time.
        first
            Number of the first of these members.
        members
            mm h-1, shape ``(realization, y, x)``; not to be kept, nor changed.
        """
        ...


class CellSamples:
    """The rates of members at some cells.

    Parameters
    ----------
    forecast
        Forecast with members.
    cells
        Numbers of the cells, row times the number of columns plus column, shape ``(cell,)``.
    convert
        Function of rates, such as one that rounds them as a file does.
    """

    def __init__(
        self, forecast: xr.Dataset, cells: NDArray[np.integer], convert: Callable[[Array], Array] = np.asarray
    ) -> None:
        leads, count = (forecast[ENSEMBLE].sizes[dim] for dim in ("lead_time", "realization"))
        self.cells, self._convert = cells, convert
        self._rates = np.empty((leads, count, cells.size), np.float32)
        self._taken = np.zeros((leads, count), bool)

    def take(self, lead: int, first: int, members: Array) -> None:
        """See `Use.take`."""
        some = slice(first, first + len(members))
        self._rates[lead, some] = self._convert(members.reshape(len(members), -1)[:, self.cells])
        self._taken[lead, some] = True

    @property
    def rates(self) -> Array:
        """mm h-1, shape ``(lead_time, realization, cell)``; `ValueError` if not all members were shown."""
        if not self._taken.all():
            raise ValueError(f"{np.count_nonzero(~self._taken)} of {self._taken.size} fields of members were not shown")
        return self._rates


def hand_on(forecast: xr.Dataset, uses: Sequence[Use]) -> xr.Dataset:
    """Return a forecast whose lazy members are shown to `uses` when they are computed.

    Compute each member once, as `hybridcast.save_forecast` does.

    Parameters
    ----------
    forecast
        Forecast with members.
    uses
        What the members are shown to, one lead time after the other.
    """
    if not uses:
        return forecast
    members = forecast[ENSEMBLE].transpose(*_DIMS)
    lazy = members.chunk({"lead_time": 1, "y": -1, "x": -1})

    def show(values: Array, block_info: Any = None) -> Array:
        (first, _), (lead, _), *_ = block_info[0]["array-location"]
        for use in uses:
            use.take(lead, first, values[:, 0])
        return values

    shown = lazy.data.map_blocks(show, dtype=lazy.dtype, meta=np.empty((0,) * 4, lazy.dtype))
    return forecast.assign({ENSEMBLE: members.copy(data=shown)})


def show_all(forecast: xr.Dataset, uses: Sequence[Use]) -> None:
    """Compute the members of a forecast, one lead time after the other, for `uses` alone."""
    members = forecast[ENSEMBLE].transpose(*_DIMS)
    for lead in range(members.sizes["lead_time"]):
        rates = members.isel(lead_time=lead).values
        for use in uses:
            use.take(lead, 0, rates)
