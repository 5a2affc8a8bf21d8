"""The comparison of two revisions: digests see a single bit, and differences are named."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from helpers import synthetic
from helpers.paths import ROOT
from hybridcast import Advection, forecast


@pytest.fixture(scope="module")
def same_bits():
    specification = importlib.util.spec_from_file_location("same_bits", ROOT / "notebooks" / "same_bits.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made():
    return forecast(synthetic.rain((40, 50), frames=4), lead_time="30min", nowcaster=Advection())


def test_the_same_forecast_has_the_same_digests(same_bits, made):
    assert same_bits.digest(made) == same_bits.digest(made.copy(deep=True))
    assert {"precipitation_rate", "u", "v", "lead_time", "reference_time"} <= same_bits.digest(made).keys()


def test_one_bit_is_a_difference_and_it_is_named(same_bits, made):
    changed = made.copy(deep=True)
    rate = changed["precipitation_rate"].values
    place = np.unravel_index(np.nanargmax(rate), rate.shape)
    rate[place] = np.nextafter(rate[place], np.float32(0))
    before, after = ({"a": same_bits.digest(one)} for one in (made, changed))
    assert same_bits.list_differences(before, after) == ["a: precipitation_rate"]
    assert same_bits.list_differences(before, before) == []
    assert len(same_bits.list_differences(before, {})) == len(before["a"])


def test_labels_of_text_count(same_bits, made):
    one, other = (made.assign_coords(member=("member", [name])) for name in ("a", "b"))
    differing = same_bits.list_differences({"a": same_bits.digest(one)}, {"a": same_bits.digest(other)})
    assert differing == ["a: member"]
