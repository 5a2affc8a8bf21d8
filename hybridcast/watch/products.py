"""What is made of a forecast: its file, what it says of places, the warnings there, and pictures.

A product is a function that writes files into the folder of a forecast, and returns notes of what it had to leave out.
Another one is an entry of `PRODUCTS`. Members are made once, while the file is written (`Work`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import xarray as xr

from hybridcast.core.forecast_files import Packing, round_probabilities, round_rates, save_forecast
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY
from hybridcast.core.parallel import describe_error
from hybridcast.ensembles.one_pass import CellSamples, hand_on
from hybridcast.errors import HybridcastError, InputError
from hybridcast.nightly.config import load_places
from hybridcast.places import WarningState, at_places, write_places
from hybridcast.watch.json_files import read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hybridcast.watch.config import WatchSettings
    from hybridcast.watch.forecasts import Order
    from hybridcast.webmap.forecast_folder import PlacesOnMap
    from hybridcast.webmap.members import MembersOnMap

FORMATS = ("forecast.zarr", "forecast.nc")
"""Names of the file of a forecast."""
MAP = "map"
"""Folder of what the map page shows of a forecast."""
PLACES_FILES = ("csv", "json", "parquet")
"""Kinds of files of what a forecast says of places."""


_Taken = TypeVar("_Taken")


@dataclass
class Work:
    """What products are made of, and what is taken of the members while the file is written."""

    forecast: xr.Dataset
    radar: xr.DataArray
    order: Order
    at_places: CellSamples | None = None
    """Members at the places of the region."""
    on_map: MembersOnMap | None = None
    """Members that the map page shows, with the numbers of the file."""
    failed: dict[str, Exception] = field(default_factory=dict)
    """Why nothing could be planned to be taken of the members for a product, by its name."""

    def plan(self, product: str, make: Callable[[], _Taken]) -> _Taken | None:
        """Return what takes the members for a product; None if it cannot be made, which holds up no other product."""
        try:
            return make()
        except Exception as error:
            self.failed[product] = error
            return None

    def check_plan(self, product: str) -> None:
        """Raise the error because of which nothing was taken for a product."""
        if product in self.failed:
            raise self.failed[product]

    @cached_property
    def rounded(self) -> xr.Dataset:
        """The forecast with the probabilities of its file."""
        return round_probabilities(self.forecast)


def write_file(work: Work) -> list[str]:
    """Write the forecast itself, with its members, which are made once: other products take then what they need."""
    watch = work.order.region.watch
    packing = cast(Packing, watch.packing)
    work.at_places = work.plan("places", partial(_plan_places, work))
    work.on_map = work.plan("map", partial(_plan_map, work, packing))
    uses = [use for use in (work.at_places, work.on_map) if use is not None]
    save_forecast(hand_on(work.rounded, uses), work.order.folder / watch.file, packing=packing)
    return []


def _plan_places(work: Work) -> CellSamples | None:
    """Return what takes the members at places; None if none are needed."""
    from hybridcast.places.series import plan_samples

    path = work.order.region.region.places
    return None if path is None else plan_samples(work.forecast, load_places(path))


def _plan_map(work: Work, packing: Packing) -> MembersOnMap | None:
    """Return what takes the members for the map; None if none are needed."""
    from hybridcast.webmap.members import MembersOnMap

    if not work.order.region.watch.map or ENSEMBLE not in work.forecast:
        return None
    return MembersOnMap(work.forecast, partial(round_rates, packing=packing))


def write_at_places(work: Work) -> list[str]:
    """Write what the forecast says of the places of the region, and what it does to the warnings there.

    Places that cannot be read any more, or not be placed on the grid, keep no forecast from being made: it is made
    without them, and warnings stay as they were.
    """
    from hybridcast.watch.warnings import decide_warnings  # which needs the settings, and they the names above

    order = work.order
    if order.region.region.places is None:
        return []
    try:
        work.check_plan("places")
        places = load_places(order.region.region.places)
        table = at_places(work.forecast, places, radar=work.radar, members=work.at_places)
    except (HybridcastError, OSError) as error:
        return [f"places: {error}"]
    decide_warnings(table, order.warnings, order.folder)
    for suffix in order.region.watch.places_files:
        write_places(table, order.folder / f"places.{suffix}")
    return _note_blind_places(table)


UNSEEN, UNANSWERED = "places: unknown at every lead time", "places: no lead time tells"
"""How notes begin on places that the radar does not see, and on levels that no lead time reaches."""


def _note_blind_places(table: xr.Dataset) -> list[str]:
    """Return notes on the places and levels of which the forecast says nothing, so that no warning can be raised."""
    names, levels = table["place"].values, table["level"].values
    unknown = (table["known_fraction"] == 0).all("lead_time").values
    notes = []
    if unknown.any():
        listed = ", ".join(map(str, names[unknown]))
        notes.append(f"{UNSEEN}, outside the grid or what the radar sees: {listed}")
    exists = np.isfinite(table["level_threshold"].transpose("place", "level").values)
    unanswered = exists & (table["level_known"].transpose("place", "level").values == 0) & ~unknown[:, None]
    for level in np.flatnonzero(unanswered.any(axis=0)):
        listed = ", ".join(map(str, names[unanswered[:, level]]))
        notes.append(f"{UNANSWERED} of the level {str(levels[level])!r} (lead_time, step): {listed}")
    return notes


def write_pictures(work: Work) -> list[str]:
    """Draw the pictures that are asked for; those of probabilities only if the nowcaster gives any."""
    from hybridcast.plots import save_figure

    watch = work.order.region.watch
    for name in watch.pictures:
        if name == "probabilities" and PROBABILITY not in work.forecast:
            continue
        save_figure(PICTURES[name](work.forecast, watch), work.order.folder / f"{name}.png")
    return []


def write_map_page(work: Work) -> list[str]:
    """Write what the map page shows of the forecast, and the page itself in the folder of the region.

    A grid that no web map can show keeps no forecast from being made.
    """
    from hybridcast.webmap.forecast_folder import write_forecast_folder
    from hybridcast.webmap.page_folder import PageSettings, write_page

    order, watch = work.order, work.order.region.watch
    if not watch.map:
        return []
    folder = order.folder / MAP
    folder.mkdir()
    try:
        work.check_plan("map")
        canvas = write_forecast_folder(
            work.rounded,
            folder,
            radar=work.radar,
            places=_read_products(order),
            title=order.region.name,
            members=work.on_map,
        )
    except BaseException as error:  # half a map is none
        shutil.rmtree(folder)
        if isinstance(error, InputError) and not is_of_the_disk(error):
            return [f"map: {error}"]
        raise
    alert = float(order.region.duration("alert_age") / np.timedelta64(1, "m"))
    settings = PageSettings(watch.map_tiles, watch.map_attribution, alert)
    write_page(order.region.folder, canvas, settings)
    return []


def _read_products(order: Order) -> PlacesOnMap | None:
    """Return the places with what was written of them before, and the warnings there; None without."""
    from hybridcast.watch.warnings import DECIDED
    from hybridcast.webmap.forecast_folder import PlacesOnMap

    written = read_json(order.folder / "places.json")
    if written is None or order.region.region.places is None:
        return None
    decided = read_json(order.folder / DECIDED)
    state = order.warnings if decided is None else WarningState.from_json(decided["state"])
    return PlacesOnMap(load_places(order.region.region.places), written["places"], state)


PRODUCTS: dict[str, Callable[[Work], list[str]]] = {
    "file": write_file,
    "places": write_at_places,
    "pictures": write_pictures,
    "map": write_map_page,
}
"""Functions that write products, by the name of the stage, in order; the file is the first."""
ESSENTIAL = ("file",)
"""Products without which there is no forecast."""
ALONGSIDE = ("pictures",)
"""Products that take nothing of others, and are made while the file is written."""


def write_product(name: str, work: Work) -> list[str]:
    """Write a product, and return what was left out.

    An error that is not of the disk would come again: then the forecast goes without the product, unless that is
    essential, and the warnings and the other products are there in time.
    """
    try:
        return PRODUCTS[name](work)
    except Exception as error:
        if name in ESSENTIAL or is_of_the_disk(error):
            raise
        return [f"{name}: {describe_error(error)}"]


def is_of_the_disk(error: BaseException | None) -> bool:
    """Return whether an error comes from the system, such as a full disk, at whatever distance.

    A file that cannot be read, or a download that fails, does not: it would be tried again for ever.
    """
    if error is None:
        return False
    is_of_the_system = isinstance(error, OSError) and not isinstance(error, HybridcastError)
    return is_of_the_system or is_of_the_disk(error.__cause__)


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
