"""Evaluation on the simulated scene: files that are used again, masks, kills, workers, the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import scoringrules
import xarray as xr
from typer.testing import CliRunner

from helpers import synthetic
from helpers.ensembles import SimulatedEnsemble
from hybridcast.cli.app import app
from hybridcast.core.field import RATE
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY, forecast_dataset
from hybridcast.datasets.events import Event
from hybridcast.datasets.registry import scene_path
from hybridcast.errors import InputError
from hybridcast.forecasting import forecast
from hybridcast.nowcasters.base import Advection, Persistence
from hybridcast.verification import evaluation, scores
from hybridcast.verification.evaluation import EvaluationSettings, compute_case_statistics, evaluate
from hybridcast.verification.sums import STEP_MEANS, compute_sum_statistics, find_fine_step, mean_over_steps
from hybridcast.verification.tables import columns, event_scores, format_markdown, summarize

SETTINGS = EvaluationSettings(lead_time="1h", max_cases=2)


@dataclass(frozen=True)
class Damped:
    """Persistence times a factor, with members, known everywhere."""

    factor: float = 0.5
    members: int = 3

    @property
    def name(self) -> str:
        return "damped"

    def forecast(self, recent, lead_times):
        rate = self.factor * Persistence().forecast(recent, lead_times)[RATE]
        result = forecast_dataset(rate.values, recent, lead_times, nowcaster=self.name)
        steps = np.linspace(0.5, 1.5, self.members, dtype=np.float32)
        result[ENSEMBLE] = (("realization", *rate.dims), np.stack([rate.values * step for step in steps]))
        return result


def scene_events(*names):
    return [Event(name=name, region=name[0], radar=str(scene_path())) for name in names]


def files(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in sorted(folder.rglob("*.nc"))}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Sums of two events, and the work folder that they come from."""
    work = tmp_path_factory.mktemp("work")
    said = []
    statistics = evaluate(
        scene_events("one", "two"),
        lambda event: {"damped": Damped()},
        work=work,
        settings=SETTINGS,
        progress=lambda *what: said.append(what),
    )
    return statistics, work, said


def test_sums_have_every_event_area_and_nowcaster(run):
    statistics, _, said = run
    assert statistics["event"].values.tolist() == ["one", "two"]
    assert statistics["region"].values.tolist() == ["o", "t"]
    assert statistics["nowcaster"].values.tolist() == ["persistence", "advection", "damped"]
    assert (statistics["cases"] == 2).all()
    assert [what[1:] for what in said] == [(k, 4) for k in range(1, 5)]
    counts = statistics["count"]
    assert (counts == counts.isel(nowcaster=0)).all()
    assert (counts.sel(area="source") < counts.sel(area="all")).all()
    assert (statistics["own_count"].sel(area="source") == counts.sel(area="source")).all()
    assert (
        statistics["own_count"].sel(nowcaster="advection", area="all") < counts.sel(nowcaster="advection", area="all")
    ).all()
    assert (statistics["rank_count"].sel(nowcaster="advection") == 0).all()
    np.testing.assert_allclose(
        statistics["rank_count"].sel(nowcaster="damped", block=0.0, accumulation=0.0).sum("rank"),
        counts.sel(nowcaster="damped"),
    )


def test_what_was_made_is_used_again(run, monkeypatch):
    statistics, work, _ = run
    before = files(work)
    monkeypatch.setattr(evaluation, "forecast", None)  # nothing may be forecast
    monkeypatch.setattr(evaluation, "compute_case_statistics", None)
    again = evaluate(scene_events("one", "two"), lambda event: {"damped": Damped()}, work=work, settings=SETTINGS)
    xr.testing.assert_identical(again, statistics)
    assert files(work) == before


def test_another_nowcaster_costs_its_own_forecasts_only(run, monkeypatch, tmp_path):
    statistics, work, _ = run
    made = []
    monkeypatch.setattr(evaluation, "forecast", lambda *a, **k: made.append(k["nowcaster"].name) or forecast(*a, **k))
    both = {"damped": Damped(), "weak": Damped(factor=0.1)}
    more = evaluate(scene_events("one", "two"), lambda event: both, work=work, settings=SETTINGS)
    assert made == ["damped"] * 4  # the name of the weak one
    assert more["nowcaster"].values.tolist() == ["persistence", "advection", "damped", "weak"]
    xr.testing.assert_allclose(more["hits"].sel(nowcaster="damped"), statistics["hits"].sel(nowcaster="damped"))
    assert (more["forecast"].sel(nowcaster="weak") < more["forecast"].sel(nowcaster="damped")).all()


def test_a_nowcaster_with_other_settings_is_run_again(run):
    statistics, work, _ = run
    changed = evaluate(scene_events("one"), lambda event: {"damped": Damped(factor=0.2)}, work=work, settings=SETTINGS)
    assert (
        changed["forecast"].sel(nowcaster="damped") < statistics["forecast"].sel(nowcaster="damped", event=["one"])
    ).all()
    back = evaluate(scene_events("one"), lambda event: {"damped": Damped()}, work=work, settings=SETTINGS)
    xr.testing.assert_identical(back["hits"], statistics["hits"].sel(event=["one"]))


def test_two_processes_give_the_same_sums(run, tmp_path):
    events = scene_events("one", "two")
    settings = replace(SETTINGS, max_cases=1)
    statistics = evaluate(events, _baselines, work=tmp_path / "two", settings=settings, workers=2)
    alone = evaluate(events, _baselines, work=tmp_path / "one", settings=settings)
    xr.testing.assert_identical(statistics, alone)


def _baselines(event):
    return {"slow": Advection()}


def test_unknown_points_are_judged_with_advection_or_persistence():
    radar = synthetic.rain((40, 50), frames=3, later=12, wet=0.6)
    radar = radar.where(radar.x > 3000)
    issue = radar.time.values[2]
    made = {name: forecast(radar, issue_time=issue, lead_time="1h", step="30min", nowcaster=nowcaster)
            for name, nowcaster in {"persistence": Persistence(), "advection": Advection()}.items()}  # fmt: skip
    silent = made["advection"].assign({RATE: made["advection"][RATE] * np.nan})
    half = made["advection"].assign({RATE: made["advection"][RATE].where(radar.y.values[None, :, None] > 20_000)})
    statistics = compute_case_statistics({**made, "half": half}, radar)
    everywhere = statistics.sel(area="all")
    xr.testing.assert_identical(
        everywhere["hits"].sel(nowcaster="half", drop=True), everywhere["hits"].sel(nowcaster="advection", drop=True)
    )
    assert (everywhere["own_count"].sel(nowcaster="half") < everywhere["own_count"].sel(nowcaster="advection")).all()
    assert (everywhere["own_count"].sel(nowcaster="advection") < everywhere["count"].sel(nowcaster="advection")).all()
    seen = int(np.isfinite(radar.values[8]).sum())
    assert (everywhere["count"] == seen).all()
    none = compute_case_statistics({**made, "silent": silent}, radar)
    assert (none.sel(area="source")["count"] == 0).all()
    assert (none.sel(area="all", nowcaster="silent")["count"] == seen).all()
    table = scores.csi_equal_area(everywhere.sel(nowcaster="advection"))
    np.testing.assert_allclose(table, scores.csi(everywhere.sel(nowcaster="advection")))


def test_probabilities_are_filled_with_certainty():
    radar = synthetic.rain((20, 20), frames=3, later=6, wet=0.6)
    issue = radar.time.values[2]
    made = {name: forecast(radar, issue_time=issue, lead_time="30min", step="30min", nowcaster=nowcaster)
            for name, nowcaster in {"persistence": Persistence(), "advection": Advection()}.items()}  # fmt: skip
    unknown = np.full((6, 1, 20, 20), np.nan, np.float32)
    unknowing = made["advection"].assign({PROBABILITY: (("threshold", "lead_time", "y", "x"), unknown)})
    unknowing = unknowing.assign_coords(threshold=np.float32(evaluation.THRESHOLDS))
    statistics = compute_case_statistics({**made, "unknowing": unknowing}, radar).sel(area="all")
    np.testing.assert_allclose(
        scores.brier_score(statistics.sel(nowcaster="unknowing")),
        scores.brier_score(statistics.sel(nowcaster="advection")),
    )


def test_an_error_names_the_case(tmp_path):
    @dataclass(frozen=True)
    class Broken:
        name: str = "broken"

        def forecast(self, recent, lead_times):
            raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError) as caught:
        evaluate(scene_events("one"), lambda event: {"broken": Broken()}, work=tmp_path, settings=SETTINGS)
    assert "while forecasting one 2024-06-11" in caught.value.__notes__[0]


def test_events_without_a_case_are_refused(tmp_path):
    dry = [Event(name="short", region="x", radar=str(scene_path()), longest="10h")]
    with pytest.raises(InputError, match="none of 1 events has a case"):
        evaluate(dry, lambda event: {}, work=tmp_path)
    with pytest.raises(InputError, match="each has files of its own name"):
        evaluate(scene_events("one"), lambda event: dict.fromkeys(["a b", "a-b"]), work=tmp_path, settings=SETTINGS)
    with pytest.raises(InputError, match="one worker at least"):
        evaluate(scene_events("one"), lambda event: {}, work=tmp_path, settings=SETTINGS, workers=0)


# --- members --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ensembles(tmp_path_factory):
    """Sums of an event with an ensemble of as many members as asked for, and the work folder."""
    work = tmp_path_factory.mktemp("ensembles")
    statistics = evaluate(
        scene_events("one"),
        lambda event: {"noisy": SimulatedEnsemble(), "damped": Damped()},
        work=work,
        settings=replace(SETTINGS, members=4, max_cases=1),
    )
    return statistics, work


def test_sums_are_those_of_every_frame(ensembles):
    statistics, work = ensembles
    (issue,) = json.loads((work / "cases" / "one.json").read_text())["issue_times"]
    radar = evaluation.load_event_radar(scene_events("one")[0], SETTINGS.spacing)
    issue = np.datetime64(issue)
    made = forecast(radar, issue_time=issue, lead_time="1h", nowcaster=SimulatedEnsemble(), members=4)
    members = made[ENSEMBLE].values.reshape(4, 2, 6, *radar.shape[1:]).mean(axis=2) / 2  # mm in half an hour
    frames = radar.sel(time=slice(issue + np.timedelta64(5, "m"), issue + np.timedelta64(1, "h"))).values
    observed = frames.reshape(2, 6, *radar.shape[1:]).mean(axis=1) / 2
    everywhere = np.isfinite(members).all(axis=(0, 1)) & np.isfinite(observed).all(axis=0)
    here = statistics.isel(event=0).sel(area="source", nowcaster="noisy", block=0.0)
    for minutes, drawn, truth in ((30.0, members, observed), (60.0, members.sum(1)[:, None], observed.sum(0)[None])):
        found = here.sel(accumulation=minutes)
        for k, lead in enumerate((30, 60) if minutes == 30 else (60,)):
            at = found.sel(lead_time=np.timedelta64(lead, "m"))
            assert 0 < float(at["ensemble_count"]) <= float(here["count"].sel(lead_time=at["lead_time"]))
            if float(at["ensemble_count"]) == everywhere.sum():
                o, m = truth[k][everywhere], drawn[:, k][:, everywhere]
                expected = scoringrules.crps_ensemble(o, m, m_axis=0, estimator="fair").mean()
                assert float(scores.fair_crps(at)) == pytest.approx(expected, rel=1e-3)  # members are rounded


def test_the_first_hour_and_the_second_are_apart():
    radar = synthetic.rain((40, 44), frames=3, later=24, wet=0.6, spacing=2000.0)
    issue = radar.time.values[2]
    leads = np.array([30, 60, 90, 120]) * np.timedelta64(1, "m")
    step = leads[0]
    made = forecast(radar, issue_time=issue, lead_time="2h", step="5min", nowcaster=SimulatedEnsemble(), members=3)
    kept = made.sel(lead_time=leads).assign({STEP_MEANS: mean_over_steps(made[ENSEMBLE], step)})
    valid = kept[RATE].notnull()
    found = compute_sum_statistics(
        {"noisy": kept}, radar, valid=valid, windows=("30min", "1h", "2h", "3h", "45min"), blocks=(10.0,)
    )
    assert found["accumulation"].values.tolist() == [30, 60, 120]
    ends = (found["ensemble_count"].sel(block=0.0) > 0).squeeze("nowcaster")
    assert ends.values.tolist() == [[True] * 4, [False, True, False, True], [False, False, False, True]]
    hours = scores.error_of_ensemble_mean(found.sel(accumulation=60.0, block=0.0)).squeeze("nowcaster")
    truth = radar.values[3:].reshape(2, 12, 40, 44).mean(axis=1)
    drawn = made[ENSEMBLE].values.mean(axis=0).reshape(2, 12, 40, 44).mean(axis=1)
    np.testing.assert_allclose(hours[[1, 3]], np.sqrt(((drawn - truth) ** 2).mean(axis=(1, 2))), rtol=1e-4)


def test_a_missing_frame_makes_the_sum_unknown():
    radar = synthetic.rain((40, 44), frames=3, later=12, wet=0.6, spacing=2000.0).copy()
    issue = radar.time.values[2]
    made = forecast(radar, issue_time=issue, lead_time="1h", step="5min", nowcaster=SimulatedEnsemble(), members=3)
    kept = made.isel(lead_time=[5, 11]).assign({STEP_MEANS: mean_over_steps(made[ENSEMBLE], "30min")})
    radar.values[5] = np.nan
    valid = xr.ones_like(kept[RATE], dtype=bool)
    found = compute_sum_statistics({"noisy": kept}, radar, valid=valid, windows=("30min", "1h"), blocks=())
    counts = found["ensemble_count"].sel(block=0.0).squeeze("nowcaster")
    assert counts.values.tolist() == [[0, 40 * 44], [0, 0]]


@pytest.mark.parametrize(("minutes", "fine"), [(5, 5), (10, 10), (2, 6), (15, 15), (4, None), (45, None)])
def test_the_step_of_sums_fits_the_radar_and_the_lead_times(minutes, fine):
    radar = synthetic.rain((4, 4), frames=3)
    times = radar.time.values[0] + np.arange(3) * np.timedelta64(minutes, "m")
    found = find_fine_step(radar.assign_coords(time=times), "30min")
    assert found == (None if fine is None else np.timedelta64(fine, "m"))
    assert find_fine_step(radar[:1], "30min") is None


def test_only_ensembles_that_were_asked_for_have_sums(ensembles):
    statistics, work = ensembles
    assert statistics["accumulation"].values.tolist() == [0, 30, 60, 120]
    counts = statistics["ensemble_count"].isel(event=0).sel(block=0.0, area="source").max("lead_time")
    assert (counts.sel(nowcaster="noisy", accumulation=[0, 30, 60]) > 0).all()
    assert counts.sel(nowcaster="damped").values.astype(bool).tolist() == [True, False, False, False]
    assert not counts.sel(nowcaster=["advection", "persistence"]).any()
    assert statistics["nowcaster"].values.tolist() == ["persistence", "advection", "noisy", "damped"]
    (file,) = (work / "forecasts" / "noisy").rglob("*.nc")
    with xr.open_dataset(file, decode_timedelta=True) as stored:
        assert stored.sizes["lead_time"] == 2
        assert stored.sizes["realization"] == 4


def test_another_number_of_members_is_forecast_again(ensembles):
    statistics, work = ensembles
    before = files(work)
    settings = replace(SETTINGS, members=2, max_cases=1)
    fewer = evaluate(scene_events("one"), lambda event: {"noisy": SimulatedEnsemble()}, work=work, settings=settings)
    assert fewer.sizes["rank"] == 3
    changed = {path for path, time in files(work).items() if before.get(path) != time}
    assert {path.parts[1] for path in changed if path.parts[0] == "forecasts"} == {"noisy"}
    cells = {"accumulation": 0.0, "block": 0.0, "nowcaster": "noisy"}
    assert (fewer["ensemble_members"].sel(cells) < statistics["ensemble_members"].sel(cells)).all()


def test_scores_of_members_compare_ensembles_only(ensembles):
    found = json.loads(json.dumps(summarize(ensembles[0], baseline="damped"), allow_nan=False))
    mean = found["mean"]["source"]
    assert mean["advection"]["fair CRPS"] == [None, None]
    assert None not in mean["noisy"]["fair CRPS 20 km"]
    assert mean["noisy"]["spread/error 1 h, 20 km"][0] is None
    assert mean["damped"]["fair CRPS 1 h"] == [None, None]
    total = ensembles[0].sum("event").sel(area="source", nowcaster="noisy", block=20.0, accumulation=0.0)
    assert found["pooled"]["source"]["noisy"]["reliability index 20 km"] == pytest.approx(
        scores.reliability_index(total).values, rel=1e-4
    )
    text = format_markdown(found)
    assert "| reliability index of sampling 20 km |" in text.split("Rank histograms of all events together:")[1]
    assert "| fair CRPS 1 h, 20 km |" in text
    assert "| fair CRPS 1 h, 20 km |" not in text.split("## All points")[1].split("## Region")[0]


# --- tables ---------------------------------------------------------------------------------------------------


def test_the_summary_has_each_score_of_each_nowcaster(run):
    statistics, _, _ = run
    found = json.loads(json.dumps(summarize(statistics, baseline="advection"), allow_nan=False))
    assert found["lead_times_min"] == [30, 60]
    assert found["support"]["one"]["cases"] == [2, 2]
    assert found["events_of_mean"]["all"]["MAE"] == [2, 2]
    names = [column.name for column in columns(statistics)]
    for area in ("all", "source"):
        for nowcaster in ("persistence", "advection", "damped"):
            assert list(found["mean"][area][nowcaster]) == names
    mean = np.mean([float(scores.csi(statistics.sel(event=name, area="source", nowcaster="damped", threshold=1.0))[0])
                    for name in ("one", "two")])  # fmt: skip
    assert found["mean"]["source"]["damped"]["CSI 1"][0] == pytest.approx(mean, rel=1e-4)
    gap = found["difference"]["all"]["damped"]["MAE"]
    assert gap["verdict"] == ["not resolved"] * 2  # two days are not enough
    assert gap["difference"][0] == pytest.approx(
        found["mean"]["all"]["damped"]["MAE"][0] - found["mean"]["all"]["advection"]["MAE"][0], abs=2e-5
    )
    assert found["mean"]["source"]["advection"]["CSI 1"] == found["mean"]["source"]["advection"]["CSI 1, equal area"]
    with pytest.raises(InputError, match="baseline 'nobody'"):
        summarize(statistics, baseline="nobody")


def test_means_compare_the_same_events(run):
    statistics = run[0].copy(deep=True)
    for name in ("hits", "misses", "false_alarms"):
        statistics[name].loc[{"event": "one", "nowcaster": "damped", "threshold": 5.0}] = 0.0
    found = event_scores(statistics)["CSI 5"]
    assert np.isnan(found.sel(event="one")).all()
    assert found.sel(event="two").notnull().all()


def test_the_markdown_can_be_read_as_tables(run):
    text = format_markdown(summarize(run[0], baseline="advection"))
    assert "4 cases (4 / 4 by lead time) of 2 events on 2 days in 2 regions" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2 * 3 + 2 + 2
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "events.toml"
    path.write_text(
        "".join(f'[[event]]\nname = "{n}"\nregion = "{n[0]}"\nradar = "{scene_path()}"\n' for n in ("one", "two"))
    )
    return path


def arguments(listed, work, *more):
    return [
        "evaluate", "--events", str(listed), "--work", str(work), "--output", str(work.parent / "found.json"),
        "--nowcasters", "advection", "--baseline", "persistence", "--cases", "2", *more,
    ]  # fmt: skip


def test_the_command_writes_json_and_markdown(listed, tmp_path):
    result = CliRunner().invoke(app, arguments(listed, tmp_path / "work", "--only", "t"))
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found["events"]) == ["two"]
    assert found["nowcasters"] == ["persistence", "advection"]
    assert "# Evaluation" in (tmp_path / "found.md").read_text()


@pytest.mark.parametrize(
    ("option", "message"),
    [(("--only", "three"), "it is an event or a region"), (("--nowcasters", "magic"), "'magic'; it is a known one")],
)
def test_the_command_refuses_what_it_does_not_know(listed, tmp_path, option, message):
    result = CliRunner().invoke(app, arguments(listed, tmp_path / "work", *option))
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_a_killed_run_goes_on_and_ends_the_same(listed, tmp_path):
    undisturbed = tmp_path / "a" / "work"
    undisturbed.parent.mkdir()
    assert CliRunner().invoke(app, arguments(listed, undisturbed)).exit_code == 0
    work = tmp_path / "b" / "work"
    work.parent.mkdir()
    command = [sys.executable, "-m", "hybridcast", *arguments(listed, work)]
    kills = 0
    for wanted in (1, 5):  # files that are there when it is killed
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ)
        end = time.monotonic() + 60
        while process.poll() is None and len(list(work.rglob("*.nc"))) < wanted and time.monotonic() < end:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills >= 2
    assert not (work.parent / "found.json").exists()
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert (work.parent / "found.json").read_text() == (undisturbed.parent / "found.json").read_text()
    one, two = (
        sorted(p.relative_to(w) for p in w.rglob("*.nc") if not p.name.startswith(".")) for w in (undisturbed, work)
    )
    assert one == two


def test_the_package_brings_events_for_it():
    assert Path(evaluation.__file__).is_file()
    assert "--events" in CliRunner().invoke(app, ["evaluate", "--help"]).output
