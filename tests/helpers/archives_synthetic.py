"""A small simulated MeteoNet download: its formats and its layout, a grid of a few cells, moving rain."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import synthetic
from hybridcast.nwp import nwp_fields
from hybridcast.nwp.writing import save_nwp

MINUTE = np.timedelta64(1, "m")
SHAPE = (64, 72)
LATITUDES = 49.0 - 0.02 * np.arange(SHAPE[0])
LONGITUDES = -1.0 + 0.02 * np.arange(SHAPE[1])


def radar_file(day: str, seed: int, frames: int = 40):
    """Return hundredths of a millimetre in five minutes, and their dates, from 10 UTC on; a corner is unknown."""
    field = synthetic.rain(SHAPE, synthetic.translation(1.0, 0.5), frames=frames, spacing=2000.0, seed=seed, wet=0.3)
    hundredths = np.round(2 * field.values / 0.12).astype(np.int16)
    hundredths[:, :6, :6] = -1
    first = np.datetime64(f"{day}T10:00", "s")
    dates = np.array([(first + 5 * k * MINUTE).astype(datetime) for k in range(frames)], object)
    return hundredths, dates


def write_rain(folder: Path, zone: str, part: str, days: dict[str, int], **how) -> Path:
    """Write a file of some days as MeteoNet does; `part` is, for example, ``2018_05.1``."""
    made = [radar_file(day, seed, **how) for day, seed in days.items()]
    data, dates = (np.concatenate([one[k] for one in made]) for k in (0, 1))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rainfall_{zone}_{part}.npz"
    np.savez_compressed(path, data=data, dates=dates, miss_dates=np.array([], object))
    return path


def write_download(root: Path, zones=("NW", "SE")) -> Path:
    """Write two days of radar, stations and NWP runs for each zone, in the folders of MeteoNet's tar files."""
    for number, zone in enumerate(zones):
        top = root / "data" / zone
        below = top / "radar" / "rainfall" / f"{zone}_rainfall_2018" / f"rainfall-{zone}-2018-05"
        write_rain(below, zone, "2018_05.1", {"2018-05-01": 10 * number, "2018-05-02": 10 * number + 1})
        y, x = np.meshgrid(LATITUDES, LONGITUDES, indexing="ij")
        np.savez(top / "radar" / f"radar_coords_{zone}.npz", lats=y, lons=x)
        write_stations(top / "ground_stations" / f"{zone}2018.csv")
        for day in ("2018-05-01", "2018-05-02"):
            write_run(top / "weather_models" / "2D_parameters" / "201805" / "AROME" / "PRECIP", zone, day)
    return root


def write_stations(path: Path, count: int = 30, days=("2018-05-02", "2018-05-01", "2018-06-01")) -> Path:
    """Write a table as MeteoNet documents it; days are not in order, and one is of another month."""
    generator = np.random.default_rng(1)
    rows = []
    for day in days:
        times = pd.date_range(f"{day} 09:00", f"{day} 14:00", freq="6min").strftime("%Y-%m-%d %H:%M:%S")
        for k in range(count):
            rows.append(
                pd.DataFrame(
                    {
                        "number_sta": 14000000 + k,
                        "lat": LATITUDES[8 + k],
                        "lon": LONGITUDES[10 + k],
                        "height_sta": 50.0 + k,
                        "date": times,
                        "dd": 220.0,
                        "ff": 4.2,
                        "precip": generator.choice([0.0, 0.2, 0.4], len(times)),
                        "hu": 80.0,
                        "td": 283.1,
                        "t": 285.0 + 0.1 * k,
                        "psl": 101300.0,
                    }
                )
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(rows).to_csv(path, index=False)
    return path


def write_run(folder: Path, zone: str, day: str, rate: float = 1.5) -> Path:
    """Write a run of 00 UTC to 24 h with the same rain everywhere, as CF NetCDF under the name of MeteoNet's GRIB."""
    leads = np.arange(1, 25) * np.timedelta64(1, "h")
    rain = np.full((1, 24, 20, 24), rate, np.float32)
    nwp = nwp_fields(
        {"precipitation_rate": rain},
        reference_time=[np.datetime64(day)],
        lead_time=leads,
        y=np.linspace(49.2, 47.5, 20),
        x=np.linspace(-1.2, 0.6, 24),
        crs="EPSG:4326",
    )
    folder.mkdir(parents=True, exist_ok=True)
    return save_nwp(nwp, folder / f"arome_PRECIP_{zone}_{day.replace('-', '')}000000.nc")
