"""Names of a package that are loaded when they are first used, so that importing the package stays light."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hybridcast.core.proj import load_pyproj


def load_lazily(package: str, contents: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the function ``__getattr__`` of a package (PEP 562).

    Parameters
    ----------
    package
        Name of the package.
    contents
        Module that defines each name, by name.

    Examples
    --------
    >>> load_lazily("hybridcast", {"rate_from_dbz": "hybridcast.core.field"})("rate_from_dbz").__name__
    'rate_from_dbz'
    """

    def load(name: str) -> Any:
        if name not in contents:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        load_pyproj()
        value = getattr(importlib.import_module(contents[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
