"""Frames that are kept between readings: those of the file, and none of another."""

from __future__ import annotations

import os

import numpy as np
import pytest

from helpers import synthetic
from hybridcast import open_radar
from hybridcast.errors import ReadError
from hybridcast.radar import KeptFrames, cf


@pytest.fixture
def files(tmp_path):
    """Six files of a frame each."""
    rain = synthetic.rain((20, 30), frames=6)
    for number in range(6):
        rain.isel(time=[number]).to_netcdf(tmp_path / f"rain_{number}.nc")
    return sorted(tmp_path.glob("*.nc"))


@pytest.fixture
def reads(monkeypatch):
    """Return the names of the files that are read."""
    names, read = [], cf.read

    def note(path):
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(cf, "read", note)
    return names


def test_only_new_files_are_read_again(files, reads):
    kept = KeptFrames()
    first = open_radar(files[:4], kept=kept)
    second = open_radar(files[1:5], kept=kept)
    assert reads == [path.name for path in files[:5]]
    assert second.identical(open_radar(files[1:5]))
    assert first.identical(open_radar(files[:4]))


PERIOD = {"times": ("2020-06-01T12:05", "2020-06-01T12:20")}


@pytest.mark.parametrize("how", [PERIOD, {"history": "10min"}, {"format": "cf"}])
def test_the_result_is_that_of_a_first_reading(files, how):
    kept = KeptFrames()
    expected = open_radar(files, **how)
    for _ in range(2):
        assert open_radar(files, kept=kept, **how).identical(expected)


def test_a_file_that_has_changed_is_read_again(files, reads):
    kept = KeptFrames()
    open_radar(files[0], kept=kept)
    changed = 2 * synthetic.rain((20, 30), frames=1)
    before = files[0].stat()
    changed.assign_attrs(synthetic.rain((20, 30), frames=1).attrs).to_netcdf(files[0])
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))  # as a copy that keeps times
    np.testing.assert_array_equal(open_radar(files[0], kept=kept), changed)
    assert len(reads) == 2


def test_what_is_done_with_a_result_does_not_reach_what_is_kept(files):
    kept = KeptFrames()
    expected = open_radar(files[0])
    for _ in range(2):
        radar = open_radar(files[0], kept=kept)
        assert radar.identical(expected)
        radar.values[:] = 7
        radar.attrs.clear()


def test_the_memory_is_limited(files, reads):
    frame = 20 * 30 * 4
    kept = KeptFrames(4 * frame)
    for _ in range(2):
        open_radar(files, kept=kept)
    assert len(reads) == 12  # each made room for another before it was needed again
    open_radar(files[-3:], kept=kept)
    assert len(reads) == 12
    large = KeptFrames(3 * frame)
    open_radar(files[0], kept=large)
    open_radar(files[0], kept=large)
    assert len(reads) == 14


def test_a_file_that_is_replaced_while_it_is_read_is_not_kept(files, monkeypatch):
    kept, read = KeptFrames(), cf.read

    def read_and_replace(path):
        frames = read(path).compute()
        files[1].replace(path)
        return frames

    monkeypatch.setattr(cf, "read", read_and_replace)
    open_radar(files[0], kept=kept)
    monkeypatch.setattr(cf, "read", read)
    assert open_radar(files[0], kept=kept).identical(open_radar(files[0]))


def test_a_damaged_file_is_not_kept(files, reads):
    kept = KeptFrames()
    content = files[2].read_bytes()
    files[2].write_bytes(content[:500])
    with pytest.raises(ReadError):
        open_radar(files[2], kept=kept)
    files[2].write_bytes(content)
    assert open_radar(files[2], kept=kept).identical(open_radar(files[2]))


def test_other_intervals_of_amounts_are_other_frames(tmp_path):
    amounts = synthetic.rain((20, 30), frames=3) / 12
    for number in range(3):
        amounts.isel(time=[number]).assign_attrs(units="mm", standard_name="precipitation_amount").to_netcdf(
            tmp_path / f"{number}.nc"
        )
    kept = KeptFrames()
    found = [open_radar(str(tmp_path / "*.nc"), interval=interval, kept=kept) for interval in ("5min", "4min", "5min")]
    np.testing.assert_allclose(found[1], 1.25 * found[0], rtol=1e-5)
    assert found[2].identical(found[0])


def test_what_is_not_used_any_more_is_forgotten(files, reads):
    kept = KeptFrames()
    for first in range(3):
        open_radar(files[first : first + 4], kept=kept)
        kept.forget_unused()
    assert len(reads) == 6
    open_radar(files[2:], kept=kept)
    assert len(reads) == 6
    open_radar(files[:2], kept=kept)
    assert len(reads) == 8
