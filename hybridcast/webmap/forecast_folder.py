"""The folder of a forecast for a map page: pictures, samples for meteograms, places, and a list of all that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.core.grid import cell_size
from hybridcast.core.time_steps import iso_time
from hybridcast.core.types import Array
from hybridcast.ensembles.one_pass import show_all
from hybridcast.places import Place, WarningState
from hybridcast.webmap.canvas import Canvas, make_canvas
from hybridcast.webmap.frames import Frame, get_issue_time, list_forecast, list_observed, select_observed
from hybridcast.webmap.members import MembersOnMap, Sheet, plan_sheet
from hybridcast.webmap.pictures import PROBABILITY as PROBABILITY_SCALE
from hybridcast.webmap.pictures import RAIN, draw
from hybridcast.webmap.samples import Layout, encode_samples, plan_samples
from hybridcast.webmap.scripts import write_script
from hybridcast.webmap.shapes import locate_places
from hybridcast_kernels.parallel import threads

FORECAST = "forecast.js"
"""File that lists what is in the folder."""
_ATTRIBUTES = ("nowcaster", "status", "motion_status", "sources_used", "sources_left_out", "hybridcast_version")


@dataclass(frozen=True, eq=False)
class PlacesOnMap:
    """Places, and what a forecast says of them."""

    places: tuple[Place, ...]
    products: Sequence[dict[str, Any]]
    """Of each place, as in the list ``places`` of the JSON that `hybridcast.write_places` writes."""
    warnings: WarningState
    """The warnings that are raised."""


def write_forecast_folder(
    forecast: xr.Dataset,
    folder: Path,
    *,
    radar: xr.DataArray | None = None,
    places: PlacesOnMap | None = None,
    title: str = "",
    members: MembersOnMap | None = None,
) -> Canvas:
    """Write what a map page shows of a forecast into an empty folder; return the pixels of its pictures.

    Parameters
    ----------
    forecast
        As `hybridcast.forecast` returns it.
    folder
        The folder.
    radar
        Precipitation field on the same grid, mm h-1, of which the last hour before the issue time is shown.
    places
        Places to show.
    title
        Name of the region.
    members
        What is shown of the members, if they have been computed for something else; by default they are computed.

    Raises
    ------
    InputError
        If the forecast has no issue time, `radar` is on another grid, or the grid cannot be shown on a web map.
    """
    issue = get_issue_time(forecast)
    canvas = make_canvas(forecast)
    observed = select_observed(forecast, radar)
    frames = [*list_observed(forecast, observed), *list_forecast(forecast)]
    layout, sheet = plan_samples(forecast, canvas), plan_sheet(forecast)
    if sheet is not None and members is None:
        members = MembersOnMap(forecast)
        show_all(forecast, [members])
    jobs = {**_draw_fields(frames, canvas), **_draw_members(frames, sheet, members)}
    with _write_in_threads(folder, jobs):
        tiles = _write_samples(forecast, observed, layout, None if members is None else members.rates, folder)
    listed = {
        "title": title,
        "issue_time": iso_time(issue),
        "about": {name: str(forecast.attrs[name]) for name in _ATTRIBUTES if name in forecast.attrs},
        "is_local": canvas.is_local,
        "bounds": [canvas.south_west, canvas.north_east],
        "size": canvas.shape,
        "frames": [frame.to_json() for frame in frames],
        "thresholds": forecast["threshold"].values.tolist() if PROBABILITY in forecast else [],
        "legend": {"rain": RAIN.legend(), "probability": PROBABILITY_SCALE.legend()},
        "members": None if sheet is None else sheet.to_json(),
        "samples": {**layout.to_json(), "tiles": tiles, "kilometres": _sample_spacing(forecast, layout)},
        "places": [] if places is None else _write_places(places, forecast, canvas, folder),
    }
    write_script(folder / FORECAST, "forecast", listed)
    return canvas


_Jobs = dict[str, Callable[[], bytes]]
"""Functions that make files, by their names in the folder."""


def _draw_fields(frames: Sequence[Frame], canvas: Canvas) -> _Jobs:
    """Return what draws all pictures but those of members."""
    pictures = [picture for frame in frames for picture in frame.pictures]
    return {picture.file: partial(draw, picture.values, canvas, picture.scale) for picture in pictures}


def _draw_members(frames: Sequence[Frame], sheet: Sheet | None, members: MembersOnMap | None) -> _Jobs:
    """Return what draws the members of each lead time; nothing without members."""
    if sheet is None or members is None:
        return {}
    files = [frame.members for frame in frames if frame.members is not None]
    return {file: partial(sheet.draw, tiles) for file, tiles in zip(files, members.tiles, strict=True)}


@contextmanager
def _write_in_threads(folder: Path, jobs: _Jobs) -> Iterator[None]:
    """Make files in threads while something else is done; all are written at the end."""
    for name in {Path(file).parent for file in jobs}:
        (folder / name).mkdir()
    with ThreadPoolExecutor(threads()) as pool:
        written = [pool.submit(_write, folder / file, make) for file, make in jobs.items()]
        yield
        for one in written:
            one.result()


def _write(path: Path, make: Callable[[], bytes]) -> None:
    path.write_bytes(make())


def _write_samples(
    forecast: xr.Dataset, observed: xr.DataArray | None, layout: Layout, members: Array | None, folder: Path
) -> list[str]:
    """Write the tiles of samples, and return their names."""
    (folder / "samples").mkdir()
    latest = _select_latest(forecast, observed, layout.chosen)
    names = []
    for name, text in encode_samples(forecast, layout, members, latest):
        write_script(folder / "samples" / f"{name}.js", f"samples/{name}", text)
        names.append(name)
    return names


def _select_latest(forecast: xr.Dataset, observed: xr.DataArray | None, chosen: NDArray[np.int32]) -> Array | None:
    """Return the observed rate at the issue time at cells; None without a frame of that time."""
    if observed is None or observed["time"].values[-1] != get_issue_time(forecast):
        return None
    return np.asarray(observed.values[-1].ravel()[chosen])


def _sample_spacing(forecast: xr.Dataset, layout: Layout) -> float:
    """Return the distance between samples in the middle of the grid, km; that of the cells if each is sampled."""
    return round(cell_size(forecast) / 1000 * layout.pixel_cells * layout.stride, 1)


def _write_places(shown: PlacesOnMap, forecast: xr.Dataset, canvas: Canvas, folder: Path) -> list[dict[str, Any]]:
    """Write what is said of each place into a file of its own; return what the map shows of all."""
    (folder / "places").mkdir()
    shapes = locate_places(shown.places, forecast, canvas)
    raised: dict[str, list[dict[str, Any]]] = {}
    for one in shown.warnings.raised:
        raised.setdefault(one.place, []).append({"level": one.level, "since": one.since})
    listed = []
    for number, (product, shape) in enumerate(zip(shown.products, shapes, strict=True)):
        write_script(folder / "places" / f"{number}.js", f"places/{number}", product)
        levels = [{name: level[name] for name in ("name", "warning_probability")} for level in product["levels"]]
        name = str(product["name"])
        kept = {"name": name, "kind": product["kind"], "position": product["position"], "levels": levels}
        listed.append({**kept, **shape, "raised": raised.get(name, [])})
    return listed
