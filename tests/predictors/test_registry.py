"""The registry: what is declared of each predictor, and how columns, transforms and the table follow from it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from hybridcast.predictors.registry import (
    ALL_PREDICTORS,
    NWP_PREDICTORS,
    PREDICTORS,
    RADAR_PREDICTORS,
    SOURCE_PREDICTORS,
    STATION_PREDICTORS,
    TERRAIN_PREDICTORS,
    format_table,
    get_predictor,
    get_transforms,
    index_of,
    names,
    select_columns,
)
from hybridcast.predictors.track import SIDES


def test_every_predictor_is_described():
    assert len({(predictor.group, predictor.meaning) for predictor in PREDICTORS}) == len(PREDICTORS)
    for predictor in PREDICTORS:
        assert predictor.name.isidentifier() or predictor.name.replace(".", "_").isidentifier()
        assert predictor.units
        assert predictor.meaning
        assert predictor.group in {"radar", "station", "nwp", "terrain", "time"}


def test_columns_are_in_the_order_of_the_declarations():
    assert len(set(ALL_PREDICTORS)) == len(ALL_PREDICTORS) == len(PREDICTORS)
    assert (*RADAR_PREDICTORS, *SOURCE_PREDICTORS) == ALL_PREDICTORS
    assert (*NWP_PREDICTORS, *TERRAIN_PREDICTORS, *STATION_PREDICTORS) == SOURCE_PREDICTORS
    assert [index_of(name) for name in ALL_PREDICTORS] == list(range(len(PREDICTORS)))
    assert names("radar", "time") == RADAR_PREDICTORS
    assert [get_predictor(name) for name in ALL_PREDICTORS] == list(PREDICTORS)


def test_no_predictor_depends_on_where_on_earth_it_is():
    words = {word for predictor in PREDICTORS for word in predictor.name.split("_")}
    assert not words & {"lat", "lon", "latitude", "longitude", "x", "y", "row", "column", "easting", "northing"}


def test_a_predictor_is_computed_or_samples_the_field_of_another():
    for predictor in PREDICTORS:
        assert (predictor.compute is None) != (predictor.field is None)
        assert (predictor.field is not None) == (predictor.kind in ("target", *SIDES))
        if predictor.field is not None:
            assert get_predictor(predictor.field).kind == "departure"
            with pytest.raises(TypeError, match=f"samples the field of {predictor.field}"):
                predictor(None)


def test_other_sources_are_taken_at_the_valid_time():
    assert {get_predictor(name).kind for name in SOURCE_PREDICTORS} == {"lead"}


def test_fractions_of_cells_are_fitted_as_logits():
    logit = {predictor.name for predictor in PREDICTORS if predictor.transform == "logit"}
    assert logit == {name for name in ALL_PREDICTORS if "wet_" in name}
    assert all(get_predictor(name).units == "1" for name in logit)
    assert get_transforms(("filter", "wet_1_8", "nwp_ensemble")) == ("none", "logit", "none")


@pytest.mark.parametrize(
    "chosen", [RADAR_PREDICTORS, ALL_PREDICTORS, ("lead_time", "rate", "mean_4"), NWP_PREDICTORS, ("rate",), ()]
)
def test_columns_are_selected_by_name(chosen):
    rows = np.arange(3 * len(ALL_PREDICTORS), dtype=np.float32).reshape(3, -1)
    expected = np.array([rows[:, ALL_PREDICTORS.index(name)] for name in chosen], np.float32).reshape(-1, 3).T
    np.testing.assert_array_equal(select_columns(rows, chosen), expected)


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match="latitude"):
        index_of("latitude")


def test_the_table_has_a_row_for_each_predictor():
    lines = format_table().splitlines()
    assert len(lines) == len(PREDICTORS) + 2
    assert Counter(line.count("|") for line in lines) == {7: len(lines)}
    assert lines[2].startswith("| `rate` | dB | radar | departure | none | ")
    printed = subprocess.run(
        [sys.executable, "-m", "hybridcast.predictors"], capture_output=True, text=True, check=True, timeout=60
    )
    assert printed.stdout.splitlines() == lines
