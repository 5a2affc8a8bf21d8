"""Metadata of GeoTIFF: tags of GDAL under the names that services and converters give them.

A tag is searched in the band, then in the file, whatever the case of its name. Converted files carry names with the
path of the attribute in the original: ``dataset1_data1_what_gain`` (ODIM HDF5), ``rr#scale_factor`` (NetCDF). FMI
writes an XML document into one tag (``<GDALMetadata>``, whose items also have units).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree

_DOCUMENT = re.compile(r"<GDALMetadata>.*?</GDALMetadata>", re.DOTALL)


class Tag(NamedTuple):
    """Value of a tag, and its unit where the tag states it."""

    value: str
    unit: str = ""


class Tags:
    """Tags of one band and of its file.

    Parameters
    ----------
    file
        File opened with rasterio.
    band
        Number of the band, from 1.
    """

    def __init__(self, file: Any, band: int) -> None:
        shared = _collect(file.tags())
        if sum(interpretation.name != "alpha" for interpretation in file.colorinterp) > 1:
            shared = {name: tag for name, tag in shared.items() if name not in _OF_ONE_FRAME}
        self._layers = [_collect(file.tags(band)), shared]

    def find(self, *names: str) -> Tag | None:
        """Return the first of several tags that exists and is not empty."""
        for layer in self._layers:
            for name in names:
                found = _lookup(layer, name)
                if found is not None:
                    return found
        return None

    def number(self, *names: str) -> float | None:
        """Return the first of several tags as a number; None if there is none, or it is no number."""
        found = self.find(*names)
        try:
            return None if found is None else float(found.value)
        except ValueError:
            return None

    def attributes(self) -> dict[Hashable, str]:
        """Return all tags as texts, with their units, those of the band first."""
        merged: dict[Hashable, str] = {}
        for layer in self._layers[::-1]:
            merged |= {name.replace(" ", "_"): f"{tag.value} {tag.unit}".strip() for name, tag in layer.items()}
        return merged


#: Attributes of ODIM HDF5 and NetCDF, which converters name by their path.
_CONVERTED = frozenset(
    {"gain", "offset", "nodata", "undetect", "quantity", "startdate", "starttime", "enddate", "endtime"}
    | {"units", "scale_factor", "add_offset", "_fillvalue", "missing_value"}
)
_OF_ONE_FRAME = frozenset({"time", "valid_time", "observation time"})


def _collect(tags: Mapping[str, str]) -> dict[str, Tag]:
    collected = {name.lower().strip(): Tag(text.strip()) for name, text in tags.items() if text.strip()}
    for tag in list(collected.values()):
        collected |= dict(_parse_document(tag.value))
    return collected


def _parse_document(text: str) -> Iterator[tuple[str, Tag]]:
    found = _DOCUMENT.search(text)
    if found is None:
        return
    try:
        items = ElementTree.fromstring(found[0]).findall("Item")
    except ElementTree.ParseError:
        return
    for item in items:
        if item.text and item.text.strip():
            yield item.get("name", "").lower().strip(), Tag(item.text.strip(), item.get("unit", ""))


def _lookup(tags: Mapping[str, Tag], name: str) -> Tag | None:
    """Return the tag of a name, else the only value of the tags of converted files whose names end with it."""
    if name in tags or name not in _CONVERTED:
        return tags.get(name)
    pattern = re.compile(rf"^(?!(?:time|x|y|lat|lon|latitude|longitude)#).*(what_|#){re.escape(name)}$")
    ends = {tag for other, tag in tags.items() if pattern.match(other)}
    return ends.pop() if len(ends) == 1 else None
