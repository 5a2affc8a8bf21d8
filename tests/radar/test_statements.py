"""Statements of CF variables that contradict reading their values as rain in UTC."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers.cf_files import TIMES, VALUES, dataset, saved
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.radar import cf, open_radar

STEP = np.timedelta64(5, "m")


@pytest.mark.parametrize(
    "attrs",
    [
        {"multiplier": 0.01},
        {"gain": "0.1"},
        {"slope": 0.1},
        {"long_name": "rain rate (x100)"},
        {"long_name": "rain in 1/100 mm/h"},
        {"long_name": "hundredths of mm/h"},
    ],
)
def test_factors_that_no_convention_applies_are_refused_and_the_remedy_works(tmp_path, attrs):
    data = dataset(values=(VALUES * 10).astype("i2"), **attrs)
    with pytest.raises(ReadError, match="a factor that may have been applied or not"):
        cf.read(saved(data, tmp_path / "a.nc"))
    data = xr.open_dataset(tmp_path / "a.nc", mask_and_scale=False)
    data["rr"].attrs.pop(next(iter({"multiplier", "gain", "slope"} & set(attrs)), ""), None)
    data["rr"].attrs["scale_factor"] = 0.1
    np.testing.assert_allclose(cf.read(saved(data, tmp_path / "b.nc")), VALUES, rtol=1e-6)


@pytest.mark.parametrize(
    "attrs", [{"gain": 1.0}, {"long_name": "rain rate of the 10x10 km grid"}, {"long_name": "rate over 10 x 10 cells"}]
)
def test_other_attributes_and_numbers_are_no_factors(tmp_path, attrs):
    np.testing.assert_array_equal(cf.read(saved(dataset(**attrs), tmp_path / "a.nc")), VALUES)


@pytest.mark.parametrize(
    ("of_time", "of_file"),
    [
        ({"long_name": "Local time"}, {}),
        ({"long_name": "local standard time"}, {}),
        ({"time_zone": "Europe/Berlin"}, {}),
        ({}, {"timezone": "UTC+2"}),
    ],
)
def test_local_times_are_refused(tmp_path, of_time, of_file):
    data = dataset().assign_attrs(of_file)
    data["time"].attrs |= of_time
    with pytest.raises(ReadError, match="its times may be local"):
        cf.read(saved(data, tmp_path / "a.nc"))


@pytest.mark.parametrize("zone", ["UTC", "GMT", "Z", "+00:00", "UTC+0"])
def test_times_in_utc_may_say_so(tmp_path, zone):
    data = dataset().assign_attrs(time_zone=zone)
    np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "a.nc")), VALUES)


def test_amounts_stamped_with_the_start_of_their_interval_get_its_end(tmp_path):
    data = dataset("mm", "rainfall_amount", accumulation_interval_minutes=5)
    data["time"].attrs["long_name"] = "start of accumulation interval"
    np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "a.nc")).time, TIMES + STEP)


@pytest.mark.parametrize("words", ["rain since 00 UTC", "storm total rain"])
def test_running_amounts_are_refused_though_an_interval_is_stated(tmp_path, words):
    data = dataset("mm", "rainfall_amount", accumulation_interval_minutes=5, long_name=words)
    with pytest.raises(ReadError, match=f"described as '{words}': each amount holds those before it"):
        cf.read(saved(data, tmp_path / "a.nc"))


def test_hourly_sums_in_units_of_a_rate_are_no_rates(tmp_path):
    data = dataset(cell_methods="time: sum (interval: 1 hour)")
    with pytest.raises(InputError, match="sums over 60 min overlap"):
        open_radar(saved(data, tmp_path / "a.nc"))


def test_mean_rates_get_the_end_of_their_bounds(tmp_path):
    data = dataset(cell_methods="time: mean", bounds=np.stack([TIMES, TIMES + STEP], 1))
    field = open_radar(saved(data, tmp_path / "a.nc"))
    np.testing.assert_array_equal(field.time, TIMES + STEP)
    assert field.attrs["accumulation_interval_minutes"] == 5.0
    data = dataset(cell_methods="time: mean", bounds=np.stack([TIMES - 12 * STEP, TIMES], 1))
    with pytest.raises(InputError, match="sums over 60 min overlap"):
        open_radar(saved(data, tmp_path / "b.nc"))
    data = dataset(cell_methods="time: mean", bounds=np.stack([TIMES, TIMES], 1))  # without a length
    np.testing.assert_array_equal(open_radar(saved(data, tmp_path / "c.nc")).time, TIMES)


# --- where radars see, in other variables -----------------------------------------------------------------------


MASK = np.array([[1, 1, 1, 0]] * 3, np.int8)
FLAGS = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "outside inside"}


@pytest.mark.parametrize(
    ("name", "flags", "ancillary"),
    [
        ("coverage", FLAGS, False),
        ("status", FLAGS, True),
        ("status", {"flag_masks": np.array([1, 2], np.int8), "flag_meanings": "good no_data"}, True),
    ],
)
def test_flags_of_a_mask_that_mean_missing_make_missing(tmp_path, name, flags, ancillary):
    values = np.where(MASK, 1, 2) if "flag_masks" in flags else MASK
    data = dataset(**({"ancillary_variables": name} if ancillary else {}))
    data[name] = (("y", "x"), values.astype(np.int8), flags)
    np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "a.nc")), np.where(MASK, VALUES, np.nan))


def test_flags_of_filled_or_partly_blocked_values_leave_them(tmp_path):
    flags = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "gap_filled partial_beam_blockage"}
    data = dataset(ancillary_variables="status").assign(status=(("y", "x"), MASK, flags))
    np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "a.nc")), VALUES)


def test_a_mask_of_each_frame(tmp_path):
    data = dataset()
    data["data_mask"] = (("time", "y", "x"), np.stack([MASK, MASK * 0, MASK * 0 + 1]), FLAGS)
    expected = VALUES.copy()
    expected[0, :, 3], expected[1] = np.nan, np.nan
    np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "a.nc")), expected)


def test_a_mask_without_flags_is_noted_and_others_are_not(tmp_path, recwarn):
    data = dataset().assign(coverage=(("y", "x"), MASK), land_mask=(("y", "x"), MASK))
    np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "a.nc")), VALUES)
    notes = [str(note.message) for note in recwarn if note.category is InputWarning]
    assert len(notes) == 1
    assert "its mask 'coverage' is not used" in notes[0]


@pytest.mark.parametrize("code", [999.0, 999.9])
def test_nines_are_no_rain(tmp_path, code):
    values = VALUES.copy()
    values[0, 0, 0] = code
    with pytest.raises(ReadError, match=f"holds {code:g} mm/h, a code for missing values"):
        np.asarray(cf.read(saved(dataset(values=values), tmp_path / "a.nc")))


# --- fields of rain that are no rain of one time ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "rain_p90",
        "precip_q75",
        "rr_max",
        "rain_spread",
        "rain_climatology",
        "rain_bias",
        "rain_rmse",
        "precip_percentile_95",
    ],
)
def test_statistics_by_the_name_of_the_variable_are_refused(tmp_path, name):
    with pytest.raises(ReadError, match=f"'{name}' is by its name a statistic"):
        cf.read(saved(dataset(standard_name="").rename(rr=name), tmp_path / "a.nc"))


@pytest.mark.parametrize(
    "words", ["95th percentile of rain rate", "maximum rain rate of the past hour", "climatological mean rain rate"]
)
def test_statistics_by_description_are_refused(tmp_path, words):
    with pytest.raises(ReadError, match=f"described as '{words}'"):
        cf.read(saved(dataset(long_name=words), tmp_path / "a.nc"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rain_10_min", "rain rate"),
        ("var61", "Total precipitation rate"),  # as CDO names parameters of GRIB
        ("rain_bias_corrected", "bias-corrected rain rate"),
        ("rr", "rain rate up to the maximum range"),
        ("p01m", "rain rate"),
        ("RW", "rain rate of the radar climatology"),
    ],
)
def test_other_names_and_descriptions_are_read(tmp_path, name, words):
    data = dataset(long_name=words).rename(rr=name)
    np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "a.nc")), VALUES)


def test_the_maximum_of_a_column_of_reflectivity_is_a_product(tmp_path):
    data = dataset("dBZ", "equivalent_reflectivity_factor", long_name="column maximum reflectivity")
    cf.read(saved(data.rename(rr="dbz_max"), tmp_path / "a.nc"))


def test_a_member_or_percentile_alone_is_read_and_noted(tmp_path):
    data = dataset().assign_coords(percentile=((), 90.0, {"units": "%"}))
    with pytest.warns(InputWarning, match="'rr' is that of percentile = 90"):
        np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "a.nc")), VALUES)


@pytest.mark.parametrize(
    ("words", "minutes"), [("daily rainfall", 1440), ("1-hour accumulation", 60), ("hourly rain totals", 60)]
)
def test_sums_in_words_are_no_rates(tmp_path, words, minutes):
    with pytest.raises(InputError, match=f"sums over {minutes} min overlap"):
        open_radar(saved(dataset(long_name=words), tmp_path / "a.nc"))
    field = open_radar(saved(dataset(long_name=words).isel(time=[0]), tmp_path / "b.nc"))
    assert field.attrs["accumulation_interval_minutes"] == minutes


def test_rates_in_words_are_rates(tmp_path):
    for words in ("total rain rate of the last scan, 5 min", "hourly rain rate"):
        field = open_radar(saved(dataset(long_name=words), tmp_path / f"{len(words)}.nc"))
        assert "accumulation_interval_minutes" not in field.attrs


@pytest.mark.parametrize("words", ["rain in 5 min", "5-minute precipitation sum", "rain amount of the last 5 minutes"])
def test_the_interval_of_an_amount_in_words(tmp_path, words):
    field = open_radar(saved(dataset("mm", "rainfall_amount", long_name=words), tmp_path / "a.nc"))
    assert field.attrs["accumulation_interval_minutes"] == 5
    np.testing.assert_allclose(field, VALUES * 12)


def test_an_interval_that_contradicts_the_description_is_refused(tmp_path):
    path = saved(dataset("mm", "rainfall_amount", long_name="hourly precipitation amount"), tmp_path / "a.nc")
    with pytest.raises(ReadError, match=r"5 min \(the interval given\), 60 min \(its description\)"):
        open_radar(path, interval="5min")


def test_times_of_a_climatology_are_refused(tmp_path):
    data = dataset()
    data["time"].attrs["climatology"] = "climatology_bounds"
    data["climatology_bounds"] = (("time", "nv"), np.stack([TIMES - STEP, TIMES], 1))
    with pytest.raises(ReadError, match="those of a climatology"):
        cf.read(saved(data, tmp_path / "a.nc"))


@pytest.mark.parametrize("name", ["nodata", "no_data_value", "FillValue", "missing"])
def test_codes_under_other_names_are_missing(tmp_path, name):
    values = VALUES.copy()
    values[0, 0, 0] = 200
    expected = np.where(values == 200, np.nan, values)
    np.testing.assert_array_equal(cf.read(saved(dataset(values=values, **{name: 200.0}), tmp_path / "a.nc")), expected)
    data = dataset(values=values.astype("i2"), scale_factor=0.5, **{name: np.int16(200)})
    np.testing.assert_array_equal(cf.read(saved(data, tmp_path / "b.nc")), expected / 2)
    with pytest.raises(ReadError, match=rf"declares 0 as missing \({name}\)"):
        cf.read(saved(dataset(**{name: 0}), tmp_path / "c.nc"))


def test_limits_that_are_texts(tmp_path):
    with pytest.warns(InputWarning, match="outside its valid range, -inf to 30"):
        np.asarray(cf.read(saved(dataset(valid_max="30"), tmp_path / "a.nc")))
    with pytest.raises(ReadError, match="has the limit 'high', no number"):
        cf.read(saved(dataset(valid_max="high"), tmp_path / "b.nc"))


def test_times_outside_what_the_file_covers_are_noted(tmp_path, recwarn):
    covers = {"time_coverage_start": "2020-01-01T05:00:00Z", "time_coverage_end": "2020-01-01T05:20:00Z"}
    with pytest.warns(InputWarning, match="is outside what it covers by its attributes"):
        cf.read(saved(dataset().assign_attrs(covers), tmp_path / "a.nc"))
    recwarn.clear()
    covers = {"time_coverage_start": "2020-01-01", "time_coverage_end": "2020-01-01"}
    cf.read(saved(dataset().assign_attrs(covers), tmp_path / "b.nc"))
    assert not [note for note in recwarn if note.category is InputWarning]


def test_calendars_of_models_are_named(tmp_path):
    data = dataset().drop_vars("time")
    attrs = {"units": "minutes since 2020-01-01", "calendar": "360_day", "standard_name": "time"}
    with pytest.raises(ReadError, match="2020-01-01 00:05:00, calendar 360_day"):
        cf.read(saved(data.assign_coords(time=("time", [5, 10, 15], attrs)), tmp_path / "a.nc"))


def test_latitudes_by_name_that_are_longitudes_by_units_are_refused(tmp_path):
    data = dataset().drop_vars(["x", "y", "laea"]).rename(x="lon", y="lat")
    del data["rr"].attrs["grid_mapping"]
    data = data.assign_coords(lat=("lat", [50.2, 50.1, 50.0], {"units": "degrees_east"}))
    data = data.assign_coords(lon=("lon", [9.7, 9.8, 9.9, 10.0], {"units": "degrees_north"}))
    with pytest.raises(ReadError, match=r"a longitude by its attributes .degrees_east., and a latitude by its name"):
        cf.read(saved(data, tmp_path / "a.nc"))
