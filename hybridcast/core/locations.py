"""Files that are not on the disk as such: members of containers, files behind a URL, and Zarr stores of both.

They are paths by name only. `Location.local` makes a copy on the disk when a reader needs one, in a temporary folder
that is removed when nothing refers to its locations any more, and at the end of the process at the latest.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from hybridcast.errors import ReadError

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # Path itself cannot be subclassed before Python 3.12

DOWNLOADS = 6
"""Files that are downloaded at the same time, as many as a browser takes from one server."""
SEPARATOR = "::"
"""Stands between a container and its member, as in ``archive.tar::member``."""


_ACTIVE: set[Path] = set()
"""Temporary folders that exist."""


def is_copy(path: Path) -> bool:
    """Return whether a file is a temporary copy, which is removed as soon as it is read."""
    return any(folder in path.parents for folder in _ACTIVE)


class Closable(Protocol):
    """Something open, such as a container."""

    def close(self) -> None:
        """Close it."""
        ...


Opened = TypeVar("Opened", bound=Closable)


class CopyFolder:
    """A temporary folder of copies, made when the first one is needed, and the containers that they come from.

    It is removed when the object is collected, at the end of the process, or by `remove`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: list[Path] = []
        self._opened: list[Closable] = []
        self._count = 0
        self._finalizer = weakref.finalize(self, _clean, self._folders, self._opened)

    def new_folder(self, name: str) -> Path:
        """Make an empty folder with a name in it, which tells where a copy is from, and return its path."""
        with self._lock:
            if not self._folders:
                self._folders.append(Path(tempfile.mkdtemp(prefix="hybridcast-")))
                _ACTIVE.add(self._folders[0])
            self._count += 1
            folder = self._folders[0] / str(self._count) / name
            folder.mkdir(parents=True)
            return folder

    def keep(self, opened: Opened) -> Opened:
        """Return a container, which is closed when the folder is removed."""
        self._opened.append(opened)
        return opened

    def remove(self) -> None:
        """Close the containers and remove the folder; no copy can be made afterwards."""
        self._finalizer()


def _clean(folders: list[Path], opened: list[Closable]) -> None:
    for one in opened:
        one.close()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        _ACTIVE.discard(folder)


class Location(_Path):
    """A file in a container or behind a URL: its name and its address as text, and a copy of it when needed.

    Parameters
    ----------
    address
        The address that messages show, such as ``archive.tar::member``; without passwords.
    source
        Makes the copy and returns its path; raises `ReadError` if that is impossible.
    name
        Name of the file, which may contain its time.
    size
        Its size in bytes, if that is known without a copy.
    """

    size: int | None
    _address: str
    _source: Callable[[], Any]
    _name: str
    _lock: threading.Lock
    _copy: Path | None
    _failure: str | None

    def __new__(cls, address: str, source: Callable[[], Any], name: str, size: int | None = None) -> Self:
        """Make the path; before Python 3.12 paths are built here."""
        self = super().__new__(cls, address)
        self._address, self._source, self._name, self.size = address, source, name, size
        self._lock, self._copy, self._failure = threading.Lock(), None, None
        return self

    def __init__(self, address: str, source: Callable[[], Any], name: str, size: int | None = None) -> None:
        if sys.version_info >= (3, 12):
            super().__init__(address)

    def __str__(self) -> str:
        return self._address

    def __repr__(self) -> str:
        return f"Location({self._address!r})"

    def __fspath__(self) -> str:
        return self._address

    @property
    def name(self) -> str:
        """Name of the file, without its container."""
        return self._name

    def local(self) -> Path:
        """Return the path of a copy on the disk, which is made at the first call; `ReadError` if it cannot be."""
        with self._lock:
            if self._failure is not None:
                raise ReadError(self._address, self._failure)
            copy = self._copy
            if copy is None or not copy.exists():
                copy = self._copy = self._make_copy()
            return copy

    def _make_copy(self) -> Path:
        try:
            return Path(self._source())
        except ReadError as error:  # another attempt would take as long as the first ones
            self._failure = error.reason
            raise

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self) -> tuple[Any, ...]:  # another process reads the copy
        return Path, (str(self.local()),)


class RemoteLocation(Location):
    """A file behind a URL, whose copy is a download."""


class ZarrLocation(Location):
    """A Zarr store in a zip or behind a URL, which is read in place; it looks like a folder.

    Parameters
    ----------
    address
        The address that messages show.
    source
        Opens the store, as the arguments of `xarray.open_zarr`; raises `ReadError` if that is impossible.
    name
        Name of the store.
    """

    def open_store(self) -> dict[str, Any]:
        """Return the arguments of `xarray.open_zarr`; `ReadError` if the store cannot be opened."""
        return dict(self._source())

    def local(self) -> Path:
        """Return the store itself: it is not copied."""
        return self

    def exists(self, **_: Any) -> bool:
        """Return True, without asking the server."""
        return True

    def is_dir(self, **_: Any) -> bool:
        """Return True: a store is a folder of chunks."""
        return True

    def is_file(self, **_: Any) -> bool:
        """Return False."""
        return False

    def is_symlink(self) -> bool:
        """Return False."""
        return False

    def iterdir(self) -> Any:
        """Yield the store itself: what is in it is not listed, which would be slow, but it is not empty."""
        yield self


def try_local(path: Path) -> Path | None:
    """Return a path on the disk: a copy of a location, or None if there can be none; any other path as it is."""
    try:
        return path.local() if isinstance(path, Location) else path
    except ReadError:  # it is raised again when the file is read
        return None


def prefetch(files: Iterable[Path]) -> None:
    """Download files behind URLs side by side; errors are raised when the files are read."""
    remote = [path for path in files if isinstance(path, RemoteLocation)]
    if len(remote) > 1:
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            list(pool.map(try_local, remote))


def safe_member_path(member: str) -> PurePosixPath:
    """Return the name of a member as a relative path that cannot leave a folder."""
    parts = [part for part in member.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return PurePosixPath(*[part.replace(":", "-") for part in parts] or ["member"])
