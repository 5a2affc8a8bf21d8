"""Arrays that are kept between calls: a new array costs as much in page faults as the work done on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


class Workspace:
    """Named scratch arrays, allocated again only when their shape or type changes. Threads must not share one.

    `allocate` returns an array of a shape and type, in the memory of the host or of a device.
    """

    def __init__(self, allocate: Callable[[tuple[int, ...], Any], Any] = np.empty) -> None:
        self._allocate = allocate
        self._arrays: dict[str, Any] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Any:
        """Return the array of this name, with undefined content."""
        array = self._arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            array = self._arrays[name] = self._allocate(shape, dtype)
        return array

    def forget(self) -> None:
        """Free all memory."""
        self._arrays.clear()


_of_threads = threading.local()


def workspace_of_this_thread() -> Workspace:
    """Return the workspace of the calling thread; `forget` frees its memory."""
    if not hasattr(_of_threads, "workspace"):
        _of_threads.workspace = Workspace()
    workspace: Workspace = _of_threads.workspace
    return workspace
