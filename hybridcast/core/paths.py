"""What users give as files: paths, globs, folders, tar and zip files, URLs; and all of these in lists."""

from __future__ import annotations

import glob
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from unicodedata import normalize

from hybridcast.core.containers import (
    ZARR_NAMES,
    Entry,
    find_zarr,
    has_container_name,
    is_container,
    list_entries,
)
from hybridcast.core.locations import (
    SEPARATOR,
    CopyFolder,
    Location,
    RemoteLocation,
    ZarrLocation,
    safe_member_path,
)
from hybridcast.core.readers import PathLike
from hybridcast.core.remote import (
    CONTAINER_WRAPPERS,
    WRAPPERS,
    RemoteFile,
    download,
    find_files,
    get_name,
    has_magic,
    is_url,
    is_zarr,
    open_in_zip,
    open_remote,
    open_zarr_store,
)
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.errors import InputError, ReadError

log = logging.getLogger(__name__)

Keep = Callable[[Sequence[str]], Sequence[bool]]
"""Function that returns which files are wanted, from their names."""
_WINDOWS = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")


def expand_paths(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """Return the files that paths, globs and URLs match, and those in containers, without duplicates.

    Parameters
    ----------
    paths
        A path, a glob, a URL of fsspec (``https://``, ``s3://`` ..., also with a glob), or several of them. A tar or
        zip stands for the files in it; ``archive.tar::*_000`` for those whose names match.

    Returns
    -------
    list of Path
        Files on the disk, folders (Zarr), and `hybridcast.core.locations.Location` for all others, which are copied
        when they are read (`hybridcast.core.readers.read_files`). Their copies are removed with the last of them.

    Raises
    ------
    InputError
        If a path or glob matches nothing.
    DependencyError
        If a package for the protocol of a URL is not installed.
    """
    return _expand_all(paths, CopyFolder(), _keep_all)


@contextmanager
def open_paths(paths: PathLike | Iterable[PathLike], keep: Keep | None = None) -> Iterator[list[Path]]:
    """Yield the files of `expand_paths`, and remove all copies at the end.

    Parameters
    ----------
    paths
        As for `expand_paths`.
    keep
        Returns which of the files that a glob of a server matches are wanted, from their names; by default all are.
        Others are not downloaded.
    """
    copies = CopyFolder()
    try:
        yield _expand_all(paths, copies, keep or _keep_all)
    finally:
        copies.remove()


def _keep_all(names: Sequence[str]) -> list[bool]:
    return [True] * len(names)


def _expand_all(paths: PathLike | Iterable[PathLike], copies: CopyFolder, keep: Keep) -> list[Path]:
    given = [paths] if isinstance(paths, str | bytes | os.PathLike) else _as_list(paths)
    files = [file for item in {str(item): item for item in given}.values() for file in _expand(item, copies, keep)]
    if not files:
        raise InputError("no paths given", "at least one file is needed", "Give a file, a glob or a list of files")
    return list(dict.fromkeys(files))


def _as_list(paths: Any) -> list[Any]:
    if isinstance(paths, Iterable) and not hasattr(paths, "dims") and not hasattr(paths, "read"):
        return list(paths)
    raise _no_path(paths)


def _no_path(item: Any) -> InputError:
    return InputError(
        f"{type(item).__name__} given as a path",
        "it is the name of a file, a glob, a URL, or a list of them",
        "Give the name of the file; data in memory need no reader",
    )


def _expand(item: Any, copies: CopyFolder, keep: Keep) -> list[Path]:
    if isinstance(item, Location):
        return [item]
    if not isinstance(item, str | bytes | os.PathLike):
        raise _no_path(item)
    text = os.fsdecode(item)
    if isinstance(item, PurePath):  # which makes one slash of the two in an address
        text = re.sub(r"^([a-z][a-z0-9+]+):/(?!/)", r"\1://", text)
    if not text or "\0" in text:
        raise InputError(f"the path {text!r}", "a path names a file", "Give the name of the file")
    return _expand_url(text, copies, keep) if is_url(text) else _expand_local(text, copies)


# --- on the disk ----------------------------------------------------------------------------------------------


def _expand_local(text: str, copies: CopyFolder) -> list[Path]:
    container, mark, pattern = text.partition(SEPARATOR)
    if mark and not _exists(Path(text)) and _expand_user(container).is_file():
        return _list_members(_expand_user(container), container, pattern, copies)
    return [file for path in _match(text) for file in _open_local(path, copies)]


def _open_local(path: Path, copies: CopyFolder) -> list[Path]:
    try:
        container = is_container(path)
    except OSError:  # such as a file of somebody else, which is refused when it is read
        return [path]
    return _list_members(path, str(path), "", copies) if container else [path]


def _match(text: str) -> list[Path]:
    path = _expand_user(text)
    if _exists(path) or path.is_symlink():
        return [path]
    # brackets of names that are no sets of characters, and accents that one system composes and another does not
    spellings = (str(path), _escape_brackets(str(path)), *(normalize(form, str(path)) for form in ("NFC", "NFD")))
    matches = next((found for spelling in spellings if (found := glob.glob(spelling, recursive=True))), None)
    if not matches:
        raise InputError(f"no file matches {text!r}", "the files exist", _advise(text))
    return sorted(Path(match) for match in matches)


def _expand_user(text: str) -> Path:
    return Path(os.path.expanduser(text))  # noqa: PTH111 (Path.expanduser raises for an unknown user)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be opened ({error.strerror})", "the file can be read by you", _advise(str(path))
        ) from error


def _escape_brackets(pattern: str) -> str:
    """Return a glob in which brackets stand for themselves, as in the names of second downloads."""
    return re.sub(r"([\[\]])", r"[\1]", pattern)


def _advise(text: str) -> str:
    if _WINDOWS.match(text) and os.name != "nt":
        return "This is a path of Windows; give the one that the folder has on this computer, such as /mnt/c/..."
    if text.startswith("/vsi"):
        return "This is a path of GDAL; give the path or the URL that it contains"
    if re.match(r"[a-z][a-z0-9+]+:/?[^/]", text):
        return "An address begins with a protocol and two slashes, such as https://"
    if len(text) > 255 and "*" not in text:
        return "Check the path; content is not accepted in its place"
    return "Check the path or the glob"


# --- containers -----------------------------------------------------------------------------------------------


def _list_members(path: Path, address: str, pattern: str, copies: CopyFolder) -> list[Path]:
    """Return the members of a container on the disk whose names match a glob, or all."""
    zarr = find_zarr(path)
    if zarr is not None:
        return [_zipped_zarr(path, address, zarr)]
    try:
        entries = list_entries(path, copies)
    except ReadError as error:
        return [_unreadable(address, error.reason)]
    chosen = [entry for entry in entries if not entry.name or _matches(entry.name, pattern)]
    if not any(entry.name for entry in chosen) and pattern:
        names = ", ".join([entry.name for entry in entries][:5])
        raise InputError(
            f"no file in {address} matches {pattern!r}", f"it holds {len(entries)}: {names} ...", "Correct the pattern"
        )
    return _locate(chosen, address, copies)


def _matches(name: str, pattern: str) -> bool:
    """Return whether a name or the end of its path matches a glob."""
    path = PurePosixPath(name.replace(SEPARATOR, "/"))
    return not pattern or name == pattern or path.match(pattern.replace(SEPARATOR, "/"))


def _locate(entries: list[Entry], address: str, copies: CopyFolder) -> list[Path]:
    """Return the locations of the entries of one container.

    Readers may look for further files beside the one that they read, such as coordinates. Such files have no time in
    their names, so those without one are copied together with any other.
    """
    container = PurePosixPath(address.rpartition("/")[2]).name
    lock, folders = threading.Lock(), list[Path]()
    companions = [entry for entry in entries if entry.name and parse_time_in_name(entry.name) is None]

    def copy(entry: Entry) -> Path:
        with lock:
            if not folders:
                folders.append(copies.new_folder(container))
                for one in companions:
                    _copy_if_intact(one, folders[0], container)
            return _copy(entry, folders[0], container)

    return [
        Location(f"{address}{SEPARATOR}{entry.name}", _copier(copy, entry), _name(entry.name, container), entry.size)
        if entry.name
        else Location(address, _copier(copy, entry), container)
        for entry in entries
    ]


def _copier(copy: Callable[[Entry], Path], entry: Entry) -> Callable[[], Path]:
    return lambda: copy(entry)


def _copy(entry: Entry, folder: Path, container: str) -> Path:
    """Copy an entry into a folder, under the name of its location, unless it is there."""
    target = folder / safe_member_path(entry.name.replace(SEPARATOR, "/"))
    target = target.with_name(_name(target.name, container))
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        entry.copy(target)
    return target


def _copy_if_intact(entry: Entry, folder: Path, container: str) -> None:
    try:
        _copy(entry, folder, container)
    except ReadError:  # it is reported when it is read itself
        return


def _name(member: str, container: str) -> str:
    """Return the name of a member without its folders; behind that of its container if only that has a time."""
    name = PurePosixPath(member.replace(SEPARATOR, "/")).name
    only_container = parse_time_in_name(name) is None and parse_time_in_name(container) is not None
    return f"{container}-{name}" if only_container else name


def _unreadable(address: str, reason: str) -> Location:
    """Return a location that cannot be read, so that others in a list can."""

    def refuse() -> Path:
        raise ReadError(address, reason)

    return Location(address, refuse, PurePosixPath(address).name)


def _zipped_zarr(path: Path, address: str, folder: str) -> ZarrLocation:
    def open_store() -> dict[str, Any]:
        import fsspec

        return open_in_zip(fsspec.filesystem("zip", fo=str(path)), folder)

    return ZarrLocation(address, open_store, path.name)


# --- URLs -----------------------------------------------------------------------------------------------------


def _expand_url(url: str, copies: CopyFolder, keep: Keep) -> list[Path]:
    scheme = re.split("::|://", url, maxsplit=1)[0].lower()
    if scheme in ("file", "local"):
        return _expand_local(_path_of(url), copies)
    if scheme in CONTAINER_WRAPPERS:
        first, _, rest = url.partition(SEPARATOR)
        return _expand_container(rest, first.partition("://")[2], copies)
    container, mark, pattern = url.partition(SEPARATOR)
    if mark and "://" in container and scheme not in WRAPPERS:
        return _expand_container(container, pattern, copies)
    return [file for one in _find(url, keep) for file in _open_found(one, copies)]


def _find(url: str, keep: Keep = _keep_all) -> list[RemoteFile]:
    """Return what a URL, or a glob of a server, stands for."""
    remote = open_remote(url)
    if not has_magic(url):
        return [remote]
    found = find_files(remote)
    wanted = keep([get_name(one.url, _has_time) for one in found])
    return [one for one, is_wanted in zip(found, wanted, strict=True) if is_wanted]


def _path_of(url: str) -> str:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return url2pathname(urlsplit(url).path)


def _open_found(remote: RemoteFile, copies: CopyFolder) -> list[Path]:
    name = get_name(remote.url, _has_time)
    if is_zarr(remote):
        return [ZarrLocation(remote.address, lambda: open_zarr_store(remote), name)]
    if has_container_name(name):
        return _download_container(remote, "", copies)
    return [RemoteLocation(remote.address, lambda: download(remote, name, copies), name)]


def _has_time(name: str) -> bool:
    return parse_time_in_name(name) is not None


def _expand_container(url: str, pattern: str, copies: CopyFolder) -> list[Path]:
    """Return the members of a container, on the disk or behind a URL, whose names match a glob."""
    if not is_url(url):
        return [file for path in _match(url) for file in _list_members(path, str(path), pattern, copies)]
    return [file for one in _find(url) for file in _download_container(one, pattern, copies)]


def _download_container(remote: RemoteFile, pattern: str, copies: CopyFolder) -> list[Path]:
    name = get_name(remote.url, _has_time)
    if name.lower().endswith(".zarr.zip"):
        return [ZarrLocation(remote.address, lambda: _open_zipped_store(remote, name, copies), name)]
    try:
        path = download(remote, name, copies)
    except ReadError as error:
        return [_unreadable(remote.address, error.reason)]
    if not is_container(path):  # such as the page of an error, which is told when it is read
        return [Location(remote.address, lambda: path, name)]
    return _list_members(path, remote.address, pattern, copies)


def _open_zipped_store(remote: RemoteFile, name: str, copies: CopyFolder) -> dict[str, Any]:
    """Open a zipped Zarr store in place if the server sends parts of a file, else a copy of it."""
    try:
        zipped = open_remote(f"zip::{remote.url}").filesystem
        top = min((p for p in zipped.find("") if PurePosixPath(p).name in ZARR_NAMES), key=lambda p: p.count("/"))
        return open_in_zip(zipped, top.rpartition("/")[0])
    except Exception:  # fsspec's file systems raise errors of many libraries; those that remain are raised below
        log.debug("%s cannot be read in parts", remote.address, exc_info=True)
    path = download(remote, name, copies)
    return _zipped_zarr(path, remote.address, find_zarr(path) or "").open_store()
