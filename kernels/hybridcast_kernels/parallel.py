"""One thread pool for all CPU kernels.

The kernels release the GIL and process bands of rows; threads of Python run the bands. This is preferred to the
threading layers of numba because it is safe when called from many threads (dask workers) at once, never runs more
threads than the machine has processors, does not spin while other processes are busy, and needs no ``parallel=True``,
which makes kernels slow to compile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

#: Smallest number of cells in a band.
LEAST_WORK = 65_536

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_threads: int | None = None
_of_thread = threading.local()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows do not report which ones this process may use


def threads() -> int:
    """Return the number of threads: ``HYBRIDCAST_NUM_THREADS``, or the processors that this process may use."""
    global _threads
    if _threads is None:
        _threads = max(1, int(os.environ.get("HYBRIDCAST_NUM_THREADS", "0")) or _processors())
    return _threads


def set_threads(count: int) -> None:
    """Use `count` threads from now on; call it while no kernel runs."""
    global _threads
    if count < 1:
        raise ValueError(f"count is {count}; at least one thread is needed")
    _threads = int(count)
    _forget_pool()


def _forget_pool() -> None:
    global _pool
    _pool = None


def _start_afresh() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it when the process was forked
    _forget_pool()


# A forked child has none of the threads of its parent: it starts a pool of its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


def _get_pool() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(threads(), thread_name_prefix="hybridcast")
        return _pool


def over_bands(band: Callable[[int, int], None], rows: int, row_work: int) -> None:
    """Run ``band(first, last)`` over all `rows`, split into bands that are large enough for a thread.

    `row_work` is the number of cells processed in a row. There are more bands than threads, so that a thread that is
    slowed down by other processes takes fewer of them; but starting a thread costs as much as ten thousand cells. What
    a band itself runs over bands is not split again: its thread would wait for threads that wait too.
    """
    count = min(4 * threads(), rows, rows * row_work // LEAST_WORK)
    if threads() == 1 or count < 2 or getattr(_of_thread, "runs_a_band", False):
        band(0, rows)
        return
    edges = [rows * k // count for k in range(count + 1)]
    pool = _get_pool()
    futures = [pool.submit(_run_band, band, edges[k], edges[k + 1]) for k in range(1, count)]
    _run_band(band, edges[0], edges[1])  # the calling thread works too instead of waiting
    for future in futures:
        future.result()


def _run_band(band: Callable[[int, int], None], first: int, last: int) -> None:
    _of_thread.runs_a_band = True
    try:
        band(first, last)
    finally:
        _of_thread.runs_a_band = False
