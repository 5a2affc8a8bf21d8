"""The command that compiles the kernels: it says what it did, and forecasts compile nothing afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import ROOT
from hybridcast.cli import warm
from hybridcast_kernels import devices

pytestmark = pytest.mark.skipif(devices.simulated(), reason="nothing is compiled")

#: Forecasts of another rain than that of the command: a single frame, a step, a file, gaps, other members.
FORECASTS = """
import sys, tempfile
from helpers import synthetic
from hybridcast import Advection, forecast, open_radar, save_forecast
from hybridcast.cli.warm import count_kernels
import hybridcast.core.zarr_folders

folder = tempfile.mkdtemp()
rain = synthetic.rain((140, 96), synthetic.translation(1.5, -1.0), frames=14, seen=synthetic.disc((140, 96), 0.6))
rain.to_netcdf(f"{folder}/rain.nc")
read = open_radar(f"{folder}/rain.nc")
save_forecast(forecast(read, lead_time="2h", members=3), f"{folder}/a.nc")
save_forecast(forecast(read, lead_time="30min", nowcaster=Advection()), f"{folder}/b.zarr")
forecast(rain.isel(time=[-1]), lead_time="30min").load()
hybridcast.core.zarr_folders.LARGE_GRID = 100
forecast(read.chunk(time=1), lead_time="2h", members=3, out=f"{folder}/c.zarr")
forecast(rain, lead_time="2h", out=f"{folder}/d.zarr")
print(count_kernels().compiled, count_kernels().loaded)
"""


def execute(*command, cache: Path) -> str:
    path = os.pathsep.join(map(str, (ROOT, ROOT / "kernels", ROOT / "tests")))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": path}
    done = subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.heavy
def test_afterwards_nothing_is_compiled(tmp_path):
    first = execute("-m", "hybridcast", "warm", cache=tmp_path)
    compiled = int(re.search(r"(\d+) kernels compiled; they are kept in", first)[1])
    assert compiled > 30
    assert str(tmp_path) in first.splitlines()[-1]
    assert len(list(tmp_path.rglob("*.nbi"))) > 30
    assert execute("-m", "hybridcast", "warm", cache=tmp_path).splitlines()[-1].startswith("no kernels compiled")
    again, loaded = map(int, execute("-c", FORECASTS, cache=tmp_path).split())
    assert again == 0
    assert loaded > 30


def test_it_says_what_it_did(run, monkeypatch):
    """With one of its forecasts, because each takes a second."""
    made = []
    monkeypatch.setattr(warm, "_list_forecasts", lambda: [("a forecast", lambda: made.append(1))])
    code, out, _ = run("warm")
    assert code == 0
    assert made == [1]
    assert "a forecast: 0 kernels compiled, 0 from the cache" in out
    assert "no kernels compiled; they are kept in" in out


@pytest.mark.slow
def test_all_ways_to_forecast_are_taken():
    names = []
    for name, make in warm._list_forecasts():
        make()
        names.append(name)
    assert len(names) == 5
    counted = warm.count_kernels()
    assert counted.compiled + counted.loaded > 30
    assert all(Path(folder).is_dir() for folder in counted.folders)


def test_the_help_says_where_and_when(run):
    code, out, _ = run("warm", "--help")
    assert code == 0
    plain = " ".join(out.split())
    for words in ("NUMBA_CACHE_DIR", "after each installation", "container"):
        assert words in plain
