"""Fields to be drawn, and the content of drawn figures."""

from __future__ import annotations

import numpy as np

from hybridcast.core.field import precipitation

PROJECTED = "EPSG:3067"
ISSUED = np.datetime64("2017-05-09T23:30", "ns")
MINUTE = np.timedelta64(60, "s").astype("timedelta64[ns]")


def field_of(values, crs=PROJECTED, y_step=1000.0, x_step=1000.0, y0=6_000_000.0, x0=300_000.0):
    values = np.asarray(values, dtype=np.float32)
    y = y0 + y_step * np.arange(values.shape[-2])
    x = x0 + x_step * np.arange(values.shape[-1])
    return precipitation(values, time=[ISSUED], y=y, x=x, crs=crs)[0]


def pixel(ax, x, y):
    """Return the colour drawn at data coordinates (km or degrees)."""
    figure = ax.figure
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())
    column, row = ax.transData.transform((x, y))
    return tuple(int(value) for value in drawn[drawn.shape[0] - 1 - int(row), int(column)])


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]
