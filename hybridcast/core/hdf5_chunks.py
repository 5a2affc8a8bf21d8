"""Chunks of HDF5 datasets, compressed and decompressed in threads.

HDF5 has one lock for all files, so that reading in threads is not faster. Here only the compressed bytes pass through
HDF5, one chunk after the other; zlib, the conversion of values and copies release the lock of the interpreter.
Datasets with other filters than deflate and shuffle are left to HDF5.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast_kernels.parallel import threads

#: Number of values of the largest data set that is read, 1 GB as float32; the largest composites have 25 million.
MAX_CELLS = 2**28
_MAX_CHUNKS = 5000  # of more and smaller ones HDF5 takes better care
_DEFLATE, _SHUFFLE = 1, 2  # HDF5's numbers of the filters
Convert = Callable[[NDArray[Any]], NDArray[Any]]


class _Layout(NamedTuple):
    """How the chunks of a dataset are stored."""

    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    shuffles: bool
    level: int

    @property
    def size(self) -> int:
        """Number of bytes of a chunk."""
        return int(np.prod(self.chunks)) * self.dtype.itemsize


def read_dataset(dataset: Any, convert: Convert, dtype: Any = np.float32) -> NDArray[Any]:
    """Read a dataset, and convert its values chunk by chunk, so that it is never in memory as a whole.

    Parameters
    ----------
    dataset
        Dataset of h5py.
    convert
        Returns the converted values of an array of any shape, value by value.
    dtype
        Type of the converted values.

    Raises
    ------
    OSError
        If a chunk is damaged, or the data set is impossibly large.
    """
    if dataset.size > MAX_CELLS:
        raise OSError(f"{dataset.shape} values, more than {MAX_CELLS}: its shape is damaged")
    layout = _find_layout(dataset)
    infos = [] if layout is None else _list_chunks(dataset)
    if layout is None or not infos or any(info.filter_mask for info in infos):
        return np.asarray(convert(dataset[...]), dtype=dtype)
    result = np.empty(dataset.shape, dtype=dtype)
    if len(infos) < np.prod([-(-n // c) for n, c in zip(dataset.shape, layout.chunks, strict=True)]):
        result[...] = convert(np.full((1,) * dataset.ndim, dataset.fillvalue, dtype=layout.dtype))

    def decode(offset: tuple[int, ...], data: bytes) -> None:
        place = tuple(slice(o, min(o + c, n)) for o, c, n in zip(offset, layout.chunks, result.shape, strict=True))
        values = _decompress(data, layout)[tuple(slice(0, part.stop - part.start) for part in place)]
        result[place] = convert(values)

    chunks = ((info.chunk_offset, dataset.id.read_direct_chunk(info.chunk_offset)[1]) for info in infos)
    for _ in _map_in_order(decode, chunks):
        pass
    return result


def _list_chunks(dataset: Any) -> list[Any]:
    """Return place and filters of all chunks; an empty list if there are too many, or HDF5 is too old to list them."""
    infos: list[Any] = []
    if hasattr(dataset.id, "chunk_iter") and dataset.id.get_num_chunks() <= _MAX_CHUNKS:
        dataset.id.chunk_iter(infos.append)  # by index, each is searched from the first on
    return infos


def write_dataset(dataset: Any, values: NDArray[Any], start: tuple[int, ...]) -> None:
    """Write values into a chunked dataset that is compressed by deflate, as HDF5 would.

    Parameters
    ----------
    dataset
        Dataset of h5py.
    values
        Values of whole chunks.
    start
        Index of their first value in the dataset.
    """
    layout = _find_layout(dataset)
    if layout is None:
        dataset[tuple(slice(s, s + n) for s, n in zip(start, values.shape, strict=True))] = values
        return

    def compress(offset: tuple[int, ...]) -> tuple[tuple[int, ...], bytes]:
        place = tuple(slice(o, o + c) for o, c in zip(offset, layout.chunks, strict=True))
        return tuple(s + o for s, o in zip(start, offset, strict=True)), _compress(values[place], layout)

    offsets = itertools.product(*(range(0, n, c) for n, c in zip(values.shape, layout.chunks, strict=True)))
    for offset, data in _map_in_order(compress, ((offset,) for offset in offsets)):
        dataset.id.write_direct_chunk(offset, data)


def _find_layout(dataset: Any) -> _Layout | None:
    """Return the layout of a dataset of numbers with deflate and perhaps shuffle; None for any other."""
    if dataset.chunks is None or dataset.dtype.kind not in "iuf":
        return None
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(index) for index in range(plist.get_nfilters())]
    numbers = [found[0] for found in filters]
    if numbers not in ([_DEFLATE], [_SHUFFLE, _DEFLATE]):
        return None
    return _Layout(dataset.dtype, dataset.chunks, _SHUFFLE in numbers, filters[-1][2][0])


def _decompress(data: bytes, layout: _Layout) -> NDArray[Any]:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, layout.size + 1)
    except zlib.error as error:
        raise OSError(f"a chunk is damaged: {error}") from error
    if len(plain) != layout.size or not inflater.eof:
        raise OSError(f"a chunk has not the {layout.size} bytes announced")
    if layout.shuffles:
        plain = np.frombuffer(plain, np.uint8).reshape(layout.dtype.itemsize, -1).T.tobytes()
    return np.frombuffer(plain, layout.dtype).reshape(layout.chunks)


def _compress(values: NDArray[Any], layout: _Layout) -> bytes:
    full = values
    if values.shape != layout.chunks:  # at the edges, chunks are whole too
        full = np.zeros(layout.chunks, dtype=layout.dtype)
        full[tuple(slice(0, n) for n in values.shape)] = values
    plain = np.ascontiguousarray(full, dtype=layout.dtype).view(np.uint8).reshape(-1, layout.dtype.itemsize)
    if not layout.shuffles:
        return zlib.compress(plain.tobytes(), layout.level)
    # after the shuffle, what repeats are runs of one byte: to look for longer matches takes twice the time for 2 %
    deflater = zlib.compressobj(layout.level, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return deflater.compress(plain.T.tobytes()) + deflater.flush()


def _map_in_order(function: Callable[..., Any], arguments: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
    """Yield results in order, computed in threads, of which few are in memory at a time."""
    count = threads()
    if count == 1:
        yield from itertools.starmap(function, arguments)
        return
    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(function, *one) for one in itertools.islice(arguments, 4 * count)]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(pool.submit(function, *one) for one in itertools.islice(arguments, 1))
