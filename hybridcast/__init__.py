"""Precipitation nowcasting for the next two hours and beyond, from radar, stations and NWP.

Importing this package is fast: each of its names is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridcast._version import __version__ as __version__
from hybridcast.core.lazy import load_lazily
from hybridcast.core.proj import load_pyproj

load_pyproj()

#: Public names in the order of the flow of data, and the modules that define them.
_CONTENTS = {
    "open_radar": "hybridcast.radar",  # radar files -> precipitation field
    "open_stations": "hybridcast.stations",  # files of gauges, weather stations and links -> station reports
    "save_stations": "hybridcast.stations",  # station reports -> file
    "precipitation": "hybridcast.core.field",  # arrays -> precipitation field
    "check_precipitation": "hybridcast.core.field",  # check of the contract of a precipitation field
    "regular_times": "hybridcast.core.time_steps",  # gaps in time -> frames of NaN
    "as_rate": "hybridcast.core.field",  # rain rate in any unit -> mm h-1
    "rate_from_dbz": "hybridcast.core.field",  # reflectivity -> mm h-1
    "dbz_from_rate": "hybridcast.core.field",  # mm h-1 -> reflectivity
    "rate_from_accumulation": "hybridcast.core.field",  # mm per interval -> mm h-1
    "open_nwp": "hybridcast.nwp",  # files of NWP -> runs
    "open_terrain": "hybridcast.terrain",  # file of heights -> heights on the radar's grid
    "fetch": "hybridcast.datasets.registry",  # files of real events, by name
    "estimate_motion": "hybridcast.motion.estimate",  # recent frames -> motion u, v in m s-1
    "advect": "hybridcast.advection",  # a frame and its motion -> later frames
    "Persistence": "hybridcast.nowcasters.base",  # the latest frame, unchanged
    "Advection": "hybridcast.nowcasters.base",  # the latest frame, moved
    "ScaleFilter": "hybridcast.nowcasters.scale_filter",  # the latest frame, moved and smoothed by scale
    "ScaleFilterEnsemble": "hybridcast.nowcasters.scale_filter_ensemble",  # the same with members, without training
    "forecast": "hybridcast.forecasting",  # recent frames and other sources -> forecast
    "save_forecast": "hybridcast.core.forecast_files",  # forecast -> file
    "load_forecast": "hybridcast.core.forecast_files",  # file -> forecast
    "read_places": "hybridcast.places",  # file of points and areas -> places with warning levels
    "at_places": "hybridcast.places",  # forecast and places -> minutes to rain, amounts, probabilities
    "write_places": "hybridcast.places",  # these -> CSV, Parquet or JSON
}

if TYPE_CHECKING:
    from hybridcast.advection import advect as advect
    from hybridcast.core.field import as_rate as as_rate
    from hybridcast.core.field import check_precipitation as check_precipitation
    from hybridcast.core.field import dbz_from_rate as dbz_from_rate
    from hybridcast.core.field import precipitation as precipitation
    from hybridcast.core.field import rate_from_accumulation as rate_from_accumulation
    from hybridcast.core.field import rate_from_dbz as rate_from_dbz
    from hybridcast.core.forecast_files import load_forecast as load_forecast
    from hybridcast.core.forecast_files import save_forecast as save_forecast
    from hybridcast.core.time_steps import regular_times as regular_times
    from hybridcast.datasets.registry import fetch as fetch
    from hybridcast.forecasting import forecast as forecast
    from hybridcast.motion.estimate import estimate_motion as estimate_motion
    from hybridcast.nowcasters.base import Advection as Advection
    from hybridcast.nowcasters.base import Persistence as Persistence
    from hybridcast.nowcasters.scale_filter import ScaleFilter as ScaleFilter
    from hybridcast.nowcasters.scale_filter_ensemble import ScaleFilterEnsemble as ScaleFilterEnsemble
    from hybridcast.nwp import open_nwp as open_nwp
    from hybridcast.places import at_places as at_places
    from hybridcast.places import read_places as read_places
    from hybridcast.places import write_places as write_places
    from hybridcast.radar import open_radar as open_radar
    from hybridcast.stations import open_stations as open_stations
    from hybridcast.stations import save_stations as save_stations
    from hybridcast.terrain import open_terrain as open_terrain

__all__ = [*_CONTENTS, "__version__"]

__getattr__ = load_lazily(__name__, _CONTENTS)


def __dir__() -> list[str]:
    return sorted(__all__)
