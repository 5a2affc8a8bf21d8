"""WorkerPool: processes that are lost, a real cluster, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from hybridcast.core.parallel import WorkerPool
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
from hybridcast.core.parallel import WorkerPool
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
