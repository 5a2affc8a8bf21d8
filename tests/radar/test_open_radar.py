from __future__ import annotations

import gzip
import importlib
import importlib.metadata
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import hybridcast.radar as radar
from helpers.paths import ROOT
from hybridcast.core.field import precipitation
from hybridcast.core.readers import read_head
from hybridcast.core.times_in_names import parse_time_in_name
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.radar import RadarFormat, formats, open_radar

START = np.datetime64("2020-01-01T00:00", "ns")


def minute(number):
    return START + np.timedelta64(number, "m")


class Text:
    """A format for tests: the file's text is a rain rate; its time is in its name, behind the minutes of `late`."""

    NAME = "text"
    DESCRIPTION = "a number in a text file"
    late = 0

    def recognises(self, path, head):
        return head.startswith(b"rate")

    def read(self, path):
        content = path.read_text()
        if not content.startswith("rate"):
            raise ReadError(path, "no rate in it")
        rate, west = (float(part) for part in content.split()[1:])
        time = parse_time_in_name(path.name) + np.timedelta64(self.late, "m")
        shape = (1, 2, 3)
        return precipitation(
            np.full(shape, rate), time=[time], y=[0, 1000], x=west + 1000.0 * np.arange(3), crs="EPSG:3035"
        )


@pytest.fixture
def folder(tmp_path):
    for number in (0, 5, 10, 15):
        write(tmp_path, number)
    return tmp_path


def write(folder, number, text=None):
    path = folder / f"rain_20200101{number // 60:02d}{number % 60:02d}.txt"
    path.write_text(f"rate {number} 0" if text is None else text)
    return path


def minutes(field):
    return ((field.time.values - START) / np.timedelta64(1, "m")).astype(int).tolist()


def test_every_format_is_in_the_table_of_the_guide_and_counted_in_the_readme():
    table = (ROOT / "notebooks" / "guide" / "radar.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.M)) == sorted(formats())
    numbers = {20: "twenty", 21: "twenty-one", 22: "twenty-two", 23: "twenty-three", 24: "twenty-four"}
    assert f"{numbers[len(formats())]} kinds of radar files" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_frames_come_in_order_of_time_whatever_the_order_of_paths(folder):
    paths = sorted(folder.iterdir(), reverse=True)
    field = open_radar([paths[1], *paths], Text())  # one is named twice
    assert minutes(field) == [0, 5, 10, 15]
    assert field[:, 0, 0].values.tolist() == [0, 5, 10, 15]
    assert field.attrs["format"] == "text"


def test_paths_may_be_globs_strings_and_folders_above(folder):
    assert minutes(open_radar(str(folder / "*.txt"), Text())) == [0, 5, 10, 15]
    assert minutes(open_radar([folder / "*000[0-5].txt", str(folder / "*0015.txt")], Text())) == [0, 5, 10, 15]
    assert minutes(open_radar(str(folder.parent / "**" / folder.name / "*0005.txt"), Text())) == [5]


@pytest.mark.parametrize("paths", [[], "nothing_here/*.txt", ["nothing_here.txt"]])
def test_nothing_to_open(paths):
    with pytest.raises(InputError, match=r"no paths given|no file matches 'nothing_here"):
        open_radar(paths, Text())


def test_gap_becomes_a_missing_frame(folder):
    write(folder, 5).unlink()
    field = open_radar(str(folder / "*.txt"), Text())
    assert minutes(field) == [0, 5, 10, 15]
    assert field.isnull().all(("y", "x")).values.tolist() == [False, True, False, False]
    assert "unreadable_files" not in field.attrs


def test_the_step_may_be_given(tmp_path):
    for number in (0, 10, 25):
        write(tmp_path, number)
    with pytest.raises(InputError, match="step="):
        open_radar(tmp_path / "*.txt", Text())
    field = open_radar(tmp_path / "*.txt", Text(), step=np.timedelta64(5, "m"))
    assert minutes(field) == [0, 5, 10, 15, 20, 25]
    assert np.isfinite(field.values).any(axis=(1, 2)).tolist() == [True, False, True, False, False, True]


def test_one_bad_file_is_a_missing_frame_with_a_warning_and_named(folder):
    bad = write(folder, 5, "damaged")
    with pytest.warns(InputWarning, match=r"rain_202001010005\.txt: no rate in it"):
        field = open_radar(str(folder / "*.txt"), Text())
    assert field.isnull().all(("y", "x")).values.tolist() == [False, True, False, False]
    assert field.attrs["unreadable_files"] == f"{bad}: no rate in it"


def test_strict_raises_at_the_bad_file(folder):
    write(folder, 5, "damaged")
    with pytest.raises(ReadError, match=r"0005\.txt: no rate"):
        open_radar(str(folder / "*.txt"), Text(), strict=True)


def test_only_file_and_all_files_bad(folder):
    bad = [write(folder, number, "damaged") for number in (0, 5)]
    with pytest.raises(ReadError, match=r"0000\.txt: no rate in it$"):
        open_radar(bad[0], Text())
    with pytest.raises(ReadError, match="none of the other 1 files"):
        open_radar(bad, Text())


def test_empty_file_and_any_failure_of_a_library_are_read_errors(folder):
    with pytest.raises(ReadError, match="0 bytes"):
        open_radar(write(folder, 0, ""), Text())
    with pytest.raises(ReadError, match=r"cannot be read as text \(ValueError: "):
        open_radar(write(folder, 0, "rate x"), Text())


@pytest.mark.parametrize("late", [0, 5])
@pytest.mark.parametrize("lost", [[15], [0], [0, 10, 15]])
@pytest.mark.filterwarnings("ignore::hybridcast.errors.InputWarning")
def test_lost_frames_at_the_ends_are_dated_by_their_names(folder, lost, late):
    write(folder, 20)
    for number in lost:
        write(folder, number, "damaged")
    reader = Text()
    reader.late = late  # times in names may be starts of intervals
    field = open_radar(str(folder / "*.txt"), reader)
    assert minutes(field) == [number + late for number in (0, 5, 10, 15, 20)]
    gone = field.isnull().all(("y", "x")).values
    assert [number for number, missing in zip((0, 5, 10, 15, 20), gone, strict=True) if missing] == lost


@pytest.mark.filterwarnings("ignore::hybridcast.errors.InputWarning")
def test_lost_file_from_far_away_or_between_the_steps_or_without_time_adds_nothing(folder):
    (folder / "rain_202106010000.txt").write_text("damaged")
    (folder / "rain_202001010017.txt").write_text("damaged")
    (folder / "rain.txt").write_text("damaged")
    assert minutes(open_radar(str(folder / "*.txt"), Text())) == [0, 5, 10, 15]


def test_times_select_frames(folder):
    field = open_radar(str(folder / "*.txt"), Text(), times=("2020-01-01T00:05", minute(10)))
    assert minutes(field) == [5, 10]
    with pytest.raises(InputError, match="there are frames from 2020-01-01T00:00"):
        open_radar(str(folder / "*.txt"), Text(), times=("2019-01-01", "2019-01-02"))


def test_doubled_times_are_refused(folder):
    (folder / "again_202001010005.txt").write_text("rate 1 0")
    with pytest.raises(
        InputError,
        match=r"again_2020.*0005\.txt and .*rain_2020.*0005\.txt hold different frames of 2020",
    ):
        open_radar(str(folder / "*.txt"), Text())


def test_frames_between_the_steps_are_refused(folder):
    write(folder, 12)
    with pytest.raises(InputError, match=r"00:12:00 \(rain_202001010012\.txt\) is off the 5 min steps"):
        open_radar(str(folder / "*.txt"), Text())


def test_scattered_frames_are_refused(folder):
    write(folder, 900)
    with pytest.raises(InputError, match="5 frames are scattered over 181 steps of 5 min"):
        open_radar(str(folder / "*.txt"), Text())


def test_differing_grids_are_refused_with_both_names(folder):
    write(folder, 10, "rate 1 500")
    with pytest.raises(InputError, match=r"0000\.txt and rain_202001010010\.txt share one grid"):
        open_radar(str(folder / "*.txt"), Text())


def test_grids_equal_but_for_rounding_become_one(folder):
    write(folder, 10, "rate 1 0.001")
    field = open_radar(str(folder / "*.txt"), Text())
    assert field.x.values.tolist() == [0, 1000, 2000]
    assert not field.isnull().any()


def test_file_that_breaks_the_contract_is_a_bad_file(folder):
    with pytest.raises(ReadError, match=r"0000\.txt: the lowest value is -1; a rain rate is not negative"):
        open_radar(write(folder, 0, "rate -1 0"), Text())
    with pytest.warns(InputWarning, match="not negative"):
        assert minutes(open_radar(str(folder / "*.txt"), Text())) == [0, 5, 10, 15]


# --- which format ---------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_formats():
    formats.cache_clear()
    yield
    formats.cache_clear()


@pytest.fixture
def with_entry_point(monkeypatch, fresh_formats):
    def add(name, reader):
        entry = SimpleNamespace(name=name, load=lambda: reader)
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])

    return add


def test_format_of_another_package(folder, with_entry_point):
    with_entry_point("text", Text())
    assert next(iter(formats())) == "text"  # asked first
    assert minutes(open_radar(str(folder / "*.txt"))) == [0, 5, 10, 15]
    assert minutes(open_radar(str(folder / "*.txt"), "text")) == [0, 5, 10, 15]


def test_format_of_another_package_replaces_ours(with_entry_point):
    ours = Text()
    with_entry_point("cf", ours)
    assert formats()["cf"] is ours


def test_unknown_format_and_unknown_file(folder):
    with pytest.raises(InputError, match=r"format 'fmi'; .*Choose one of .*fmi-pgm"):
        open_radar(write(folder, 0), "fmi")
    with pytest.raises(ReadError, match=r"no known radar format \(starts with b'rate 0 0'\)"):
        open_radar(write(folder, 0))
    with pytest.raises(ReadError, match="a folder, and no Zarr store"):
        open_radar(folder)
    (folder / "empty").mkdir()
    with pytest.raises(ReadError, match="the folder is empty"):
        open_radar(folder / "empty")


def test_format_that_fails_to_recognise_is_passed_over(folder, with_entry_point):
    class Fails(Text):
        def recognises(self, path, head):
            raise RuntimeError("damaged")

    with_entry_point("fails", Fails())
    with pytest.raises(ReadError, match="no known radar format"):
        open_radar(write(folder, 0))


def test_every_built_in_format_keeps_the_protocol():
    known = formats()
    assert len(known) >= len(radar.BUILT_IN)
    for module in radar.BUILT_IN:
        reader = importlib.import_module(f"hybridcast.radar.{module}")
        assert isinstance(reader, RadarFormat)
        assert module.replace("_", "-") == reader.NAME
        assert known[reader.NAME] is reader
        assert reader.DESCRIPTION


@pytest.mark.parametrize(
    "content",
    [b"\x00", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"GRIB", b"CDF\x01", b"II*\x00", b"P5\n", b"GIF89a", b"RW2"],
)
@pytest.mark.parametrize("name", ["a.bin", "rainfall_NW_2016_08.3.npz", "201705091045_fmi.pgm"])
@pytest.mark.parametrize("packed", [False, True])
def test_rubbish_that_begins_like_a_format_is_a_read_error(tmp_path, content, name, packed):
    bad = tmp_path / name
    body = content + np.random.default_rng(0).bytes(500)
    bad.write_bytes(gzip.compress(body) if packed else body)
    with pytest.raises(ReadError, match=name):
        open_radar(bad)


def test_each_real_file_is_recognised_by_one_format_before_cf(real):
    known = formats()
    expected = {
        "fmi/20170509/*1045*.gz": "fmi-pgm",
        "mch/20160711/*": "mch-gif",
        "knmi/20100826/*": "knmi-hdf5",
        "opera/20180824/*": "odim-hdf5",
        "mrms/20190610/*": "mrms-grib2",
        "radolan/binary/ry/*": "radolan",
        "meteonet/radar/rainfall_NW*.npz": "meteonet-npz",
        "taasrad/*.npz": "taasrad-npz",
        "mrms_squall/event_017/*.png": "nowcastnet-png",
        "bom/66_20201031/*_1200*.nc": "bom-netcdf",
        "openmrg/20150827/*rad.nc": "opensense-netcdf",
    }
    for pattern, name in expected.items():
        path = real(pattern)[0]
        head = read_head(path)
        general = {"cf", "grib"}  # tried last
        takers = [key for key, reader in known.items() if key not in general and reader.recognises(path, head)]
        assert takers == [name], pattern


def test_importing_stays_light():
    heavy = ("netCDF4", "h5py", "h5netcdf", "zarr", "rasterio", "rioxarray", "cf_xarray", "eccodes", "pysteps", "torch")
    code = f"import sys, hybridcast.radar; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_result_is_an_xarray_with_the_frames_of_a_file_of_many(folder):
    class Many(Text):
        def read(self, path):
            return xr.concat([super(Many, self).read(path).assign_coords(time=[minute(m)]) for m in (10, 0, 5)], "time")

    assert minutes(open_radar(write(folder, 0), Many())) == [0, 5, 10]
