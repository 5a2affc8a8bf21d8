"""Map pages on the disk: complete, whole, safe names, new forecasts in the place of old ones; the commands."""

from __future__ import annotations

import json
import re

import numpy as np
import pyproj
import pytest

from helpers.web_maps import ISSUED, MINUTE, make_radar, small_scene
from hybridcast import save_forecast
from hybridcast.errors import InputError, ReadError
from hybridcast.places import Place, parse_level
from hybridcast.webmap import write_map
from hybridcast.webmap.latest import Latest, read_latest, show_forecast
from hybridcast.webmap.scripts import read_script, write_script

AREA = np.array([[340e3, 6.70e6], [350e3, 6.70e6], [350e3, 6.71e6], [340e3, 6.70e6]])
GRID = pyproj.CRS("EPSG:3067")
PLACES = (
    Place("</script><b>wet</b>", GRID, (350_000.0, 6_710_000.0), levels=(parse_level("1 mm/h"),)),
    Place("district", GRID, polygons=([AREA],), levels=(parse_level("50 mm/h"),)),
)


def listed(folder):
    return read_script(folder / read_latest(folder).data / "forecast.js")


def test_a_page_is_complete(tmp_path):
    forecast, radar = small_scene()
    index = write_map(forecast, tmp_path / "new" / "page", radar=radar, places=PLACES, title="here")
    folder = index.parent
    page = index.read_text()
    for name in re.findall(r'(?:src|href)="([\w./]+)"', page):
        assert (folder / name).is_file(), name
    found = listed(folder)
    data = folder / read_latest(folder).data
    for frame in found["frames"]:
        for file in (frame["rain"], *frame["probability"], *([frame["members"]] if frame["members"] else [])):
            assert (data / file).read_bytes()[:4] == b"\x89PNG"
    assert [frame["minutes"] for frame in found["frames"]] == [-20, -10, 0, 10, 20, 30]
    assert [frame["kind"] for frame in found["frames"]] == ["observed"] * 3 + ["forecast"] * 3
    assert found["frames"][3]["time"] == "2024-06-01T12:10:00Z"
    assert found["frames"][3]["unknown"] == 0.25
    assert all((data / "samples" / f"{name}.js").is_file() for name in found["samples"]["tiles"])


def test_nothing_of_the_page_needs_a_network(tmp_path):
    forecast, _ = small_scene()
    index = write_map(forecast, tmp_path)
    own = [path for path in (index, *(index.parent / "assets").glob("*")) if path.is_file()]
    for path in own:
        addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", path.read_text())
        known = ("http://www.w3.org/2000/svg",)
        assert [one for one in addresses if one.startswith("http") and one not in known] == [], path


def test_places_have_their_state_and_what_is_said_of_them(tmp_path):
    forecast, radar = small_scene()
    write_map(forecast, tmp_path, radar=radar, places=PLACES)
    wet, district = listed(tmp_path)["places"]
    assert wet["name"] == "</script><b>wet</b>"
    assert wet["raised"] == [{"level": "1 mm/h", "since": "2024-06-01T12:00:00Z"}]
    assert wet["point"] == [pytest.approx(60.49, abs=0.02), pytest.approx(24.27, abs=0.02)]
    assert (district["kind"], district["raised"]) == ("area", [])
    assert len(district["polygons"][0][0]) == 4
    said = read_script(tmp_path / read_latest(tmp_path).data / "places" / "1.js")
    assert set(said["statistics"]) == {"mean", "maximum"}


def test_coast_and_land_are_around_the_picture(tmp_path):
    forecast, _ = small_scene()
    write_map(forecast, tmp_path)
    outlines = read_script(tmp_path / "outlines.js")
    latitude, longitude = np.concatenate([np.array(line) for line in outlines["coast"]]).T
    assert ((latitude > 59.9) & (latitude < 60.3) & (longitude > 24) & (longitude < 26)).sum() > 20  # near Helsinki
    assert outlines["land"]


def test_a_new_forecast_takes_the_place_and_the_one_before_stays_for_a_while(tmp_path):
    for number in range(3):
        forecast, _ = small_scene(issued=ISSUED + number * 10 * MINUTE)
        write_map(forecast, tmp_path)
    assert sorted(path.name for path in (tmp_path / "map").iterdir()) == ["20240601T121000Z", "20240601T122000Z"]
    assert read_latest(tmp_path) == Latest("map/20240601T122000Z", "2024-06-01T12:20:00Z", 0, None)
    write_map(forecast, tmp_path)
    assert read_latest(tmp_path).revision == 1


def test_the_file_of_the_forecast_is_named_if_it_is_in_the_folder(tmp_path):
    forecast, _ = small_scene()
    for place in (tmp_path, tmp_path / "page"):
        place.mkdir(exist_ok=True)
        save_forecast(forecast, place / "forecast.nc")
    write_map(forecast, tmp_path / "page", file=tmp_path / "page" / "forecast.nc")
    assert read_latest(tmp_path / "page").forecast == "forecast.nc"
    write_map(forecast, tmp_path / "page", file=tmp_path / "forecast.nc")
    assert read_latest(tmp_path / "page").forecast is None


def test_radar_on_another_grid_is_refused_and_nothing_is_left(tmp_path):
    forecast, _ = small_scene()
    other = make_radar(np.zeros((4, 5)), y=1000.0 * np.arange(4), x=1000.0 * np.arange(5))
    with pytest.raises(InputError, match="radar and forecast"):
        write_map(forecast, tmp_path, radar=other)
    assert list((tmp_path / "map").iterdir()) == []
    assert read_latest(tmp_path) is None


def test_a_forecast_without_observation_members_and_probabilities(tmp_path):
    forecast, _ = small_scene()
    bare = forecast.drop_vars(["precipitation_rate_ensemble", "probability_of_exceedance", "threshold", "realization"])
    write_map(bare, tmp_path)
    found = listed(tmp_path)
    assert (found["members"], found["thresholds"], len(found["frames"])) == (None, [], 3)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "page").write_text("here")
    with pytest.raises(InputError, match="Choose another folder"):
        write_map(small_scene()[0], tmp_path / "page")


# --- scripts ----------------------------------------------------------------------------------------------------


def test_scripts_hold_json_in_ascii(tmp_path):
    content = {"a": [1, None, "</script>\u2028ä☂"], "b": {"c": 1.5}}
    write_script(tmp_path / "a.js", "name", content)
    text = (tmp_path / "a.js").read_bytes().decode("ascii")
    assert json.loads(text.removeprefix('hybridcast.receive("name",').removesuffix(");\n")) == content
    assert read_script(tmp_path / "a.js") == content


def test_damaged_scripts_are_named(tmp_path):
    (tmp_path / "a.js").write_text("hybridcast.receive(")
    with pytest.raises(ReadError, match=r"a\.js"):
        read_script(tmp_path / "a.js")
    (tmp_path / "latest.js").write_text('hybridcast.receive("latest",{"other":1});')
    assert read_latest(tmp_path) is None


def test_the_same_forecast_is_not_written_again(tmp_path):
    latest = Latest("map/a", "2024-06-01T12:00:00Z")
    show_forecast(tmp_path, latest)
    before = (tmp_path / "latest.js").stat().st_mtime_ns
    show_forecast(tmp_path, latest)
    assert (tmp_path / "latest.js").stat().st_mtime_ns == before


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_writes_a_page_and_says_what_to_open(tmp_path, run):
    forecast, _ = small_scene()
    save_forecast(forecast, tmp_path / "forecast.nc")
    places = tmp_path / "places.toml"
    places.write_text('[[place]]\nname = "a"\nlatitude = 60.5\nlongitude = 24.3\nlevels = ["1 mm/h"]\n')
    out = tmp_path / "out"
    options = ("--title", "North", "--places", places, "--attribution", "me")
    code, said, err = run("map", tmp_path / "forecast.nc", "-o", out, *options)
    assert code == 0, err
    assert f"open {out / 'index.html'}" in said
    assert listed(out)["title"] == "North"
    assert read_script(out / "settings.js")["attribution"] == "me"


def test_mistakes_are_one_line(tmp_path, run):
    save_forecast(small_scene()[0], tmp_path / "forecast.nc")
    for arguments, message in (
        ((tmp_path / "absent.nc",), "cannot be read"),
        ((tmp_path / "forecast.nc", "--tiles", "tiles.example.org"), "{z}, {x} and {y}"),
        ((tmp_path / "forecast.nc", "--places", tmp_path / "absent.toml"), "No such file"),
    ):
        code, _, err = run("map", *arguments, "-o", tmp_path / "out")
        assert code == 1
        assert message in err, err
