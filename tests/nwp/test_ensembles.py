"""Ensembles in GRIB and NetCDF: members are runs, percentiles and means are chosen, nothing replaces anything."""

from __future__ import annotations

import numpy as np
import pyproj  # noqa: F401 (before ecCodes, which has a PROJ of its own)
import pytest
import xarray as xr

from helpers.grib import degrees, encode, write
from hybridcast.errors import InputError, ReadError
from hybridcast.nwp import nwp_fields, open_nwp, regrid_to_radar, select_available_runs, steering_wind
from hybridcast.nwp.availability import MAX_FIELDS
from hybridcast.nwp.schema import order_newest_first
from hybridcast.nwp.writing import save_nwp
from hybridcast.predictors.nwp import compute_nwp_predictors

HOUR = np.timedelta64(1, "h")
RUN = np.datetime64("2024-06-01T00", "ns")
ROWS, COLUMNS = 8, 10
PLACE = degrees(52.0, 5.0, 51.3, 5.9, 0.1)
#: Total precipitation (kg m-2) summed over the first hour, by WMO code tables 4.2-0-1 and 4.10.
TOTAL = {
    "discipline": 0,
    "parameterCategory": 1,
    "parameterNumber": 8,
    "typeOfFirstFixedSurface": 1,
}
FIRST_HOUR = {"typeOfStatisticalProcessing": 1, "stepRange": "0-1"}


def grib2(path, value, template, **keys):
    """Append a message of one value everywhere, with a product definition template."""
    given = {"productDefinitionTemplateNumber": template, "dataDate": 20240601, "dataTime": 0, **PLACE}
    with path.open("ab") as file:
        file.write(encode(np.full((ROWS, COLUMNS), value), **{**given, **keys}))


def member(path, value, number, kind=3, template=11, **keys):
    ensemble = {"typeOfEnsembleForecast": kind, "perturbationNumber": number, "numberOfForecastsInEnsemble": 3}
    grib2(path, value, template, **{**TOTAL, **ensemble, **FIRST_HOUR, **keys})


def by_member(nwp):
    return dict(zip(nwp.member.values.tolist(), nwp.precipitation_rate.values[:, 0, 3, 4].tolist(), strict=True))


# --- GRIB -------------------------------------------------------------------------------------------------------


def test_members_in_one_file_are_all_kept(tmp_path):
    for number, value in ((0, 1.0), (1, 2.0), (2, 30.0)):
        member(tmp_path / "e.grib2", value, number)
    nwp = open_nwp(tmp_path / "e.grib2")
    assert by_member(nwp) == pytest.approx({0: 1.0, 1: 2.0, 2: 30.0})
    assert (nwp.reference_time.values == RUN).all()
    assert nwp.member.attrs["standard_name"] == "realization"


def test_members_in_files_of_their_own_are_all_kept(tmp_path):
    for number, value in ((0, 30.0), (1, 2.0), (2, 1.0)):
        member(tmp_path / f"m{number}.grib2", value, number)
    assert by_member(open_nwp(tmp_path / "m*.grib2")) == pytest.approx({0: 30.0, 1: 2.0, 2: 1.0})
    one = open_nwp(tmp_path / "m*.grib2", member=1)
    assert "member" not in one.coords
    assert float(one.precipitation_rate.max()) == pytest.approx(2.0)


def test_positively_and_negatively_perturbed_members_share_numbers(tmp_path):
    """NCEP's SREF numbers its pairs p1 and n1, both with perturbationNumber 1 (code table 4.6 tells them apart)."""
    for kind, value, number in ((1, 3.0, 0), (2, 1.0, 1), (3, 2.0, 1)):
        member(tmp_path / "e.grib2", value, number, kind)
    assert by_member(open_nwp(tmp_path / "e.grib2")) == pytest.approx({-1: 1.0, 0: 3.0, 1: 2.0})


def test_members_of_several_lead_times_are_differenced_each_by_itself(tmp_path):
    for number, sums in ((1, (1.0, 3.0)), (2, (5.0, 5.0))):
        for hour, value in enumerate(sums, 1):
            member(tmp_path / "e.grib2", value, number, stepRange=f"0-{hour}")
    nwp = open_nwp(tmp_path / "e.grib2")
    assert nwp.precipitation_rate.values[:, :, 0, 0].tolist() == [[1, 2], [5, 0]]


def test_ecmwf_members_of_edition_1(tmp_path):
    """Sums of ECMWF's forecasts have no step in edition 1 (timeRangeIndicator 0): they are since the start."""
    messages = []
    for number, kind in ((0, "cf"), (1, "pf"), (2, "pf")):
        keys = {
            "centre": 98,
            "setLocalDefinition": 1,
            "localDefinitionNumber": 1,
            "table2Version": 128,
            "indicatorOfParameter": 228,
            "timeRangeIndicator": 0,
            "P1": 6,
            "dataDate": 20240601,
            "marsClass": "od",
            "marsType": kind,
            "marsStream": "enfo",
            "number": number,
        }
        values = np.full((ROWS, COLUMNS), 0.006 * (number + 1))
        messages.append(encode(values, edition=1, **keys, dataTime=0, **PLACE))
    nwp = open_nwp(write(tmp_path / "e.grib", *messages))
    assert by_member(nwp) == pytest.approx({0: 1.0, 1: 2.0, 2: 3.0}, rel=1e-3)
    assert nwp.lead_time.values == [6 * HOUR]


def test_percentiles_are_chosen(tmp_path):
    path = tmp_path / "p.grib2"
    for percentile, value in ((10, 0.0), (50, 2.0), (90, 9.0)):
        grib2(path, value, 10, **TOTAL, percentileValue=percentile, **FIRST_HOUR)
    with pytest.raises(
        ReadError, match=r"p\.grib2: .*percentile 10 .*percentile 90.*Choose one: member='p10'"
    ) as error:
        open_nwp(path)
    assert "--nwp-member p10" in error.value.for_command_line
    assert float(open_nwp(path, member="p50").precipitation_rate.max()) == 2.0
    with pytest.raises(InputError, match=r"member='p60'; the files hold .*percentile 50"):
        open_nwp(path, member="p60")


@pytest.mark.parametrize(
    ("template", "keys", "words"),
    [
        (9, {"probabilityType": 1, "scaleFactorOfLowerLimit": 0, "scaledValueOfLowerLimit": 1}, "as probability"),
        (12, {"derivedForecast": 4, "numberOfForecastsInEnsemble": 20}, "statistic 4 of the ensemble"),
        (12, {"derivedForecast": 0, "numberOfForecastsInEnsemble": 20}, r"mean of the ensemble.*member='mean'"),
    ],
)
def test_statistics_of_an_ensemble_are_no_run(tmp_path, template, keys, words):
    grib2(tmp_path / "s.grib2", 5.0, template, **TOTAL, **keys, **FIRST_HOUR)
    with pytest.raises(ReadError, match=rf"s\.grib2: precipitation_amount .*{words}"):
        open_nwp(tmp_path / "s.grib2")


def test_the_mean_of_an_ensemble_is_read_if_it_is_asked_for(tmp_path):
    grib2(tmp_path / "s.grib2", 5.0, 12, **TOTAL, derivedForecast=0, numberOfForecastsInEnsemble=20, **FIRST_HOUR)
    assert float(open_nwp(tmp_path / "s.grib2", member="mean").precipitation_rate.max()) == 5.0


def test_a_statistic_beside_members_is_left_out_by_name(tmp_path):
    member(tmp_path / "e.grib2", 1.0, 0)
    grib2(tmp_path / "e.grib2", 9.0, 10, **TOTAL, percentileValue=90, **FIRST_HOUR)
    nwp = open_nwp(tmp_path / "e.grib2")
    assert by_member(nwp) == {0: 1.0}
    assert nwp.attrs["left_out"] == "precipitation_amount (percentile 90)"


def test_members_are_not_mixed_with_a_run_without_members(tmp_path):
    grib2(tmp_path / "a.grib2", 1.0, 8, **TOTAL, **FIRST_HOUR)
    member(tmp_path / "b.grib2", 2.0, 1)
    with pytest.raises(InputError, match=r"members 1 and a run without members.*member=1") as error:
        open_nwp(tmp_path / "?.grib2")
    assert "--nwp-member 1" in error.value.for_command_line
    assert float(open_nwp(tmp_path / "?.grib2", member=1).precipitation_rate.max()) == 2.0


def test_two_fields_of_one_name_and_step_are_refused_unless_they_are_equal(tmp_path):
    for name, value in (("a", 1.0), ("b", 2.0), ("c", 1.0)):
        grib2(tmp_path / f"{name}.grib2", value, 8, **TOTAL, **FIRST_HOUR)
    with pytest.raises(
        ReadError, match=r"precipitation_amount at \+1 h have other values, in .*a\.grib2 and .*b\.grib2"
    ):
        open_nwp(tmp_path / "?.grib2")
    assert float(open_nwp([tmp_path / "a.grib2", tmp_path / "c.grib2"]).precipitation_rate.max()) == 1.0


def test_two_winds_of_one_step_are_refused(tmp_path):
    """Members whose numbers were lost would otherwise replace each other."""
    for part, number in (("u", 2), ("v", 3)):
        keys = {"discipline": 0, "parameterCategory": 2, "parameterNumber": number, "typeOfFirstFixedSurface": 100}
        for value in (5.0, 9.0):
            level = {"scaledValueOfFirstFixedSurface": 70000, "scaleFactorOfFirstFixedSurface": 0}
            grib2(tmp_path / "w.grib2", value, 0, **keys, **level, shortName=part, stepRange="1")
    with pytest.raises(ReadError, match=r"w\.grib2: two fields of .*wind at \+1 h have other values"):
        open_nwp(tmp_path / "w.grib2")


@pytest.mark.parametrize(("statistic", "word"), [(2, "maximum"), (3, "minimum"), (4, "difference")])
def test_an_extreme_of_the_step_is_no_amount(tmp_path, statistic, word):
    rate = {**TOTAL, "parameterNumber": 52, "typeOfStatisticalProcessing": statistic, "stepRange": "0-1"}
    grib2(tmp_path / "max.grib2", 5.0, 8, **rate)
    with pytest.raises(ReadError, match=rf"max\.grib2: precipitation_rate as {word} of the step"):
        open_nwp(tmp_path / "max.grib2")


def test_a_file_with_nothing_known_is_named_with_its_content(tmp_path):
    grib2(tmp_path / "snow.grib2", 1.0, 0, **{**TOTAL, "parameterNumber": 11}, stepRange="1")
    with pytest.raises(ReadError, match=r"snow\.grib2: no variable known: it holds sde \(surface\)"):
        open_nwp(tmp_path / "snow.grib2")


# --- NetCDF -----------------------------------------------------------------------------------------------------


def netcdf(path, dim, labels, attrs):
    """Write mean rates of 1, 2 and 30 mm/h along a dimension besides time, latitude and longitude."""
    values = np.array([1.0, 2.0, 30.0])[None, :, None, None] * np.ones((2, 1, ROWS, COLUMNS))
    coords = {
        "time": ("time", RUN + np.arange(1, 3) * HOUR, {"standard_name": "time"}),
        "latitude": ("latitude", 52 - 0.1 * np.arange(ROWS), {"units": "degrees_north"}),
        "longitude": ("longitude", 5 + 0.1 * np.arange(COLUMNS), {"units": "degrees_east"}),
        "forecast_reference_time": ((), RUN, {"standard_name": "forecast_reference_time"}),
    }
    if labels is not None:
        coords[dim] = (dim, labels, attrs)
    rain = {"units": "mm h-1", "standard_name": "lwe_precipitation_rate"}
    data = xr.Dataset({"pr": (("time", dim, "latitude", "longitude"), values, rain)}, coords)
    data.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize(
    ("dim", "labels", "attrs"),
    [
        ("realization", [0, 1, 2], {"standard_name": "realization"}),
        ("number", [0, 1, 2], {"long_name": "ensemble member numerical id"}),  # as cfgrib names it
        ("member", ["m01", "m02", "m03"], {"standard_name": "realization"}),
        ("ensemble_member", None, {}),  # a dimension without a coordinate, as MET Norway's MEPS has
    ],
)
def test_members_along_a_dimension(tmp_path, dim, labels, attrs):
    path = netcdf(tmp_path / "e.nc", dim, labels, attrs)
    assert by_member(open_nwp(path)) == pytest.approx({0: 1.0, 1: 2.0, 2: 30.0})
    assert float(open_nwp(path, member=2).precipitation_rate.max()) == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("dim", "labels", "choice"), [("percentile", [10.0, 50.0, 90.0], "p50"), ("quantile", [0.1, 0.5, 0.9], "p50")]
)
def test_percentiles_along_a_dimension_are_chosen(tmp_path, dim, labels, choice):
    path = netcdf(tmp_path / "p.nc", dim, labels, {})
    with pytest.raises(ReadError, match=r"p\.nc: .*percentile 50.*member='p10'"):
        open_nwp(path)
    assert float(open_nwp(path, member=choice).precipitation_rate.max()) == pytest.approx(2.0)


def test_another_dimension_is_refused_by_name(tmp_path):
    with pytest.raises(ReadError, match=r"'pr' has 3 values along 'threshold', which is neither time, nor members"):
        open_nwp(netcdf(tmp_path / "t.nc", "threshold", [0.1, 1.0, 5.0], {"units": "mm"}))


@pytest.mark.parametrize("method", ["time: maximum", "realization: standard_deviation"])
def test_cell_methods_other_than_means_are_no_rate(tmp_path, method):
    path = netcdf(tmp_path / "x.nc", "realization", [0, 1, 2], {})
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        data = opened.load()
    data["pr"].attrs["cell_methods"] = method
    data.to_netcdf(tmp_path / "y.nc", engine="h5netcdf")
    with pytest.raises(ReadError, match=r"y\.nc: precipitation_rate as (maximum|standard_deviation) of the"):
        open_nwp(tmp_path / "y.nc")


# --- use --------------------------------------------------------------------------------------------------------


def ensemble(numbers, runs=1, leads=4, crs=None):
    """Return members whose rain and wind equal their number plus 1, in runs 3 h apart."""
    starts = np.repeat(RUN + np.arange(runs) * 3 * HOUR, len(numbers))
    rate = np.tile(np.abs(np.array(numbers, np.float32)) + 1, runs)[:, None, None, None] * np.ones((1, leads, 6, 6))
    return nwp_fields(
        {"precipitation_rate": rate, "x_wind": rate, "y_wind": 0 * rate},
        reference_time=starts,
        lead_time=np.arange(1, leads + 1) * HOUR,
        y=np.arange(6) * 2000.0,
        x=np.arange(6) * 2000.0,
        crs=crs,
        member=np.tile(numbers, runs),
    )


def test_members_are_stored_and_read_again(tmp_path):
    made = ensemble([0, 1, 2], runs=2, crs="EPSG:3035")
    with xr.open_dataset(save_nwp(made, tmp_path / "e.nc"), engine="h5netcdf") as stored:
        assert stored.member.values.tolist() == [0, 1, 2, 0, 1, 2]
    read = open_nwp(tmp_path / "e.nc")
    xr.testing.assert_allclose(read.precipitation_rate.drop_attrs(), made.precipitation_rate.drop_attrs())
    assert read.member.values.tolist() == [0, 1, 2, 0, 1, 2]


def test_the_newest_run_is_first_and_of_it_the_control():
    nwp = ensemble([2, -1, 0], runs=2)
    order = order_newest_first(nwp)
    assert [int(nwp.member[k]) for k in order] == [0, -1, 2, 0, -1, 2]
    assert nwp.reference_time.values[order[0]] == RUN + 3 * HOUR


def test_all_members_of_the_newest_runs_are_selected():
    made = select_available_runs(ensemble([0, 1, 2], runs=2), "2024-06-01T06:00", HOUR)
    assert made.member.values.tolist() == [0, 1, 2]  # the run of 00 UTC ends at 04 UTC
    assert made.attrs["runs"].startswith("2024-06-01T03:00:00Z member 0 (3 h old); ")


def test_a_large_ensemble_is_cut_with_a_note():
    made = select_available_runs(ensemble(list(range(20))), "2024-06-01T02:00", HOUR)
    assert made.sizes["reference_time"] == MAX_FIELDS
    assert f"member {MAX_FIELDS} (2 h old: the {MAX_FIELDS} first members are taken)" in made.attrs["left_out_runs"]


def test_rate_and_wind_are_the_controls_and_the_fraction_counts_all_members():
    nwp = ensemble([2, -1, 0, 1]).sortby("member", ascending=False)  # rain 3, 2, 1 and 2 mm/h
    nwp["precipitation_rate"][:] = nwp.precipitation_rate - np.float32(0.5)  # the control has 0.5 mm/h: below 1 mm/h
    issue = RUN + HOUR
    recent = xr.DataArray(
        np.ones((2, 6, 6), np.float32),
        dims=("time", "y", "x"),
        coords={"time": [issue - HOUR / 6, issue], "y": nwp.y, "x": nwp.x},
        attrs={"units": "mm h-1"},
    )
    times = issue + np.array([0, 1]) * HOUR
    on_grid = regrid_to_radar(nwp, recent, times)
    assert on_grid.member.values.tolist() == nwp.member.values.tolist()
    fields = compute_nwp_predictors(on_grid, recent, np.array([1]) * HOUR)
    assert fields["nwp_rate"][0, 3, 3] == pytest.approx(10 * np.log10(5), abs=0.01)
    assert fields["nwp_ensemble"][0, 3, 3] == pytest.approx(0.75)
    assert float(steering_wind(on_grid, times[1]).u[3, 3]) == pytest.approx(1.0)


def test_members_have_whole_numbers_and_come_once():
    values = np.ones((2, 1, 2, 2), np.float32)
    given = {"reference_time": [RUN, RUN], "lead_time": [HOUR], "y": [0, 1e3], "x": [0, 1e3], "crs": None}
    for numbers, words in (([1, 1], "each run comes once, or each member"), ([0.5, 1.5], "a whole number")):
        with pytest.raises(InputError, match=words):
            nwp_fields({"precipitation_rate": values}, member=numbers, **given)


def test_masked_values_are_missing():
    masked = np.ma.masked_array(np.ones((1, 1, 2, 2), np.float32), mask=[[[[True, False], [False, False]]]])
    given = {"reference_time": [RUN], "lead_time": [HOUR], "y": [0, 1e3], "x": [0, 1e3], "crs": None}
    made = nwp_fields({"precipitation_rate": masked}, **given)
    assert np.isnan(made.precipitation_rate.values[0, 0]).tolist() == [[True, False], [False, False]]
