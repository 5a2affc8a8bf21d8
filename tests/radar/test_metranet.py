"""METRANET products are named, with the formats in which the same composites are read."""

from __future__ import annotations

import pytest

from hybridcast.errors import ReadError
from hybridcast.radar import open_radar

#: The first lines of a product, as pymetranet 0.5 writes them.
HEADER = b"pid=RZC\nproduct=RAIN\ntime=241531205VL\nformat=RECT\ndata_unit=mm/h\nrow=640\ncolumn=710\ndata_bits=8\n"


def test_a_metranet_product_is_refused_with_what_to_give(tmp_path):
    path = tmp_path / "RZC241531205VL.801"
    path.write_bytes(HEADER + b"table_num=1\nend_header\n" + b"\0" * 2000)
    with pytest.raises(ReadError, match=r"RZC241531205VL\.801: a METRANET product.*ODIM HDF5.*pymetranet"):
        open_radar(path)
    with pytest.raises(ReadError) as error:
        open_radar(path)
    assert "hybridcast.precipitation" not in error.value.for_command_line
