"""The command ``warm``: the kernels that a forecast needs, compiled before the first forecast."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hybridcast.cli.options import out

if TYPE_CHECKING:
    import xarray as xr


def warm() -> None:
    """Compile the kernels that forecasts need, so that the first forecast does not wait for them.

    Small forecasts of simulated rain are made in each way that has kernels of its own: by advection, by the model of
    the package, with members, in bands as on grids of more than 4 million cells, and with NWP. What they compile is
    kept in numba's cache, beside the installed package, or in the folder NUMBA_CACHE_DIR if that is set. A second run
    compiles nothing. Run it once after each installation or update, as the user who makes the forecasts: when an image
    of a container is built, or before a service starts.

    Examples:

        hybridcast warm
        NUMBA_CACHE_DIR=/var/cache/hybridcast hybridcast warm
    """
    total = 0
    for what, make in _list_forecasts():
        begin, before = time.perf_counter(), count_kernels()
        make()
        after, seconds = count_kernels(), time.perf_counter() - begin
        compiled, loaded = after.compiled - before.compiled, after.loaded - before.loaded
        total += compiled
        line = f"{what}: {compiled} kernels compiled, {loaded} from the cache, {seconds:.1f} s"
        out.print(line, highlight=False, soft_wrap=True)
    folders = ", ".join(sorted(count_kernels().folders))
    out.print(f"{total or 'no'} kernels compiled; they are kept in {folders}", highlight=False, soft_wrap=True)


class Kernels(NamedTuple):
    """Kernels of this process."""

    compiled: int
    loaded: int
    """Number of those that were in numba's cache."""
    folders: frozenset[str]
    """Folders of the cache."""


def count_kernels() -> Kernels:
    """Count the kernels that this process has compiled, or loaded from numba's cache."""
    stats = [kernel.stats for kernel in _list_kernels()]
    return Kernels(
        sum(sum(one.cache_misses.values()) for one in stats),
        sum(sum(one.cache_hits.values()) for one in stats),
        frozenset(str(one.cache_path) for one in stats if one.cache_path),
    )


def _list_kernels() -> list[Any]:
    """Return the functions of the kernels' modules that numba keeps in its cache, each once."""
    from numba.core.dispatcher import Dispatcher

    modules = [module for name, module in sys.modules.items() if name.startswith("hybridcast_kernels.")]
    found = {id(of): of for module in modules for of in vars(module).values() if isinstance(of, Dispatcher)}
    return list(found.values())


def _list_forecasts() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield forecasts by what they are of, each to be made and written."""
    from hybridcast.core.packed_frames import pack_frames
    from hybridcast.forecasting import forecast
    from hybridcast.nowcasters.base import Advection

    rain = _simulate_rain()
    yield "forecast by advection", lambda: _save(forecast(rain, lead_time="30min", nowcaster=Advection()))
    yield "forecast of the trained model", lambda: _save(forecast(rain, lead_time="90min"))
    yield "with members", lambda: _save(forecast(rain, lead_time="30min", members=2))
    yield "in bands, with members", lambda: _save(_forecast_in_bands(pack_frames(rain.chunk(time=1))))
    yield "with NWP and members", lambda: _save(forecast(rain, lead_time="30min", nwp=_simulate_run(rain), members=2))


def _simulate_rain() -> xr.DataArray:
    """Return the scene that comes with the package on cells of half the size, which the model averages again."""
    import numpy as np

    from hybridcast.core.field import precipitation
    from hybridcast.datasets import scene_path
    from hybridcast.radar import open_radar

    scene = open_radar(scene_path())
    fine = scene.values.repeat(2, axis=1).repeat(2, axis=2)
    y, x = (np.arange(size) * 1000.0 for size in fine.shape[1:])
    return precipitation(fine, time=scene["time"].values, y=y[::-1], x=x, crs="EPSG:3035").isel(time=slice(None, 25))


def _simulate_run(rain: xr.DataArray) -> xr.Dataset:
    """Return an NWP run that has the latest frame at each hour, on cells of twice the size."""
    import numpy as np

    from hybridcast.core.grid import coarsen
    from hybridcast.core.types import HOUR
    from hybridcast.nwp import nwp_fields

    latest = coarsen(rain.isel(time=[-1]), 2000.0)
    hours = np.arange(1, 9)
    return nwp_fields(
        {"precipitation_rate": np.repeat(latest.values[None], hours.size, axis=1)},
        reference_time=[rain["time"].values[-1] - 4 * HOUR],
        lead_time=hours * HOUR,
        y=latest["y"].values,
        x=latest["x"].values,
        crs="EPSG:3035",
    )


def _forecast_in_bands(rain: xr.DataArray) -> xr.Dataset:
    """Return a forecast whose fields are made when they are written."""
    import numpy as np

    from hybridcast.fusion.hybrid import load_hybrid

    leads = np.array([15, 30]) * np.timedelta64(1, "m")
    return load_hybrid("default").with_members(2, 0).forecast_lazily(rain, leads)


def _save(made: xr.Dataset) -> None:
    """Write a forecast, members too, to a folder that is removed again."""
    from hybridcast.core.forecast_files import save_forecast

    with tempfile.TemporaryDirectory() as folder:
        save_forecast(made, Path(folder) / "forecast.zarr")
