"""What is made of a forecast: its file, and pictures of it.

A product is a function that writes files into the folder of a forecast. Another one is an entry of `PRODUCTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import xarray as xr

from hybridcast.core.forecast_files import Packing, save_forecast
from hybridcast.core.forecast_schema import PROBABILITY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hybridcast.watch.config import WatchSettings

FORMATS = ("forecast.zarr", "forecast.nc")
"""Names of the file of a forecast."""


def write_file(forecast: xr.Dataset, settings: WatchSettings, folder: Path) -> None:
    """Write the forecast itself, with its members."""
    save_forecast(forecast, folder / settings.file, packing=cast(Packing, settings.packing))


def write_pictures(forecast: xr.Dataset, settings: WatchSettings, folder: Path) -> None:
    """Draw the pictures that are asked for; those of probabilities only if the nowcaster gives any."""
    from hybridcast.plots import save_figure

    for name in settings.pictures:
        if name == "probabilities" and PROBABILITY not in forecast:
            continue
        save_figure(PICTURES[name](forecast, settings), folder / f"{name}.png")


PRODUCTS: dict[str, Callable[[xr.Dataset, Any, Path], None]] = {"file": write_file, "pictures": write_pictures}
"""Functions that write products, by the name of the stage, in order."""


def _draw_maps(forecast: xr.Dataset, settings: WatchSettings) -> Figure:
    from hybridcast.plots import plot_forecast

    return plot_forecast(forecast)


def _draw_probabilities(forecast: xr.Dataset, settings: WatchSettings) -> Figure:
    from hybridcast.plots import plot_probability

    thresholds = forecast["threshold"].values
    middle = float(min(thresholds, key=lambda threshold: abs(threshold - 1.0)))
    return plot_probability(forecast, threshold=middle)


def _draw_members(forecast: xr.Dataset, settings: WatchSettings) -> Figure:
    from hybridcast.plots import plot_members

    return plot_members(forecast)


def _draw_motion(forecast: xr.Dataset, settings: WatchSettings) -> Figure:
    from hybridcast.plots import plot_motion

    return plot_motion(forecast)


PICTURES: dict[str, Callable[[xr.Dataset, Any], Figure]] = {
    "maps": _draw_maps,
    "probabilities": _draw_probabilities,
    "members": _draw_members,
    "motion": _draw_motion,
}
"""Pictures by name."""
