"""The nightly run on small simulated archives: what it gives, and what nothing may do to it."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from helpers import nightly_radar as small
from hybridcast.core.parallel import WorkerPool
from hybridcast.datasets.registry import scene_path
from hybridcast.forecasting import forecast
from hybridcast.nightly import verify_day as night_module
from hybridcast.nightly.alarm import Judgement
from hybridcast.nightly.cases import read_case_statistics
from hybridcast.nightly.config import make_nowcasters
from hybridcast.nightly.run import plan_jobs, run
from hybridcast.nightly.store import read_day
from hybridcast.nightly.verify_day import Costs, Job, verify_day
from hybridcast.verification import scores

DATE = small.DATE
FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder of radar files."""
    folder = tmp_path_factory.mktemp("radar")
    small.write_frames(folder, small.rain())
    return folder


@pytest.fixture(scope="module")
def undisturbed(archive, tmp_path_factory):
    """A day as it comes out when nothing happens, and its store."""
    store = tmp_path_factory.mktemp("store")
    return night_of(small.region(archive), store), store


def night_of(region, store, *, force=False, said=None, workers=None):
    said = [] if said is None else said
    return verify_day(Job(region, DATE, store, force), workers or WorkerPool(), Costs(), said.append)


def same(one, other):
    """The same bits."""
    for name in ("statistics", "hourly"):
        a, b = getattr(one, name), getattr(other, name)
        xr.testing.assert_identical(a.transpose(*sorted(a.dims)), b.transpose(*sorted(b.dims)))


# --- a day ----------------------------------------------------------------------------------------------------


def test_a_complete_day_is_good(undisturbed):
    night, store = undisturbed
    assert (night.state, night.notes) == ("good", ())
    assert (night.expected, night.done) == (4, 4)
    assert night.nowcasters == ("scale-filter", "advection", "persistence")
    assert night.statistics["nowcaster"].values.tolist() == list(night.nowcasters)
    assert (night.statistics["lead_time"].values / np.timedelta64(1, "m")).tolist() == [30, 60]
    assert (night.hourly["lead_time"].values / np.timedelta64(1, "m")).tolist() == [60]
    assert (night.statistics["cases"] == 4).all()
    assert float(night.statistics["hits"].sum()) > 0
    counts = night.statistics["count"]
    assert (counts == counts.isel(nowcaster=0)).all()
    assert 1 <= len(night.worst) <= 3
    scored = [case.score for case in night.worst]
    assert scored == sorted(scored)
    assert night.worst[0].forecast.shape == night.worst[0].observed.shape == (40, 44)
    assert list((store / ".work").glob("*/*")) == []  # what was worked with is cleared away


def test_numbers_are_those_that_scores_finds_in_the_forecasts(undisturbed, archive):
    """The numbers of the stored day once more, from the forecasts, by another library."""
    import scores as other

    from hybridcast.radar import open_radar

    region = small.region(archive)
    radar = open_radar(str(archive / "*.pgm"))
    pairs = {name: ([], []) for name in region.all_nowcasters}
    for issue in region.issue_times(DATE):
        made = {
            name: forecast(
                radar, lead_time="1h", step="30min", issue_time=issue, nowcaster=nowcaster
            ).precipitation_rate
            for name, nowcaster in make_nowcasters(region).items()
        }
        observed = radar.sel(time=made["advection"].time)  # by lead time now
        known = observed.notnull()
        for rate in made.values():
            known = known & rate.notnull()
        for name, rate in made.items():
            pairs[name][0].append(rate.where(known).drop_vars(["time", "reference_time"]))
            pairs[name][1].append(observed.where(known).drop_vars("time"))
    stored = undisturbed[0].statistics
    for name, both in pairs.items():
        fcst, obs = (xr.concat(part, "case") for part in both)
        mae = other.continuous.mae(fcst, obs, preserve_dims="lead_time")
        np.testing.assert_allclose(scores.mean_absolute_error(stored).sel(nowcaster=name), mae, rtol=1e-5)
        for level in (0.1, 1.0, 5.0):
            operator = other.categorical.ThresholdEventOperator(default_event_threshold=np.float32(level))
            table = operator.make_contingency_manager(fcst, obs).transform(preserve_dims="lead_time")
            csi = scores.csi(stored).sel(nowcaster=name, threshold=level)
            np.testing.assert_allclose(csi, table.critical_success_index(), rtol=1e-6)


@pytest.mark.pysteps
def test_members_are_verified_in_frames_and_whole_hours(archive, tmp_path):
    region = small.region(archive, nowcasters=("steps", "scale-filter"), members=3, last="12:00")
    night = night_of(region, tmp_path)
    for part, leads in ((night.statistics, 2), (night.hourly, 1)):
        steps = part.sel(nowcaster="steps")
        assert (steps["ensemble_members"] == 3 * steps["ensemble_count"]).all()
        assert (steps["ensemble_count"].sel(block=0.0) == steps["count"]).all()
        assert steps.sizes["lead_time"] == leads
        assert scores.fair_crps(steps).sel(block=[0.0, 20.0]).notnull().all()
        assert not part["ensemble_count"].sel(nowcaster="scale-filter").any()
    again = read_day(tmp_path, region.name, DATE).night
    stored, fresh = (scores.spread_to_error(n.hourly).sel(nowcaster="steps").squeeze() for n in (again, night))
    xr.testing.assert_allclose(stored, fresh)


def test_a_day_that_is_done_is_skipped(undisturbed, archive, monkeypatch):
    night, store = undisturbed
    monkeypatch.setattr(night_module, "run_case", None)  # nothing may be forecast
    monkeypatch.setattr(night_module, "read_radar", None)
    said = []
    again = night_of(small.region(archive), store, said=said)
    same(again, night)
    assert "done already (good)" in said[0]
    for one, other in zip(again.worst, night.worst, strict=True):
        assert (one.issue_time, one.lead_time, one.nowcaster) == (other.issue_time, other.lead_time, other.nowcaster)
        xr.testing.assert_allclose(one.forecast.drop_attrs(), other.forecast.drop_attrs(), atol=0.0501)


def test_force_and_other_settings_and_other_files_do_it_again(archive, tmp_path):
    folder = tmp_path / "radar"
    shutil.copytree(archive, folder)
    region = small.region(folder, nowcasters=())
    said = []
    first = night_of(region, tmp_path / "s", said=said)
    forced = night_of(region, tmp_path / "s", said=said, force=True)
    same(first, forced)
    assert f"here {DATE}: done again, as asked" in said
    other = night_of(replace(region, spacing=4000.0), tmp_path / "s", said=said)
    assert float(other.statistics["count"].max()) < float(first.statistics["count"].max())
    assert any("its settings are not those" in line for line in said)
    # files that were only touched are the same
    said.clear()
    files = sorted(folder.glob("*.pgm"))
    os.utime(files[3])
    night_of(replace(region, spacing=4000.0), tmp_path / "s", said=said)
    assert len(said) == 1
    assert "done already" in said[0]
    files[10].unlink()
    night_of(replace(region, spacing=4000.0), tmp_path / "s", said=said, force=False)
    assert any("its radar files are not those" in line for line in said)


def test_a_day_whose_radar_was_cleared_away_is_kept(archive, tmp_path):
    folder = tmp_path / "radar"
    shutil.copytree(archive, folder)
    region = small.region(folder, nowcasters=())
    night = night_of(region, tmp_path / "s")
    files = sorted(folder.glob("*.pgm"))
    for file in files[12:]:
        file.unlink()
    said = []
    same(night_of(region, tmp_path / "s", said=said), night)
    assert any("stays as it was, when 4 issue times were verified" in line for line in said)
    for file in files[:12]:
        file.unlink()
    same(night_of(region, tmp_path / "s", said=said), night)
    assert "done already (good)" in said[-1]


# --- what may be amiss ----------------------------------------------------------------------------------------


def test_a_third_of_the_files_missing(archive, tmp_path):
    folder = tmp_path / "radar"
    shutil.copytree(archive, folder)
    files = sorted(folder.glob("*.pgm"))
    for k in (1, 4, 6, 8, 11, 14):  # that of 12:00 is among them
        files[k].unlink()
    night = night_of(small.region(folder), tmp_path / "s")
    assert night.state == "partial"
    assert any("radar frames are missing" in note for note in night.notes)
    assert any("late radar" in note for note in night.notes)
    assert 0 < night.done <= 4


def test_a_corrupt_file(archive, undisturbed, tmp_path):
    folder = tmp_path / "radar"
    shutil.copytree(archive, folder)
    broken = sorted(folder.glob("*.pgm"))[8]
    broken.write_bytes(broken.read_bytes()[:700])
    night = night_of(small.region(folder), tmp_path / "s")
    assert night.state == "partial"
    assert any(f"1 file could not be read, so these frames are missing: {broken.name}" in note for note in night.notes)
    assert night.done == 4
    assert (night.statistics["count"] != undisturbed[0].statistics["count"]).any()


def test_unknown_is_never_dry(archive, undisturbed, tmp_path):
    """Frames that are missing take their points with them, and nothing else changes."""
    folder = tmp_path / "radar"
    shutil.copytree(archive, folder)
    sorted(folder.glob("*.pgm"))[-1].unlink()  # 14:30, which only the last issue time is compared with
    night = night_of(small.region(folder), tmp_path / "s")
    last = night.statistics.isel(lead_time=1)
    full = undisturbed[0].statistics.isel(lead_time=1)
    assert (last["cases"] == 3).all()
    assert (last["count"] < full["count"]).all()
    for name in ("hits", "misses", "false_alarms"):
        assert (last[name] <= full[name]).all()
    xr.testing.assert_identical(night.statistics.isel(lead_time=0), undisturbed[0].statistics.isel(lead_time=0))


def test_a_dry_day(tmp_path):
    small.write_frames(tmp_path / "radar", small.rain() * 0.0)
    night = night_of(small.region(tmp_path / "radar"), tmp_path / "s")
    assert (night.state, night.done, night.worst) == ("dry", 4, ())
    assert float(night.statistics["count"].min()) > 0


def test_no_data_is_tried_again_when_files_come(archive, tmp_path):
    folder = tmp_path / "radar"
    region = small.region(folder)
    night = night_of(region, tmp_path / "s")
    assert (night.state, night.done, night.statistics) == ("no data", 0, None)
    assert night.notes == ("no radar file was found",)
    assert read_day(tmp_path / "s", "here", DATE).night == night
    shutil.copytree(archive, folder)
    said = []
    assert night_of(region, tmp_path / "s", said=said).state == "good"
    assert any("its radar files are not those" in line for line in said)


def test_files_of_another_day_are_no_data(archive, tmp_path):
    job = Job(small.region(archive), "2020-06-03", tmp_path / "s")
    night = verify_day(job, WorkerPool(), Costs(), print)
    assert (night.state, night.notes) == ("no data", ("no radar file was found",))
    alone = small.region(archive, radar=str(scene_path()))
    night = verify_day(Job(alone, DATE, tmp_path / "t"), WorkerPool(), Costs(), print)
    assert night.notes == ("1 radar files hold no frame of the day",)


def test_frames_without_any_value_are_no_data(tmp_path):
    small.write_frames(tmp_path / "radar", small.rain() * np.nan)
    night = night_of(small.region(tmp_path / "radar"), tmp_path / "s")
    assert (night.state, night.done) == ("no data", 0)
    assert any("4 issue times without a radar frame in the two hours before" in note for note in night.notes)


def test_late_data_after_midnight_makes_the_day_whole_the_next_time(archive, tmp_path):
    folder = tmp_path / "radar"
    shutil.copytree(archive, folder)
    files = sorted(folder.glob("*.pgm"))
    late = {file: file.read_bytes() for file in files[-4:]}
    for file in late:
        file.unlink()
    region = small.region(folder, nowcasters=())
    night = night_of(region, tmp_path / "s")
    assert night.state == "partial"
    assert any("4 of 16 radar frames are missing (14:00 to 14:30 UTC)" in note for note in night.notes)
    for file, content in late.items():
        file.write_bytes(content)
    assert night_of(region, tmp_path / "s").state == "good"


# --- kills and neighbours -------------------------------------------------------------------------------------


def _in_background(region, store, force=False):
    process = FORK.Process(target=night_of, args=(region, store), kwargs={"force": force})
    process.start()
    return process


def test_killed_at_random_moments_and_finished_it_is_the_same(archive, undisturbed, tmp_path):
    region, store = small.region(archive), tmp_path / "store"
    started = time.monotonic()
    night_of(region, tmp_path / "measured")
    whole = time.monotonic() - started
    chance = random.Random(6)
    kills = 0
    for _ in range(8):
        process = _in_background(region, store, force=read_day(store, "here", DATE) is not None)
        time.sleep(chance.uniform(0.05, 0.6) * whole)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        found = read_day(store, "here", DATE)
        assert found is None or found.night.done == 4  # whole or not at all
    assert kills >= 4
    said = []
    night = night_of(region, store, said=said)
    same(night, undisturbed[0])
    tables = {path.name for path in (store / "region=here" / f"date={DATE}").iterdir()}
    assert tables == {path.name for path in (undisturbed[1] / "region=here" / f"date={DATE}").iterdir()}
    assert [path for path in store.rglob("*") if path.name.startswith((".new", ".old", ".making"))] == []


@pytest.mark.parametrize("step", ["fresh.rename(ready)", "folder.rename(old)", "ready.rename(folder)"])
def test_killed_while_the_day_is_put_in_place(archive, undisturbed, tmp_path, monkeypatch, step):
    """At each of the renames: the day is there, the old or the new one, at the latest at the next run."""
    from pathlib import Path

    region, store = small.region(archive), tmp_path / "store"
    night_of(region, store)
    order = ["fresh.rename(ready)", "folder.rename(old)", "ready.rename(folder)"]
    calls = []
    rename = Path.rename

    class Killed(BaseException):
        pass

    def killed(self, target):
        if self.name.lstrip(".").startswith(("making", "new", "date")):
            calls.append(self)
            if len(calls) == order.index(step) + 1:
                raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            night_of(region, store, force=True)
    assert calls
    said = []
    night = night_of(region, store, said=said)
    assert "done already" in said[0]
    same(night, undisturbed[0])


def test_two_runs_at_once_wait_for_each_other(archive, undisturbed, tmp_path):
    region, store = small.region(archive), tmp_path / "store"
    both = [_in_background(region, store) for _ in range(2)]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    same(read_day(store, "here", DATE).night, undisturbed[0])
    lock = FORK.Event()
    done = FORK.Event()

    def hold():
        with night_module._day_lock(Job(region, DATE, store), print):
            lock.set()
            done.wait(20)
            time.sleep(0.3)

    holder = FORK.Process(target=hold)
    holder.start()
    assert lock.wait(20)
    said = []

    def tell(line):
        said.append(line)
        done.set()

    verify_day(Job(region, DATE, store), WorkerPool(), Costs(), tell)
    holder.join()
    assert "another run works on it; waiting" in said[0]
    assert "done already" in said[1]


def test_the_lock_of_a_killed_run_is_free(archive, tmp_path):
    region, store = small.region(archive, nowcasters=()), tmp_path / "store"
    held = FORK.Event()

    def hold():
        with night_module._day_lock(Job(region, DATE, store), print):
            held.set()
            time.sleep(60)

    holder = FORK.Process(target=hold)
    holder.start()
    assert held.wait(20)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    said = []
    assert night_of(region, store, said=said).state == "good"
    assert not any("waiting" in line for line in said)


def test_cases_of_other_settings_are_not_mixed_in(archive, undisturbed, tmp_path):
    """A run with other settings was killed; what it left behind counts nothing."""
    region, store = small.region(archive), tmp_path / "store"
    process = _in_background(replace(region, spacing=4000.0), store)
    end = time.monotonic() + 30
    while process.is_alive() and not list(store.glob(".work/here/*/*/2*.nc")) and time.monotonic() < end:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    same(night_of(region, store), undisturbed[0])


# --- all regions ----------------------------------------------------------------------------------------------


def test_a_region_that_fails_does_not_stop_the_others(archive, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for k in range(3):
        (broken / f"20200601120{k}_rain.pgm").write_bytes(b"nothing of use")
    regions = (
        small.region(archive, "one", nowcasters=()),
        small.region(broken, "two", nowcasters=()),
        small.region(archive, "three", nowcasters=(), step="15min"),
        small.region(tmp_path / "none", "four", nowcasters=()),
    )
    settings = small.settings(tmp_path, *regions)
    said = []
    outcome = run(settings, plan_jobs(settings, [DATE]), WorkerPool(), said.append)
    assert outcome.status == 1
    assert [night.state for night in outcome.nights] == ["good", "failed", "failed", "no data"]
    assert "no known radar format" in outcome.nights[1].notes[0]
    assert "Set step to a multiple of 10min" in outcome.nights[2].notes[0]
    page = (tmp_path / "report" / f"{DATE}.html").read_text()
    assert all(region.name in page for region in regions)
    assert read_day(settings.store, "two", DATE) is None  # it is tried again
    assert set(outcome.costs.stages) >= {"radar", "forecasts and statistics", "add up", "store", "report"}
    assert set(outcome.costs.case_seconds) == {"advection", "persistence", "statistics"}


def test_an_error_of_a_nowcaster_fails_its_region_and_names_the_case(archive, tmp_path, monkeypatch):
    settings = small.settings(tmp_path, small.region(archive, nowcasters=()))

    def broken(*arguments, **options):
        raise ZeroDivisionError("no")

    monkeypatch.setattr("hybridcast.nightly.cases.forecast", broken)
    outcome = run(settings, plan_jobs(settings, [DATE]), WorkerPool(), print)
    assert outcome.status == 1
    assert (
        "unexpected ZeroDivisionError: no (while forecasting here 2020-06-01T12:00:00Z with"
        in outcome.nights[0].notes[0]
    )


def test_a_report_that_cannot_be_written_is_said(archive, tmp_path, monkeypatch):
    settings = small.settings(tmp_path, small.region(archive, nowcasters=()))
    monkeypatch.setattr("hybridcast.nightly.run.write_night_page", None)
    outcome = run(settings, plan_jobs(settings, [DATE]), WorkerPool(), print)
    assert (outcome.status, outcome.nights[0].state) == (1, "good")
    assert f"the report of {DATE} could not be written" in outcome.broken[0]


def test_a_skill_alarm_is_exit_status_3_and_a_failure_comes_first(archive, tmp_path, monkeypatch):
    """The rule itself is tested with the alarm."""

    def fallen(nights, history, settings, *, baseline):
        about = {"verdict": "alarm", "reason": "skill alarm: fell", "score": "FSS", "nowcaster": "advection"}
        return [Judgement(region=night.region, date=night.date, **about) for night in nights]

    monkeypatch.setattr("hybridcast.nightly.run.judge", fallen)
    good, bad = small.region(archive, nowcasters=()), small.region(archive, "bad", step="15min")
    settings = small.settings(tmp_path, good)
    outcome = run(settings, plan_jobs(settings, [DATE]), WorkerPool(), print)
    assert (outcome.status, outcome.alarms) == (3, [f"here, {DATE}: skill alarm: fell"])
    assert json.loads((tmp_path / "report" / f"{DATE}.alarm.json").read_text())["alarm"] is True
    settings = small.settings(tmp_path, good, bad)
    assert run(settings, plan_jobs(settings, [DATE]), WorkerPool(), print).status == 1


def test_the_page_keeps_regions_that_were_not_run_this_time(archive, tmp_path):
    settings = small.settings(tmp_path, *(small.region(archive, name, nowcasters=()) for name in ("first", "second")))
    run(settings, plan_jobs(settings, [DATE]), WorkerPool(), print)
    outcome = run(settings, plan_jobs(settings, [DATE], ["second"]), WorkerPool(), print)
    assert [night.region for night in outcome.nights] == ["second"]
    assert "first" in (tmp_path / "report" / f"{DATE}.html").read_text()


def test_days_that_are_done(archive):
    live = small.region(archive, "live")
    old = small.region(archive, "old", dates="2018-05-10..2018-05-12")
    settings = small.settings(archive, live, old)
    by_default = plan_jobs(settings)
    assert [day for day, jobs in by_default.items() for job in jobs if job.region is old] == [
        "2018-05-10", "2018-05-11", "2018-05-12",
    ]  # fmt: skip
    yesterday = str(np.datetime64("now") - np.timedelta64(1, "D"))[:10]
    assert [day for day, jobs in by_default.items() for job in jobs if job.region is live] == [yesterday]
    assert [str(j) for j in plan_jobs(settings, ["2018-05-11"])["2018-05-11"]] == ["live 2018-05-11", "old 2018-05-11"]
    assert list(plan_jobs(settings, ["2018-05-12", "2018-05-10..2018-05-11"], ["old"])) == [*by_default][:3]


def test_a_case_file_gives_both_kinds_of_statistics(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(night_module.shutil, "rmtree", lambda *a, **k: None)
    night = night_of(small.region(archive), tmp_path)
    cases = [read_case_statistics(path) for path in sorted(tmp_path.glob(".work/here/*/*/2*.nc"))]
    assert len(cases) == 4
    assert float(sum(statistics["hits"].sum() for statistics, _ in cases)) == float(night.statistics["hits"].sum())
    assert float(sum(hours["count"].sum() for _, hours in cases)) == float(night.hourly["count"].sum())
