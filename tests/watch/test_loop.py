"""The loop with its clock in our hands: frames in, forecasts out, and everything that goes wrong on the way."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from helpers import nightly_radar as small
from helpers.watching import FIRST, MINUTE, STEP, Bench
from hybridcast.core.forecast_files import load_forecast
from hybridcast.core.parallel import NotStartedError, StoppedError, WorkerLostError
from hybridcast.errors import InputError
from hybridcast.watch.config import HookSettings
from hybridcast.watch.folder import RegionFolder
from hybridcast.watch.forecasts import make_forecast
from hybridcast.watch.json_files import read_json
from hybridcast.watch.products import PICTURES, PRODUCTS
from hybridcast.watch.sources import read_content
from hybridcast.watch.status import DEGRADED, judge


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


def latest(bench):
    return read_json(bench.loop.folder.path / "latest.json")


def status(bench):
    bench.loop.write_status()
    return read_json(bench.loop.folder.path / "status.json")


def is_forecast(task) -> bool:
    return task.func is make_forecast


# --- the way it goes ------------------------------------------------------------------------------------------


def test_each_frame_gets_its_forecast_and_latest_names_the_newest(bench):
    for number in range(4):
        bench.put(number)
        bench.go()
        assert bench.made() == list(range(number + 1))
        about = latest(bench)
        assert about["issue_time"] == f"{np.datetime_as_string(bench.time(number), unit='s')}Z"
        assert about["frames_missing"] == []
        assert about["sources_used"] == "radar"
    forecast = load_forecast(bench.loop.folder.path / about["folder"] / "forecast.nc")
    assert forecast["reference_time"].values == bench.time(3)
    assert about["frames_used"].count("Z") == 4
    assert about["products"] == ["forecast.nc"]
    assert set(about["seconds"]) == {
        *("radar", "sources", "forecast", "file", "places", "pictures", "map", "from_frame_to_products")
    }
    assert status(bench)["forecasts"] == status(bench)["frames"] == 4


def test_what_is_there_at_the_first_start_is_history_but_for_the_newest(bench):
    for number in range(5):
        bench.put(number)
    bench.go()
    assert bench.made() == [4]
    assert latest(bench)["frames_used"].count("Z") == 4  # all that its motion looks at


def test_frames_that_came_while_nothing_ran_are_caught_up_with_up_to_an_age(bench):
    bench.put(0)
    bench.go()
    for number in range(1, 9):
        bench.put(number)
    bench.start()
    bench.go()
    assert bench.made() == [0, 5, 6, 7, 8]  # half an hour before the newest
    assert len(status(bench)["frames_without_forecast"]) == 4


def test_a_message_is_queued_for_each_forecast_and_revision(tmp_path, monkeypatch):
    hook = HookSettings(command=("true",))
    bench = Bench(tmp_path, monkeypatch, on_forecast=hook)
    for number in range(2):
        bench.put(number)
        bench.go()
    bench.start()
    bench.go()
    changed = bench.spare[3].read_bytes().replace(b"obstime 202006011150", b"obstime 202006011130")
    bench.put(1, content=changed)
    bench.go()
    queued = [read_json(path) for path in sorted(bench.loop.folder.queue.iterdir())]
    assert [(one["content"]["issue_time"][11:16], one["content"]["revision"]) for one in queued] == [
        ("11:20", 0),
        ("11:30", 0),
        ("11:30", 1),
    ]
    assert Path(queued[-1]["content"]["folder"], "forecast.nc").is_file()


# --- late, missing, doubled -----------------------------------------------------------------------------------


def test_a_late_frame_is_waited_for_and_then_done_without(bench):
    for number in range(3):
        bench.put(number)
        bench.go()
    bench.clock.time = bench.time(3) + 9 * MINUTE
    bench.go(10)
    assert bench.made() == [0, 1, 2]
    bench.go(80)
    assert bench.made() == [0, 1, 2, 3]
    about = latest(bench)
    assert about["made_without_its_frame"]
    assert about["status"] == "radar is late: latest frame is 10 min old"
    assert "had not come after 10min" in about["late"]
    assert status(bench)["forecasts_without_their_frame"] == 1
    bench.put(3)  # it comes after all: the forecast is made again
    bench.go()
    assert bench.made() == [0, 1, 2, 3]
    about = latest(bench)
    assert (about["revision"], about["made_without_its_frame"], about["status"]) == (1, False, "ok")


def test_a_frame_that_never_comes_is_named_and_the_loop_goes_on(bench):
    for number in (0, 1, 2, 4, 5):
        bench.put(number)
        bench.go()
    assert bench.made() == [0, 1, 2, 3, 4, 5]
    assert [one["made_without_its_frame"] for one in bench.loop.folder.list_forecasts()].index(True) == 3
    missing = f"{np.datetime_as_string(bench.time(3), unit='s')}Z"
    assert latest(bench)["frames_missing"] == [missing]
    assert status(bench)["frames_missing"] == [missing]


def test_without_any_frame_forecasts_end_after_a_while(bench):
    for number in range(3):
        bench.put(number)
        bench.go()
    for _ in range(8):
        bench.clock.time = bench.clock.time + STEP
        bench.go()
    assert bench.made() == [0, 1, 2, 3, 4, 5]  # half an hour


def test_a_doubled_frame_counts_once(bench):
    bench.put(0)
    bench.put(1)
    bench.go()
    again = bench.put(1, as_name="202006011130_again.pgm")
    bench.go()
    assert bench.made() == [1]
    assert status(bench)["frames_doubled"] == 1
    again.write_bytes(bench.spare[5].read_bytes().replace(b"obstime 202006011210", b"obstime 202006011130"))
    bench.go()
    assert any("another frame of" in note for note in status(bench)["notes"])
    assert latest(bench)["revision"] == 0


# --- damaged --------------------------------------------------------------------------------------------------


def test_a_truncated_file_is_read_when_it_is_complete(bench):
    bench.put(0)
    bench.go()
    whole = bench.spare[1].read_bytes()
    bench.put(1, content=whole[: len(whole) // 2])
    bench.go()
    assert bench.made() == [0]
    assert any("unreadable" in note for note in status(bench)["notes"])
    bench.put(1)
    bench.go()
    assert bench.made() == [0, 1]
    assert status(bench)["notes"] == []


def test_a_corrupt_file_keeps_nothing_from_going_on(bench):
    bench.put(0)
    bench.put(1, content=b"no radar at all")
    bench.put(2)
    bench.go()
    assert bench.made() == [2]
    assert sum("no known radar format" in line for line in bench.said) == 1


def test_a_file_that_is_corrected_makes_the_newest_forecast_anew(bench):
    bench.put(0)
    bench.put(1)
    bench.go()
    wrong = bench.spare[3].read_bytes().replace(b"obstime 202006011150", b"obstime 202006011130")
    bench.put(1, content=wrong)
    bench.go()
    assert bench.made() == [1]
    assert latest(bench)["revision"] == 1
    bench.put(1, content=wrong)  # the same once more
    bench.go()
    assert latest(bench)["revision"] == 1


def test_a_file_that_kills_its_reader_is_set_aside_after_two_tries(bench):
    bad = bench.put(1)
    tries = []

    def die(task):
        if task.func is read_content and task.args[1].key == str(bad):
            tries.append(task)
            raise WorkerLostError("the process died of SIGSEGV", "")

    bench.worker.before = die
    bench.put(0)
    bench.go(60)
    assert len(tries) == 2
    assert bench.made() == [0]
    assert any("set aside: the process died of SIGSEGV" in note for note in status(bench)["notes"])
    bench.worker.before = lambda task: None
    os.utime(bad)  # it has changed
    bench.go()
    assert bench.made() == [0, 1]


def test_a_frame_that_kills_its_forecast_is_set_aside_after_two_tries(bench):
    for number in range(2):
        bench.put(number)
        bench.go()
    tries = []

    def die(task):
        if is_forecast(task) and task.args[0].issue_time == bench.time(2):
            tries.append(task)
            raise WorkerLostError("the process died of SIGSEGV", "forecast")

    bench.worker.before = die
    bench.put(2)
    bench.go()
    assert len(tries) == 2
    bench.start()  # this is known after a new start too
    bench.put(3)
    bench.go()
    assert len(tries) == 2
    assert bench.made() == [0, 1, 3]
    assert any("set aside: the process died of SIGSEGV in the stage 'forecast'" in n for n in status(bench)["notes"])
    missing = f"{np.datetime_as_string(bench.time(2), unit='s')}Z"
    assert missing not in latest(bench)["frames_used"]
    assert latest(bench)["frames_missing"] == [missing]


def put_other_grid(bench, number):
    other = small.write_frames(bench.radar.parent / "other", bench.field.isel(y=slice(0, 30)))
    bench.put(number, content=other[number].read_bytes())
    bench.go()


def test_a_frame_of_another_grid_is_set_aside(bench):
    for number in range(6):
        bench.put(number) if number != 3 else put_other_grid(bench, 3)
        bench.go()
    assert bench.made() == [0, 1, 2, 4, 5]
    assert latest(bench)["frames_used"].count("Z") == 4
    assert any("'y' has 40 and 30 cells" in note for note in status(bench)["notes"])


def test_a_grid_that_has_changed_costs_one_forecast(bench):
    for number in range(3):
        bench.put(number)
        bench.go()
    for number in range(3, 7):
        put_other_grid(bench, number)
    bench.start()
    for number in range(7, 10):
        put_other_grid(bench, number)
    assert bench.made() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert latest(bench)["frames_used"].count("Z") == 4
    assert status(bench)["notes"] == []
    assert status(bench)["failures"] == 0
    assert any("frames before 2020-06-01T11:50:00Z are used no more" in line for line in bench.said)


def test_an_error_in_a_forecast_sets_its_frame_aside_too(bench, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("no")

    bench.put(0)
    bench.go()
    with monkeypatch.context() as patch:
        patch.setattr("hybridcast.watch.forecasts.forecast", fail)
        bench.put(1)
        bench.go()
    assert any("unexpected ZeroDivisionError: no in the stage 'forecast'" in line for line in bench.said)
    bench.put(2)
    bench.go()
    assert bench.made() == [0, 2]


# --- the machine ----------------------------------------------------------------------------------------------


def test_a_full_disk_is_waited_out_and_no_frame_is_blamed(bench, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    bench.put(0)
    bench.go()
    with monkeypatch.context() as patch:
        patch.setattr("hybridcast.watch.products.save_forecast", full)
        bench.put(1)
        bench.go(120)
        found = status(bench)
    assert bench.made() == [0]
    assert found["problems"][0].endswith("cannot be written: the disk is full (No space left on device)")
    assert sum("the disk is full" in line for line in bench.said) == 1
    assert found["failures_in_row"] >= 3
    bench.go(60)
    assert bench.made() == [0, 1]
    assert status(bench)["problems"] == []
    assert [path.name for path in bench.loop.folder.forecasts.iterdir() if path.name.startswith(".")] == []


def test_a_disk_that_takes_nothing_ends_nothing(bench, monkeypatch):
    def full(*_):
        raise InputError("cannot write (No space left on device)", "a file is written", "Free some")

    bench.put(0)
    bench.go()
    with monkeypatch.context() as patch:
        patch.setattr("hybridcast.watch.json_files.atomic_write", full)
        bench.put(1)
        bench.go()
        assert any("the status cannot be written" in line for line in bench.said)
    bench.go(60)
    bench.put(2)
    bench.go()
    assert bench.made()[-1] == 2
    assert latest(bench)["issue_time"].startswith(str(bench.time(2))[:16])


def test_what_a_full_disk_kept_from_being_told_is_told_later_once_and_in_order(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    bench = Bench(tmp_path, monkeypatch, on_forecast=HookSettings(command=("true",)))
    bench.put(0)
    bench.go()
    with monkeypatch.context() as patch:
        patch.setattr(bench.loop.folder, "publish", full)
        for number in (1, 2):
            bench.put(number)
            bench.go()
        assert latest(bench)["issue_time"].startswith(str(bench.time(0))[:16])
        assert status(bench)["problems"] == ["latest.json cannot be written: [Errno 28] No space left on device"]
    bench.put(3)
    bench.go()
    assert bench.made() == [0, 1, 2, 3]
    assert status(bench)["problems"] == []
    queued = [read_json(path)["content"]["issue_time"] for path in sorted(bench.loop.folder.queue.iterdir())]
    assert queued == [f"{np.datetime_as_string(bench.time(number), unit='s')}Z" for number in range(4)]


def test_a_start_on_a_full_disk_goes_on_when_there_is_room(bench, monkeypatch):
    def full(*_):
        raise InputError("cannot write (No space left on device)", "a file is written", "Free some")

    for number in (0, 1):
        bench.put(number)
        bench.go()
    with monkeypatch.context() as patch:
        patch.setattr("hybridcast.watch.json_files.atomic_write", full)
        bench.put(2)
        bench.loop.step()
        bench.start()  # after a kill; the forecast of frame 2 is in its place, and nobody was told
        bench.go(5)
    bench.go(90)
    assert bench.made() == [0, 1, 2]
    assert latest(bench)["issue_time"].startswith(str(bench.time(2))[:16])
    assert latest(bench)["revision"] == 0
    assert status(bench)["problems"] == []


def test_a_full_disk_at_the_start_is_no_wrong_configuration(tmp_path, monkeypatch):
    def fail(code):
        def mkdir(*_, **__):
            raise OSError(code, os.strerror(code))

        return mkdir

    for code, kind in ((errno.ENOSPC, OSError), (errno.EACCES, InputError)):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "mkdir", fail(code))
            with pytest.raises(kind):
                RegionFolder(tmp_path / "region")


def test_metrics_that_cannot_be_written_are_a_problem(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, metrics=str(tmp_path / "none" / "metrics.prom"))
    bench.put(0)
    bench.go(40)
    assert any("does not exist" in problem for problem in status(bench)["problems"])
    assert bench.made() == [0]


def test_signs_of_life_come_between_two_looks(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, poll="5min")
    ages = []
    sleep = bench.clock.sleep

    def look_on(seconds):
        sleep(seconds)
        updated = read_json(bench.loop.folder.path / "status.json")["updated"].removesuffix("Z")
        ages.append((bench.clock.time - np.datetime64(updated)) / np.timedelta64(1, "s"))
        bench.stopped = len(ages) > 40

    monkeypatch.setattr(bench.clock, "sleep", look_on)
    bench.put(0)
    bench.loop.run()
    assert max(ages) <= 30


def test_a_machine_that_starts_no_process_is_waited_for_and_no_frame_is_blamed(bench):
    bench.put(0)
    bench.go()

    def refuse(task):
        raise NotStartedError("no process can be started (Cannot allocate memory)", "")

    bench.worker.before = refuse
    bench.put(1)
    bench.go(60)
    assert any("Cannot allocate memory" in problem for problem in status(bench)["problems"])
    bench.worker.before = lambda task: refuse(task) if is_forecast(task) else None
    bench.go(60)
    assert any("Cannot allocate memory" in problem for problem in status(bench)["problems"])
    bench.worker.before = lambda task: None
    bench.go(90)
    assert bench.made() == [0, 1]
    found = status(bench)
    assert (found["problems"], found["notes"]) == ([], [])


def test_a_picture_that_fails_is_left_out_and_the_forecast_is_there(tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("no")

    bench = Bench(tmp_path, monkeypatch, pictures=("maps",))
    monkeypatch.setitem(PICTURES, "maps", fail)
    bench.put(0)
    bench.go()
    assert bench.made() == [0]
    note = "pictures: unexpected ZeroDivisionError: no"
    assert latest(bench)["left_out"] == [note]
    assert status(bench)["notes"] == [note]
    assert judge(bench.region, bench.clock.time).status == DEGRADED


def test_a_picture_that_the_disk_does_not_take_is_drawn_again(tmp_path, monkeypatch):
    def fail(*_):
        raise InputError("cannot write", "a file is written", "Free some") from OSError(28, "No space left on device")

    bench = Bench(tmp_path, monkeypatch, pictures=("maps",))
    with monkeypatch.context() as patch:
        patch.setitem(PICTURES, "maps", fail)
        bench.put(0)
        bench.go()
        assert bench.made() == []
    bench.go(90)
    assert latest(bench)["products"] == ["forecast.nc", "maps.png"]


def test_a_folder_that_is_not_there_or_may_not_be_read_is_named(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch)
    bench.radar.rmdir()
    bench.go(10)
    assert status(bench)["problems"] == [f"there is no folder {bench.radar}"]
    bench.radar.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: str(path) != str(bench.radar))
        bench.go(10)
        assert "permission denied" in status(bench)["problems"][0]
    bench.put(0)
    bench.go()
    assert status(bench)["problems"] == []
    assert bench.made() == [0]


def test_a_clock_that_jumps_back_stops_nothing(bench):
    for number in range(2):
        bench.put(number)
        bench.go()
    bench.put(2)
    bench.clock.time = bench.time(0) - 300 * MINUTE
    bench.go()
    bench.radar.joinpath(bench.spare[3].name).write_bytes(bench.spare[3].read_bytes())
    bench.go()
    assert bench.made() == [0, 1, 2, 3]


def test_a_clock_that_jumps_ahead_loses_no_frame(bench):
    for number in range(2):
        bench.put(number)
        bench.go()
    bench.clock.time = bench.time(1) + 2000 * MINUTE
    bench.go()
    bench.put(2)
    bench.go()
    assert bench.made() == [0, 1, 2]
    assert latest(bench)["issue_time"].startswith(str(bench.time(2))[:16])


def test_a_frame_of_the_future_waits(bench):
    bench.put(0)
    bench.go()
    future = bench.spare[1].read_bytes().replace(b"obstime 202006011130", b"obstime 203806011130")
    (bench.radar / "202006011131_odd.pgm").write_bytes(future)
    bench.put(1)
    bench.go()
    assert bench.made() == [0, 1]
    assert "ahead of the clock" in status(bench)["problems"][0]


def test_a_frame_with_a_wrong_time_ahead_stops_no_warning_and_no_forecast(bench):
    for number in (0, 1):
        bench.put(number)
        bench.go()
    ahead = bench.spare[2].read_bytes().replace(b"obstime 202006011140", b"obstime 202006011300")
    (bench.radar / "202006011300_odd.pgm").write_bytes(ahead)
    bench.go()
    assert bench.made() == [0, 1]  # the clock agrees with the frames before it
    assert "ahead of the clock" in status(bench)["problems"][0]
    for number in (2, 3):
        bench.put(number)
        bench.go()
    assert bench.made() == [0, 1, 2, 3]
    assert latest(bench)["issue_time"].startswith(str(bench.time(3))[:16])


def test_being_told_to_end_in_the_middle_leaves_nothing(bench):
    bench.put(0)
    bench.go()

    def stop(task):
        if is_forecast(task):
            (task.args[0].folder / "half.nc").write_bytes(b"half")
            bench.stopped = True
            raise StoppedError("given up", "file")

    bench.worker.before = stop
    bench.put(1)
    bench.loop.step()
    bench.clock.sleep(1)
    bench.loop.run()
    assert bench.made() == [0]
    assert [path.name for path in bench.loop.folder.forecasts.iterdir()] == ["20200601T112000Z"]
    assert latest(bench)["issue_time"].startswith(str(FIRST)[:16])


def test_a_worker_whose_memory_grows_is_replaced(bench, monkeypatch):
    monkeypatch.setattr("hybridcast.watch.loop.WARM_FORECASTS", 2)
    memories = iter([100.0, 90.0, 140.0, 151.0, 100.0])
    monkeypatch.setattr("hybridcast.watch.forecasts.measure_memory", lambda: next(memories))
    closed = []
    for number in range(5):
        bench.put(number)
        bench.go(10)
        closed.append(bench.worker.closed)
    assert closed == [0, 0, 0, 1, 1]
    assert any("its memory grew from 100 to 151 MB" in line for line in bench.said)


# --- other sources --------------------------------------------------------------------------------------------


def test_stations_that_cannot_be_read_are_left_out_with_the_reason(tmp_path, monkeypatch):
    table = tmp_path / "gauges.csv"
    bench = Bench(tmp_path, monkeypatch, stations=(str(table),))
    bench.put(0)
    bench.go()
    assert latest(bench)["left_out"] == [f"stations: {table}: no file matches {table}"]
    table.write_text("nothing that is known\n")
    bench.put(1)
    bench.go()
    assert "stations: " in latest(bench)["left_out"][0]
    rows = [f"A,{bench.time(k)},60.2,22.6,0.5" for k in range(4)]
    table.write_text("\n".join(["station,time,lat,lon,rain_mm", *rows]))
    bench.put(2)
    bench.go()
    about = latest(bench)
    assert about["left_out"] == []
    assert "station" in about["sources_used"] + about["sources_left_out"]


def test_an_nwp_run_that_comes_late_is_used_from_then_on(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, nwp=(str(tmp_path / "nwp" / "*.nc"),), nwp_accumulation="since-start")
    bench.put(0)
    bench.go()
    assert latest(bench)["left_out"] == [f"nwp: {tmp_path}/nwp/*.nc: there is no folder {tmp_path}/nwp"]
    write_nwp(tmp_path / "nwp" / "run.nc", bench.field, FIRST - 60 * MINUTE)
    bench.put(1)
    bench.go()
    about = latest(bench)
    assert about["left_out"] == []
    assert "nwp (advection" in about["sources_left_out"]  # this nowcaster takes none, but the run was there


def write_nwp(path, field, run):
    """Write a run of six hours on the cells of the radar."""
    path.parent.mkdir()
    valid = run + np.arange(7) * np.timedelta64(1, "h")
    amounts = np.arange(7.0)[:, None, None] * np.ones(field.shape[1:])
    axes = {
        "time": valid,
        "forecast_reference_time": ((), run, {"standard_name": "forecast_reference_time"}),
        "latitude": ("latitude", np.linspace(59, 62, field.shape[1]), {"units": "degrees_north"}),
        "longitude": ("longitude", np.linspace(21, 26, field.shape[2]), {"units": "degrees_east"}),
    }
    tp = (("time", "latitude", "longitude"), amounts, {"units": "mm", "standard_name": "precipitation_amount"})
    xr.Dataset({"tp": tp}, axes).to_netcdf(path)


def test_sources_that_kill_a_forecast_are_left_out_the_second_time(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, nwp=(str(tmp_path / "nwp" / "*.nc"),))
    orders = []

    def die(task):
        if is_forecast(task):
            orders.append(task.args[0].radar_alone)
            if not task.args[0].radar_alone:
                raise WorkerLostError("the process died of SIGSEGV", "sources")

    bench.worker.before = die
    for number in range(2):
        bench.put(number)
        bench.go()
    assert orders == [False, True, True]
    assert bench.made() == [0, 1]
    assert "they ended a forecast" in latest(bench)["left_out"][-1]


# --- kills ----------------------------------------------------------------------------------------------------


def test_a_kill_between_any_two_steps_is_made_up_for(bench, monkeypatch):
    class KilledError(BaseException):
        pass

    def kill(*_, **__):
        raise KilledError

    bench.put(0)
    bench.go()
    places = ["folder.publish", "_post", "folder.write_issues", "_remove_old", "write_status"]
    for number, place in enumerate(places, 1):
        bench.put(number)
        bench.loop.step()
        bench.clock.sleep(1)
        with monkeypatch.context() as patch:
            owner, _, name = f"loop.{place}".rpartition(".")
            target = bench.loop.folder if owner == "loop.folder" else bench.loop
            patch.setattr(target, name, kill)
            with pytest.raises(KilledError):
                bench.go(3)
        bench.start()
        assert latest(bench)["issue_time"].startswith(str(bench.time(number))[:16])
        bench.go()
        assert bench.made() == list(range(number + 1))
        assert latest(bench)["revision"] == 0


def test_what_a_killed_process_left_is_removed(bench):
    folder = bench.loop.folder
    (folder.forecasts / ".20200601T112000Z-abc.part").mkdir()
    (folder.forecasts / ".20200601T112000Z-abc.part" / "forecast.nc").write_bytes(b"half")
    (folder.state / ".arrivals-x.part.json").write_text("{")
    (folder.state / "arrivals.json").write_text("{ half")
    bench.start()
    assert [path.name for path in folder.forecasts.iterdir()] == []
    assert sorted(path.name for path in folder.state.glob(".*")) == []
    bench.put(0)
    bench.go()
    assert bench.made() == [0]


def test_a_kill_while_a_revision_takes_its_place_loses_no_forecast(bench):
    for number in (0, 1):
        bench.put(number)
        bench.go()
    forecasts = bench.loop.folder.forecasts
    (forecasts / "20200601T112000Z").rename(forecasts / ".20200601T112000Z-abc.part.old")
    (forecasts / ".20200601T112000Z-abc.part").mkdir()
    bench.start()
    assert bench.made() == [0, 1]
    assert [path.name for path in forecasts.iterdir() if path.name.startswith(".")] == []


def test_old_forecasts_are_removed_but_not_the_newest(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, keep="20min")
    for number in range(5):
        bench.put(number)
        bench.go()
    assert bench.made() == [2, 3, 4]
    assert status(bench)["forecasts_removed"] == 2


def test_records_do_not_grow(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, keep="20min", catch_up="10min")
    numbers = (*range(3), *range(14, 20))  # with an outage of two hours
    for number in numbers:
        bench.put(number)
        bench.go(10)
        (bench.radar / bench.spare[number].name).unlink()
    kept = bench.loop.intake.arrivals.files
    assert [f"20200601{time}_rain.pgm" in str(list(kept)) for time in ("1120", "1140", "1340")] == [False, False, True]
    assert len(bench.loop.intake.came_at) <= 1


# --- products -------------------------------------------------------------------------------------------------


def make_with(bench, monkeypatch, **products):
    """Make a forecast of three frames with other functions that write products."""
    for name, write in products.items():
        monkeypatch.setitem(PRODUCTS, name, write)
    for number in range(3):
        bench.put(number)
    bench.go()


def test_pictures_are_drawn_while_the_file_is_written(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, pictures=("maps",))
    drawn, write = threading.Event(), PRODUCTS["file"]
    draw = PRODUCTS["pictures"]

    def write_file(work):
        assert drawn.wait(60)
        return write(work)

    def write_pictures(work):
        notes = draw(work)
        drawn.set()
        return notes

    make_with(bench, monkeypatch, file=write_file, pictures=write_pictures)
    about = latest(bench)
    assert not about["left_out"]
    assert about["seconds"]["pictures"] > 0
    assert (bench.loop.folder.path / about["folder"] / "maps.png").exists()


def test_a_file_that_cannot_be_written_waits_for_the_pictures(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch, pictures=("maps",))
    ended, draw = [], PRODUCTS["pictures"]

    def write_file(work):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_pictures(work):
        time.sleep(0.3)
        notes = draw(work)
        ended.append(work.order.folder.exists())
        return notes

    make_with(bench, monkeypatch, file=write_file, pictures=write_pictures)
    assert ended
    assert all(ended)
