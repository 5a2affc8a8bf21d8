"""What is declared about the package is true: requirements, extras, versions, and the recipe for conda-forge."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from helpers.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
VERSION = runpy.run_path(str(ROOT / "hybridcast" / "_version.py"))["__version__"]
RECIPE = yaml.safe_load((ROOT / ".github" / "conda" / "recipe.yaml").read_text("utf-8"))
#: Names of packages on conda-forge that differ from those on PyPI.
ON_CONDA = {
    "cf-xarray": "cf_xarray",
    "dask": "dask-core",
    "duckdb": "python-duckdb",
    "eccodes": "python-eccodes",
    "matplotlib": "matplotlib-base",
    "netcdf4": "netcdf4",
    "opencv-python-headless": "py-opencv",
    "torch": "pytorch",
}
#: Packages that conda-forge lacks.
NOT_ON_CONDA = {"titanlib"}
#: What the extras of requirements bring that conda has no extras for: fsspec[http].
BROUGHT = {"aiohttp"}
#: Modules of the extras.
OPTIONAL = [
    *("cfgrib", "cv2", "distributed", "duckdb", "eccodes", "fastapi", "imageio_ffmpeg", "jinja2", "lightgbm"),
    *("matplotlib", "pyarrow", "pyogrio", "pysteps", "rasterio", "s3fs", "titanlib", "torch", "uvicorn"),
]


def on_conda(requirements: list[str]) -> set[str]:
    """Return requirements of pyproject.toml as conda-forge names them; those on extras of our own are left out."""
    parsed = [Requirement(text) for text in requirements]
    wanted = [one for one in parsed if one.name not in {*NOT_ON_CONDA, "hybridcast"}]
    return {f"{ON_CONDA.get(one.name.lower(), one.name)} {one.specifier}" for one in wanted}


def test_the_recipe_requires_what_the_project_does():
    run = {text for text in RECIPE["requirements"]["run"] if not text.startswith("python ")}
    assert run - BROUGHT == on_conda(PROJECT["dependencies"])
    assert any("http" in Requirement(text).extras for text in PROJECT["dependencies"])
    optional = [text for requirements in EXTRAS.values() for text in requirements]
    assert set(RECIPE["requirements"]["run_constraints"]) == on_conda(optional)
    assert PROJECT["requires-python"] == f">={RECIPE['context']['python_min']}"


def test_the_recipe_starts_and_builds_what_the_project_does():
    (entry,) = PROJECT["scripts"].items()
    assert RECIPE["build"]["python"]["entry_points"] == [" = ".join(entry)]
    assert RECIPE["about"]["license_file"] == PROJECT["license-files"]
    assert RECIPE["context"]["version"] == VERSION


def test_the_changelog_has_the_version_with_its_date_below_what_is_not_released():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings[0] == "Unreleased"
    number, date = re.fullmatch(r"([\d.]+) - (\d{4}-\d\d-\d\d)", headings[1]).groups()
    assert number == VERSION
    assert f"date-released: {date}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_every_extra_is_one_of_the_project_and_explained():
    folders = [*("hybridcast", "kernels", "notebooks/guide"), "README.md", "notebooks/getting_started.md"]
    paths = [path for name in folders for path in ([ROOT / name] if "." in name else (ROOT / name).rglob("*.*"))]
    text = "\n".join(path.read_text("utf-8") for path in paths if path.suffix in {".py", ".md"})
    named = set(re.findall(r"with extra\(\"(\w+)\"", text))
    listed = re.findall(r"(?:hybridcast|'\.)\[([\w,]+)\]'", text)
    assert {"plot", "grib", "gauges"} <= {name for group in listed for name in group.split(",")} | named
    assert named | {name for group in listed for name in group.split(",")} <= set(EXTRAS)
    page = (ROOT / "notebooks" / "getting_started.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page.partition("## A first forecast")[0], re.M)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == set(EXTRAS)


def test_all_is_all_but_what_needs_a_gpu_or_torch():
    (everything,) = EXTRAS["all"]
    assert Requirement(everything).extras == set(EXTRAS) - {"all", "cuda", "cuda12", "network"}


def test_every_requirement_of_an_extra_is_pinned_for_the_tests():
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    wanted = [*PROJECT["dependencies"], *(text for requirements in EXTRAS.values() for text in requirements)]
    names = {Requirement(text).name.lower() for text in wanted} - {"hybridcast"}
    assert names <= pinned


@pytest.mark.slow
def test_a_forecast_needs_no_package_of_an_extra(tmp_path):
    """From a CF NetCDF file to a forecast on disk, with members, places and the map, where none can be imported."""
    code = f"""
import sys
sys.modules.update(dict.fromkeys({OPTIONAL}))
from hybridcast import at_places, forecast, load_forecast, open_radar, read_places, save_forecast
from hybridcast.datasets import scene_path
from hybridcast.webmap import write_map
radar = open_radar(scene_path()).isel(time=slice(-12, None))
result = forecast(radar, members=2, lead_time="30min")
save_forecast(result, "forecast.nc")
write_map(load_forecast("forecast.nc"), "map", radar=radar)
print(load_forecast("forecast.nc").attrs["nowcaster"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == "hybridcast\n"
    assert (tmp_path / "map" / "index.html").is_file()
