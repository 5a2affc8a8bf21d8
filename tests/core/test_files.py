"""Files appear whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from hybridcast.core.files import HasFingerprint, atomic_folder, atomic_write, digest, safe_filename
from hybridcast.errors import InputError


def test_a_file_appears_when_writing_ends_well(tmp_path):
    with atomic_write(tmp_path / "a.txt") as part:
        part.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def write_half() -> None:
        with atomic_write(tmp_path / "a.txt") as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match="no-folder"), atomic_write(tmp_path / "no-folder" / "a.txt"):
        pass


def test_a_folder_in_place_of_the_file_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(InputError, match=r"a\.txt' is a folder"), atomic_write(tmp_path / "a.txt"):
        raise AssertionError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with (
        pytest.raises(InputError, match=r"cannot write into .* \(Permission denied\)"),
        atomic_write(tmp_path / "a.txt"),
    ):
        raise AssertionError


# --- digests --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    value: int
    callback: object = None


class Fingerprinted:
    """An object whose repr contains its address, and whose fingerprint does not."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint


def test_a_digest_identifies_objects_by_settings_or_fingerprint():
    assert digest(Settings(1), "a") == digest(Settings(1), "a") != digest(Settings(2), "a")
    assert digest(Settings(1, callback=object())) == digest(Settings(1, callback=object()))
    assert digest(Fingerprinted("x")) == digest(Fingerprinted("x")) != digest(Fingerprinted("y"))
    assert isinstance(Fingerprinted("x"), HasFingerprint)
    assert not isinstance(Settings(1), HasFingerprint)


def test_a_name_becomes_a_safe_file_name():
    assert safe_filename("a b/c: 1+2") == "a-b-c-1+2"


def write_folder(path, text, *, may_replace=True):
    with atomic_folder(path, lambda folder: may_replace) as part:
        (part / "a.txt").write_text(text)
        assert part.suffix == path.suffix


def test_a_folder_appears_when_writing_ends_well_and_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.zarr"
    write_folder(path, "old")
    (path / "b.txt").write_text("of the old one only")
    write_folder(path, "new")
    assert [(p.name, p.read_text()) for p in path.iterdir()] == [("a.txt", "new")]
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_a_folder_that_may_not_be_replaced_stays(tmp_path):
    write_folder(tmp_path / "a.zarr", "old")
    with pytest.raises(InputError, match="holds something else"):
        write_folder(tmp_path / "a.zarr", "new", may_replace=False)
    assert (tmp_path / "a.zarr" / "a.txt").read_text() == "old"


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_that_cannot_be_moved_leaves_the_old_one(tmp_path, monkeypatch, failing):
    """The first move is that of the old folder, the second that of the new one."""
    path, moves, rename = tmp_path / "a.zarr", [], Path.rename
    write_folder(path, "old")

    def fail(self, target):
        moves.append(self)
        if len(moves) == failing:
            raise OSError("busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="busy"):
        write_folder(path, "new")
    assert (path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    write_folder(tmp_path / "a.zarr", "old")
    (tmp_path / "link.zarr").symlink_to(tmp_path / "a.zarr")
    write_folder(tmp_path / "link.zarr", "new")
    assert (tmp_path / "link.zarr").is_symlink()
    assert (tmp_path / "a.zarr" / "a.txt").read_text() == "new"
