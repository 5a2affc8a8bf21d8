"""Members that are made once for several uses: each sees all of them, and what it has not seen is an error."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.small_ensembles import build_ensemble, make_lazy
from hybridcast.core.forecast_files import load_forecast, save_forecast
from hybridcast.core.forecast_schema import ENSEMBLE
from hybridcast.ensembles.one_pass import CellSamples, hand_on, show_all

CELLS = np.array([3, 7, 19])


def make_rates(members=5):
    rates = np.random.default_rng(0).gamma(0.4, 4.0, (members, 3, 4, 5)).astype(np.float32)
    rates[:, 1, 0] = np.nan
    return rates


def expected(rates):
    return rates.reshape(*rates.shape[:2], -1)[..., CELLS].swapaxes(0, 1)


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
@pytest.mark.parametrize("chunk", [5, 2])
def test_members_are_made_once_for_a_file_and_for_others(tmp_path, suffix, chunk):
    rates = make_rates()
    lazy, computed = make_lazy(build_ensemble(rates))
    lazy = lazy.chunk(realization=chunk)
    first, second = CellSamples(lazy, CELLS), CellSamples(lazy, CELLS, np.sqrt)
    path = save_forecast(hand_on(lazy, [first, second]), tmp_path / f"a{suffix}", packing="float32")
    np.testing.assert_array_equal(first.rates, expected(rates))
    np.testing.assert_array_equal(second.rates, np.sqrt(expected(rates)))
    np.testing.assert_array_equal(load_forecast(path)[ENSEMBLE], rates)
    if chunk == 5:
        assert sorted(computed) == [0, 1, 2]


def test_members_in_memory_are_shown_too():
    result = build_ensemble(make_rates())
    first, second = CellSamples(result, CELLS), CellSamples(result, CELLS)
    hand_on(result, [first])[ENSEMBLE].compute()
    show_all(result, [second])
    np.testing.assert_array_equal(first.rates, second.rates)


def test_without_uses_the_forecast_is_what_it_was():
    result = build_ensemble(make_rates())
    assert hand_on(result, []) is result


def test_members_that_were_not_shown_are_an_error():
    result = build_ensemble(make_rates())
    samples = CellSamples(result, CELLS)
    with pytest.raises(ValueError, match="15 of 15 fields of members"):
        _ = samples.rates
    hand_on(result, [samples])[ENSEMBLE].isel(lead_time=[0, 2]).compute()
    with pytest.raises(ValueError, match="5 of 15 fields of members"):
        _ = samples.rates
