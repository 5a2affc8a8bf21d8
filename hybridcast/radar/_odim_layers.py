"""Data groups of ODIM files, and their attributes as producers write them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hybridcast.core.netcdf import decode_text
from hybridcast.errors import ReadError

_TRUE = {"true", "1", "yes"}


class Layer(NamedTuple):
    """One data group; attributes of ``what``, ``where`` and ``how`` apply to the groups below (section 2.1)."""

    path: Path
    """The file."""
    name: str
    """Path of the group, such as ``dataset1/data1``."""
    chain: tuple[Any, ...]
    """The groups in which its attributes may be found, the nearest first."""

    @property
    def quantity(self) -> str:
        """Quantity of the data, such as ``RATE``."""
        return self.text("what", "quantity").upper()

    @property
    def values(self) -> Any:
        """The HDF5 dataset of the values."""
        return self.chain[0]["data"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns; a leading axis of one image is left out."""
        shape = tuple(self.values.shape)
        return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape

    def find(self, group: str, *keys: str) -> Any:
        """Return an attribute by any of its names from the nearest group that has it, or None."""
        for parent in self.chain:
            for key in keys:
                if group in parent and key in parent[group].attrs:
                    return parent[group].attrs[key]
        return None

    def text(self, group: str, *keys: str) -> str:
        """Return an attribute as text; empty if it is missing."""
        value = self.find(group, *keys)
        return "" if value is None else decode_text(value)

    def number(self, group: str, key: str) -> float | None:
        """Return an attribute as a number, also if it is an array of one or a text; None if it is missing."""
        value = self.find(group, key)
        if value is None or not np.size(value):
            return None
        item = np.ravel(value)[0]
        try:
            return float(decode_text(item) if isinstance(item, bytes | str) else item)
        except (TypeError, ValueError) as error:
            raise ReadError(self.path, f"{group}/{key} of {self.name} is {str(item)!r}, no number") from error

    def flag(self, group: str, key: str) -> bool | None:
        """Return a Boolean attribute, which ODIM writes as text; None if it is missing."""
        text = self.text(group, key)
        return None if not text else text.lower() in _TRUE


def list_layers(path: Path, file: Any) -> list[Layer]:
    """Return all data groups, without quality groups."""
    found = []
    for dataset in _list_numbered(file, "dataset"):
        for data in _list_numbered(file[dataset], "data"):
            group = file[dataset][data]
            if "data" in group:
                found.append(Layer(path, f"{dataset}/{data}", (group, file[dataset], file)))
    return found


def _list_numbered(group: Any, name: str) -> list[str]:
    numbers = [match[1] for key in group if (match := re.fullmatch(rf"{name}(\d+)", key))]
    return [f"{name}{number}" for number in sorted(numbers, key=int)]
