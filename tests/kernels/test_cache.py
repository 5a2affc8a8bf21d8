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
    assert len(compiled) == 9
    assert compiled == cached
