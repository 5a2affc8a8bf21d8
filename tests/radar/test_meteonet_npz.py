from __future__ import annotations

import io
import pickle
import shutil
import zipfile
from datetime import datetime, timedelta

import numpy as np
import pytest

from hybridcast.core.field import crs_of, metres_per_cell
from hybridcast.errors import InputError, ReadError
from hybridcast.radar import meteonet_npz, open_radar

SAMPLE = "meteonet/radar/rainfall_NW_2016_08.3.npz"
NAME = "rainfall_NW_2016_08.3.npz"


@pytest.fixture(scope="module")
def all_frames(real):
    return meteonet_npz.read(real(SAMPLE)[0])


def test_scattered_frames_are_read_but_not_filled_up(real, all_frames):
    assert all_frames.shape == (45, 565, 784)
    with pytest.raises(InputError, match=r"45 frames are scattered over 2885 steps of 5 min.*times=\(first, last\)"):
        open_radar(real(SAMPLE))


def test_frames_close_in_time_open_with_gaps_as_missing_frames(real):
    field = open_radar(real(SAMPLE), times=("2016-08-21T00:50", "2016-08-21T02:00"))
    assert field.shape == (9, 565, 784)
    assert field.time.values[0] == np.datetime64("2016-08-21T00:55")
    gone = field.isnull().all(("y", "x")).values
    assert gone.sum() == 3
    with pytest.raises(InputError, match="no frame from 2017-01-01"):
        open_radar(real(SAMPLE), times=("2017-01-01", datetime(2017, 1, 2)))


def test_values_are_those_of_an_independent_decoding(real, all_frames):
    with np.load(real(SAMPLE)[0]) as file:
        raw = file["data"][5]
    rate = all_frames.values[5]
    np.testing.assert_allclose(rate[raw >= 0], raw[raw >= 0] / 100 * 12, rtol=1e-5)
    assert (np.isnan(rate) == (raw == -1)).all()
    assert 0.1 < np.isnan(rate).mean() < 0.5  # it differs from frame to frame
    assert 0.3 < rate[rate > 0.1].mean() < 5
    assert all_frames.attrs["accumulation_interval_minutes"] == 5
    assert all_frames.attrs["license"].startswith("Etalab")


def test_places_are_those_of_the_coordinates_file(real, all_frames):
    with np.load(real("meteonet/radar/radar_coords_NW.npz")[0]) as file:
        lats, lons = file["lats"], file["lons"]
    assert crs_of(all_frames).to_epsg() == 4326
    brest = all_frames.sel(x=-4.49, y=48.39, method="nearest")
    row, column = np.unravel_index(np.argmin((lats - 48.39) ** 2 + (lons + 4.49) ** 2), lats.shape)
    np.testing.assert_array_equal(brest, all_frames.values[:, row, column])
    assert abs(float(brest.y) - 48.39) <= 0.0051
    assert abs(float(brest.x) + 4.49) <= 0.0051
    dy, dx = metres_per_cell(all_frames)
    assert dy == pytest.approx(-1112, abs=1)
    assert dx[0] < dx[-1]  # rows run from north to south


def test_sea_far_from_land_is_out_of_coverage_and_paris_is_in(all_frames):
    assert np.isnan(all_frames.sel(x=-5.8, y=51.8, method="nearest")).all()
    assert np.isfinite(all_frames.sel(x=1.4, y=48.4, method="nearest")).all()  # Chartres


# --- files made here ------------------------------------------------------------------------------------------


def make(folder, name=NAME, frames=3, dates=None, data=None, coords=True):
    folder.mkdir(parents=True, exist_ok=True)
    if data is None:
        data = np.arange(frames * 12, dtype=np.int16).reshape(frames, 3, 4) - 1
    if dates is None:
        dates = [datetime(2016, 8, 21) + timedelta(minutes=5 * i) for i in range(frames)]
    np.savez(folder / name, data=data, dates=np.array(dates, dtype=object), miss_dates=np.array([]))
    if coords:
        lons, lats = np.meshgrid(1 + 0.01 * np.arange(4), 47 - 0.01 * np.arange(3))
        np.savez(folder / "radar_coords_NW.npz", lats=lats, lons=lons)
    return folder / name


def test_small_file(tmp_path):
    field = open_radar(make(tmp_path))
    assert field.shape == (3, 3, 4)
    assert np.isnan(field.values[0, 0, 0])
    assert float(field.values[0, 0, 2]) == pytest.approx(0.12)
    assert float(field.y[0]) == 47


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_coordinates_are_found_in_the_folders_above(tmp_path, depth):
    make(tmp_path)
    folder = tmp_path.joinpath(*"abc"[:depth])
    folder.mkdir(parents=True, exist_ok=True)
    path = make(folder, coords=depth == 0)
    assert open_radar(path).shape == (3, 3, 4)


def test_missing_coordinates_are_asked_for(tmp_path):
    make(tmp_path)
    path = make(tmp_path / "a" / "b" / "c" / "d", coords=False)
    with pytest.raises(ReadError, match=r"radar_coords_NW\.npz is not in .* put it there"):
        open_radar(path)


def test_coordinates_that_are_no_grid_are_refused(tmp_path):
    path = make(tmp_path)
    np.savez(tmp_path / "radar_coords_NW.npz", lats=np.random.default_rng(0).random((3, 4)), lons=np.ones((3, 4)))
    with pytest.raises(ReadError, match="no regular grid"):
        open_radar(path)


def test_shapes_must_fit(tmp_path):
    path = make(tmp_path, dates=[datetime(2016, 8, 21)])
    with pytest.raises(ReadError, match="1 dates and 3 x 4 cells"):
        open_radar(path)


def test_other_codes_and_types_are_refused(tmp_path):
    with pytest.raises(ReadError, match=r"holds -0.6 mm.h, a code"):
        open_radar(make(tmp_path, data=np.full((3, 3, 4), -5, np.int16)))
    with pytest.raises(ReadError, match="not whole hundredths"):
        open_radar(make(tmp_path, data=np.ones((3, 3, 4))))


class Harmful:
    def __reduce__(self):
        return print, ("code from a file has run",)


def test_code_in_the_pickled_dates_is_not_run(tmp_path, capsys):
    good = make(tmp_path)
    bad = tmp_path / "rainfall_NW_2016_08.2.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        target.writestr("data.npy", source.read("data.npy"))
        target.writestr("dates.npy", header.getvalue() + pickle.dumps(Harmful()))
    with pytest.raises(ReadError, match=r"builtins\.print, which is refused"):
        open_radar(bad)
    assert "code from a file" not in capsys.readouterr().out


def test_damaged_files_are_named(tmp_path):
    good = make(tmp_path).read_bytes()
    for number, content in enumerate((b"", good[:10], good[:200], good[: len(good) // 2], good[: len(good) - 30])):
        bad = tmp_path / f"rainfall_NW_2016_0{number}.1.npz"
        bad.write_bytes(content)
        with pytest.raises(ReadError, match=bad.name):
            open_radar(bad)
    np.savez(tmp_path / "rainfall_NW_2016_09.1.npz", other=np.ones(3))
    with pytest.raises(ReadError, match="incomplete"):
        open_radar(tmp_path / "rainfall_NW_2016_09.1.npz")


def test_quality_reflectivity_and_coordinates_are_not_rain(real):
    for path in real("meteonet/radar/*.npz"):
        assert meteonet_npz.recognises(path, path.read_bytes()[:8]) == (path.name == NAME)


# --- patches --------------------------------------------------------------------------------------------------


def test_patches_are_a_local_grid(real):
    field = open_radar(real("meteonet_wind/history_20160109/data/pred_example/rain/*.npz"))
    assert field.shape == (12, 128, 128)
    assert crs_of(field) is None
    assert field.time.values[-1] == np.datetime64("2016-01-09T05:55")
    dy, dx = metres_per_cell(field)
    assert dy == pytest.approx(-1112, abs=1)
    assert dx[0] == pytest.approx(744, abs=1)
    assert 0.5 < float(field.where(field > 0.1).mean()) < 6


def test_patches_of_wind_are_refused(real, tmp_path):
    wind = real("meteonet_wind/pred_example/U/*.npz")[0]
    with pytest.raises(ReadError, match="no known radar format"):
        open_radar(wind)
    with pytest.raises(ReadError, match="folder 'rain'"):
        open_radar(wind, "meteonet-npz")
    (tmp_path / "rain").mkdir()
    flat = tmp_path / "rain" / wind.name
    np.savez(flat, np.ones(5, np.int16))
    with pytest.raises(ReadError, match=r"shape \(5,\)"):
        open_radar(flat)
    shutil.rmtree(tmp_path / "rain")
