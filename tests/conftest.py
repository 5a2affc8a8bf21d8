"""Fixtures that several folders of tests share, and the markers of tests by their folder or file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from helpers.paths import REAL_DATA

# The same examples every time, however slow the machine is today.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

#: Markers of all tests in a file or folder; pyproject.toml says what they mean, the Makefile which of them run when.
MARKERS = {
    "cli/test_demo.py": "slow",
    "contrib": "pysteps",
    "datasets/test_archives.py": "training",
    "datasets/test_pseudo_nwp.py": "slow",
    "experiments": "training",
    "fuzzing": "process",
    "kernels/test_cache.py": "slow",
    "kernels/test_gpu_ptx.py": "slow",
    "kernels/test_gpu_simulated.py": "heavy",
    "learned/test_network.py": "training",
    "learned/test_train.py": "training",
    "nightly/test_browser.py": "browser",
    "nightly/test_commands.py": "process",
    "nightly/test_distributed.py": "process",
    "nightly/test_run.py": "process",
    "nightly/test_warnings.py": "slow",
    "nowcasters/test_pysteps.py": "pysteps",
    "nowcasters/test_pysteps_blending.py": "pysteps",
    "test_docs.py": "process",
    "test_notebooks.py": "notebook",
    "test_readme.py": "slow",
    "test_speed.py": "slow",
    "test_wheel.py": "process",
    "verification/test_evaluation.py": "process",
    "watch/test_process.py": "process",
    "webmap/test_browser.py": "browser",
}
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Mark tests by their file or folder, and those that need real data by their fixture."""
    absent = [name for name in MARKERS if not (TESTS / name).exists()]
    if absent:
        raise pytest.UsageError(f"tests/conftest.py marks files that do not exist: {', '.join(absent)}")
    for item in items:
        place = item.path.relative_to(TESTS).as_posix() if item.path.is_relative_to(TESTS) else ""
        for name, marker in MARKERS.items():
            if place == name or place.startswith(f"{name}/"):
                item.add_marker(marker)
        if "real" in item.fixturenames:
            item.add_marker("real_data")


if REAL_DATA.is_dir():
    os.environ["HYBRIDCAST_DATA_MIRROR"] = str(REAL_DATA)  # what tests fetch is taken from there too


@pytest.fixture(scope="session")
def real():
    """Return a function from a path or glob below the real data to the sorted list of files; it skips if none exist."""

    def find(pattern: str) -> list[Path]:
        files = sorted(REAL_DATA.glob(pattern))
        if not files:
            pytest.skip(f"real data missing: {REAL_DATA / pattern}")
        return files

    return find


@pytest.fixture(scope="session")
def eight_days(real):
    """Return radar and gauges of Gothenburg, eight days of July 2015."""
    from hybridcast.radar import open_radar
    from hybridcast.stations import open_stations

    gauges = [
        *real("openmrg/8d_20150722/openmrg_municp_gauge_8d.nc"),
        *real("openmrg/8d_20150722/openmrg_smhi_gauge_8d.nc"),
    ]
    return open_radar(real("openmrg/8d_20150722/openmrg_rad_8d.nc")).load(), open_stations(gauges)


@pytest.fixture(scope="session")
def openrainer(real):
    """Return radar and gauges of Emilia-Romagna, two and a half hours of September 2022."""
    from hybridcast.radar import open_radar
    from hybridcast.stations import open_stations

    return open_radar(real("openrainer/openrainer_RAD.nc")).load(), open_stations(real("openrainer/openrainer_AWS.nc"))


@pytest.fixture(scope="session")
def small_training():
    """Return the settings of a training that takes a few seconds, without a network."""
    from hybridcast.learned.boosting import BoostingSettings
    from hybridcast.learned.training.samples import Sampling
    from hybridcast.learned.training.settings import TrainingSettings

    sampling = Sampling(leads=(15, 30, 60), cells=120, cases=3)
    boosting = BoostingSettings(trees=8, leaves=8, min_rows=50, threads=1)
    return TrainingSettings(sampling=sampling, boosting=boosting, folds=3)


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Write six events of simulated rain in three regions; return the path of their list."""
    from helpers.synthetic import write_archive

    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def small_model(small_training, pytestconfig, tmp_path_factory):
    """Return a small trained model, which pytest's cache keeps until the code that trains it changes."""
    from helpers.small_model import load_or_train

    cache = getattr(pytestconfig, "cache", None)  # None with -p no:cacheprovider
    return load_or_train(cache.mkdir("models") if cache else tmp_path_factory.mktemp("models"), small_training)


@pytest.fixture(scope="session")
def model_folder(small_model, tmp_path_factory):
    """Return the folder of the small model."""
    from hybridcast.learned.trained_model import save_model

    return save_model(small_model, tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def with_network(small_model):
    """Return the small model with a network of arbitrary weights."""
    from helpers.small_model import add_network

    return add_network(small_model)


@pytest.fixture
def set_threads(monkeypatch):
    """Return `parallel.set_threads`, with small fields split among threads too; the number is restored afterwards."""
    from hybridcast_kernels import parallel

    before = parallel.threads()
    monkeypatch.setattr(parallel, "LEAST_WORK", 64)
    yield parallel.set_threads
    parallel.set_threads(before)


@pytest.fixture
def run(monkeypatch, capsys):
    """Return a function that runs the command line in this process and returns exit status, output and errors."""
    from rich.console import Console

    from hybridcast.cli.app import main

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hybridcast", *map(str, arguments)])
        consoles = {"out": Console(width=400), "err": Console(stderr=True, width=400)}
        for module in [module for name, module in sys.modules.items() if name.startswith("hybridcast.cli")]:
            for name in consoles.keys() & vars(module).keys():
                monkeypatch.setattr(module, name, consoles[name])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
