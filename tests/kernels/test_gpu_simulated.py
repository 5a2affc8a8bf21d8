"""The tests of the CUDA kernels on numba's simulator, which has to be chosen before numba is imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from helpers.paths import ROOT
from hybridcast_kernels import devices

MODULES = ["tests/kernels/test_gpu.py", "tests/core/test_device.py"]


@pytest.mark.skipif(devices.simulated(), reason="they run on the simulator already")
def test_the_cuda_kernels_pass_on_the_simulator():
    pytest.importorskip("numba_cuda")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *MODULES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 50, done.stdout
