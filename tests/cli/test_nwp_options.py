"""The command line states what files of NWP do not, and chooses from an ensemble."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers.synthetic import moving_block

RUN = np.datetime64("2024-06-01T09:00", "ns")


@pytest.fixture
def rain(tmp_path):
    path = tmp_path / "rain.nc"
    moving_block().to_netcdf(path)
    return path


def nwp_file(path, values, dims, coords):
    """Write precipitation on the grid of the rain, with the coordinates of `dims` and the valid times 10 to 15 UTC."""
    axes = {
        "time": ("time", RUN + np.arange(1, 7) * np.timedelta64(1, "h"), {"standard_name": "time"}),
        "y": ("y", np.arange(48) * 1000.0, {"standard_name": "projection_y_coordinate", "units": "m"}),
        "x": ("x", np.arange(56) * 1000.0, {"standard_name": "projection_x_coordinate", "units": "m"}),
        "crs": ((), 0, pyproj.CRS("EPSG:3035").to_cf()),
        **coords,
    }
    rate = {"standard_name": "precipitation_amount", "units": "kg m-2", "grid_mapping": "crs"}
    shape = [len(axes[dim][1]) for dim in dims]
    data = xr.Dataset({"tp": (dims, np.broadcast_to(values, shape), rate)}, axes)
    data.to_netcdf(path, engine="h5netcdf")
    return path


def test_run_and_interval_are_options(run, rain, tmp_path):
    path = nwp_file(tmp_path / "nwp.nc", 1.0, ("time", "y", "x"), {})
    given = ["forecast", rain, "-o", tmp_path / "f.nc", "--lead-time", "10min", "--nwp", path, "--nwp-delay", "1h"]
    code, _, err = run(*given)
    assert code != 0
    assert "--nwp-run" in err
    code, _, err = run(*given, "--nwp-run", "2024-06-01T09:00")
    assert code != 0
    assert "nwp.nc" in err
    assert "--nwp-accumulation since-start" in err
    code, _, err = run(*given, "--nwp-run", "2024-06-01T09:00", "--nwp-accumulation", "hourly")
    assert "since-start or 1h" in err
    code, out, _ = run(*given, "--nwp-run", "2024-06-01T09:00", "--nwp-accumulation", "1h")
    assert code == 0
    assert "nwp run 2024-06-01T09:00:00Z (3.25 h old)" in out


def test_one_of_an_ensemble_is_an_option(run, rain, tmp_path):
    coords = {
        "percentile": ("percentile", [10.0, 50.0], {}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    path = nwp_file(tmp_path / "nwp.nc", 1.0, ("time", "percentile", "y", "x"), coords)
    given = ["forecast", rain, "-o", tmp_path / "f.nc", "--lead-time", "10min", "--nwp", path, "--nwp-delay", "1h"]
    code, _, err = run(*given, "--nwp-accumulation", "1h")
    assert code != 0
    assert "Choose one: --nwp-member p10" in err
    code, out, _ = run(*given, "--nwp-accumulation", "1h", "--nwp-member", "p50")
    assert code == 0
    assert "nwp run 2024-06-01T09:00:00Z" in out


def test_members_are_runs(run, rain, tmp_path):
    coords = {
        "realization": ("realization", [0, 1, 2], {"standard_name": "realization"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    path = nwp_file(tmp_path / "nwp.nc", 1.0, ("time", "realization", "y", "x"), coords)
    given = ["forecast", rain, "-o", tmp_path / "f.nc", "--lead-time", "10min", "--nwp", path, "--nwp-delay", "1h"]
    code, out, _ = run(*given, "--nwp-accumulation", "1h")
    assert code == 0
    for member in range(3):
        assert f"nwp run 2024-06-01T09:00:00Z member {member} (3.25 h old)" in out
