"""Real runs of weather services beside real radar: from their files to rates at the right place and time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hybridcast.core.field import crs_of
from hybridcast.errors import ReadError
from hybridcast.nwp import open_nwp, regrid_to_radar
from hybridcast.radar import open_radar

pytestmark = pytest.mark.real_data

HOUR = np.timedelta64(1, "h")
DWD = "nwp_real/dwd_20221214"
DENMARK = "nwp_real/dk_2024"
FINLAND = "nwp_real/fmi_20200709"


def correlation(a, b, cells):
    """Correlate two fields after Gaussian smoothing over `cells`, where both are known."""
    known = np.isfinite(a) & np.isfinite(b)
    weight = ndimage.gaussian_filter(known.astype(float), cells)
    smooth = [ndimage.gaussian_filter(np.where(known, v, 0.0), cells) / np.maximum(weight, 1e-6) for v in (a, b)]
    inside = known & (weight > 0.5)
    return float(np.corrcoef(smooth[0][inside], smooth[1][inside])[0, 1])


def mean_rate(nwp, first, last, field):
    """Return the mean rate between two lead times (h) on the grid of a field."""
    leads = nwp["lead_time"].values / HOUR
    steps = nwp.isel(lead_time=(leads > first) & (leads <= last))
    whole = steps.mean("lead_time", keep_attrs=True).expand_dims(lead_time=[last * HOUR], axis=1)
    at = nwp["reference_time"].values[0] + last * HOUR
    return regrid_to_radar(whole, field, [at]).precipitation_rate.values[0, 0]


# --- ICON-D2 of DWD, on triangles -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def icon(real):
    return open_nwp([*real(f"{DWD}/icon*_tot_prec.grib2.bz2"), *real(f"{DWD}/icon*_cl??.grib2")])


def test_icon_has_a_rate_every_quarter_of_an_hour(icon):
    assert (icon.lead_time.values == np.arange(1, 16) * np.timedelta64(15, "m")).all()
    assert icon.reference_time.values == [np.datetime64("2022-12-14T12:00", "ns")]
    assert float(icon.precipitation_rate.min()) == 0
    assert 10 < float(icon.precipitation_rate.max()) < 100


def test_icon_rain_of_an_hour_lies_where_the_radar_saw_it(real, icon):
    """The README of the files has .85 against RADVOR RQ and .81 against RADOLAN RW, both smoothed over 15 km."""
    rq = open_radar(real(f"{DWD}/RQ2212141300_000.gz"))
    model = mean_rate(icon, 0, 1, rq)
    assert np.isfinite(model).all()
    assert correlation(model, rq.values[0], 15) == pytest.approx(0.853, abs=0.02)
    assert correlation(model[::-1], rq.values[0], 15) < 0
    rw = open_radar(real(f"{DWD}/raa01-rw_10000-2212141250-dwd---bin.gz"))
    assert correlation(model, rw.values[0], 15) == pytest.approx(0.814, abs=0.02)


def test_icon_amounts_are_kept_by_resampling(real, icon):
    """The mean over Germany is that of the triangles there, decoded here by ecCodes alone."""
    import bz2

    import eccodes

    def decode(data):
        handle = eccodes.codes_new_from_message(data)
        try:
            return eccodes.codes_get_values(handle)
        finally:
            eccodes.codes_release(handle)

    latitude, longitude = (decode(real(f"{DWD}/icon*_{name}.grib2")[0].read_bytes()) for name in ("clat", "clon"))
    amount = decode(bz2.decompress(real(f"{DWD}/icon*_001_2d_tot_prec.grib2.bz2")[0].read_bytes()))
    inside = (abs(latitude - 50.5) < 2) & (abs(longitude - 10.5) < 3) & (amount != 9999)
    field = open_radar(real(f"{DWD}/raa01-rw_10000-2212141250-dwd---bin.gz"))
    import pyproj

    to_degrees = pyproj.Transformer.from_crs(crs_of(field), 4326, always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(field.x.values, field.y.values))
    box = (abs(lat - 50.5) < 2) & (abs(lon - 10.5) < 3)
    assert mean_rate(icon, 0, 1, field)[box].mean() == pytest.approx(amount[inside].mean(), rel=0.02)


def test_icon_without_the_places_of_its_cells_says_which_files_to_fetch(real):
    with pytest.raises(
        ReadError, match=r"tot_prec\.grib2\.bz2: the places of its 542040 cells .*number 47.*_clat\.grib2"
    ):
        open_nwp(real(f"{DWD}/icon*_001_2d_tot_prec.grib2.bz2"))


# --- HARMONIE and IFS over Denmark ------------------------------------------------------------------------------


def danish_radar(real, stamp):
    """Return a radar sum over three hours on cells of 2 km; its rows begin in the south, unlike ODIM's."""
    sums = open_radar(real(f"{DENMARK}/radar/{stamp}.kavrRAD.03.h5"))
    return sums.isel(y=slice(None, None, 4), x=slice(None, None, 4))


def test_harmonie_adds_rain_snow_and_graupel_since_the_start(real):
    """The README of the files has .81 for the hours 21 to 24, smoothed over 14 km."""
    nwp = open_nwp(real(f"{DENMARK}/harmonie_20240102/*.grb"))
    assert (nwp.lead_time.values == np.array([21, 22, 23, 24]) * HOUR).all()
    assert "Lambert Conic Conformal" in crs_of(nwp).coordinate_operation.method_name
    radar = danish_radar(real, "202401030000")
    model = mean_rate(nwp, 21, 24, radar)
    assert correlation(model, radar.values[0], 7) == pytest.approx(0.81, abs=0.02)
    earlier = danish_radar(real, "202401022100")
    assert correlation(model, earlier.values[0], 7) < 0.65


def test_the_parts_of_harmonie_sum_up_as_decoded_by_eccodes(real):
    import eccodes

    def parts(path):
        with path.open("rb") as file:
            handles = list(iter(lambda: eccodes.codes_grib_new_from_file(file), None))
        found = {eccodes.codes_get(h, "parameterNumber"): eccodes.codes_get_values(h) for h in handles[:3]}
        assert set(found) == {65, 66, 75}  # rain, snow and graupel of table 4.2-0-1
        return sum(found.values()).reshape(289, 289)

    files = real(f"{DENMARK}/harmonie_20240102/*.grb")
    grown = parts(files[-1]) - parts(files[-2])
    rate = open_nwp(files).precipitation_rate.values[0, -1]
    np.testing.assert_allclose(rate, np.maximum(grown, 0), atol=0.01)
    assert rate.max() > 3


def test_ifs_sums_in_metres_without_a_step_are_since_the_start(real):
    nwp = open_nwp(real(f"{DENMARK}/ifs_20240530/*.grib"))
    assert (nwp.lead_time.values == np.arange(1, 7) * HOUR).all()
    radar = danish_radar(real, "202405300300")
    model = mean_rate(nwp, 0, 3, radar)
    assert np.nanmean(model) == pytest.approx(np.nanmean(radar.values), rel=0.3)  # a factor of 1000 would show
    assert correlation(model, radar.values[0], 12) > 0.55


# --- MEPS of FMI ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "mean"), [("mnwc_tprate_full", 0.139), ("fcst_tprate", 0.128)])
def test_meps_is_valid_after_its_data_date(real, name, mean):
    """The valid date of the files is a dummy (2007); their steps are counted from dataDate."""
    nwp = open_nwp(real(f"{FINLAND}/{name}.grib2"))
    assert nwp.reference_time.values == [np.datetime64("2020-07-09T06:00", "ns")]
    assert (nwp.lead_time.values == np.arange(1, 10) * HOUR).all()
    assert (nwp.sizes["y"], nwp.sizes["x"]) == (280, 255)
    assert float(nwp.precipitation_rate.mean()) == pytest.approx(mean, abs=0.001)
    assert ("before the start of the run" in nwp.attrs.get("left_out", "")) == (name == "fcst_tprate")


def test_meps_lies_over_finland(real):
    import pyproj

    nwp = open_nwp(real(f"{FINLAND}/fcst_tprate.grib2"))
    to_degrees = pyproj.Transformer.from_crs(crs_of(nwp), 4326, always_xy=True)
    longitude, latitude = to_degrees.transform(nwp.x.values[[0, -1]], nwp.y.values[[0, -1]])
    assert longitude.tolist() == pytest.approx([7.6, 41.4], abs=15)
    assert 50 < latitude[0] < 60 < latitude[1] < 75
    east, north = pyproj.Transformer.from_crs(4326, crs_of(nwp), always_xy=True).transform(24.9, 60.2)  # Helsinki
    assert nwp.x.values.min() < east < nwp.x.values.max()
    assert nwp.y.values.min() < north < nwp.y.values.max()


def test_rates_in_other_units_than_declared_are_refused_by_name(real):
    """FMI's radar analyses are mm/h, declared as kg m-2 s-1: 28,000 mm/h."""
    with pytest.raises(
        ReadError, match=r"obs_tprate\.grib2: precipitation_rate runs from 0 to 28413\.3 mm h-1 .*Correct"
    ):
        open_nwp(real(f"{FINLAND}/obs_tprate.grib2"))
