"""Independent tasks run in this process, in processes of this machine, or by the workers of a dask scheduler.

`WorkerPool` shares many tasks among processes, and repeats a task when the process that ran it was lost, so tasks write
whole files or none. `Worker` is one process that runs one task after the other and stays warm; a task that ends it, or
does not end in time, is reported and not repeated.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, TypeVar

import cloudpickle

from hybridcast.core.extras import extra
from hybridcast.errors import HybridcastError, InputError
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
    with extra("distributed", "a dask scheduler"):
        from distributed import Client
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
    """End this process when its parent has ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody waits for the task, and files are written whole


# --- one process that stays warm ------------------------------------------------------------------------------

#: Longest time (s) between looks at whether a worker is to be given up, and time that it has to end.
_LOOK, _END = 0.2, 5.0
#: Connection of a worker process to its parent.
_to_parent: list[Connection] = []


class WorkerError(RuntimeError):
    """A task failed in the process of a `Worker`.

    Parameters
    ----------
    reason
        What happened, as one line.
    progress
        The last text that the task gave to `report_progress`; empty without one.
    """

    def __init__(self, reason: str, progress: str) -> None:
        self.reason, self.progress = reason, progress
        super().__init__(reason)


class TaskFailedError(WorkerError):
    """The task raised an exception; the process goes on."""


class WorkerLostError(WorkerError):
    """The process died, or was killed because it did not finish in time; the next task starts another."""


class NotStartedError(WorkerError):
    """The process could not be started, for no fault of the task: too many processes, open files, or no memory."""


class StoppedError(WorkerError):
    """The caller gave the task up; the process was killed."""


@dataclass(frozen=True)
class _Answer:
    """What a worker process sends: a text of progress, the result of a task, or its error."""

    kind: str
    value: Any = None


class Worker:
    """A process that runs one task after the other; a context manager that ends it.

    What tasks keep in the modules of the process, such as compiled kernels and a trained model, is there for the next
    one. The process starts with the first task, and again after it was lost. It leaves SIGINT and SIGTERM to its
    parent, and ends with it.
    """

    def __init__(self) -> None:
        self._busy = False
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Number of the process; None if there is none."""
        return None if self._process is None else self._process.pid

    def run(self, task: Task[T], *, timeout: float, give_up: Callable[[], bool] = lambda: False) -> T:
        """Run a task and return its result.

        Parameters
        ----------
        task
            The task; it and its result are pickled.
        timeout
            Longest duration, s, after which the process is killed.
        give_up
            Function that is called five times a second; if it returns True, the process is killed.

        Raises
        ------
        TaskFailedError
            If the task raised an exception.
        WorkerLostError
            If the process died or did not finish in time.
        NotStartedError
            If the system starts no process.
        StoppedError
            If `give_up` returned True.
        """
        try:
            connection = self._connect()
        except OSError as error:
            raise NotStartedError(f"no process can be started ({error.strerror or error})", "") from error
        progress = ""
        until = time.monotonic() + timeout
        try:
            connection.send_bytes(cloudpickle.dumps(task))
            self._busy = True
            while True:
                while not wait([connection], min(_LOOK, max(0.0, until - time.monotonic()))):
                    if give_up():
                        self.close()
                        raise StoppedError("given up", progress)
                    if time.monotonic() >= until:
                        self.close()
                        raise WorkerLostError(f"not finished after {timeout:g} s", progress)
                answer: _Answer = cloudpickle.loads(connection.recv_bytes())
                if answer.kind == "progress":
                    progress = answer.value
                    continue
                self._busy = False
                if answer.kind == "error":
                    raise TaskFailedError(answer.value, progress)
                return answer.value  # type: ignore[no-any-return]
        except (EOFError, OSError) as error:
            raise WorkerLostError(self._describe_end(), progress) from error

    def close(self) -> None:
        """End the process, if there is one; at once if it is busy."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            if not self._busy:
                self._process.join(1.0)  # it ends when the connection is closed
            self._process.kill()
            self._process.join(_END)  # one that waits for a dead network drive ends when the drive is back
        self._process = self._connection = None
        self._busy = False

    def _connect(self) -> Connection:
        if self._process is not None and not self._process.is_alive():
            self.close()
        if self._connection is None:
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            try:
                process.start()
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()
            self._connection, self._process = ours, process
        return self._connection

    def _describe_end(self) -> str:
        """Return how the process ended, as one line, and forget it."""
        process = self._process
        if process is not None:
            process.join(_END)
        code = None if process is None else process.exitcode
        self.close()
        if code is None or code >= 0:
            return f"the process ended with status {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = " (was the memory full?)" if name == "SIGKILL" else ""
        return f"the process died of {name}{hint}"


def report_progress(text: str) -> None:
    """Tell the caller of `Worker.run` what a task does now; without effect in any other process."""
    for connection in _to_parent:
        connection.send_bytes(cloudpickle.dumps(_Answer("progress", text)))


def _serve(connection: Connection) -> None:
    """Run tasks in a worker process, until its parent closes the connection."""
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _to_parent.append(connection)
    while True:
        try:
            pickled = connection.recv_bytes()
        except (EOFError, OSError):
            return
        connection.send_bytes(cloudpickle.dumps(_answer(pickled)))


def _answer(pickled: bytes) -> _Answer:
    try:
        return _Answer("result", _call(pickled))
    except Exception as error:  # any error of a task is told to the caller
        log.debug("a task failed", exc_info=True)
        return _Answer("error", describe_error(error))


def describe_error(error: BaseException) -> str:
    """Return the message of an error and its notes in one line, with its type if it is none of this package."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    expected = isinstance(error, HybridcastError | OSError)
    return " ".join(f"{'' if expected else f'unexpected {type(error).__name__}: '}{error}{notes}".split())
