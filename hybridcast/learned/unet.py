"""A trained U-Net, applied without torch.

`hybridcast.learned.training.unet` describes the network for training; here is the same computation with the stored
parameters, named as there. So a forecast needs no torch, whose import takes ten times as long as the network, and has
the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from hybridcast.core.types import Array
from hybridcast_kernels.convolution_cpu import convolve

#: Slope of the rectifier below zero. With a plain rectifier and without normalisation whole networks died in training.
NEGATIVE_SLOPE = 0.1
#: What is added to the mean square in a normalisation.
LEAST_SQUARE = 1e-3

Parameters = Mapping[str, Array]
"""Parameters by name."""


def parameter_shapes(channels: int, conditions: int, outputs: int, widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter; see `hybridcast.learned.training.unet.UNet` for the arguments."""
    sides = {"stem": (widths[0], channels, 3), "last": (outputs, widths[0], 1)}
    for level, width in enumerate(widths):
        sides |= {f"down.{level}.{layer}": (width, width, 3) for layer in (2, 4)}
    for level, (fine, coarse) in enumerate(pairwise(widths)):
        sides[f"coarsen.{level}.1"] = (coarse, fine, 1)
    for level, (coarse, fine) in enumerate(pairwise(reversed(widths))):
        sides |= {f"refine.{level}.0": (fine, coarse, 1), f"up.{level}.2": (fine, fine, 3)}
    shapes: dict[str, tuple[int, ...]] = {"film.weight": (2 * widths[0], conditions), "film.bias": (2 * widths[0],)}
    for name, (to, of, side) in sides.items():
        shapes |= {f"{name}.weight": (to, of, side, side), f"{name}.bias": (to,)}
    return shapes


def apply_unet(parameters: Parameters, planes: Array, conditions: Array, levels: int) -> Array:
    """Return the output of a network.

    Parameters
    ----------
    parameters
        Parameters, see `parameter_shapes`.
    planes
        Input of any size, shape ``(channel, y, x)``.
    conditions
        Shape ``(condition,)``.
    levels
        Number of resolutions.

    Returns
    -------
    ndarray
        Shape ``(output, y, x)``.
    """
    rows, columns = planes.shape[1:]
    unit = 2 ** (levels - 1)
    x = _convolve(parameters, "stem", np.pad(planes, ((0, 0), (0, -rows % unit), (0, -columns % unit))))
    scale, shift = np.split(parameters["film.weight"] @ conditions + parameters["film.bias"], 2)
    x = _add_block(parameters, "down.0", x * (1 + scale[:, None, None]) + shift[:, None, None], (2, 4))
    skipped = []
    for level in range(levels - 1):
        skipped.append(x)
        x = _add_block(parameters, f"down.{level + 1}", _convolve(parameters, f"coarsen.{level}.1", _halve(x)), (2, 4))
    for level in range(levels - 1):
        x = skipped.pop() + _double(_convolve(parameters, f"refine.{level}.0", x))
        x = _add_block(parameters, f"up.{level}", x, (2,))
    return _convolve(parameters, "last", _rectify(_normalise(x)))[:, :rows, :columns]


def _add_block(parameters: Parameters, name: str, x: Array, layers: Sequence[int]) -> Array:
    """Return the sum of planes and a residual block."""
    made = _normalise(x)
    for layer in layers:
        made = _convolve(parameters, f"{name}.{layer}", _rectify(made))
    return x + made


def _convolve(parameters: Parameters, name: str, x: Array) -> Array:
    return convolve(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"])


def _normalise(x: Array) -> Array:
    """Divide the planes by the root of their mean square at each cell."""
    square = np.einsum("cyx,cyx->yx", x, x) / np.float32(len(x))
    normalised: Array = x * (1 / np.sqrt(square + LEAST_SQUARE))
    return normalised


def _rectify(x: Array) -> Array:
    rectified: Array = np.maximum(x, NEGATIVE_SLOPE * x)
    return rectified


def _halve(x: Array) -> Array:
    """Return the means of two by two cells."""
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) * np.float32(0.25)


def _double(x: Array) -> Array:
    """Return planes with each cell two by two times."""
    return x.repeat(2, axis=1).repeat(2, axis=2)
