"""Moving rain with known truth: lognormal cells of smoothed noise, advected by a motion with a known solution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from hybridcast.core.field import precipitation

START = np.datetime64("2020-06-01T12:00", "ns")


@dataclass(frozen=True)
class Motion:
    """A steady motion: the velocity at a point, and its departure point `steps` ago (in cells, x along columns).

    `velocity` takes and returns ``(x, y)``; `back` takes ``(x, y, steps)``.
    """

    velocity: Callable
    back: Callable

    def flow(self, shape) -> np.ndarray:
        """Return the velocity on a grid, cells per step, float32, shape ``(2, y, x)``, x first."""
        y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
        return np.array(np.broadcast_arrays(*self.velocity(x, y), x)[:2], dtype=np.float32)


def translation(u: float, v: float) -> Motion:
    """Return a uniform motion, cells per step."""
    return Motion(lambda x, y: (u, v), lambda x, y, steps: (x - u * steps, y - v * steps))


def rotation(angle: float, centre: tuple[float, float]) -> Motion:
    """Return a rotation by `angle` (radian per step) around `centre` (x, y), from the x axis towards the y axis."""
    cx, cy = centre

    def back(x, y, steps):
        cos, sin = np.cos(angle * steps), np.sin(angle * steps)
        return cx + cos * (x - cx) + sin * (y - cy), cy - sin * (x - cx) + cos * (y - cy)

    return Motion(lambda x, y: (-angle * (y - cy), angle * (x - cx)), back)


def shear(rate: float, middle: float, u: float = 0.0) -> Motion:
    """Return a motion along x that grows by `rate` (cells per step) per row and is `u` in the row `middle`."""
    return Motion(
        lambda x, y: (u + rate * (y - middle), 0.0),
        lambda x, y, steps: (x - (u + rate * (y - middle)) * steps, y),
    )


def texture(shape, *, seed: int = 0, cell: float = 4.0, wet: float = 0.4) -> np.ndarray:
    """Return the rain rate of lognormal cells, about `cell` cells wide, on the fraction `wet` of a periodic area."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    rough = sum(scale * gaussian_filter(noise, scale * cell, mode="wrap") for scale in (1, 3))
    rough /= rough.std()
    return np.maximum(np.exp(1.2 * rough) - np.exp(1.2 * np.quantile(rough, 1 - wet)), 0.0)


def rain(
    shape=(96, 96),
    motion: Motion | None = None,
    *,
    frames: int = 4,
    minutes: int = 5,
    later: int = 0,
    growth: float = 1.0,
    share: Callable | None = None,
    seen: np.ndarray | None = None,
    y_down: bool = True,
    spacing: float = 1000.0,
    crs=None,
    seed: int = 0,
    cell: float = 4.0,
    wet: float = 0.4,
) -> xr.DataArray:
    """Return moving rain, a precipitation field of `frames` frames and `later` more (the truth of a forecast).

    `motion` is in cells of the array per frame, rows counted from the first one; with `y_down` the coordinate `y` falls
    from row to row. `growth` multiplies the rate from frame to frame. `share` of ``(x, y)``, 0 to 1, thins
    the rain of the first frame, and moves along with it. `seen`, shape ``(y, x)`` or
    ``(time, y, x)``, is the coverage. Frame ``frames - 1`` is the issue time.
    """
    motion = motion or translation(2.0, 1.0)
    margin = 40
    coefficients = spline_filter(
        texture((shape[0] + margin, shape[1] + margin), seed=seed, cell=cell, wet=wet), mode="grid-wrap"
    )
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    rates = []
    for k in range(frames + later):
        from_x, from_y = motion.back(x, y, float(k))
        rate = map_coordinates(coefficients, [from_y, from_x], mode="grid-wrap", prefilter=False)
        thinned = share(from_x, from_y) if share else 1.0
        rates.append(growth**k * thinned * np.maximum(rate, 0.0))
    values = np.array(rates, dtype=np.float32)
    if seen is not None:
        values = np.where(np.broadcast_to(seen, values.shape), values, np.float32(np.nan))
    rows = spacing * np.arange(shape[0])
    return precipitation(
        values,
        time=START + np.arange(frames + later) * np.timedelta64(minutes, "m"),
        y=rows[::-1] if y_down else rows,
        x=spacing * np.arange(shape[1]),
        crs=crs,
    )


def moving_block(frames: int = 4, **changes) -> xr.DataArray:
    """Return a block of 5 mm/h on 48 x 56 cells that moves by one cell east in each 5 min; `changes` go to the axes."""
    rate = np.zeros((frames, 48, 56), dtype="float32")
    for k in range(frames):
        rate[k, 20:30, 15 + k : 28 + k] = 5.0
    options = {
        "time": np.datetime64("2024-06-01T12:00", "ns") + np.arange(frames) * np.timedelta64(5, "m"),
        "y": np.arange(48) * 1000.0,
        "x": np.arange(56) * 1000.0,
        "crs": "EPSG:3035",
    }
    return precipitation(rate, **{**options, **changes})


def disc(shape, share: float = 0.45) -> np.ndarray:
    """Return the coverage of one radar in the middle, whose range is a `share` of the shorter side."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - (shape[0] - 1) / 2, x - (shape[1] - 1) / 2) < share * min(shape)


def write_archive(folder: Path, *, regions: int = 3, each: int = 2, frames: int = 27, size: int = 64) -> Path:
    """Write a CF NetCDF file of moving rain for each event, and ``events.toml``, which lists them.

    Cells are 2 km wide and frames 5 min apart; events of a region are named after it, and no two move alike.
    """
    entries = []
    for k in range(regions * each):
        motion = translation(*np.random.default_rng(k).uniform(-1.5, 1.5, 2))
        field = rain(
            (size, size), motion, frames=frames, spacing=2000.0, seed=k, cell=2.5, wet=0.3, growth=0.98 + 0.01 * (k % 5)
        )
        name = f"event-{k % regions}{'abcdef'[k // regions]}"
        field.to_netcdf(folder / f"{name}.nc", engine="h5netcdf")
        entries.append(
            f'[[event]]\nname = "{name}"\nregion = "region-{k % regions}"\nradar = "{name}.nc"\nlongest = "1h"\n'
        )
    path = folder / "events.toml"
    path.write_text("\n".join(entries))
    return path
