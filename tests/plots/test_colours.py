"""Colours: the right one for each value, and in order for those who see fewer of them."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.plots.colours import (
    DRY,
    PROBABILITY_COLOURS,
    PROBABILITY_STEPS,
    RAIN_COLOURS,
    RATE_STEPS,
    UNKNOWN,
    palette,
    probability_colours,
    rain_colours,
)

# Machado, Oliveira and Fernandes (2009), doi:10.1109/TVCG.2009.113, severity 1, on linear RGB.
SEEN_BY = {
    "all": np.eye(3),
    "those without red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "those without green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "those without blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def lab(colours, seen_by):
    """Return CIE L*a*b* (D65) of sRGB colours, 0 to 255."""
    encoded = np.asarray(colours)[..., :3] / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(SEEN_BY[seen_by]).T, 0, 1)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def test_colours_of_dry_wet_and_unknown():
    colours = rain_colours(np.array([[0.0, 0.099, np.nan, np.inf]]))
    assert colours.shape == (1, 4, 4)
    assert [tuple(colour) for colour in colours[0, :3].tolist()] == [DRY, DRY, UNKNOWN]
    assert tuple(colours[0, 3].tolist()) not in (DRY, UNKNOWN)


@pytest.mark.parametrize(
    ("colours_of", "edges"), [(rain_colours, RATE_STEPS), (probability_colours, PROBABILITY_STEPS)]
)
def test_steps_are_at_the_levels(colours_of, edges):
    below, at = colours_of(np.array(edges) * 0.999), colours_of(np.array(edges))
    assert (below[1:] == at[:-1]).all()
    assert tuple(below[0].tolist()) == DRY
    in_float32 = colours_of(np.array(edges, np.float32))
    assert (in_float32 == at).all()


@pytest.mark.parametrize("seen_by", SEEN_BY)
@pytest.mark.parametrize("steps", [RAIN_COLOURS, PROBABILITY_COLOURS], ids=["rain", "chance"])
def test_each_step_is_darker_and_another_colour_whoever_looks(steps, seen_by):
    seen = lab(palette(steps), seen_by)
    assert (np.diff(seen[:-1, 0]) < -3).all()
    assert (np.linalg.norm(np.diff(seen[:-1], axis=0), axis=1) > 5).all()
    assert (np.linalg.norm(seen[:-1] - seen[-1], axis=1) > 8).all()  # unknown is none of them
