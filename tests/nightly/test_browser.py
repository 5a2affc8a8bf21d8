"""The pages in a real Chromium, opened as files: no error, tables that sort, nothing wider than a phone, a PDF."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from PIL import Image

from helpers import nightly_synthetic as nights
from helpers.browsing import set_size, start_chromium
from hybridcast.nightly.alarm import AlarmSettings, judge
from hybridcast.nightly.report import write_night_page

FEW = AlarmSettings(min_nights=5)
PHONE = 390


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two nights of two regions, one with a long name, and one that failed."""
    folder = tmp_path_factory.mktemp("reports")
    long = "Nordrhein-Westfalen/Rheinland-Pfalz-and-a-name-without-any-break"
    history = nights.history(range(5), ("north",))
    for number in (5, 6):
        note = ("/data/radar/of/that/day/" + "rad_" * 40 + ".h5 cannot be read",)
        tonight = [
            nights.night(
                number, "north", nights.day_statistics(number, worse=12 if number == 6 else 0), worst=nights.worst(5)
            ),
            nights.night(number, long, nights.day_statistics(5, rain=0.0), state="partial", done=2, notes=note),
            nights.night(number, "west", None, notes=("no disk",)),
        ]
        judged = judge(tonight, history, FEW, baseline="advection")
        write_night_page(tonight, history, folder, baseline="advection", judgements=judged, settings=FEW)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with start_chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def open_page(browser, folder):
    """Return a function that opens a page at a width, as a phone does below 600 px; no page may log anything."""

    def opened(name, width=1280):
        set_size(browser, width)
        browser.get((folder / name).as_uri())
        return browser

    yield opened
    assert browser.get_log("browser") == []


NIGHT = f"{nights.date(6)}.html"


@pytest.mark.parametrize("name", [NIGHT, "index.html"])
@pytest.mark.parametrize("width", [320, PHONE, 768, 1280])
def test_nothing_is_wider_than_the_screen(open_page, name, width):
    browser = open_page(name, width)
    wide, seen = browser.execute_script(
        "document.querySelectorAll('details').forEach(d => d.open = true);"
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth];"
    )
    assert width - 20 <= seen <= width  # less the scroll bar
    assert wide <= seen


def cells(table, column):
    script = "return [...arguments[0].tBodies[0].rows].map(row => row.cells[arguments[1]].innerText)"
    return table.parent.execute_script(script, table, column)


def test_a_table_sorts_when_its_head_is_clicked(open_page):
    browser = open_page(NIGHT)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    table = browser.find_elements("css selector", "details table.sortable")[0]
    heads = table.find_elements("css selector", "thead th")
    button = heads[3].find_element("css selector", "button")
    before = cells(table, 3)
    assert before != sorted(before, key=float)
    button.click()
    assert heads[3].get_attribute("aria-sort") == "ascending"
    assert cells(table, 3) == sorted(before, key=float)
    button.click()
    assert heads[3].get_attribute("aria-sort") == "descending"
    assert cells(table, 3) == sorted(before, key=float, reverse=True)
    heads[0].find_element("css selector", "button").click()
    assert heads[3].get_attribute("aria-sort") == "none"
    assert cells(table, 0) == sorted(cells(table, 0))


def test_what_has_no_value_stays_last_whichever_way_it_is_sorted(open_page):
    browser = open_page(NIGHT)
    table = browser.find_elements("css selector", "table.sortable")[0]
    button = table.find_elements("css selector", "thead button")[5]
    for _ in range(2):
        button.click()
        assert [text == "–" for text in cells(table, 5)] == [False, True, True]


def test_the_keyboard_sorts_too(open_page):
    browser = open_page("index.html")
    button = browser.find_element("css selector", "thead button")
    button.send_keys("\n")
    table = browser.find_element("css selector", "table.sortable")
    assert cells(table, 0) == [nights.date(5), nights.date(6)]


def test_the_index_leads_to_the_night_and_back(open_page):
    browser = open_page("index.html")
    browser.find_element("link text", nights.date(6)).click()
    assert browser.title == f"Nowcasts of {nights.date(6)}: " + browser.find_element("css selector", ".status").text[
        1:
    ].strip("\ufe0e ")
    browser.find_element("link text", "All nights").click()
    assert browser.title == "Nowcasts, night by night"


def test_figures_are_drawn_and_pictures_are_there(open_page):
    browser = open_page(NIGHT, PHONE)
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('figure svg')].map(s => [s.clientWidth, s.clientHeight])"
    )
    assert len(sizes) > 8
    assert all(200 < width <= PHONE and height > 100 for width, height in sizes)
    loaded = browser.execute_script("return [...document.images].map(i => i.complete && i.naturalWidth > 10)")
    assert loaded == [True] * 4


def test_words_of_the_figures_can_be_read_on_a_phone(open_page):
    browser = open_page(NIGHT, PHONE)
    heights = browser.execute_script(
        "return [...document.querySelectorAll('figure svg text')].map(t => t.getBoundingClientRect()).map("
        "r => Math.min(r.width, r.height)).filter(h => h > 0)"
    )
    assert min(heights) > 7


def test_a_screenshot_is_no_empty_picture(open_page, tmp_path):
    browser = open_page(NIGHT)
    path = tmp_path / "night.png"
    assert browser.get_screenshot_as_file(str(path))
    image = np.asarray(Image.open(path).convert("RGB"), dtype=int)
    assert image.shape[:2] == (900, 1280)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50


def test_it_prints(open_page):
    pdf = base64.b64decode(open_page(NIGHT).print_page())
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20000


def test_no_table_is_cut_on_paper(open_page):
    browser = open_page(NIGHT)
    paper = 186 / 25.4 * 96  # A4 less its margins, CSS pixels
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    size = {"width": round(paper), "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        widths = browser.execute_script(
            "return [...document.querySelectorAll('table')].filter(t => t.offsetParent).map(t => t.scrollWidth)"
        )
        arrows = browser.execute_script(
            "return [...document.querySelectorAll('th button')].map(b => getComputedStyle(b, '::after').content)"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert len(widths) >= 3
    assert max(widths) <= paper + 1
    assert set(arrows) == {"none"}
