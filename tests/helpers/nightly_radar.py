"""Small radar archives on disk for the tests of the nightly run, and regions whose run takes a second or two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import xarray as xr

from helpers import synthetic
from hybridcast.nightly.config import NightlySettings, RegionSettings

DATE = "2020-06-01"
#: The first frame; issue times are from 12:00 to 13:30, frames every 10 min up to 14:30.
FIRST = np.datetime64("2020-06-01T11:20", "ns")
FRAMES = 20
SPACING = 2000.0


def rain(seed: int = 1, frames: int = FRAMES, **options) -> xr.DataArray:
    """Return rain that moves over 40 x 44 cells of 2 km, in the coverage of one radar."""
    motion = synthetic.translation(1.0, 0.5)
    seen = synthetic.disc((40, 44), 0.48)
    given = {"minutes": 10, "spacing": SPACING, "seed": seed, "seen": seen, "cell": 2.5} | options
    field = synthetic.rain((40, 44), motion, frames=frames, **given)
    return field.assign_coords(time=FIRST + np.arange(frames) * np.timedelta64(10, "m"))


def write_frames(folder: Path, field: xr.DataArray) -> list[Path]:
    """Write a file for each frame, named by its time, as FMI's PGM, which is read in a millisecond."""
    folder.mkdir(parents=True, exist_ok=True)
    header = _header(field.shape[1:])
    paths = []
    for frame in field:
        stamp = np.datetime_as_string(frame["time"].values, unit="m").translate(str.maketrans("", "", "-:T"))
        paths.append(folder / f"{stamp}_rain.pgm")
        paths[-1].write_bytes(header.format(stamp=stamp).encode() + _codes(frame.values).tobytes())
    return paths


def _codes(rate: np.ndarray) -> np.ndarray:
    """Encode rates as FMI does: half decibels above -32 dBZ, 0 for dry, 255 for unknown."""
    dbz = 10 * np.log10(223 * np.maximum(rate, 1e-9) ** 1.53)
    codes = np.where(rate < 0.05, 0, np.clip(np.rint(2 * (dbz + 32)), 1, 254))
    return np.where(np.isnan(rate), 255, codes).astype(np.uint8)


def _header(shape: tuple[int, int]) -> str:
    to_map = pyproj.Proj("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=25 +R=6371288")
    left, bottom = to_map(22.0, 60.0)
    corners = {
        "bottomleft": (22.0, 60.0),
        "topright": to_map(left + SPACING * shape[1], bottom + SPACING * shape[0], inverse=True),
    }
    lines = ["P5", "# obstime {stamp}", "# param CorrectedReflectivity", "# type stereographic"]
    lines += [f"# {name} {lon:.9f} {lat:.9f}" for name, (lon, lat) in corners.items()]
    lines += ["# centrallatitude 90", "# truelatitude 60", "# centrallongitude 25"]
    lines += [f"# metersperpixel_{axis} {SPACING}" for axis in "xy"]
    return "\n".join(lines) + f"\n{shape[1]} {shape[0]}\n255\n"


def region(folder: Path, name: str = "here", **changes) -> RegionSettings:
    """Return a region with four issue times, lead times of 30 and 60 min, and fast nowcasters."""
    given = {
        "radar": str(folder / "*.pgm"),
        "every": "30min",
        "first": "12:00",
        "last": "13:30",
        "lead_time": "1h",
        "step": "30min",
        "nowcasters": ("scale-filter",),
    }
    return RegionSettings(name=name, **(given | changes))


def settings(root: Path, *regions: RegionSettings, **changes) -> NightlySettings:
    """Return settings whose store and report are in `root`."""
    return NightlySettings(region=regions, store=str(root / "store"), report=str(root / "report"), **changes)


def as_toml(*regions: RegionSettings, **top: object) -> str:
    """Write a configuration with these regions."""
    keys = {"first": "from", "last": "to"}
    lines = [f"{key} = {_value(value)}" for key, value in top.items()]
    for one in regions:
        lines.append("[[region]]")
        for key in ("name", "radar", "every", "first", "last", "lead_time", "step", "nowcasters"):
            lines.append(f"{keys.get(key, key)} = {_value(getattr(one, key))}")
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else repr(value)
