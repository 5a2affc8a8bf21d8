"""Analyses in GRIB: FMI's real radar analysis, Stage IV and RDPA after their descriptions, forecasts and members."""

from __future__ import annotations

import struct

import numpy as np
import pyproj
import pytest

from helpers.grib import POLAR, degrees, encode, write
from hybridcast.core.field import crs_of
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar import grib, open_radar

FMI = "nwp_real/fmi_20200709"
HOUR = np.timedelta64(1, "h")
CELLS = np.arange(12.0).reshape(3, 4)
EUROPE = degrees(52.0, 5.0, 51.0, 6.5)
ANALYSIS = {"typeOfGeneratingProcess": 0}
#: Keys of Stage IV: the HRAP grid of NCEP, sums over the hour that begins at the reference time.
STAGE_IV = {**POLAR, "centre": 7, "generatingProcessIdentifier": 182}


def amount(start=0, hours=1, **keys):
    """Return the keys of a sum of edition 2."""
    return {
        "productDefinitionTemplateNumber": 8,
        "discipline": 0,
        "parameterCategory": 1,
        "parameterNumber": 8,
        "forecastTime": start,
        "typeOfStatisticalProcessing": 1,
        "indicatorOfUnitForTimeRange": 1,
        "lengthOfTimeRange": hours,
        **keys,
    }


def rate(step=0, **keys):
    return {"discipline": 0, "parameterCategory": 1, "parameterNumber": 52, "forecastTime": step, **keys}


def reflectivity(**keys):
    return {"discipline": 0, "parameterCategory": 16, "parameterNumber": 196, "centre": 7, **keys}


def made(tmp_path, *messages):
    return write(tmp_path / "made.grib", *(encode(CELLS, **{**EUROPE, **keys}) for keys in messages))


# --- real files -----------------------------------------------------------------------------------------------


def test_the_radar_analysis_of_fmi_is_in_its_place_with_its_units(real):
    """Its place by ecCodes' own coordinates of each value, and mm/h though the file says kg m-2 s-1."""
    import eccodes

    path = real(f"{FMI}/obs_tprate.grib2")[0]
    field = open_radar(path)
    assert field.attrs["format"] == "grib"
    assert field.time.values == np.datetime64("2020-07-09T06:00")
    with path.open("rb") as file:
        handle = eccodes.codes_grib_new_from_file(file)
    lat, lon, values = eccodes.codes_get_array(handle, "latLonValues").reshape(-1, 3).T
    eccodes.codes_release(handle)
    wettest = np.argmax(np.where(values == 9999, -1, values))
    assert values[wettest] == pytest.approx(7.89, abs=0.01)
    x, y = pyproj.Proj(crs_of(field))(lon[wettest], lat[wettest])
    assert float(field.sel(x=x, y=y, method="nearest").values[0]) == pytest.approx(values[wettest], rel=1e-6)
    assert float(np.isnan(field.values).mean()) == pytest.approx((values == 9999).mean())
    assert float((field > 0.1).mean()) == pytest.approx(0.0077, abs=1e-4)
    assert "accumulation_interval_minutes" not in field.attrs


@pytest.mark.parametrize(
    ("file", "leads"),
    [
        (f"{FMI}/ppn_tprate.grib2", r"\+60 to \+240 min"),
        (f"{FMI}/mnwc_tprate_full.grib2", r"\+60 to \+540 min"),
        (f"{FMI}/fcst_tprate.grib2", r"\+0 to \+540 min"),
        ("meteonet/weather_models/arome_PRECIP_NW_20180501000000.grib", r"\+60 to \+1440 min"),
        ("nwp_real/dk_2024/ifs_20240530/IFS_2024053000_01_TP.grib", r"\+60 min"),
        ("nwp_real/dwd_20221214/icon*_001_2d_tot_prec.grib2.bz2", r"\+60 to"),
    ],
)
def test_extrapolations_and_models_are_no_observations(real, file, leads):
    with pytest.raises(ForecastFileError, match=rf"a forecast \({leads}"):
        open_radar(real(file)[0])


# --- Stage IV, RDPA and others ----------------------------------------------------------------------------------


def test_stage_iv_in_edition_2(tmp_path):
    """An hour's sum is stamped with its end; a cell is found by Reed and Maidment's HRAP formula on the sphere."""
    path = write(
        tmp_path / "ST4.2024010107.01h.grb2",
        encode(CELLS, **STAGE_IV, shapeOfTheEarth=6, LaDInDegrees=60.0, **amount(), **ANALYSIS),
    )
    field = open_radar(path)
    assert field.time.values == np.datetime64("2024-01-01T07:00")
    assert field.attrs["accumulation_interval_minutes"] == 60
    np.testing.assert_allclose(field.values[0], CELLS, atol=1e-3)
    # the cell of column 2, row 1: from the corner in polar coordinates to degrees by hand
    rho, radius = np.hypot(field.x.values[2], field.y.values[1]), 6371229.0
    lat = np.rad2deg(np.pi / 2 - 2 * np.arctan(rho / (radius * (1 + np.sin(np.deg2rad(60))))))
    lon = -105 + np.rad2deg(np.arctan2(field.x.values[2], -field.y.values[1]))
    x, y = pyproj.Proj(crs_of(field))(lon, lat)
    assert float(field.sel(x=x, y=y, method="nearest").values[0]) == pytest.approx(6, abs=1e-3)


def test_stage_iv_in_edition_1(tmp_path):
    """Until 2020; edition 1 does not tell analyses from forecasts, the process of NCEP does."""
    keys = {"table2Version": 2, "indicatorOfParameter": 61, "timeRangeIndicator": 4, "P1": 0, "P2": 1}
    path = write(tmp_path / "ST4.2010010107.01h", encode(CELLS, edition=1, **STAGE_IV, **keys))
    field = open_radar(path)
    assert field.time.values == np.datetime64("2024-01-01T07:00")
    assert field.attrs["accumulation_interval_minutes"] == 60
    np.testing.assert_allclose(field.values[0], CELLS, atol=1e-3)
    forecast = {**STAGE_IV, "generatingProcessIdentifier": 96}
    with pytest.raises(ForecastFileError, match=r"\+60 min"):
        open_radar(write(tmp_path / "gfs", encode(CELLS, edition=1, **forecast, **keys)))


def test_rtma_is_observed_though_it_begins_at_the_reference_time(tmp_path):
    """``pcprtma2.2025071702.grb2`` is "0-1 hour acc fcst" of 01 UTC to wgrib2 (wgrib2 issue 411): the hour to 02."""
    keys = {"centre": 7, "generatingProcessIdentifier": 109, "typeOfGeneratingProcess": 2}
    field = open_radar(made(tmp_path, {**amount(0, 1), **keys}))
    assert field.time.values == np.datetime64("2024-01-01T07:00")
    with pytest.raises(ForecastFileError, match=r"\+60 min"):
        open_radar(made(tmp_path, {**amount(0, 1), **keys, "generatingProcessIdentifier": 96}))


@pytest.mark.parametrize(("start", "hours", "end"), [(-6, 6, "06:00"), (0, 6, "12:00"), (0, 24, "06:00")])
def test_sums_of_analyses_before_or_after_the_reference_time(tmp_path, start, hours, end):
    """RDPA states sums that end or that begin at the reference time."""
    field = open_radar(made(tmp_path, {**amount(start, hours), **ANALYSIS}))
    assert str(field.time.values[0])[11:16] == end
    assert field.attrs["accumulation_interval_minutes"] == 60 * hours
    assert field.values.max() == pytest.approx(11 / hours, rel=1e-3)


def test_the_index_of_confidence_in_rdpa_is_no_rain(tmp_path):
    """A file of RDPA holds the sum, and an index that is coded as freezing rain (0, 1, 34)."""
    index = {"parameterNumber": 34, **ANALYSIS}
    field = open_radar(made(tmp_path, {**amount(-6, 6), **ANALYSIS}, {**amount(-6, 6), **index}))
    assert field.attrs["accumulation_interval_minutes"] == 360
    assert float(field.max()) == pytest.approx(11 / 6, rel=1e-3)


def test_a_rotated_grid_is_in_its_place(tmp_path):
    """The newer grid of RDPA is rotated: the wet cell is found by the rotation of a sphere, written out here."""
    pole_lat, pole_lon = -31.758312, 92.402969
    keys = {"latitudeOfSouthernPoleInDegrees": pole_lat, "longitudeOfSouthernPoleInDegrees": pole_lon}
    cells = np.zeros((40, 50))
    cells[12, 30] = 3.5
    rotated = degrees(-2.0, 1.0, 1.9, 5.9, step=0.1)
    path = write(
        tmp_path / "rotated.grib",
        encode(
            cells,
            gridType="rotated_ll",
            jScansPositively=1,
            shapeOfTheEarth=6,
            **rotated,
            **keys,
            **amount(),
            **ANALYSIS,
        ),
    )
    field = open_radar(path)
    # rotated to geographic: about y by 90 degrees plus the latitude of the southern pole, then about z by its longitude
    lat, lon, tilt = np.deg2rad(-2.0 + 1.2), np.deg2rad(1.0 + 3.0), np.deg2rad(90 + pole_lat)
    x, y, z = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
    x, z = np.cos(tilt) * x - np.sin(tilt) * z, np.sin(tilt) * x + np.cos(tilt) * z
    place = np.rad2deg(np.arctan2(y, x)) + pole_lon, np.rad2deg(np.arcsin(z))
    crs = crs_of(field)
    to_grid = pyproj.Transformer.from_crs(crs.source_crs, crs, always_xy=True)
    x, y = to_grid.transform(*place)
    assert float(field.sel(x=x, y=y, method="nearest").values[0]) == pytest.approx(3.5, abs=1e-3)


def test_a_mean_rate_states_its_interval(tmp_path):
    keys = {**amount(-1, 1, parameterNumber=52, typeOfStatisticalProcessing=0), **ANALYSIS}
    path = write(tmp_path / "mean.grib", encode(CELLS / 3600, **EUROPE, **keys))
    field = open_radar(path)
    assert field.attrs["accumulation_interval_minutes"] == 60
    np.testing.assert_allclose(field.values[0], CELLS, atol=1e-3)


@pytest.mark.parametrize(
    ("keys", "unit"),
    [
        ({"parameterNumber": 17}, 3600),  # precipitation rate from radar, WMO
        ({"parameterNumber": 195, "centre": 78}, 1),  # RAD_PRECIP of DWD is in kg m-2 h-1
    ],
)
def test_radar_rates_of_assimilation(tmp_path, keys, unit):
    observed = {"discipline": 0, "parameterCategory": 15, "typeOfGeneratingProcess": 8, **keys}
    field = open_radar(write(tmp_path / "radar.grib", encode(CELLS / unit, **EUROPE, **observed)))
    np.testing.assert_allclose(field.values[0], CELLS, atol=1e-3)


def test_reflectivity_becomes_rain_by_a_relation_that_is_noted(tmp_path):
    path = write(
        tmp_path / "refc.grib",
        encode(np.array([[-20.0, 23.0103], [np.nan, 39]]), **degrees(52, 5, 51.5, 5.5), **reflectivity(), **ANALYSIS),
    )
    field = open_radar(path)
    assert field.values[0, 0, 0] == 0
    assert field.values[0, 0, 1] == pytest.approx(1, abs=0.01)
    assert np.isnan(field.values[0, 1, 0])
    assert field.attrs["z_r_relation"] == "Z = 200 R^1.6"


def test_frames_of_one_file_are_in_time_order(tmp_path):
    messages = [{**rate(parameterNumber=7), **ANALYSIS, "dataTime": 600 + minute} for minute in (10, 0, 5)]
    path = write(tmp_path / "three", *(encode(CELLS / 3600, **{**EUROPE, **keys}) for keys in messages))
    field = open_radar(path)
    assert [str(time)[11:16] for time in field.time.values] == ["06:00", "06:05", "06:10"]
    assert (grib.read_times(path) == field.time.values).all()


def test_of_a_rate_and_a_sum_of_the_same_rain_the_rate_is_taken(tmp_path):
    rates = encode(CELLS / 3600, **EUROPE, **rate(), **ANALYSIS)
    sums = encode(CELLS / 10, **EUROPE, **amount(-1, 1), **ANALYSIS)
    field = open_radar(write(tmp_path / "both.grib", sums, rates))
    np.testing.assert_allclose(field.values[0], CELLS, atol=1e-3)


# --- JMA, made by hand after its technical information 162 -----------------------------------------------------


def section(number, body):
    return (5 + len(body)).to_bytes(4, "big") + bytes([number]) + body


def runs(levels, highest):
    """Return levels in run-length packing (7.200): each level, and its count less one to base 255 - highest."""
    base, packed, at = 255 - highest, [], 0
    while at < len(levels):
        count = next((k for k in range(at, len(levels)) if levels[k] != levels[at]), len(levels)) - at
        packed.append(levels[at])
        rest = count - 1
        while rest:
            packed.append(highest + 1 + rest % base)
            rest //= base
        at += count
    return bytes(packed)


def jma(levels, number, table, decimals, minutes, start, process=0, template=50008):
    """Return a message on 2 x 400 cells of a kilometre from 35 N 139 E, as JMA codes it, south at the end."""
    tail = (
        struct.pack(">H5BB", 2024, 1, 1, 6, 0, 0, 1)
        + bytes(4)
        + bytes([1, 2, 0])
        + struct.pack(">i", minutes)
        + b"\xff" * 5
    )
    forecast = 0x80000000 | -start if start < 0 else start
    product = struct.pack(">HH5BHBB", 0, template, 1, number, process, 255, 255, 0, 0, 0) + struct.pack(">I", forecast)
    product += b"\x01" + b"\xff" * 11 + tail + bytes(24)  # the information on the radars is 24 bytes
    grid = struct.pack(">BIBBH", 0, 800, 0, 0, 0) + b"\x04" + b"\xff" * 15 + struct.pack(">IIII", 400, 2, 0, 0xFFFFFFFF)
    grid += struct.pack(">iiBiiIIB", 34995833, 139006250, 48, 34987500, 143993750, 12500, 8333, 0)
    packing = struct.pack(">IHBHHB", 800, 200, 8, len(table), len(table), decimals)
    body = b"".join(
        [
            section(1, struct.pack(">HHBBBH5BBB", 34, 0, 2, 1, 0, 2024, 1, 1, 6, 0, 0, 0, 0)),
            section(3, grid),
            section(4, product),
            section(5, packing + b"".join(struct.pack(">H", value) for value in table)),
            section(6, b"\xff"),
            section(7, runs(levels, len(table))),
        ]
    )
    return b"GRIB\xff\xff\0\x02" + (20 + len(body)).to_bytes(8, "big") + body + b"7777"


#: Levels of row 0, from west: 300 cells that no radar sees, 90 dry ones, rain; all of row 1 is dry.
LEVELS = [0] * 300 + [1] * 90 + [2, 3, 4, 4, 5, 5, 5, 2, 1, 0] + [1] * 400
TABLE = [0, 10, 25, 250, 5150]


def test_the_radar_echo_intensity_of_jma(tmp_path):
    """Representative values in hundredths of mm/h, from 10 minutes before the time of the file to it."""
    message = jma(LEVELS, 201, TABLE, decimals=2, minutes=10, start=-10)
    field = open_radar(write(tmp_path / "Z__C_RJTD_20240101060000_RDR_JMAGPV_Ggis1km_Prr10lv_ANAL_grib2.bin", message))
    assert field.attrs["format"] == "grib"
    assert field.time.values == np.datetime64("2024-01-01T06:00")
    assert field.attrs["accumulation_interval_minutes"] == 10
    np.testing.assert_allclose(field.values[0, 0, 390:], [0.1, 0.25, 2.5, 2.5, 51.5, 51.5, 51.5, 0.1, 0, np.nan])
    assert np.isnan(field.values[0]).sum() == 301
    assert (field.values[0, 1] == 0).all()
    # the heaviest is in the cells from 143.925 to 143.9625 E at 35 N
    assert float(field.sel(x=143.94, y=35, method="nearest").values[0]) == pytest.approx(51.5)
    assert float(field.sel(x=143.94, y=34.98, method="nearest").values[0]) == 0


def test_the_rain_analysis_of_jma_is_a_sum_of_an_hour(tmp_path):
    field = open_radar(write(tmp_path / "prr60lv.bin", jma(LEVELS, 200, TABLE, decimals=2, minutes=60, start=-60)))
    assert field.attrs["accumulation_interval_minutes"] == 60
    assert float(field.max()) == pytest.approx(51.5)


def test_the_short_range_forecast_of_jma_is_no_observation(tmp_path):
    message = jma(LEVELS, 200, TABLE, decimals=1, minutes=60, start=0, process=2, template=50009)
    with pytest.raises(ForecastFileError, match=r"\+60 min"):
        open_radar(write(tmp_path / "fh01.bin", message))


def test_other_local_templates_and_parameters_of_jma_are_named(tmp_path):
    """The nowcast (4.50011) and, for example, the probability of tornadoes."""
    with pytest.raises(ReadError, match=r"template 4\.50011"):
        open_radar(write(tmp_path / "nowcast.bin", jma(LEVELS, 203, TABLE, 2, 5, 0, template=50011)))
    with pytest.raises(ReadError, match="give a precipitation rate"):
        open_radar(write(tmp_path / "other.bin", jma(LEVELS, 205, TABLE, 2, 5, -5)))


# --- forecasts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "leads"),
    [
        (rate(1, **ANALYSIS), r"\+60 min"),
        (rate(0, typeOfGeneratingProcess=2), r"\+0 min"),
        (rate(1, typeOfGeneratingProcess=14), r"\+60 min"),
        (amount(0, 1, typeOfGeneratingProcess=2), r"\+60 min"),
        (amount(1, 1, **ANALYSIS), r"\+120 min"),
        (amount(-1, 1, typeOfGeneratingProcess=2), r"\+0 min"),
    ],
)
def test_forecasts_are_refused_with_their_lead_times(tmp_path, keys, leads):
    with pytest.raises(ForecastFileError, match=rf"made\.grib: a forecast \({leads}\)"):
        open_radar(made(tmp_path, keys))


def test_types_of_mars_in_edition_1(tmp_path):
    """Step 0 of a forecast (fc), a member (pf) and an analysis (an) of a centre that states the type."""
    keys = {"edition": 1, "centre": 98, "setLocalDefinition": 1, "localDefinitionNumber": 1, **EUROPE}
    keys |= {"table2Version": 2, "indicatorOfParameter": 59, "timeRangeIndicator": 0, "P1": 0}
    paths = {
        kind: write(tmp_path / kind, encode(CELLS / 3600, **keys, dataType=kind, numberOfForecastsInEnsemble=members))
        for kind, members in (("an", 0), ("fc", 0), ("pf", 50))
    }
    assert float(open_radar(paths["an"]).max()) == pytest.approx(11, rel=1e-3)
    with pytest.raises(ForecastFileError, match=r"\+0 min"):
        open_radar(paths["fc"])
    with pytest.raises(ReadError, match="of an ensemble"):
        open_radar(paths["pf"])


def test_a_nowcast_at_its_start_is_an_analysis_and_the_rest_is_left_out(tmp_path):
    steps = [{**rate(k), "typeOfGeneratingProcess": 14, "stepUnits": "m", "parameterNumber": 7} for k in (0, 1)]
    cells = [encode(CELLS / 3600, **{**EUROPE, **keys}) for keys in steps]
    with pytest.warns(InputWarning, match=r"its forecasts \(\+\d+ min\) are left out"):
        field = open_radar(write(tmp_path / "nowcast.grib", *cells))
    assert field.sizes["time"] == 1


# --- refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [1, 11, 6, 10, 5, 9])
def test_members_percentiles_and_probabilities_are_refused(tmp_path, template):
    keys = rate() if template in (1, 5, 6) else amount()
    with pytest.raises(ReadError, match=rf"template 4\.{template}.*give one analysis"):
        open_radar(made(tmp_path, {**keys, "productDefinitionTemplateNumber": template, **ANALYSIS}))


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"shortName": "2t"}], r"holds 2t; give a precipitation rate"),
        ([{**rate(parameterNumber=8), **ANALYSIS}], "without the interval"),
        ([{**amount(0, 1, typeOfStatisticalProcessing=2), **ANALYSIS}], "statistic 2"),
        (
            [{**amount(-1, 1), **ANALYSIS}, {**amount(-6, 6), **ANALYSIS, "dataTime": 700}],
            "over 360 min and over 60 min",
        ),
        ([{**rate(), **ANALYSIS}], r"holds 39\d+ mm/h, more than ever fell: its units"),
    ],
)
def test_what_is_not_one_field_of_rain_is_refused_by_name(tmp_path, messages, reason):
    """Files of river forecast centres mix sums over one and six hours (thredds, grib1/noaa_rfc/readme.txt)."""
    with pytest.raises(ReadError, match=rf"made\.grib.*{reason}"):
        open_radar(made(tmp_path, *messages))


def test_two_messages_of_one_time_are_one_if_they_are_equal(tmp_path):
    one, other = (encode(cells, **EUROPE, **amount(-1, 1), **ANALYSIS) for cells in (CELLS, CELLS + 1))
    with pytest.warns(InputWarning, match="equal frames of one time are used once"):
        assert open_radar(write(tmp_path / "twice.grib", one, one)).sizes["time"] == 1
    with pytest.raises(ReadError, match=r"two different messages of amount .* at 2024-01-01T06:00:00Z"):
        open_radar(write(tmp_path / "levels.grib", one, other))


@pytest.mark.parametrize(("code", "reason"), [(-9999.0, "cdo setmissval,-9999"), (9999.0, "more than ever fell")])
def test_codes_without_a_bit_map_are_no_rain(tmp_path, code, reason):
    cells = CELLS.copy()
    cells[0, 0] = code
    path = write(tmp_path / "coded.grib", encode(cells, **EUROPE, **amount(-1, 1), **ANALYSIS))
    with pytest.raises(ReadError, match=rf"coded\.grib.*{reason}"):
        open_radar(path)


@pytest.mark.parametrize("code", [-999.0, -99.0])
def test_codes_among_reflectivities_are_not_dry(tmp_path, code):
    cells = np.array([[code, 23.0], [30.0, 39.0]])
    path = write(tmp_path / "refc.grib", encode(cells, **degrees(52, 5, 51.5, 5.5), **reflectivity(), **ANALYSIS))
    with pytest.raises(ReadError, match=rf"refc\.grib: holds {code:g} dBZ, a code"):
        open_radar(path)


def test_rounding_errors_below_zero_are_dry(tmp_path):
    field = open_radar(write(tmp_path / "a", encode(CELLS - 1e-3, **EUROPE, **amount(-1, 1), **ANALYSIS)))
    assert field.values[0, 0, 0] == 0


def test_an_interval_that_ends_before_it_begins_is_refused(tmp_path):
    """The 15-minute sums of a rapid refresh: "10815--2147472656 min acc" (rrfs-workflow issue 304)."""
    keys = {**amount(60, 1), **ANALYSIS}
    message = bytearray(encode(CELLS, **EUROPE, **keys))
    at = message.index(bytes([0, 0, 0, 1, 255, 0, 0, 0, 0]), 100)
    message[at : at + 4] = (0x80000F00).to_bytes(4, "big")
    with pytest.raises(ReadError, match="which is no one interval"):
        open_radar(write(tmp_path / "made.grib", bytes(message)))


def test_damage_is_named(real, tmp_path):
    whole = real(f"{FMI}/obs_tprate.grib2")[0].read_bytes()
    for name, data in {
        "cut": whole[:-100],
        "empty": whole[:16],
        "holes": whole[:150] + b"\xff" * 60 + whole[210:],
    }.items():
        path = write(tmp_path / name, data)
        with pytest.raises(ReadError, match=name):
            open_radar(path)
