"""RADOLAN and RADKLIM as ASCII grids: their units, rows from north, agreement with the binary format, damage."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pyproj
import pytest

from hybridcast.core.field import crs_of
from hybridcast.errors import ReadError
from hybridcast.radar import open_radar, radolan_ascii

RADOLAN = "ncols 900\nnrows 900\nxllcorner -523462\nyllcorner -4658645\ncellsize 1000\nNODATA_value -1\n"
RADKLIM = "NCOLS 900\nNROWS 1100\nXLLCORNER -443462\nYLLCORNER -4758645\nCELLSIZE 1000\nNODATA_VALUE -9999.0\n"


def write(path, header, values, form="%d"):
    body = "\n".join(" ".join(form % value for value in row) for row in values)
    path.write_text(header + body + "\n")
    return path


def test_the_grid_is_that_of_the_binary_file_of_the_same_hour(real, tmp_path):
    """A real RW, written as CDC writes it, reads like the binary file: values, place and coverage."""
    binary = real("radolan/binary/rw/*.gz")[0]
    data = gzip.decompress(binary.read_bytes())
    raw = np.frombuffer(data[-2 * 900 * 900 :], "<u2").reshape(900, 900)[::-1]
    tenths = np.where(raw == 0x29C4, -1, (raw & 0xFFF).astype(int))
    field = open_radar(write(tmp_path / "RW_20181122-0050.asc", RADOLAN, tenths))
    expected = open_radar(binary).sortby("y", ascending=False)
    assert field.time.values == expected.time.values
    assert radolan_ascii.read_times(tmp_path / "RW_20181122-0050.asc") == expected.time.values
    assert field.attrs["accumulation_interval_minutes"] == 60
    assert field.y.values == pytest.approx(expected.y.values, abs=2)
    assert field.x.values == pytest.approx(expected.x.values, abs=2)
    assert pyproj.Proj(crs_of(field))(9, 51) == pytest.approx(pyproj.Proj(crs_of(expected))(9, 51), abs=0.1)
    np.testing.assert_allclose(field.values, expected.values, rtol=1e-5)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_grids_in_a_container_are_data_and_signatures_are_not(tmp_path, kind):
    """As the Climate Data Center packs them; a signature of PGP has the same suffix."""
    folder = tmp_path / "grids"
    folder.mkdir()
    for minute in ("0050", "0150"):
        write(folder / f"RW_20181122-{minute}.asc", RADOLAN, np.full((900, 900), 7))
    (folder / "RW_20181122-0050.asc.asc").write_text("-----BEGIN PGP SIGNATURE-----")
    field = open_radar(shutil.make_archive(str(tmp_path / "RW_201811"), kind, folder))
    assert field.sizes["time"] == 2
    assert "unreadable_files" not in field.attrs
    np.testing.assert_allclose(field.values, 0.7, rtol=1e-5)


def test_radklim_is_in_millimetres(tmp_path):
    values = np.zeros((1100, 900))
    values[0, :3] = -9999, 0.35, 0
    field = open_radar(write(tmp_path / "YW_2017.002_20160529_1205.asc", RADKLIM, values, "%.2f"))
    assert field.time.values == np.datetime64("2016-05-29T12:05")
    assert field.attrs["accumulation_interval_minutes"] == 5
    np.testing.assert_allclose(field.values[0, 0, :3], [np.nan, 0.35 * 12, 0], rtol=1e-5)
    assert field.y.values[0] == pytest.approx(-4758645 + 1099.5 * 1000)


@pytest.mark.parametrize(
    ("name", "header", "reason"),
    [
        ("rain.asc", RADOLAN, "name is not like RW_20200101-0050"),
        ("RW_20209901-0050.asc", RADOLAN, "name is not like"),
        ("RW_20200101-0050.asc", RADOLAN.replace("-1\n", "-9999\n"), "not of RADOLAN"),
        ("RW_20200101-0050.asc", RADOLAN.replace("ncols 900", "ncols 90"), "not of RADOLAN"),
    ],
)
def test_other_grids_are_refused(tmp_path, name, header, reason):
    with pytest.raises(ReadError, match=reason):
        open_radar(write(tmp_path / name, header, np.zeros((900, 900))))


@pytest.mark.parametrize(
    ("values", "reason"), [(np.zeros((899, 900)), "numbers follow"), (np.full((900, 900), -2), "negative amounts")]
)
def test_damage_is_named(tmp_path, values, reason):
    with pytest.raises(ReadError, match=rf"RW_20200101-0050\.asc.*{reason}"):
        open_radar(write(tmp_path / "RW_20200101-0050.asc", RADOLAN, values))
