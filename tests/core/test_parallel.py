"""WorkerPool: processes that are lost, a real cluster, and that nothing is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from hybridcast.core.parallel import (
    NotStartedError,
    StoppedError,
    TaskFailedError,
    Worker,
    WorkerLostError,
    WorkerPool,
    report_progress,
)
from hybridcast.errors import InputError


def _square(number: int, folder: Path) -> int:
    """Square a number; the first time that 3 comes, its process dies."""
    mark = folder / "died"
    if number == 3 and not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{number}-{os.getpid()}").write_text("")
    return number**2


def tasks(folder: Path, count: int = 6):
    return [partial(_square, k, folder) for k in range(count)]


def test_one_worker_is_this_process(tmp_path):
    (tmp_path / "died").write_text("")
    found = []
    WorkerPool().run(tasks(tmp_path), found.append)
    assert sorted(found) == [0, 1, 4, 9, 16, 25]
    assert {path.name.split("-")[1] for path in tmp_path.glob("*-*")} == {str(os.getpid())}


def test_a_process_that_is_lost_costs_time_only(tmp_path):
    found = []
    with WorkerPool(2) as workers:
        workers.run(tasks(tmp_path), found.append)
    assert sorted(found) == [0, 1, 4, 9, 16, 25]  # each is told once
    assert (tmp_path / "died").exists()


def _fail(number: int) -> int:
    raise ZeroDivisionError(f"no {number}")


def test_the_error_of_a_task_is_raised():
    with WorkerPool() as workers, pytest.raises(ZeroDivisionError, match="no 1"):
        workers.run([partial(_fail, 1)], print)


def test_what_is_refused():
    with pytest.raises(InputError, match="one worker at least"):
        WorkerPool(0)
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="a dask scheduler answers there"):
        WorkerPool(1, "nonsense://here")
    from distributed import get_client

    with pytest.raises(ValueError, match="No global client found"):
        get_client()


SLOW = """
import sys, time
from functools import partial
from pathlib import Path
from hybridcast.core.parallel import (
    NotStartedError,
    StoppedError,
    TaskFailedError,
    Worker,
    WorkerLostError,
    WorkerPool,
    report_progress,
)
def wait(k, folder):
    (Path(folder) / f"pid-{__import__('os').getpid()}").write_text("")
    time.sleep(60)
if __name__ == "__main__":
    with WorkerPool(2) as workers:
        workers.run([partial(wait, k, sys.argv[1]) for k in range(2)], print)
"""


def test_workers_end_with_their_parent(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    end = time.monotonic() + 60
    while len(pids := [int(path.name[4:]) for path in tmp_path.glob("pid-*")]) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert len(pids) == 2
    while any(map(_alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(_alive, pids))


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


# --- one process that stays warm ------------------------------------------------------------------------------

_kept: list[int] = []


def _keep(number: int) -> list[int]:
    """Add to what the process keeps, and return all of it."""
    report_progress(f"keeping {number}")
    _kept.append(number)
    return list(_kept)


def _die(kind: int) -> None:
    report_progress("dying")
    os.kill(os.getpid(), kind)
    time.sleep(60)


def _hang() -> None:
    report_progress("hanging")
    time.sleep(60)


def _refuse() -> None:
    raise InputError("a", "b", "c")


@pytest.fixture(scope="module")
def worker():
    with Worker() as made:
        yield made


@pytest.mark.process
def test_a_worker_stays_warm_and_is_another_process(worker):
    first = worker.run(partial(_keep, 1), timeout=60)
    assert worker.run(partial(_keep, 2), timeout=60) == [*first, 2]
    assert worker.run(os.getpid, timeout=60) == worker.pid != os.getpid()
    assert not _kept


@pytest.mark.process
def test_an_error_of_a_task_is_told_and_the_process_goes_on(worker):
    pid = worker.run(os.getpid, timeout=60)
    with pytest.raises(TaskFailedError, match=r"^a; b\. c\.$"):
        worker.run(_refuse, timeout=60)
    with pytest.raises(TaskFailedError, match="unexpected ZeroDivisionError: no 1"):
        worker.run(partial(_fail, 1), timeout=60)
    assert worker.pid == pid


@pytest.mark.process
@pytest.mark.parametrize("kind", [signal.SIGSEGV, signal.SIGKILL])
def test_a_process_that_dies_is_told_and_replaced(worker, kind):
    with pytest.raises(WorkerLostError, match=f"died of {kind.name}") as lost:
        worker.run(partial(_die, kind), timeout=60)
    assert lost.value.progress == "dying"
    assert worker.run(partial(_keep, 3), timeout=60) == [3]


@pytest.mark.process
def test_a_process_that_hangs_is_replaced(worker):
    pid = worker.run(os.getpid, timeout=60)
    with pytest.raises(WorkerLostError, match=r"not finished after 0\.5 s") as lost:
        worker.run(_hang, timeout=0.5)
    assert lost.value.progress == "hanging"
    assert not _is_alive(pid)
    assert worker.run(os.getpid, timeout=60) != pid


@pytest.mark.process
def test_a_machine_that_starts_no_process_is_told_and_the_next_task_runs(monkeypatch):
    def refuse(self):
        raise OSError(12, "Cannot allocate memory")

    with Worker() as worker:
        with monkeypatch.context() as patch:
            patch.setattr(multiprocessing.get_context("spawn").Process, "start", refuse)
            for _ in range(2):
                with pytest.raises(NotStartedError, match=r"no process can be started \(Cannot allocate memory\)"):
                    worker.run(os.getpid, timeout=60)
        assert worker.run(os.getpid, timeout=60) != os.getpid()


@pytest.mark.process
def test_a_task_can_be_given_up(worker):
    asked = []
    pid = worker.run(os.getpid, timeout=60)
    with pytest.raises(StoppedError):
        worker.run(_hang, timeout=60, give_up=lambda: asked.append(1) or len(asked) > 1)
    assert not _is_alive(pid)


@pytest.mark.process
def test_a_worker_leaves_signals_to_its_parent(worker):
    assert worker.run(partial(os.kill, worker.run(os.getpid, timeout=60), signal.SIGTERM), timeout=60) is None


def test_progress_of_a_task_in_this_process_is_told_to_nobody():
    report_progress("nothing")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
