"""RADOLAN composites: DWD's documented corners, flags, intervals, both sizes of grid, damage."""

from __future__ import annotations

import gzip
import tarfile

import numpy as np
import pandas as pd
import pyproj
import pytest
import xarray as xr

from hybridcast.core.field import crs_of
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar import open_radar

RW, RY, YW = (f"radolan/binary/{product}/*.gz" for product in ("rw", "ry", "yw"))

# Outer corners after DWD's description of the composite format: lower left, lower right, upper right, upper left
CORNERS = {
    RY: [(3.5889, 46.9526), (14.6209, 47.0705), (15.7208, 54.7405), (2.0715, 54.5877)],
    YW: [(4.6759, 46.1929), (15.4801, 46.1827), (17.1128, 55.5342), (3.0889, 55.5482)],
}


def composite(
    values: np.ndarray,
    product: str = "RY",
    interval: str = "   5",
    exponent: str = "-02",
    version: int = 3,
    more: str = "",
) -> bytes:
    """Write a composite of 2-byte numbers as DWD does."""
    rows, columns = values.shape
    rest = f"VS{version:2d}SW   2.21.0PR E{exponent}INT{interval}GP{rows:4d}x{columns:4d}{more}MS  9<boo,ros>\x03"
    start = f"{product}011500100000120BY"
    size = len(start) + 7 + len(rest) + 2 * values.size
    size += len(str(size)) > 7  # of DE4800
    return f"{start}{size:7d}{rest}".encode() + values.astype("<u2").tobytes()


def test_three_ry_make_three_frames_at_five_minutes(real):
    field = open_radar(real(RY)[:3])
    assert field.shape == (3, 900, 900)
    assert field.attrs["format"] == "radolan"
    assert (field.time.values == np.array(["2020-01-01T15:00", "2020-01-01T15:05", "2020-01-01T15:10"], "M8[ns]")).all()
    assert field.attrs["accumulation_interval_minutes"] == 5


def test_rw_is_hourly(real):
    field = open_radar(real(RW))
    assert field.shape == (3, 900, 900)
    assert field.time.values[0] == np.datetime64("2018-11-22T00:50")
    assert field.time.values[1] - field.time.values[0] == np.timedelta64(1, "h")
    assert field.attrs["accumulation_interval_minutes"] == 60


@pytest.mark.parametrize(("files", "shape"), [(RY, (900, 900)), (YW, (1100, 900))])
def test_corners_are_those_that_dwd_documents(real, files, shape):
    field = open_radar(real(files)[0])
    assert field.shape[1:] == shape
    sphere = pyproj.Proj("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040")
    x, y = np.transpose([sphere(*corner) for corner in CORNERS[files]])
    left, right = field.x.values[0] - 500, field.x.values[-1] + 500
    bottom, top = field.y.values[0] - 500, field.y.values[-1] + 500
    assert [left, right, right, left] == pytest.approx(x, abs=10)
    assert [bottom, bottom, top, top] == pytest.approx(y, abs=10)
    assert pyproj.Proj(crs_of(field))(9, 51) == pytest.approx(sphere(9, 51))


def test_grid_and_values_agree_with_the_netcdf_made_by_others(real):
    """The published NetCDF gives longitude and latitude of the lower left corner of each cell."""
    field = open_radar(real(RY)[0])
    with xr.open_dataset(real("radolan/radolan_ry_data_compressed.nc")[0]) as other:
        for row, column in [(0, 0), (450, 450), (899, 899)]:
            lon, lat = float(other.longitude[row, column]), float(other.latitude[row, column])
            x, y = pyproj.Proj(crs_of(field))(lon, lat)
            assert x == pytest.approx(field.x.values[column] - 500, abs=2)
            assert y == pytest.approx(field.y.values[row] - 500, abs=2)


def test_units_intervals_and_flags(real):
    """Decode one RY and one RW independently: 0.01 mm in 5 min, 0.1 mm in an hour."""
    for files, factor in ((RY, 0.01 * 12), (RW, 0.1)):
        data = gzip.decompress(real(files)[0].read_bytes())
        raw = np.frombuffer(data[-2 * 900 * 900 :], "<u2").reshape(900, 900)
        rate = open_radar(real(files)[0]).values[0]
        assert (np.isnan(rate) == (raw == 0x29C4)).all()
        seen = raw != 0x29C4
        np.testing.assert_allclose(rate[seen], (raw[seen] % 4096) * factor, rtol=1e-5)


def test_rain_of_an_hour_is_plausible(real):
    """Twelve YW of a rainy night: mean over the wet area, extreme, and coverage."""
    field = open_radar(real(YW)[::4])
    assert field.shape[1:] == (1100, 900)
    assert float(field.isnull().mean()) == pytest.approx(0.385, abs=0.005)
    assert 0.05 < float((field > 0.1).mean()) < 0.3
    assert 0.5 < float(field.where(field > 0.1).mean()) < 5
    assert 20 < float(field.max()) < 250
    assert float(open_radar(real(RY)[0]).isnull().mean()) == pytest.approx(0.220, abs=0.005)


def test_an_hour_of_ry_agrees_with_gauges_where_they_stand(real, tmp_path):
    """The RY of an hour, published as NetCDF, written in the binary format and read again, against 1142 gauges.

    Fields and gauges agree best in place: shifted by 2 km in any direction they agree less.
    """
    with xr.open_dataset(real("radolan/radolan_ry_data_compressed.nc")[0]) as other:
        amounts, times = other.RY.values, pd.to_datetime(other.time.values)
    raw = np.where(np.isnan(amounts), 0x29C4, np.round(amounts * 100)).astype(np.uint16)
    for values, time in zip(raw, times, strict=True):
        made = composite(values).replace(b"RY011500100000120", time.strftime("RY%d%H%M10000%m%y").encode())
        (tmp_path / f"{time:%H%M}").write_bytes(made)
    field = open_radar(tmp_path / "*")
    assert (field.time.values == times.values).all()
    hour = field.mean("time", skipna=False)
    gauges = pd.read_csv(real("radolan/radolan_rain_gauge_data.csv")[0], encoding="latin-1")
    x, y = pyproj.Proj(crs_of(field))(gauges.longitude.values, gauges.latitude.values)

    def at_gauges(shift_x: float = 0.0, shift_y: float = 0.0) -> np.ndarray:
        place = {"x": xr.DataArray(x + shift_x), "y": xr.DataArray(y + shift_y)}
        return hour.sel(place, method="nearest").values

    def correlation(*shift: float) -> float:
        return float(np.corrcoef(at_gauges(*shift), gauges.rainfall_amount)[0, 1])

    here = correlation()
    assert here > 0.87
    assert all(here > correlation(*shift) for shift in [(2000, 0), (-2000, 0), (0, 2000), (0, -2000)])
    assert at_gauges().sum() / gauges.rainfall_amount.sum() == pytest.approx(0.90, abs=0.02)


def test_clutter_follows_its_neighbours(real):
    """Amounts that DWD put in the place of clutter are rain like that around; setting them to 0 would not be."""
    data = gzip.decompress(real(YW)[0].read_bytes())
    raw = np.frombuffer(data[-2 * 1100 * 900 :], "<u2").reshape(1100, 900)
    rate = open_radar(real(YW)[0]).values[0]
    clutter = (raw & 0x8000) != 0
    clutter[:, -1] = False
    rows, columns = np.nonzero(clutter & ~np.roll(clutter, -1, axis=1) & ~np.isnan(np.roll(rate, -1, axis=1)))
    assert rows.size > 500
    assert np.corrcoef(rate[rows, columns], rate[rows, columns + 1])[0, 1] > 0.9


def test_flags_in_a_made_composite(tmp_path):
    values = np.zeros((900, 900), np.uint16)
    values[0, :5] = [25, 25 | 0x1000, 2500 | 0x2000, 25 | 0x4000, 25 | 0x8000]
    path = tmp_path / "made"
    path.write_bytes(composite(values))
    np.testing.assert_allclose(open_radar(path).values[0, 0, :6], [3, 3, np.nan, np.nan, 3, 0], rtol=1e-6)


@pytest.mark.parametrize(("interval", "minutes"), [("1440", 1440), (" 60U0", 60), ("   1U1", 1440)])
def test_intervals_in_minutes_and_days(tmp_path, interval, minutes):
    path = tmp_path / "made"
    path.write_bytes(composite(np.full((900, 900), 240), "SF", interval, "-01"))
    field = open_radar(path)
    assert field.attrs["accumulation_interval_minutes"] == minutes
    assert field.values.max() == pytest.approx(24 * 60 / minutes)


def test_version_5_is_on_the_ellipsoid(tmp_path):
    """DE1200 on WGS84: DWD documents 3.566994635 E 45.69642538 N as the lower left corner."""
    path = tmp_path / "made"
    path.write_bytes(composite(np.zeros((1200, 1100)), version=5))
    field = open_radar(path)
    x, y = pyproj.Proj("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +ellps=WGS84")(3.566994635, 45.69642538)
    assert (field.x.values[0], field.y.values[0]) == pytest.approx((x + 500, y + 500), abs=2)


# --- reflectivity ---------------------------------------------------------------------------------------------


def test_a_byte_of_reflectivity_is_in_rvp_6_units(tmp_path):
    """RX: v / 2 - 32.5 dBZ; 249 is clutter, 250 no data, 0 no echo; 111 is 23 dBZ, about .85 mm/h by Z = 256 R^1.42."""
    values = np.zeros((900, 900), np.uint8)
    values[0, :6] = 0, 111, 145, 249, 250, 255
    made = composite(np.zeros((900, 900)), "RX", exponent="+00")
    header = made[: made.index(b"\x03") + 1]
    size = len(header) + values.size
    path = tmp_path / "raa01-rx_10000-2001011500-dwd---bin"
    path.write_bytes(header.replace(made[19:26], f"{size:7d}".encode()) + values.tobytes())
    field = open_radar(path)
    rate = field.values[0, 0, :6]
    assert rate[0] == 0
    assert rate[1] == pytest.approx((10**2.3 / 256) ** (1 / 1.42), rel=1e-5)
    assert rate[2] == pytest.approx((10**4.0 / 256) ** (1 / 1.42), rel=1e-5)
    assert np.isnan(rate).tolist() == [False, False, False, True, True, True]
    assert "accumulation_interval_minutes" not in field.attrs
    assert field.attrs["z_r_relation"] == "Z = 256 R^1.42"


def test_two_bytes_of_reflectivity_are_multiplied_by_the_precision(tmp_path):
    """wradlib issue 548: WN on DE1200 states E-01, so dBZ = v * .1 / 2 - 32.5; without it 40 dBZ became 692."""
    values = np.zeros((1200, 1100), np.uint16)
    values[0, :4] = 1450, 0x29C4, 1450 | 0x8000, 0
    path = tmp_path / "WN"
    path.write_bytes(composite(values, "WN", exponent="-01", version=5, more="VV 000"))
    field = open_radar(path)
    assert field.values[0, 0, 0] == pytest.approx((10**4.0 / 256) ** (1 / 1.42), rel=1e-4)
    assert np.isnan(field.values[0, 0, :4]).tolist() == [False, True, True, False]
    assert field.values[0, 0, 3] == 0


# --- forecasts ------------------------------------------------------------------------------------------------

DWD = "nwp_real/dwd_20221214"


def test_rq_of_lead_0_is_the_sum_of_the_hour_before(real):
    field = open_radar(real(f"{DWD}/RQ2212141300_000.gz")[0])
    assert field.time.values[0] == np.datetime64("2022-12-14T13:00")
    assert field.attrs["accumulation_interval_minutes"] == 60
    agreement = [_correlation(field, open_radar(path)) for path in real(f"{DWD}/raa01-rw_10000-22121412*.gz")]
    agreement += [_correlation(field, open_radar(path)) for path in real(f"{DWD}/raa01-rw_10000-22121411*.gz")]
    assert agreement == pytest.approx([0.79, 0.41], abs=0.02)


def _correlation(a, b):
    both = np.isfinite(a.values) & np.isfinite(b.values)
    return np.corrcoef(a.values[both], b.values[both])[0, 1]


@pytest.mark.parametrize(("lead", "text"), [("060", r"\+60 min"), ("120", r"\+120 min")])
def test_rq_of_other_leads_is_no_observation(real, lead, text):
    with pytest.raises(ForecastFileError, match=rf"RQ2212141300_{lead}\.gz: a forecast \({text}\)"):
        open_radar(real(f"{DWD}/RQ2212141300_{lead}.gz")[0])


def test_of_the_members_of_rv_the_first_is_the_analysis(real, tmp_path):
    """A tar with the lead times 0 to 120 min; its rain of five minutes lies where that of the hour does."""
    with tarfile.open(real(f"{DWD}/DE1200_RV2212141300.tar.bz2")[0]) as archive:
        for lead in ("000", "005"):
            name = f"DE1200_RV2212141300_{lead}"
            (tmp_path / name).write_bytes(archive.extractfile(name).read())
    field = open_radar(tmp_path / "DE1200_RV2212141300_000")
    assert field.time.values[0] == np.datetime64("2022-12-14T13:00")
    assert field.attrs["accumulation_interval_minutes"] == 5
    assert field.shape == (1, 1200, 1100)
    with pytest.raises(ForecastFileError, match=r"\+5 min"):
        open_radar(tmp_path / "DE1200_RV2212141300_005")
    with pytest.warns(InputWarning, match="forecast"):
        both = open_radar(tmp_path / "*")
    assert both.sizes["time"] == 1
    assert "DE1200_RV2212141300_005" in both.attrs["forecasts_left_out"]
    hour = open_radar(real(f"{DWD}/RQ2212141300_000.gz")[0])
    lon, lat = np.meshgrid(np.linspace(6, 14, 60), np.linspace(48, 54, 60))

    def at_places(rain, shift=0.0):
        x, y = pyproj.Proj(crs_of(rain))(lon, lat + shift)
        return np.nan_to_num(rain.sel(x=xr.DataArray(x), y=xr.DataArray(y), method="nearest").values[0]).ravel()

    def agreement(shift=0.0):
        return np.corrcoef(at_places(field, shift), at_places(hour))[0, 1]

    assert agreement() > 0.4
    assert agreement() > max(agreement(1.0), agreement(-1.0)) + 0.2


def test_de4800_is_de1200_in_cells_of_250_m(tmp_path):
    for name, shape in (("fine", (4800, 4400)), ("coarse", (1200, 1100))):
        (tmp_path / name).write_bytes(composite(np.zeros(shape), "RV", version=5))
    fine, coarse = (open_radar(tmp_path / name) for name in ("fine", "coarse"))
    for axis in "xy":
        assert np.diff(fine[axis]).mean() == pytest.approx(250)
        assert fine[axis].values.reshape(-1, 4).mean(axis=1) == pytest.approx(coarse[axis].values)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (composite(np.zeros((900, 900)))[:-2], "announces"),
        (composite(np.zeros((900, 900)))[:100], "header"),
        (composite(np.zeros((900, 900))) + b"\0", "announces"),
        (composite(np.zeros((900, 900)), "RD"), "product RD is a difference"),
        (composite(np.zeros((900, 900)), "RE"), "product RE is rain with flags of phase and hail"),
        (composite(np.zeros((900, 900)), "PG"), "product PG is a picture of a few classes"),
        (b"DX021655109080608BY54213VS 2CO0CD2CS0EP0.30.30.40.50.50.40.40.4MS999~ 54", "product DX is of one radar"),
        (composite(np.zeros((900, 900)), "RX")[:-1000], "announces"),
        (composite(np.zeros((900, 900)), "WN", more="VV 005"), r"a forecast \(\+5 min\)"),
        (composite(np.zeros((90, 90))), "grid"),
        (composite(np.zeros((900, 900)), "RV", more="VV 060"), r"a forecast \(\+60 min\)"),
        (composite(np.zeros((900, 900)), interval="   0"), "interval"),
        (composite(np.zeros((900, 900))).replace(b"GP 900x 900", b"GP 900x1100"), "grid"),
        (composite(np.zeros((900, 900))).replace(b"GP 900x 900", b"GP1100x 900"), "bytes follow"),
        (composite(np.zeros((900, 900))).replace(b"RY011500", b"RY411500"), "time in the header"),
    ],
)
def test_damage_is_named(tmp_path, made, reason):
    path = tmp_path / "damaged---bin"
    path.write_bytes(made)
    with pytest.raises(ReadError, match=rf"damaged---bin.*{reason}"):
        open_radar(path)


def test_truncated_gzip_is_named(real, tmp_path):
    path = tmp_path / "cut.gz"
    path.write_bytes(real(RY)[0].read_bytes()[:4000])
    with pytest.raises(ReadError, match=r"cut\.gz"):
        open_radar(path)
