"""Pictures of a web map: colours of rain at their pixels, transparent where dry, grey stripes where unknown."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from helpers.web_maps import make_radar, small_scene
from hybridcast.ensembles.one_pass import show_all
from hybridcast.plots.colours import RAIN_COLOURS, rain_colours
from hybridcast.webmap.canvas import make_canvas
from hybridcast.webmap.members import MembersOnMap, plan_sheet
from hybridcast.webmap.pictures import PROBABILITY, RAIN, draw


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def canvas_of(rates):
    rows, columns = np.shape(rates)
    return make_canvas(make_radar(rates, y=1000.0 * np.arange(rows)[::-1], x=1000.0 * np.arange(columns), crs=None))


@pytest.mark.parametrize("rate", [0.1, 0.5, 3.0, 99.0, 1000.0])
def test_rain_has_the_colour_of_all_figures(rate):
    rates = np.array([[rate, 0.0]], np.float32)
    found = pixels(draw(rates, canvas_of(rates), RAIN))[0]
    assert found[0].tolist() == rain_colours(np.float32(rate)).tolist()
    assert found[1, 3] == 0  # dry


def test_unknown_is_neither_dry_nor_rain():
    rates = np.full((40, 60), np.nan, np.float32)
    rates[:, :20] = 0.0
    found = pixels(draw(rates, canvas_of(rates), RAIN))
    assert (found[:, :20, 3] == 0).all()
    assert (found[:, 20:, 3] > 80).all()
    greys = np.unique(found[:, 20:].reshape(-1, 4), axis=0)
    assert len(greys) == 2  # stripes
    assert (greys[:, :3].max(axis=1) == greys[:, :3].min(axis=1)).all()


def test_outside_the_grid_is_unknown():
    radar = make_radar(np.zeros((40, 40)), y=6.6e6 + 5000.0 * np.arange(40), x=2e5 + 5000.0 * np.arange(40))
    canvas = make_canvas(radar)
    found = pixels(draw(radar.values[0], canvas, RAIN))
    np.testing.assert_array_equal(found[..., 3] > 0, canvas.cells < 0)
    assert (canvas.cells < 0).any()


def test_probabilities_have_their_own_colours():
    chances = np.array([[0.0, 0.5, 1.0]], np.float32)
    found = pixels(draw(chances, canvas_of(chances), PROBABILITY))[0]
    assert found[0, 3] == 0
    assert found[2, 1] < found[1, 1]
    assert "#{:02x}{:02x}{:02x}".format(*found[2, :3]) not in RAIN_COLOURS


def test_each_member_has_its_tile():
    forecast, _ = small_scene()
    sheet = plan_sheet(forecast)
    members = MembersOnMap(forecast)
    show_all(forecast, [members])
    found = pixels(sheet.draw(members.tiles[0]))
    height, width = sheet.canvas.shape
    assert found.shape[:2] == (height, 5 * width)
    middle = [found[height // 2, k * width + width // 8] for k in range(4)]
    expected = [rain_colours(np.float32(4.0 * factor)) for factor in (0.5, 1.0, 2.0)]
    assert middle[0][3] == 0
    assert [one.tolist() for one in middle[1:]] == [one.tolist() for one in expected]
    assert (found[:, 4 * width :, 3] == 0).all()
