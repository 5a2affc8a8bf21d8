"""Files of servers: listed or asked for, downloaded once, and those that cannot be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers import nightly_radar as small
from helpers.serving import break_off, serve
from helpers.watching import FIRST, MINUTE, STEP, watched
from hybridcast.watch.arrivals import Entry
from hybridcast.watch.sources import fetch, find_radar, read_content

PERIOD = [(FIRST - 60 * MINUTE, FIRST + 60 * MINUTE)]


@pytest.fixture
def bodies(tmp_path):
    paths = small.write_frames(tmp_path / "spare", small.rain(frames=4))
    return {f"radar/{path.name}": path.read_bytes() for path in paths}


def find(region, known=()):
    return find_radar(region, PERIOD, FIRST - 60 * MINUTE, frozenset(known))


def test_a_server_that_lists_its_files(bodies, tmp_path):
    with serve(bodies) as site:
        region = watched(tmp_path, f"{site.url}/radar/*.pgm")
        found = find(region)
        assert len(found.entries) == 4
        assert found.problems == []
        content = read_content(region, found.entries[0], tmp_path / "downloads", FIRST)
        again = read_content(region, found.entries[0], tmp_path / "downloads", FIRST)
        assert list(content.frames) == [str(FIRST)]
        assert content == again
        assert site.gets("/radar/202006011120_rain.pgm") == 1


def test_a_server_that_does_not_is_asked_at_the_times_of_frames(bodies, tmp_path):
    with serve(bodies) as site:
        region = watched(tmp_path, f"{site.url}/radar/%Y%m%d%H%M_rain.pgm", radar_step="10min")
        found = find(region)
        assert len(found.entries) == 4
        requests = len(site.requests)
        assert len(find(region, [entry.key for entry in found.entries]).entries) == 4
        assert len(site.requests) - requests == requests - 4  # those that are known are not asked for again


def test_a_download_that_breaks_off_is_refused_and_leaves_nothing(bodies, tmp_path):
    with serve(bodies) as site:
        path = "/radar/202006011120_rain.pgm"
        site.answers[path] = break_off(3)
        region = watched(tmp_path, f"{site.url}/radar/*.pgm")
        entry = next(entry for entry in find(region).entries if entry.key.endswith(path))
        content = read_content(region, entry, tmp_path / "downloads", FIRST)
        assert "broke off" in str(content.refusal)
        assert [one for one in (tmp_path / "downloads").rglob("*") if one.is_file()] == []
        assert read_content(region, entry, tmp_path / "downloads", FIRST).refusal is None


def test_a_server_that_is_away_is_a_problem_that_is_named(bodies, tmp_path):
    with serve(bodies) as site:
        region = watched(tmp_path, f"{site.url}/radar/%Y%m%d%H%M_rain.pgm", radar_step="1h")
    found = find(region)
    assert found.entries == []
    assert len(found.problems) == 1
    assert "Check the address and the network" in found.problems[0]


def test_secrets_of_an_address_are_in_no_key(bodies, tmp_path):
    with serve(bodies) as site:
        url = f"{site.url}/radar/%Y%m%d%H%M_rain.pgm?key=secret"
        found = find(watched(tmp_path, url, radar_step="10min"))
        assert len({entry.key for entry in found.entries}) == 4
        assert not any("secret" in entry.key for entry in found.entries)
        assert all("secret" in str(entry.url) for entry in found.entries)


def test_a_file_that_changes_at_its_address_is_downloaded_again(tmp_path):
    with serve({"now.csv": b"old"}) as site:
        assert fetch(f"{site.url}/now.csv", tmp_path).read_bytes() == b"old"
        site.files["/now.csv"] = b"new"
        assert fetch(f"{site.url}/now.csv", tmp_path).read_bytes() == b"old"
        assert fetch(f"{site.url}/now.csv", tmp_path, again=True).read_bytes() == b"new"


def test_a_file_of_several_frames_is_read_from_a_time_on(tmp_path):
    field = small.rain(frames=6)
    gap = field.copy()
    gap[3] = np.nan
    gap.drop_attrs(deep=False).assign_attrs(units="mm h-1", standard_name="rainfall_rate").to_netcdf(tmp_path / "a.nc")
    region = watched(tmp_path)
    content = read_content(region, Entry(str(tmp_path / "a.nc"), "s"), tmp_path, FIRST + STEP)
    assert content.refusal is None
    assert [np.datetime64(time) for time in content.frames] == [FIRST + k * STEP for k in (1, 2, 4, 5)]
    late = read_content(region, Entry(str(tmp_path / "a.nc"), "s"), tmp_path, FIRST + 100 * STEP)
    assert (late.frames, late.refusal) == ({}, None)


def test_unfinished_files_and_those_of_other_days_are_not_looked_at(tmp_path):
    for path in small.write_frames(tmp_path / "radar", small.rain(frames=2)):
        (tmp_path / "radar" / f"{path.name}.part").write_bytes(b"half")
    (tmp_path / "radar" / "201901010000_rain.pgm").write_bytes(b"old")
    region = watched(tmp_path, str(tmp_path / "radar" / "*"))
    assert len(find(region).entries) == 2
    old = find(watched(tmp_path, str(tmp_path / "radar" / "2019*")))
    assert not old.entries
    assert "none of 1 files that match" in old.problems[0]
    assert "the newest name says 2019-01-01T00:00:00Z" in old.problems[0]
    assert len(find(replace(region, folder=tmp_path)).entries) == 2
