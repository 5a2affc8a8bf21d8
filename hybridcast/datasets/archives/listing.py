"""Files beside an archive: its manifest, and the list of events for `hybridcast train`."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hybridcast.core.files import atomic_write, safe_filename
from hybridcast.core.time_steps import MIN_FRAME_FRACTION
from hybridcast.datasets.archives.records import Record
from hybridcast.datasets.events import MIN_WET_FRACTION

MANIFEST, EVENTS = "manifest.json", "events.toml"
_VERSION = 1
_PACKAGES = ("hybridcast", "numpy", "xarray", "zarr", "pyarrow", "cfgrib", "eccodes")


@dataclass(frozen=True)
class ArchivedRegion:
    """Content of a region of the archive."""

    name: str
    """Name of its folder."""
    label: str
    """Name of the region in events."""
    licence: str
    """Licence of the data."""
    radar: list[Record]
    """Records of the radar."""
    stations: list[Record]
    """Records of the stations."""
    nwp: list[Record]
    """Records of the NWP runs."""
    nwp_pattern: str = "*"
    """Pattern of the names of its NWP files, without suffix."""
    terrain: str | None = None
    """Path of the terrain heights, relative to the archive."""


def write_lists(out: Path, region: ArchivedRegion) -> Path:
    """Write the manifest and the list of events of an archive, and return the path of the list.

    Other regions of the archive stay unchanged.
    """
    manifest = _load_manifest(out)
    manifest["regions"][region.name] = _describe_region(region)
    manifest["made"] = datetime.now(UTC).isoformat(timespec="seconds")
    manifest["versions"] = {"python": platform.python_version(), **_read_versions()}
    with atomic_write(out / MANIFEST) as part:
        part.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    entries = [entry for about in manifest["regions"].values() for entry in about["events"]]
    with atomic_write(out / EVENTS) as part:
        part.write_text(_HEAD + "\n".join(_format_entry(entry) for entry in entries), encoding="utf-8")
    return out / EVENTS


_HEAD = "# Written by hybridcast archive, which writes it anew: copy it before you change it.\n\n"


def _load_manifest(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    return found if found.get("version") == _VERSION else {"version": _VERSION, "regions": {}}


def _read_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _describe_region(region: ArchivedRegion) -> dict[str, Any]:
    days = sorted((day for record in region.radar for day in record["days"]), key=lambda day: day["from"])
    events, without = [], {}
    for day in days:
        reason = _exclusion_reason(day)
        if reason:
            without[day["day"]] = reason
        else:
            events.append(_build_event(region, day))
    return {
        "licence": region.licence,
        "from": days[0]["from"] if days else None,
        "to": days[-1]["to"] if days else None,
        "radar_days": days,
        "days_without_radar": _find_gaps([day["from"][:10] for day in days]),
        "days_that_are_no_event": without,
        "unreadable": [
            bad for part in (region.radar, region.stations, region.nwp) for r in part for bad in _unreadable(r)
        ],
        "left_out": [out for part in (region.radar, region.nwp) for r in part for out in r.get("left_out", [])],
        "radar": _list_days(region.radar),
        "stations": region.stations,
        "nwp": region.nwp,
        "nwp_smaller_than_most": _find_small_files(region.nwp),
        "terrain": region.terrain,
        "events": events,
    }


def _unreadable(record: Record) -> list[Record]:
    return list(record.get("unreadable", []))


def _list_days(records: list[Record]) -> list[Record]:
    return [{**record, "days": [day["day"] for day in record["days"]]} for record in records]


def _exclusion_reason(day: Record) -> str:
    """Return the reason why a day is not listed; empty if it is."""
    if "irregular" in day and day["missing"] is None:
        return str(day["irregular"])
    if day["wettest"] < MIN_WET_FRACTION:
        return f"dry: at most {day['wettest']:.2%} of a frame has 1 mm/h"
    if day["frames"] < max(3.0, MIN_FRAME_FRACTION * (day["frames"] + day["missing"])):
        return f"{day['frames']} frames, {day['missing']} missing between them"
    return ""


def _find_gaps(days: list[str]) -> list[str]:
    """Return the days that are missing between the first and the last."""
    present = np.unique(np.array(days, "datetime64[D]"))
    if not present.size:
        return []
    return [str(day) for day in np.setdiff1d(np.arange(present[0], present[-1]), present)]


def _find_small_files(records: list[Record]) -> list[str]:
    """Return files smaller than most of their kind, which are incomplete according to MeteoNet's documentation."""
    sizes: dict[str, list[tuple[str, int]]] = {}
    for record in records:
        for file in record["inputs"]:
            kind = "".join(c for c in file["file"] if not c.isdigit())
            sizes.setdefault(kind, []).append((file["file"], file["bytes"]))
    return [name for group in sizes.values() for name, size in group if size < np.median([s for _, s in group])]


def _build_event(region: ArchivedRegion, day: Record) -> dict[str, str]:
    date = day["from"][:10]
    found = {
        "name": f"{safe_filename(region.label)}-{day['day']}",
        "region": region.label,
        "radar": f"{region.name}/radar/{day['day']}.zarr",
    }
    if any(date in record["days"] for record in region.stations):
        found["stations"] = f"{region.name}/stations/{date}/*.parquet"
    if any(date in record["days"] for record in region.nwp):
        found["nwp"] = f"{region.name}/nwp/{date}/{region.nwp_pattern}.nc"
    if region.terrain is not None:
        found["terrain"] = region.terrain
    return found


def _format_entry(event: dict[str, str]) -> str:
    # a JSON string is a TOML string too
    return "[[event]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in event.items())
