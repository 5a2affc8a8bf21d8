"""Colours that say the same in every picture: of rain rate, and of probability.

White is dry (below 0.1 mm/h), grey is unknown (outside coverage). Rain runs through ten steps in the order that weather
maps have it, from pale blue over blue and violet to dark red, and every step is darker than the one before: it stays in
order for those who see no red, no green or no blue (a test holds it to that), and on a grey printer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Edges of the colour steps, mm h-1; below the first it is dry, above the last there is one more step.
RATE_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
RAIN_COLOURS = (
    *("#d3ecf7", "#a8daf2", "#74c1ea", "#419fdf", "#2f80cc"),
    *("#4862c2", "#6c40ac", "#7d2080", "#64103f", "#310912"),
)
DRY = (255, 255, 255, 255)
UNKNOWN = (205, 205, 205, 255)
#: Edges of the steps of probability; below the first it is white.
PROBABILITY_STEPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
#: Greens, so that nobody takes a probability for rain; from light to dark too.
PROBABILITY_COLOURS = (
    *("#e8f4a6", "#d3e88c", "#b6da82", "#a1d08b", "#7dbf7e"),
    *("#58ab70", "#3a935e", "#23784c", "#0f5d3a", "#053f27"),
)


def rain_colours(rate: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the colours of rain rates.

    Parameters
    ----------
    rate
        mm h-1, any shape, NaN where unknown.

    Returns
    -------
    ndarray
        Red, green, blue and opacity from 0 to 255, shape of `rate` and 4.

    Examples
    --------
    >>> rain_colours(np.array([0.0, np.nan])).tolist()
    [[255, 255, 255, 255], [205, 205, 205, 255]]
    """
    return _coloured(rate, RATE_STEPS, RAIN_COLOURS)


def probability_colours(probability: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the colours of probabilities (0 to 1, NaN where unknown), as `rain_colours` does.

    Examples
    --------
    >>> probability_colours(np.array([0.01, np.nan])).tolist()
    [[255, 255, 255, 255], [205, 205, 205, 255]]
    """
    return _coloured(probability, PROBABILITY_STEPS, PROBABILITY_COLOURS)


def colour_key() -> list[tuple[str, str]]:
    """Return what each colour says and the colour, ``#rrggbb``: dry, the lower edges of the steps of rain, unknown."""
    words = [f"dry (below {RATE_STEPS[0]:g} mm/h)", *(f"{level:g}" for level in RATE_STEPS), "unknown"]
    return list(zip(words, [_hex(DRY), *RAIN_COLOURS, _hex(UNKNOWN)], strict=True))


def palette(steps: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return the colours of white, the `steps`, and unknown, shape ``(len(steps) + 2, 4)``."""
    rgb = [(*bytes.fromhex(step[1:]), 255) for step in steps]
    return np.array([DRY, *rgb, UNKNOWN], dtype=np.uint8)


def _coloured(values: NDArray[Any], edges: tuple[float, ...], steps: tuple[str, ...]) -> NDArray[np.uint8]:
    which = np.digitize(np.asarray(values, np.float64).round(6), edges)  # 0 white, 1 and on the steps; NaN sorts last
    return palette(steps)[np.where(np.isnan(values), len(edges) + 1, which)]


def _hex(colour: tuple[int, ...]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
