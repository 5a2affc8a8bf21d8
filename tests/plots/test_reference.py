"""Whole pictures against small stored ones, within a tolerance that fonts and versions of matplotlib stay below.

Pictures are drawn of the same made-up fields, shrunk to a sixteenth, and compared by the root mean square of all
channels. ``HYBRIDCAST_REDRAW=1 pytest tests/plots/test_reference.py`` stores them anew: look at them then.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.drawing import MINUTE
from hybridcast.plots import plot_forecast, plot_members, plot_meteogram, plot_precipitation, plot_probability

REFERENCE = Path(__file__).parent / "reference"
SHRINK = 8
#: Another rain scale differs by 20 and more, another font by 2.
TOLERANCE = 6.0


def shrunk(figure) -> Image.Image:
    figure.set_dpi(60)
    figure.canvas.draw()
    whole = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    return whole.resize((whole.width // SHRINK, whole.height // SHRINK), Image.Resampling.BOX)


def pictures(forecast, observed, scenarios):
    rain = forecast["precipitation_rate"]
    place = {"x": float(rain["x"][20]), "y": float(rain["y"][15])}
    return {
        "map": lambda: plot_precipitation(rain.isel(lead_time=0), coast=False),
        "forecast": lambda: plot_forecast(forecast, observed, coast=False),
        "probability": lambda: plot_probability(forecast, observed, coast=False),
        "meteogram": lambda: plot_meteogram(forecast, observed, **place),
        "members": lambda: plot_members(scenarios, observed, lead_time=MINUTE * 30, coast=False),
        "fan": lambda: plot_meteogram(scenarios, observed, **place),
    }


@pytest.mark.parametrize("name", ["map", "forecast", "probability", "meteogram", "members", "fan"])
def test_picture_is_the_stored_one(name, forecast, observed, scenarios):
    found = shrunk(pictures(forecast, observed, scenarios)[name]())
    path = REFERENCE / f"{name}.png"
    if os.environ.get("HYBRIDCAST_REDRAW"):
        found.save(path, optimize=True)
    stored = Image.open(path).convert("RGB")
    assert abs(stored.width - found.width) <= 1
    assert abs(stored.height - found.height) <= 1
    difference = np.asarray(found.resize(stored.size), float) - np.asarray(stored, float)
    assert np.sqrt((difference**2).mean()) < TOLERANCE
