"""What the tests share: where the real files are, and a skip that names the one that is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, however slow the machine is today.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

ROOT = Path(__file__).parent.parent
REAL_DATA = Path(os.environ.get("HYBRIDCAST_DATA_MIRROR", ROOT.parent / "shared" / "realdata"))
if REAL_DATA.is_dir():
    os.environ["HYBRIDCAST_DATA_MIRROR"] = str(REAL_DATA)  # what tests fetch is taken from there too


@pytest.fixture(scope="session")
def real():
    """Give a function from a path or glob below the real data to the sorted list of files there."""

    def find(pattern: str) -> list[Path]:
        files = sorted(REAL_DATA.glob(pattern))
        if not files:
            pytest.skip(f"real data missing: {REAL_DATA / pattern}")
        return files

    return find


@pytest.fixture
def set_threads(monkeypatch):
    """Give `parallel.set_threads`, with small fields split among threads too; the number is put back after."""
    from hybridcast_kernels import parallel

    before = parallel.threads()
    monkeypatch.setattr(parallel, "LEAST_WORK", 64)
    yield parallel.set_threads
    parallel.set_threads(before)
