"""A trained model, and its storage: a folder of plain parts and a manifest that lists them. No pickle.

``manifest.json``
    members by name, blends, the data of the training, and the SHA-256 of every part
``blends.safetensors``
    weights of the blends
``<member>...``
    parts of each member: coefficients or parameters as ``<member>.safetensors``, trees as LightGBM's own text
    ``<member>-<rate>.txt`` for each threshold (mm/h)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save as save_tensors

from hybridcast.core.files import atomic_folder
from hybridcast.datasets.registry import packaged_path
from hybridcast.errors import InputError
from hybridcast.learned.blend import Blend
from hybridcast.learned.member import Member, StoredParts
from hybridcast.learned.members import KINDS
from hybridcast.learned.nwp_stage import NwpStage
from hybridcast.predictors.predictor import Transform
from hybridcast.predictors.registry import ALL_PREDICTORS, PREDICTORS

FORMAT = 3
MANIFEST = "manifest.json"
WEIGHTS = "blends.safetensors"
_NWP_BLENDS = ("with_radar", "without_radar")
#: Name of the model that comes with the package.
DEFAULT = "default"


@dataclass(frozen=True)
class TrainedModel:
    """Members and their weights, with a description of the training."""

    members: Mapping[str, Member]
    """Members by name."""
    blends: tuple[Blend, ...]
    """Weights of members that need radar only. The first blend is the best; the others do without optional members."""
    spacing: float
    """Size of the cells it was trained on, m."""
    about: dict[str, Any] = field(default_factory=dict)
    """Data sets, splits, scores, versions and settings of the training: plain JSON."""
    nwp_stage: NwpStage | None = None
    """Weights of members where NWP rain is known; None if the training had no NWP."""

    @property
    def blend(self) -> Blend:
        """The best blend of members that need radar only."""
        return self.blends[0]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Rain rates (mm h-1) of the exceedance probabilities."""
        return self.blend.thresholds

    def without(self, *names: str) -> TrainedModel:
        """Return the model without some members, with the weights that were fitted without them.

        Raises
        ------
        InputError
            If it has no weights without them.
        """
        if self.members.keys().isdisjoint(names):
            return self
        blends = [blend for blend in self.blends if set(names).isdisjoint(blend.members)]
        if not blends:
            raise InputError(
                f"the model has no weights without {', '.join(names)}",
                "weights are fitted in training, without optional members only",
                "Keep these members",
            )
        return self.with_blends(*blends)

    def with_blends(self, *blends: Blend) -> TrainedModel:
        """Return the model with other weights for radar, and without the members that no blend uses any more."""
        used = {name for blend in blends for name in blend.members}
        used |= set() if self.nwp_stage is None else set(self.nwp_stage.members)
        members = {name: member for name, member in self.members.items() if name in used}
        return replace(self, members=members, blends=blends)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all its parts."""
        parts = _parts(self)
        digests = json.dumps({name: _digest(parts[name]) for name in sorted(parts)})
        return _digest(digests.encode())


# --- writing --------------------------------------------------------------------------------------------------


def save_model(model: TrainedModel, folder: str | Path) -> Path:
    """Write a model, whole or not at all; an existing model is replaced.

    Raises
    ------
    InputError
        If `folder` exists and is no model, or the folder it goes into does not exist.
    """
    target = Path(folder).expanduser()
    parts = _parts(model)
    manifest = _manifest(model) | {"sha256": {name: _digest(content) for name, content in parts.items()}}
    with atomic_folder(target, lambda old: (old / MANIFEST).is_file()) as made:
        for name, content in parts.items():
            (made / name).write_bytes(content)
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return target


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _parts(model: TrainedModel) -> dict[str, bytes]:
    """Return the content of all parts by name."""
    parts = {name: content for member in model.members.values() for name, content in member.to_parts()[1].items()}
    weights = {name: np.ascontiguousarray(blend.weights) for name, blend in _named_blends(model).items()}
    return parts | {WEIGHTS: save_tensors(weights)}


def _named_blends(model: TrainedModel) -> dict[str, Blend]:
    """Return all blends by the names of the tensors with their weights."""
    named = {f"radar-{k}": blend for k, blend in enumerate(model.blends)}
    if model.nwp_stage is not None:
        named |= {f"nwp-{key}": getattr(model.nwp_stage, key) for key in _NWP_BLENDS}
    return named


def _manifest(model: TrainedModel) -> dict[str, Any]:
    """Return the manifest without the digests of the parts."""
    used = {name for member in model.members.values() for name in member.predictors}
    blends = {name: {"tensor": name, **blend.entry()} for name, blend in _named_blends(model).items()}
    return {
        "format": FORMAT,
        "spacing_m": model.spacing,
        "thresholds_mm_per_h": list(model.thresholds),
        "predictor_units": {one.name: one.units for one in PREDICTORS if one.name in used},
        "members": [_member_entry(member) for member in model.members.values()],
        "blends": [entry for name, entry in blends.items() if name.startswith("radar")],
        "nwp_stage": None if model.nwp_stage is None else {key: blends[f"nwp-{key}"] for key in _NWP_BLENDS},
        "about": model.about,
    }


def _member_entry(member: Member) -> dict[str, Any]:
    entry, parts = member.to_parts()
    return {"name": member.name, **entry, "predictors": list(member.predictors), "parts": list(parts)}


# --- reading --------------------------------------------------------------------------------------------------


def is_default(path: str | Path) -> bool:
    """Return whether a model is that of the package; `InputError` if a folder that holds a model has its name."""
    if not isinstance(path, str) or path != DEFAULT:
        return False
    if (Path(DEFAULT) / MANIFEST).is_file():
        found, rule = f"the model {DEFAULT!r} and a folder {DEFAULT!r} here", "a name means one model"
        raise InputError(found, rule, f"Write './{DEFAULT}' for the folder, or rename it")
    return True


def load_model(path: str | Path = DEFAULT) -> TrainedModel:
    """Load a model after checking every part of it.

    Parameters
    ----------
    path
        The folder, or ``"default"`` for the model that comes with the package.

    Raises
    ------
    InputError
        If it is no model, of another format, changed or incomplete, or needs members or predictors that this version
        does not know.
    """
    folder = packaged_path("model") if is_default(path) else Path(path).expanduser()
    manifest = _read_manifest(folder)
    try:
        parts = {name: _read_part(folder, name, expected) for name, expected in manifest["sha256"].items()}
        _check_known(manifest["members"], folder)
        thresholds = tuple(map(float, manifest["thresholds_mm_per_h"]))
        return _assemble(manifest, StoredParts(folder, parts, thresholds))
    except (KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"{folder}: {error}", "a model has all its parts", "Get the model again") from error


def _check_known(entries: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Refuse a model with predictors, transforms or kinds of members that this version does not know."""
    predictors = [name for entry in entries for name in entry["predictors"] if name not in ALL_PREDICTORS]
    transforms = [name for entry in entries for name in entry.get("transforms", ()) if name not in get_args(Transform)]
    kinds = [entry["kind"] for entry in entries if entry["kind"] not in KINDS]
    for unknown, kind in ((predictors, "predictors"), (transforms, "transforms"), (kinds, "kinds of members")):
        if unknown:
            raise InputError(
                f"{folder} needs the {kind} {', '.join(unknown)}",
                f"this version knows all {kind} of a model",
                "Install the version that made the model, or train it again",
            )


def _assemble(manifest: Mapping[str, Any], stored: StoredParts) -> TrainedModel:
    members = {entry["name"]: KINDS[entry["kind"]](entry, stored) for entry in manifest["members"]}
    weights = stored.tensors(WEIGHTS)

    def blend(entry: Mapping[str, Any]) -> Blend:
        made = Blend.from_entry(entry, weights[entry["tensor"]], stored)
        _check_members(made, members, stored.folder)
        return made

    stage = manifest["nwp_stage"]
    return TrainedModel(
        members=members,
        blends=tuple(blend(entry) for entry in manifest["blends"]),
        spacing=float(manifest["spacing_m"]),
        about=manifest["about"],
        nwp_stage=None if stage is None else NwpStage(**{key: blend(stage[key]) for key in _NWP_BLENDS}),
    )


def _check_members(blend: Blend, members: Mapping[str, Member], folder: Path) -> None:
    """Refuse a blend of members that the model does not have."""
    missing = [name for name in blend.members if name not in members]
    if missing:
        raise InputError(
            f"{folder}: a blend of {', '.join(missing)}", "a model has the members of its blends", "Get the model again"
        )


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


def _read_part(folder: Path, name: str, expected: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise InputError(
            f"{folder / name}: {error.strerror}", "a model has all its parts", "Get the model again"
        ) from error
    found = _digest(content)
    if found != expected:
        raise InputError(
            f"{folder / name} has the SHA-256 {found[:12]}..., not {expected[:12]}...",
            "a part is the one that the manifest names",
            "Get the model again; if the change is meant, train the model again",
        )
    return content
