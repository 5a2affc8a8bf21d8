"""Interval of amounts in CF files: read from any of the places where it is stated, else refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers.cf_files import TIMES, VALUES, dataset, saved
from hybridcast.core.intervals import read_interval_attributes
from hybridcast.errors import ReadError
from hybridcast.radar import cf, open_radar
from hybridcast.radar._units import read_rain_units

HOUR = np.timedelta64(60, "m")


def amount(units="mm", **attrs):
    return dataset(units, "rainfall_amount", **attrs)


@pytest.mark.parametrize(
    "methods",
    [
        "time: sum (interval: 5 minutes)",
        "time: sum (interval: 5 min)",
        "time: sum (comment: over the last 5 minutes)",
        "time: sum over 5 minutes",
        "time: sum (5 min)",
        "area: mean time: sum (interval: 300 s)",
        "time: sum (interval: PT5M)",
        "time: sum (interval: 5 minutes) area: mean",
    ],
)
def test_cell_methods(tmp_path, methods):
    field = open_radar(saved(amount(cell_methods=methods), tmp_path / "a.nc"))
    np.testing.assert_allclose(field, VALUES * 12, rtol=1e-6)
    assert field.attrs["accumulation_interval_minutes"] == 5


@pytest.mark.parametrize("methods", ["time: sum", "time: mean (interval: 5 minutes)", "time: sum within days", "sum"])
def test_cell_methods_without_an_interval_of_a_sum_are_refused(tmp_path, methods):
    with pytest.raises(ReadError, match=r"a\.nc: holds an amount, but not the time it fell in\. State it"):
        open_radar(saved(amount(cell_methods=methods), tmp_path / "a.nc"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accumulation_interval_minutes", 5),
        ("accumulation_interval_minutes", "5"),
        ("accumulation_period", "5 min"),
        ("accumulation_time", "PT5M"),
        ("accum_time_h", 1 / 12),
        ("integration_time", "300 s"),
        ("accumulation_time_seconds", 300),
    ],
)
def test_attributes(tmp_path, name, value):
    field = open_radar(saved(amount(**{name: value}), tmp_path / "a.nc"))
    np.testing.assert_allclose(field, VALUES * 12, rtol=1e-6)
    of_file = open_radar(saved(amount().assign_attrs({name: value}), tmp_path / "b.nc"))
    np.testing.assert_allclose(of_file, VALUES * 12, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"), [("accumulation_time", 5), ("accumulation_period", "hourly"), ("acc_min", -5)]
)
def test_attributes_without_a_unit_state_nothing(tmp_path, name, value):
    assert list(read_interval_attributes({name: value})) == []
    with pytest.raises(ReadError, match="time it fell in"):
        open_radar(saved(amount(**{name: value}), tmp_path / "a.nc"))


@pytest.mark.parametrize(
    "units", ["mm/5min", "mm/(5 min)", "mm 5min-1", "mm (5 min)-1", "kg m-2 5min-1", "mm per 5 min"]
)
def test_amounts_whose_unit_states_the_interval(tmp_path, units):
    field = open_radar(saved(amount(units), tmp_path / "a.nc"))
    np.testing.assert_allclose(field, VALUES * 12, rtol=1e-6)
    assert field.attrs["accumulation_interval_minutes"] == 5


@pytest.mark.parametrize(("units", "factor"), [("0.1 mm", 1.2), ("1/100 mm", 0.12), ("kg m-2", 12), ("cm", 120)])
def test_amounts_in_parts_of_millimetres(tmp_path, units, factor):
    values = (VALUES / 40).astype(np.float32)
    data = dataset(units, "rainfall_amount", values, accumulation_interval_minutes=5)
    np.testing.assert_allclose(open_radar(saved(data, tmp_path / "a.nc")), values * factor, rtol=1e-5)


def test_one_frame_with_the_times_it_covers(tmp_path):
    one = amount().isel(time=[1])
    one.attrs |= {"time_coverage_start": "2020-01-01T00:00:00Z", "time_coverage_end": "2020-01-01T00:10:00Z"}
    np.testing.assert_allclose(open_radar(saved(one, tmp_path / "a.nc")), VALUES[[1]] * 6, rtol=1e-6)
    one.attrs["time_coverage_end"] = "2020-01-01T00:20:00Z"  # not the stamp of the frame
    with pytest.raises(ReadError, match="time it fell in"):
        open_radar(saved(one, tmp_path / "b.nc"))


def overlapping():
    return np.stack([TIMES - HOUR, TIMES], axis=1)


@pytest.mark.parametrize(
    "data",
    [
        dataset("mm", "rainfall_amount", bounds=overlapping()),
        dataset("mm", "rainfall_amount", cell_methods="time: sum (interval: 1 hour)"),
        dataset("mm", "rainfall_amount", accumulation_period="1 h"),
        dataset("mm/60min", "rainfall_amount"),
    ],
    ids=["bounds", "cell_methods", "attribute", "units"],
)
def test_hourly_sums_every_5_minutes_are_known_as_such(tmp_path, data):
    field = cf.read(saved(data, tmp_path / "a.nc"))
    np.testing.assert_allclose(field, VALUES, rtol=1e-6)
    assert field.attrs["accumulation_interval_minutes"] == 60


def test_amounts_since_the_start_are_refused(tmp_path):
    bounds = np.stack([np.repeat(TIMES[:1] - HOUR, 3), TIMES], axis=1)
    with pytest.raises(ReadError, match="not of one positive length"):
        open_radar(saved(dataset("mm", "rainfall_amount", bounds=bounds), tmp_path / "a.nc"))


def test_two_statements_that_differ_are_refused(tmp_path):
    data = dataset("mm", "rainfall_amount", bounds=overlapping(), accumulation_interval_minutes=5)
    with pytest.raises(ReadError, match=r"different intervals .* 60 min \(the bounds of time\), 5 min"):
        open_radar(saved(data, tmp_path / "a.nc"))


@pytest.mark.parametrize(
    ("units", "standard_name"),
    [
        ("mm h-1", "rainfall_amount"),
        ("mm", "rainfall_rate"),
        ("dBZ", "precipitation_flux"),
        ("kg m-2", "rainfall_flux"),
    ],
)
def test_units_that_contradict_the_standard_name_are_refused(tmp_path, units, standard_name):
    with pytest.raises(ReadError, match=f"'rr' in '{units}' is no '{standard_name}'"):
        open_radar(saved(dataset(units, standard_name, accumulation_interval_minutes=5), tmp_path / "a.nc"))


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ("mm/hr", ("rate", 1.0, None)),
        ("0.1mm/h", ("rate", 0.1, None)),
        ("1e-2 mm/h", ("rate", 0.01, None)),
        ("10^-1 mm", ("amount", 0.1, None)),
        ("in/hr", ("rate", 25.4, None)),
        ("mm/6h", ("amount", 1.0, np.timedelta64(6, "h"))),
        ("DBZ", ("reflectivity", 1.0, None)),
        *(
            (odd, None)
            for odd in ("mmh", "mm/h*10", "mm*10", "mm/100", "mm/H", "mmHg", "mm6 m-3", "dBZ*2", "1/0 mm", "")
        ),
    ],
)
def test_spellings_of_units(units, expected):
    assert read_rain_units(units) == expected


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("tcwv", {"units": "kg m-2", "long_name": "total column water vapour"}),
        ("x1", {"units": "kg m-2"}),
        ("evaporation", {"units": "mm", "accumulation_interval_minutes": 5}),
        ("sd", {"units": "mm", "long_name": "snow depth"}),
        ("q", {"units": "mm h-1", "standard_name": "convective_rainfall_rate"}),
        ("precip_error", {"units": "mm h-1"}),
        ("h", {"units": "m", "long_name": "height"}),
    ],
)
def test_water_that_is_no_rain_is_not_read(tmp_path, name, attrs):
    data = xr.Dataset({name: dataset(standard_name=None)["rr"].drop_attrs().assign_attrs(attrs)})
    with pytest.raises(ReadError, match="no variable has a standard_name of precipitation"):
        open_radar(saved(data, tmp_path / "a.nc"))


# --- cases of public reports ----------------------------------------------------------------------------------


def test_bounds_that_contradict_the_name_are_refused(tmp_path):
    # planet-os/notebooks #4: precipitation_amount_1hour_Accumulation with bounds of three hours
    data = dataset("kg m-2", "precipitation_amount", bounds=np.stack([TIMES - 3 * HOUR, TIMES], axis=1))
    data = data.rename(rr="precipitation_amount_1hour_Accumulation")
    with pytest.raises(ReadError, match=r"180 min \(the bounds of time\), 60 min \(its name"):
        open_radar(saved(data, tmp_path / "a.nc"))


def test_hourly_file_that_sums_since_midnight_is_refused(tmp_path):
    # danpower101/crspy #3: ERA5-Land, metres since 00 UTC, stamped hourly and without bounds
    data = dataset("m", None, VALUES / 1000, long_name="Total precipitation").rename(rr="tp")
    with pytest.raises(ReadError, match="the time it fell in"):
        open_radar(saved(data, tmp_path / "a.nc"))


def test_the_interval_can_be_given(tmp_path):
    path = saved(amount(), tmp_path / "a.nc")
    field = open_radar(path, interval="5min")
    np.testing.assert_allclose(field, VALUES * 12, rtol=1e-6)
    assert field.attrs["accumulation_interval_minutes"] == 5
    stated = saved(amount(accumulation_interval_minutes=10), tmp_path / "b.nc")
    with pytest.raises(ReadError, match=r"5 min \(the interval given\), 10 min"):
        open_radar(stated, interval="5min")
    with pytest.raises(ReadError) as refused:
        open_radar(path)
    assert "--radar-interval" in refused.value.for_command_line
