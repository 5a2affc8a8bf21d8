"""Files and Zarr stores behind URLs, through fsspec: ``https://``, ``s3://``, ``simplecache::`` and more.

Keys, accounts and the like are given in fsspec's own configuration (files in ``~/.config/fsspec`` or variables such as
``FSSPEC_S3``, https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration), never in a URL that is
stored in a forecast. Buckets of S3 are read anonymously where neither that configuration nor one of AWS exists.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from hybridcast.core.compression import describe_full_disk
from hybridcast.core.containers import ZARR_NAMES
from hybridcast.core.locations import SEPARATOR, CopyFolder
from hybridcast.errors import DependencyError, InputError, ReadError

log = logging.getLogger(__name__)

ATTEMPTS = 3
FIRST_WAIT = 0.5  # s, doubled with each further attempt
CONNECT_TIMEOUT, READ_TIMEOUT = 20, 60  # s
#: Protocols that stand before another URL and change how it is read.
CACHES = {"simplecache", "filecache", "blockcache", "cached"}
WRAPPERS = {*CACHES, "dir", "reference"}
#: And those whose file is a container.
CONTAINER_WRAPPERS = {"zip", "tar"}
_PROTOCOL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://|^[a-z]+::(?=.)")
_AWS_SETTINGS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_PACKAGES = {
    "s3": "'hybridcast[s3]'",
    "s3a": "'hybridcast[s3]'",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}
_OPENDAP = ". It is an address of OPeNDAP: give that of the file, with /fileServer/ in place of /dodsC/"
Result = TypeVar("Result")


class RemoteFile(NamedTuple):
    """A file system of fsspec and a path in it."""

    filesystem: Any
    path: str
    url: str
    """The complete URL, which may contain a key."""

    @property
    def address(self) -> str:
        """The URL for messages, without passwords and keys."""
        return hide_secrets(self.url)

    def child(self, path: str) -> RemoteFile:
        """Return another path in the same file system."""
        return RemoteFile(self.filesystem, path, _url_of(self, path))


def is_url(text: str) -> bool:
    """Return whether a text is a URL, and not a path on a disk."""
    return _PROTOCOL.match(text) is not None and not os.path.lexists(text)


def hide_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment; a chained one without those of its parts.

    Examples
    --------
    >>> hide_secrets("https://me:secret@example.org/a.h5?key=123")
    'https://example.org/a.h5'
    """
    return SEPARATOR.join(_hide_in_part(part) for part in url.split(SEPARATOR))


def _hide_in_part(part: str) -> str:
    scheme, mark, _ = part.partition("://")
    if not mark or scheme not in ("http", "https", "ftp", "sftp", "ssh", "webdav", "smb"):
        return part
    parts = urlsplit(part)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def get_name(url: str, has_time: Callable[[str], bool]) -> str:
    """Return the name of the file behind a URL: the end of its path, or a value of its query that has a time."""
    parts = urlsplit(url.rpartition(SEPARATOR)[2])
    values = [value for _, value in parse_qsl(parts.query)] if parts.scheme in ("http", "https") else []
    last = PurePosixPath(unquote(parts.path.rstrip("/"))).name or parts.netloc
    named = [PurePosixPath(value).name for value in values]
    return next((name for name in (last, *named) if has_time(name)), last)


# --- file systems ---------------------------------------------------------------------------------------------


def open_remote(url: str) -> RemoteFile:
    """Return the file system and the path of a URL.

    Raises
    ------
    DependencyError
        If a package for the protocol is not installed.
    InputError
        If there is no such protocol.
    ReadError
        If the server cannot be reached.
    """
    import fsspec

    protocols = [part.partition("://")[0] for part in url.split(SEPARATOR)]
    options = {protocol: found for protocol in protocols if (found := _get_options(protocol))}
    direct = options.get(protocols[0], {}) if len(protocols) == 1 else options
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **direct)
    except ImportError as error:
        package = next((_PACKAGES[protocol] for protocol in protocols if protocol in _PACKAGES), None)
        install = f"pip install {package}" if package else str(error)
        raise DependencyError(f"{hide_secrets(url)} needs a package that is not installed: {install}") from error
    except ValueError as error:
        raise InputError(
            f"the address {hide_secrets(url)!r} cannot be opened ({error})",
            "it begins with a protocol of fsspec, such as https:// or s3://",
            "Correct it, or download the file and give its path",
        ) from error
    except OSError as error:  # some file systems connect at once
        raise ReadError(hide_secrets(url), explain(error)) from error
    return RemoteFile(filesystem, path, url)


def _get_options(protocol: str) -> dict[str, Any]:
    if protocol in ("http", "https"):
        from fsspec.config import conf

        configured: Mapping[str, Any] = conf.get(protocol, {}).get("client_kwargs", {})
        return {"client_kwargs": {"trust_env": True, **configured}}  # with the proxies of the environment
    if protocol in ("s3", "s3a") and _is_anonymous(protocol):
        return {"anon": True}
    return {}


def _is_anonymous(protocol: str) -> bool:
    from fsspec.config import conf

    files = (Path("~/.aws/credentials"), Path("~/.aws/config"))
    configured = any(os.environ.get(name) for name in _AWS_SETTINGS) or any(f.expanduser().exists() for f in files)
    return not (conf.get(protocol) or configured)


def _url_of(parent: RemoteFile, path: str) -> str:
    """Return the URL of another path in the file system of a URL."""
    first, mark, rest = parent.url.partition(SEPARATOR)
    scheme = first.partition("://")[0]
    if "://" in path or not mark:
        return path if "://" in path else str(parent.filesystem.unstrip_protocol(path))
    if scheme in WRAPPERS and "://" not in first:  # such as simplecache::https://..., whose path is the other's
        inner = rest.partition("://")[0]
        return f"{first}{mark}{inner}://{path.lstrip('/')}"
    return f"{scheme}://{path}{mark}{rest}"


# --- finding --------------------------------------------------------------------------------------------------


def has_magic(url: str) -> bool:
    """Return whether a URL is a glob; a question mark starts the query of a web address, and is none there."""
    first = url.partition(SEPARATOR)[2] if url.partition(SEPARATOR)[0] in WRAPPERS else url
    web = first.startswith(("http://", "https://"))
    return re.search(r"[*\[]" if web else r"[*?\[]", first.partition("?")[0] if web else first) is not None


def find_files(remote: RemoteFile) -> list[RemoteFile]:
    """Return the files that a URL with a glob matches, in order of their names; `InputError` if there is none."""
    rule = "the server lists such files"
    try:
        found = with_retries(lambda: sorted(remote.filesystem.glob(remote.path)))
    except Exception as error:  # fsspec's file systems raise errors of many libraries
        found, rule = [], f"the server lists its files ({explain(error)})"
    if not found:
        raise InputError(
            f"no file matches {remote.address!r}", rule, "Check the address, or give those of the files themselves"
        )
    return [remote.child(str(path)) for path in found if "?" not in str(path) and not str(path).endswith("/")]


def exists(remote: RemoteFile) -> bool:
    """Return whether a server has a file; `ReadError` if the server cannot be asked."""
    try:
        remote.filesystem.info(remote.path)
    except FileNotFoundError as error:  # that of fsspec stands for any failure, with what happened as its cause
        cause = error.__cause__
        if isinstance(cause, Exception) and _status(cause) not in (404, 410) and is_network_error(cause):
            raise ReadError(remote.address, explain(cause)) from error
        return False
    except Exception as error:  # fsspec's file systems raise errors of many libraries
        raise ReadError(remote.address, explain(error)) from error
    return True


def is_zarr(remote: RemoteFile) -> bool:
    """Return whether a URL is a Zarr store: by its name, or if it could be that of a folder, by its metadata."""
    name = remote.path.rstrip("/").rpartition("/")[2]
    if name.lower().endswith(".zarr") or remote.url.startswith("reference:"):
        return True
    if "." in name or "?" in name:
        return False
    folder = remote.path.rstrip("/")
    try:
        return any(remote.filesystem.exists(f"{folder}/{file}") for file in ZARR_NAMES)
    except Exception:  # reading it as a file raises the error
        log.debug("cannot look for a Zarr store in %s", remote.address, exc_info=True)
        return False


#: What file systems raise where a part of a Zarr store is missing; in a zip it is `KeyError` with fsspec before 2026.9.
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, KeyError)


def open_in_zip(zipped: Any, folder: str) -> dict[str, Any]:
    """Return the arguments of `xarray.open_zarr` for a store in a folder of a zip, a file system of fsspec."""
    from zarr.storage import FsspecStore

    mapper = zipped.get_mapper(folder)
    return {"store": FsspecStore.from_mapper(mapper, read_only=True, allowed_exceptions=_MISSING)}


def open_zarr_store(remote: RemoteFile) -> dict[str, Any]:
    """Return the arguments of `xarray.open_zarr` for a store behind a URL."""
    wrapper, _, inner = remote.url.partition(SEPARATOR)
    if wrapper == "reference":
        return {"store": _open_references(inner)}
    direct = open_remote(inner) if wrapper in CACHES else remote  # chunks are read as they are needed
    return {"store": direct.filesystem.get_mapper(direct.path.rstrip("/"))}


def _open_references(url: str) -> Any:
    """Return a store whose chunks are parts of other files, listed in a JSON file of kerchunk's layout."""
    import fsspec
    from zarr.storage import FsspecStore

    options = {"asynchronous": True, "remote_options": {"asynchronous": True}}
    return FsspecStore(fsspec.filesystem("reference", fo=url, **options), path="", read_only=True)


# --- downloads ------------------------------------------------------------------------------------------------


def download(remote: RemoteFile, name: str, copies: CopyFolder) -> Path:
    """Download a file, and return its path; a download that breaks off leaves nothing.

    Raises
    ------
    ReadError
        If it cannot be downloaded, after several attempts where another one may help.
    """
    folder = copies.new_folder("download")
    target = folder / (re.sub(r"[^\w.+ -]", "-", name) or "file")
    part = target.with_name(target.name + ".part")
    try:
        filesystem = _be_patient(remote.filesystem)
        with_retries(lambda: filesystem.get_file(remote.path, str(part)))
    except Exception as error:  # fsspec's file systems raise errors of many libraries
        part.unlink(missing_ok=True)
        hint = _OPENDAP if "/dodsC/" in remote.url else ""
        raise ReadError(remote.address, explain(error) + hint) from error
    if not part.is_file():
        raise ReadError(remote.address, "a folder, and no Zarr store. Give the files in it, such as '.../*'")
    part.replace(target)
    return target


def _be_patient(filesystem: Any) -> Any:
    """Return a file system of the web with limits for a connection and for a pause, but not for a large download."""
    if "http" not in filesystem.protocol:
        return filesystem
    import aiohttp

    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT)
    options = filesystem.storage_options
    return type(filesystem)(**{**options, "client_kwargs": {**options.get("client_kwargs", {}), "timeout": limits}})


def with_retries(call: Callable[[], Result]) -> Result:
    """Call a function again, after a while, if the network failed; errors that will remain are raised at once."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except Exception as error:
            if not _may_pass(error):
                raise
            log.info("attempt %d failed: %r", attempt + 1, error)
            time.sleep(FIRST_WAIT * 2**attempt)
    return call()


def _may_pass(error: Exception) -> bool:
    """Return whether the same call may succeed later."""
    status = _status(error)
    if status is not None:
        return status in (408, 425, 429) or status >= 500
    lasting = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or isinstance(error, lasting) or _kinds(error) & _LASTING:
        return False
    return isinstance(error, OSError | TimeoutError) or "ClientError" in _kinds(error)


#: Errors of the client libraries that another attempt does not mend.
_LASTING = {"ClientConnectorDNSError", "ClientConnectorCertificateError", "InvalidURL", "NoCredentialsError"}
#: What errors mean, by the name of their class; the first that fits.
_MEANINGS = {
    "FileNotFoundError": "the server has no such file (404). Check the address; open services keep files for days only",
    "PermissionError": "the server refuses it{detail}. Check the address, and give the key or account in the "
    "configuration of fsspec (~/.config/fsspec/conf.json, or the variable FSSPEC_S3 for s3://)",
    "NoCredentialsError": "the server wants an account. Give it in the configuration of fsspec or of AWS",
    "ClientConnectorCertificateError": "the certificate of the server is not valid{detail}. Check the address",
    "ClientConnectorDNSError": "the host is not found. Check the address and the network",
    "gaierror": "the host is not found. Check the address and the network",
    "InvalidURL": "no valid address. Correct it",
    "TimeoutError": f"no answer within {CONNECT_TIMEOUT} s, or a pause of {READ_TIMEOUT} s. Check the network, or try "
    "later",
    "IsADirectoryError": "a folder, and no Zarr store. Give the files in it, such as '.../*'",
    "ClientPayloadError": "the download broke off{detail}. Try again",
    "Exception": "cannot be read from there{detail}. Check the address and the network",
}
_STATUS_KINDS = {401: "PermissionError", 403: "PermissionError", 404: "FileNotFoundError", 410: "FileNotFoundError"}


def explain(error: Exception) -> str:
    """Return what an error of the network means, and what helps."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return describe_full_disk()
    status = _status(error)
    if status is not None and status not in _STATUS_KINDS:
        return (
            f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
            + ". Try later, or download the file"
        )
    kinds = {_STATUS_KINDS[status]} if status is not None else _kinds(error)
    meaning = next(text for kind, text in _MEANINGS.items() if kind in kinds or kind == "Exception")
    return meaning.format(detail=f" ({_shorten(error)})")


def is_network_error(error: Exception) -> bool:
    """Return whether an error is of the network or of a server, not of the content of a file."""
    return _status(error) is not None or bool(_kinds(error) & {"ClientError", "TimeoutError", "PermissionError"})


def _status(error: Exception) -> int | None:
    """Return the status of the answer of a web server, if the error is one."""
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _kinds(error: Exception) -> set[str]:
    """Return the names of the classes of an error; the libraries that define them may not be installed."""
    return {kind.__name__ for kind in type(error).__mro__}


def _shorten(error: Exception) -> str:
    text = re.sub(r"(https?://)[^\s@/]*@", r"\1", re.sub(r"\?\S*", "", str(error)))
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
