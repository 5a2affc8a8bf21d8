"""A model on disk: whole, checked, plain."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from hybridcast.errors import InputError
from hybridcast.fusion.hybrid import load_hybrid
from hybridcast.learned.boosting import BoostedTrees
from hybridcast.learned.member import MemberInputs
from hybridcast.learned.members import BUILDERS
from hybridcast.learned.trained_model import MANIFEST, WEIGHTS, load_model, save_model
from hybridcast.predictors.registry import RADAR_PREDICTORS

NETWORK_PART = "network.safetensors"


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


def entry(manifest, name):
    """Return the entry of a member."""
    return next(one for one in manifest["members"] if one["name"] == name)


def log_odds(member, values=None):
    values = rows() if values is None else values
    return member.log_odds(MemberInputs(values, np.zeros((len(values), 2))), 40.0)


def test_what_is_loaded_gives_the_same_as_what_was_saved(with_network, folder):
    loaded, model = load_model(folder), with_network
    assert list(loaded.members) == list(model.members)
    for name in ("neighbourhood", "scale-filter", "boosting"):
        ours, theirs = loaded.members[name], model.members[name]
        assert (ours.name, ours.predictors, ours.thresholds) == (theirs.name, theirs.predictors, theirs.thresholds)
        np.testing.assert_array_equal(log_odds(ours), log_odds(theirs))
    for name in ("neighbourhood", "scale-filter"):
        assert loaded.members[name].leads == model.members[name].leads
    assert len(loaded.blends) == len(model.blends) == 2
    for ours, theirs in zip(loaded.blends, model.blends, strict=True):
        assert (ours.members, ours.thresholds) == (theirs.members, theirs.thresholds)
        np.testing.assert_array_equal(ours.weights_at(40.0), theirs.weights_at(40.0))
    ours, theirs = (one.members["network"].network for one in (loaded, model))
    assert ours.settings == theirs.settings
    for name, value in theirs.parameters.items():
        np.testing.assert_array_equal(ours.parameters[name], value)
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
    logistic = [f"{member}.safetensors" for member in ("neighbourhood", "scale-filter", "nwp")]
    assert {*trees, *logistic, MANIFEST, NETWORK_PART, WEIGHTS} <= set(names)
    assert {Path(name).suffix for name in names} == {".json", ".safetensors", ".txt"}
    assert (folder / "boosting-0.1.txt").read_text().startswith("tree\n")
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["predictor_units"]["rate"] == "dB"
    kinds = {one["name"]: one["kind"] for one in manifest["members"]}
    assert kinds.keys() == {builder.name for builder in BUILDERS}
    assert (kinds["neighbourhood"], kinds["boosting"], kinds["network"]) == ("logistic", "trees", "network")
    assert entry(manifest, "boosting")["parts"][0] == "boosting-0.1.txt"


def test_loading_never_unpickles(folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    assert np.isfinite(log_odds(load_model(folder).members["boosting"])).all()


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
        (lambda m: m.update(format=99), "is of format 99; this version reads format 3. Install the version"),
        (lambda m: m.pop("format"), "is of format None"),
        (
            lambda m: entry(m, "boosting")["predictors"].append("latitude"),
            "needs the predictors latitude.*or train it again",
        ),
        (lambda m: m["sha256"].pop(WEIGHTS), "a model has all its parts. Get the model again"),
        (lambda m: m["sha256"].pop("boosting-1.txt"), "a model has all its parts. Get the model again"),
        (lambda m: m.pop("sha256"), "Get the model again"),
        (lambda m: entry(m, "boosting").pop("predictors"), "Get the model again"),
        (lambda m: m.pop("blends"), "Get the model again"),
        (lambda m: m.pop("about"), "Get the model again"),
        (lambda m: m.pop("nwp_stage"), "Get the model again"),
        (lambda m: entry(m, "neighbourhood").update(name="other"), "a blend of neighbourhood.*Get the model again"),
        (
            lambda m: entry(m, "scale-filter").update(kind="oracle"),
            "needs the kinds of members oracle.*or train it again",
        ),
        (lambda m: entry(m, "scale-filter").update(transforms=["none", "cube"]), "needs the transforms cube"),
        (lambda m: entry(m, "scale-filter")["transforms"].pop(), "transforms of scale-filter.*Get the model again"),
        (lambda m: entry(m, "scale-filter").pop("parts"), "Get the model again"),
        (lambda m: m["thresholds_mm_per_h"].reverse(), "thresholds increase. Train the model again"),
        (lambda m: m["sha256"].update({"../outside.txt": "0" * 64}), "outside"),
        (lambda m: m["blends"][0]["members"].append("oracle"), "weights of the blend.*Get the model again"),
        (lambda m: m["blends"][0]["leads_min"].pop(), "weights of the blend.*Get the model again"),
        (lambda m: m["sha256"].pop(NETWORK_PART), "a model has all its parts. Get the model again"),
        (lambda m: entry(m, "network")["settings"].update(widths=[4, 8]), "the network of these settings has"),
        (lambda m: entry(m, "network")["settings"].update(depth=3), "depth.*Get the model again"),
        (lambda m: m["members"].remove(entry(m, "network")), "Get the model again"),
        (lambda m: entry(m, "neighbourhood")["predictors"].pop(), "coefficients of neighbourhood.*Get the model again"),
        (lambda m: entry(m, "scale-filter")["predictors"].__setitem__(0, "latitude"), "needs the predictors latitude"),
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
    thresholds = small_model.thresholds
    trees = BoostedTrees("boosting", (text,) * len(thresholds), thresholds, names)
    older = replace(small_model, members={**small_model.members, "boosting": trees})
    loaded = load_model(save_model(older, tmp_path / "older"))
    assert loaded.members["boosting"].predictors == names
    expected = lightgbm.Booster(model_str=text).predict(rows()[:, columns], raw_score=True)
    np.testing.assert_allclose(log_odds(loaded.members["boosting"])[0], expected, atol=1e-5)


def test_a_model_without_a_network_has_no_such_part(with_network, tmp_path):
    plain = with_network.without("network")
    folder = save_model(plain, tmp_path / "plain")
    assert not (folder / NETWORK_PART).exists()
    loaded = load_model(folder)
    assert "network" not in loaded.members
    assert len(loaded.blends) == 1
    assert loaded.without("network") is loaded
    assert "network" not in loaded.blend.members


def test_without_its_network_a_model_has_the_weights_for_that(with_network):
    without = with_network.without("network")
    assert "network" not in without.members
    assert without.blends == (with_network.blends[1],)
    assert without.fingerprint != with_network.fingerprint


def test_a_member_that_is_always_needed_cannot_be_left_out(with_network):
    with pytest.raises(InputError, match=r"no weights without boosting.*Keep these members"):
        with_network.without("boosting")


def test_members_that_no_blend_uses_are_dropped(with_network):
    blend = replace(with_network.blend, members=("boosting",), weights=with_network.blend.weights[..., -2:])
    made = with_network.with_blends(blend)
    of_stage = set() if made.nwp_stage is None else set(made.nwp_stage.members)
    assert set(made.members) == {"boosting", *of_stage}


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


def test_a_disk_that_fails_at_the_last_step_leaves_the_old_model(small_model, folder, monkeypatch):
    before, rename = load_model(folder).fingerprint, Path.rename

    def fail(old, new):
        if old.name.endswith(".part") and Path(new) == folder:
            raise OSError("the disk fails")
        return rename(old, new)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="the disk fails"):
        save_model(replace(small_model, spacing=1000.0), folder)
    assert load_model(folder).fingerprint == before


def test_a_folder_with_the_name_of_the_default_model_is_not_hidden(small_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model(small_model, "default")
    for open_model in (load_model, load_hybrid):
        with pytest.raises(InputError, match=r"'\./default' for the folder"):
            open_model("default")
    assert load_model("./default").fingerprint == small_model.fingerprint


def test_what_is_no_model_is_not_overwritten(small_model, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    (tmp_path / "file").write_text("x")
    for name in ("letters", "file"):
        with pytest.raises(InputError, match=r"exists and holds something else.*Give another name"):
            save_model(small_model, tmp_path / name)
    with pytest.raises(InputError, match="Create"):
        save_model(small_model, tmp_path / "absent" / "model")
    assert (tmp_path / "letters" / "a.txt").read_text() == "dear"
