"""A process that compiles the kernels computes the same bits as one that loads them from numba's cache."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from helpers.paths import ROOT
from hybridcast_kernels import devices

# Widths that no vector of the processor divides: the last cells of a row are the ones that may be rounded differently.
CODE = """
import hashlib
import numpy as np
from hybridcast_kernels import advection_cpu, planes_cpu, trajectories
from hybridcast_kernels.lattice_noise_cpu import LatticeTime, LatticeWindow, lattice_noise
from hybridcast_kernels.realizations_cpu import CurvePlanes, Nodes, RainCurve, draw

def members(columns, rng):
    window, places = LatticeWindow(-3, 5, 60, columns), Nodes(4, 1.5)
    time = LatticeTime.at(47.0, np.array([6.0, 11.0, 20.0, 40.0]))
    noise = lattice_noise(window, 3, 7, np.array([0.4, 0.7, 0.5, 0.2], np.float32), time)
    air = -np.sort(-rng.random((4, 15, columns // 4 + 1)), axis=0).astype(np.float32)
    here = np.indices(air.shape[1:]).astype(np.float32) * 4 + np.float32(1.2)
    seen, curve = np.zeros((60, columns), np.float32), RainCurve(np.array([0.1, 1, 5, 10], np.float32), 8.0, 200.0)
    rain = np.empty((3, 60, columns), np.float32)
    draw(CurvePlanes(air, None, places, here, here, places), curve, seen, seen, noise, window, seen + 1, rain)
    return noise, rain

for columns in (117, 131, 250):
    rng = np.random.default_rng(columns)
    flow = rng.normal(0, 1, (2, 60, columns)).astype(np.float32)
    leads = np.array([5, 10, 20, 45, 60], np.float32)
    field = rng.gamma(1, 1, (1, 60, columns)).astype(np.float32)
    planes = rng.random((2, 5, 16, columns // 4 + 1)).astype(np.float32)
    cells = np.argwhere(np.ones((60, columns))).astype(np.int32)
    known = np.zeros((5, 60, columns), np.float32)
    print("advect", columns, hashlib.md5(advection_cpu.advect(field, flow, leads)).hexdigest())
    print("carry", columns, hashlib.md5(planes_cpu.carry(planes, 4, 0.5, flow, leads, known)).hexdigest())
    noise, rain = members(columns, rng)
    print("noise", columns, hashlib.md5(noise).hexdigest())
    print("rain", columns, rain.max() > 5, np.isnan(rain).any(), hashlib.md5(rain).hexdigest())
    print("departure_points", columns, hashlib.md5(trajectories.departure_points(flow, leads, cells)).hexdigest())
"""


@pytest.mark.skipif(devices.simulated(), reason="nothing is compiled")
def test_compiled_and_cached_kernels_compute_the_same_bits(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT / "kernels")}
    command = [sys.executable, "-c", CODE]
    compiled, cached = (
        subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.splitlines()
        for _ in range(2)
    )
    assert len(compiled) == 15
    assert sum(" True False " in line for line in compiled) == 3
    assert compiled == cached
