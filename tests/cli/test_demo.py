"""The demo on the simulated scene that comes with the package, as if there were no network."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from hybridcast.cli import demo, getting_started, places
from hybridcast.core.forecast_files import load_forecast
from hybridcast.errors import FetchError, InputError
from hybridcast.webmap.latest import read_latest


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    patch = pytest.MonkeyPatch()

    def no_network(*_, **__):
        raise FetchError("no network")

    patch.setattr(demo, "fetch", no_network)
    yield demo.run_demo(tmp_path_factory.mktemp("demo"), cases=2)
    patch.undo()


def test_without_a_network_it_says_that_the_rain_is_simulated_and_why(result):
    assert "SIMULATED" in result.source
    assert "no network" in result.source


def test_it_writes_map_film_pictures_places_and_the_forecast(result):
    assert [path.name for path in result.files.values()] == [
        *("index.html", "places.csv", "forecast.nc", "forecast.gif", "probability.png", "members.png")
    ]
    assert result.left_out == []
    page, places, whole, film, probability, members = result.files.values()
    shown = read_latest(page.parent)
    assert (page.parent / shown.data / "forecast.js").is_file()
    assert page.parent / shown.forecast == whole
    assert film.read_bytes()[:6] == b"GIF89a"
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (probability, members))
    assert load_forecast(whole).sizes["realization"] == demo.MEMBERS
    assert {"west", "centre", "east"} <= set(places.read_text().replace(",", " ").split())


def test_it_scores_four_nowcasters_at_four_lead_times(result):
    assert result.scores.sizes == {"nowcaster": 4, "lead_time": 4}
    assert np.isfinite(result.scores["mean_absolute_error"]).all()
    _, _, advection, persistence = result.scores["correlation"].isel(lead_time=0).values
    assert advection > persistence


def test_the_report_says_what_is_better_and_what_to_open(result, capsys, monkeypatch):
    monkeypatch.setattr(getting_started, "out", Console(width=200))
    monkeypatch.setattr(places, "out", Console(width=200))
    getting_started._report_demo(result)
    said = capsys.readouterr().out
    assert "CSI of hybridcast an hour ahead:" in said
    assert said.count(" against ") == 3
    assert (
        said.index("Open the map first")
        < said.index("index.html")
        < said.index("forecast.gif")
        < said.index("members.png")
    )
    assert "learned from" not in said  # it has not seen the simulated scene
    getting_started._report_demo(replace(result, seen_in_training=True))
    assert "learned from some of these days" in capsys.readouterr().out


def test_without_pysteps_and_matplotlib_the_rest_is_made(tmp_path, monkeypatch, capsys):
    for name in ("pysteps", "pysteps.exceptions", "matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(demo, "fetch", lambda *_, **__: [demo.scene_path()])
    made = demo.run_demo(tmp_path, cases=1)
    assert made.scores["nowcaster"].values.tolist() == ["hybridcast", "advection", "persistence"]
    assert [path.name for path in made.files.values()] == ["index.html", "places.csv", "forecast.nc"]
    getting_started._report_demo(made)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert ["pip install 'hybridcast[pysteps]'" in line for line in notes] == [True, False]
    assert ["pip install 'hybridcast[plot]'" in line for line in notes] == [False, True]


def test_issue_times_leave_room_and_are_apart():
    radar, _ = demo.open_radar(demo.scene_path()), None
    times = demo.find_stormiest_times(radar, 5)
    assert times[0] >= radar.time.values[0] + np.timedelta64(1, "h")
    assert times.max() <= radar.time.values[-1] - np.timedelta64(2, "h")
    gaps = np.abs(times[:, None] - times[None, :])[~np.eye(times.size, dtype=bool)]
    assert (gaps >= demo.APART).all()


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_fetched(tmp_path):
    (tmp_path / "out").write_text("here")
    with pytest.raises(InputError, match="cannot be made"):
        demo.run_demo(tmp_path / "out")
