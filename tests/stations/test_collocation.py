from __future__ import annotations

import numpy as np
import pytest

from helpers.stations_synthetic import MINUTE, gauges_in
from hybridcast.core.field import precipitation
from hybridcast.errors import InputError
from hybridcast.stations import collocate, resample_reports, sample_radar, station_reports


def at(latitude, longitude):
    return station_reports(
        np.zeros((len(latitude), 1)),
        station=[str(n) for n in range(len(latitude))],
        time=[np.datetime64("2020-01-01")],
        interval=5 * MINUTE,
        coords={"latitude": latitude, "longitude": longitude},
    )


@pytest.mark.parametrize("crs", ["EPSG:3035", "EPSG:4326"])
@pytest.mark.parametrize("south_first", [True, False])
def test_places_are_rows_and_columns(crs, south_first):
    geographic = crs == "EPSG:4326"
    y, x = (
        (np.arange(48, 52.01, 0.1), np.arange(8, 12.01, 0.1))
        if geographic
        else (
            np.arange(3.0e6, 3.2e6, 2e3),
            np.arange(4.2e6, 4.4e6, 2e3),
        )
    )
    y = y if south_first else y[::-1]
    field = precipitation(np.zeros((1, y.size, x.size)), time=[np.datetime64("2020-01-01")], y=y, x=x, crs=crs)
    if geographic:
        latitude, longitude = [y[7], y[3], 10.0], [x[11], x[-1], 10.0]
    else:  # computed by another way than the package: EPSG:3035 is centred on 52 N 10 E at (4321000, 3210000)
        latitude, longitude = [51.0, 51.5, 52.0], [10.0, 10.0, 10.0]
    places = collocate(at(latitude, longitude), field)
    if geographic:
        np.testing.assert_allclose(places[:2], [[7, 11], [3, x.size - 1]], atol=1e-3)
    else:
        np.testing.assert_allclose(places[:2, 1], (4321000 - x[0]) / 2000, atol=1e-3)
        km = abs(places[0, 0] - places[1, 0]) * 2
        assert km == pytest.approx(55.6, abs=0.3)  # half a degree of latitude
    assert np.isnan(places[2]).all()


def test_degrees_on_a_local_grid_are_refused(rain):
    with pytest.raises(InputError, match="no CRS"):
        collocate(at([50.0], [8.0]), rain)


def test_exact_gauges_meet_the_radar(rain, gauges):
    np.testing.assert_allclose(
        sample_radar(gauges, rain).values, gauges.precipitation_rate.values, rtol=1e-5, atol=1e-6
    )
    hourly = resample_reports(gauges, 60 * MINUTE)
    np.testing.assert_allclose(
        sample_radar(hourly, rain).values, hourly.precipitation_rate.values, rtol=1e-4, atol=1e-5
    )


def test_steps_that_do_not_fit_are_shared_out_by_time(rain):
    gauges = gauges_in(rain, count=3)
    six = station_reports(
        np.zeros((3, 2)),
        station=["g0", "g1", "g2"],
        time=rain.time.values[0] + np.array([1, 7]) * MINUTE,
        interval=6 * MINUTE,
        coords={"x": gauges.x.values, "y": gauges.y.values},
    )
    first, second, third = gauges.precipitation_rate.values[:, :3].T
    expected = np.stack([(5 * first + second) / 6, (4 * second + 2 * third) / 6], axis=1)
    np.testing.assert_allclose(sample_radar(six, rain).values, expected, rtol=1e-4, atol=1e-5)


def test_where_the_radar_does_not_see_there_is_nothing(rain, gauges):
    rain = rain.copy(data=rain.values.copy())
    rain[6] = np.nan
    seen = np.isfinite(sample_radar(gauges, rain).values)
    assert not seen[:, 6].any()
    assert seen[:, [5, 7]].all()
    late = gauges.assign_coords(time=gauges.time + 180 * MINUTE)
    assert np.isnan(sample_radar(late, rain).values).all()


def test_openmrg_gauges_lie_where_the_published_coordinates_say(eight_days, real):
    import xarray as xr

    radar, stations = eight_days
    with xr.open_dataset(real("openmrg/8d_20150722/openmrg_rad_8d.nc")[0], engine="h5netcdf") as file:
        lat, lon = file.lat.values, file.lon.values
    for (row, column), station in zip(collocate(stations, radar), stations.station, strict=True):
        north = (lat - float(station.latitude)) * 111.2
        east = (lon - float(station.longitude)) * 111.2 * np.cos(np.deg2rad(57.7))
        nearest = np.unravel_index(np.argmin(north**2 + east**2), lat.shape)
        assert abs(row - nearest[0]) <= 0.55
        assert abs(column - nearest[1]) <= 0.55
