from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest

from hybridcast.core.readers import read_bytes, read_head
from hybridcast.errors import ReadError


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_bytes_come_uncompressed_whatever_the_name(tmp_path, pack):
    path = tmp_path / "a.dat"
    path.write_bytes(pack(b"0123456789" * 1000))
    assert read_bytes(path) == b"0123456789" * 1000
    assert read_head(path, 4) == b"0123"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("damage", ["cut", "change"])
def test_damaged_compression_names_the_file(tmp_path, pack, damage):
    content = pack(np.random.default_rng(0).bytes(50_000))
    middle = len(content) // 2
    path = tmp_path / "a.gz"
    path.write_bytes(content[:middle] if damage == "cut" else content[:middle] + b"\0" * 50 + content[middle + 50 :])
    with pytest.raises(ReadError, match=r"a\.gz: "):
        read_bytes(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ReadError, match=r"gone\.dat"):
        read_bytes(tmp_path / "gone.dat")
    assert read_head(tmp_path) == b""


def test_empty_file(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    assert read_bytes(tmp_path / "a") == b""
