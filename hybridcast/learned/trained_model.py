"""A trained model on disk: a folder of plain parts and a manifest that says what they are. No pickle.

``manifest.json``         what it was made of and for, and the SHA-256 of every part
``boosting-<rate>.txt``   LightGBM's own text of the model for a threshold (mm/h)
``fused-<rate>.txt``      the same for the trees that look at every source, where the model was trained with others
``weights.safetensors``   coefficients of the linear members and of the blends
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

from hybridcast.datasets.registry import packaged_path
from hybridcast.errors import InputError
from hybridcast.learned.blend import Blend
from hybridcast.learned.boosting import Boosting
from hybridcast.learned.logistic import LogisticMember
from hybridcast.learned.network import Network, NetworkSettings
from hybridcast.learned.nwp_stage import NwpStage, SourceMembers
from hybridcast.predictors.registry import ALL_PREDICTORS, PREDICTORS, get_transforms

FORMAT = 2
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
    linear: tuple[LogisticMember, ...]
    blend: Blend
    spacing: float
    """Size of the cells it was trained on, m."""
    about: dict[str, Any] = field(default_factory=dict)
    """Data sets, splits, scores, versions and settings of the training: plain JSON."""
    network: Network | None = None
    plain: Blend | None = None
    """The blend for where the network cannot be asked; there is one if there is a network."""
    sources: NwpStage | None = None
    """What is asked where there is a model's rain, if samples of the training had any."""

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
    forests = {"boosting": model.boosting}
    if model.sources is not None:
        forests["fused"] = model.sources.members.fused
    parts = {
        _part_of(name, threshold): text.encode()
        for name, forest in forests.items()
        for threshold, text in zip(forest.thresholds, forest.texts, strict=True)
    }
    tensors = {member.name: np.ascontiguousarray(member.coefficients) for member in model.linear}
    tensors["blend"] = np.ascontiguousarray(model.blend.weights)
    if model.plain is not None:
        tensors["plain"] = np.ascontiguousarray(model.plain.weights)
    if model.sources is not None:
        tensors["nwp"] = np.ascontiguousarray(model.sources.members.alone.coefficients)
        tensors["inside"] = np.ascontiguousarray(model.sources.inside.weights)
        tensors["outside"] = np.ascontiguousarray(model.sources.outside.weights)
    parts[WEIGHTS] = save_tensors(tensors)
    if model.network is not None:
        arrays = {name: np.ascontiguousarray(value) for name, value in model.network.parameters.items()}
        parts[NETWORK_PART] = save_tensors(arrays)
    return parts


def _part_of(forest: str, threshold: float) -> str:
    return f"{forest}-{threshold:g}.txt"


def _manifest(model: TrainedModel, sums: dict[str, str]) -> dict[str, Any]:
    units = {predictor.name: predictor.units for predictor in PREDICTORS}
    return {
        "format": FORMAT,
        "spacing_m": model.spacing,
        "thresholds_mm_per_h": list(model.boosting.thresholds),
        "features": [{"name": name, "units": units[name]} for name in model.boosting.predictors],
        "linear": [_linear_told(member) for member in model.linear],
        "blend": _blend_told(model.blend),
        "network": None if model.network is None else asdict(model.network.settings),
        "sources": None if model.sources is None else _sources_told(model.sources, units),
        "about": model.about,
        "sha256": sums,
    }


def _linear_told(member: LogisticMember) -> dict[str, Any]:
    return {
        "name": member.name,
        "columns": list(member.columns),
        "transforms": list(member.transforms),
        "leads_min": list(member.leads),
    }


def _blend_told(blend: Blend) -> dict[str, Any]:
    return {"members": list(blend.members), "leads_min": list(blend.leads)}


def _sources_told(stage: NwpStage, units: dict[str, str]) -> dict[str, Any]:
    return {
        "features": [{"name": name, "units": units[name]} for name in stage.members.fused.predictors],
        "nwp": _linear_told(stage.members.alone),
        "inside": _blend_told(stage.inside),
        "outside": _blend_told(stage.outside),
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
    folder = packaged_path("model") if path == DEFAULT else Path(path).expanduser()
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
    if manifest["sources"] is not None:
        asked += [entry["name"] for entry in manifest["sources"]["features"]]
        asked += manifest["sources"]["nwp"]["columns"]
    unknown = [name for name in asked if name not in ALL_PREDICTORS]
    if unknown:
        raise InputError(
            f"{folder} asks for the predictors {', '.join(unknown)}",
            "predictors are known to this version",
            "Install the version that made the model, or train it again",
        )


def _checked(model: TrainedModel, folder: Path) -> TrainedModel:
    """Refuse coefficients of other shapes than the manifest says."""
    count = len(model.blend.thresholds)
    stage = model.sources
    linear = model.linear if stage is None else (*model.linear, stage.members.alone)
    shapes = {
        f"coefficients of {m.name}": (m.coefficients.shape, (len(m.leads), count, len(m.columns) + 1)) for m in linear
    }
    for blend in (model.blend, model.plain or model.blend, *(() if stage is None else (stage.inside, stage.outside))):
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
    predictors = tuple(entry["name"] for entry in manifest["features"])
    thresholds = tuple(map(float, manifest["thresholds_mm_per_h"]))
    tensors = load_tensors(parts[WEIGHTS])
    linear = tuple(_linear(entry, tensors) for entry in manifest["linear"])
    of_blend = manifest["blend"]
    members, leads = tuple(of_blend["members"]), tuple(of_blend["leads_min"])
    network = _network(manifest, parts)
    plain = None
    if network is not None:
        plain = Blend(tuple(name for name in members if name != NETWORK), thresholds, leads, tensors["plain"])
    return TrainedModel(
        boosting=_forests("boosting", parts, thresholds, predictors),
        linear=linear,
        blend=Blend(members, thresholds, leads, tensors["blend"]),
        spacing=float(manifest["spacing_m"]),
        about=manifest["about"],
        network=network,
        plain=plain,
        sources=None if manifest["sources"] is None else _stage(manifest["sources"], parts, tensors, thresholds),
    )


def _linear(entry: dict[str, Any], tensors: dict[str, Any]) -> LogisticMember:
    columns = tuple(entry["columns"])
    # without an entry, a model is older than declared transforms, which reproduce those that it was fitted with
    transforms = tuple(entry.get("transforms") or get_transforms(columns))
    return LogisticMember(entry["name"], columns, transforms, tuple(entry["leads_min"]), tensors[entry["name"]])


def _forests(
    name: str, parts: dict[str, bytes], thresholds: tuple[float, ...], predictors: tuple[str, ...]
) -> Boosting:
    return Boosting(tuple(parts[_part_of(name, t)].decode() for t in thresholds), thresholds, predictors)


def _stage(
    told: dict[str, Any], parts: dict[str, bytes], tensors: dict[str, Any], thresholds: tuple[float, ...]
) -> NwpStage:
    predictors = tuple(entry["name"] for entry in told["features"])
    members = SourceMembers(_linear(told["nwp"], tensors), _forests("fused", parts, thresholds, predictors))
    blends = (
        Blend(tuple(told[k]["members"]), thresholds, tuple(told[k]["leads_min"]), tensors[k])
        for k in ("inside", "outside")
    )
    return NwpStage(members, *blends)


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
