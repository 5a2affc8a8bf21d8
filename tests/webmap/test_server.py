"""`hybridcast serve`: what it serves, what it keeps to itself, and what its API says; on a real server."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from helpers.web_maps import FACTORS, ISSUED, MINUTE, small_scene
from hybridcast import save_forecast
from hybridcast.errors import InputError
from hybridcast.webmap import PageSettings, write_map
from hybridcast.webmap.server import find_page, is_loopback, listen

uvicorn = pytest.importorskip("uvicorn")
from hybridcast.webmap import newest  # noqa: E402
from hybridcast.webmap.api import make_app, parse_corners  # noqa: E402

#: A point in the rain, one that is dry, and one that is unknown, by x and y of EPSG:3067.
RAIN, DRY, UNKNOWN = ((350_000, 6_710_000), (390_000, 6_710_000), (350_000, 6_770_000))


@contextmanager
def served(folder, **how):
    """Yield a function that sends a request and returns status, headers and body."""
    app = make_app(find_page(folder), **how)
    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()

        def ask(path, method="GET", **headers):
            connection = http.client.HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=30)
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return answer.status, dict(answer.getheaders()), body

        yield ask
        server.should_exit = True
        thread.join(20)


def write_page(folder, *, crs="EPSG:3067", issued=ISSUED, rain=4.0):
    forecast, radar = small_scene(crs=crs, issued=issued, rain=rain)
    folder.mkdir(exist_ok=True)
    save_forecast(forecast, folder / "forecast.nc")
    write_map(forecast, folder, radar=radar, file=folder / "forecast.nc")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    page = write_page(root / "page")
    (root / "secret.txt").write_text("secret")
    (root / "page-too").mkdir()
    (root / "page-too" / "secret.txt").write_text("secret")
    (page / "state").mkdir()
    (page / "state" / "queue.json").write_text("secret")
    (page / ".hidden").write_text("secret")
    (page / "link.txt").symlink_to(root / "secret.txt")
    (page / "outside").symlink_to(root)
    (page / "inside").symlink_to(page / "state")
    return page


@pytest.fixture(scope="module")
def ask(folder):
    with served(folder, hosts=("localhost", "127.0.0.1")) as send:
        yield send


def get_json(ask, path):
    status, _, body = ask(path)
    assert status == 200, body
    return json.loads(body)


# --- files ------------------------------------------------------------------------------------------------------


def test_the_page_and_its_files_are_served(ask):
    status, headers, body = ask("/")
    assert status == 200
    assert body.startswith(b"<!doctype html>")
    assert "script-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert ask("/latest.js")[2].startswith(b"hybridcast.receive(")
    tag = headers["etag"]
    assert ask("/", **{"If-None-Match": tag})[0] == 304


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/../../../../../../etc/passwd",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/assets/../../secret.txt",
        "/..\\secret.txt",
        "/../page-too/secret.txt",
        "//etc/passwd",
        "/link.txt",
        "/outside/secret.txt",
        "/outside/page-too/secret.txt",
        "/inside/queue.json",
        "/state/queue.json",
        "/./state/queue.json",
        "/.hidden",
        "/map",
        "/assets/",
        "/index.html%00.txt",
    ],
)
def test_nothing_else_is_reachable(ask, path):
    status, _, body = ask(path)
    assert status in (307, 404), (status, body)
    assert b"secret" not in body
    assert b"root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/latest", "/new.txt"])
def test_nothing_can_be_written(ask, folder, method, path):
    assert ask(path, method)[0] == 405
    assert not (folder / "new.txt").exists()


def test_a_head_has_no_body(ask):
    status, headers, body = ask("/index.html", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 500


def test_pages_of_other_sites_do_not_reach_it(ask):
    """A name of another site that leads to this computer (DNS rebinding) is refused."""
    assert ask("/latest", Host="evil.example")[0] == 400


def test_tiles_may_come_from_their_server_only(folder):
    with served(folder, tiles="https://tiles.example.org/{z}/{x}/{y}.png") as ask:
        assert "img-src 'self' data: https://tiles.example.org;" in ask("/")[1]["content-security-policy"]


# --- the API ----------------------------------------------------------------------------------------------------


def test_latest_says_what_there_is(ask):
    found = get_json(ask, "/latest")
    assert found["issue_time"] == "2024-06-01T12:00:00Z"
    assert (found["lead_minutes"], found["thresholds"], found["members"]) == ([10, 20, 30], [0.1, 1, 5], len(FACTORS))
    assert found["unknown_fraction"][0] == 0.25


def test_a_position_has_what_places_have(ask):
    (x, y) = RAIN
    cell = get_json(ask, f"/position?x={x}&y={y}")["statistics"]["cell"]
    assert cell["precipitation_rate"] == [4.0] * 3
    assert cell["probability_of_rain"] == (FACTORS > 0).mean()
    assert cell["rate_quantile"]["0.5"] == [pytest.approx(4.0 * np.median(FACTORS))] * 3
    dry = get_json(ask, "/position?x={}&y={}".format(*DRY))["statistics"]["cell"]
    assert dry["precipitation_rate"] == [0.0] * 3


def test_longitude_and_latitude_lead_to_the_same_cell(ask):
    import pyproj

    longitude, latitude = pyproj.Transformer.from_crs("EPSG:3067", "EPSG:4326", always_xy=True).transform(*RAIN)
    by_degrees = get_json(ask, f"/position?lat={latitude}&lon={longitude}")
    assert by_degrees["statistics"] == get_json(ask, "/position?x={}&y={}".format(*RAIN))["statistics"]


def test_unknown_is_null(ask):
    cell = get_json(ask, "/position?x={}&y={}".format(*UNKNOWN))["statistics"]["cell"]
    assert cell["precipitation_rate"] == [None] * 3
    assert cell["probability_of_rain"] is None


def test_an_area_has_mean_and_maximum(ask):
    import pyproj

    project = pyproj.Transformer.from_crs("EPSG:3067", "EPSG:4326", always_xy=True).transform
    corners = [project(x, y) for x, y in ((349e3, 6.709e6), (369e3, 6.709e6), (369e3, 6.719e6), (349e3, 6.719e6))]
    found = get_json(ask, "/area?polygon=" + ";".join(f"{one:.6f},{other:.6f}" for one, other in corners))
    assert found["kind"] == "area"
    assert found["statistics"]["maximum"]["precipitation_rate"][0] == 4.0
    assert found["statistics"]["mean"]["precipitation_rate"][0] == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/position", 400, "lat and lon, or x and y"),
        ("/position?lat=60", 400, "lat and lon"),
        ("/position?lat=91&lon=0", 400, "less than or equal to 90"),
        ("/position?lat=a&lon=0", 400, "lat"),
        ("/position?lat=nan&lon=0", 400, "lat"),
        ("/position?lat=0&lon=0", 404, "it covers"),
        ("/area", 400, "polygon"),
        ("/area?polygon=1,2;3,4", 400, "3 to 500"),
        ("/area?polygon=1,2,3;3,4;4,5", 400, "two numbers"),
        ("/area?polygon=a,b;c,d;e,f", 400, "corners are numbers"),
        ("/area?polygon=0,0;1,0;1,1", 404, "outside"),
        ("/area?polygon=" + "1,2;" * 600 + "1,2", 400, "3 to 500"),
    ],
)
def test_errors_say_what_to_do(ask, path, status, message):
    found, _, body = ask(path)
    assert (found, message in json.loads(body)["error"]) == (status, True), body


def test_an_area_that_would_need_too_much_memory_is_refused(ask, monkeypatch):
    monkeypatch.setattr(newest, "MAX_VALUES", 1000)
    status, _, body = ask("/area?polygon=24,60.3;25,60.3;25,60.8;24,60.8")
    assert status == 400
    assert "smaller area" in json.loads(body)["error"]


def test_the_api_is_described(ask):
    paths = get_json(ask, "/openapi.json")["paths"]
    assert set(paths) == {"/latest", "/position", "/area"}
    assert b"openapi.json" in ask("/api")[2]


def test_a_newer_forecast_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(newest, "CHECK", 0.0)
    page = write_page(tmp_path / "page")
    with served(page) as ask:
        assert get_json(ask, "/latest")["issue_time"] == "2024-06-01T12:00:00Z"
        write_page(page, issued=ISSUED + 10 * MINUTE, rain=8.0)
        assert get_json(ask, "/latest")["issue_time"] == "2024-06-01T12:10:00Z"
        assert get_json(ask, "/position?x={}&y={}".format(*RAIN))["statistics"]["cell"]["precipitation_rate"][0] == 8.0
        (page / "latest.js").write_text("damaged")  # the one before goes on to answer
        assert get_json(ask, "/latest")["issue_time"] == "2024-06-01T12:10:00Z"


def test_a_page_without_its_forecast_says_so(tmp_path):
    forecast, _ = small_scene()
    write_map(forecast, tmp_path)
    with served(tmp_path) as ask:
        status, headers, body = ask("/latest")
        assert (status, headers["retry-after"]) == (503, "5")
        assert "hybridcast map" in json.loads(body)["error"]


def test_a_forecast_outside_of_the_folder_is_not_read(tmp_path):
    page = write_page(tmp_path / "page")
    (page / "forecast.nc").rename(tmp_path / "forecast.nc")
    (page / "latest.js").write_text((page / "latest.js").read_text().replace('"forecast.nc"', '"../forecast.nc"'))
    with served(page) as ask:
        assert ask("/latest")[0] == 503


def test_a_grid_of_unknown_place_is_asked_in_metres(tmp_path):
    with served(write_page(tmp_path / "page", crs=None)) as ask:
        assert get_json(ask, "/position?x=5000&y=5000")["statistics"]["cell"]["precipitation_rate"][0] == 4.0
        status, _, body = ask("/position?lat=1&lon=2")
        assert status == 400
        assert "x=...&y=..." in json.loads(body)["error"]


# --- the command ------------------------------------------------------------------------------------------------


def test_a_folder_without_a_page_is_refused(tmp_path, run):
    write_page(tmp_path / "north")
    with pytest.raises(InputError, match="Serve one of its folders: north"):
        find_page(tmp_path)
    code, _, err = run("serve", tmp_path / "absent")
    assert code == 1
    assert "hybridcast map" in err


def test_without_the_extra_the_error_names_it(folder, run, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, err = run("serve", folder)
    assert code == 1
    assert "pip install 'hybridcast[serve]'" in err


def test_an_address_that_is_taken_is_refused():
    with listen("127.0.0.1", 0) as taken, pytest.raises(InputError, match="Choose another --port"):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_it_is_known_who_can_reach_it(host, own):
    assert is_loopback(host) is own


def test_corners_with_blanks():
    assert parse_corners(" 1, 2 ;3 ,4; 5,6") == [(1, 2), (3, 4), (5, 6)]


@pytest.mark.parametrize(
    "tiles", ["https://a.org/{z}/{x}.png", "javascript:{z}{x}{y}", 'https://a.org/{z}/{x}/{y}"<b>']
)
def test_tiles_are_an_address(tiles):
    with pytest.raises(InputError, match="URL with"):
        PageSettings(tiles=tiles)
