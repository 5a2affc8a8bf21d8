"""Fields of numerical weather prediction (NWP): from the files of runs to the radar's grid.

`open_nwp` reads files, `select_available_runs` selects the runs that were available at the issue time,
`regrid_to_radar` interpolates them, and `steering_wind` is a first guess of the motion. The schema of the fields is
described in `hybridcast.nwp.schema`; `hybridcast.predictors.nwp` computes predictors from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from hybridcast.core.paths import open_paths
from hybridcast.core.readers import (
    PathLike,
    choose_reader,
    load_readers,
    read_errors,
    read_file,
    read_files,
    warn_unreadable,
)
from hybridcast.nwp.assembly import NwpFormat, Piece, assemble
from hybridcast.nwp.availability import select_available_runs
from hybridcast.nwp.regrid import regrid_to_radar
from hybridcast.nwp.schema import check_nwp, nwp_fields
from hybridcast.nwp.steering import steering_wind

__all__ = [
    "NwpFormat",
    "check_nwp",
    "formats",
    "nwp_fields",
    "open_nwp",
    "regrid_to_radar",
    "select_available_runs",
    "steering_wind",
]


#: Modules of the built-in formats, in the order in which they are tried.
BUILT_IN = ("grib", "meteonet", "cf")


def formats() -> dict[str, NwpFormat]:
    """Return the known formats of NWP files by name."""
    return load_readers("hybridcast.nwp", BUILT_IN)


def open_nwp(
    paths: PathLike | Iterable[PathLike], format: str | NwpFormat | None = None, *, strict: bool = False
) -> xr.Dataset:
    """Open the files of one NWP model: variables, vertical levels, lead times and runs, in any order.

    Accumulations are converted to rates, and winds are rotated to the axes of the grid. Of several vertical levels one
    is used: for the wind the level closest to 700 hPa, or else the highest one up to 3 km; for other variables the
    level closest to the ground.

    Parameters
    ----------
    paths
        A file, a glob, or several of them.
    format
        Name of a format ("grib", "cf", "meteonet-wind") or an object like `NwpFormat`; by default detected from the
        content of each file.
    strict
        Whether to raise at the first unreadable file. By default, if others can be read, an `InputWarning` is issued,
        the fields of the file are missing, and ``attrs["unreadable_files"]`` lists the file.

    Returns
    -------
    Dataset
        NWP fields, see `hybridcast.nwp.schema`. ``attrs["left_out"]`` lists the vertical levels that were not used.

    Raises
    ------
    ReadError
        If a file (with `strict`), or every file, is damaged, of no known format, or has no known variable.
    InputError
        If nothing matches `paths`, or files are on different grids, which means that they are of several NWP models.
    """

    def read(path: Path) -> tuple[str, list[Piece]]:
        return _read(path, format)

    with open_paths(paths) as files:
        contents, unreadable = read_files(files, lambda file: read_file(file, read), strict=strict)
    attrs = {"format": ", ".join(sorted({name for name, _ in contents.values()}))}
    attrs |= warn_unreadable(unreadable, "left out, what it holds is missing")
    return assemble([piece for _, pieces in contents.values() for piece in pieces], attrs)


def _read(path: Path, format: str | NwpFormat | None) -> tuple[str, list[Piece]]:
    reader = choose_reader(path, format, formats(), "NWP", ". Give arrays to hybridcast.nwp.nwp_fields")
    with read_errors(path, reader.NAME):
        return reader.NAME, list(reader.read(path))
