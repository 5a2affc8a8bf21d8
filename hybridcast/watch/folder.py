"""The folder of a region: forecasts, each in a folder of its own, the newest by name, and what the loop keeps.

::

    north/
      latest.json                 the newest forecast: where it is, its age, sources and cost
      index.html  assets/  *.js   the map page, if it is asked for
      status.json  metrics.prom   what monitors read
      forecasts/20240601T120500Z/ a forecast: forecast.zarr, pictures, places, about.json
      warnings.json  warnings.jsonl  the warnings at places, and their log
      state/                      files that have come, forecasts made, messages that wait, downloads, the lock

Files and folders appear whole or not at all. A forecast takes its place in one step, and what a killed process left
behind is removed at the next start.
"""

from __future__ import annotations

import errno
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hybridcast.core.files import atomic_folder
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.errors import InputError
from hybridcast.watch.json_files import read_json, write_json
from hybridcast.watch.products import FORMATS, MAP
from hybridcast.watch.schedule import IssueRecord, Issues
from hybridcast.webmap.latest import Latest, show_forecast

ABOUT, ASSETS = "about.json", "assets"
_NAME = re.compile(r"\d{8}T\d{6}Z")
#: Name of a forecast while a revision takes its place, see `atomic_folder`.
_MOVED_ASIDE = re.compile(r"\.(\d{8}T\d{6}Z)-.*\.part\.old")
_VERSION = 1
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class RegionFolder:
    """The folder of a region, which is created.

    Raises
    ------
    InputError
        If it may not be created there.
    OSError
        If the machine does not let it now, as on a full disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.forecasts, self.state = path / "forecasts", path / "state"
        self.downloads, self.queue, self.arrived = (self.state / name for name in ("downloads", "queue", "arrived"))
        try:
            for folder in (self.forecasts, self.downloads, self.queue):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in _OF_THE_MACHINE:  # the configuration is right, and another start may help
                raise
            found = f"cannot make {error.filename!r} ({error.strerror})"
            raise InputError(found, "forecasts are written into a folder of yours", "Choose another as out") from error

    def remove_remains(self) -> None:
        """Remove what a killed process left unfinished. Only the process that holds the lock may do this.

        A forecast that was moved aside, and whose revision had not taken its place yet, is moved back.
        """
        for old in self.forecasts.glob(".*.part.old"):
            match = _MOVED_ASIDE.fullmatch(old.name)
            if match is not None and not (self.forecasts / match[1]).exists():
                old.rename(self.forecasts / match[1])
        for folder in (self.path, self.forecasts, self.state, self.queue, self.downloads, self.arrived):
            for part in folder.glob(".*.part*"):
                _remove(part)
        for part in (*self.downloads.glob("*/.*.part*"), *(self.path / ASSETS).rglob(".*.part*")):
            _remove(part)

    # --- forecasts ------------------------------------------------------------------------------------------

    def locate(self, issue_time: np.datetime64) -> Path:
        """Return the folder of the forecast of an issue time."""
        return self.forecasts / (np.datetime_as_string(issue_time, unit="s").replace("-", "").replace(":", "") + "Z")

    @contextmanager
    def new_forecast(self, issue_time: np.datetime64) -> Iterator[Path]:
        """Yield an empty folder that becomes that of the forecast at the end of the block."""
        with atomic_folder(self.locate(issue_time), lambda folder: (folder / ABOUT).is_file()) as part:
            yield part

    def write_about(self, folder: Path, about: dict[str, Any]) -> None:
        """Write the description of a forecast into its folder."""
        write_json(folder / ABOUT, about)

    def list_forecasts(self) -> list[dict[str, Any]]:
        """Return the descriptions of all forecasts, in the order of their issue times."""
        found = [read_json(folder / ABOUT) for folder in self._list_folders()]
        return [about for about in found if about is not None]

    def publish(self, about: dict[str, Any]) -> bool:
        """Name a forecast in ``latest.json`` unless that names a newer one; return whether it is named."""
        latest = read_json(self.path / "latest.json")
        if latest is not None and latest["issue_time"] > about["issue_time"]:
            return False
        folder = self.locate(np.datetime64(about["issue_time"].removesuffix("Z")))
        content = {"folder": str(folder.relative_to(self.path)), **about}
        if latest != content:
            write_json(self.path / "latest.json", content)
        if (folder / MAP).is_dir():
            self._show(folder, about)
        return True

    def _show(self, folder: Path, about: dict[str, Any]) -> None:
        """Let the map page show a forecast."""
        data, files = folder / MAP, [folder / name for name in FORMATS if (folder / name).exists()]
        names = [path.relative_to(self.path).as_posix() for path in (data, *files[:1])]
        forecast = names[1] if files else None
        show_forecast(self.path, Latest(names[0], about["issue_time"], about["revision"], forecast))

    def remove_old(self, keep: np.timedelta64) -> int:
        """Remove forecasts that are older than the newest one by more than `keep`; return their number."""
        times = {folder: _parse_name(folder.name) for folder in self._list_folders()}
        if not times:
            return 0
        newest = max(times.values())
        old = [folder for folder, time in times.items() if newest - time > keep]
        for folder in old:
            gone = folder.with_name(f".{folder.name}.part.old")  # removed at the next start if this is killed
            folder.rename(gone)
            _remove(gone)
        return len(old)

    def _list_folders(self) -> list[Path]:
        return sorted(path for path in self.forecasts.iterdir() if _NAME.fullmatch(path.name))

    def remove_downloads(self, needed: set[str], age: float) -> None:
        """Remove downloads that are not needed and were written longer than `age` (s) ago."""
        before = time.time() - age
        for file in self.downloads.glob("*/*"):
            if str(file) not in needed and file.stat().st_mtime < before:
                _remove(file)
        for folder in self.downloads.iterdir():
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def remove_arrived(self, before: np.datetime64) -> None:
        """Remove the files of a replay whose names have a time before another."""
        for file in self.arrived.glob("*"):
            time_ = parse_time_in_name(file.name)
            if time_ is not None and time_ < before:
                _remove(file)

    # --- what the loop keeps ------------------------------------------------------------------------------------

    def read_issues(self) -> Issues:
        """Return what is known of issue times: what was written, and the forecasts that are there."""
        content = read_json(self.state / "issues.json") or {}
        known = content.get("issues", {}) if content.get("version") == _VERSION else {}
        return {np.datetime64(time, "ns"): IssueRecord(**record) for time, record in known.items()}

    def write_issues(self, issues: Issues) -> None:
        """Write what is known of issue times."""
        known = {str(time): asdict(record) for time, record in sorted(issues.items())}
        write_json(self.state / "issues.json", {"version": _VERSION, "issues": known})


def _parse_name(name: str) -> np.datetime64:
    return np.datetime64(f"{name[:4]}-{name[4:6]}-{name[6:11]}:{name[11:13]}:{name[13:15]}", "ns")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
