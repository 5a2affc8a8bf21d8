"""Products of places against hand-made members: rates, times, sums, levels; and what is unknown."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers.small_ensembles import ISSUED, box, build_ensemble, make_lazy
from hybridcast.core.field import precipitation
from hybridcast.core.forecast_schema import ENSEMBLE, add_probabilities
from hybridcast.ensembles import accumulate, over_regions, quantiles
from hybridcast.ensembles.one_pass import show_all
from hybridcast.errors import InputError
from hybridcast.places import Place, at_places, read_places
from hybridcast.places.series import plan_samples

WEST, SOUTH, CRS = 300_000.0, 6_700_000.0, "EPSG:3067"


def cell(row, column):
    """Return the point in a cell of the grid of `build_ensemble`."""
    return {"type": "Point", "coordinates": [WEST + 1e3 * column + 300, SOUTH + 1e3 * row + 700]}


def cells(first_row, first_column, last_row, last_column):
    return box(
        WEST + 1e3 * first_column, SOUTH + 1e3 * first_row, WEST + 1e3 * last_column + 1e3, SOUTH + 1e3 * last_row + 1e3
    )


def uniform(rates, minutes=None, **more):
    """Return a forecast on 4 x 5 cells with these rates everywhere, shape (realization, lead)."""
    rates = np.asarray(rates, np.float32)
    return build_ensemble(rates[..., None, None] * np.ones((4, 5), np.float32), minutes, **more)


def at_point(result, levels=(), **options):
    places = read_places({"A": cell(1, 2)}, crs=CRS, levels=levels)
    return at_places(result, places, **options).sel(place="A", statistic="mean")


def frames(rates, result, minutes=10):
    """Return radar with these rates everywhere, the last at the issue time."""
    rates = np.asarray(rates, np.float32)
    times = ISSUED - np.arange(rates.size)[::-1] * np.timedelta64(minutes, "m")
    field = rates[:, None, None] * np.ones((result.sizes["y"], result.sizes["x"]), np.float32)
    return precipitation(field, time=times, y=result.y.values, x=result.x.values, crs=CRS)


# --- rates ----------------------------------------------------------------------------------------------------


def test_a_point_is_its_cell_to_the_last_bit():
    members = np.random.default_rng(0).gamma(0.5, 3.0, (5, 3, 4, 5)).astype(np.float32)
    found = at_point(build_ensemble(members))
    np.testing.assert_array_equal(found.rate_quantile.sel(quantile=0.5), np.median(members[:, :, 1, 2], axis=0))
    np.testing.assert_array_equal(
        found.probability_of_exceedance.sel(threshold=1.0), (members[:, :, 1, 2] >= 1).mean(0, dtype=np.float32)
    )


def test_an_area_is_as_over_regions_and_its_maximum_is_of_each_member():
    members = np.random.default_rng(1).gamma(0.5, 3.0, (5, 6, 12, 9)).astype(np.float32)
    result = build_ensemble(members)
    polygon = box(WEST + 1400, SOUTH + 2500, WEST + 6500, SOUTH + 7900)
    table = at_places(result, read_places({"A": polygon}, crs=CRS), windows=["30min"]).sel(place="A")
    means = over_regions(result, polygon, crs=CRS)
    expected = quantiles(means, [0.1, 0.5, 0.9]).isel(region=0)
    np.testing.assert_allclose(table.rate_quantile.sel(statistic="mean"), expected, rtol=1e-5)
    sums = quantiles(accumulate(means, "30min", every="10min"), 0.9).isel(region=0)
    of_mean = table.amount_quantile.sel(window=np.timedelta64(30, "m"), quantile=0.9, statistic="mean")
    np.testing.assert_allclose(of_mean[2:], sums, rtol=1e-5)
    inside = members[:, :, 2:8, 1:7]
    highest = table.rate_quantile.sel(statistic="maximum", quantile=0.5)
    np.testing.assert_allclose(highest, np.median(inside.max(axis=(2, 3)), axis=0), rtol=1e-5)


def test_the_maximum_of_sums_is_the_amount_at_the_wettest_cell():
    """Two cells, wet one after the other: each gets 6 mm, the sum of maxima would be 12 mm."""
    members = np.zeros((1, 2, 4, 5), np.float32)
    members[0, 0, 1, 1], members[0, 1, 1, 2] = 12.0, 12.0
    result = build_ensemble(members, [30, 60])
    places = read_places({"A": cells(1, 1, 1, 2)}, crs=CRS, levels=["7 mm in 1h"])
    table = at_places(result, places, windows=["1h"]).sel(place="A")
    amount = table.amount.sel(lead_time="60min", window="1h")
    assert amount.sel(statistic="maximum").item() == pytest.approx(6.0)
    assert amount.sel(statistic="mean").item() == pytest.approx(6.0, rel=1e-3)
    assert table.warning_probability.item() == 0.0


def test_an_area_smaller_than_a_cell_and_a_narrow_one_have_a_maximum():
    members = np.arange(20.0).reshape(1, 1, 4, 5)
    tiny = box(WEST + 2490, SOUTH + 1490, WEST + 2510, SOUTH + 1510)
    narrow = box(WEST + 500, SOUTH + 1990, WEST + 3600, SOUTH + 2010)  # along the border of two rows, 1 % of each cell
    table = at_places(build_ensemble(members), read_places({"tiny": tiny, "narrow": narrow}, crs=CRS))
    rate = table.precipitation_rate.isel(lead_time=0)
    assert rate.sel(place="tiny").values.tolist() == pytest.approx([7.0, 7.0])
    assert rate.sel(place="narrow", statistic="maximum").item() == pytest.approx(13.0)


def test_probabilities_of_the_forecast_count_at_points_and_members_elsewhere():
    result = uniform([[0.0, 2.0], [2.0, 2.0]])
    result = add_probabilities(result, np.full((2, 2, 4, 5), 0.7, np.float32), [1.0, 3.0])
    places = read_places({"A": cell(0, 0), "B": cells(0, 0, 1, 1)}, crs=CRS)
    found = at_places(result, places).probability_of_exceedance.sel(threshold=1.0, statistic="mean")
    assert found.sel(place="A").values.tolist() == pytest.approx([0.7, 0.7])
    assert found.sel(place="B").values.tolist() == pytest.approx([0.5, 1.0])
    other = at_places(result, places, thresholds=[2.0]).probability_of_exceedance.sel(statistic="mean")
    assert other.sel(place="A").values.ravel().tolist() == pytest.approx([0.5, 1.0])


# --- times ----------------------------------------------------------------------------------------------------


def test_minutes_to_rain_and_to_its_end_are_those_of_members():
    members = [[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0]]
    found = at_point(uniform(members, minutes=[10, 20, 30, 40, 50, 60]), levels=["0.5 mm/h"])
    assert found.probability_of_rain.item() == pytest.approx(0.75)
    np.testing.assert_allclose(found.minutes_to_rain_quantile, np.quantile([10, 20, 40], [0.1, 0.5, 0.9]))
    assert found.probability_of_end.item() == pytest.approx(2 / 3)  # the second still rains at the end
    np.testing.assert_allclose(found.minutes_to_end_quantile, np.quantile([20, 40], [0.1, 0.5, 0.9]))
    assert found.minutes_known.item() == 60
    assert found.minutes_to_rain.item() == 10  # of the mean of the members, 0.25 mm/h
    assert found.warning_probability.sel(level="0.5 mm/h").item() == pytest.approx(0.75)
    np.testing.assert_allclose(found.minutes_to_level_quantile.sel(level="0.5 mm/h"), [12, 20, 36])


def test_a_break_shorter_than_a_quarter_of_an_hour_is_no_end():
    found = at_point(uniform([[1, 0, 0, 1, 0, 0, 0, 0]], minutes=[5, 10, 15, 20, 25, 30, 35, 40]))
    assert found.minutes_to_end_quantile.sel(quantile=0.5).item() == 25


def test_rain_at_the_issue_time_is_known_from_radar_only():
    result = uniform([[0, 0, 0, 0], [1, 1, 0, 0]])
    assert np.isnan(at_point(result).raining)
    assert (
        "whether it rains now is unknown"
        in at_places(result, {"A": {"type": "Point", "coordinates": [23, 60]}}).missing
    )
    wet = at_point(result, radar=frames([0, 0, 2.0], result))
    assert wet.raining.item() == 1
    assert wet.probability_of_rain.item() == 1.0
    assert wet.minutes_to_rain_quantile.values.tolist() == [0, 0, 0]
    assert wet.minutes_to_end_quantile.sel(quantile=[0.1, 0.9]).values.tolist() == pytest.approx([12, 28])
    dry = at_point(result, radar=frames([2.0, 2.0, 0], result))
    assert dry.raining.item() == 0
    assert dry.minutes_to_rain_quantile.sel(quantile=0.5).item() == 10


def test_after_a_gap_in_a_series_nothing_is_claimed():
    members = np.array([[0, 0, np.nan, 1.0], [0, 1.0, np.nan, 1.0]])
    found = at_point(uniform(members))
    assert found.minutes_known.item() == 20
    assert found.probability_of_rain.item() == pytest.approx(0.5)
    assert found.minutes_to_rain_quantile.sel(quantile=0.9).item() == 20
    unknown = at_point(uniform([[np.nan, 1.0], [np.nan, 0.0]]))
    assert np.isnan(unknown.probability_of_rain)
    assert np.isnan(unknown.minutes_to_rain_quantile).all()
    assert unknown.minutes_known.item() == 0


# --- sums -----------------------------------------------------------------------------------------------------


def test_sums_end_at_each_lead_time_and_include_the_rain_before_the_issue_time():
    result = uniform([[6, 12, 0, 0], [0, 0, 0, 0]], minutes=[10, 20, 30, 40])
    bare = at_point(result, windows=["20min", "15min"])
    assert "15 min" in bare.attrs["missing"]
    np.testing.assert_allclose(bare.amount.sel(window="20min"), [np.nan, 1.5, 1.0, 0.0])
    assert np.isnan(bare.amount.sel(window="15min")).all()
    with_radar = at_point(result, radar=frames([3.0, 6.0], result), windows=["20min"], levels=[])
    np.testing.assert_allclose(with_radar.amount_quantile.sel(quantile=0.9), [[1.9, 2.7, 1.8, 0.0]], rtol=1e-5)


def test_uneven_lead_times_have_the_sums_that_fit():
    result = uniform([[6.0, 6.0, 12.0, 12.0]], minutes=[5, 10, 30, 60])
    found = at_point(result, windows=["30min", "1h"])
    np.testing.assert_allclose(found.amount.sel(window="30min"), [np.nan, np.nan, 5.0, 6.0])
    np.testing.assert_allclose(found.amount.sel(window="1h"), [np.nan, np.nan, np.nan, 11.0])


def test_missing_frames_make_sums_unknown_and_a_late_radar_too():
    result = uniform([[6.0, 6.0, 6.0]])
    radar = frames([6.0, 6.0, 6.0, 6.0], result)
    gap = at_point(result, radar=radar.isel(time=[0, 1, 3]), windows=["30min"])
    np.testing.assert_allclose(gap.amount.sel(window="30min"), [np.nan, 3.0, 3.0])
    late = at_point(result, radar=radar.isel(time=[0, 1, 2]), windows=["20min"])
    np.testing.assert_allclose(late.amount.sel(window="20min"), [np.nan, 2.0, 2.0])
    assert np.isnan(late.raining)


def test_a_forecast_that_begins_later_is_refused():
    with pytest.raises(InputError, match="rates are known from the issue time on"):
        at_point(uniform([[1.0, 1.0]], minutes=[60, 70]))


def test_radar_of_another_grid_is_refused():
    result = uniform([[1.0]])
    with pytest.raises(InputError, match="share one grid"):
        at_point(result, radar=frames([1.0, 1.0], result).isel(x=slice(2)))


# --- levels ---------------------------------------------------------------------------------------------------


def test_levels_are_reached_in_any_window_and_by_rain_that_has_fallen():
    result = uniform([[6, 0, 0], [0, 0, 6], [12, 12, 12], [0, 0, 0]])
    found = at_point(result, levels=["2 mm in 20min", "1 mm in 10min"])
    by_lead = found.level_probability
    np.testing.assert_allclose(by_lead.sel(level="2 mm in 20min"), [np.nan, 0.25, 0.25])
    np.testing.assert_allclose(by_lead.sel(level="1 mm in 10min"), [0.5, 0.25, 0.5])
    assert found.warning_probability.values.tolist() == pytest.approx([0.25, 0.75])
    assert found.level_known.values.tolist() == pytest.approx([2 / 3, 1.0])
    assert found.level_basis.values.tolist() == ["members", "members"]
    radar = frames([6.0, 6.0], result)
    with_radar = at_point(result, levels=["2 mm in 20min"], radar=radar)
    assert with_radar.level_reached.item() == 1  # 1 mm and 1 mm
    assert with_radar.warning_probability.item() == 1
    assert with_radar.minutes_to_level_quantile.values.ravel().tolist() == [0, 0, 0]


def test_sums_at_the_threshold_reach_it_in_spite_of_rounding():
    rates = np.full((1, 12), 4.8)
    found = at_point(uniform(rates, minutes=5 * np.arange(1, 13)), levels=["4.8 mm in 1h"])
    assert found.warning_probability.item() == 1.0


def test_places_have_their_own_levels():
    places = (
        *read_places({"A": cell(0, 0)}, crs=CRS, levels=["2 mm/h", "1 mm in 10min"]),
        *read_places({"B": cells(0, 0, 1, 1)}, crs=CRS, levels=["2 mm/h"]),
        *read_places({"C": cell(1, 1)}, crs=CRS),
    )
    table = at_places(uniform([[1.0], [3.0]]), places)
    found = table.warning_probability.transpose("level", "place")
    np.testing.assert_allclose(found, [[0.5, 0.5, np.nan], [0.0, np.nan, np.nan]])
    assert table.level_basis.transpose("level", "place").values.tolist() == [
        ["members", "members", "none"],
        ["members", "none", "none"],
    ]


# --- missing --------------------------------------------------------------------------------------------------


def test_places_outside_the_grid_are_unknown_and_named():
    members = np.ones((2, 1, 4, 5))
    given = {
        "inside": cell(3, 4),
        "beside": {"type": "Point", "coordinates": [WEST - 10, SOUTH + 10]},
        "half": box(WEST - 3000, SOUTH, WEST + 2000, SOUTH + 2000),
        "mostly": box(WEST - 100, SOUTH, WEST + 2000, SOUTH + 2000),
        "far": box(0, 0, 1000, 1000),
    }
    table = at_places(build_ensemble(members), read_places(given, crs=CRS, levels=["0.5 mm/h"]))
    assert table.position.values.tolist() == ["inside", "outside", "partly outside", "partly outside", "outside"]
    np.testing.assert_allclose(table.known_fraction[:, 0], [1, 0, 0.4, 20 / 21, 0], rtol=1e-3)
    expected = [1, np.nan, np.nan, 1, np.nan]
    np.testing.assert_allclose(table.precipitation_rate.isel(lead_time=0, statistic=0), expected)
    np.testing.assert_allclose(table.warning_probability[:, 0], expected)
    np.testing.assert_allclose(table.probability_of_rain.isel(statistic=0), expected)
    assert "2 of 5 places are outside the grid" in table.missing
    assert "exchanged" not in table.missing


def test_places_whose_coordinates_were_exchanged_are_named():
    degrees = pyproj.Transformer.from_crs(CRS, 4326, always_xy=True)
    longitude, latitude = degrees.transform(WEST + 1300, SOUTH + 1700)
    corners = {"right": (longitude, latitude), "swapped": (latitude, longitude), "elsewhere": (170.0, -80.0)}
    places = [Place(name, pyproj.CRS(4326), point=corner) for name, corner in corners.items()]
    table = at_places(uniform([[0.0, 2.0]]), places)
    assert table.position.values.tolist() == ["inside", "outside", "outside"]
    outside = "2 of 3 places are outside the grid; with latitude and longitude exchanged swapped would be inside"
    assert outside in table.missing


def test_without_members_the_field_and_the_probabilities_remain():
    result = uniform([[0.0, 2.0]]).drop_vars(["realization", ENSEMBLE])
    given = {"A": cell(0, 0), "B": cells(0, 0, 1, 1)}
    places = read_places(given, crs=CRS, levels=["1 mm/h", "0.3 mm in 20min"])
    bare = at_places(result, places, windows=["20min"])
    assert "no members" in bare.missing
    assert "no probabilities" in bare.missing
    for name in ("rate_quantile", "amount_quantile", "probability_of_exceedance", "probability_of_rain"):
        assert np.isnan(bare[name]).all(), name
    assert bare.minutes_to_rain.values.ravel().tolist() == [20.0] * 4
    assert bare.warning_probability.values.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert set(bare.level_basis.values.ravel()) == {"deterministic field"}
    probable = add_probabilities(result, np.array([0.2, 0.6])[None, :, None, None] * np.ones((1, 2, 4, 5)), [1.0])
    table = at_places(probable, places).sel(level="1 mm/h")
    assert table.level_basis.values.tolist() == ["exceedance probabilities", "deterministic field"]
    assert table.warning_probability.values.tolist() == pytest.approx([0.6, 1.0])
    np.testing.assert_allclose(table.probability_of_exceedance.sel(place="A", statistic="mean"), [[0.2, 0.6]])
    assert np.isnan(table.probability_of_exceedance.sel(place="B")).all()


def test_a_local_grid_takes_places_in_its_coordinates():
    result = uniform([[3.0]], crs=None)
    table = at_places(result, read_places({"A": cell(1, 1)}, crs="grid"))
    assert table.precipitation_rate.isel(place=0, lead_time=0, statistic=0).item() == 3.0
    with pytest.raises(InputError, match="the grid has no CRS, and 'A' has one"):
        at_places(result, {"A": {"type": "Point", "coordinates": [24.0, 60.0]}})


@pytest.mark.parametrize("turn", [0.0, 360.0])
def test_longitudes_may_be_0_to_360(turn):
    axes = {"crs": "EPSG:4326", "y": 40.0 + 0.01 * np.arange(4), "x": -70.0 + 0.01 * np.arange(5)}
    rates = np.arange(20.0).reshape(1, 1, 4, 5)
    place = {
        "A": {"type": "Point", "coordinates": [-69.98 + turn, 40.01]},
        "B": box(-69.985 + turn, 40.005, -69.975 + turn, 40.015),
    }
    table = at_places(build_ensemble(rates, **axes), place)
    np.testing.assert_allclose(table.precipitation_rate.isel(lead_time=0), np.full((2, 2), 7.0), rtol=1e-5)


def test_lazy_members_are_made_once_and_blocks_of_places_agree(monkeypatch):
    members = np.random.default_rng(2).gamma(0.4, 4.0, (5, 6, 12, 9))
    members[:, :, :2] = np.nan
    result, computed = make_lazy(build_ensemble(members))
    given = {"A": cell(4, 4), "B": cells(3, 0, 8, 8), "C": cell(0, 0), "D": cells(5, 5, 6, 7)}
    places = read_places(given, crs=CRS, levels=["3 mm in 30min"])
    whole = at_places(result, places)
    assert sorted(computed) == list(range(6))
    monkeypatch.setattr("hybridcast.places.series._MEMORY", 1)
    blocks = at_places(result, places)
    assert len(computed) > 12
    xr.testing.assert_equal(whole, blocks)


def test_members_that_were_taken_while_they_were_made_give_the_same(monkeypatch):
    members = np.random.default_rng(3).gamma(0.4, 4.0, (5, 6, 12, 9))
    members[:, 2, :2] = np.nan
    result, computed = make_lazy(build_ensemble(members))
    given = {"A": cell(4, 4), "B": cells(3, 0, 8, 8), "C": cell(0, 0), "D": cells(5, 5, 6, 7), "E": cell(40, 40)}
    places = read_places(given, crs=CRS, levels=["3 mm in 30min", "1 mm/h"])
    samples = plan_samples(result, places)
    show_all(result, [samples])
    computed.clear()
    xr.testing.assert_identical(at_places(result, places, members=samples), at_places(result, places))
    assert sorted(computed) == list(range(6))
    others = read_places({"F": cell(11, 0)}, crs=CRS)
    xr.testing.assert_identical(at_places(result, others, members=samples), at_places(result, others))
    monkeypatch.setattr("hybridcast.places.series._MEMORY", 1)
    assert plan_samples(result, places) is None  # too many cells to keep
    assert plan_samples(result.drop_vars(ENSEMBLE), places) is None


def test_options_are_checked():
    result = uniform([[1.0]])
    for options, message in (
        ({"quantiles": [50]}, "between 0 and 1"),
        ({"rain": 0.0}, "above zero"),
        ({"thresholds": [-1.0]}, "above zero"),
        ({"windows": ["15"]}, "duration with a unit"),
    ):
        with pytest.raises(InputError, match=message):
            at_point(result, **options)
    with pytest.raises(InputError, match="by lead_time"):
        at_point(result.drop_vars("precipitation_rate"))


def test_a_real_forecast_at_cities_and_a_catchment(real):
    """The products of a city and a catchment are those of its cell and of over_regions."""
    from hybridcast import ScaleFilterEnsemble, fetch, forecast, open_radar

    real("fmi/20160928/*")
    radar = open_radar(fetch("fmi-20160928")).isel(time=slice(0, 13)).coarsen(y=4, x=4, boundary="trim").mean()
    result = forecast(radar.assign_attrs(units="mm h-1"), lead_time="1h", nowcaster=ScaleFilterEnsemble(), members=6)
    catchment = box(24.5, 60.2, 25.1, 60.6)
    city = {"type": "Point", "coordinates": [24.94, 60.17]}
    table = at_places(
        result,
        {"Helsinki": city, "Vantaa": catchment, "Rome": {"type": "Point", "coordinates": [12.5, 41.9]}},
        radar=radar,
    )
    assert table.position.values.tolist() == ["inside", "inside", "outside"]
    x, y = pyproj.Transformer.from_crs("EPSG:4326", result.spatial_ref.attrs["crs_wkt"], always_xy=True).transform(
        24.94, 60.17
    )
    own = result.precipitation_rate_ensemble.sel(x=x, y=y, method="nearest").values
    found = table.rate_quantile.sel(place="Helsinki", statistic="mean", quantile=0.5)
    np.testing.assert_allclose(found, np.median(own, axis=0), rtol=1e-6)
    sums = quantiles(accumulate(over_regions(result, catchment), "1h"), 0.5).compute().item()
    of_area = table.amount_quantile.sel(place="Vantaa", statistic="mean", quantile=0.5, window="1h", lead_time="60min")
    assert of_area.item() == pytest.approx(sums, rel=1e-4)
    first = table.probability_of_rain.sel(statistic="maximum", place="Vantaa").item()
    assert 0 < first <= 1
    assert np.isnan(table.probability_of_rain.sel(place="Rome")).all()
