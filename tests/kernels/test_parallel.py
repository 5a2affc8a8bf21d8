"""The threads that kernels run on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from hybridcast_kernels import parallel


@pytest.fixture(autouse=True)
def _same_threads_after():
    before = parallel.threads()
    yield
    parallel.set_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rows", [0, 1, 31, 32, 63, 64, 65, 127, 1000])
@pytest.mark.parametrize("least", [1, 4, 32])
def test_every_row_is_worked_once(threads, rows, least):
    """`least` rows are worth a thread."""
    parallel.set_threads(threads)
    count = np.zeros(rows, int)
    lengths = []

    def band(first, last):
        count[first:last] += 1
        lengths.append(last - first)

    parallel.over_bands(band, rows, parallel.LEAST_WORK // least)
    assert (count == 1).all()
    assert sum(lengths) == rows
    assert len(lengths) <= 4 * threads
    assert len(lengths) == 1 or min(lengths) >= least


def test_more_than_one_thread_works():
    parallel.set_threads(2)
    together = threading.Barrier(2, timeout=20)
    parallel.over_bands(
        lambda first, last: together.wait() if first in (0, 500) else None, 1000, parallel.LEAST_WORK // 500 + 1
    )


def test_bands_of_a_band_run_in_its_thread():
    """If they waited for threads of the pool, whose threads all wait for bands of their own, none would go on."""
    parallel.set_threads(2)
    where = []

    def inner(first, last):
        where.append((threading.get_ident(), first, last))

    def outer(first, last):
        before = len([one for one in where if one[0] == threading.get_ident()])
        parallel.over_bands(inner, 1000, 1000)
        mine = [one for one in where if one[0] == threading.get_ident()]
        assert mine[before:] == [(threading.get_ident(), 0, 1000)]

    parallel.over_bands(outer, 1000, 1000)
    assert len(where) == 8
    where.clear()
    parallel.over_bands(inner, 1000, 1000)  # outside of a band it is split again
    assert len(where) == 8


def test_an_error_in_any_band_is_raised():
    parallel.set_threads(2)

    def fail(at):
        def band(first, last):
            if first <= at < last:
                raise RuntimeError(f"row {at}")

        return band

    for at in (0, 400, 999):
        with pytest.raises(RuntimeError, match=f"row {at}"):
            parallel.over_bands(fail(at), 1000, 1000)
    parallel.over_bands(lambda first, last: None, 1000, 1000)


def test_at_least_one_thread_is_asked_for():
    with pytest.raises(ValueError, match="at least one thread"):
        parallel.set_threads(0)


def run(code: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.strip()


SHOW = "from hybridcast_kernels.parallel import threads; print(threads())"


def test_the_environment_sets_the_number_of_threads():
    assert run(SHOW, HYBRIDCAST_NUM_THREADS="3") == "3"


def test_by_default_it_is_that_of_the_processors_this_process_may_use():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " + SHOW
    assert run(code, HYBRIDCAST_NUM_THREADS="0") == "1"


def test_without_affinity_it_is_that_of_all_processors():
    code = "import os; vars(os).pop('sched_getaffinity', None); os.cpu_count = lambda: 7; " + SHOW
    assert run(code, HYBRIDCAST_NUM_THREADS="0") == "7"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_threads_of_its_own():
    """Even if another thread of the parent held the lock, or worked, when it was forked."""
    code = """
import os
from hybridcast_kernels import parallel
parallel.set_threads(2)
done = []
parallel.over_bands(lambda a, b: done.append(b - a), 1000, 1000)
parallel._lock.acquire()
child = os.fork()
if child == 0:
    done = []
    parallel.over_bands(lambda a, b: done.append(b - a), 1000, 1000)
    os._exit(0 if sum(done) == 1000 else 1)
print(os.waitpid(child, 0)[1])
"""
    assert run(code) == "0"
