"""Make ``outlines.npz``: coastlines, borders and land of Natural Earth, 1:10 million, for maps.

The shapes are taken from the npm package world-atlas 2.0.2 (``countries-10m.json``, Natural Earth 4.1, public domain;
the package has the ISC licence). Run it in the folder of the unpacked package::

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz && cd package && python .../data/make_outlines.py

A line that is shared by two countries is a border; land consists of closed rings of lines. Coordinates are whole
multiples of 0.0036 degrees of longitude and 0.0017 degrees of latitude, as in the source; a line that crosses the date
line goes on beyond 180 degrees.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OUTPUT = Path(__file__).parent / "outlines.npz"


def main() -> None:
    """Convert the file in the current folder."""
    atlas = json.loads(Path("countries-10m.json").read_text(encoding="utf-8"))
    lines = [np.array(arc) for arc in atlas["arcs"]]
    (land,) = atlas["objects"]["land"]["geometries"]
    polygons = land["arcs"]
    assert land["type"] == "MultiPolygon"
    rings = [ring for polygon in polygons for ring in polygon]
    of_land = {number_of(one) for ring in rings for one in ring}
    borders = [number for number in range(len(lines)) if number not in of_land]
    turn = round(360.0 / atlas["transform"]["scale"][0])
    steps = np.concatenate([unroll(line, turn) for line in lines])
    np.savez_compressed(
        OUTPUT,
        steps=steps.astype(np.int32).T.copy(),
        line_sizes=np.array([len(line) for line in lines], np.int32),
        ring_lines=np.array([one for ring in rings for one in ring], np.int32),
        ring_sizes=np.array([len(ring) for ring in rings], np.int32),
        polygon_sizes=np.array([len(polygon) for polygon in polygons], np.int32),
        borders=np.array(borders, np.int32),
        scale=np.array(atlas["transform"]["scale"]),
        origin=np.array(atlas["transform"]["translate"]),
    )
    print(f"wrote {OUTPUT}: {len(lines)} lines, {len(rings)} rings, {OUTPUT.stat().st_size / 1e6:.2f} MB")


def unroll(line: NDArray[np.int64], turn: int) -> NDArray[np.int64]:
    """Return a line, its first point and the steps to the others, without steps of a turn."""
    unrolled = line.copy()
    unrolled[1:, 0] -= turn * np.round(line[1:, 0] / turn).astype(int)
    return unrolled


def number_of(reference: int) -> int:
    """Return the number of a line from a reference of TopoJSON, which is its complement if the line is reversed."""
    return reference if reference >= 0 else ~reference


if __name__ == "__main__":
    main()
