"""A small model without a network, trained once and kept by a digest of all that its training depends on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from helpers import synthetic
from helpers.paths import ROOT
from hybridcast.datasets.events import load_events
from hybridcast.learned.network import CHANNELS, OUTPUTS, Network, NetworkSettings
from hybridcast.learned.network_inputs import CONDITIONS
from hybridcast.learned.network_member import NetworkMember
from hybridcast.learned.trained_model import TrainedModel, load_model, save_model
from hybridcast.learned.training.settings import TrainingSettings
from hybridcast.learned.training.train import train
from hybridcast.learned.unet import parameter_shapes

#: Packages that a training computes with.
PACKAGES = ("lightgbm", "numba", "numpy", "scipy", "xarray")
#: Beginnings of environment variables that choose among instructions of the processor.
PROCESSOR = ("ATEN_", "NPY_", "NUMBA_", "OPENBLAS_")


def load_or_train(cache: Path, settings: TrainingSettings) -> TrainedModel:
    """Return the model in the folder `cache`, trained on the simulated archive first if the folder has none.

    The model is written into a folder of its own that is renamed afterwards, so that two runs may train at the same
    time: the first one to finish is kept.
    """
    kept = cache / digest(settings)
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix=".part-") as scratch:
            (Path(scratch) / "archive").mkdir()
            events = load_events(synthetic.write_archive(Path(scratch) / "archive"))
            model = train(events, Path(scratch) / "work", settings=settings, report=[].append)
            made = save_model(model, Path(scratch) / "model")
            try:
                made.rename(kept)
            except OSError:  # another run was faster
                if not kept.exists():
                    raise
    return load_model(kept)


def digest(settings: TrainingSettings) -> str:
    """Return a digest of the settings, the code that trains, the simulated archive and the libraries."""
    found = hashlib.sha256(repr(settings).encode())
    versions = [platform.python_version(), platform.processor(), *map(importlib.metadata.version, PACKAGES)]
    processor = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(PROCESSOR))
    found.update(repr([versions, processor]).encode())
    for path in sorted([*code_of_trainings(), Path(__file__), Path(synthetic.__file__)]):
        found.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:12]


def code_of_trainings() -> Iterator[Path]:
    """Yield the source files of `hybridcast.learned` and of the layers below it, as pyproject.toml lists them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    names = [name for layer in layers[layers.index("hybridcast.learned") :] for name in layer.split(" | ")]
    for name in names:
        place = (ROOT if name.startswith("hybridcast.") else ROOT / "kernels").joinpath(*name.split("."))
        yield from place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]


def add_network(model: TrainedModel) -> TrainedModel:
    """Return the model with a network of arbitrary weights, which has a quarter of the weight of the blend."""
    settings = NetworkSettings(widths=(4, 6), seeds=(0, 3))
    generator = np.random.default_rng(0)
    parameters = {"base": np.zeros((8, 6, 3), np.float32)}
    parameters["base"][..., 0] = np.linspace(-4, -9, 6)
    parameters["base"][..., 1] = 2.5
    for seed in settings.seeds:
        for name, shape in parameter_shapes(CHANNELS, CONDITIONS, OUTPUTS, settings.widths).items():
            scale = 0.2 if name == "last.weight" else np.sqrt(2 / np.prod(shape[1:])) if name.endswith("weight") else 0
            parameters[f"{seed}.{name}"] = generator.normal(0, scale, shape).astype(np.float32)
    plain = model.without("network").blend
    weights = 0.75 * np.insert(plain.weights, -1, 1 / 3, axis=-1)
    blend = replace(plain, members=(*plain.members, "network"), weights=weights.astype(np.float32))
    members = {**model.members, "network": NetworkMember(Network(parameters, settings))}
    return replace(model, members=members, blends=(blend, plain))
