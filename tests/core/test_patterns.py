"""Files of a period by patterns with parts of the time: on the disk, on servers, and why there are none."""

from __future__ import annotations

import os

import numpy as np
import pytest

from helpers.serving import serve
from hybridcast.core.patterns import expand_pattern, explain_absence, find_local, find_remote, select_around
from hybridcast.errors import InputError

NIGHT = np.datetime64("2024-06-01T23:30"), np.datetime64("2024-06-02T00:10")
MINUTES = np.timedelta64(5, "m")


def test_a_pattern_is_expanded_as_finely_as_its_codes():
    assert expand_pattern("a/*.h5", *NIGHT) == ["a/*.h5"]
    assert expand_pattern("a/%Y/%m/%d/*.h5", *NIGHT) == ["a/2024/06/01/*.h5", "a/2024/06/02/*.h5"]
    assert expand_pattern("%d%H", *NIGHT) == ["0123", "0200"]
    assert len(expand_pattern("%d%H%M", *NIGHT)) == 41
    assert expand_pattern("%H%M", *NIGHT, MINUTES)[:2] == ["2330", "2335"]
    assert len(expand_pattern("%H%M", *NIGHT, MINUTES)) == 9
    with pytest.raises(InputError, match="seconds cannot be guessed"):
        expand_pattern("%H%M%S", *NIGHT)


def test_files_on_the_disk(tmp_path):
    for name in ("01/202406012330.h5", "02/202406020000.h5", "03/202406030000.h5"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = find_local(f"{tmp_path}/%d/*.h5", *NIGHT)
    assert [path.name for path in found] == ["202406012330.h5", "202406020000.h5"]
    assert find_local(f"{tmp_path}/none/*.h5", *NIGHT) == []


def test_files_whose_names_have_other_times_are_left_out(tmp_path):
    names = [f"202406{day:02d}0000.h5" for day in range(1, 4)] + ["places.csv"]
    files = [tmp_path / name for name in names]
    moment = np.datetime64("2024-06-02T00:00", "ns")
    assert [path.name for path in select_around(files, moment, moment)] == names  # each may reach to the next
    files += [tmp_path / f"2024060200{minute:02d}.h5" for minute in range(5, 60, 5)]
    assert "202406010000.h5" not in [path.name for path in select_around(files, moment, moment)]


def test_files_of_a_server():
    with serve({"radar/a0000.h5": b"x", "radar/a2335.h5": b"y"}) as site:
        listed = list(find_remote(f"{site.url}/radar/*.h5", *NIGHT))
        assert [one.url.rpartition("/")[2] for one in listed] == ["a0000.h5", "a2335.h5"]
        asked = list(find_remote(f"{site.url}/radar/a%H%M.h5", *NIGHT, MINUTES))
        there = [one.url.rpartition("/")[2] for one in asked if one.filesystem.exists(one.path)]
        assert there == ["a2335.h5", "a0000.h5"]
        assert list(find_remote(f"{site.url}/none/%d/*.h5", *NIGHT)) == []  # the folder of a day to come


def test_a_server_that_does_not_answer_is_an_error():
    with serve({}) as site:
        url = site.url
    first = next(find_remote(f"{url}/a%H.h5", *NIGHT))
    with pytest.raises(OSError, match=r"a23|connect"):
        first.filesystem.info(first.path)


def test_why_there_is_none(tmp_path, monkeypatch):
    assert explain_absence(f"{tmp_path}/*.h5") == f"no file matches {tmp_path}/*.h5"
    assert explain_absence(f"{tmp_path}/a/b/%Y/*.h5") == f"there is no folder {tmp_path}/a"
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))
    assert explain_absence(f"{tmp_path}/a/*.h5") == f"the folder {tmp_path} may not be read (permission denied)"
