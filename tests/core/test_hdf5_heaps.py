"""Damaged global heaps, in which the HDF5 library loops without end."""

from __future__ import annotations

import h5py
import pytest

from hybridcast.core._hdf5_heaps import has_damaged_heap, is_damaged
from hybridcast.core.netcdf import open_hdf5
from hybridcast.errors import ReadError


@pytest.fixture
def with_heap(tmp_path):
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("texts", data=["rain", "snow", "hail"] * 20, dtype=h5py.string_dtype())
    return path


def test_intact_heap_is_read(with_heap):
    assert not has_damaged_heap(with_heap)
    with open_hdf5(with_heap) as file:
        assert file["texts"][1] == b"snow"


def test_zeros_in_a_heap_are_refused_instead_of_read_for_ever(with_heap):
    data = bytearray(with_heap.read_bytes())
    heap = data.index(b"GCOL")
    length = int.from_bytes(data[heap + 8 : heap + 16], "little")
    data[heap + 64 : heap + length] = bytes(length - 64)
    with_heap.write_bytes(data)
    with pytest.raises(ReadError, match="global heap"), open_hdf5(with_heap):
        pass


def test_collection_that_ends_without_free_space_has_an_end():
    one = (1).to_bytes(2, "little") + bytes(6) + (8).to_bytes(8, "little") + b"12345678"
    assert not is_damaged(b"GCOL\x01\x00\x00\x00" + (40).to_bytes(8, "little") + one)


@pytest.mark.parametrize("at", [8, 24])
def test_sizes_beyond_the_file_are_refused_before_memory_is_taken(with_heap, at):
    data = bytearray(with_heap.read_bytes())
    heap = data.index(b"GCOL")
    data[heap + at : heap + at + 8] = (2**33).to_bytes(8, "little")
    with_heap.write_bytes(data)
    with pytest.raises(ReadError, match="global heap"), open_hdf5(with_heap):
        pass
