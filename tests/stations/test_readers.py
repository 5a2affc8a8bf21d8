"""Station files: real ones where available, with independent values, and files written after the documentation."""

from __future__ import annotations

import bz2
import gzip
import json

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import hybridcast.stations
from helpers.stations_synthetic import MINUTE
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.radar import open_radar
from hybridcast.stations import get_interval, open_stations, sample_radar, save_stations
from hybridcast.stations.schema import compute_amounts

CITY_8D = "openmrg/8d_20150722/openmrg_municp_gauge_8d.nc"
SMHI_8D = "openmrg/8d_20150722/openmrg_smhi_gauge_8d.nc"
CITY_27 = "openmrg/20150827/openMRG_city_gauges_20150827.nc"
SMHI_27 = "openmrg/20150827/openMRG_smhi_gauge_20150827.nc"


# --- OpenMRG and OpenRainER -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "stations", "times", "minutes", "total"),
    [  # totals in mm as netCDF4 alone sums them up
        (CITY_8D, 10, 11520, 1, 489.1),
        (SMHI_8D, 1, 768, 15, 58.3),
        (CITY_27, 10, 1440, 1, 249.8),
        (SMHI_27, 1, 96, 15, 20.4),
        ("openrainer/openrainer_AWS.nc", 280, 11, 15, 2891.6),
        ("openrainer/8d/openrainer_gauges_8d.nc", 319, 768, 15, 16014.6),
    ],
)
def test_opensense_gauges(real, path, stations, times, minutes, total):
    made = open_stations(real(path))
    assert dict(made.sizes) == {"station": stations, "time": times}
    assert get_interval(made) == minutes * MINUTE
    assert float(compute_amounts(made).sum()) == pytest.approx(total, rel=1e-4)
    with netCDF4.Dataset(real(path)[0]) as file:
        assert np.ma.filled(file["rainfall_amount"][:], np.nan)[~np.isnan(file["rainfall_amount"][:])].sum() == (
            pytest.approx(total, rel=1e-4)
        )
    assert made.attrs["format"] == "opensense-gauges"


def test_openmrg_says_steps_and_openrainer_heights(real):
    assert open_stations(real(CITY_8D)).resolution.values.tolist() == [0.1] * 7 + [0.2] * 3
    heights = open_stations(real("openrainer/openrainer_AWS.nc")).altitude
    assert float(heights.sel(station="Torriglia_915454_4451485")) == 769.0


def test_city_and_smhi_join_on_a_quarter_of_an_hour_and_both_are_ends(real):
    made = open_stations([*real(CITY_27), *real(SMHI_27)])
    assert made.sizes["station"] == 11
    assert made.attrs["merged_intervals_minutes"] == [1.0, 15.0]
    smhi = made.precipitation_rate.sel(station="SMHI").values
    near = made.precipitation_rate.sel(station=["Drakeg", "Lbom"]).mean("station").values
    both = np.isfinite(smhi) & np.isfinite(near)
    as_read = np.corrcoef(smhi[both], near[both])[0, 1]
    began = both[1:] & both[:-1]
    if_smhi_were_starts = np.corrcoef(smhi[:-1][began], near[1:][began])[0, 1]
    assert as_read > 0.8
    assert as_read > if_smhi_were_starts + 0.2


def test_radar_and_gauges_agree(openrainer):
    radar, stations = openrainer
    seen, gauge = sample_radar(stations, radar).values, stations.precipitation_rate.values
    both = np.isfinite(seen) & np.isfinite(gauge)
    assert both.sum() > 2000
    assert np.corrcoef(np.sqrt(seen[both]), np.sqrt(gauge[both]))[0, 1] > 0.6


# --- RADOLAN --------------------------------------------------------------------------------------------------


def test_radolan_gauges_meet_the_hour_of_radar(real):
    gauges = open_stations(real("radolan/radolan_rain_gauge_data.csv"))
    assert dict(gauges.sizes) == {"station": 1142, "time": 1}
    assert get_interval(gauges) == 60 * MINUTE
    assert gauges.time.values[0] == np.datetime64("2021-08-23T09:50")
    assert float(gauges.precipitation_rate.mean()) == pytest.approx(0.290385, rel=1e-5)
    assert str(gauges.station_name.sel(station="A112").values) == "Wrixum/F\ufffdhr"  # so published
    table = pd.read_csv(real("radolan/radolan_rain_gauge_data.csv")[0]).set_index("station_id").loc[gauges.station]
    with xr.open_dataset(real("radolan/radolan_ry_data_compressed.nc")[0], engine="h5netcdf") as file:
        assert file.time.values[[0, -1]].tolist() == [
            np.datetime64(f"2021-08-23T{hour}", "ns").astype(int) for hour in ("08:50", "09:45")
        ]
        hour = file.RY.sum("time").sel(
            x=xr.DataArray(table.x.values, dims="station"),
            y=xr.DataArray(table.y.values, dims="station"),
            method="nearest",
        )
        assert np.corrcoef(hour.values, gauges.precipitation_rate.values[:, 0])[0, 1] > 0.78


# --- MeteoNet, after its documentation ------------------------------------------------------------------------


def meteonet(path, dates, stations=(14066001, 14137001), precip=0.2):
    rows = [
        {
            "number_sta": number,
            "lat": 49.33 + n / 100,
            "lon": -0.43,
            "height_sta": 2.0,
            "date": date,
            "dd": 210.0,
            "ff": 4.4,
            "precip": precip if n == 0 else np.nan,
            "hu": 91.0,
            "td": 278.45,
            "t": 279.85,
            "psl": 101200.0,
        }
        for date in dates
        for n, number in enumerate(stations)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "dates", [["20160101 00:00", "20160101 00:06"], ["2016-01-01 00:00:00", "2016-01-01 00:06:00"]]
)
def test_meteonet(tmp_path, dates):
    made = open_stations(meteonet(tmp_path / "NW2016.csv", dates))
    assert made.attrs["format"] == "meteonet-csv"
    assert made.station.values.tolist() == ["14066001", "14137001"]
    assert get_interval(made) == 6 * MINUTE
    np.testing.assert_allclose(made.precipitation_rate.values, [[2.0, 2.0], [np.nan, np.nan]])
    assert made.time.values[1] == np.datetime64("2016-01-01T00:06")
    assert float(made.relative_humidity[0, 0]) == pytest.approx(0.91)
    assert float(made.air_pressure_at_mean_sea_level[1, 1]) == pytest.approx(101200.0)
    assert float(made.altitude[0]) == 2.0


def test_meteonet_months_and_compressed_files_join(tmp_path):
    first = meteonet(tmp_path / "a.csv", ["20160131 23:54", "20160201 00:00"])
    second = meteonet(tmp_path / "b.csv", ["20160201 00:00", "20160201 00:06"], precip=0.4)
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(second.read_bytes()))
    made = open_stations([packed, first])
    assert made.precipitation_rate.values[0].tolist() == pytest.approx([2.0, 4.0, 4.0])
    squeezed = tmp_path / "a.csv.bz2"
    squeezed.write_bytes(bz2.compress(first.read_bytes()))
    assert open_stations(squeezed).sizes["time"] == 2


def test_days_of_a_hundred_meteonet_stations(tmp_path):
    dates = pd.date_range("2016-01-01", periods=720, freq="6min").strftime("%Y%m%d %H:%M")
    path = meteonet(tmp_path / "m.csv", dates, stations=tuple(range(100, 200)))
    assert open_stations(path).sizes == {"station": 100, "time": 720}


# --- our own and CF -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".nc"])
def test_what_is_saved_is_read_again(tmp_path, suffix, gauges):
    gauges = gauges.assign_coords(altitude=("station", np.arange(40.0)))
    gauges.precipitation_rate[3, 4] = np.nan
    back = open_stations(save_stations(gauges, tmp_path / f"s{suffix}"))
    back = back.sel(station=gauges.station.values)
    np.testing.assert_array_equal(back.precipitation_rate.values, gauges.precipitation_rate.values)
    np.testing.assert_array_equal(back.time.values, gauges.time.values)
    for name in ("x", "y", "altitude", "sensor"):
        np.testing.assert_array_equal(back[name].values, gauges[name].values)
    assert get_interval(back) == get_interval(gauges)


@pytest.mark.parametrize("suffix", [".parquet", ".nc"])
def test_networks_out_of_step_are_saved_and_read_again(tmp_path, suffix):
    times = np.datetime64("2024-06-01T12:00", "ns") + np.arange(4) * 5 * MINUTE
    rates = [[1.0, np.nan, 3.0, np.nan], [np.nan, 2.0, np.nan, 4.0]]
    made = hybridcast.stations.station_reports(
        rates, station=["A", "B"], time=times, interval=10 * MINUTE, coords={"latitude": [47, 48], "longitude": [7, 8]}
    )
    back = open_stations(save_stations(made, tmp_path / f"s{suffix}"))
    np.testing.assert_array_equal(back.precipitation_rate.values, np.float32(rates))
    assert get_interval(back) == 10 * MINUTE


def test_the_netcdf_keeps_cf(tmp_path):
    runner = pytest.importorskip("compliance_checker.runner")
    made = open_stations(meteonet(tmp_path / "m.csv", ["20160101 00:00", "20160101 00:06"]))
    path = save_stations(made, tmp_path / "s.nc")
    runner.CheckSuite.load_all_available_checkers()
    report = tmp_path / "cf.json"
    passed, errors = runner.ComplianceChecker.run_checker(
        str(path), ["cf:1.10"], 0, "strict", output_filename=str(report), output_format="json"
    )
    assert not errors
    found = json.loads(report.read_text())["cf:1.10"]
    problems = [text for level in ("high_priorities", "medium_priorities") for c in found[level] for text in c["msgs"]]
    assert problems == []
    assert passed


def test_saving_refuses_other_suffixes(tmp_path, gauges):
    with pytest.raises(InputError, match="suffix"):
        save_stations(gauges, tmp_path / "s.csv")


def cf_file(path, *, bounds=True, units="kg m-2", fmt="NETCDF4"):
    """Write hourly amounts of two stations by CF, stamped with the BEGINNINGS of the hours."""
    with netCDF4.Dataset(path, "w", format=fmt) as file:
        file.featureType, file.Conventions = "timeSeries", "CF-1.8"
        for name, size in {"instance": 2, "obs": 3, "two": 2, "letters": 4}.items():
            file.createDimension(name, size)
        names = file.createVariable("id", "S1", ("instance", "letters"))
        names.cf_role = "timeseries_id"
        names[:] = netCDF4.stringtochar(np.array(["Aa", "Bbbb"], "S4"))
        for name, value in {"lat": ("latitude", 50.0), "lon": ("longitude", 8.0), "alt": ("altitude", 120.0)}.items():
            of = file.createVariable(name, "f8", ("instance",))
            of.standard_name, of[:] = value[0], [value[1], value[1] + 1]
        time = file.createVariable("obs", "f8", ("obs",))
        time.standard_name, time.units, time[:] = "time", "hours since 2020-01-01", [0, 1, 2]
        if bounds:
            time.bounds = "hours"
            edges = file.createVariable("hours", "f8", ("obs", "two"))
            edges[:] = [[0, 1], [1, 2], [2, 3]]
        rain = file.createVariable("rr", "f4", ("instance", "obs"), fill_value=-1.0)
        rain.standard_name, rain.units, rain.coordinates = "precipitation_amount", units, "lat lon alt id"
        rain[:] = [[0, 1, 2], [3, -1, 5]]
        warmth = file.createVariable("tt", "f4", ("instance", "obs"))
        warmth.standard_name, warmth.units, warmth[:] = "air_temperature", "degC", np.full((2, 3), 10.0)
    return path


@pytest.mark.parametrize("fmt", ["NETCDF4", "NETCDF3_CLASSIC"])
def test_cf_time_series(tmp_path, fmt):
    made = open_stations(cf_file(tmp_path / "cf.nc", fmt=fmt))
    assert made.attrs["format"] == "cf-stations"
    assert made.station.values.tolist() == ["Aa", "Bbbb"]
    np.testing.assert_array_equal(made.precipitation_rate.values, np.float32([[0, 1, 2], [3, np.nan, 5]]))
    assert made.time.values[0] == np.datetime64("2020-01-01T01:00")  # the end, by the bounds
    assert float(made.air_temperature[0, 0]) == pytest.approx(283.15)
    assert made.altitude.values.tolist() == [120.0, 121.0]


def test_cf_without_bounds_is_taken_as_ends_of_the_time_step(tmp_path):
    made = open_stations(cf_file(tmp_path / "cf.nc", bounds=False))
    assert made.time.values[0] == np.datetime64("2020-01-01T00:00")
    assert get_interval(made) == 60 * MINUTE


@pytest.mark.parametrize(
    ("methods", "minutes"),
    [
        ("time: sum (interval: 1 hour)", 60),
        ("time: sum (interval: 1 minute)", None),
        ("time: sum (interval: 3 hours)", None),
    ],
)
def test_cf_states_the_interval_by_cell_methods(methods, minutes, tmp_path):
    path = cf_file(tmp_path / "cf.nc", bounds=False)
    with netCDF4.Dataset(path, "a") as file:
        file["rr"].cell_methods = methods
    if minutes is None:  # that of the original data, or running sums
        with pytest.raises(ReadError, match=r"cell_methods|do not overlap"):
            open_stations(path)
    else:
        assert get_interval(open_stations(path)) == minutes * MINUTE


def test_cf_at_irregular_times_states_no_interval(tmp_path):
    path = cf_file(tmp_path / "cf.nc", bounds=False)
    with netCDF4.Dataset(path, "a") as file:
        file["obs"][:] = [0, 1, 2.7]
    with pytest.raises(ReadError, match=r"states no interval of its reports .rows at irregular times.* bounds of time"):
        open_stations(path)


def test_cf_with_units_of_nothing_is_refused(tmp_path):
    with pytest.raises(ReadError, match="units"):
        open_stations(cf_file(tmp_path / "cf.nc", units=""))


# --- opening --------------------------------------------------------------------------------------------------


def test_damaged_files_are_named_and_left_out(tmp_path, real):
    good = meteonet(tmp_path / "good.csv", ["20160101 00:00"])
    for name, content in {
        "empty.csv": b"",
        "header.csv": good.read_bytes().split(b"\n")[0] + b"\n",
        "cut.csv": good.read_bytes()[: good.read_bytes().index(b"2016") + 6],
        "noise.nc": b"\x89HDF\r\n\x1a\n" + bytes(200),
        "text.txt": b"nothing of this kind",
        "times.csv": good.read_bytes().replace(b"20160101 00:00", b"soon"),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ReadError):
            open_stations(tmp_path / name)
        with pytest.warns(InputWarning, match=name):
            made = open_stations([good, tmp_path / name])
        assert name in made.attrs["unreadable_files"]
        with pytest.raises(ReadError):
            open_stations([good, tmp_path / name], strict=True)


def test_radar_is_no_station_file(real):
    with pytest.raises(ReadError, match="no known station format"):
        open_stations(real("openmrg/8d_20150722/openmrg_rad_8d.nc"))
    assert open_radar(real("openmrg/8d_20150722/openmrg_rad_8d.nc")).sizes["time"] == 2304


def test_unknown_paths_and_formats(tmp_path):
    with pytest.raises(InputError, match="no file matches"):
        open_stations(tmp_path / "*.csv")
    with pytest.raises(InputError, match="no paths"):
        open_stations([])
    path = meteonet(tmp_path / "good.csv", ["20160101 00:00"])
    with pytest.raises(InputError, match="format"):
        open_stations(path, "meteonet")
    assert open_stations(path, "meteonet-csv").sizes["station"] == 2


def test_other_packages_add_formats(tmp_path, monkeypatch, gauges):
    class Ours:
        NAME, DESCRIPTION = "ours", "a format of a test"

        def recognises(self, path, head):
            return head.startswith(b"OURS")

        def read(self, path):
            return gauges

    entry = type("Entry", (), {"name": "ours", "load": lambda self: Ours()})()
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry] if "station" in group else [])
    hybridcast.stations.formats.cache_clear()
    (tmp_path / "a.ours").write_bytes(b"OURS")
    assert open_stations(tmp_path / "a.ours").attrs["format"] == "ours"
    hybridcast.stations.formats.cache_clear()
