"""Warnings at invented places, verified against later radar: hit rate, false alarms, lead time and reliability.

Twenty places, fourteen points and six discs of 5 and 10 km, are drawn at random within the radar's coverage. At each
issue time every nowcaster makes a forecast, `at_places` turns it into probabilities of warning levels, and the rule of
`hybridcast.places.hysteresis` raises, keeps and clears warnings. Advection and persistence have no probabilities: they
warn if their field reaches the level. The statistics of each day and nowcaster are a file in the folder of ``--work``,
and a run continues with the days that are missing. Prints a table of all days, and writes it to ``--out`` as JSON:

    python notebooks/place_warnings.py --days 2018-05-12..2018-05-14 --work scratch/dwd
    python notebooks/place_warnings.py --radar taasrad19_2016-07.npz --days 2016-07-01..2016-07-31 --work scratch/taas
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridcast import Advection, Persistence, fetch, forecast, open_radar
from hybridcast.core.field import metres_per_cell
from hybridcast.core.files import atomic_write
from hybridcast.nightly.days import parse_dates
from hybridcast.places import Place, WarningLevel, at_places, observe_radar, parse_level
from hybridcast.verification.warnings import score_warnings, summarize_warnings

LEVELS = ("5 mm/h", "2 mm in 30min", "5 mm in 1h", "10 mm in 1h")
POINTS, DISCS = 14, (5_000.0, 5_000.0, 5_000.0, 10_000.0, 10_000.0, 10_000.0)
HISTORY = np.timedelta64(2, "h")
MEMBERS = 20
NOWCASTERS: dict[str, Callable[..., xr.Dataset]] = {
    "hybridcast": lambda radar, **times: forecast(radar, members=MEMBERS, **times),
    "advection": lambda radar, **times: forecast(radar, nowcaster=Advection(), **times),
    "persistence": lambda radar, **times: forecast(radar, nowcaster=Persistence(), **times),
}


def invent_places(radar: xr.DataArray, seed: int = 0) -> tuple[Place, ...]:
    """Return places at random cells that the radar sees, in coordinates of its grid."""
    levels = tuple(parse_level(text) for text in LEVELS)
    anywhere = tuple(
        WarningLevel(f"{level.name}, anywhere", level.amount, level.window, level.rate, statistic="maximum")
        for level in levels
    )
    rows, columns = np.nonzero(np.isfinite(radar.isel(time=slice(0, 12)).values).any(axis=0))
    chosen = np.random.default_rng(seed).choice(rows.size, POINTS + len(DISCS), replace=False)
    corners = [(float(radar.x[columns[k]]), float(radar.y[rows[k]])) for k in chosen]
    points = [Place(f"point {k + 1}", None, point=corner, levels=levels) for k, corner in enumerate(corners[:POINTS])]
    discs = [
        Place(
            f"disc {k + 1}, {radius / 1e3:g} km", None, polygons=([draw_disc(corner, radius, radar)],), levels=anywhere
        )
        for k, (corner, radius) in enumerate(zip(corners[POINTS:], DISCS, strict=True))
    ]
    return tuple(points + discs)


def draw_disc(centre: tuple[float, float], radius: float, radar: xr.DataArray) -> Any:
    """Return the ring of a disc of a radius in metres, in coordinates of the grid, whose units may be others."""
    dy, dx = (float(np.abs(step).mean()) for step in metres_per_cell(radar))
    units = [abs(float(radar[axis][1] - radar[axis][0])) / step for axis, step in (("x", dx), ("y", dy))]
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.asarray(centre) + radius * np.array(units) * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def score_day(
    radar: xr.DataArray, day: str, nowcaster: str, places: tuple[Place, ...], options: argparse.Namespace
) -> xr.Dataset:
    """Return the statistics of one nowcaster on one day."""
    first, last = np.datetime64(f"{day}T{options.first}", "ns"), np.datetime64(f"{day}T{options.last}", "ns")
    frames = radar.sel(time=slice(first - HISTORY, last + np.timedelta64(2, "h"))).load()
    issue_times = np.arange(first, last + np.timedelta64(1, "ns"), np.timedelta64(options.every, "m"))
    tables = [_forecast(frames, time, nowcaster, places) for time in issue_times[np.isin(issue_times, frames.time)]]
    return score_warnings(tables, observe_radar(frames, places))


def _forecast(frames: xr.DataArray, time: np.datetime64, nowcaster: str, places: tuple[Place, ...]) -> xr.Dataset:
    recent = frames.sel(time=slice(time - HISTORY, time))
    result = NOWCASTERS[nowcaster](recent, issue_time=time, lead_time="2h", step="5min")
    return at_places(result, places, radar=recent, windows=[])


def run(options: argparse.Namespace) -> Iterator[tuple[str, str, xr.Dataset]]:
    """Yield the day, the nowcaster and the statistics of each day, computed or read from the folder of work."""
    radar = open_radar(options.radar or fetch(options.dataset))
    places = invent_places(radar)
    options.work.mkdir(parents=True, exist_ok=True)
    for day in parse_dates(options.days):
        for nowcaster in NOWCASTERS:
            path = options.work / f"{day}-{nowcaster}.nc"
            if not path.is_file():
                statistics = score_day(radar, day, nowcaster, places, options)
                with atomic_write(path) as part:
                    statistics.to_netcdf(part, engine="h5netcdf")
            with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=True) as file:
                yield day, nowcaster, file.load()


def tabulate(totals: dict[str, xr.Dataset]) -> list[dict[str, Any]]:
    """Return rows of scores for each nowcaster and level, with the reliability of the probabilities."""
    rows = []
    for nowcaster, total in totals.items():
        summed = total.sum("place")
        scores = summarize_warnings(summed)
        for level in summed["level"].values:
            one, counts = scores.sel(level=level), summed.sel(level=level)
            rows.append(
                {"nowcaster": nowcaster, "level": str(level)}
                | {name: float(counts[name]) for name in ("hits", "misses", "late", "false_alarms", "undecided")}
                | {str(name): float(values) for name, values in one.data_vars.items()}
                | {"reliability": list_reliability(counts)}
            )
    return rows


def list_reliability(counts: xr.Dataset) -> list[dict[str, float]]:
    """Return probability and frequency of each bin that has forecasts."""
    found = []
    for number in np.flatnonzero(counts["level_pairs"].values):
        one = counts.isel(probability_bin=number)
        pairs = float(one["level_pairs"])
        mean, frequency = (float(one[f"level_pair_{name}"]) / pairs for name in ("probability", "events"))
        found.append({"forecasts": pairs, "probability": round(mean, 4), "frequency": round(frequency, 4)})
    return found


def main() -> None:
    """Run the days, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--dataset", default="pycomlink-dwd-2018", help="name of a data set")
    source.add_argument("--radar", help="glob of radar files")
    parser.add_argument("--days", required=True, help="such as 2018-05-12..2018-05-14")
    parser.add_argument("--first", default="00:00", help="first issue time of a day, UTC")
    parser.add_argument("--last", default="23:55", help="last issue time of a day, UTC")
    parser.add_argument("--every", type=int, default=15, help="minutes between issue times")
    parser.add_argument("--work", type=Path, required=True, help="folder of the statistics of days")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    totals: dict[str, xr.Dataset] = {}
    days: dict[str, int] = {}
    for day, nowcaster, statistics in run(options):
        totals[nowcaster] = totals[nowcaster] + statistics if nowcaster in totals else statistics
        days[day] = 1
        print(
            f"{day} {nowcaster}: {int(statistics.hits.sum())} hits, {int(statistics.misses.sum())} misses", flush=True
        )
    rows = tabulate(totals)
    for row in rows:
        numbers = " ".join(
            f"{name} {row[name]:.3g}" for name in row if name not in {"nowcaster", "level", "reliability"}
        )
        print(f"{row['level']:26} {row['nowcaster']:12} {numbers}")
    if options.out:
        with atomic_write(options.out) as part:
            part.write_text(json.dumps({"days": list(days), "every": options.every, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
