"""A model on disk: whole, checked, plain."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace

import lightgbm
import numpy as np
import pytest

from hybridcast.errors import InputError
from hybridcast.learned.boosting import Boosting
from hybridcast.learned.trained_model import MANIFEST, NETWORK_PART, WEIGHTS, load_model, save_model
from hybridcast.predictors.registry import RADAR_PREDICTORS


@pytest.fixture
def folder(with_network, tmp_path):
    """Give a copy to spoil."""
    return save_model(with_network, tmp_path / "model")


def rows(count=200):
    made = np.random.default_rng(0).standard_normal((count, len(RADAR_PREDICTORS))).astype(np.float32)
    made[::7, ::3] = np.nan
    return made


def change_manifest(folder, change):
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_what_is_loaded_scores_as_what_was_saved(with_network, folder):
    loaded, model = load_model(folder), with_network
    np.testing.assert_array_equal(loaded.boosting.scores(rows()), model.boosting.scores(rows()))
    for ours, theirs in zip(loaded.linear, model.linear, strict=True):
        assert (ours.name, ours.columns, ours.leads) == (theirs.name, theirs.columns, theirs.leads)
        np.testing.assert_array_equal(ours.scores(rows(), 40.0), theirs.scores(rows(), 40.0))
    assert (loaded.blend.members, loaded.blend.thresholds) == (model.blend.members, model.blend.thresholds)
    np.testing.assert_array_equal(loaded.blend.at(40.0), model.blend.at(40.0))
    np.testing.assert_array_equal(loaded.plain.at(40.0), model.plain.at(40.0))
    assert loaded.network.settings == model.network.settings
    for name, value in model.network.parameters.items():
        np.testing.assert_array_equal(loaded.network.parameters[name], value)
    assert loaded.spacing == model.spacing == 2000.0
    assert loaded.about["events"] == model.about["events"]
    assert loaded.fingerprint == model.fingerprint


def test_a_loaded_model_saved_again_has_the_same_parts(folder, tmp_path):
    again = save_model(load_model(folder), tmp_path / "again")
    for part in folder.iterdir():
        if part.name != MANIFEST:
            assert (again / part.name).read_bytes() == part.read_bytes()
    assert load_model(again).fingerprint == load_model(folder).fingerprint


def test_parts_are_plain(folder):
    """Text, JSON and safetensors, no pickle: nothing that would run when it is loaded."""
    names = sorted(part.name for part in folder.iterdir())
    trees = [f"{member}-{t}.txt" for member in ("boosting", "fused") for t in ("0.1", "0.5", "1", "10", "2", "5")]
    assert names == sorted([*trees, MANIFEST, NETWORK_PART, WEIGHTS])
    assert (folder / "boosting-0.1.txt").read_text().startswith("tree\n")
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["features"][0] == {"name": "rate", "units": "dB"}


def test_loading_never_unpickles(folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    assert np.isfinite(load_model(folder).boosting.scores(rows())).all()


@pytest.mark.parametrize("name", [WEIGHTS, NETWORK_PART, "boosting-0.1.txt", "boosting-10.txt"])
@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_changed_byte_is_found(folder, name, place):
    content = bytearray((folder / name).read_bytes())
    content[place if place in (0, -1) else len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} has the SHA-256 .*Get the model again"):
        load_model(folder)


@pytest.mark.parametrize("name", [WEIGHTS, NETWORK_PART, "boosting-1.txt"])
def test_a_missing_part_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: No such file.*a model has all its parts. Get the model again"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=99), "is of format 99; this version reads format 2. Install the version"),
        (lambda m: m.pop("format"), "is of format None"),
        (lambda m: m["features"].append({"name": "latitude"}), "asks for the predictors latitude.*or train it again"),
        (lambda m: m["sha256"].pop(WEIGHTS), "a model has all its parts. Get the model again"),
        (lambda m: m["sha256"].pop("boosting-1.txt"), "a model has all its parts. Get the model again"),
        (lambda m: m.pop("sha256"), "Get the model again"),
        (lambda m: m.pop("features"), "Get the model again"),
        (lambda m: m.pop("blend"), "Get the model again"),
        (lambda m: m.pop("about"), "Get the model again"),
        (lambda m: m["linear"][0].update(name="other"), "Get the model again"),
        (lambda m: m["thresholds_mm_per_h"].reverse(), "thresholds increase. Train the model again"),
        (lambda m: m["sha256"].update({"../outside.txt": "0" * 64}), "outside"),
        (lambda m: m["blend"]["members"].append("oracle"), "weights of the blend.*Get the model again"),
        (lambda m: m["blend"]["leads_min"].pop(), "weights of the blend.*Get the model again"),
        (lambda m: m["sha256"].pop(NETWORK_PART), "a model has all its parts. Get the model again"),
        (lambda m: m["network"].update(widths=[4, 8]), "the network of these settings has"),
        (lambda m: m["network"].update(depth=3), "depth.*Get the model again"),
        (lambda m: m.pop("network"), "Get the model again"),
        (lambda m: m["linear"][0]["columns"].pop(), "coefficients of neighbourhood.*Get the model again"),
        (lambda m: m["linear"][1]["columns"].__setitem__(0, "latitude"), "asks for the predictors latitude"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder, change, message):
    change_manifest(folder, change)
    with pytest.raises(InputError, match=message):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '"model"', "\xff"])
def test_a_manifest_that_is_none_is_refused(folder, text):
    (folder / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="Get the model again"):
        load_model(folder)


def test_a_damaged_part_whose_sum_was_changed_too_is_refused(folder):
    (folder / WEIGHTS).write_bytes(b"nonsense")
    wanted = hashlib.sha256(b"nonsense").hexdigest()
    change_manifest(folder, lambda m: m["sha256"].update({WEIGHTS: wanted}))
    with pytest.raises(InputError, match="Get the model again"):
        load_model(folder)


def test_a_folder_without_a_manifest_or_a_file_or_nothing_is_no_model(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file", tmp_path / "absent"):
        with pytest.raises(InputError, match=r"no manifest.json .*hybridcast train --out MODEL"):
            load_model(path)


def test_fewer_predictors_in_another_order_are_loaded(small_model, tmp_path):
    """As an older model has them."""
    names = ("lead_time", "filter", "rate")
    columns = [RADAR_PREDICTORS.index(name) for name in names]
    data = lightgbm.Dataset(rows()[:, columns], (rows()[:, 0] > 0).astype(np.float32))
    text = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 3).model_to_string()
    thresholds = small_model.boosting.thresholds
    older = replace(small_model, boosting=Boosting((text,) * len(thresholds), thresholds, names))
    loaded = load_model(save_model(older, tmp_path / "older"))
    assert loaded.boosting.predictors == names
    expected = lightgbm.Booster(model_str=text).predict(rows()[:, columns], raw_score=True)
    np.testing.assert_allclose(loaded.boosting.scores(rows())[0], expected, atol=1e-5)


def test_a_model_without_a_network_has_no_such_part(with_network, tmp_path):
    plain = with_network.without_network
    folder = save_model(plain, tmp_path / "plain")
    assert not (folder / NETWORK_PART).exists()
    loaded = load_model(folder)
    assert loaded.network is loaded.plain is None
    assert loaded.without_network is loaded
    assert "network" not in loaded.blend.members


def test_without_its_network_a_model_has_the_weights_for_that(with_network):
    without = with_network.without_network
    assert without.network is without.plain is None
    assert without.blend is with_network.plain
    assert without.fingerprint != with_network.fingerprint


def test_a_model_is_replaced_whole(small_model, folder):
    (folder / "left-over.txt").write_text("of an older model")
    save_model(replace(small_model, spacing=1000.0), folder)
    assert load_model(folder).spacing == 1000.0
    assert not (folder / "left-over.txt").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_failed_saving_leaves_the_old_model(small_model, folder):
    before = load_model(folder).fingerprint
    with pytest.raises(TypeError):
        save_model(replace(small_model, about={"events": object()}), folder)
    assert load_model(folder).fingerprint == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_what_is_no_model_is_not_overwritten(small_model, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    (tmp_path / "file").write_text("x")
    for name in ("letters", "file"):
        with pytest.raises(InputError, match=r"is there and is no model.*Choose another name"):
            save_model(small_model, tmp_path / name)
    with pytest.raises(InputError, match="Create"):
        save_model(small_model, tmp_path / "absent" / "model")
    assert (tmp_path / "letters" / "a.txt").read_text() == "dear"
