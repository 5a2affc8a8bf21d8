from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from hybridcast.core.field import crs_of
from hybridcast.errors import ReadError
from hybridcast.radar import open_radar

EVENT = "mrms_squall/event_017/*.png"


def frame(folder, number, values):
    folder.mkdir(exist_ok=True)
    path = folder / f"gt{number}.png"
    Image.fromarray(values).save(path)
    return path


def test_frames_are_in_the_order_of_their_numbers(real):
    field = open_radar(real(EVENT))
    assert field.shape == (29, 1024, 1024)
    assert (np.diff(field.time.values) == np.timedelta64(10, "m")).all()
    assert crs_of(field) is None
    assert "not in the file" in field.attrs["comment"]
    second = np.asarray(Image.open(next(path for path in real(EVENT) if path.name == "gt2.png")))
    np.testing.assert_allclose(field.values[1], second / 10, rtol=1e-5)
    assert float(field.max()) == pytest.approx(128)


def test_rows_run_from_north_to_south_and_cells_are_those_of_a_hundredth_degree(tmp_path):
    field = open_radar(frame(tmp_path / "event_001", 3, np.full((8, 6), 25, np.uint16)))
    assert field.values == pytest.approx(2.5)
    assert np.diff(field.y.values) == pytest.approx(-1112, abs=1)
    assert np.diff(field.x.values) == pytest.approx(888, abs=1)


def test_a_picture_is_not_taken_for_rain(tmp_path):
    with pytest.raises(ReadError, match="16 bits"):
        open_radar(frame(tmp_path / "event_001", 1, np.full((8, 6), 25, np.uint8)), "nowcastnet-png")
    with pytest.raises(ReadError, match="no known radar format"):
        open_radar(frame(tmp_path / "pictures", 1, np.full((8, 6), 25, np.uint16)))


def test_a_damaged_frame_is_named(tmp_path):
    path = frame(tmp_path / "event_001", 1, np.random.default_rng(0).integers(0, 900, (80, 60)).astype(np.uint16))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ReadError, match=r"gt1\.png"):
        open_radar(path)
