"""A disk that is really full, at any byte: a small file system in memory, where one may be mounted."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from helpers.watching import Bench, watched
from hybridcast.core.parallel import Worker
from hybridcast.places import audit_events, read_events
from hybridcast.watch import warnings as watched_warnings
from hybridcast.watch.config import HookSettings
from hybridcast.watch.json_files import read_json

PLACES = """
levels = ["0.1 mm/h", "0.5 mm/h"]
[[place]]
name = "middle"
latitude = 60.36
longitude = 22.8
"""
PAGE = 4096


@pytest.fixture
def small_disk(tmp_path):
    """Yield a folder on a disk of 4 MB."""
    folder = tmp_path / "out"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder, leave: int) -> None:
    """Fill a disk but for so many bytes."""
    block = b"\0" * PAGE
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(block) == PAGE:
                pass
        except OSError:
            pass
    size = (folder / "filler").stat().st_size
    with (folder / "filler").open("rb+") as file:
        file.truncate(max(0, size - leave))


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 5, 8, 13, 21, 34])
def test_whatever_a_full_disk_takes_nothing_is_half_lost_or_doubled(small_disk, tmp_path, monkeypatch, pages):
    (tmp_path / "places.toml").write_text(PLACES)
    hook = HookSettings(command=("true",))
    region = watched(tmp_path, on_forecast=hook, on_warning=hook, file="forecast.zarr")
    bench = Bench(tmp_path, monkeypatch, region)
    for number in range(3):
        bench.put(number)
        bench.go(10)
    fill(small_disk, pages * PAGE)
    for number in range(3, 6):
        bench.put(number)
        bench.go(10)
        for path in bench.loop.folder.path.glob("*.json"):
            assert read_json(path) is not None
        for about in bench.loop.folder.list_forecasts():
            folder = bench.loop.folder.locate(np.datetime64(about["issue_time"].removesuffix("Z"), "ns"))
            assert all((folder / name).exists() for name in about["products"])
    assert bench.loop.problems.current
    (small_disk / "filler").unlink()
    bench.go(90)
    bench.put(6)
    bench.go(10)
    assert bench.made() == list(range(7))
    assert bench.loop.problems.current == []
    assert list(small_disk.rglob(".*.part*")) == []
    events = read_events(bench.loop.folder.path / "warnings.jsonl")
    assert len(events) == len(set(events))
    assert not audit_events(events).faults
    assert audit_events(events).state == bench.loop.warnings.state
    queued = [read_json(path) for path in sorted(bench.loop.folder.queue.iterdir())]
    forecasts = [one["content"]["issue_time"] for one in queued if one["kind"] == "forecast"]
    assert sorted(forecasts) == [about["issue_time"] for about in bench.loop.folder.list_forecasts()]
    changes = [(event.kind, event.time) for event in events if event.kind in watched_warnings.CHANGES]
    assert [(one["content"]["event"], one["content"]["time"]) for one in queued if one["kind"] == "warning"] == changes


def test_a_disk_that_may_only_be_read_for_a_while_is_waited_for(small_disk, tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, on_forecast=HookSettings(command=("true",)))
    for number in range(2):
        bench.put(number)
        bench.go(10)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for number in (2, 3):
        bench.put(number)
        bench.go(10)
    assert bench.made() == [0, 1]
    assert any("cannot be written" in problem for problem in bench.loop.problems.current)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    bench.go(90)
    assert bench.made() == [0, 1, 2, 3]
    assert bench.loop.problems.current == []
    assert len(list(bench.loop.folder.queue.iterdir())) == 4


@pytest.mark.process
def test_hdf5_that_ends_its_process_on_a_full_disk_is_blamed_on_no_frame(small_disk, tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch)
    with Worker() as bench.worker:
        bench.start()
        bench.put(0)
        bench.go(10)
        for pages in (1, 3, 5):
            fill(small_disk, pages * PAGE)
            bench.put(1)
            bench.go(30)
            assert bench.made() == [0]
            assert any("cannot be written" in problem for problem in bench.loop.problems.current)
        (small_disk / "filler").unlink()
        bench.go(90)
    assert bench.made() == [0, 1]
    assert all(record.state == "made" for record in bench.loop.issues.values())
