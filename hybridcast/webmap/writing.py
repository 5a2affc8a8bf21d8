"""A map page of one forecast."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import xarray as xr

from hybridcast.core.files import atomic_folder
from hybridcast.core.time_steps import iso_time
from hybridcast.errors import InputError
from hybridcast.places import Place, WarningState, at_places, read_places, update_warnings
from hybridcast.places.tables import to_objects
from hybridcast.webmap.forecast_folder import FORECAST, PlacesOnMap, write_forecast_folder
from hybridcast.webmap.frames import get_issue_time
from hybridcast.webmap.latest import Latest, read_latest, show_forecast
from hybridcast.webmap.page_folder import PageSettings, write_page

DATA = "map"
"""Folder of the forecasts' pictures in that of a page."""


def write_map(
    forecast: xr.Dataset,
    folder: str | Path,
    *,
    radar: xr.DataArray | None = None,
    places: Any = None,
    title: str = "",
    file: str | Path | None = None,
    settings: PageSettings | None = None,
) -> Path:
    """Write a map page of a forecast; one that is there shows the new forecast then, also where it is open.

    Parameters
    ----------
    forecast
        As `hybridcast.forecast` returns it; with ``members=20`` the page has meteograms with their spread.
    folder
        Folder of the page; made if it does not exist.
    radar
        Precipitation field on the same grid, mm h-1, of which the last hour before the issue time is shown.
    places
        Places to show, as `hybridcast.at_places` takes them.
    title
        Name of the region.
    file
        File of the forecast, for the API of ``hybridcast serve``, if it is in the folder of the page.
    settings
        Choices of the operator, such as map tiles.

    Returns
    -------
    Path
        The file to open in a browser.

    Raises
    ------
    InputError
        If the grid cannot be shown on a web map, `radar` is on another grid, or the folder cannot be made.

    Examples
    --------
    >>> write_map(forecast(radar, members=20), "out", radar=radar)  # doctest: +SKIP
    """
    folder = _make_folder(Path(folder).expanduser())
    shown = None if places is None else _describe_places(forecast, places, radar)
    issue_time = iso_time(get_issue_time(forecast))
    data = folder / DATA / re.sub(r"[-:]", "", issue_time)
    before = read_latest(folder)
    with atomic_folder(data, lambda old: (old / FORECAST).is_file()) as part:
        canvas = write_forecast_folder(forecast, part, radar=radar, places=shown, title=title)
    index = write_page(folder, canvas, settings or PageSettings())
    again = before.revision + 1 if before is not None and before.issue_time == issue_time else 0
    latest = Latest(data.relative_to(folder).as_posix(), issue_time, again, _find_within(folder, file))
    show_forecast(folder, latest)
    _remove_old(folder, {latest.data} if before is None else {latest.data, before.data})
    return index


def _make_folder(folder: Path) -> Path:
    try:
        (folder / DATA).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = f"cannot make {str(folder)!r} ({error.strerror})"
        raise InputError(found, "a map page is a folder of files", "Choose another folder") from error
    return folder


def _describe_places(forecast: xr.Dataset, given: Any, radar: xr.DataArray | None) -> PlacesOnMap:
    """Return what a forecast says of places, and the warnings that it raises if it is the first one."""
    is_read = isinstance(given, tuple | list) and all(isinstance(one, Place) for one in given)
    places = tuple(given) if is_read else read_places(given)
    table = at_places(forecast, places, radar=radar)
    state = update_warnings(WarningState(), table)[0] if table.sizes.get("level", 0) else WarningState()
    return PlacesOnMap(places, to_objects(table)["places"], state)


def _find_within(folder: Path, file: str | Path | None) -> str | None:
    """Return the path of a file relative to the folder of the page; None if it is elsewhere."""
    if file is None:
        return None
    whole, root = Path(file).expanduser().resolve(), folder.resolve()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else None


def _remove_old(folder: Path, kept: set[str]) -> None:
    """Remove the pictures of older forecasts; those of the one before stay for pages that are open."""
    for old in (folder / DATA).iterdir():
        if old.relative_to(folder).as_posix() not in kept and (old / FORECAST).is_file():
            shutil.rmtree(old, ignore_errors=True)
