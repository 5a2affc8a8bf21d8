"""pyproj works in a process in which ecCodes has loaded its own PROJ before."""

from __future__ import annotations

import subprocess
import sys

import pytest

CASES = {
    "any file by xarray before the first use": "import hybridcast, xarray; xarray.backends.list_engines()",
    "ecCodes before the package": "import eccodes, hybridcast",
    "ecCodes behind pyproj": "import pyproj, eccodes, hybridcast",
}


@pytest.mark.parametrize("case", CASES)
def test_places_are_right_whatever_was_imported_first(case):
    """xarray lists its engines, cfgrib among them, if a file is opened without one (rioxarray #187)."""
    field = "hybridcast.precipitation([[[0.0]]], time=['2024-06-01'], y=[0.0], x=[0.0], crs='EPSG:3067')"
    code = f"{CASES[case]}; f = {field}; from hybridcast.core.field import crs_of; print(crs_of(f).to_epsg())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "3067"), done.stderr
