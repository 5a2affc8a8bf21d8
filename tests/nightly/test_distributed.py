"""The nightly run on a real cluster of processes, one of which is killed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import xarray as xr

from helpers import nightly_radar as small
from hybridcast.core.parallel import WorkerPool
from hybridcast.nightly.verify_day import Costs, Job, verify_day

distributed = pytest.importorskip("distributed")


def test_a_worker_killed_on_the_way_changes_nothing(tmp_path):
    small.write_frames(tmp_path / "radar", small.rain())
    region = small.region(tmp_path / "radar", every="10min")
    alone = verify_day(Job(region, small.DATE, tmp_path / "alone"), WorkerPool(), Costs(), print)
    killed = []
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]

        def kill() -> None:
            end = time.monotonic() + 60
            while not list((tmp_path / "store").glob(".work/*/*/*/2*.nc")) and time.monotonic() < end:
                time.sleep(0.005)
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

        threading.Thread(target=kill).start()
        with WorkerPool(1, cluster.scheduler_address) as workers:
            night = verify_day(Job(region, small.DATE, tmp_path / "store"), workers, Costs(), print)
    assert killed
    assert (night.state, night.done) == ("good", 10)
    for name in ("statistics", "hourly"):
        xr.testing.assert_identical(getattr(night, name), getattr(alone, name))
