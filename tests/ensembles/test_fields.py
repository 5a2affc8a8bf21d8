"""One field instead of all members: mean, median, best places, and the most typical member."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.small_ensembles import build_ensemble, make_lazy
from hybridcast.core.forecast_schema import ENSEMBLE, RATE
from hybridcast.ensembles import find_typical_member, summarize
from hybridcast.errors import InputError


def test_mean_median_and_the_best_places(ensemble):
    members = ensemble[ENSEMBLE].values
    np.testing.assert_allclose(summarize(ensemble, "mean"), members.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(summarize(ensemble, "median"), np.median(members, axis=0), rtol=1e-5)
    assert summarize(ensemble, "field") is ensemble[RATE] or summarize(ensemble, "field").equals(ensemble[RATE])
    for kind in ("mean", "median"):
        found = summarize(ensemble, kind)
        assert (found.name, found.dims, found.dtype) == (RATE, ("lead_time", "y", "x"), np.float32)
        assert found.attrs["cell_methods"] == f"realization: {kind}"
        assert found.attrs["units"] == "mm h-1"


def test_the_scenario_is_the_member_with_the_most_typical_amount():
    """Its rain is at other places than that of all others: places do not count."""
    members = np.zeros((5, 2, 4, 4))
    for number, rate in enumerate((9.0, 1.0, 4.0, 5.0, 0.0)):
        members[number, :, number // 2, number % 4] = rate
    result = build_ensemble(members)
    assert find_typical_member(result) == 2
    found = summarize(result, "scenario")
    np.testing.assert_array_equal(found, members[2])
    assert (found.name, int(found.realization)) == (RATE, 2)


def test_lead_times_count_alike_and_the_first_of_equals_is_taken():
    members = np.array([[1.0, 1.0, 9.0], [2.0, 2.0, 3.0], [3.0, 3.0, 3.0]]).reshape(3, 3, 1, 1) * np.ones((3, 3, 2, 2))
    assert find_typical_member(build_ensemble(members)) == 1
    assert find_typical_member(build_ensemble(np.zeros((4, 2, 2, 2)))) == 0


def test_only_cells_that_all_members_know_count():
    members = np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1, 1) * np.ones((3, 1, 2, 2))
    members[:, 0, 0] = np.array([90.0, np.nan, 90.0])[:, None]
    assert find_typical_member(build_ensemble(members)) == 1
    unknown = build_ensemble(np.full((3, 2, 2, 2), np.nan))
    assert find_typical_member(unknown) == 0
    assert np.isnan(summarize(unknown, "scenario")).all()
    assert np.isnan(summarize(build_ensemble(members), "mean")[0, 0]).all()


def test_lazy_fields_are_those_in_memory(ensemble):
    for kind in ("mean", "median", "scenario"):
        lazy, computed = make_lazy(ensemble)
        found = summarize(lazy, kind)
        assert len(computed) == (6 if kind == "scenario" else 0)  # it is chosen at once
        np.testing.assert_array_equal(found, summarize(ensemble, kind))


def test_what_is_no_summary_or_no_ensemble_is_refused(ensemble):
    with pytest.raises(InputError, match="median"):
        summarize(ensemble, "medain")
    for kind in ("mean", "median", "scenario"):
        with pytest.raises(InputError, match="members=20"):
            summarize(ensemble.drop_vars(ENSEMBLE), kind)
