"""FMI radar composites: reflectivity in 8-bit PGM with metadata in the header's comments.

Finnish Meteorological Institute, open data, product ``fmi.radar.composite.lowest``. The file states the time, the
projection and the corners, which are the outer edges of the corner cells. It does not state

- the coding of reflectivity, which is by convention of the service dBZ = 0.5 v - 32, where 0 is "no echo";
- the radius of its spherical Earth, which follows from the cell size in the file.

Reflectivity is converted to rain rate by Z = 223 R^1.53 (Leinonen et al. 2012, doi:10.1029/2011JD017192), as at FMI.
"""

from __future__ import annotations

import functools
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import precipitation, rate_from_dbz
from hybridcast.core.readers import read_bytes, read_head
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import ReadError
from hybridcast.radar._rates import decode_codes, limit_rates

NAME = "fmi-pgm"
DESCRIPTION = "FMI (Finland) radar composite, reflectivity, 8-bit PGM"

GAIN, OFFSET = 0.5, -32.0  # dBZ
Z_R = 223.0, 1.53
_QUANTITY = "CorrectedReflectivity"
_EARTH_RADII = 6_350_000, 6_390_000  # m; outside these bounds the header is inconsistent

# A PGM header may have comments between any two words; it ends with one white space.
_GAP = rb"(?:\s+(?:#[^\n]*\n\s*)*)"
_HEADER = re.compile(rb"P5" + _GAP + rb"(\d+)" + _GAP + rb"(\d+)" + _GAP + rb"(\d+)\s")
_BAD_HEADER = "the PGM header is damaged or truncated"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is a binary PGM with the comments of FMI."""
    return head.startswith(b"P5") and (b"# obstime" in head or b"# composite_area" in head)


def read(path: Path) -> xr.DataArray:
    """Read one composite as a precipitation field of instantaneous rates; its time is that of observation."""
    data = read_bytes(path)
    values, nodata, comments = _parse(path, data)
    if comments.get("param") != [_QUANTITY]:
        raise ReadError(path, f"holds {comments.get('param')}, not {_QUANTITY}")
    attrs: dict[str, Any] = {
        "source": " ".join(["FMI radar composite", *comments.get("productname", [])]),
        "institution": "Finnish Meteorological Institute",
        "z_r_relation": f"Z = {Z_R[0]:g} R^{Z_R[1]:g}",
    }
    rate = decode_codes(values, functools.partial(_rates_of_codes, nodata=nodata))
    x, y, crs = _read_grid(path, comments, *values.shape)
    return precipitation(limit_rates(rate, attrs), time=_read_time(path, comments), y=y, x=x, crs=crs, attrs=attrs)


def read_times(path: Path) -> NDArray[np.datetime64]:
    """Return the time of the composite, from the header alone."""
    head = read_head(path)
    header = _HEADER.match(head)
    if header is None:
        raise ReadError(path, _BAD_HEADER)
    return np.array([_read_time(path, _parse_comments(head[: header.end()]))])


def _rates_of_codes(codes: NDArray[np.uint8], nodata: int) -> Array:
    rate = rate_from_dbz(codes * np.float32(GAIN) + np.float32(OFFSET), *Z_R)
    rate[codes == nodata] = np.nan
    return rate


def _parse(path: Path, data: bytes) -> tuple[NDArray[np.uint8], int, dict[str, list[str]]]:
    """Return the pixels of a PGM, its highest value (outside coverage at FMI), and the words of its comments by key."""
    header = _HEADER.match(data)
    if header is None:
        raise ReadError(path, _BAD_HEADER)
    width, height, highest = (int(number) for number in header.groups())
    found = len(data) - header.end()
    if highest != 255 or found != width * height:
        raise ReadError(path, f"{width} x {height} pixels to {highest} announced, but {found} bytes of pixels follow")
    values = np.frombuffer(data, np.uint8, offset=header.end()).reshape(height, width)
    return values, highest, _parse_comments(data[: header.end()])


def _parse_comments(header: bytes) -> dict[str, list[str]]:
    lines = re.findall(rb"^#[ \t]*(\S+)[ \t]+([^\n]*)$", header, re.MULTILINE)
    return {key.decode("latin-1"): words.decode("latin-1").split() for key, words in lines}


def _read_numbers(path: Path, comments: dict[str, list[str]], key: str) -> list[float]:
    try:
        return [float(word) for word in comments[key]]
    except (KeyError, ValueError) as error:
        raise ReadError(path, f"the header does not state {key!r} as numbers") from error


def _read_grid(
    path: Path, comments: dict[str, list[str]], height: int, width: int
) -> tuple[Doubles, Doubles, pyproj.CRS]:
    """Return x and y of the cell centres (rows run from north to south) and the CRS."""
    if comments.get("type") != ["stereographic"]:
        raise ReadError(path, f"the projection is {comments.get('type')}, only stereographic is known")
    sizes = np.array([_read_numbers(path, comments, f"metersperpixel_{axis}")[0] for axis in "xy"])
    corners = np.array([_read_numbers(path, comments, corner) for corner in ("bottomleft", "topright")])
    shape = np.array([width, height])
    centre = [_read_numbers(path, comments, key)[0] for key in ("centrallatitude", "truelatitude", "centrallongitude")]
    projection = "+proj=stere +lat_0={} +lat_ts={} +lon_0={}".format(*centre)

    # Lengths on the map of a sphere are proportional to its radius, so spans for radius 1 give the radius.
    spans = np.diff(np.transpose(pyproj.Proj(f"{projection} +R=1")(*corners.T)), axis=0)[0]
    radius = round(sizes[0] * width / spans[0])
    if not _EARTH_RADII[0] < radius < _EARTH_RADII[1] or abs(radius * spans[1] / sizes[1] - height) > 0.5:
        raise ReadError(path, "its corners, cell sizes and number of cells contradict one another")

    crs = pyproj.CRS(f"{projection} +R={radius} +units=m +no_defs")
    (left, bottom), (right, top) = np.transpose(pyproj.Proj(crs)(*corners.T))
    step_x, step_y = np.array([right - left, top - bottom]) / shape
    return left + (np.arange(width) + 0.5) * step_x, top - (np.arange(height) + 0.5) * step_y, crs


def _read_time(path: Path, comments: dict[str, list[str]]) -> np.datetime64:
    stamp = "".join(comments.get("obstime", []))
    if not re.fullmatch(r"\d{12}", stamp):
        raise ReadError(path, f"obstime is {stamp!r}, not YYYYMMDDhhmm")
    return as_datetime64(datetime.strptime(stamp, "%Y%m%d%H%M"))
