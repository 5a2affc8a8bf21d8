"""Measure how many questions the API of `hybridcast serve` answers on this computer.

Run it with the folder of a map page whose forecast file is in it, such as that of ``hybridcast demo -o out``::

    python notebooks/api_load.py out --seconds 10

The server runs in a process of its own, as it does in use; clients ask for random points, for areas of 20 km, or for
files of the page, one after the other each. Printed are answers per second, and the duration of an answer.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Ask = Callable[[random.Random], str]


def main() -> None:
    """Start the server, ask it, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--port", type=int, default=8766)
    given = parser.parse_args()
    command = [sys.executable, "-m", "hybridcast", "serve", str(given.folder), "--port", str(given.port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        latest, first = wait_for(given.port)
        print(f"first answer, which reads the forecast: {first:.1f} s; {latest['members']} members")
        for name, ask in questions(latest).items():
            for clients in given.clients:
                print(f"{name}, {clients} clients: {measure(given.port, ask, clients, given.seconds)}")
    finally:
        server.terminate()
        server.wait(20)


def wait_for(port: int) -> tuple[dict, float]:
    """Return what there is of the forecast, and the duration of that answer."""
    for _ in range(600):
        started = time.perf_counter()
        try:
            return json.loads(get(http.client.HTTPConnection("127.0.0.1", port, timeout=120), "/latest")), (
                time.perf_counter() - started
            )
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not answer")


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    """Return an answer; stop if it is an error of the server."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status >= 500:
        raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
    return body


def questions(latest: dict) -> dict[str, Ask]:
    """Return functions that make up a question."""
    (south, west), (north, east) = latest["south_west"], latest["north_east"]
    names = ("x", "y") if latest["is_local"] else ("lon", "lat")
    high, wide = (10_000.0, 10_000.0) if latest["is_local"] else (0.1, 0.2)

    def point(draw: random.Random) -> tuple[float, float]:
        return draw.uniform(west + wide, east - wide), draw.uniform(south + high, north - high)

    def position(draw: random.Random) -> str:
        return "/position?" + "&".join(f"{name}={value}" for name, value in zip(names, point(draw), strict=True))

    def area(draw: random.Random) -> str:
        x, y = point(draw)
        corners = ((x - wide, y - high), (x + wide, y - high), (x + wide, y + high), (x - wide, y + high))
        return "/area?polygon=" + ";".join(f"{a},{b}" for a, b in corners)

    return {"points": position, "areas of 20 km": area, "latest.js": lambda _: "/latest.js"}


def measure(port: int, ask: Ask, clients: int, seconds: float) -> str:
    """Return answers per second and their duration, with so many clients at a time."""
    durations: list[float] = []
    end = time.perf_counter() + seconds

    def run(number: int) -> None:
        draw, connection = random.Random(number), http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while (started := time.perf_counter()) < end:
            get(connection, ask(draw))
            durations.append(time.perf_counter() - started)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    middle, high = np.percentile(durations, [50, 95]) * 1000
    return f"{len(durations) / seconds:.0f} answers per second, {middle:.0f} ms (median), {high:.0f} ms (95 %)"


if __name__ == "__main__":
    main()
