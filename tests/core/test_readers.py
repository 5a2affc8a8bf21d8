from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest

from hybridcast.core.readers import parse_time_in_name, read_bytes, read_head
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


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("201705091045_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz", "2017-05-09T10:45"),
        ("66_20201031_131000.prcp-c10.nc", "2020-10-31T13:10"),
        ("T_PAAH21_C_EUOC_20180824180000.hdf", "2018-08-24T18:00"),
        ("MRMS_PrecipRate_00.00_20190610-000200.grib2.gz", "2019-06-10T00:02"),
        ("raa01-ry_10000-2108230850-dwd---bin.gz", "2021-08-23T08:50"),
        ("RAD_NL25_RAP_5min_201008260235.h5", "2010-08-26T02:35"),
        ("AQC161932050V_00005.801.gif", "2016-07-11T20:50"),
        ("rain_2020-01-01.nc", None),
        ("20201399.nc", None),
        ("202013991200.nc", None),  # no such month
        ("", None),
    ],
)
def test_time_in_name(name, time):
    found = parse_time_in_name(name)
    assert found is None if time is None else found == np.datetime64(time)
