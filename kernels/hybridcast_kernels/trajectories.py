"""Departure points of single cells, and samples of many planes at points: for predictors, which need no fields."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridcast_kernels import points as pt
from hybridcast_kernels.advection_cpu import steps_to
from hybridcast_kernels.parallel import over_bands

Array = NDArray[np.float32]

plain = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})


@plain
def trace_cells(flow, durations, lead_of_step, cells, out, first, last):
    """Follow the air at cells first..last back: see `departure_points`."""
    for k in range(first, last):
        x = np.float32(cells[k, 1])
        y = np.float32(cells[k, 0])
        gx = pt.bilinear(flow, 0, x, y) * durations[0]
        gy = pt.bilinear(flow, 1, x, y) * durations[0]
        qx, qy = gx, gy
        for step in range(durations.size):
            duration = durations[step]
            if step > 0:
                ratio = duration / durations[step - 1]
                gx, gy, qx, qy = gx * ratio, gy * ratio, qx * ratio, qy * ratio
            mx, my = x - pt.HALF * gx, y - pt.HALF * gy
            dx = pt.bilinear(flow, 0, mx, my) * duration
            dy = pt.bilinear(flow, 1, mx, my) * duration
            if step == 0:
                qx, qy = dx, dy
            x -= dx
            y -= dy
            gx, gy = dx + pt.HALF * (dx - qx), dy + pt.HALF * (dy - qy)
            qx, qy = dx, dy
            if lead_of_step[step] >= 0:
                out[lead_of_step[step], k, 0] = y
                out[lead_of_step[step], k, 1] = x


def departure_points(flow: Array, leads: Array, cells: NDArray[np.int32], longest_step: float = np.inf) -> Array:
    """Return the points from which air reaches `cells` after each lead time, by the scheme of `advection_cpu.advect`.

    Parameters
    ----------
    flow
        Cells per unit of `leads`, shape ``(2, y, x)``, x first, finite.
    leads
        Lead times, above zero and increasing, shape ``(lead,)``.
    cells
        Row and column of each cell, shape ``(cell, 2)``.
    longest_step
        Longest step of the trajectories, in the unit of `leads`.

    Returns
    -------
    ndarray
        Row and column of the departure points, which may lie outside the grid, float32, shape ``(lead, cell, 2)``.
    """
    durations, lead_of_step = steps_to(leads, longest_step)
    out = np.empty((leads.size, cells.shape[0], 2), np.float32)
    over_bands(
        lambda a, b: trace_cells(flow, durations, lead_of_step, cells, out, a, b), cells.shape[0], 8 * durations.size
    )
    return out


@plain
def sample_points(planes, points, out, first, last):
    """Sample planes at points first..last: see `sample`."""
    rows, columns, count = planes.shape
    for k in range(first, last):
        y = pt.clamp(points[k, 0], pt.ZERO, np.float32(rows - 1))
        x = pt.clamp(points[k, 1], pt.ZERO, np.float32(columns - 1))
        i, j = np.int64(y), np.int64(x)
        i1, j1 = min(i + 1, rows - 1), min(j + 1, columns - 1)
        fy, fx = y - np.float32(i), x - np.float32(j)
        w00, w01 = (pt.ONE - fy) * (pt.ONE - fx), (pt.ONE - fy) * fx
        w10, w11 = fy * (pt.ONE - fx), fy * fx
        for p in range(count):
            out[k, p] = (
                w00 * planes[i, j, p] + w01 * planes[i, j1, p] + w10 * planes[i1, j, p] + w11 * planes[i1, j1, p]
            )


def sample(planes: Array, points: Array) -> Array:
    """Interpolate all planes bilinearly at points; beyond the edge the value at the edge holds, and NaN spreads.

    Parameters
    ----------
    planes
        Planes to sample, shape ``(y, x, plane)``: the values of all planes at a cell are adjacent in memory.
    points
        Row and column of each point, shape ``(point, 2)``.

    Returns
    -------
    ndarray
        Shape ``(point, plane)``.
    """
    out = np.empty((points.shape[0], planes.shape[2]), np.float32)
    over_bands(lambda a, b: sample_points(planes, points, out, a, b), points.shape[0], 4 * planes.shape[2])
    return out


@plain
def area_rows(points, most, out, first, last):
    """Compute the areas of rows first..last: see `areas`."""
    rows, columns = out.shape
    for i in range(first, last):
        up, down = max(i - 1, 0), min(i + 1, rows - 1)
        for j in range(columns):
            left, right = max(j - 1, 0), min(j + 1, columns - 1)
            y_by_row = points[down, j, 0] - points[up, j, 0]
            x_by_row = points[down, j, 1] - points[up, j, 1]
            y_by_column = points[i, right, 0] - points[i, left, 0]
            x_by_column = points[i, right, 1] - points[i, left, 1]
            area = (y_by_row * x_by_column - x_by_row * y_by_column) / np.float32((down - up) * (right - left))
            out[i, j] = pt.clamp(area, pt.ZERO, most)


def areas(points: Array, most: float) -> Array:
    """Return the Jacobian of a map of cells to points, by central differences (one-sided at the edges).

    Parameters
    ----------
    points
        Row and column of the point that each cell comes to, shape ``(y, x, 2)``, two cells at least along each axis.
    most
        Largest value of the result; the smallest is zero, where the map folds.

    Returns
    -------
    ndarray
        Shape ``(y, x)``.
    """
    rows, columns = points.shape[:2]
    out = np.empty((rows, columns), np.float32)
    over_bands(lambda a, b: area_rows(points, np.float32(most), out, a, b), rows, 4 * columns)
    return out
