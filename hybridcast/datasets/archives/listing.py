"""The two files beside an archive: its manifest, and the list of events that `hybridcast train` takes."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hybridcast.core.field import MIN_FRAME_FRACTION
from hybridcast.core.files import atomic_write, safe_filename
from hybridcast.datasets.archives.records import Record
from hybridcast.datasets.events import MIN_WET_FRACTION

MANIFEST, EVENTS = "manifest.json", "events.toml"
_VERSION = 1
_PACKAGES = ("hybridcast", "numpy", "xarray", "zarr", "pyarrow", "cfgrib", "eccodes")


@dataclass(frozen=True)
class Region:
    """What was laid out of a region."""

    name: str
    """Of its folder."""
    label: str
    """What events call it."""
    licence: str
    radar: list[Record]
    stations: list[Record]
    nwp: list[Record]
    model: str = "*"
    """How names of the files of its model begin."""
    terrain: str | None = None
    """Relative to the archive."""


def write_lists(out: Path, region: Region) -> Path:
    """Write the manifest and the events of an archive; other regions in it stay as they are. Give the events' path."""
    manifest = _manifest_before(out)
    manifest["regions"][region.name] = _about(region)
    manifest["made"] = datetime.now(UTC).isoformat(timespec="seconds")
    manifest["versions"] = {"python": platform.python_version(), **_versions()}
    with atomic_write(out / MANIFEST) as part:
        part.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    entries = [entry for about in manifest["regions"].values() for entry in about["events"]]
    with atomic_write(out / EVENTS) as part:
        part.write_text(_HEAD + "\n".join(_entry(entry) for entry in entries), encoding="utf-8")
    return out / EVENTS


_HEAD = "# Written by hybridcast archive, which writes it anew: copy it before you change it.\n\n"


def _manifest_before(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    return found if found.get("version") == _VERSION else {"version": _VERSION, "regions": {}}


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _about(region: Region) -> dict[str, Any]:
    days = sorted((day for record in region.radar for day in record["days"]), key=lambda day: day["from"])
    events, without = [], {}
    for day in days:
        reason = _no_event(day)
        if reason:
            without[day["day"]] = reason
        else:
            events.append(_event(region, day))
    return {
        "licence": region.licence,
        "from": days[0]["from"] if days else None,
        "to": days[-1]["to"] if days else None,
        "radar_days": days,
        "days_without_radar": _gaps([day["from"][:10] for day in days]),
        "days_that_are_no_event": without,
        "unreadable": [bad for part in (region.radar, region.stations, region.nwp) for r in part for bad in _bad(r)],
        "left_out": [out for part in (region.radar, region.nwp) for r in part for out in r.get("left_out", [])],
        "radar": _without_days(region.radar),
        "stations": region.stations,
        "nwp": region.nwp,
        "nwp_smaller_than_most": _small(region.nwp),
        "terrain": region.terrain,
        "events": events,
    }


def _bad(record: Record) -> list[Record]:
    return list(record.get("unreadable", []))


def _without_days(records: list[Record]) -> list[Record]:
    return [{**record, "days": [day["day"] for day in record["days"]]} for record in records]


def _no_event(day: Record) -> str:
    """Say why a day is not listed; empty if it is."""
    if "irregular" in day and day["missing"] is None:
        return str(day["irregular"])
    if day["wettest"] < MIN_WET_FRACTION:
        return f"dry: at most {day['wettest']:.2%} of a frame has 1 mm/h"
    if day["frames"] < max(3.0, MIN_FRAME_FRACTION * (day["frames"] + day["missing"])):
        return f"{day['frames']} frames, {day['missing']} missing between them"
    return ""


def _gaps(days: list[str]) -> list[str]:
    """Name the days between the first and the last that are not there."""
    there = np.unique(np.array(days, "datetime64[D]"))
    if not there.size:
        return []
    return [str(day) for day in np.setdiff1d(np.arange(there[0], there[-1]), there)]


def _small(records: list[Record]) -> list[str]:
    """Name files that are smaller than most of the same kind: by MeteoNet's documentation those are incomplete."""
    sizes: dict[str, list[tuple[str, int]]] = {}
    for record in records:
        for file in record["inputs"]:
            kind = "".join(c for c in file["file"] if not c.isdigit())
            sizes.setdefault(kind, []).append((file["file"], file["bytes"]))
    return [name for group in sizes.values() for name, size in group if size < np.median([s for _, s in group])]


def _event(region: Region, day: Record) -> dict[str, str]:
    date = day["from"][:10]
    found = {
        "name": f"{safe_filename(region.label)}-{day['day']}",
        "region": region.label,
        "radar": f"{region.name}/radar/{day['day']}.zarr",
    }
    if any(date in record["days"] for record in region.stations):
        found["stations"] = f"{region.name}/stations/{date}/*.parquet"
    if any(date in record["days"] for record in region.nwp):
        found["nwp"] = f"{region.name}/nwp/{date}/{region.model}.nc"
    if region.terrain is not None:
        found["terrain"] = region.terrain
    return found


def _entry(event: dict[str, str]) -> str:
    # a JSON text is a TOML text too
    return "[[event]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in event.items())
