"""The package as a whole: importing is light and silent, names resolve, examples run."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
import subprocess
import sys

import pytest

import hybridcast
import hybridcast_kernels
from helpers import synthetic
from helpers.paths import ROOT

HEAVY = [
    "torch",
    "lightgbm",
    "pysteps",
    "matplotlib",
    "numba",
    "numba.cuda",
    "cv2",
    "xarray",
    "pandas",
    "dask",
    "scipy",
]


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    return result.stdout


def test_importing_is_light_and_silent():
    assert run("import hybridcast") == ""
    loaded = run(f"import sys, hybridcast; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_a_forecast_needs_no_optional_package():
    """Neither the learned members nor the baselines nor CUDA nor plots are loaded with the functions of the flow."""
    code = "import sys\nfrom hybridcast import open_radar, forecast, save_forecast, estimate_motion, advect\n"
    optional = ["torch", "lightgbm", "pysteps", "matplotlib", "cv2"]
    assert run(code + f"print([name for name in {optional} if name in sys.modules])").strip() == "[]"


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_the_command_loads_what_a_forecast_needs_only(tmp_path, suffix):
    """From a NetCDF file to the forecast on disk; torch, units, clusters and plots take as long to load as it does."""
    rain = synthetic.rain((60, 60), frames=4)
    rain.to_netcdf(tmp_path / "radar.nc")
    names = ["torch", "lightgbm", "pysteps", "matplotlib", "cv2", "distributed", "cf_xarray.units", "fastapi", "duckdb"]
    code = f"""
import contextlib, io, sys
sys.argv = ["hybridcast", "forecast", {str(tmp_path / "radar.nc")!r}, "--lead-time", "10min"]
sys.argv += ["-o", {str(tmp_path / "forecast") + suffix!r}]
from hybridcast.cli.app import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print([name for name in {names} if name in sys.modules])
"""
    assert run(code).strip() == "[]"
    assert (tmp_path / f"forecast{suffix}").exists()


def test_importing_the_kernels_starts_nothing():
    code = "import sys, threading, hybridcast_kernels.advection_cpu, hybridcast_kernels.flow_cpu\n"
    assert run(code + "print(threading.active_count(), 'xarray' in sys.modules)").strip() == "1 False"


@pytest.mark.parametrize("name", hybridcast.__all__)
def test_every_name_resolves(name):
    assert getattr(hybridcast, name) is not None
    assert name in dir(hybridcast)


@pytest.mark.parametrize("name", hybridcast.__all__)
def test_no_module_hides_a_name_of_the_package(name):
    assert importlib.util.find_spec(f"hybridcast.{name}") is None


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'forcast'"):
        _ = hybridcast.forcast


def test_the_version_is_the_one_installed():
    assert importlib.metadata.version("hybridcast") == hybridcast.__version__


@pytest.mark.slow
def test_every_example_runs():
    """Floats are compared to the precision that is written, because the last bits differ between processors."""
    folders = [*hybridcast.__path__, *hybridcast_kernels.__path__]
    command = [sys.executable, "-m", "pytest", "--doctest-modules", "-q", "-p", "no:cacheprovider", *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 40, done.stdout


def test_every_module_has_a_docstring():
    packages = (hybridcast, hybridcast_kernels)
    found = [module.name for one in packages for module in pkgutil.walk_packages(one.__path__, f"{one.__name__}.")]
    names = [name for name in found if not name.endswith("__main__")]  # importing that runs the command line
    assert len(names) > 100
    assert [name for name in names if not (importlib.import_module(name).__doc__ or "").strip()] == []
