"""The server of `hybridcast serve`."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

from hybridcast.core.extras import extra
from hybridcast.errors import InputError, ReadError
from hybridcast.webmap.latest import LATEST
from hybridcast.webmap.scripts import read_script


def run_server(folder: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a folder with a map page until it is ended by Ctrl-C or SIGTERM.

    Parameters
    ----------
    folder
        Folder of the page.
    host, port
        Address to listen at; port 0 for one that is free.
    say
        Function that receives lines for people.

    Raises
    ------
    InputError
        If the folder has no page, or the address cannot be used.
    DependencyError
        If FastAPI or uvicorn is not installed.
    """
    root = find_page(folder)
    page = root / "index.html"
    with extra("serve", "hybridcast serve", f"or open {page} without it, or put the folder on any web server"):
        import uvicorn

        from hybridcast.webmap.api import make_app
    is_own = is_loopback(host)
    app = make_app(root, hosts=("localhost", "127.0.0.1", host) if is_own else (), tiles=_read_tiles(root))
    listening = listen(host, port)
    with listening:
        port = listening.getsockname()[1]
        name = f"[{host}]" if ":" in host else "localhost" if is_own else host
        say(f"http://{name}:{port}/ shows {root}; http://{name}:{port}/api explains the API. Ctrl-C ends it")
        if not is_own:
            say("note: other computers can read it too")
        settings = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=5)
        uvicorn.Server(settings).run(sockets=[listening])


def find_page(folder: Path) -> Path:
    """Return the folder of a page, resolved.

    Raises
    ------
    InputError
        If there is no page in it.
    """
    root = folder.expanduser().resolve()
    if (root / "index.html").is_file() and (root / LATEST).is_file():
        return root
    below = sorted(path.parent.name for path in root.glob(f"*/{LATEST}")) if root.is_dir() else []
    remedy = (
        f"Serve one of its folders: {', '.join(below)}"
        if below
        else "Write one with 'hybridcast map forecast.nc -o FOLDER', 'hybridcast demo -o FOLDER', or map = true for "
        "'hybridcast watch'"
    )
    raise InputError(f"{folder} has no map page", "a folder with index.html and latest.js is served", remedy)


def is_loopback(host: str) -> bool:
    """Return whether only this computer can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; `InputError` if the address cannot be used."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        found = f"--host {host} --port {port} cannot be used ({getattr(error, 'strerror', None) or error})"
        raise InputError(found, "a server listens at an address of this computer", "Choose another --port") from error


def _read_tiles(root: Path) -> str | None:
    try:
        tiles = read_script(root / "settings.js").get("tiles")
    except (ReadError, AttributeError):
        return None
    return None if tiles is None else str(tiles)
