"""The map page in the loop: it follows the forecasts with places and warnings, and hinders none."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.ensembles import SimulatedEnsemble
from helpers.watching import Bench, watched
from hybridcast.core.forecast_files import load_forecast
from hybridcast.errors import InputError
from hybridcast.places import at_places, write_places
from hybridcast.radar import open_radar
from hybridcast.watch.config import WatchSettings, load_watch
from hybridcast.watch.json_files import read_json
from hybridcast.webmap import page_folder, write_map
from hybridcast.webmap.latest import read_latest
from hybridcast.webmap.scripts import read_script

PLACES = """
[[place]]
name = "middle"
latitude = 60.36
longitude = 22.8
levels = ["0.1 mm/h"]
"""
REGION = '[[region]]\nname = "north"\nradar = "radar/*.pgm"\nplaces = "places.toml"\n'


@pytest.fixture
def bench(tmp_path, monkeypatch):
    (tmp_path / "places.toml").write_text(PLACES)
    return Bench(tmp_path, monkeypatch, map=True, map_attribution="radar of nobody")


def put(bench, *numbers):
    for number in numbers:
        bench.put(number)
        bench.go()


def make_one(bench):
    """Return the folder of a forecast of six frames, and the radar that it was made from."""
    for number in range(5):
        bench.put(number)
    put(bench, 5)
    folder = bench.loop.folder.path / read_json(bench.loop.folder.path / "latest.json")["folder"]
    return folder, open_radar(sorted(str(path) for path in bench.radar.iterdir()))


def test_the_page_follows_the_forecasts(bench):
    folder = bench.loop.folder.path
    for number in (3, 4):
        put(bench, number)
        latest = read_latest(folder)
        about = read_json(folder / "latest.json")
        assert latest.issue_time == about["issue_time"]
        assert latest.data == f"{about['folder']}/map"
        assert (folder / latest.forecast).exists()
        shown = read_script(folder / latest.data / "forecast.js")
        assert shown["issue_time"] == about["issue_time"]
        assert shown["title"] == "here"
    assert (folder / "index.html").is_file()
    assert read_script(folder / "settings.js")["attribution"] == "radar of nobody"
    assert read_script(folder / "settings.js")["alert_minutes"] == 20.0


def test_places_on_the_page_have_the_warnings_of_the_log(bench):
    folder = bench.loop.folder.path
    seen = set()
    for number in range(14):
        put(bench, number)
        (place,) = read_script(folder / read_latest(folder).data / "forecast.js")["places"]
        raised = read_json(folder / "warnings.json")["state"]["raised"]
        assert [one["level"] for one in place["raised"]] == [one["level"] for one in raised]
        assert [one["since"] for one in place["raised"]] == [one["since"] for one in raised]
        seen.add(bool(raised))
    assert seen == {True, False}


def test_a_kill_before_the_page_follows_is_made_good(bench, monkeypatch):
    put(bench, 3)
    folder = bench.loop.folder.path
    monkeypatch.setattr(bench.loop.folder, "_show", lambda *_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(SystemExit):
        put(bench, 4)
    assert read_latest(folder).issue_time != read_json(folder / "latest.json")["issue_time"]
    bench.start()
    bench.go()
    assert read_latest(folder).issue_time == read_json(folder / "latest.json")["issue_time"]


def test_a_grid_that_no_map_can_show_hinders_no_forecast(bench, monkeypatch):
    def refuse(*_, **__):
        raise InputError("the grid holds the north pole", "there are none", "Draw it")

    monkeypatch.setattr("hybridcast.webmap.forecast_folder.make_canvas", refuse)
    put(bench, 3)
    folder = bench.loop.folder.path
    about = read_json(folder / "latest.json")
    assert any(note.startswith("map: the grid holds") for note in about["left_out"])
    assert not (folder / about["folder"] / "map").exists()
    assert read_latest(folder) is None


@pytest.mark.parametrize("packing", ["float16", "packed"])
def test_members_are_made_once_and_the_page_shows_what_is_in_the_file(bench, tmp_path, monkeypatch, packing):
    nowcaster = SimulatedEnsemble()
    monkeypatch.setattr("hybridcast.watch.forecasts._make_nowcaster", lambda *_: nowcaster)
    bench = Bench(tmp_path, monkeypatch, watched(tmp_path, members=6, map=True, packing=packing, file="forecast.zarr"))
    folder, radar = make_one(bench)
    assert sorted(nowcaster.computed) == [0, 1]
    write_map(load_forecast(folder / "forecast.zarr"), tmp_path / "again", radar=radar, title="here")
    again = tmp_path / "again" / read_latest(tmp_path / "again").data
    shown = {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    del shown[Path("forecast.js")]  # which lists the places
    assert {name.parts[0] for name in shown} == {"rain", "members", "samples"}
    assert {name: (folder / "map" / name).read_bytes() for name in shown} == shown


def test_places_of_members_are_those_of_the_forecast_itself(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridcast.watch.forecasts._make_nowcaster", lambda *_: SimulatedEnsemble())
    bench = Bench(tmp_path, monkeypatch, watched(tmp_path, members=6, file="forecast.zarr", packing="float32"))
    folder, radar = make_one(bench)
    table = at_places(load_forecast(folder / "forecast.zarr"), tmp_path / "places.toml", radar=radar)
    path = write_places(table, tmp_path / "places.csv")
    assert path.read_text() == (folder / "places.csv").read_text()


def test_without_the_setting_there_is_no_page(tmp_path, monkeypatch):
    bench = Bench(tmp_path, monkeypatch)
    put(bench, 3)
    assert not (bench.loop.folder.path / "index.html").exists()
    assert read_latest(bench.loop.folder.path) is None


def test_files_of_the_page_are_not_written_again(bench, monkeypatch):
    put(bench, 3)
    written = []
    monkeypatch.setattr(page_folder, "atomic_write", lambda path: written.append(path))
    put(bench, 4)
    assert written == []


def test_settings_are_checked(tmp_path):
    with pytest.raises(InputError, match="URL with"):
        WatchSettings(map_tiles="tiles")
    config = tmp_path / "regions.toml"
    config.write_text("[watch]\nmap = true\nplaces_files = ['csv']\n" + REGION)
    with pytest.raises(InputError, match="Add 'json' to places_files"):
        load_watch(config)
    assert not watched(tmp_path).watch.map
