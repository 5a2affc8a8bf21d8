"""Make ``scene.nc``: a small scene of simulated rain, so that hybridcast can be tried without any download.

It is simulated, not observed, and says so in its attributes. Rain cells of many sizes ride on a flow that bends and
speeds up across the domain; in the frame that moves along, their pattern is renewed slowly (large cells live longer
than small ones), so they grow and decay. A second, slow pattern decides where it rains at all. The corners beyond the
reach of two imagined radars, and a sector behind an imagined hill, are outside coverage.

Run ``python data/make_scene.py [out.nc]``: the same seed gives the same rain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Array = NDArray[np.float64]

SEED = 20240611
SIZE, SPACING = 128, 2000.0  # cells; m
FRAMES, STEP = 48, 300.0  # frames; s
START = "2024-06-11T12:00"
SPIN_UP = 12  # frames thrown away, so that the first frame is as old as the others
MARGIN = 48  # cells around the domain, so that what flows in has a history
SCALES = (2.0, 4.0, 8.0, 16.0)  # cells, of the rain cells
AMPLITUDES = (0.45, 0.7, 0.9, 1.0)
LIFETIMES = (1800.0, 3600.0, 9000.0, 21600.0)  # s, after which a pattern keeps 1/e of itself
SILENT, SLOPE = 0.8, 1.45  # what stays dry of the pattern; how log rain rate rises with the rest


def flow(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Give u and v (m s-1): to the north-east, veering and faster towards the north-west, with a slow swirl."""
    y, x = np.meshgrid(*(np.linspace(-1.0, 1.0, n) for n in shape), indexing="ij")
    speed = 11.0 + 3.0 * y - 1.5 * x
    direction = np.deg2rad(28.0 - 16.0 * x + 12.0 * y)
    return speed * np.cos(direction) + 2.0 * y, speed * np.sin(direction) - 2.0 * x


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Array:
    """Give smooth Gaussian noise of unit variance whose bumps are about `scale` cells wide."""
    field = gaussian_filter(rng.standard_normal(shape), scale, mode="wrap")
    return (field - field.mean()) / field.std()


def advect(field: Array, u: Array, v: Array) -> Array:
    """Carry `field` along for one step, backwards along straight paths."""
    rows, columns = np.indices(field.shape, dtype=float)
    origin = [rows - v * STEP / SPACING, columns - u * STEP / SPACING]
    return map_coordinates(field, origin, order=3, mode="wrap")


def simulate() -> Array:
    """Give rain rates (mm h-1), shape ``(FRAMES, SIZE, SIZE)``, south first."""
    rng = np.random.default_rng(SEED)
    shape = (SIZE + 2 * MARGIN, SIZE + 2 * MARGIN)
    u, v = flow(shape)
    layers = [noise(rng, shape, scale) for scale in SCALES]
    frames = []
    for _ in range(SPIN_UP + FRAMES):
        for i, (scale, lifetime) in enumerate(zip(SCALES, LIFETIMES, strict=True)):
            keep = np.exp(-STEP / lifetime)
            layers[i] = keep * advect(layers[i], u, v) + np.sqrt(1 - keep**2) * noise(rng, shape, scale)
        pattern = sum(a * layer for a, layer in zip(AMPLITUDES, layers, strict=True))
        frames.append(rain_from(pattern)[MARGIN:-MARGIN, MARGIN:-MARGIN])
    return np.stack(frames[SPIN_UP:])


def rain_from(pattern: Array) -> Array:
    """Turn a Gaussian pattern into rain: dry where it is low, log-normal tails where it is high, below 120 mm/h."""
    rate = 0.25 * np.expm1(SLOPE * np.maximum(pattern - SILENT, 0.0))
    rate = 120.0 * np.tanh(rate / 120.0)
    return np.where(rate < 0.05, 0.0, rate)


def coverage() -> NDArray[np.bool_]:
    """Tell where two imagined radars see: within 130 and 110 km, but for a sector behind a hill."""
    y, x = np.meshgrid(*(np.arange(SIZE) * SPACING / 1000,) * 2, indexing="ij")
    first = np.hypot(x - 110, y - 118) < 130
    second = np.hypot(x - 190, y - 170) < 110
    bearing = np.rad2deg(np.arctan2(y - 118, x - 110))
    hidden = (bearing > 196) | ((bearing > -164) & (bearing < -152)) & (np.hypot(x - 110, y - 118) > 45)
    return (first & ~hidden) | second


def as_dataset(rain: Array) -> xr.Dataset:
    """Put labels on the rain, as CF asks; the grid lies in the middle of the Atlantic, where no radar is."""
    import pyproj

    crs = pyproj.CRS.from_proj4("+proj=tmerc +lat_0=50 +lon_0=-30 +k=1 +x_0=0 +y_0=0 +ellps=GRS80 +units=m")
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) * SPACING
    time = np.datetime64(START, "ns") + np.arange(FRAMES) * np.timedelta64(int(STEP), "s")
    rate = xr.DataArray(
        np.where(coverage(), rain, np.nan).astype(np.float32),
        dims=("time", "y", "x"),
        coords={"time": time, "y": axis, "x": axis},
        attrs={
            "standard_name": "lwe_precipitation_rate",
            "long_name": "simulated rain: precipitation rate",
            "units": "mm h-1",
            "cell_methods": "time: point",
            "grid_mapping": "crs",
            "comment": "simulated rain; missing values are outside the simulated coverage",
        },
    )
    for name in ("x", "y"):
        rate[name].attrs = {"standard_name": f"projection_{name}_coordinate", "units": "m", "axis": name.upper()}
    rate["time"].attrs = {"standard_name": "time", "axis": "T"}
    attrs = {
        "Conventions": "CF-1.8",
        "title": "simulated rain",
        "source": "simulated rain, made by data/make_scene.py of hybridcast; not an observation",
        "institution": "simulated rain of the hybridcast developers",
        "summary": "simulated rain that moves, grows and decays, for trying hybridcast without a download",
        "license": "BSD-3-Clause, as hybridcast",
        "history": f"simulated rain, seed {SEED}",
    }
    return xr.Dataset({"precipitation_rate": rate, "crs": ((), np.int32(0), crs.to_cf())}, attrs=attrs)


def main(path: Path) -> None:
    """Write the scene, packed to 0.01 mm/h."""
    packing = {
        "dtype": "int16",
        "scale_factor": 0.01,
        "_FillValue": -1,
        "zlib": True,
        "complevel": 9,
        "shuffle": True,
        "chunksizes": (8, SIZE, SIZE),
    }
    encoding = {
        "precipitation_rate": packing,
        "time": {"units": "seconds since 1970-01-01", "dtype": "int64"},
        "x": {"_FillValue": None},
        "y": {"_FillValue": None},
    }
    as_dataset(simulate()).to_netcdf(path, engine="h5netcdf", encoding=encoding)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "scene.nc")
