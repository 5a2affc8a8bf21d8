"""HDF5 chunks in threads: the same values as h5py reads, and files that h5py and netCDF4 read."""

from __future__ import annotations

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from hybridcast.core.hdf5_chunks import read_dataset
from hybridcast.core.netcdf import write_netcdf

NUMBERS = np.random.default_rng(0).integers(0, 250, (70, 90))


def saved(folder, values, **options):
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("a", data=values, **options)
    return folder / "a.h5"


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (32, 40)},
        {"chunks": (32, 40), "compression": "gzip", "compression_opts": 9},
        {"chunks": (70, 90), "compression": "gzip", "shuffle": True},
        {"chunks": (7, 9), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (32, 40), "compression": "lzf"},
    ],
    ids=["contiguous", "chunks", "gzip", "shuffle", "fletcher32", "lzf"],
)
def test_values_are_those_that_h5py_reads(tmp_path, dtype, options):
    with h5py.File(saved(tmp_path, NUMBERS.astype(dtype), **options)) as file:
        read = read_dataset(file["a"], lambda values: values * np.float32(2))
        np.testing.assert_array_equal(read, file["a"][...] * 2.0)
    assert read.dtype == np.float32


def test_chunks_that_were_never_written_have_the_fill_value(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("a", (70, 90), "u1", chunks=(32, 40), compression="gzip", fillvalue=255)
        data[:10, :10] = 3
        data[40:, 80:] = 0
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(read_dataset(file["a"], lambda values: values), file["a"][...])
        assert file["a"].id.get_num_chunks() < 9


def test_a_damaged_chunk_is_an_error_and_not_rain(tmp_path):
    path = saved(tmp_path, NUMBERS.astype("f8"), chunks=(32, 40), compression="gzip")
    with h5py.File(path) as file:
        info = file["a"].id.get_chunk_info(4)
    content = bytearray(path.read_bytes())
    content[info.byte_offset + 20 : info.byte_offset + 60] = bytes(40)
    path.write_bytes(content)
    with h5py.File(path) as file, pytest.raises(OSError, match=r"a chunk is damaged|bytes announced"):
        read_dataset(file["a"], lambda values: values)


def test_a_chunk_that_inflates_to_more_than_announced_is_an_error(tmp_path):
    import zlib

    with h5py.File(saved(tmp_path, np.zeros((70, 90)), chunks=(32, 40), compression="gzip"), "r+") as file:
        file["a"].id.write_direct_chunk((0, 0), zlib.compress(bytes(10_000_000)))
        with pytest.raises(OSError, match="bytes announced"):
            read_dataset(file["a"], lambda values: values)


def test_an_impossible_shape_takes_no_memory(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (1_000_000, 1_000_000), "u1", chunks=(1000, 1000), compression="gzip")
        with pytest.raises(OSError, match="its shape is damaged"):
            read_dataset(file["a"], lambda values: values)


def test_very_small_chunks_are_left_to_hdf5(tmp_path):
    with h5py.File(saved(tmp_path, np.tile(NUMBERS, (2, 2)), chunks=(1, 1), compression="gzip")) as file:
        np.testing.assert_array_equal(read_dataset(file["a"], lambda values: values), file["a"][...])


def test_netcdf_written_in_threads_is_read_by_other_libraries(tmp_path):
    values = np.where(NUMBERS > 200, np.nan, NUMBERS / 7).astype(np.float32)
    data = xr.Dataset({"rate": (("y", "x"), values, {"units": "mm h-1"}), "step": ((), 5.0)}, coords={"x": range(90)})
    compressed = {"zlib": True, "complevel": 1, "shuffle": True, "_FillValue": np.float32(np.nan)}
    write_netcdf(data, tmp_path / "a.nc", {"rate": compressed})
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        np.testing.assert_array_equal(np.ma.filled(file["rate"][:], np.nan), values)
        assert file["rate"].filters()["shuffle"]
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as read:
        xr.testing.assert_identical(read.load(), data)
