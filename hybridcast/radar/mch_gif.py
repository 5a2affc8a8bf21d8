"""MeteoSwiss radar composites of rain amount (AQC, CPC) in 8-bit GIF.

The colour indices are amounts (mm) on a logarithmic scale that MeteoSwiss calls ``mmh2LASSEN8bitmm``: index i is the
amount R with 316 R^1.5 = 10^((i - 71.5) / 20) (Z-R of MeteoSwiss; Germann et al. 2006, doi:10.1256/qj.05.190). The
comment in the file states this scale, the time and the interval. The amounts are often mistaken for mm/h, but are mm in
the interval: the thunderstorms of 11 July 2016 reach 107 mm/h, not 9.

The grid is not in the file. It is the fixed Swiss radar domain in LV03 (EPSG:21781), with cells of 1 km and outer edges
at 255 to 965 km east and -160 to 480 km north (MeteoSwiss, "Radar products: documentation", open data).
"""

from __future__ import annotations

import io
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import precipitation, rate_from_accumulation
from hybridcast.core.readers import read_bytes
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.core.types import Array
from hybridcast.errors import ReadError
from hybridcast.radar._rates import limit_rates

NAME = "mch-gif"
DESCRIPTION = "MeteoSwiss (Switzerland) composite of rain amount, AQC or CPC, 8-bit GIF"

CRS = "EPSG:21781"
WEST, NORTH, STEP = 255_000.0, 480_000.0, 1000.0  # m, outer edges
SHAPE = 640, 710
_SCALE = "mmh2LASSEN8bitmm"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is a GIF with the comment of MeteoSwiss."""
    return head.startswith(b"GIF8") and (b"Meteoswiss" in head or b"MeteoSwiss" in head)


def read(path: Path) -> xr.DataArray:
    """Read one composite as a precipitation field; its time is the END of the accumulation interval."""
    index, comment = _read_image(path)
    if _SCALE not in comment.get("SCALE", ""):
        raise ReadError(path, f"the colour scale is {comment.get('SCALE')!r}, only {_SCALE} is known")
    minutes = int(comment.get("ACCUm", "0"))
    if minutes <= 0:
        raise ReadError(path, "its comment does not state the interval ACCUm")
    amount = _amounts_of_indices()[index]
    product = comment.get("PRDT", path.name)
    attrs: dict[str, Any] = {
        "source": f"MeteoSwiss radar composite {product[:3]}",
        "institution": "MeteoSwiss",
        "accumulation_interval_minutes": float(minutes),
    }
    rate = limit_rates(rate_from_accumulation(amount, np.timedelta64(minutes, "m")), attrs)
    y = NORTH - (np.arange(SHAPE[0]) + 0.5) * STEP
    x = WEST + (np.arange(SHAPE[1]) + 0.5) * STEP
    return precipitation(rate, time=_read_time(path, product), y=y, x=x, crs=CRS, attrs=attrs)


def _read_image(path: Path) -> tuple[NDArray[np.uint8], dict[str, str]]:
    """Return the colour indices, with rows from north to south, and the ``KEY=value`` pairs of the comment."""
    from PIL import Image, UnidentifiedImageError

    data = read_bytes(path)
    if not data.rstrip(b"\0").endswith(b";"):
        raise ReadError(path, "the GIF is truncated: its trailer is missing")
    try:
        with Image.open(io.BytesIO(data)) as image:
            index = np.asarray(image)
            text = image.info.get("comment", b"")
            mode = image.mode
    except (UnidentifiedImageError, OSError, SyntaxError, EOFError) as error:
        raise ReadError(path, f"the GIF is damaged ({error})") from error
    if index.shape != SHAPE or mode not in {"P", "L"}:
        raise ReadError(path, f"an image of {index.shape} in mode {mode}, not of {SHAPE} colour indices")
    comment = text.decode("latin-1") if isinstance(text, bytes) else str(text)
    return index, dict(re.findall(r"(\w+)=(\S+)", comment))


def _amounts_of_indices() -> Array:
    """Return the amount (mm) of each colour index: 0 and 1 are dry, those above 250 are no amounts."""
    index = np.arange(256)
    amount = (10.0 ** ((index - 71.5) / 20.0) / 316.0) ** (1.0 / 1.5)
    amount[:2] = 0.0
    amount[251:] = np.nan  # 255 is outside; the others have no known meaning
    return amount.astype(np.float32)


def _read_time(path: Path, product: str) -> np.datetime64:
    """Read year, day of the year and time from a product like AQC161932045, otherwise from the name of the file."""
    stamp = re.search(r"(\d{9})$", product)
    time = np.datetime64(datetime.strptime(stamp[1], "%y%j%H%M"), "ns") if stamp else parse_time_in_name(path.name)
    if time is None:
        raise ReadError(path, "neither its comment nor its name states the time as yyjjjHHMM")
    return time
