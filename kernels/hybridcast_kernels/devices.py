"""The hardware that the kernels run on. CUDA is loaded only when it is needed."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
import threading
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from hybridcast_kernels.flow_cpu import FlowOptions

Device = Literal["auto", "cpu", "cuda"]
Array = NDArray[np.float32]


class Kernels(Protocol):
    """Kernels that `kernels_for` returns; their arguments and results are arrays of the host."""

    def estimate(self, frames: Array, offsets: Array, options: FlowOptions | None = None) -> tuple[Array, bool]:
        """Estimate the flow of frames: see `flow_cpu.estimate`."""
        ...

    def advect(
        self,
        fields: Array,
        flow: Array,
        leads: Array,
        order: int = 1,
        *,
        coefficients: Array | None = None,
        longest_step: float = np.inf,
        out: Array | None = None,
    ) -> Array:
        """Advect fields along a flow: see `advection_cpu.advect`."""
        ...


@dataclass(frozen=True)
class Choice:
    """The device that is used, and the reason."""

    device: Literal["cpu", "cuda"]
    """Name of the device."""
    reason: str
    """Reason for the choice, for the user."""


_lock = threading.Lock()
_found: tuple[bool, str] | None = None


def choose(device: Device = "auto") -> Choice:
    """Return the device to use; "auto" chooses a GPU if one works.

    Raises
    ------
    ValueError
        If `device` is unknown, or is "cuda" and no GPU works; the message contains the reason.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}, not 'auto', 'cpu' or 'cuda'")
    if device == "cpu":
        return Choice("cpu", "asked for")
    works, reason = cuda_works()
    if device == "cuda":
        if not works and not simulated():
            raise ValueError(reason)
        return Choice("cuda", reason)
    return Choice("cuda" if works else "cpu", reason)


def kernels_for(device: Literal["cpu", "cuda"]) -> Kernels:
    """Return the kernels of a device: the module `cpu`, or `gpu`, which this call imports."""
    name = {"cpu": "cpu", "cuda": "gpu"}[device]
    return cast(Kernels, importlib.import_module(f"hybridcast_kernels.{name}"))


def simulated() -> bool:
    """Return whether numba simulates CUDA (``NUMBA_ENABLE_CUDASIM``), which is slow and meant for tests."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def cuda_works() -> tuple[bool, str]:
    """Return whether a CUDA device works, and its name or the reason why not. It is tried once in a process."""
    global _found
    with _lock:
        if _found is None:
            _found = _try_cuda()
        return _found


def _try_cuda() -> tuple[bool, str]:
    # Cheap tests come first: most machines have no GPU, and should find out without loading numba.cuda.
    if simulated():
        return False, "numba simulates CUDA (NUMBA_ENABLE_CUDASIM), which is no GPU"
    if importlib.util.find_spec("numba_cuda") is None:
        return False, "no GPU code: numba-cuda is not installed (pip install 'hybridcast[cuda]')"
    if not _driver_is_there():
        return False, "no GPU: this machine has no NVIDIA driver"
    return _try_kernel()


def _driver_is_there() -> bool:
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _try_kernel() -> tuple[bool, str]:
    """Shift a small field by a cell, which fails if a device, a compiler or a library is missing."""
    field = np.arange(256, dtype=np.float32).reshape(1, 16, 16)
    flow = np.stack([np.ones((16, 16)), np.zeros((16, 16))]).astype(np.float32)
    try:
        gpu = importlib.import_module("hybridcast_kernels.gpu")
        moved = gpu.advect(field, flow, np.ones(1, dtype=np.float32))
        name = str(gpu.name())
    except Exception as error:  # whatever fails, the CPU works; the reason is returned
        return False, f"the GPU does not work: {type(error).__name__}: {' '.join(str(error).split())}"
    if not np.array_equal(moved[0, 0, :, 1:], field[0, :, :-1]):
        return False, f"the GPU ({name}) gives wrong results"
    return True, name


def forget() -> None:
    """Discard the result, so that the next call tries the device again."""
    global _found
    with _lock:
        _found = None
