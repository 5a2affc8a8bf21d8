"""MeteoSwiss METRANET products (RZC, AZC, CPC, ... ``.801``), which are recognised but not read.

A product is a header of lines ``key=value`` that ends with ``end_header``, tables, and values in an LZW coding of its
own. The one public library that decodes it, pymetranet, ends the process on a damaged file. MeteoSwiss publishes the
same composites as ODIM HDF5.
"""

from __future__ import annotations

import re
from pathlib import Path

import xarray as xr

from hybridcast.errors import ReadError

NAME = "metranet"
DESCRIPTION = "MeteoSwiss METRANET products: recognised, not read"

_KEY = re.compile(rb"^(pid|product|data_bits|format|table_num)=", re.MULTILINE)


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file starts with the header of a METRANET product."""
    return len(set(_KEY.findall(head))) >= 3


def read(path: Path) -> xr.DataArray:
    """Raise `ReadError` with the formats in which MeteoSwiss gives the same composites."""
    reason = "a METRANET product, which is not read. Give the composite as ODIM HDF5 (MeteoSwiss open data) or as GIF"
    in_python = ", or decode it with pymetranet and give the values to hybridcast.precipitation"
    raise ReadError(path, reason + in_python, cli_reason=reason)
