"""Device memory and the shape of launches, for the CUDA kernels.

Importing this module loads numba.cuda and initialises nothing; the first array on the device does.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda.cudadrv.devicearray import is_cuda_ndarray
from numba.cuda.cudadrv.driver import CudaAPIError
from numpy.typing import DTypeLike, NDArray

from hybridcast_kernels.workspace import Workspace

#: An array on the device: numba's, or anything with ``__cuda_array_interface__`` (torch, CuPy), which is not copied.
DeviceArray = Any

BLOCK = (32, 8, 1)  # threads along columns, so that a warp reads neighbours
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


class DeviceMemoryError(MemoryError):
    """The free memory of the device is too small."""


def empty(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> DeviceArray:
    """Return an array on the device with undefined content; raise `DeviceMemoryError` if it does not fit."""
    try:
        return cuda.device_array(shape, dtype=dtype)
    except CudaAPIError as error:
        if error.code != OUT_OF_MEMORY:
            raise
        size = np.prod(shape, dtype=np.float64) * np.dtype(dtype).itemsize
        raise DeviceMemoryError(f"the device has no {size / 1e6:.0f} MB free") from error


def upload(array: NDArray[Any]) -> DeviceArray:
    """Return a copy of an array on the device."""
    target = empty(array.shape, array.dtype)
    target.copy_to_device(np.ascontiguousarray(array))
    return target


def on_device(array: DeviceArray) -> DeviceArray:
    """Return an array that is on the device already as an array of numba, without a copy."""
    if is_cuda_ndarray(array):
        return array
    if not hasattr(array, "__cuda_array_interface__"):
        raise TypeError(f"found {type(array).__name__}; it has no __cuda_array_interface__. Upload it first")
    return cuda.as_cuda_array(array)


def launch_over(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the blocks and threads that cover a grid of shape ``(y, x)`` or ``(plane, y, x)``."""
    planes, rows, columns = (1, *shape)[-3:]
    across, down, _ = BLOCK
    return (-(-columns // across), -(-rows // down), planes), BLOCK


_of_threads = threading.local()


def device_workspace() -> Workspace:
    """Return the scratch memory on the device for calls from this thread."""
    if not hasattr(_of_threads, "workspace"):
        _of_threads.workspace = Workspace(empty)
    workspace: Workspace = _of_threads.workspace
    return workspace
