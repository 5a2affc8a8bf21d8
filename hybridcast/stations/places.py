"""Files with the places of stations, for tables that have the names of stations only.

They are given among the paths, or lie beside the table. Known are

- any table with a station, latitude and longitude, and neither time nor rain;
- the stations of MeteoSwiss' open data, ``ogd-*_meta_stations.csv``: ``station_abbr``, ``station_height_masl``,
  ``station_coordinates_wgs84_lat`` and ``_lon``;
- DWD CDC's ``*_Beschreibung_Stationen.txt`` (columns by blanks: id, first and last day, which may be blank, height,
  latitude, longitude, name) and ``Metadaten_Geographie_*.txt`` (with semicolons), of which the last
  place of a station counts.

Names are compared without regard to case and to leading zeros of numbers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybridcast.core.readers import read_head
from hybridcast.core.types import Doubles
from hybridcast.errors import ReadError
from hybridcast.stations._tables import decode, read_text, read_texts
from hybridcast.stations.rain_columns import describe_rain
from hybridcast.stations.table_numbers import find_nines, parse_numbers

#: Coordinates of a place.
COORDINATES = frozenset({"latitude", "longitude", "altitude"})
#: Bounds of coordinates beyond which a row of nines is a code of a missing one.
_BOUNDS = {"latitude": 90.0, "longitude": 360.0, "altitude": 9000.0}
#: Degrees with the letter of a hemisphere, and with or without minutes and seconds.
_HEMISPHERE = re.compile(
    r"^(?P<degrees>\d{1,3}(?:[.,]\d+)?)\s*°?\s*(?:(?P<minutes>\d{1,2}(?:[.,]\d+)?)\s*['′’]\s*)?"
    r"(?:(?P<seconds>\d{1,2}(?:[.,]\d+)?)\s*(?:[\"″”]|'')\s*)?(?P<letter>[NSEW])$"
)
_LETTERS = {"latitude": "NS", "longitude": "EW"}
_DEGREES = "Write degrees with decimals, negative in the south and west"
#: Names of the files beside a table in which its places are looked for.
BESIDE = ("*_meta_stations.csv", "*Beschreibung_Stationen.txt", "Metadaten_Geographie_*.txt")
_SPELLINGS = {
    "station": ("station_abbr", "stations_id", "station", "station_id", "id", "name"),
    "latitude": ("latitude", "lat", "station_coordinates_wgs84_lat", "geogr.breite", "geobreite"),
    "longitude": ("longitude", "lon", "station_coordinates_wgs84_lon", "geogr.laenge", "geolaenge"),
    "altitude": ("altitude", "height", "elevation", "station_height_masl", "stationshoehe"),
}
_TIMES = frozenset({"time", "datetime", "timestamp", "date", "mess_datum", "reference_timestamp", "valid"})


def is_file_of_places(path: Path) -> bool:
    """Return whether a file has places of stations, and no reports."""
    try:
        names, _ = _split(_first_line(decode(read_head(path))))
    except ReadError:
        return False
    columns = _match(names)
    has_reports = any(name.lower().split("(")[0].strip() in _TIMES or describe_rain(name) is not None for name in names)
    return {"station", "latitude", "longitude"} <= set(columns) and not has_reports


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")


def _split(line: str) -> tuple[list[str], str]:
    """Return the names of the columns, and the separator; a blank for columns by blanks."""
    separator = max((",", ";", "\t", " "), key=line.count)
    parts = line.split() if separator == " " else line.split(separator)
    return [part.strip().strip('"') for part in parts], separator


def _match(names: Sequence[str]) -> dict[str, str]:
    by_lower = {name.lower(): name for name in names}
    found = {ours: [by_lower[s] for s in spellings if s in by_lower] for ours, spellings in _SPELLINGS.items()}
    return {ours: columns[0] for ours, columns in found.items() if columns}


def read_places(path: Path) -> Any:
    """Return the places of one file: columns latitude, longitude and, if known, altitude, by the key of the station."""
    text = read_text(path)
    line = _first_line(text)
    names, separator = _split(line)
    columns = _match(names)
    rest = text.split(line, 1)[1].lstrip("\r\n")
    if separator == " ":
        rows = _read_blanks(rest)
    else:
        rows = read_texts(rest, names, list(columns.values()), separator, path)
        rows = rows.rename(columns={name: ours for ours, name in columns.items()})
    places = {name: parse_coordinate(rows[name], path, name) for name in columns if name != "station"}
    return pd.DataFrame(places, index=rows["station"].map(station_key)).groupby(level=0).last()


def _read_blanks(text: str) -> Any:
    """Return the rows of DWD's list by blanks, of which the two days may be left out."""
    pattern = r"^\s*(\d+)(?:\s+\d{8}){0,2}\s+(-?\d+(?:\.\d+)?)\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s"
    rows = re.findall(pattern, text, re.MULTILINE)
    return pd.DataFrame(rows, columns=["station", "altitude", "latitude", "longitude"], dtype=str)


def parse_coordinate(texts: Any, path: Path, name: str) -> Doubles:
    """Parse latitude, longitude or altitude; NaN for codes of missing values, such as -999.

    Degrees may have the letter of their hemisphere, and with it minutes and seconds. An altitude such as ``1,234``, of
    which nothing says whether the comma is that of thousands, is not known.

    Examples
    --------
    >>> parse_coordinate(pd.Series(["46,99", "-999", "99.9"]), Path("gauges.csv"), "longitude").tolist()
    [46.99, nan, 99.9]
    >>> parse_coordinate(pd.Series(["7.5 W", "7°30'W"]), Path("gauges.csv"), "longitude").tolist()
    [-7.5, -7.5]
    """
    values = parse_numbers(_plain_degrees(texts, name), path, name, _DEGREES)
    size = np.abs(values)
    return np.where((size > _BOUNDS[name]) & find_nines(size, 99.0), np.nan, values)


def _plain_degrees(texts: Any, name: str) -> Any:
    """Return texts of coordinates as plain numbers, where they have letters or are of two meanings."""
    if pd.api.types.is_numeric_dtype(texts):
        return texts
    codes, unique = pd.factorize(texts.fillna("").astype(str).str.strip())
    given = pd.Series(unique, dtype=str)
    plain = _plain_altitudes(given) if name == "altitude" else _plain_hemispheres(given, _LETTERS[name])
    return pd.Series(plain.to_numpy()[codes], index=texts.index)


def _plain_altitudes(given: Any) -> Any:
    return given.mask(given.str.fullmatch(r"\d{1,2},\d{3}"), "")


def _plain_hemispheres(given: Any, letters: str) -> Any:
    parts = given.str.extract(_HEMISPHERE)
    lettered = parts["letter"].isin(list(letters))
    if not lettered.any():
        return given
    degrees, minutes, seconds = (
        pd.to_numeric(parts[part].str.replace(",", ".")).fillna(0) for part in ("degrees", "minutes", "seconds")
    )
    sign = np.where(parts["letter"].isin(["S", "W"]), -1.0, 1.0)
    return given.mask(lettered, (sign * (degrees + minutes / 60 + seconds / 3600)).astype(str))


def station_key(name: str) -> str:
    """Return a name of a station without regard to case and leading zeros.

    Examples
    --------
    >>> station_key("00044"), station_key(" ber")
    ('44', 'BER')
    """
    name = str(name).strip()
    return str(int(name)) if re.fullmatch(r"\d+", name) else name.upper()


def find_places(path: Path, given: Iterable[Path]) -> Any:
    """Return the places in the given files, and, if there are none, in the files beside a table; or an empty table."""
    files = list(given) or [file for pattern in BESIDE for file in sorted(path.parent.glob(pattern))]
    return _read_all(tuple((file, file.stat().st_mtime_ns) for file in files))


@functools.lru_cache(maxsize=4)  # the same places serve many tables
def _read_all(files: tuple[tuple[Path, int], ...]) -> Any:
    """Return the places of files, each with the time of its last change; of a station in several, the first counts."""
    tables = [read_places(file) for file, _ in files if is_file_of_places(file)]
    if not tables:
        return pd.DataFrame({"latitude": [], "longitude": []}, dtype=float)
    places = pd.concat(tables)
    return places[~places.index.duplicated()]


def join_places(rows: Any, places: Any, path: Path) -> Any:
    """Return the rows with the coordinates of their stations, NaN where these are not known.

    Raises
    ------
    ReadError
        If the place of none of them is known.
    """
    keys = rows["station"].map(station_key)
    if not keys.isin(places.index).any():
        known = (
            f"no file with the places of {', '.join(rows['station'].unique()[:3])}"
            if places.empty
            else (f"its stations ({', '.join(rows['station'].unique()[:3])}) are not among the {len(places)} places")
        )
        raise ReadError(
            path,
            f"has no latitude and longitude, and {known}. Give the file of the places (station, latitude, longitude) "
            "among the paths",
            cli_reason=f"has no latitude and longitude, and {known}. Give the file of the places (station, latitude, "
            "longitude) by another --stations",
        )
    return rows.assign(**{name: keys.map(places[name]) for name in places.columns})
