"""Fields of numerical weather prediction (NWP): from the files of runs to the radar's grid.

`open_nwp` reads files, `select_available_runs` selects the runs that were available at the issue time,
`regrid_to_radar` interpolates them, and `steering_wind` is a first guess of the motion. The schema of the fields is
described in `hybridcast.nwp.schema`; `hybridcast.predictors.nwp` computes predictors from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
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
from hybridcast.errors import ReadError
from hybridcast.nwp.assembly import assemble
from hybridcast.nwp.availability import select_available_runs
from hybridcast.nwp.pieces import FileGrid, NwpFormat, Piece, Stated
from hybridcast.nwp.regrid import regrid_to_radar
from hybridcast.nwp.schema import check_grid, check_nwp, nwp_fields
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


#: Names of the indices of GRIB files: of wgrib2, ECMWF, netCDF-Java and cfgrib.
_INDEX = re.compile(r"\.(idx|inv|index|gbx\d*|ncx\d*)$", re.IGNORECASE)
#: Modules of the built-in formats, in the order in which they are tried.
BUILT_IN = ("grib", "meteonet", "cf")


def formats() -> dict[str, NwpFormat]:
    """Return the known formats of NWP files by name."""
    return load_readers("hybridcast.nwp", BUILT_IN)


def open_nwp(
    paths: PathLike | Iterable[PathLike],
    format: str | NwpFormat | None = None,
    *,
    member: int | str | None = None,
    accumulation: str | np.timedelta64 | None = None,
    run: str | np.datetime64 | None = None,
    strict: bool = False,
) -> xr.Dataset:
    """Open the files of one NWP model: variables, vertical levels, lead times, runs and members, in any order.

    Accumulations are converted to rates, parts of the precipitation (rain, snow and graupel) are added up, and winds
    are rotated to the axes of the grid. Of several vertical levels one is used: for the wind the level closest to 700
    hPa, or else the highest one up to 3 km; for other variables the level closest to the ground. Fields on the
    triangles of ICON, for which the files of latitude and longitude are given as well, on Gaussian grids, or on cells
    with a latitude and longitude each are resampled, see `hybridcast.nwp.native_grids`.

    Parameters
    ----------
    paths
        A file, a glob, a tar or zip, a URL, or several of them. Index files beside GRIB (``.idx``, ``.inv``) are
        skipped.
    format
        Name of a format ("grib", "cf", "meteonet-wind") or an object like `NwpFormat`; by default detected from the
        content of each file.
    member
        Which of an ensemble is read: the number of a member, or, if the files hold them, ``"mean"`` or a percentile
        such as ``"p50"``. By default all members are read, each as a run of its own; percentiles alone are refused.
    accumulation
        Interval of amounts in files that do not state it: ``"since-start"`` (of the run), or a duration such as
        ``"1h"``.
    run
        Start of the run, UTC, of files that do not state it.
    strict
        Whether to raise at the first unreadable file. By default, if others can be read, an `InputWarning` is issued,
        the fields of the file are missing, and ``attrs["unreadable_files"]`` lists the file.

    Returns
    -------
    Dataset
        NWP fields, see `hybridcast.nwp.schema`. ``attrs["left_out"]`` lists the fields that were not used, such as
        other vertical levels.

    Raises
    ------
    ReadError
        If a file (with `strict`), or every file, is damaged, of no known format, or has no known variable; or if one
        does not state the interval of its amounts, the places of its cells, or which of an ensemble it holds.
    InputError
        If nothing matches `paths`, files are on different grids, which means that they are of several NWP models, or an
        option is not valid.
    """
    stated = Stated.parse(run, accumulation)

    def read(path: Path) -> tuple[str, list[Piece]]:
        return _read(path, format, stated)

    with open_paths(paths) as files:
        wanted = _without_indices(files)
        contents, unreadable = read_files(wanted, lambda file: read_file(file, read), strict=strict)
    attrs = {"format": ", ".join(sorted({name for name, _ in contents.values()}))}
    attrs |= warn_unreadable(unreadable, "left out, what it holds is missing")
    pieces = [piece._replace(path=path) for path, (_, found) in contents.items() for piece in found]
    return assemble(pieces, attrs, stated, member)


def _read(path: Path, format: str | NwpFormat | None, stated: Stated) -> tuple[str, list[Piece]]:
    if _INDEX.search(path.name) and format is None:
        raise ReadError(path, "an index of a GRIB file, which holds no fields. Give the GRIB file itself")
    reader = choose_reader(path, format, formats(), "NWP", _ADVICE, cli_advice=_CLI_ADVICE)
    with read_errors(path, reader.NAME):
        pieces = list(reader.read(path, stated))
        for grid in {id(piece.grid): piece.grid for piece in pieces}.values():
            if isinstance(grid, FileGrid):
                check_grid(*grid)
        return reader.NAME, pieces


def _without_indices(files: list[Path]) -> list[Path]:
    """Return the files without the indices of GRIB files, unless there are no others."""
    return [path for path in files if not _INDEX.search(path.name)] or files


_ADVICE = ". Give arrays to hybridcast.nwp.nwp_fields"
_CLI_ADVICE = ". Convert it to GRIB, or to NetCDF that follows the CF conventions"
