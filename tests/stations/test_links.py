from __future__ import annotations

import warnings

import netCDF4
import numpy as np
import pytest

from helpers.stations_synthetic import MINUTE
from hybridcast.datasets.registry import fetch
from hybridcast.errors import FetchError, InputError
from hybridcast.stations import get_interval, open_stations, resample_reports
from hybridcast.stations.links import LinkSettings, rates_from_signal_levels, specific_attenuation

LINKS_27 = "openmrg/20150827/openMRG_cmls_20150827_12hours.nc"
TIMES = np.datetime64("2020-01-01", "ns") + np.arange(600) * MINUTE


@pytest.mark.parametrize(
    ("frequency", "horizontal", "vertical"),
    [  # the table of ITU-R P.838-3
        (10, (0.01217, 1.2571), (0.01129, 1.2156)),
        (20, (0.09164, 1.0568), (0.09611, 0.9847)),
        (30, (0.2403, 0.9485), (0.2291, 0.9129)),
        (40, (0.4431, 0.8673), (0.4274, 0.8421)),
    ],
)
def test_the_power_law_meets_the_published_table(frequency, horizontal, vertical):
    for upright, expected in ((False, horizontal), (True, vertical)):
        np.testing.assert_allclose(specific_attenuation(frequency, upright), expected, rtol=2e-3)


def test_frequencies_in_other_units_are_refused():
    with pytest.raises(InputError, match="GHz"):
        specific_attenuation(28206.5, True)


def loss_of(rates, frequency=20.0, length=5.0, antenna=LinkSettings.antenna, noise=0.1):
    k, alpha = specific_attenuation(frequency, False)
    noises = np.random.default_rng(0).normal(0, noise, len(rates))
    return 60 + k * length * rates**alpha + np.where(rates > 0, antenna, 0) + noises


def rain_of(loss, length=5.0, **changes):
    given = {"frequency": np.array([20.0]), "length": np.array([length]), "vertical": np.array([False])}
    return rates_from_signal_levels(loss[None], TIMES[: len(loss)], **given, **changes)[0]


def test_rain_that_is_known_is_found_again():
    rates = np.zeros(600)
    rates[300:360] = 12.0
    found = rain_of(loss_of(rates))
    assert np.isnan(found[:25]).all()  # too little past to tell
    assert (found[60:300] == 0).all()
    np.testing.assert_allclose(found[330:360].mean(), 12.0, rtol=0.1)
    assert found[365:420].mean() < 0.2


def test_nothing_later_is_used():
    rates = np.zeros(600)
    rates[300:360] = 12.0
    loss = loss_of(rates)
    later = loss.copy()
    later[330:] += 30
    np.testing.assert_array_equal(rain_of(loss)[:330], rain_of(later)[:330])


def test_missing_levels_and_short_links_are_nan():
    loss = loss_of(np.zeros(600))
    loss[200:210] = np.nan
    found = rain_of(loss)
    assert np.isnan(found[200:210]).all()
    assert np.isfinite(found[220:]).all()
    assert np.isnan(rain_of(loss, length=0.3)).all()


@pytest.fixture(scope="module")
def links(real):
    return open_stations(real(LINKS_27))


def test_openmrg_links(links, real):
    assert dict(links.sizes) == {"station": 364, "time": 720}
    assert get_interval(links) == MINUTE
    assert set(links.sensor.values) == {"link"}
    with netCDF4.Dataset(real(LINKS_27)[0]) as file:
        middle = (file["site_0_lat"][:] + file["site_1_lat"][:]) / 2
        theirs = np.ma.filled(file["R"][:], np.nan).mean(axis=0)  # as others made it of the same levels
    np.testing.assert_allclose(links.latitude.values, middle)
    ours = links.precipitation_rate.values
    both = np.isfinite(ours) & np.isfinite(theirs)
    assert both.mean() > 0.8
    assert np.corrcoef(ours[both], theirs[both])[0, 1] > 0.9
    short = links["length"].values < 500
    assert short.any()
    assert np.isnan(ours[short]).all()
    assert np.isfinite(ours[~short]).mean() > 0.85


def test_openmrg_links_agree_with_gauges_beside_them(links, real):
    gauges = resample_reports(open_stations(real("openmrg/20150827/openMRG_city_gauges_20150827.nc")), 15 * MINUTE)
    links = resample_reports(links, 15 * MINUTE)
    times = np.intersect1d(links.time.values, gauges.time.values)
    links, gauges = links.sel(time=times), gauges.sel(time=times)
    pairs = []
    for station in range(gauges.sizes["station"]):
        north = (links.latitude.values - float(gauges.latitude[station])) * 111.2
        east = (links.longitude.values - float(gauges.longitude[station])) * 111.2 * np.cos(np.deg2rad(57.7))
        near = links.precipitation_rate.values[np.hypot(north, east) < 3]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # at first no link can tell
            pairs.append([np.nanmean(near, axis=0), gauges.precipitation_rate.values[station]])
    link, gauge = np.concatenate(pairs, axis=1)
    known = np.isfinite(link) & np.isfinite(gauge)
    link, gauge = link[known], gauge[known]
    assert link.size > 400
    assert np.corrcoef(link, gauge)[0, 1] > 0.85
    assert 0.8 < link.sum() / gauge.sum() < 1.2


@pytest.mark.parametrize(
    ("path", "stations", "times", "minutes"),
    [
        ("openmrg/8d_20150722/openmrg_cml_5min_2h.nc", 359, 31, 5),
        ("openrainer/openrainer_CML.nc", 141, 11, 15),
    ],
)
def test_links_whose_rain_others_have_made(real, path, stations, times, minutes):
    made = open_stations(real(path))
    assert dict(made.sizes) == {"station": stations, "time": times}
    assert get_interval(made) == minutes * MINUTE
    assert made.attrs["rain_from"] == "R of the file"


def test_links_and_gauges_join(links, real):
    both = open_stations([*real(LINKS_27), *real("openmrg/20150827/openMRG_city_gauges_20150827.nc")], step=5 * MINUTE)
    assert both.sizes["station"] == 374
    assert set(both.sensor.values) == {"link", "gauge"}


@pytest.mark.slow
def test_pycomlink_links(tmp_path):
    import xarray as xr

    try:
        path = fetch("pycomlink-cml-2018", progress=False)[0]
    except FetchError as error:
        pytest.skip(f"real data missing: {error}")
    with xr.open_dataset(path, engine="h5netcdf") as file:  # a part of it, so that the test is quick
        file.isel(cml_id=slice(20), time=slice(2880)).to_netcdf(tmp_path / "part.nc", engine="h5netcdf")
    made = open_stations(tmp_path / "part.nc")
    assert dict(made.sizes) == {"station": 20, "time": 2880}
    assert np.isfinite(made.precipitation_rate.values).mean() > 0.9
    assert float(made["length"].min()) > 500
