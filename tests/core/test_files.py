"""Files appear whole or not at all."""

from __future__ import annotations

import pytest

from hybridcast.core.files import atomic_write
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
