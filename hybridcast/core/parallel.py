"""Independent tasks run in this process, in processes of this machine, or by the workers of a dask scheduler.

A task is repeated when the process that ran it was lost, so tasks write whole files or none.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, TypeVar

import cloudpickle

from hybridcast.errors import DependencyError, InputError
from hybridcast_kernels.parallel import set_threads, threads

log = logging.getLogger(__name__)

T = TypeVar("T")
Task = Callable[[], T]
"""A function without arguments, such as ``functools.partial(function, argument)``."""
OnResult = Callable[[T], None]
"""Function that receives the result of a task as soon as it is available."""
#: Number of times that tasks are started on processes that are lost.
ATTEMPTS = 4


class WorkerPool:
    """Pool of worker processes of this machine or of a dask scheduler; a context manager that ends what it started.

    Parameters
    ----------
    count
        Number of processes; with 1, tasks run in this process. The processes divide the threads of the kernels among
        them. They are processes and not threads because pysteps seeds the one global random state of numpy.
    scheduler
        Address of a ``dask.distributed`` scheduler, whose workers then run the tasks; `count` is ignored.

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
        self._processes: ProcessPoolExecutor | None = None
        self._client: Any = _connect(scheduler) if scheduler else None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def run(self, tasks: Sequence[Task[T]], on_result: OnResult[T]) -> None:
        """Run all tasks and pass each result to `on_result`, in the order in which tasks finish.

        The first exception of a task is raised.
        """
        if self._client is None and (self.count == 1 or len(tasks) < 2):
            for task in tasks:
                on_result(task())
            return
        remaining = list(tasks)
        for _ in range(ATTEMPTS):
            remaining = _run_on(self._executor(), remaining, on_result)
            if not remaining:
                return
            self._processes = None
            log.warning("a worker process was lost; unfinished tasks are started again")
        raise BrokenProcessPool(f"{len(remaining)} tasks lost their process {ATTEMPTS} times")

    def _executor(self) -> Executor:
        if self._client is not None:
            executor: Executor = self._client.get_executor()
            return executor
        if self._processes is None:
            share = max(1, threads() // self.count)
            context = multiprocessing.get_context("spawn")
            self._processes = ProcessPoolExecutor(self.count, context, initializer=_start_worker, initargs=(share,))
        return self._processes


def _run_on(executor: Executor, tasks: Sequence[Task[T]], on_result: OnResult[T]) -> list[Task[T]]:
    """Run tasks; return those that were lost with the processes of the executor."""
    lost: list[Task[T]] = []
    running = {}
    try:
        for task in tasks:
            try:
                running[executor.submit(_call, cloudpickle.dumps(task))] = task
            except BrokenProcessPool:
                lost.append(task)
        for future in as_completed(running):
            try:
                result = future.result()
            except BrokenProcessPool:
                lost.append(running[future])
            else:
                on_result(result)
    finally:
        for future in running:
            future.cancel()
    return lost


def _call(pickled: bytes) -> Any:
    """Run a task pickled by cloudpickle, which unlike pickle also accepts local functions."""
    return cloudpickle.loads(pickled)()


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise DependencyError(
            f"a scheduler needs dask.distributed ({error}); pip install 'hybridcast[distributed]'"
        ) from error
    try:
        # not the default client of this process: xarray would ask it for locks, even if no scheduler has answered
        return Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"scheduler {address!r} ({error})", "a dask scheduler answers there", "Start it, or correct the address"
        ) from error


def _start_worker(share: int) -> None:
    """Prepare a worker process: limit its threads, and end it when its parent is killed."""
    set_threads(share)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody waits for the task, and files are written whole
