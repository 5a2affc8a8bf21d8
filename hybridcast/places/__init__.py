"""Forecasts at places: points and areas with warning levels of their own.

`read_places` reads them, `at_places` says what a forecast means for each, `write_places` writes it as CSV, Parquet or
JSON, and `update_warnings` raises, keeps and clears warnings from one forecast to the next.
"""

from __future__ import annotations

from hybridcast.places.levels import WarningLevel
from hybridcast.places.place import Place
from hybridcast.places.products import at_places
from hybridcast.places.reading import read_places
from hybridcast.places.tables import write_places

__all__ = ["Place", "WarningLevel", "at_places", "read_places", "write_places"]
