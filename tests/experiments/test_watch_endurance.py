"""The script that kills `hybridcast watch`: it finds what is half, lost, doubled or different."""

from __future__ import annotations

import json
import shutil

import pytest

from helpers.paths import ROOT
from hybridcast.places import WarningEvent, append_events


@pytest.fixture
def endurance(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "notebooks"))
    import watch_endurance

    return watch_endurance


@pytest.fixture
def places(endurance, tmp_path):
    """Return two equal runs of three forecasts."""
    made = [
        endurance.Place(tmp_path / name, 'radar = "a/*.nc"', "2020-06-01", endurance.GOTHENBURG, "members = 0")
        for name in ("calm", "killed")
    ]
    for place in made:
        for hour in range(3):
            folder = place.out / "forecasts" / f"20200601T0{hour}0000Z"
            folder.mkdir(parents=True)
            about = {"issue_time": f"2020-06-01T0{hour}:00:00Z", "products": ["rain.nc"], "made": str(place.root)}
            (folder / "about.json").write_text(json.dumps(about))
            (folder / "rain.nc").write_bytes(b"rain %d" % hour)
            append_events(place.out / "warnings.jsonl", [WarningEvent(about["issue_time"], "checked")])
            with place.got.open("a") as got:
                got.write(json.dumps({"id": str(hour), "folder": str(folder), **about}) + "\n")
        (place.out / "state").mkdir()
        (place.out / "latest.json").write_text(json.dumps({"folder": f"forecasts/{folder.name}", **about}))
    return made


def test_runs_that_differ_by_the_clock_alone_are_equal(endurance, places):
    found = endurance.compare(*places)
    assert (found["forecasts"], found["files"], found["messages"]) == (3, 8, 3)
    assert not any(found[name] for name in ("files_lost", "files_too_many", "files_that_differ", "remains"))
    assert not any(found[f"messages_{name}"] for name in ("lost", "too_many", "that_differ"))
    assert found["log_is_the_same"]
    assert endurance.find_halves(places[1]) == []


def test_what_is_lost_doubled_or_different_is_found(endurance, places):
    calm, killed = places
    forecasts = killed.forecasts()
    (forecasts[1] / "rain.nc").write_bytes(b"other")
    shutil.rmtree(forecasts[0])
    (killed.out / "forecasts" / ".20200601T030000Z-a.part").write_bytes(b"half")
    append_events(killed.out / "warnings.jsonl", [WarningEvent("2020-06-01T02:00:00Z", "checked")])
    lines = killed.got.read_text().splitlines()
    killed.got.write_text("\n".join([*lines[1:], lines[1], lines[2].replace('"rain.nc"', '"snow.nc"')]) + "\n")
    found = endurance.compare(calm, killed)
    assert len(found["files_lost"]) == 2
    assert found["files_that_differ"] == ["forecasts/20200601T010000Z/rain.nc", "warnings.jsonl"]
    assert len(found["remains"]) == len(found["files_too_many"]) == 1
    assert not found["log_is_the_same"]
    assert (found["messages_lost"], found["messages_delivered_again_with_their_id"]) == (1, 2)
    assert found["messages_that_differ"] == 1


def test_what_a_reader_would_find_half_is_found(endurance, places):
    _, killed = places
    (killed.forecasts()[0] / "rain.nc").unlink()
    (killed.out / "status.json").write_text('{"half')
    shutil.rmtree(killed.forecasts()[2])
    with (killed.out / "warnings.jsonl").open("a") as log:
        log.write('{"time": "2020')
    found = endurance.find_halves(killed)
    assert len(found) == 4
    assert "20200601T000000Z: no rain.nc" in found


def test_the_tables_name_every_number(endurance, places):
    kills = {
        "kills": 3,
        "seed": 1,
        "when": {"command, cycle": 3},
        "faults_after_a_kill": [],
        **endurance.compare(*places),
    }
    trend = endurance.describe_trend([{"loop_mb": 100.0 + number // 80} for number in range(100)], "loop_mb")
    assert trend == {"first_fifth": 100.0, "last_fifth": 101.0, "ratio": 1.01, "largest": 101.0}
    text = endurance.format_page({"kills": kills, "memory": {"cycles": 100, "loop_mb": trend}})
    assert "| files lost, too many, that differ | 0, 0, 0 |" in text
    assert "| loop, MB | 100 | 101 | 1.01 | 101 |" in text
