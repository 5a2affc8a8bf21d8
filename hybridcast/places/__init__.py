"""Forecasts at places: points and areas with warning levels of their own.

`read_places` reads them, `at_places` says what a forecast means for each, `write_places` writes it as CSV, Parquet or
JSON, and `update_warnings` raises, keeps and clears warnings from one forecast to the next.
"""

from __future__ import annotations

from hybridcast.places.hysteresis import WarningEvent, WarningState, update_warnings
from hybridcast.places.levels import WarningLevel, parse_level
from hybridcast.places.observed import observe_gauges, observe_radar, places_at_stations
from hybridcast.places.place import Place
from hybridcast.places.products import at_places
from hybridcast.places.reading import read_places
from hybridcast.places.tables import write_places
from hybridcast.places.warning_log import append_events, audit_events, read_events

__all__ = [
    "Place",
    "WarningEvent",
    "WarningLevel",
    "WarningState",
    "append_events",
    "at_places",
    "audit_events",
    "observe_gauges",
    "observe_radar",
    "parse_level",
    "places_at_stations",
    "read_events",
    "read_places",
    "update_warnings",
    "write_places",
]
