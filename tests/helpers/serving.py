"""A web server on this computer that serves files from memory, badly if wanted, and a bucket of S3."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Site:
    """Files of a server by path, and how it answers."""

    files: dict[str, bytes]
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    """Functions that answer requests of a path instead."""
    ranges: bool = True
    """Whether parts of a file are sent."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each request, with the range."""
    url: str = ""

    def gets(self, path: str) -> int:
        """Return how often a path was requested."""
        return sum(request.startswith(f"GET {path}") for request in self.requests)


def _at_first(answer: Callable[[BaseHTTPRequestHandler], None], times: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return what answers so many times, and then serves the file."""
    left = [times]

    def limited(handler):
        left[0] -= 1
        if left[0] < 0:
            handler.serve_file()
        else:
            answer(handler)

    return limited


def refuse(status: int, times: int = 1000) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return an answer with a status; after so many times the file is served."""

    def answer(handler):
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return _at_first(answer, times)


def break_off(times: int = 1000) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return an answer that ends in the middle of the file; after so many times it is complete."""

    def answer(handler):
        body = handler.site.files[unquote(urlsplit(handler.path).path)]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.close_connection = True

    return _at_first(answer, times)


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer a request."""
        path = unquote(urlsplit(self.path).path)
        self.site.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        self.site.answers.get(path, type(self).serve_file)(self)

    def do_HEAD(self):
        """Answer a request for the head of an answer."""
        self.do_GET()

    def serve_file(self):
        """Send a file, a part of it, or the list of a folder."""
        path = unquote(urlsplit(self.path).path)
        body = self.site.files.get(path)
        if body is None:
            names = {p[len(path) :].split("/")[0] for p in self.site.files if p.startswith(path) and path.endswith("/")}
            body = "".join(f'<a href="{name}">{name}</a>\n' for name in sorted(names)).encode() if names else None
            self._send(404 if body is None else 200, body or b"", "text/html")
            return
        found = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.site.ranges else None
        if found is None:
            self._send(200, body, "application/octet-stream")
            return
        first, last = int(found[1]), min(int(found[2] or len(body) - 1), len(body) - 1)
        self._send(206, body[first : last + 1], "application/octet-stream", f"bytes {first}-{last}/{len(body)}")

    def _send(self, status, body, kind, part=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.site.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if part is not None:
            self.send_header("Content-Range", part)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Print nothing."""


@contextmanager
def serve(files: dict[str, bytes], **how) -> Iterator[Site]:
    """Serve files by path, such as ``/folder/a.txt``, until the end of the block."""
    site = Site({f"/{name.lstrip('/')}": body for name, body in files.items()}, **how)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def list_bucket(bucket: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return the answer of S3 to requests for the list of a bucket (ListObjectsV2)."""

    def answer(handler):
        query = parse_qs(urlsplit(handler.path).query)
        prefix = query.get("prefix", [""])[0]
        keys = [path[len(bucket) + 2 :] for path in handler.site.files if path.startswith(f"/{bucket}/")]
        here = {key for key in keys if key.startswith(prefix) and "/" not in key[len(prefix) :]}
        below = {f"{prefix}{key[len(prefix) :].split('/')[0]}/" for key in keys if key.startswith(prefix)} - here
        parts = [
            f"<Contents><Key>{key}</Key><Size>{len(handler.site.files[f'/{bucket}/{key}'])}</Size>"
            "<LastModified>2024-06-01T12:00:00.000Z</LastModified></Contents>"
            for key in sorted(here)
        ]
        parts += [f"<CommonPrefixes><Prefix>{p}</Prefix></CommonPrefixes>" for p in sorted(below) if p[:-1] not in here]
        found = f"<Name>{bucket}</Name><IsTruncated>false</IsTruncated>{''.join(parts)}"
        body = f"<ListBucketResult>{found}</ListBucketResult>"
        handler._send(200, body.encode(), "application/xml")

    return answer
