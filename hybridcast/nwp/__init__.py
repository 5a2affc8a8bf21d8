"""Fields of numerical weather prediction: from files of model runs to the radar's grid.

`open_nwp` reads files, `select_available_runs` keeps the runs that were available at the issue time, `regrid_to_radar`
interpolates them, and `steering_wind` is a first guess of the motion. The schema of the fields is described in
`hybridcast.nwp.schema`; `hybridcast.predictors.nwp` computes predictors from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from hybridcast.core.readers import PathLike, detect_reader, expand_paths, get_reader, load_readers, read_errors
from hybridcast.errors import InputWarning, ReadError
from hybridcast.nwp.assembly import NwpFormat, Piece, assemble
from hybridcast.nwp.availability import select_available_runs
from hybridcast.nwp.regrid import regrid_to_radar
from hybridcast.nwp.schema import check_nwp, nwp_fields
from hybridcast.nwp.steering import steering_wind
from hybridcast.radar._files import read_head

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


#: In this order each is asked whether it recognises a file.
BUILT_IN = ("grib", "meteonet", "cf")


def formats() -> dict[str, NwpFormat]:
    """Return the known formats of model files by name."""
    return load_readers("hybridcast.nwp", BUILT_IN)


def open_nwp(
    paths: PathLike | Iterable[PathLike], format: str | NwpFormat | None = None, *, strict: bool = False
) -> xr.Dataset:
    """Open the files of one model: any of its variables, levels, lead times and runs, in any order.

    Sums become rates; winds are turned to the axes of the grid. Of several levels one is taken: of the wind the one
    closest to 700 hPa, else the highest up to 3 km, of all else the one closest to the ground.

    Parameters
    ----------
    paths
        A file, a glob, or several of them.
    format
        Name of a format ("grib", "cf", "meteonet-wind") or an object like `NwpFormat`; by default recognised from the
        content of each file.
    strict
        Raise at the first unreadable file. By default, if others can be read, it is reported as an `InputWarning`
        and named in ``attrs["unreadable_files"]``; what it holds is missing.

    Returns
    -------
    Dataset
        See `hybridcast.nwp.schema`. ``attrs["left_out"]`` names the levels that were not taken.

    Raises
    ------
    ReadError
        If a file (with `strict`), or every file, is damaged, of no known format, or holds nothing known.
    InputError
        If nothing matches `paths`, or files are on different grids: those are of several models.
    """
    files = expand_paths(paths)
    pieces: list[Piece] = []
    used: set[str] = set()
    bad: list[ReadError] = []
    for file in files:
        try:
            name, found = _read(file, format)
        except ReadError as error:
            if strict or len(files) == 1:
                raise
            bad.append(error)
        else:
            pieces += found
            used.add(name)
    if not used:
        raise ReadError(bad[0].path, f"{bad[0].reason} (and none of the other {len(bad) - 1} files can be read)")
    attrs = {"format": ", ".join(sorted(used))}
    if bad:
        attrs["unreadable_files"] = "; ".join(str(lost) for lost in bad)
    for lost in bad:
        warnings.warn(f"left out, what it holds is missing: {lost}", InputWarning, stacklevel=2)
    return assemble(pieces, attrs)


def _read(path: Path, format: str | NwpFormat | None) -> tuple[str, list[Piece]]:
    reader = _reader_for(path, format)
    with read_errors(path, reader.NAME):
        return reader.NAME, list(reader.read(path))


def _reader_for(path: Path, format: str | NwpFormat | None) -> NwpFormat:
    known = formats()
    chosen = get_reader(format, known)
    if chosen is not None:
        return chosen
    head = read_head(path)
    reader = detect_reader(path, head, known)
    if reader is not None:
        return reader
    raise ReadError(
        path,
        f"no known format of model fields (starts with {head[:12]!r}); known are {', '.join(known)}. Give arrays to "
        "hybridcast.nwp.nwp_fields",
    )
