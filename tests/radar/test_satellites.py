"""Satellite rain: files made after the specifications, places by the operators' equations."""

from __future__ import annotations

import h5py
import netCDF4
import numpy as np
import pyproj
import pytest

from helpers.geostationary import goes_place, meteosat_place
from hybridcast import Persistence, forecast
from hybridcast.core.field import crs_of, metres_per_cell
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar import open_radar


def value_at(field, longitude, latitude, tolerance):
    x, y = pyproj.Transformer.from_crs(4326, crs_of(field), always_xy=True).transform(longitude, latitude)
    return float(field[0].sel(x=x, y=y, method="nearest", tolerance=tolerance))


# --- IMERG ----------------------------------------------------------------------------------------------------

RATES = np.zeros((4, 3), np.float32)  # (lon, lat), as in the files
RATES[2, 1], RATES[0, 0] = 7.5, -9999.9
LONGITUDES, LATITUDES = np.array([-0.15, -0.05, 0.05, 0.15], "f4"), np.array([50.05, 50.15, 50.25], "f4")
SPAN = "StartGranuleDateTime=2024-06-01T12:00:00.000Z;\nStopGranuleDateTime=2024-06-01T12:29:59.999Z;\n"


def imerg(path, name="precipitation", group="Grid", algorithm="3IMERGHH", interval="HALF_HOUR", minutes=0):
    """Write a file as described in the header of 3B-HHR.MS.MRG.3IMERG.19980101-S000000-E002959.0000.V07B.HDF5."""
    header = f"DOI=10.5067/GPM/IMERG/3B-HH/07;\nAlgorithmID={algorithm};\nSatelliteName=MULTI;\n{SPAN}"
    start = np.datetime64("2024-06-01T12:00") + np.timedelta64(minutes, "m")
    with h5py.File(path, "w") as file:
        file.attrs["FileHeader"] = f"{header}TimeInterval={interval};\nProductVersion=V07B;\n"
        grid = file.create_group(group) if group else file
        for dim, values in {"time": None, "lon": LONGITUDES, "lat": LATITUDES}.items():
            seconds = [(start - np.datetime64("1980-01-06T00:00")) // np.timedelta64(1, "s")]
            grid[dim] = np.array(seconds, "i4") if values is None else values
            grid[dim].make_scale(dim)
        grid["time"].attrs["units"] = "seconds since 1980-01-06 00:00:00 UTC"
        grid["time"].attrs["calendar"] = "julian"
        for variable in (name, "randomError"):
            grid[variable] = RATES[None]
            for axis, dim in enumerate(("time", "lon", "lat")):
                grid[variable].dims[axis].attach_scale(grid[dim])
            grid[variable].attrs["_FillValue"] = np.float32(-9999.9)
            grid[variable].attrs["units"] = "mm/hr"
        if group:
            grid.create_group("Intermediate")["IRprecipitation"] = RATES[None] * 3
    return path


@pytest.mark.parametrize(
    ("name", "group"), [("precipitation", "Grid"), ("precipitationCal", "Grid"), ("precipitation", "")]
)
def test_imerg(tmp_path, name, group):
    field = open_radar(imerg(tmp_path / "a.HDF5", name, group))
    assert field.attrs["format"] == "imerg-hdf5"
    assert field.attrs["observation"] == "satellite"
    assert "final" in field.attrs["source"]
    assert field.time.values[0] == np.datetime64("2024-06-01T12:30")
    assert value_at(field, 0.05, 50.15, 0.01) == 7.5
    values = field.values[0]
    assert np.isnan(values).sum() == 1
    assert np.isnan(values[0, 0])
    assert (values == 0).sum() == 10


@pytest.mark.parametrize(("algorithm", "run"), [("3IMERGHHE", "early"), ("3IMERGHHL", "late")])
def test_imerg_runs(tmp_path, algorithm, run):
    assert run in open_radar(imerg(tmp_path / "a.HDF5", algorithm=algorithm)).attrs["source"]


def test_imerg_of_months_is_refused(tmp_path):
    with pytest.raises(ReadError, match=r"time interval MONTH\. Give the half-hourly ones"):
        open_radar(imerg(tmp_path / "a.HDF5", algorithm="3IMERGM", interval="MONTH"))


def test_a_sequence_of_imerg(tmp_path):
    for k in range(3):
        imerg(tmp_path / f"{k}.HDF5", minutes=30 * k)
    field = open_radar(str(tmp_path / "*.HDF5"))
    assert np.diff(field.time.values).tolist() == [np.timedelta64(30, "m").astype("m8[ns]").astype(int)] * 2


def test_damaged_imerg_is_named(tmp_path):
    good = imerg(tmp_path / "good.HDF5").read_bytes()
    (tmp_path / "bad.HDF5").write_bytes(good[: len(good) // 2])
    with pytest.raises(ReadError, match=r"bad\.HDF5"):
        open_radar(tmp_path / "bad.HDF5").load()


# --- NWC SAF --------------------------------------------------------------------------------------------------

EDGES = {"gdal_xgeo_up_left": -601500.0, "gdal_ygeo_up_left": 4603500.0, "step": 3000.0}


def nwcsaf(path, name="crr_intensity", km=True, minute=0, **attrs):
    """Write a file as `pysteps.io.import_saf_crri` and satpy read them: 5 x 6 pixels of 3 km."""
    raw = np.zeros((5, 6), "u2")
    raw[2, 4], raw[0, 0] = 123, 65535
    scale = 1e-3 if km else 1.0
    lengths = {"a": 6378169.0 * scale, "b": 6356583.8 * scale, "h": 35785831.0 * scale}
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("ny", 5)
        file.createDimension("nx", 6)
        variable = file.createVariable(name, "u2", ("ny", "nx"), fill_value=65535)
        variable.set_auto_maskandscale(False)
        variable[:] = raw
        variable.setncatts(
            {"scale_factor": 0.1, "add_offset": 0.0, "units": "mm/h", "valid_range": np.array([0, 500], "u2")}
        )
        file.createVariable(name.split("_")[0], "u1", ("ny", "nx"), fill_value=255)[:] = 1
        lengths = " ".join(f"+{key}={value:f}" for key, value in lengths.items())
        file.setncatts(
            {
                "gdal_projection": f"+proj=geos +lon_0=0.000000 {lengths}",
                "gdal_xgeo_up_left": EDGES["gdal_xgeo_up_left"],
                "gdal_ygeo_up_left": EDGES["gdal_ygeo_up_left"],
                "gdal_xgeo_low_right": EDGES["gdal_xgeo_up_left"] + 6 * EDGES["step"],
                "gdal_ygeo_low_right": EDGES["gdal_ygeo_up_left"] - 5 * EDGES["step"],
                "nominal_product_time": f"2024-06-01T12:{minute:02d}:00Z",
                "time_coverage_start": f"2024-06-01T12:{minute:02d}:10Z",
                "time_coverage_end": f"2024-06-01T12:{minute + 12:02d}:30Z",
                "satellite_identifier": "MSG4",
                "source": "NWC/GEO version v2018",
                **attrs,
            }
        )
    return path


@pytest.mark.parametrize("km", [True, False])
@pytest.mark.parametrize("name", ["crr_intensity", "crrph_intensity"])
def test_nwcsaf(tmp_path, name, km):
    field = open_radar(nwcsaf(tmp_path / "S_NWC_CRR_MSG4_Europe-VISIR_20240601T120000Z.nc", name, km))
    assert field.attrs["format"] == "nwcsaf-netcdf"
    assert field.attrs["observation"] == "satellite"
    assert field.time.values[0] == np.datetime64("2024-06-01T12:00")
    centre = -601500.0 + 4.5 * 3000, 4603500.0 - 2.5 * 3000
    place = meteosat_place(*(length / 35785831.0 for length in centre))
    assert value_at(field, *place, 100) == pytest.approx(12.3)
    values = field.values[0]
    assert np.isnan(values).sum() == 1
    assert np.isnan(values[0, 0])
    assert (values == 0).sum() == 28


def test_extrapolated_nwcsaf_is_a_forecast(tmp_path):
    with pytest.raises(ForecastFileError, match=r"\+15 min, extrapolated"):
        open_radar(nwcsaf(tmp_path / "S_NWC_CRR_MSG4_Europe-VISIR_20240601T120000Z_015.nc"))
    with pytest.raises(ForecastFileError, match=r"\+30 min"):
        open_radar(nwcsaf(tmp_path / "a.nc", id="S_NWC_CRR_MSG4_Europe-VISIR_20240601T120000Z_030.nc"))


def test_nwcsaf_without_its_edges_is_refused(tmp_path):
    path = nwcsaf(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.delncattr("gdal_xgeo_low_right")
    with pytest.raises(ReadError, match="hold no gdal_xgeo_low_right"):
        open_radar(path)


# --- GOES-R ---------------------------------------------------------------------------------------------------


# serapeum-org/pyramids #449: x and y are packed as 16-bit integers of radians, though their projection is in metres
def goes(path, minute=4, cells=(5, 6), first=(0.05, 0.02)):
    """Write a file as the Product Definition and Users' Guide lists it, around a place in the eastern United States."""
    raw = np.zeros(cells, "i2")
    raw[2, 4], raw[1, 1], raw[0, 0] = 6553, -36, -1  # 10 mm/h, 65500: 99.95 mm/h, missing
    quality = np.zeros(cells, "i1")
    quality[3, 3] = 1
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in zip(("y", "x"), cells, strict=True):
            file.createDimension(dim, size)
        rate = file.createVariable("RRQPE", "i2", ("y", "x"), fill_value=-1)
        rate.set_auto_maskandscale(False)
        rate[:] = raw
        rate.setncatts(
            {
                "long_name": "ABI L2+ Rainfall Rate - Quantitative Prediction Estimate",
                "standard_name": "rainfall_rate",
                "_Unsigned": "true",
                "valid_range": np.array([0, -6], "i2"),
                "scale_factor": np.float32(0.00152602),
                "add_offset": np.float32(0),
                "units": "mm h-1",
                "grid_mapping": "goes_imager_projection",
                "ancillary_variables": "DQF",
            }
        )
        flag = file.createVariable("DQF", "i1", ("y", "x"), fill_value=-1)
        flag[:] = quality
        flag.flag_values = np.array([0, 1], "i1")
        flag.flag_meanings = "good_quality_qf degraded_quality_or_invalid_qf"
        for dim, start, step, size in (("y", first[0], -5.6e-5, cells[0]), ("x", first[1], 5.6e-5, cells[1])):
            axis = file.createVariable(dim, "i2", (dim,))
            axis.set_auto_maskandscale(False)
            axis[:] = np.arange(size)
            axis.setncatts({"scale_factor": np.float32(step), "add_offset": np.float32(start), "units": "rad"})
            axis.setncatts({"axis": dim.upper(), "standard_name": f"projection_{dim}_coordinate"})
        time = file.createVariable("t", "f8", ())
        stamp = np.datetime64(f"2024-06-01T12:{minute:02d}:35.900") - np.datetime64("2000-01-01T12:00")
        time[...] = stamp / np.timedelta64(1, "s")
        time.setncatts({"units": "seconds since 2000-01-01 12:00:00", "standard_name": "time", "bounds": "time_bounds"})
        mapping = file.createVariable("goes_imager_projection", "i4", ())
        mapping.setncatts(
            {
                "grid_mapping_name": "geostationary",
                "perspective_point_height": 35786023.0,
                "semi_major_axis": 6378137.0,
                "semi_minor_axis": 6356752.31414,
                "inverse_flattening": 298.2572221,
                "latitude_of_projection_origin": 0.0,
                "longitude_of_projection_origin": -75.0,
                "sweep_angle_axis": "x",
            }
        )
        file.setncatts({"title": "ABI L2 Rainfall Rate / QPE", "platform_ID": "G16"})
    return path


def test_goes(tmp_path):
    field = open_radar(goes(tmp_path / "OR_ABI-L2-RRQPEF-M6_G16_s20241531200205.nc"))
    assert field.attrs["format"] == "goes-rrqpe"
    assert (field.attrs["observation"], field.attrs["platform"]) == ("satellite", "G16")
    assert field.time.values[0] == np.datetime64("2024-06-01T12:04:36")
    place = goes_place(0.02 + 4 * 5.6e-5, 0.05 - 2 * 5.6e-5)
    assert value_at(field, *place, 100) == pytest.approx(6553 * 0.00152602, rel=1e-5)
    values = field.values[0]
    assert values[1, 1] == pytest.approx(65500 * 0.00152602, rel=1e-5)
    assert np.argwhere(np.isnan(values)).tolist() == [[0, 0], [3, 3]]
    assert (values == 0).sum() == 26


def test_a_sequence_of_goes_and_its_forecast(tmp_path):
    for minute in (4, 14, 24):
        goes(tmp_path / f"{minute}.nc", minute, (48, 64))
    field = open_radar(str(tmp_path / "*.nc"))
    assert field.sizes["time"] == 3
    _, dx = metres_per_cell(field)
    # 2 km below the satellite; here 25 degrees north and 11 east of it, so larger, most so along the meridian
    longitude, latitude = goes_place(0.02 + np.array([0, 5.6e-5]), np.full(2, 0.05))
    step = pyproj.Geod(ellps="GRS80").inv(longitude[0], latitude[0], longitude[1], latitude[1])[2]
    assert np.mean(np.abs(dx)) == pytest.approx(step, rel=0.03)
    made = forecast(field, lead_time="20min", nowcaster=Persistence())
    assert made.sizes["lead_time"] == 2


def test_goes_without_its_flags(tmp_path):
    path = goes(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("DQF", "other")
    with pytest.warns(InputWarning, match="has no quality flags"):
        assert np.isnan(open_radar(path).values[0]).sum() == 1


def test_goes_without_the_meanings_of_its_flags_is_refused(tmp_path):
    path = goes(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["DQF"].delncattr("flag_meanings")
    with pytest.raises(ReadError, match="DQF does not state the meanings"):
        open_radar(path)
