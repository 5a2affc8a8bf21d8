"""The map page in a real Chromium, from the disk and from the server: it opens, plays, answers clicks, and updates."""

from __future__ import annotations

import threading

import numpy as np
import pyproj
import pytest
from selenium.webdriver.support.ui import WebDriverWait

from helpers.browsing import set_size, start_chromium
from helpers.web_maps import ISSUED, MINUTE, small_scene
from hybridcast import save_forecast
from hybridcast.places import Place, parse_level
from hybridcast.webmap import PageSettings, write_map
from hybridcast.webmap.server import find_page, listen

PHONE, DESKTOP = 390, 1280
EVIL = "<img src=x onerror=\"document.title='broken'\"> & 'town'"
GRID = pyproj.CRS("EPSG:3067")
PLACES = (
    Place(EVIL, GRID, (350_000.0, 6_710_000.0), levels=(parse_level("1 mm/h"),)),
    Place("dry", GRID, (390_000.0, 6_710_000.0), levels=(parse_level("1 mm/h"),)),
    Place("unseen", GRID, (350_000.0, 6_770_000.0), levels=(parse_level("1 mm/h"),)),
    Place("far", pyproj.CRS("EPSG:4326"), (0.0, 0.0), levels=(parse_level("1 mm/h"),)),
)
FAST = PageSettings(poll_seconds=0.2, alert_minutes=20.0)


def write(folder, *, crs="EPSG:3067", issued=ISSUED, rain=4.0):
    forecast, radar = small_scene(crs=crs, issued=issued, rain=rain)
    places = PLACES if crs is not None else None
    folder.mkdir(exist_ok=True)
    save_forecast(forecast, folder / "forecast.nc")
    file = folder / "forecast.nc"
    return write_map(forecast, folder, radar=radar, places=places, title=EVIL, file=file, settings=FAST)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write(tmp_path_factory.mktemp("map"))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with start_chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def open_page(chromium):
    """Return a function that opens a page, and waits for its picture; no page may log anything."""

    def opened(address, width=DESKTOP, dark=False):
        set_size(chromium, width)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        chromium.get(address)
        wait(chromium, "document.querySelector('.picture.now')")
        return chromium

    yield opened
    assert chromium.get_log("browser") == []


def wait(browser, condition, *arguments):
    """Wait until an expression of JavaScript is true, and return its value."""
    return WebDriverWait(browser, 20).until(lambda one: one.execute_script(f"return {condition}", *arguments))


def text(browser, selector):
    return browser.find_element("css selector", selector).text


def press(browser, key):
    browser.execute_script("document.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))", key)


def click_on_picture(browser, across, down):
    """Click at a part of the picture's width and height."""
    script = """
    const box = document.querySelector('.picture.now').getBoundingClientRect();
    const at = {bubbles: true, clientX: box.x + box.width * arguments[0], clientY: box.y + box.height * arguments[1]};
    const map = document.getElementById('map');
    for (const kind of ['mousedown', 'mouseup', 'click']) map.dispatchEvent(new MouseEvent(kind, at));
    """
    browser.execute_script(script, across, down)
    wait(browser, "!document.getElementById('panel').hidden")


def test_it_opens_from_the_disk_with_the_latest_observation(open_page, page):
    browser = open_page(page.as_uri())
    assert "observed" in text(browser, "#now")
    assert "12:00 UTC" in text(browser, "#now")
    assert "2024-06-01 12:00 UTC" in text(browser, "#issued")
    assert browser.find_elements("css selector", "path.coast")
    assert browser.find_elements("css selector", "path.land")


def test_names_from_files_are_text(open_page, page):
    browser = open_page(page.as_uri())
    assert text(browser, "#title") == EVIL
    press(browser, "p")
    assert EVIL in text(browser, "#panel")
    assert browser.title != "broken"
    assert browser.execute_script("return [...document.images].every(i => i.classList.contains('picture'))")


def test_the_slider_steps_through_time(open_page, page):
    browser = open_page(page.as_uri())
    slider = browser.find_element("id", "slider")
    assert (slider.get_attribute("max"), slider.get_property("value")) == ("5", "2")
    slider.send_keys("\ue014")  # the right arrow
    assert "+10 min" in text(browser, "#now")
    assert "12:10 UTC" in slider.get_attribute("aria-valuetext")
    wait(browser, "document.querySelector('.picture.now').src.includes('forecast000.png')")
    browser.execute_script("arguments[0].value = 0; arguments[0].dispatchEvent(new Event('input'))", slider)
    assert "−20 min" in text(browser, "#now")
    press(browser, "ArrowRight")
    assert "−10 min" in text(browser, "#now")


def test_it_plays_and_stops(open_page, page):
    browser = open_page(page.as_uri())
    button = browser.find_element("id", "play")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    wait(browser, "document.getElementById('slider').value >= 4")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"


def test_probabilities_are_of_the_forecast(open_page, page):
    browser = open_page(page.as_uri())
    press(browser, "2")
    assert "+10 min" in text(browser, "#now")
    wait(browser, "document.querySelector('.picture.now').src.includes('probability1/')")
    assert "chance of 1 mm/h" in text(browser, "#legend")
    press(browser, "r")
    wait(browser, "document.querySelector('.picture.now').src.includes('/rain/')")


def test_a_click_shows_the_meteogram_of_the_place(open_page, page):
    browser = open_page(page.as_uri())
    click_on_picture(browser, 0.1, 0.8)
    wait(browser, "document.querySelectorAll('#panel svg.chart').length == 2")
    assert "It is raining" in text(browser, "#panel")
    assert "60." in text(browser, "#panel h2")
    click_on_picture(browser, 0.8, 0.8)
    wait(browser, "document.getElementById('panel').innerText.includes('No rain is expected')")
    click_on_picture(browser, 0.3, 0.1)
    wait(browser, "document.getElementById('panel').innerText.includes('Unknown')")
    press(browser, "Escape")
    assert not browser.find_element("id", "panel").is_displayed()


def test_the_keyboard_reaches_the_map(open_page, page):
    browser = open_page(page.as_uri())
    browser.find_element("id", "map").send_keys("\n")
    wait(browser, "document.querySelectorAll('#panel svg.chart').length == 2")


def test_places_show_their_warnings(open_page, page):
    browser = open_page(page.as_uri())
    press(browser, "p")
    rows = [row.text for row in browser.find_elements("css selector", ".place-row")]
    assert len(rows) == 4
    for words in (("warning: 1 mm/h",), ("dry", "no warning"), ("unseen", "unknown"), ("far", "outside the radar")):
        assert any(all(word in row for word in words) for row in rows), (words, rows)
    assert "warning" in rows[0]
    browser.find_elements("css selector", ".place-row")[0].click()
    wait(browser, "document.querySelectorAll('#panel svg.chart').length == 2")
    assert "raining" in text(browser, "#panel")


def test_members_are_side_by_side(open_page, page):
    browser = open_page(page.as_uri())
    press(browser, "m")
    assert len(browser.find_elements("css selector", ".member")) == 4
    assert "members/forecast000.png" in browser.find_element("css selector", ".member-rain").get_attribute("style")


@pytest.mark.parametrize("width", [320, PHONE, 768, DESKTOP])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_screen_or_covers_another(open_page, page, width, dark):
    browser = open_page(page.as_uri(), width, dark)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    script = """return ['head', 'choices', 'legend', 'times'].map(name => {
        const box = document.getElementById(name).getBoundingClientRect();
        return [box.left, box.right, box.top, box.bottom];})"""
    boxes = browser.execute_script(script)
    assert all(left >= 0 and right <= width and top >= 0 and bottom <= 900 for left, right, top, bottom in boxes)
    for number, (left, right, top, bottom) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert right <= other[0] or other[1] <= left or bottom <= other[2] or other[3] <= top, boxes


def test_unknown_is_drawn_apart_from_dry(open_page, page):
    browser = open_page(page.as_uri())
    script = """
    const picture = document.querySelector('.picture.now'), canvas = document.createElement('canvas');
    return [picture.naturalWidth, picture.naturalHeight, getComputedStyle(picture).visibility]
    """
    assert browser.execute_script(script)[2] == "visible"
    assert len(browser.find_elements("css selector", "#stripes")) == 1
    assert "unknown" in text(browser, "#legend")


def test_it_shows_a_new_forecast_by_itself(open_page, tmp_path):
    page = write(tmp_path / "map")
    browser = open_page(page.as_uri())
    click_on_picture(browser, 0.1, 0.8)
    press(browser, "ArrowRight")
    write(tmp_path / "map", issued=ISSUED + 10 * MINUTE, rain=0.0)
    wait(browser, "document.getElementById('issued').innerText.includes('12:10 UTC')")
    assert "+10 min" in text(browser, "#now")  # the lead time stays
    wait(browser, "document.getElementById('panel').innerText.includes('No rain is expected')")  # so does the place


def test_an_old_forecast_is_called_old(open_page, page):
    browser = open_page(page.as_uri())
    assert "too old" in text(browser, "#issued")


def test_a_grid_of_unknown_place_has_no_coast(open_page, tmp_path):
    page = write(tmp_path / "map", crs=None)
    browser = open_page(page.as_uri(), PHONE)
    assert not browser.find_elements("css selector", "path.coast")
    click_on_picture(browser, 0.1, 0.8)
    wait(browser, "document.getElementById('panel').innerText.includes('It is raining')")
    assert "km" in text(browser, "#panel h2")


def test_the_page_and_the_api_from_the_server(open_page, chromium, page):
    uvicorn = pytest.importorskip("uvicorn")
    from hybridcast.webmap.api import make_app

    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(make_app(find_page(page.parent)), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        browser = open_page(address)
        click_on_picture(browser, 0.1, 0.8)
        wait(browser, "document.getElementById('panel').innerText.includes('It is raining')")
        chromium.get(f"{address}/api")
        wait(browser, "document.forms.length == 3")
        form = next(one for one in browser.find_elements("css selector", "form") if "/position" in one.text)
        for name, value in (("x", "350000"), ("y", "6710000")):
            form.find_element("name", name).send_keys(value)
        form.find_element("css selector", "button").click()
        wait(browser, "document.body.innerText.includes('\"minutes_to_rain\"')")
        chromium.get("about:blank")
        server.should_exit = True
        thread.join(20)


def test_a_screenshot_has_rain_land_and_stripes(open_page, page, tmp_path):
    from PIL import Image

    browser = open_page(page.as_uri())
    assert browser.get_screenshot_as_file(str(tmp_path / "map.png"))
    image = np.asarray(Image.open(tmp_path / "map.png").convert("RGB"), dtype=int)
    colours = np.unique(image.reshape(-1, 3) // 8, axis=0)
    assert len(colours) > 40
    blue = (image[..., 2] - image[..., 0] > 80).mean()
    assert blue > 0.01
