from __future__ import annotations

import numpy as np
import pytest

from hybridcast.core.field import crs_of
from hybridcast.errors import ReadError
from hybridcast.radar import open_radar, taasrad_npz

MONTH = "taasrad/taasrad19_2015-11.npz"
NAME = "taasrad19_2016-05.npz"


def month(path, **changed):
    """Write 20 frames of 16 x 16 cells: echoes of 31 dBZ in one corner half of the time, clutter in one cell."""
    grey = np.zeros((20, 16, 16), np.uint8)
    grey[::2, 4:8, 4:8] = 62  # 31 dBZ
    grey[10, 8, 8] = 18  # 9 dBZ
    grey[:5, 11, 6] = 40  # 20 dBZ in a quarter of the frames
    times = np.datetime64("2016-05-14T12:00:00") + np.arange(20) * np.timedelta64(300, "s")
    np.savez(path, **({"gray": grey, "time": times, "dbz_per_level": np.float32(0.5)} | changed))
    return path


def test_values_are_those_of_an_independent_decoding(real):
    field = open_radar(real(MONTH)[0], times=("2015-11-21T06:00", "2015-11-21T12:00")).load()
    assert field.shape == (73, 64, 64)
    with np.load(real(MONTH)[0]) as file:
        at = np.searchsorted(file["time"], np.datetime64("2015-11-21T08:00"))
        dbz = file["gray"][at] * float(file["dbz_per_level"])
    rate = field.sel(time="2015-11-21T08:00").values
    seen = np.isfinite(rate)
    expected = np.where(dbz < 10, 0, (10 ** (dbz / 10) / 200) ** (1 / 1.6))
    np.testing.assert_allclose(rate[seen], expected[seen], rtol=1e-4, atol=1e-6)
    assert 0.7 < seen.mean() < 0.79  # a disc, pi / 4 of the square, less clutter


def test_grid_is_local_and_north_is_up(real):
    field = open_radar(real(MONTH)[0], times=("2015-11-21T06:00", "2015-11-21T07:00"))
    assert crs_of(field) is None
    assert field.y.values[0] == -field.y.values[-1] == 120_000 - 1875
    assert np.diff(field.x.values) == pytest.approx(3750)


def test_clutter_and_cells_out_of_range_are_unknown_and_weak_echoes_dry(tmp_path):
    field = taasrad_npz.read(month(tmp_path / NAME)).load()
    rate = field.values
    assert np.isnan(rate[:, 0, 0]).all()
    assert np.isnan(rate[:, 11, 6]).all()
    assert np.isnan(rate[:, 5, 5]).all()  # half of the time above 15 dBZ: whatever it is, it is no usual rain
    assert (rate[:, 8, 8] == 0).all()


def test_frames_of_wet_days_leave_gaps_that_are_unknown(real):
    field = open_radar(real(MONTH)[0], times=("2015-11-21", "2015-11-23T23:55"))
    assert field.sizes["time"] == 3 * 288
    assert field.sel(time="2015-11-22").isnull().all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gray": np.zeros((20, 16, 15), np.uint8)}, "gray is uint8 of shape"),
        ({"gray": np.zeros((20, 16, 16), np.float32)}, "gray is float32"),
        ({"gray": np.zeros((19, 16, 16), np.uint8)}, "at \\(20,\\) times"),
        ({"time": np.arange(20)}, "gray is uint8"),
        ({"dbz_per_level": np.float32(20)}, "255 levels"),
    ],
)
def test_other_arrays_are_refused(tmp_path, changed, message):
    with pytest.raises(ReadError, match=message):
        taasrad_npz.read(month(tmp_path / NAME, **changed))


def test_a_damaged_file_is_named(tmp_path):
    path = month(tmp_path / NAME)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ReadError, match=NAME):
        open_radar(path)
