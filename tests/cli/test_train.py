"""The command ``train``: which events it takes, and what it refuses before it draws any sample."""

from __future__ import annotations

import pytest

from hybridcast.learned.training import train as training

OWN = '[[event]]\nname = "own"\nregion = "north"\nradar = "*.h5"\n'
ALPINE = '[[event]]\nname = "alpine"\nregion = "alps"\ndataset = "taasrad-2016-05"\n'
FINNISH = '[[event]]\nname = "finnish"\nregion = "fmi"\ndataset = "fmi-20160928"\n'


@pytest.fixture
def trained_on(monkeypatch):
    """Return a list that receives the names of the events of a training, which is not carried out."""
    names = []

    def refuse(events, *args, **kwargs):
        names.extend(event.name for event in events)
        raise SystemExit(0)

    monkeypatch.setattr(training, "train", refuse)
    return names


@pytest.mark.parametrize(("licences", "names"), [("any", ["own", "alpine", "finnish"]), ("verified", ["finnish"])])
def test_events_without_a_verified_licence_can_be_left_out(run, tmp_path, trained_on, licences, names):
    archive = tmp_path / "events.toml"
    archive.write_text(OWN + ALPINE + FINNISH)
    run("train", "--archive", archive, "--licences", licences, "--out", tmp_path / "model", "--no-network")
    assert trained_on == names


def test_what_is_left_out_is_said_and_nothing_left_is_an_error(run, tmp_path, trained_on):
    archive = tmp_path / "events.toml"
    archive.write_text(ALPINE + FINNISH)
    _, out, err = run("train", "--archive", archive, "--licences", "verified", "--out", tmp_path / "model")
    assert "1 events without a verified licence are left out (regions: alps)" in out + err
    archive.write_text(OWN)
    code, _, err = run("train", "--archive", archive, "--licences", "verified", "--out", tmp_path / "model")
    assert code == 1
    assert "Give --licences any" in err


def test_other_licences_are_refused(run, tmp_path):
    code, _, err = run("train", "--licences", "all", "--out", tmp_path / "model")
    assert code == 1
    assert "verified" in err
