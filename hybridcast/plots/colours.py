"""Colours of rain rate and of probability, with the same meaning in all figures.

White is dry (below 0.1 mm/h), grey is unknown (outside radar coverage). Rain has ten steps in the order of weather
maps, from pale blue over blue and violet to dark red. Every step is darker than the one before, so that the order
can be seen with colour blindness (verified by a test) and in greyscale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Lower edges of the colour steps of rain rate, mm h-1; lower rates are dry."""
RAIN_COLOURS = (
    *("#d3ecf7", "#a8daf2", "#74c1ea", "#419fdf", "#2f80cc"),
    *("#4862c2", "#6c40ac", "#7d2080", "#64103f", "#310912"),
)
"""Colours of the steps of rain rate."""
DRY = (255, 255, 255, 255)
"""Colour of dry cells: red, green, blue and opacity."""
UNKNOWN = (205, 205, 205, 255)
"""Colour of unknown cells: red, green, blue and opacity."""
PROBABILITY_STEPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Lower edges of the colour steps of probability; lower probabilities are white."""
PROBABILITY_COLOURS = (
    *("#e8f4a6", "#d3e88c", "#b6da82", "#a1d08b", "#7dbf7e"),
    *("#58ab70", "#3a935e", "#23784c", "#0f5d3a", "#053f27"),
)
"""Colours of the steps of probability: greens from light to dark, which differ from those of rain."""


def rain_colours(rate: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the colours of rain rates.

    Parameters
    ----------
    rate
        Rain rate, mm h-1, any shape, NaN where unknown.

    Returns
    -------
    ndarray
        Red, green, blue and opacity from 0 to 255, in an additional last dim of size 4.

    Examples
    --------
    >>> rain_colours(np.array([0.0, np.nan])).tolist()
    [[255, 255, 255, 255], [205, 205, 205, 255]]
    """
    return _apply_steps(rate, RATE_STEPS, RAIN_COLOURS)


def probability_colours(probability: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the colours of probabilities (0 to 1, NaN where unknown), as `rain_colours` does for rates.

    Examples
    --------
    >>> probability_colours(np.array([0.01, np.nan])).tolist()
    [[255, 255, 255, 255], [205, 205, 205, 255]]
    """
    return _apply_steps(probability, PROBABILITY_STEPS, PROBABILITY_COLOURS)


def colour_key() -> list[tuple[str, str]]:
    """Return the label and the colour (``#rrggbb``) of dry, of each step of rain rate, and of unknown."""
    labels = [f"dry (below {RATE_STEPS[0]:g} mm/h)", *(f"{edge:g}" for edge in RATE_STEPS), "unknown"]
    return list(zip(labels, [_hex(DRY), *RAIN_COLOURS, _hex(UNKNOWN)], strict=True))


def palette(colours: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return white, the `colours` of the steps, and the colour of unknown, shape ``(len(colours) + 2, 4)``."""
    rgb = [(*bytes.fromhex(colour[1:]), 255) for colour in colours]
    return np.array([DRY, *rgb, UNKNOWN], dtype=np.uint8)


def _apply_steps(values: NDArray[Any], edges: tuple[float, ...], colours: tuple[str, ...]) -> NDArray[np.uint8]:
    step = np.digitize(np.asarray(values, np.float64).round(6), edges)  # 0 is white, 1 and above are the steps
    return palette(colours)[np.where(np.isnan(values), len(edges) + 1, step)]


def _hex(colour: tuple[int, ...]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
