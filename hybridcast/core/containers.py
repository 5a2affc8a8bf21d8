"""Members of tar and zip files, which may be compressed and lie in each other.

Only members that can be data are listed: no folders, links, hidden files, checksums or files such as README. Members
are copied one by one when they are needed; a compressed tar, which has no index, is first unfolded as a whole.

What was damaged is an entry too, which cannot be copied, so that the intact members can be read without it.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from hybridcast.core.compression import copy_until, is_compressed, open_uncompressed, read_at_most
from hybridcast.core.locations import SEPARATOR, CopyFolder, safe_member_path
from hybridcast.errors import ReadError

MAX_DEPTH = 3
"""Containers that may lie in each other."""
MAX_UNFOLDED = 8 * 2**30
"""Bytes to which the members of a container may always unfold."""
MAX_RATIO = 200
"""And to how many times the size of the container, if that is more."""

_NAMES = re.compile(r"\.(tar|tgz|tbz2?|txz|tzst|zip|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_DOCUMENTS = {".npz", ".xlsx", ".docx", ".kmz"}  # also when they are damaged
_KMZ_SUFFIXES = {".kml", ".png", ".jpg", ".jpeg", ".gif", ".dae", ".xml", ".xsl", ""}
_NO_DATA_FOLDERS = {"__macosx"}
_NO_DATA_STEMS = re.compile(
    r"(readme|license|licence|copying|copyright|changes|changelog|authors|contents|index|manifest|"
    r"md5sums?|sha\d*sums?|checksums?|thumbs|desktop)([._-].*)?$",
    re.IGNORECASE,
)
_TEXT_SUFFIXES = {"", ".txt", ".ini", ".db"}
_NO_DATA_SUFFIXES = {".md5", ".sha1", ".sha256", ".sha512", ".sig", ".md", ".rst", ".pdf", ".html", ".htm"}
ZARR_NAMES = {"zarr.json", ".zgroup", ".zmetadata"}
"""Files that the folder of a Zarr store has."""
_ZARR_IN_TAR = "a Zarr store in a tar, which cannot be read in place. Unpack it, or pack it as a zip"
_DAMAGES = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError, ValueError, RecursionError)


@dataclass(frozen=True)
class Entry:
    """A file in a container."""

    name: str
    """Its name there, behind those of the containers within, with ``::`` between."""
    copy: Callable[[Path], None]
    """Copies it to a path; raises `ReadError` if it is damaged."""
    size: int | None = None
    """Its size in bytes."""


# --- recognition ----------------------------------------------------------------------------------------------


def is_container(path: Path) -> bool:
    """Return whether a file is a tar or a zip of files, by its content.

    Zip files of one kind of document (numpy's npz, Office, KMZ) are none. A compressed tar is recognised only if its
    name says so, because finding out takes long.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    if head.startswith(_ZIP_MAGICS):
        return path.suffix.lower() not in _DOCUMENTS and describe_zip(path) is None
    if is_tar(head) or (not head.strip(b"\0") and path.suffix.lower() == ".tar"):
        return True
    return has_container_name(path.name) and is_compressed(path) and (is_tar(_head_or_nothing(path)) or _is_cut(path))


def has_container_name(name: str) -> bool:
    """Return whether the name of a file is that of a tar or a zip."""
    return _NAMES.search(name) is not None


def is_tar(head: bytes) -> bool:
    """Return whether a block is the header of a tar, by its checksum, which the oldest kinds have too."""
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _head_or_nothing(path: Path) -> bytes:
    try:
        return read_at_most(path, tarfile.BLOCKSIZE)
    except ReadError:
        return b""


def _is_cut(path: Path) -> bool:
    """Return whether a compressed file ends before its first block."""
    return len(_head_or_nothing(path)) < tarfile.BLOCKSIZE


def describe_zip(path: Path) -> str | None:
    """Return which kind of document a zip file is; None if it is a container of files."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except _DAMAGES:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "arrays of numpy (npz)"
    if "[Content_Types].xml" in names:
        return "an Excel workbook" if any(name.startswith("xl/") for name in names) else "a document of Office"
    if "mimetype" in names and "content.xml" in names:
        return "an OpenDocument"
    suffixes = {PurePosixPath(name.lower()).suffix for name in names}
    if ".kml" in suffixes and suffixes <= _KMZ_SUFFIXES:
        return "a KMZ, pictures for Google Earth"
    return None


def find_zarr(path: Path) -> str | None:
    """Return the folder of the Zarr store in a zip file, empty for its root; None if it holds none."""
    try:
        with zipfile.ZipFile(path) as file:
            folders = [PurePosixPath(n).parent for n in file.namelist() if PurePosixPath(n).name in ZARR_NAMES]
    except _DAMAGES:
        return None
    if not folders:
        return None
    top = min(folders, key=lambda folder: len(folder.parts))
    return "" if top == PurePosixPath() else str(top)


def is_data_name(name: str, names: Container[str]) -> bool:
    """Return whether a member can be data, by its name and those of the others: an ASCII grid, and no signature."""
    path = PurePosixPath(name.replace("\\", "/"))
    hidden = any(part.startswith(".") and part not in (".", "..") for part in path.parts)
    folder = {part.lower() for part in path.parts} & _NO_DATA_FOLDERS
    suffix = path.suffix.lower()
    named = suffix in _TEXT_SUFFIXES and _NO_DATA_STEMS.match(path.name) is not None
    signature = suffix == ".asc" and name[: -len(suffix)] in names
    return not (hidden or folder or named or signature or suffix in _NO_DATA_SUFFIXES)


# --- entries --------------------------------------------------------------------------------------------------


def list_entries(path: Path, copies: CopyFolder, depth: int = 1) -> list[Entry]:
    """Return the members of a container that can be data, those of containers within it too.

    Parameters
    ----------
    path
        The container, on the disk.
    copies
        Folder for what has to be unfolded to be listed.
    depth
        Number of containers that this one lies in, and one.

    Raises
    ------
    ReadError
        If it cannot be read at all, holds nothing, or unfolds to an absurd size.
    """
    if re.search(r"\.zarr\.t", path.name.lower()):
        raise ReadError(path, _ZARR_IN_TAR)  # before gigabytes are unfolded
    listing = _list_zip(path, copies) if _is_zip(path) else _list_tar(path, copies)
    entries = []
    for entry in listing:
        nested = has_container_name(entry.name)
        entries += _list_nested(entry, path, copies, depth) if nested else [entry]
    if not entries:
        raise ReadError(path, "a container without any file that can be data. Unpack it and look")
    return entries


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    return head.startswith(_ZIP_MAGICS) or (path.suffix.lower() == ".zip" and not is_tar(head))


def _list_nested(entry: Entry, outer: Path, copies: CopyFolder, depth: int) -> list[Entry]:
    if depth >= MAX_DEPTH:
        reason = f"lies in {depth} containers, one in another. Unpack the outer ones"
        return [Entry(entry.name, _refuse(outer, reason))]
    inner = copies.new_folder(outer.name) / safe_member_path(entry.name).name
    try:
        entry.copy(inner)
        if not is_container(inner):
            return [entry]
        found = list_entries(inner, copies, depth + 1)
    except ReadError as error:
        return [Entry(entry.name, _refuse(outer, error.reason))]
    return [replace(one, name=f"{entry.name}{SEPARATOR}{one.name}") for one in found]


def _refuse(path: Path, reason: str) -> Callable[[Path], None]:
    def copy(_: Path) -> None:
        raise ReadError(path, reason)

    return copy


@contextmanager
def _container_errors(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except ReadError:
        raise
    except _DAMAGES as error:
        raise ReadError(path, f"the {kind} is truncated or damaged ({error}). Get it again") from error


def _check_size(path: Path, size: int) -> None:
    limit = max(MAX_UNFOLDED, MAX_RATIO * path.stat().st_size)
    if size > limit:
        raise ReadError(
            path,
            f"unfolds to {size / 2**30:.1f} GiB, more than {limit / 2**30:.1f}, as only damaged or malicious files do. "
            "Unpack it yourself if you trust it",
        )


def _write(source: IO[bytes], target: Path, size: int, path: Path) -> None:
    """Write a member of a known size to a path; never a part of it."""
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise ReadError(
            path,
            f"a copy of {size / 2**20:.0f} MiB does not fit into {target.parent} ({free / 2**20:.0f} MiB free). "
            "Unpack it elsewhere, or set TMPDIR to a larger folder",
        )
    part = target.with_name(target.name + ".part")
    with part.open("wb") as out:
        copied = copy_until(source, out, size)
    if copied != size:
        raise ReadError(path, f"{size} bytes announced, {copied} found: the container is truncated or damaged")
    part.replace(target)


# --- zip ------------------------------------------------------------------------------------------------------


def _list_zip(path: Path, copies: CopyFolder) -> Iterator[Entry]:
    with _container_errors(path, "zip"):
        archive = copies.keep(zipfile.ZipFile(path))
        names = set(archive.namelist())
        files = (info for info in archive.infolist() if not info.is_dir())
        infos = {info.filename: info for info in files if is_data_name(info.filename, names)}
        _check_size(path, sum(info.file_size for info in infos.values()))
        for name, info in infos.items():
            yield Entry(name, _zip_copier(archive, info, path), info.file_size)


def _zip_copier(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Callable[[Path], None]:
    def copy(target: Path) -> None:
        if info.flag_bits & 0x1:
            raise ReadError(path, "is encrypted with a password. Unpack it with the password first, e.g. with 7z x")
        try:
            with _container_errors(path, "zip"), archive.open(info) as source:
                _write(source, target, info.file_size, path)
        except NotImplementedError as error:
            reason = f"is compressed by a method that Python cannot read ({error}). Unpack it first, e.g. with 7z x"
            raise ReadError(path, reason) from error

    return copy


# --- tar ------------------------------------------------------------------------------------------------------


def _list_tar(path: Path, copies: CopyFolder) -> Iterator[Entry]:
    plain, damage = _unfold(path, copies) if is_compressed(path) else (path, None)
    with _container_errors(path, "tar"):
        archive = copies.keep(tarfile.open(plain, "r:"))  # noqa: SIM115 (closed with the folder of copies)
        lock = threading.Lock()  # the members are read through one file
        infos, found = _read_headers(archive, plain)
        if any(PurePosixPath(name).name in ZARR_NAMES for name in infos):
            raise ReadError(path, _ZARR_IN_TAR)
        damage = damage or found
        for name, info in infos.items():
            if is_data_name(name, infos):
                yield Entry(name, _tar_copier(archive, info, lock, path), info.size)
        if damage is not None:
            reason = f"truncated or damaged after {len(infos)} members ({damage}). Get it again"
            yield Entry("", _refuse(path, reason))


def _unfold(path: Path, copies: CopyFolder) -> tuple[Path, str | None]:
    """Write the tar in a compressed file, as far as it is intact; return its path and what is damaged."""
    plain = copies.new_folder(path.name) / "unfolded.tar"
    limit = max(MAX_UNFOLDED, MAX_RATIO * path.stat().st_size)
    try:
        with plain.open("wb") as out, open_uncompressed(path) as source:
            copied = copy_until(source, out, limit)
    except ReadError as error:
        if plain.stat().st_size < tarfile.BLOCKSIZE:
            raise
        return plain, error.reason
    if copied > limit:
        _check_size(path, copied)
    return plain, None


def _read_headers(archive: tarfile.TarFile, plain: Path) -> tuple[dict[str, tarfile.TarInfo], str | None]:
    """Return the files and hard links of a tar by name (of equal names the last one), and what is damaged.

    tarfile ends without a word at a damaged header, so the mark of the end, a block of zeros, is looked for.
    """
    infos: dict[str, tarfile.TarInfo] = {}
    try:
        for info in archive:
            if info.isreg() or info.islnk():
                infos.pop(info.name, None)
                infos[info.name] = info
    except _DAMAGES as error:
        return infos, str(error)
    with plain.open("rb") as file:
        file.seek(archive.offset)
        end = file.read(tarfile.BLOCKSIZE)
    return infos, None if end and not end.strip(b"\0") else "its end is missing"


def _tar_copier(archive: Any, info: tarfile.TarInfo, lock: threading.Lock, path: Path) -> Callable[[Path], None]:
    def copy(target: Path) -> None:
        with lock, _container_errors(path, "tar"):
            try:
                source = archive.extractfile(info)
            except KeyError as error:
                raise ReadError(path, f"is a link to {info.linkname!r}, which the tar does not hold") from error
            size = info.size if info.isreg() else archive._find_link_target(info).size
            _write(source, target, size, path)

    return copy
