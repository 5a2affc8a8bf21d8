"""What a file is that no format recognises, as far as its first bytes tell cheaply, and what to do with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hybridcast.core.containers import describe_zip, is_tar

UNFINISHED = {".part", ".partial", ".crdownload", ".download", ".filepart", ".opdownload"}
"""Suffixes that browsers and other programs give to downloads that are not complete."""


class _Kind(NamedTuple):
    is_it: Callable[[bytes], bool]
    what: str


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _matches(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return lambda head: compiled.match(head.lstrip(b"\xef\xbb\xbf \t\r\n")) is not None


POLAR = (
    "of a single radar, by azimuth and range; a composite or another map is needed. Give the composite of the service, "
    "or put it on a grid, e.g. with wradlib or Py-ART, and give the array to hybridcast.precipitation"
)
"""What files of scans are, and what to do with them; the end of a sentence."""
_PICTURE = "a picture, whose colours are no values. Get the product as data, such as HDF5, GeoTIFF, GRIB or NetCDF"
_UNPACK = "archive. Unpack it, or pack its files as tar or zip"

_KINDS = (
    _Kind(
        lambda head: not head.strip(b"\0"),
        "nothing but zeros: the disk was full, or the download broke off. Get it again",
    ),
    _Kind(_starts(b"version https://git-lfs"), "a pointer of Git LFS, not the file itself. Get it with 'git lfs pull'"),
    _Kind(
        lambda head: b"/annex/objects/" in head[:300],
        "a pointer of git-annex, not the file itself. Get it with 'git annex get' or 'datalad get'",
    ),
    _Kind(
        _matches(rb"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype html|<html)"),
        "a web page, not the file: the address leads to a page, or the server wants a login. Open the address in a "
        "browser and get the file itself",
    ),
    _Kind(_matches(rb"<volume\b"), f"a Rainbow volume {POLAR}"),
    _Kind(
        _matches(rb"(<\?xml[^>]*>\s*)?<(Error|ServiceException\w*|ows:Exception\w*)\b"),
        "the message of a server that refused the download. Read it, correct the address, and get the file again",
    ),
    _Kind(_matches(rb"(<\?xml[^>]*>\s*)?<kml\b"), f"KML, {_PICTURE}"),
    _Kind(
        _matches(rb"<\?xml|<[A-Za-z][\w:]*[^>]*xmlns"), "XML, whose layout is not known here. Get the product as data"
    ),
    _Kind(
        _matches(rb"[{\[]\s*([\"{\[\]}]|-?\d)"),
        "JSON, such as the list or the message of a web service. Read it, and give the files whose addresses it lists",
    ),
    _Kind(_starts(b"%PDF"), "a PDF document. Get the product as data"),
    _Kind(_starts(b"\x89PNG"), f"a PNG, {_PICTURE}"),
    _Kind(_starts(b"\xff\xd8\xff"), f"a JPEG, {_PICTURE}"),
    _Kind(_starts(b"GIF8"), f"a GIF, {_PICTURE}"),
    _Kind(lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", f"a WebP, {_PICTURE}"),
    _Kind(_starts(b"BM"), f"a BMP, {_PICTURE}"),
    _Kind(
        lambda head: b"BUFR" in head[:64],
        "BUFR, which is not read. Get the product in another format, such as ODIM HDF5, or decode it with ecCodes",
    ),
    _Kind(_starts(b"AR2V", b"ARCHIVE2"), f"a NEXRAD Level II volume {POLAR}"),
    _Kind(lambda head: re.search(rb"SDUS\d\d K", head[:64]) is not None, f"a NEXRAD Level III product {POLAR}"),
    _Kind(
        lambda head: head[:2] in (b"\x1b\x00", b"\x17\x00") and head[3:4] == b"\0" and 0 < head[2] < 32,
        f"a product or volume of IRIS (Sigmet) {POLAR}",
    ),
    _Kind(
        lambda head: b"UF" in (head[:2], head[4:6]) and b"\0" in head[:16], f"a Universal Format (UF) volume {POLAR}"
    ),
    _Kind(_starts(b"SSWB", b"VOLD", b"SWIB"), f"a DORADE sweep {POLAR}"),
    _Kind(  # its values have an LZW coding of its own; the one library that decodes it crashes on damaged files
        _matches(rb"(?=.*\ndata_bits=)(?=.*\nformat=)(\w+=[^\n]*\n){3}"),
        "a METRANET product of MeteoSwiss, which is not read. Give the composite as ODIM HDF5 (open data) or GIF",
    ),
    _Kind(_starts(b"\xd0\xcf\x11\xe0"), "a document of Office, such as an Excel workbook. Save the sheet as CSV"),
    _Kind(_starts(b"7z\xbc\xaf\x27\x1c"), f"a 7z {_UNPACK}"),
    _Kind(_starts(b"Rar!"), f"a RAR {_UNPACK}"),
    _Kind(_starts(b"\x1f\x9d"), "compressed by Unix compress (.Z). Unpack it with 'gunzip'"),
    _Kind(_starts(b"\x04\x22\x4d\x18"), "compressed by lz4. Unpack it with 'lz4 -d'"),
    _Kind(_starts(b"LZIP"), "compressed by lzip. Unpack it with 'lzip -d'"),
    _Kind(_starts(b"SQLite format 3"), "an SQLite or GeoPackage database. Export its values"),
    _Kind(
        _starts(b"PAR1", b"ARROW1"),
        "a table in Parquet or Arrow. Tables of stations go to open_stations (--stations), uncompressed",
    ),
    _Kind(
        _starts(b"\x93NUMPY"),
        "an array of numpy, without place and time. Give it to hybridcast.precipitation with both",
    ),
    _Kind(_starts(b"MATLAB 5.0"), "a MATLAB file. Save it as NetCDF"),
    _Kind(
        _starts(b"\x0e\x03\x13\x01"),
        "HDF4, which is not read. Convert it to NetCDF, e.g. with h4toh5 or gdal_translate",
    ),
    _Kind(
        _starts(b"\x80\x03", b"\x80\x04", b"\x80\x05"), "a Python pickle, which is not safe to read. Save it as NetCDF"
    ),
    _Kind(
        _matches(rb"ncols\s+\d+\s+nrows"),
        "an ASCII grid, without time and units. Convert it to GeoTIFF, e.g. with gdal_translate, and set both",
    ),
    _Kind(
        _starts(b"GRIB"),
        "GRIB. Fields of a model go to open_nwp (--nwp), radar to open_radar, reports of stations have other formats",
    ),
)


def describe(path: Path, head: bytes) -> str | None:
    """Return what a file is, and what to do with it; None if its first bytes do not tell.

    Parameters
    ----------
    path
        The file.
    head
        Its first bytes, uncompressed.
    """
    if is_tar(head):
        return "a compressed tar that its name hides. Rename it to end in .tar.gz, .tar.bz2 or .tar.xz"
    if head.startswith(b"PK\x03\x04"):
        kind = describe_zip(path)
        return kind and f"{kind}. Save its content as files in a known format"
    return next((kind.what for kind in _KINDS if head and kind.is_it(head)), None)


def is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are text in UTF-8."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # and not in a character that is cut
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)
