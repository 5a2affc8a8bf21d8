"""Products of places as CSV, Parquet and JSON say the same as the Dataset."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from helpers.small_ensembles import box, build_ensemble
from hybridcast.errors import InputError
from hybridcast.places import at_places, read_places, write_places

WEST, SOUTH = 300_000.0, 6_700_000.0
NAME = 'Kaivo"puisto, 東京; länsi'


@pytest.fixture
def table():
    members = np.random.default_rng(3).gamma(0.4, 6.0, (5, 6, 12, 9))
    members[:, :, :2] = np.nan
    given = {
        NAME: {"type": "Point", "coordinates": [WEST + 4500, SOUTH + 5500]},
        "area": box(WEST + 2000, SOUTH + 4000, WEST + 5500, SOUTH + 8000),
        "unknown": {"type": "Point", "coordinates": [WEST + 100, SOUTH + 100]},
    }
    places = (
        *read_places({NAME: given[NAME]}, crs="EPSG:3067", levels=["2 mm in 30min", "4 mm/h"]),
        *read_places({"area": given["area"]}, crs="EPSG:3067", levels=["4 mm/h"]),
        *read_places({"unknown": given["unknown"]}, crs="EPSG:3067"),
    )
    return at_places(build_ensemble(members), places)


def test_rows_are_places_statistics_and_lead_times(table, tmp_path):
    path = write_places(table, tmp_path / "places.csv")
    rows = pd.read_csv(path, parse_dates=["time"])
    assert len(rows) == 6 * (1 + 2 + 1)
    assert rows["place"].unique().tolist() == [NAME, "area", "unknown"]
    assert set(rows["statistic"][rows["kind"] == "area"]) == {"mean", "maximum"}
    assert str(rows["time"].iloc[0]) == "2024-06-01 12:10:00+00:00"
    row = rows[(rows["place"] == "area") & (rows["statistic"] == "maximum") & (rows["minutes"] == 30)].iloc[0]
    one = table.sel(place="area", statistic="maximum", lead_time="30min")
    assert row["rate_q90"] == pytest.approx(one.rate_quantile.sel(quantile=0.9).item(), rel=1e-4)
    assert row["probability_1"] == pytest.approx(one.probability_of_exceedance.sel(threshold=1.0).item())
    amount = one.amount_quantile.sel(quantile=0.5, window="30min").item()
    assert row["amount_30min_q50"] == pytest.approx(amount, rel=1e-4)
    assert np.isnan(row["warning_probability[4 mm/h]"])  # the level is of the mean
    of_mean = rows[(rows["place"] == "area") & (rows["statistic"] == "mean")].iloc[0]
    expected = table.warning_probability.sel(place="area", level="4 mm/h").item()
    assert of_mean["warning_probability[4 mm/h]"] == pytest.approx(expected)
    assert np.isnan(of_mean["warning_probability[2 mm in 30min]"])  # it does not have this one


def test_unknown_is_empty_and_never_zero(table, tmp_path):
    text = write_places(table, tmp_path / "places.csv").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("unknown"))
    assert line.startswith("unknown,point,inside,cell,10,2024-06-01T12:10:00Z,0,,,,,")
    objects = json.loads(write_places(table, tmp_path / "places.json").read_text(encoding="utf-8"))
    cell = objects["places"][2]["statistics"]["cell"]
    assert cell["probability_of_rain"] is None
    assert cell["precipitation_rate"] == [None] * 6
    assert objects["places"][2]["levels"] == []


def test_parquet_has_types_and_the_attributes(table, tmp_path):
    stored = pq.read_table(write_places(table, tmp_path / "places.parquet"))
    assert str(stored.schema.field("time").type) == "timestamp[ns, tz=UTC]"
    metadata = {key.decode(): value.decode() for key, value in stored.schema.metadata.items()}
    assert metadata["reference_time"] == "2024-06-01T12:00:00Z"
    assert "no radar" in metadata["missing"]
    rows = stored.to_pandas()
    assert rows["rate"].iloc[0] == table.precipitation_rate[0, 0, 0].item()


def test_json_has_an_object_for_each_place(table, tmp_path):
    objects = json.loads(write_places(table, tmp_path / "places.json").read_text(encoding="utf-8"))
    assert objects["lead_minutes"] == [10, 20, 30, 40, 50, 60]
    first = objects["places"][0]
    assert (first["name"], first["kind"], list(first["statistics"])) == (NAME, "point", ["cell"])
    assert [level["name"] for level in first["levels"]] == ["2 mm in 30min", "4 mm/h"]
    assert first["levels"][0]["window_minutes"] == 30
    one = table.isel(place=0, statistic=0)
    assert first["statistics"]["cell"]["probability_of_rain"] == pytest.approx(one.probability_of_rain.item())
    expected = one.minutes_to_rain_quantile.sel(quantile=0.5).item()
    assert first["statistics"]["cell"]["minutes_to_rain_quantile"]["0.5"] == pytest.approx(expected)


def test_another_suffix_and_a_missing_folder_are_refused(table, tmp_path):
    with pytest.raises(InputError, match=r"\.csv, \.parquet, \.json"):
        write_places(table, tmp_path / "places.xlsx")
    with pytest.raises(InputError, match="does not exist"):
        write_places(table, tmp_path / "nowhere" / "places.csv")
