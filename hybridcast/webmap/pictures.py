"""Pictures of rain and probability for a web map: PNG with a palette, transparent where it is dry.

What is unknown is grey with stripes, in pictures of both kinds.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hybridcast.plots.colours import PROBABILITY_COLOURS, PROBABILITY_STEPS, RAIN_COLOURS, RATE_STEPS, palette
from hybridcast.webmap.canvas import Canvas

Codes = NDArray[np.uint8]
"""Numbers of colours in a palette."""
#: Grey on light and on dark maps, with what is below shining through.
_UNKNOWN_COLOUR, _STRIPE_COLOUR = (140, 140, 140, 95), (115, 115, 115, 150)
_STRIPES = 60
"""Number of stripes across the longer side of a picture."""
_COMPRESSION = 3
"""Level of zlib: 6 makes files 15 % smaller and takes twice as long."""


@dataclass(frozen=True)
class Scale:
    """Steps of values, and their colours."""

    edges: tuple[float, ...]
    """Lower edges of the steps; lower values have no colour."""
    colours: tuple[str, ...]
    """Colours of the steps, ``#rrggbb``."""

    @property
    def unknown(self) -> int:
        """Number of the colour of what is unknown; the next one is that of the stripes there."""
        return len(self.edges) + 1

    def classify(self, values: NDArray[Any]) -> Codes:
        """Return the numbers of the colours of values, 0 below the first step."""
        codes = np.zeros(values.shape, np.uint8)
        for edge in self.edges:  # several times as fast as np.digitize
            codes += values >= np.float32(edge)
        codes[np.isnan(values)] = self.unknown
        return codes

    def legend(self) -> list[dict[str, Any]]:
        """Return the lower edge and the colour of each step."""
        return [{"from": edge, "colour": colour} for edge, colour in zip(self.edges, self.colours, strict=True)]


RAIN = Scale(RATE_STEPS, RAIN_COLOURS)
PROBABILITY = Scale(PROBABILITY_STEPS, PROBABILITY_COLOURS)


def draw(values: NDArray[Any], canvas: Canvas, scale: Scale) -> bytes:
    """Return the PNG of the values of cells, shape ``(y, x)``, on the pixels of a canvas."""
    return encode(place(scale.classify(values), canvas, scale), scale)


def place(codes: Codes, canvas: Canvas, scale: Scale) -> Codes:
    """Return the colours of the pixels of a canvas from those of cells; pixels outside the grid are unknown."""
    return np.append(codes.ravel(), np.uint8(scale.unknown))[canvas.cells]


def encode(codes: Codes, scale: Scale) -> bytes:
    """Return the PNG of the numbers of colours, shape ``(row, column)``, with stripes where they are unknown."""
    striped = codes + ((codes == scale.unknown) & _stripes(codes.shape))
    image = Image.frombytes("P", striped.shape[::-1], striped.tobytes())
    colours = np.vstack([palette(scale.colours), _STRIPE_COLOUR]).astype(np.uint8)
    colours[0, 3] = 0
    colours[scale.unknown] = _UNKNOWN_COLOUR
    image.putpalette(colours[:, :3].ravel().tolist())
    stream = io.BytesIO()
    image.save(
        stream, format="PNG", bits=4, transparency=colours[:, 3].tobytes(), compress_level=_COMPRESSION, optimize=False
    )
    return stream.getvalue()


@functools.lru_cache(maxsize=8)  # all pictures of a page have one of two shapes
def _stripes(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which pixels are in diagonal stripes."""
    rows, columns = (np.arange(size, dtype=np.int32) for size in shape)
    period = max(8, max(shape) // _STRIPES)
    marked: NDArray[np.bool_] = np.add.outer(rows, columns) % period < max(1, period // 4)
    marked.setflags(write=False)
    return marked
