"""The wheel holds both packages and their data, and importing it is light."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

from helpers.paths import ROOT


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run_with(folder, code: str) -> str:
    environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", code]
    # in a folder of its own: Python looks in the current one first
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=folder).stdout


def test_both_packages_are_imported_from_the_wheel(unpacked):
    code = "import hybridcast, hybridcast_kernels; print(hybridcast.__file__); print(hybridcast_kernels.__file__)"
    lines = run_with(unpacked, code).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(str(unpacked)) for line in lines)


def test_registry_and_scene_are_in_the_wheel(unpacked):
    code = (
        "from hybridcast.datasets.registry import load_registry, scene_path; print(len(load_registry()), scene_path())"
    )
    count, path = run_with(unpacked, code).split()
    assert int(count) >= 10
    assert path.startswith(str(unpacked))


def test_the_wheel_registers_the_engine_of_xarray(unpacked):
    """It opens files in a fresh process, in which xarray has loaded ecCodes, with a PROJ of its own, before."""
    code = (
        "import xarray; data = xarray.open_dataset('hybridcast/data/scene.nc', engine='hybridcast'); "
        "print(*data.data_vars, data.spatial_ref.attrs['crs_wkt'][:4])"
    )
    assert run_with(unpacked, code).split() == ["precipitation_rate", "PROJ"]


def test_tests_and_notebooks_are_not(unpacked):
    assert sorted(p.name for p in unpacked.iterdir() if p.suffix != ".dist-info") == [
        "hybridcast",
        "hybridcast_kernels",
    ]


def test_the_map_page_is_in_the_wheel_with_the_licences_of_its_parts(unpacked):
    page = unpacked / "hybridcast" / "webmap" / "page"
    assert {"index.html", "map.js", "map.css", "api.html", "THIRD_PARTY.md"} <= {path.name for path in page.iterdir()}
    assert "BSD 2-Clause" in (page / "leaflet" / "LICENSE").read_text(encoding="utf-8")
    assert (unpacked / "hybridcast" / "data" / "outlines.npz").stat().st_size > 100_000
