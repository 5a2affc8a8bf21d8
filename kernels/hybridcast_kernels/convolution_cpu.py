"""Convolutions of stacks of planes, as the layers of a small network need them.

Rows lie one after the other with a margin of zeros, so that each tap of a filter is the whole stack moved by a constant
number of places, and cells are processed in spans that stay in the cache. Each cell is a sum in one order, whatever the
number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels.parallel import over_bands

Array = NDArray[np.float32]

#: Cells that are processed at once, for a group of outputs.
SPAN = 512
#: Outputs of a group, and taps that are added at once.
GROUP, TAPS = 4, 3

kernel = njit(nogil=True, cache=True, error_model="numpy", no_cfunc_wrapper=True, fastmath={"contract"})


@kernel
def _convolve_spans(padded, starts, weights, bias, first, last, out):
    """Fill the spans from `first` to `last` of `out`, ``(output, place)``."""
    for begin in range(first * SPAN, min(last * SPAN, out.shape[1]), SPAN):
        end = min(begin + SPAN, out.shape[1])
        for group in range(0, out.shape[0], GROUP):
            a, b, c, d = (
                out[group, begin:end],
                out[group + 1, begin:end],
                out[group + 2, begin:end],
                out[group + 3, begin:end],
            )
            for x in range(a.size):
                a[x], b[x], c[x], d[x] = bias[group], bias[group + 1], bias[group + 2], bias[group + 3]
            for tap in range(0, starts.size, TAPS):
                p = padded[starts[tap] + begin : starts[tap] + end]
                q = padded[starts[tap + 1] + begin : starts[tap + 1] + end]
                r = padded[starts[tap + 2] + begin : starts[tap + 2] + end]
                w = weights[tap : tap + TAPS, group : group + GROUP]
                for x in range(a.size):
                    a[x] += w[0, 0] * p[x] + w[1, 0] * q[x] + w[2, 0] * r[x]
                    b[x] += w[0, 1] * p[x] + w[1, 1] * q[x] + w[2, 1] * r[x]
                    c[x] += w[0, 2] * p[x] + w[1, 2] * q[x] + w[2, 2] * r[x]
                    d[x] += w[0, 3] * p[x] + w[1, 3] * q[x] + w[2, 3] * r[x]


def convolve(planes: Array, weight: Array, bias: Array) -> Array:
    """Return the cross-correlation of planes with filters, zeros beyond the edges, plus a constant for each output.

    Parameters
    ----------
    planes
        Shape ``(input, y, x)``.
    weight
        Filters with odd sides, shape ``(output, input, side, side)``.
    bias
        Shape ``(output,)``.

    Returns
    -------
    ndarray
        Shape ``(output, y, x)``.
    """
    inputs, rows, columns = planes.shape
    outputs, _, side, _ = weight.shape
    margin = side // 2
    stride = columns + 2 * margin
    plane = (rows + 2 * margin) * stride
    padded = np.zeros((inputs + 1) * plane + side, np.float32)  # a plane more for taps without a weight
    padded[: inputs * plane].reshape(inputs, -1, stride)[:, margin : margin + rows, margin : margin + columns] = planes
    channel, dy, dx = np.indices((inputs, side, side)).reshape(3, -1)
    starts = channel * plane + dy * stride + dx
    more, rest = -outputs % GROUP, -starts.size % TAPS
    filled = np.pad(weight.reshape(outputs, -1).T.astype(np.float32), ((0, rest), (0, more)))
    out = np.empty((outputs + more, rows * stride), np.float32)
    arguments = padded, np.pad(starts, (0, rest), constant_values=inputs * plane), filled, np.pad(bias, (0, more))
    spans = -(-out.shape[1] // SPAN)
    over_bands(lambda a, b: _convolve_spans(*arguments, a, b, out), spans, SPAN * starts.size)
    return out[:outputs].reshape(outputs, rows, stride)[:, :, :columns]
