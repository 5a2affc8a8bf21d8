"""A trained model on disk: a folder of plain parts and a manifest that says what they are. No pickle.

``manifest.json``         what it was made of and for, and the SHA-256 of every part
``boosting-<rate>.txt``   LightGBM's own text of the model for a threshold (mm/h)
``weights.safetensors``   coefficients of the linear members and of the blend
``network.safetensors``   parameters of the small network, where there is one; its settings are in the manifest
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from hybridcast.datasets import packaged
from hybridcast.errors import InputError
from hybridcast.features import FEATURES, NAMES
from hybridcast.learned.blend import Blend
from hybridcast.learned.boosting import Boosting
from hybridcast.learned.linear import LinearMember
from hybridcast.learned.network import Network, NetworkSettings

FORMAT = 1
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
NETWORK_PART = "network.safetensors"
#: How the network is called among the members of a blend.
NETWORK = "network"
#: The model that comes with the package.
DEFAULT = "default"


@dataclass(frozen=True)
class TrainedModel:
    """Members and their weights, and where they come from."""

    boosting: Boosting
    linear: tuple[LinearMember, ...]
    blend: Blend
    spacing: float
    """Size of the cells it was trained on, m."""
    about: dict[str, Any] = field(default_factory=dict)
    """Data sets, splits, scores, versions and settings of the training: plain JSON."""
    network: Network | None = None
    plain: Blend | None = None
    """The blend for where the network cannot be asked; there is one if there is a network."""

    @property
    def without_network(self) -> TrainedModel:
        """The same without the network, and with the weights for that."""
        return self if self.plain is None else replace(self, network=None, blend=self.plain, plain=None)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all its parts."""
        parts = _parts(self)
        told = json.dumps({name: hashlib.sha256(parts[name]).hexdigest() for name in sorted(parts)})
        return hashlib.sha256(told.encode()).hexdigest()


def save_model(model: TrainedModel, folder: str | Path) -> Path:
    """Write a model, whole or not at all; a model that is there is replaced.

    Raises
    ------
    InputError
        If `folder` is there and is no model, or the folder it goes into does not exist.
    """
    target = Path(folder).expanduser()
    if not target.parent.is_dir():
        raise InputError(f"{target}", "the folder it goes into exists", f"Create {target.parent}")
    if target.exists() and not (target / MANIFEST).is_file():
        raise InputError(f"{target} is there and is no model", "a model is a folder of its own", "Choose another name")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        parts = _parts(model)
        for name, content in parts.items():
            (made / name).write_bytes(content)
        manifest = _manifest(model, {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()})
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if target.exists():
            target.rename(Path(scratch) / "old")
        made.rename(target)
    return target


def _parts(model: TrainedModel) -> dict[str, bytes]:
    parts = {
        _part_of(threshold): text.encode()
        for threshold, text in zip(model.boosting.thresholds, model.boosting.texts, strict=True)
    }
    tensors = {member.name: np.ascontiguousarray(member.coefficients) for member in model.linear}
    tensors["blend"] = np.ascontiguousarray(model.blend.weights)
    if model.plain is not None:
        tensors["plain"] = np.ascontiguousarray(model.plain.weights)
    parts[WEIGHTS] = save_tensors(tensors)
    if model.network is not None:
        arrays = {name: np.ascontiguousarray(value) for name, value in model.network.parameters.items()}
        parts[NETWORK_PART] = save_tensors(arrays)
    return parts


def _part_of(threshold: float) -> str:
    return f"boosting-{threshold:g}.txt"


def _manifest(model: TrainedModel, sums: dict[str, str]) -> dict[str, Any]:
    units = {feature.name: feature.units for feature in FEATURES}
    return {
        "format": FORMAT,
        "spacing_m": model.spacing,
        "thresholds_mm_per_h": list(model.boosting.thresholds),
        "features": [{"name": name, "units": units[name]} for name in model.boosting.features],
        "linear": [{"name": m.name, "columns": list(m.columns), "leads_min": list(m.leads)} for m in model.linear],
        "blend": {"members": list(model.blend.members), "leads_min": list(model.blend.leads)},
        "network": None if model.network is None else asdict(model.network.settings),
        "about": model.about,
        "sha256": sums,
    }


def load_model(path: str | Path = DEFAULT) -> TrainedModel:
    """Load a model after checking every part of it.

    Parameters
    ----------
    path
        The folder, or ``"default"`` for the model that comes with the package.

    Raises
    ------
    InputError
        If it is no model, of another format, changed or incomplete, or asks for predictors that are not known.
    """
    folder = packaged("model") if path == DEFAULT else Path(path).expanduser()
    manifest = _read_manifest(folder)
    try:
        parts = {name: _read_part(folder, name, wanted) for name, wanted in manifest["sha256"].items()}
        _check_predictors(manifest, folder)
        return _checked(_assembled(manifest, parts), folder)
    except (KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"{folder}: {error}", "a model has all its parts", "Get the model again") from error


def _check_predictors(manifest: dict[str, Any], folder: Path) -> None:
    """Refuse a model that asks for what is not known."""
    asked = [entry["name"] for entry in manifest["features"]]
    asked += [name for entry in manifest["linear"] for name in entry["columns"]]
    unknown = [name for name in asked if name not in NAMES]
    if unknown:
        raise InputError(
            f"{folder} asks for the predictors {', '.join(unknown)}",
            "predictors are known to this version",
            "Install the version that made the model, or train it again",
        )


def _checked(model: TrainedModel, folder: Path) -> TrainedModel:
    """Refuse coefficients of other shapes than the manifest says."""
    count = len(model.blend.thresholds)
    shapes = {
        f"coefficients of {m.name}": (m.coefficients.shape, (len(m.leads), count, len(m.columns) + 1))
        for m in model.linear
    }
    for blend in (model.blend, model.plain or model.blend):
        words = f"weights of the blend of {len(blend.members)} members"
        shapes[words] = blend.weights.shape, (len(blend.leads), count, len(blend.members) + 1)
    for name, (found, wanted) in shapes.items():
        if found != wanted:
            raise InputError(
                f"{folder}: the {name} have the shape {found}",
                f"the manifest makes it {wanted}",
                "Get the model again",
            )
    return model


def _assembled(manifest: dict[str, Any], parts: dict[str, bytes]) -> TrainedModel:
    features = tuple(entry["name"] for entry in manifest["features"])
    thresholds = tuple(map(float, manifest["thresholds_mm_per_h"]))
    tensors = load_tensors(parts[WEIGHTS])
    linear = tuple(
        LinearMember(entry["name"], tuple(entry["columns"]), tuple(entry["leads_min"]), tensors[entry["name"]])
        for entry in manifest["linear"]
    )
    of_blend = manifest["blend"]
    members, leads = tuple(of_blend["members"]), tuple(of_blend["leads_min"])
    network = _network(manifest, parts)
    plain = None
    if network is not None:
        plain = Blend(tuple(name for name in members if name != NETWORK), thresholds, leads, tensors["plain"])
    return TrainedModel(
        boosting=Boosting(tuple(parts[_part_of(t)].decode() for t in thresholds), thresholds, features),
        linear=linear,
        blend=Blend(members, thresholds, leads, tensors["blend"]),
        spacing=float(manifest["spacing_m"]),
        about=manifest["about"],
        network=network,
        plain=plain,
    )


def _network(manifest: dict[str, Any], parts: dict[str, bytes]) -> Network | None:
    told = manifest["network"]
    if told is None:
        return None
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
    }
    return Network(load_tensors(parts[NETWORK_PART]), NetworkSettings(**settings))


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{folder}: no {MANIFEST} ({error.strerror})",
            "a model is a folder that holds one",
            "Check the path, or make a model with: hybridcast train --out MODEL",
        ) from error
    except ValueError as error:
        raise InputError(f"{folder / MANIFEST}: {error}", "the manifest is JSON", "Get the model again") from error
    if not isinstance(manifest, dict):
        raise InputError(
            f"{folder / MANIFEST} holds {type(manifest).__name__}", "the manifest is an object", "Get the model again"
        )
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{folder} is of format {manifest.get('format')!r}",
            f"this version reads format {FORMAT}",
            "Install the version that made the model, or train it again",
        )
    return manifest


def _read_part(folder: Path, name: str, wanted: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise InputError(
            f"{folder / name}: {error.strerror}", "a model has all its parts", "Get the model again"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise InputError(
            f"{folder / name} has the SHA-256 {found[:12]}..., not {wanted[:12]}...",
            "a part is the one that the manifest names",
            "Get the model again; if the change is meant, train the model again",
        )
    return content
