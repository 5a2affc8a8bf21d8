"""Warnings at invented places, verified against later radar: hit rate, false alarms, lead time and reliability.

Twenty places, fourteen points and six discs of 5 and 10 km, are drawn at random (with a seed) within the radar's
coverage. At each issue time every nowcaster makes a forecast, `at_places` turns it into probabilities of warning
levels, and the rule of `hybridcast.places.hysteresis` raises, keeps and clears warnings. Advection and persistence have
no probabilities: they warn if their field reaches the level. The statistics of each day and nowcaster are a file in the
folder of ``--work``, and a run continues with the days that are missing. Writes ``place_warnings.json`` beside this
file, and the page ``results/warnings.md`` with its picture; an archive that is left out stays there as it was. With
``--radar``, of one archive of your own, it prints the table and writes ``--out``:

    python notebooks/place_warnings.py --work scratch/warnings
    python notebooks/place_warnings.py --archive dwd --days 2018-05-10..2018-05-18 --every 30 --work scratch/warnings
    python notebooks/place_warnings.py --radar 'my/*.h5' --days 2024-06-01..2024-06-03 --work scratch/mine --out a.json
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from hybridcast import Advection, Persistence, fetch, forecast, open_radar
from hybridcast.core.field import metres_per_cell
from hybridcast.core.files import atomic_write
from hybridcast.datasets.registry import load_registry
from hybridcast.errors import InputWarning
from hybridcast.nightly.days import parse_dates
from hybridcast.nowcasters.scale_filter_ensemble import ScaleFilterEnsemble
from hybridcast.places import Place, WarningLevel, at_places, observe_radar, parse_level
from hybridcast.verification.warnings import LEAD_MINUTES, score_warnings, summarize_warnings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "place_warnings.json", HERE / "results" / "warnings.md"
LEVELS = ("5 mm/h", "2 mm in 30min", "5 mm in 1h", "10 mm in 1h")
POINTS, DISCS = 14, (5_000.0, 5_000.0, 5_000.0, 10_000.0, 10_000.0, 10_000.0)
HISTORY = np.timedelta64(2, "h")
HEAVY = 0.004
"""Least fraction of cells with 5 mm/h and more of the Alpine days; less tells nothing of warnings."""
MEMBERS = 20
EARLY = 30.0
"""Lead time of a warning that is early, min."""
RAISE_AT, CLEAR_BELOW = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7), 0.6
"""Probabilities from which a warning is raised, and the fraction of them below which it may be cleared."""
ALL = "all levels"
COLUMNS = ("level", "nowcaster", "events", "warnings", "hit rate", "false alarm ratio", "CSI", "lead time, min")
COLUMNS += ("30 min before", "Brier")
COLUMNS_BY_PROBABILITY = ("raised at", *COLUMNS[1:-1])
INTRODUCTION = """# Warnings at places

Warnings at invented places against later radar (`make warnings`): an event is the time during which a level is
reached at a place; it is a hit if a warning was raised before it begins and is not cleared. The lead time is the mean
over hits, *30 min before* the share of all events that were warned of so long before. *Warnings* are hits, false
alarms, and those that are undecided because the observation or the day ends. Advection and persistence warn if their
field reaches the level.

![Reliability, and hit rate against false alarms](warnings.png)
"""
NAMES = {"hybridcast": "**hybridcast**", "scale-filter-ensemble": "scale filter, 20 members (untrained)"}
NOWCASTERS: dict[str, Callable[..., xr.Dataset]] = {
    "hybridcast": lambda radar, **times: forecast(radar, members=MEMBERS, **times),
    "scale-filter-ensemble": lambda radar, **times: forecast(
        radar, nowcaster=ScaleFilterEnsemble(), members=MEMBERS, **times
    ),
    "advection": lambda radar, **times: forecast(radar, nowcaster=Advection(), **times),
    "persistence": lambda radar, **times: forecast(radar, nowcaster=Persistence(), **times),
}


@dataclass(frozen=True)
class Archive:
    """Radar of many days, and what is said of it."""

    title: str
    sources: tuple[str, ...]
    """Names of data sets, or one glob of files."""
    note: str = ""
    days: tuple[str, ...] = ()
    """The days; by default all with enough heavy rain."""
    heavy: float = 0.0
    """Least fraction of the cells that are seen with 5 mm/h and more, in the mean over a day."""

    def open(self) -> Iterator[xr.DataArray]:
        """Yield the radar of each source."""
        known = load_registry()
        for source in self.sources:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputWarning)
                yield open_radar(fetch(source) if source in known else source)

    def select_days(self, radar: xr.DataArray) -> list[str]:
        """Return the days of a field that are verified."""
        days = radar["time"].values.astype("datetime64[D]")
        return [
            str(day)
            for day in np.unique(days)
            if (not self.days or str(day) in self.days)
            and (not self.heavy or _measure_heavy(radar.isel(time=days == day)) >= self.heavy)
        ]


def _measure_heavy(radar: xr.DataArray) -> float:
    """Return the fraction of seen cells with 5 mm/h and more, of every third frame."""
    values = radar.isel(time=slice(None, None, 3)).values
    return float((values >= 5).sum() / max(1, np.isfinite(values).sum()))


def list_archives() -> dict[str, Archive]:
    """Return the two archives of the results."""
    alpine = tuple(name for name in load_registry() if name.startswith("taasrad-"))
    seen = "The trained model has seen events of this archive; the scale filter's ensemble has learned from none."
    return {
        "dwd": Archive("German radar", ("pycomlink-dwd-2018",), seen),
        "taasrad": Archive("Alpine radar, days of heavy rain", alpine, seen, heavy=HEAVY),
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
    """Return the statistics of one nowcaster on one day, by ``raise_at``."""
    first, last = np.datetime64(f"{day}T{options.first}", "ns"), np.datetime64(f"{day}T{options.last}", "ns")
    frames = radar.sel(time=slice(first - HISTORY, last + np.timedelta64(2, "h"))).load()
    issue_times = np.arange(first, last + np.timedelta64(1, "ns"), np.timedelta64(options.every, "m"))
    tables = [_forecast(frames, time, nowcaster, places) for time in issue_times[np.isin(issue_times, frames.time)]]
    observed = observe_radar(frames, places)
    every = [score_warnings([_raise_at(table, at) for table in tables], observed) for at in RAISE_AT]
    return xr.concat(every, xr.Variable("raise_at", list(RAISE_AT)), join="exact")


def _raise_at(table: xr.Dataset, probability: float) -> xr.Dataset:
    """Return products at places whose warnings are raised from a probability."""
    raised = xr.full_like(table["raise_at"], probability).where(table["raise_at"].notnull())
    return table.assign(raise_at=raised, clear_at=CLEAR_BELOW * raised)


def _forecast(frames: xr.DataArray, time: np.datetime64, nowcaster: str, places: tuple[Place, ...]) -> xr.Dataset:
    recent = frames.sel(time=slice(time - HISTORY, time))
    result = NOWCASTERS[nowcaster](recent, issue_time=time, lead_time="2h", step="5min")
    return at_places(result, places, radar=recent, windows=[])


def run(archive: Archive, work: Path, options: argparse.Namespace) -> Iterator[tuple[str, str, xr.Dataset]]:
    """Yield the day, the nowcaster and the statistics of each day, computed or read from the folder of work."""
    places: tuple[Place, ...] = ()
    work.mkdir(parents=True, exist_ok=True)
    for radar in archive.open():
        places = places or invent_places(radar)
        for day in archive.select_days(radar):
            for nowcaster in NOWCASTERS:
                path = work / f"{day}-{nowcaster}.nc"
                if not path.is_file():
                    statistics = score_day(radar, day, nowcaster, places, options)
                    with atomic_write(path) as part:
                        statistics.to_netcdf(part, engine="h5netcdf")
                with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=True) as file:
                    yield day, nowcaster, file.load()


def count(archive: Archive, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the scores of an archive as an object of JSON."""
    totals: dict[str, xr.Dataset] = {}
    days: dict[str, None] = {}
    for day, nowcaster, statistics in run(archive, work, options):
        totals[nowcaster] = totals[nowcaster] + statistics if nowcaster in totals else statistics
        days[day] = None
        usual = statistics.sel(raise_at=WarningLevel.raise_at)
        events, hits = float((usual.hits + usual.misses).sum()), float(usual.hits.sum())
        print(f"{day} {nowcaster}: {events:g} events, {hits:g} hits", flush=True)
    return {
        "title": archive.title,
        "note": archive.note,
        "days": list(days),
        "every": options.every,
        "places": POINTS + len(DISCS),
        "rows": tabulate(totals),
    }


def tabulate(totals: dict[str, xr.Dataset]) -> list[dict[str, Any]]:
    """Return rows of scores for each nowcaster, of all levels together and, as usual, of each, with the reliability."""
    rows = []
    for nowcaster, total in totals.items():
        for at in total["raise_at"].values:
            summed, about = total.sel(raise_at=at).sum("place"), {"nowcaster": nowcaster, "raise_at": float(at)}
            rows.append({**about, "level": ALL} | describe(summed.sum("level")))
            for level in summed["level"].values if at == WarningLevel.raise_at else ():
                rows.append({**about, "level": str(level)} | describe(summed.sel(level=level)))
    return rows


def describe(counts: xr.Dataset) -> dict[str, Any]:
    """Return numbers, scores and the reliability of statistics that are summed over places."""
    found = {name: float(counts[name]) for name in ("hits", "misses", "late", "false_alarms", "undecided")}
    early = counts["hits_by_lead"].values[np.array(LEAD_MINUTES) >= EARLY].sum()
    scores = {str(name): float(values) for name, values in summarize_warnings(counts).data_vars.items()}
    share = {"hits_30min_before": float(early)}
    return found | share | scores | {"reliability": list_reliability(counts)}


def list_reliability(counts: xr.Dataset) -> list[dict[str, float]]:
    """Return probability and frequency of each bin that has forecasts."""
    found = []
    for number in np.flatnonzero(counts["level_pairs"].values):
        one = counts.isel(probability_bin=number)
        pairs = float(one["level_pairs"])
        mean, frequency = (float(one[f"level_pair_{name}"]) / pairs for name in ("probability", "events"))
        found.append({"forecasts": pairs, "probability": round(mean, 4), "frequency": round(frequency, 4)})
    return found


# --- the page -------------------------------------------------------------------------------------------------


def format_table(found: dict[str, Any]) -> str:
    """Return the tables of an archive: of all levels together and of each, and of several probabilities to warn at."""
    cycles = "every 15 min" if found["every"] == 15 else f"every {found['every']} min"
    lines = [
        f"{found['title']}: {len(found['days'])} days ({found['days'][0]} to {found['days'][-1]}), forecasts {cycles}, "
        f"{found['places']} invented places. {found['note']}",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    usual = [row for row in found["rows"] if row["raise_at"] == WarningLevel.raise_at]
    for level in dict.fromkeys(row["level"] for row in usual):
        lines += [_format_row(row) for row in usual if row["level"] == level]
    lines += ["", "The same of all levels together, of warnings raised from other probabilities:", ""]
    lines += [f"| {' | '.join(COLUMNS_BY_PROBABILITY)} |", "|---" * len(COLUMNS_BY_PROBABILITY) + "|"]
    lines += [_format_probability(row) for row in found["rows"] if row["level"] == ALL and _has_probabilities(row)]
    return "\n".join(lines)


def _has_probabilities(row: dict[str, Any]) -> bool:
    return len(row["reliability"]) > 2  # a field that reaches a level or not has two


def _format_probability(row: dict[str, Any]) -> str:
    _, *cells, _ = _format_row(row).strip("| ").split(" | ")
    return f"| {' | '.join([_share(row['raise_at'], 1), *cells])} |"


def _format_row(row: dict[str, Any]) -> str:
    events = row["hits"] + row["misses"]
    raised = row["hits"] + row["false_alarms"] + row["undecided"]
    early = row["hits_30min_before"] / events if events else np.nan
    scores = [_share(row[name]) for name in ("hit_rate", "false_alarm_ratio", "csi")]
    lead = "-" if np.isnan(row["mean_lead"]) else f"{row['mean_lead']:.0f}"
    cells = [row["level"], NAMES.get(row["nowcaster"], row["nowcaster"]), f"{events:.0f}", f"{raised:.0f}"]
    return f"| {' | '.join([*cells, *scores, lead, _share(early), _share(row['brier_score'], 3)])} |"


def _share(value: float, digits: int = 2) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}".removeprefix("0") if value < 1 else f"{value:.{digits}f}"


def draw(archives: Sequence[dict[str, Any]]) -> Figure:
    """Draw the reliability of the probabilities, and hit rate against false alarm ratio, of each archive."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2 * len(archives)), layout="constrained")
    axes = figure.subplots(len(archives), 2, squeeze=False)
    for (left, right), found in zip(axes, archives, strict=True):
        rows = [row for row in found["rows"] if row["level"] == ALL and row["raise_at"] == WarningLevel.raise_at]
        left.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for row in rows:
            bins = row["reliability"]
            label = NAMES.get(row["nowcaster"], row["nowcaster"]).strip("*")
            if _has_probabilities(row):
                left.plot([b["probability"] for b in bins], [b["frequency"] for b in bins], marker="o", label=label)
                for b in bins[:: max(1, len(bins) // 6)]:
                    left.annotate(f"{b['forecasts']:.0f}", (b["probability"], b["frequency"]), fontsize=6, alpha=0.7)
            right.scatter(row["false_alarm_ratio"], row["hit_rate"], s=50, label=f"{label}, {row['mean_lead']:.0f} min")
        left.set(
            title=f"{found['title']}, {len(found['days'])} days", xlabel="probability", ylabel="observed frequency"
        )
        right.set(
            xlim=(0, 1), ylim=(0, 1), xlabel="false alarm ratio", ylabel="hit rate", title="warnings, mean lead time"
        )
        for axis in (left, right):
            axis.grid(alpha=0.3)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=8)
    return figure


def write_page(page: Path, archives: dict[str, dict[str, Any]]) -> None:
    """Write the page with its tables, and the picture beside it."""
    sections = [f"## {found['title']}\n\n{format_table(found)}\n" for found in archives.values()]
    page.write_text("\n".join([INTRODUCTION, *sections]), encoding="utf-8")
    draw(list(archives.values())).savefig(page.with_suffix(".png"), dpi=110)


def main() -> None:
    """Run the days, and write what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", action="append", help="dwd or taasrad; by default both")
    parser.add_argument("--radar", help="glob of radar files of your own")
    parser.add_argument("--days", help="such as 2018-05-12..2018-05-14; by default all")
    parser.add_argument("--first", default="00:00", help="first issue time of a day, UTC")
    parser.add_argument("--last", default="23:55", help="last issue time of a day, UTC")
    parser.add_argument("--every", type=int, default=15, help="minutes between issue times")
    parser.add_argument("--work", type=Path, required=True, help="folder of the statistics of days")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    known = list_archives()
    days = tuple(parse_dates(options.days)) if options.days else ()
    chosen = {name: replace(known[name], days=days or known[name].days) for name in options.archive or known}
    if options.radar:
        chosen = {"own": Archive("Radar of your own", (options.radar,), days=days)}
    found = {name: count(archive, options.work / name, options) for name, archive in chosen.items()}
    for one in found.values():
        print(format_table(one))
    if out := options.out or (None if options.radar else RESULTS):
        stored = json.loads(out.read_text()) if out == RESULTS and out.exists() else {}
        with atomic_write(out) as part:
            part.write_text(json.dumps(stored | found, indent=1) + "\n")
        if out == RESULTS:
            write_page(PAGE, stored | found)


if __name__ == "__main__":
    main()
