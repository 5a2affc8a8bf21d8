"""AROME wind on the patches of MeteoNet rain: ``U/y2018-M3-d12-h5-m5.npz`` and the same in ``V``.

Each file holds one component of the wind at one time, on the 128 x 128 cells of the rain patch of that name, which
`hybridcast.radar` reads. Rows run from north to south; the position is not stated, so it is a local grid without CRS.

The unit, the vertical level and the run are not stated either. The numbers are taken as 1/100 m/s: on both days the
wind then has .55 and .6 of the speed of the rain, and points 9 and 18 degrees to the left of its motion, as wind near
the ground does. MeteoNet has one run a day, of 00 UTC, which is taken as the run of the wind; the five-minute steps
between the hours were interpolated by the authors of the patches.

Bouget, Béréziat, Brajard, Charantonis and Filoche (2021), Fusion of rain radar images and wind forecasts in a deep
learning model applied to rain nowcasting, Remote Sensing 13, 246, doi:10.3390/rs13020246.
"""

from __future__ import annotations

import zipfile
from datetime import datetime
from pathlib import Path

import numpy as np

from hybridcast.core.times import as_datetime64
from hybridcast.errors import ReadError
from hybridcast.nwp.pieces import NOTHING_STATED, FileGrid, Piece, Stated
from hybridcast.nwp.schema import WIND
from hybridcast.radar.meteonet_npz import PATCH, patch_axes

NAME = "meteonet-wind"
DESCRIPTION = "AROME wind on MeteoNet rain patches, npz"

LEVEL = "near the ground, not stated"
_PARTS = dict(zip("UV", WIND, strict=True))
_ZIP_MAGIC = b"PK\x03\x04"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the name of a file and its folder are those of the wind, as the content does not identify it."""
    return head.startswith(_ZIP_MAGIC) and PATCH.match(path.name) is not None and path.absolute().parent.name in _PARTS


def read(path: Path, stated: Stated = NOTHING_STATED) -> list[Piece]:
    """Read one component of the wind at one time."""
    match, folder = PATCH.match(path.name), path.absolute().parent.name
    if match is None or folder not in _PARTS:
        raise ReadError(path, "no MeteoNet wind patch: those lie in folders 'U' and 'V', named after their time")
    try:
        with np.load(path) as file:
            hundredths = file["data"] if "data" in file else file["arr_0"]
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ReadError(path, f"the npz file is damaged or incomplete ({error})") from error
    if hundredths.ndim != 2 or not np.issubdtype(hundredths.dtype, np.integer):
        raise ReadError(
            path, f"data of shape {hundredths.shape} and type {hundredths.dtype}, not rows of whole numbers"
        )
    time = as_datetime64(datetime(*(int(part) for part in match.groups())))  # type: ignore[arg-type]
    run = time.astype("M8[D]").astype("M8[ns]")
    values = np.asarray(hundredths * np.float32(0.01), np.float32)
    return [
        Piece(_PARTS[folder], LEVEL, run, time - run, time - run, values, FileGrid(*patch_axes(hundredths.shape), None))
    ]
