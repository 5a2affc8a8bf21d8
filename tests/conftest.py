"""What the tests share: where the real files are, and a skip that names the one that is missing."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import settings

from helpers.paths import REAL_DATA

if TYPE_CHECKING:
    from hybridcast.learned.trained_model import TrainedModel

# The same examples every time, however slow the machine is today.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

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


@pytest.fixture(scope="session")
def small_training():
    """Settings of a training that takes a second or two."""
    from hybridcast.learned.boosting import BoostingSettings
    from hybridcast.learned.network import NetworkSettings
    from hybridcast.learned.training.samples import Sampling
    from hybridcast.learned.training.train import TrainingSettings

    sampling = Sampling(leads=(15, 30, 60), cells=120, cases=3)
    boosting = BoostingSettings(trees=8, leaves=8, least_rows=50, threads=1)
    network = NetworkSettings(widths=(4, 6), steps=12, batch=2, crop=20, check_every=4, seeds=(0,))
    return TrainingSettings(sampling=sampling, boosting=boosting, folds=3, network=network)


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Six events of simulated rain in three regions: the path of their list."""
    from helpers.synthetic import write_archive

    return write_archive(tmp_path_factory.mktemp("archive"))


class Training(NamedTuple):
    """A training that was done, and what it said."""

    model: TrainedModel
    work: Path
    lines: list[str]


@pytest.fixture(scope="session")
def training(archive, small_training, tmp_path_factory):
    """Train a small model on the archive."""
    from hybridcast.datasets.events import load_events
    from hybridcast.learned.training.train import train

    work, lines = tmp_path_factory.mktemp("work"), []
    return Training(train(load_events(archive), work, settings=small_training, report=lines.append), work, lines)


@pytest.fixture(scope="session")
def model_folder(training, tmp_path_factory):
    """Give the folder of the small model."""
    from hybridcast.learned.trained_model import save_model

    return save_model(training.model, tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def with_network(training):
    """Give the small model with a network that says something, whether its training kept one or not."""
    pytest.importorskip("torch")
    from hybridcast.learned.network import Network, NetworkSettings, initial

    settings = NetworkSettings(widths=(4, 6), seeds=(0, 3))
    generator = np.random.default_rng(0)
    parameters = {"base": np.zeros((8, 6, 3), np.float32)}
    parameters["base"][..., 0] = np.linspace(-4, -9, 6)
    parameters["base"][..., 1] = 2.5
    for seed in settings.seeds:
        made = {name: value.detach().numpy() for name, value in initial(settings, seed).items()}
        made["last.weight"] = generator.normal(0, 0.2, made["last.weight"].shape).astype(np.float32)
        parameters |= {f"{seed}.{name}": value for name, value in made.items()}
    plain = training.model.without_network.blend
    weights = 0.75 * np.insert(plain.weights, -1, 1 / 3, axis=-1)
    blend = replace(plain, members=(*plain.members, "network"), weights=weights.astype(np.float32))
    return replace(training.model, network=Network(parameters, settings), blend=blend, plain=plain)


@pytest.fixture
def set_threads(monkeypatch):
    """Give `parallel.set_threads`, with small fields split among threads too; the number is put back after."""
    from hybridcast_kernels import parallel

    before = parallel.threads()
    monkeypatch.setattr(parallel, "LEAST_WORK", 64)
    yield parallel.set_threads
    parallel.set_threads(before)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process; give exit status, output and errors."""
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
