"""The API of `hybridcast serve`, and the page that it serves: read-only, and nothing outside of the folder.

``/latest``, ``/position`` and ``/area`` answer with JSON; ``/openapi.json`` describes them, and ``/api`` is a page that
explains and tries them without a network.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles

from hybridcast._version import __version__
from hybridcast.errors import InputError
from hybridcast.webmap.newest import Newest, NoForecastError, OutsideError

MAX_CORNERS = 500
"""Largest number of corners of an area."""
#: Folders that are not served: what the loop of `hybridcast watch` keeps.
_PRIVATE = ("state",)
_EXPECTED = "longitude,latitude;longitude,latitude;longitude,latitude"
_RETRY_AFTER = "5"
_Message = MutableMapping[str, Any]

Latitude = Annotated[float | None, Query(ge=-90, le=90, description="Degrees north.")]
Longitude = Annotated[float | None, Query(ge=-360, le=360, description="Degrees east.")]
X = Annotated[float | None, Query(description="Instead: x in the coordinates of the radar grid, m.")]
Y = Annotated[float | None, Query(description="Instead: y in the coordinates of the radar grid, m.")]
Corners = Annotated[
    str,
    Query(max_length=20_000, description=f"Corners as {_EXPECTED}; x,y in m if the place of the grid is not known."),
]


def make_app(folder: Path, *, hosts: tuple[str, ...] = (), tiles: str | None = None) -> FastAPI:
    """Return the application that serves a folder.

    Parameters
    ----------
    folder
        Folder of a map page.
    hosts
        Names by which it may be called, so that no page of another site can reach it; by default any.
    tiles
        URL of map tiles, from whose server the page may load pictures.
    """
    title = "hybridcast: what the newest forecast says"
    app = FastAPI(title=title, version=__version__, docs_url=None, redoc_url=None)
    _add_errors(app)
    _add_answers(app, Newest(folder))
    app.mount("/", FolderFiles(directory=folder, html=True), name="files")
    app.add_middleware(SafeHeaders, policy=_make_policy(tiles))
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*hosts])
    return app


# --- answers --------------------------------------------------------------------------------------------------


def _add_answers(app: FastAPI, newest: Newest) -> None:
    @app.get("/latest", summary="What there is of the newest forecast")
    def latest() -> dict[str, Any]:
        return newest.get().describe()

    @app.get("/position", summary="What the newest forecast says of a point")
    def position(lat: Latitude = None, lon: Longitude = None, x: X = None, y: Y = None) -> dict[str, Any]:
        """Rates with quantiles of the members, probabilities, minutes to rain and to its end, and amounts.

        Unknown values are null, never 0. The point stands for the cell of the radar around it.
        """
        loaded = newest.get()
        return loaded.ask(loaded.make_point(lat, lon, x, y))

    @app.get("/area", summary="What the newest forecast says of an area")
    def area(polygon: Corners) -> dict[str, Any]:
        """As for a point, of the mean over the area and of its wettest cell, member by member."""
        loaded = newest.get()
        return loaded.ask(loaded.make_area(parse_corners(polygon)))

    @app.get("/api", include_in_schema=False, response_class=HTMLResponse)
    def explain() -> str:
        return (resources.files("hybridcast.webmap") / "page" / "api.html").read_text(encoding="utf-8")


def parse_corners(text: str) -> list[tuple[float, float]]:
    """Return the corners of an area, longitude and latitude, from text.

    Raises
    ------
    InputError
        If they are no numbers, or too few or too many.

    Examples
    --------
    >>> parse_corners("24.8,60.1; 25.2,60.1; 25.2,60.3")
    [(24.8, 60.1), (25.2, 60.1), (25.2, 60.3)]
    """
    try:
        corners = [tuple(float(number) for number in corner.split(",")) for corner in text.split(";")]
    except ValueError as error:
        raise InputError(f"polygon = {text[:60]!r}", "corners are numbers", f"Write {_EXPECTED}") from error
    if any(len(corner) != 2 for corner in corners) or not np.isfinite(np.array(corners, float)).all():
        raise InputError(f"polygon = {text[:60]!r}", "a corner is two numbers", f"Write {_EXPECTED}")
    if not 3 <= len(corners) <= MAX_CORNERS:
        rule = f"an area has 3 to {MAX_CORNERS}"
        raise InputError(f"polygon has {len(corners)} corners", rule, "Add corners, or leave some out")
    return [(one, other) for one, other in corners]


# --- errors ---------------------------------------------------------------------------------------------------


def _add_errors(app: FastAPI) -> None:
    def answer(status: int, message: str, **headers: str) -> JSONResponse:
        return JSONResponse({"error": message}, status, headers=headers)

    @app.exception_handler(InputError)
    def refuse(request: Request, error: InputError) -> JSONResponse:
        return answer(404 if isinstance(error, OutsideError) else 400, str(error))

    @app.exception_handler(RequestValidationError)
    def explain(request: Request, error: RequestValidationError) -> JSONResponse:
        found = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
        return answer(400, f"{found}. See /api for what can be asked.")

    @app.exception_handler(NoForecastError)
    def wait(request: Request, error: NoForecastError) -> JSONResponse:
        return answer(503, f"no forecast can be asked: {error}", **{"Retry-After": _RETRY_AFTER})


# --- files ----------------------------------------------------------------------------------------------------


class FolderFiles(StaticFiles):
    """The files of a folder, without those that are hidden or private, and without links that lead outside."""

    def lookup_path(self, path: str) -> tuple[str, Any]:
        """Return the path on the disk and its state; nothing if it is not served."""
        if "\0" in path:  # which older versions of starlette pass on to the system
            return "", None
        found, state = super().lookup_path(path)
        if state is None:
            return "", None
        parts = Path(found).relative_to(Path(str(self.directory)).resolve()).parts
        if any(part.startswith(".") for part in parts) or parts[:1] in [(name,) for name in _PRIVATE]:
            return "", None
        return found, state


def _make_policy(tiles: str | None) -> str:
    """Return what the page may load: its own files, and pictures from the server of the tiles."""
    server = f" {urlsplit(tiles).scheme}://{urlsplit(tiles).netloc.replace('{s}', '*')}" if tiles else ""
    rules = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": f"'self' data:{server}",
        "connect-src": "'self'",
        "frame-ancestors": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


class SafeHeaders:
    """Adds headers to each answer that tell browsers to load nothing else and to guess nothing."""

    def __init__(self, app: Callable[..., Awaitable[None]], policy: str) -> None:
        self._app = app
        headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "no-cache",
        }
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(
        self, scope: _Message, receive: Callable[[], Awaitable[_Message]], send: Callable[[_Message], Awaitable[None]]
    ) -> None:
        """Answer a request."""

        async def send_with_headers(message: _Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)
