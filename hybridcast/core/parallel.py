"""Tasks run by dask: here, on processes of this machine, or on the workers of a dask.distributed scheduler.

A task is done again when the process that worked on it was lost, so tasks write whole files or none.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

import dask
from dask.callbacks import Callback

from hybridcast.errors import DependencyError, InputError
from hybridcast_kernels.parallel import set_threads, threads

log = logging.getLogger(__name__)

Done = Callable[[Any], None]
"""Told what a task gave, as soon as it is done."""
#: A task is begun at most so many times on workers that die of it.
ATTEMPTS = 4


class Workers:
    """Who works; a context manager that ends the processes it started.

    Parameters
    ----------
    count
        Processes of this machine; with 1 all is done in this one. They share the threads of the kernels. Processes
        and not threads, because pysteps seeds numpy's one global random state.
    scheduler
        Address of a dask.distributed scheduler; then its workers work, and `count` says nothing.

    Raises
    ------
    InputError
        If `count` is below 1, or no scheduler answers at the address.
    DependencyError
        If `scheduler` is given and dask.distributed is not installed.
    """

    def __init__(self, count: int = 1, scheduler: str | None = None) -> None:
        if count < 1:
            raise InputError(f"workers = {count}", "there is one worker at least", "Correct it")
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        self._client: Any = _client(scheduler) if scheduler else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def run(self, tasks: Sequence[Any], done: Done) -> None:
        """Compute delayed `tasks`; the first error of one of them is raised."""
        if self._client is not None:
            self._run_distributed(tasks, done)
        elif self.count == 1 or len(tasks) < 2:
            with _Teller(done):
                dask.compute(*tasks, scheduler="synchronous")
        else:
            self._run_processes(tasks, done)

    def _run_processes(self, tasks: Sequence[Any], done: Done) -> None:
        told: set[Any] = set()
        for attempt in range(1, ATTEMPTS + 1):
            if self._pool is None:
                share = max(1, threads() // self.count)
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self.count, context, initializer=_start, initargs=(share,))
            try:
                with _Teller(done, told):
                    dask.compute(*tasks, scheduler="processes", pool=self._pool, chunksize=1)
            except BrokenProcessPool:
                self._pool = None
                if attempt == ATTEMPTS:
                    raise
                log.warning("a worker process was lost; its task is done again")
            else:
                return

    def _run_distributed(self, tasks: Sequence[Any], done: Done) -> None:
        from distributed import as_completed

        futures = self._client.compute(list(tasks))
        with self._client.as_current():
            try:
                for future in as_completed(futures):
                    done(future.result())
            finally:
                self._client.cancel(futures)


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise DependencyError(
            f"a scheduler needs dask.distributed ({error}); pip install 'hybridcast[distributed]'"
        ) from error
    try:
        # not the default one of this process: xarray would ask it for its locks, even if no scheduler has answered
        return Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"scheduler {address!r} ({error})", "a dask scheduler answers there", "Start it, or correct the address"
        ) from error


def _start(share: int) -> None:
    """Begin a worker process: its share of the threads, and an end when its parent is killed."""
    set_threads(share)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody waits for what is being computed, and files are written whole


class _Teller(Callback):  # type: ignore[misc]
    """Tell what each task gave; once, if it is done again beside another that was lost."""

    def __init__(self, done: Done, told: set[Any] | None = None) -> None:
        super().__init__()
        self._done, self._told = done, set() if told is None else told

    def _posttask(self, key: Any, value: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        if key not in self._told:
            self._told.add(key)
            self._done(value)
