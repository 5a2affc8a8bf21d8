"""Rain of SMHI's stations as its open data distribute it: one station a file, blocks of metadata above the rows, CSV.

The blocks are separated by empty lines and have semicolons (SMHI, "Hämta observationer"): the name of the station
(``Stationsnamn``), the parameter (``Parameternamn;Beskrivning;Enhet``: ``summa 1 timme`` or ``summa 15 min`` in
millimetres), and the places by periods (``Latitud (decimalgrader)``, ``Longitud (decimalgrader)``), of which the last
counts. The rows have ``Datum``, ``Tid (UTC)``, ``Nederbördsmängd`` and ``Kvalitet``; the time is the END of the sum.
Days, whose rows have no time of day, are refused.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hybridcast.core.field import RATE, rate_from_accumulation
from hybridcast.core.types import MINUTE
from hybridcast.errors import ReadError
from hybridcast.stations._tables import decode, read_text, read_texts, reports_from_rows, split_fields
from hybridcast.stations.places import parse_coordinate
from hybridcast.stations.table_numbers import parse_amounts
from hybridcast.stations.table_times import parse_own_times

NAME = "smhi-csv"
DESCRIPTION = "SMHI's open data of stations, sums of an hour or 15 minutes, CSV with blocks of metadata"

_RAIN = "Nederbördsmängd"
_INTERVAL = re.compile(r"summa (\d+) (tim|min)")
_HEADER = re.compile(r"^Datum;Tid \(UTC\);.*$", re.MULTILINE)
_COORDINATES = {
    "latitude": "Latitud (decimalgrader)",
    "longitude": "Longitud (decimalgrader)",
    "altitude": "Höjd (meter över havet)",
}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the first line is that of SMHI's block of the station."""
    return decode(head).startswith("Stationsnamn;")


def read(path: Path) -> xr.Dataset:
    """Read the station of one file."""
    text = read_text(path)
    header = _HEADER.search(text)
    if header is None:
        raise ReadError(path, "has no rows of Datum and Tid (UTC). Take sums of an hour or 15 minutes, not of days")
    blocks = _read_blocks(text[: header.start()])
    interval = _read_interval(blocks, path)
    names = split_fields(header.group(0), ";")
    if _RAIN not in names:
        raise ReadError(path, f"has no column {_RAIN}, but {', '.join(names)}")
    rows = read_texts(text[header.end() :].lstrip("\n"), names, (*names[:2], _RAIN), ";", path)
    if rows.empty:
        raise ReadError(path, "holds no row")
    rows["time"] = parse_own_times(rows[names[0]] + " " + rows[names[1]], path, "%Y-%m-%d %H:%M:%S")
    rows[RATE] = rate_from_accumulation(parse_amounts(rows[_RAIN], path, _RAIN), interval)
    rows["station"] = blocks["Stationsnamn"]
    for ours, name in _COORDINATES.items():
        rows[ours] = float(parse_coordinate(pd.Series([blocks[name]]), path, ours)[0])
    return reports_from_rows(
        rows[["station", "time", RATE, *_COORDINATES]],
        path,
        interval=interval,
        variables=(RATE,),
        coords=tuple(_COORDINATES),
        attrs={"source": "SMHI open data", "institution": "Swedish Meteorological and Hydrological Institute"},
    )


def _read_blocks(text: str) -> dict[str, str]:
    """Return the metadata above the rows by name, those of the last line of each block."""
    found: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", text):
        lines = [split_fields(line, ";") for line in block.splitlines() if line.strip("; ")]
        if len(lines) > 1:
            found |= dict(zip(lines[0], lines[-1], strict=False))
    return found


def _read_interval(blocks: dict[str, str], path: Path) -> np.timedelta64:
    missing = [
        name
        for name in ("Stationsnamn", "Parameternamn", "Beskrivning", "Enhet", *_COORDINATES.values())
        if name not in blocks
    ]
    if missing:
        raise ReadError(path, f"its metadata lack {', '.join(missing)}: is the file cut?")
    found = _INTERVAL.search(blocks["Beskrivning"])
    if found is None or blocks["Enhet"] != "millimeter":
        described = f"{blocks['Parameternamn']}, {blocks['Beskrivning']}, {blocks['Enhet']}"
        raise ReadError(path, f"holds {described}. Take {_RAIN}, summa 1 timme or summa 15 min")
    return int(found.group(1)) * (60 if found.group(2) == "tim" else 1) * MINUTE
