"""Linear interpolation along one axis."""

from __future__ import annotations

import numpy as np

from hybridcast.core.interpolation import interpolate, interpolate_leads


def test_interpolation_between_lead_times_and_the_ends_hold():
    values = np.array([[1.0], [3.0], [4.0]], np.float32)
    found = [interpolate_leads(values, (10.0, 30.0, 60.0), lead)[0] for lead in (0, 10, 20, 30, 45, 60, 500)]
    np.testing.assert_allclose(found, [1, 1, 2, 3, 3.5, 4, 4])
    assert interpolate_leads(values[:1], (10.0,), 99.0).tolist() == [1.0]


def test_any_axis_and_the_type_of_the_values():
    values = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype(np.float32)
    leads, wanted = np.array([15.0, 30.0, 45.0, 60.0]), np.array([10.0, 20.0, 52.5, 60.0, 90.0])
    found = interpolate_leads(values, leads, wanted, axis=1)
    assert found.shape == (2, 5, 3, 5)
    assert found.dtype == np.float32
    expected = np.apply_along_axis(lambda column: np.interp(wanted, leads, column), 1, values)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    one = interpolate_leads(values[0], leads, 20.0)
    np.testing.assert_array_equal(one, found[0, 1])


def test_doubles_keep_their_precision():
    values = np.array([[1.0, 1.0 + 1e-12, 5.0]])
    found = interpolate(values, np.array([0.0, 0.5, 2.0]), axis=1)
    np.testing.assert_allclose(found, [[1.0, 1.0 + 5e-13, 5.0]], rtol=1e-15)
