"""A radar format for tests of sequences: a line of text for a file, such as ``rate 5 time=2020-01-01T00:05 sum=60``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybridcast.core.field import precipitation
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.errors import ForecastFileError, ReadError


class TextRadar:
    """Frames of one rate; what is not in the text is taken from the name, or usual."""

    NAME = "text"
    DESCRIPTION = "rates in text files"

    def __init__(self) -> None:
        self.decoded: list[str] = []

    def recognises(self, path, head):
        return head.startswith(b"rate")

    def read(self, path):
        self.decoded.append(path.name)
        rate, words = self._parse(path)
        if "damaged" in words:
            raise ReadError(path, "no rate in it")
        attrs = {"source": words.get("product", "a radar")}
        if "sum" in words:
            attrs["accumulation_interval_minutes"] = float(words["sum"])
        if "dbz" in words:
            attrs["z_r_relation"] = words["dbz"] or "Z = 200 R^1.6"
        axes = {"y": [0, 1000], "x": float(words.get("west", 0)) + 1000.0 * np.arange(3)}
        crs = words.get("crs", "EPSG:3035")
        times = self._times(path, words)
        return precipitation(np.full((times.size, 2, 3), rate), time=times, **axes, crs=crs, attrs=attrs)

    def _parse(self, path: Path):
        kind, rate, *words = path.read_text().split()
        if kind != "rate":
            raise ReadError(path, "no rate in it")
        return float(rate), dict((*word.split("=", 1), "")[:2] for word in words)

    def _times(self, path: Path, words):
        if "lead" in words:
            raise ForecastFileError(path, words["lead"])
        if "time" in words:
            return np.array(words["time"].split(","), "datetime64[ns]")
        return np.array([parse_time_in_name(path.name)])


class TimedTextRadar(TextRadar):
    """The same, but times can be read alone."""

    def read_times(self, path):
        return self._times(path, self._parse(path)[1])
