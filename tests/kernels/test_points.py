"""The arithmetic at one grid point, against the oracle."""

from __future__ import annotations

import re

import numba
import numpy as np
import pytest

from helpers import reference
from hybridcast_kernels import points as pt

f4 = np.float32
ROWS, COLUMNS = 7, 9


@pytest.fixture(scope="module")
def field():
    values = np.random.default_rng(1).uniform(0.5, 20, (ROWS, COLUMNS)).astype(f4)
    values[2, 3:5] = np.nan
    values[5:, 7:] = np.nan
    values[4, :4] = 0
    return values


@pytest.fixture(scope="module")
def planes(field):
    """Plane 0 something else, plane 1 the field."""
    return np.stack([np.full_like(field, 99), field])


def positions(*, within: bool = False):
    """Positions on cells, half way, at random, and on and beyond the edge."""
    rng = np.random.default_rng(2)
    margin = 0 if within else 3
    places = list(rng.uniform((-margin, -margin), (COLUMNS - 1 + margin, ROWS - 1 + margin), (150, 2)))
    places += [(j / 2, i / 2) for i in range(2 * ROWS - 1) for j in range(2 * COLUMNS - 1)]
    if not within:
        places += [(-0.5, 2), (COLUMNS - 1 + 0.25, 3), (4, -1e-3), (4, ROWS), (-1e6, 2), (1e6, 1e6)]
    return [(f4(x), f4(y)) for x, y in places]


def test_bilinear_is_the_oracle_and_goes_on_beyond_the_edge(planes):
    planes = np.nan_to_num(planes)
    for x, y in positions():
        assert pt.bilinear(planes, 1, x, y) == pytest.approx(float(reference.bilinear(planes[1], x, y)), abs=2e-5)


def test_weights_of_seen_missing_and_wet_cells_are_the_oracles(planes, field):
    for x, y in positions(within=True):
        total, missing, wet = pt.weights_of(planes, 1, x, y)
        assert total == pytest.approx(float(reference.bilinear(np.nan_to_num(field), x, y)), abs=2e-5)
        assert missing == pytest.approx(float(reference.missing_weight(field, x, y)), abs=1e-6)
        wet_cells = (np.nan_to_num(field) > 0).astype(float)
        assert wet == pytest.approx(float(reference.bilinear(wet_cells, x, y)), abs=1e-6)


def test_inside_ends_at_the_outermost_centres():
    for x, y, expected in [(0, 0, True), (8, 6, True), (-1e-6, 3, False), (8.001, 3, False), (3, 6.001, False)]:
        assert pt.inside(ROWS, COLUMNS, f4(x), f4(y)) == expected
        assert reference.inside((ROWS, COLUMNS), f4(x), f4(y)) == expected


def test_linear_sampling_is_the_oracle(planes, field):
    for x, y in positions():
        expected = float(reference.sample_linear(field, x, y))
        assert pt.sample_linear(planes, 1, x, y) == pytest.approx(expected, abs=2e-5, nan_ok=True)


def test_nearest_sampling_is_the_oracle(planes, field):
    for x, y in positions():
        expected = float(reference.sample_nearest(field, x, y))
        assert pt.sample_nearest(planes, 1, x, y) == pytest.approx(expected, abs=0, nan_ok=True)


def test_cubic_sampling_is_the_oracle(planes, field):
    coefficients = np.stack([np.full_like(field, 99), reference.spline_coefficients(field)]).astype(f4)
    for x, y in positions():
        expected = float(reference.sample_cubic(field, x, y))
        assert pt.sample_cubic(planes, coefficients, 1, x, y) == pytest.approx(expected, abs=2e-4, nan_ok=True)


def test_displacements_are_positions(planes):
    """From any grid point; and on a grid so large that a position in float32 would be off by a tenth of a cell."""
    seen = np.nan_to_num(planes)
    for x, y in positions():
        i, j = 3, 5
        dx, dy = f4(x - j), f4(y - i)
        assert pt.bilinear_from(seen, 1, i, j, dx, dy) == pytest.approx(pt.bilinear(seen, 1, x, y), abs=2e-5)
        if abs(x) < 1e5:  # beyond, a difference is no longer exact
            expected = float(reference.sample_linear(planes[1], dx + j, dy + i))
            assert pt.sample_linear_from(planes, 1, i, j, dx, dy) == pytest.approx(expected, abs=2e-5, nan_ok=True)
    wide = np.arange(2**21, dtype=f4).reshape(1, 1, -1) % 4
    assert pt.bilinear_from(wide, 0, 0, 2**21 - 8, f4(0.3), f4(0)) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(("size", "radius"), [(9, 1), (9, 3), (4, 7), (1, 2)])
def test_window_weights_are_a_box_passed_twice(size, radius):
    for cell in range(size):
        spike = np.zeros((1, size))
        spike[0, cell] = 1
        expected = reference.box_mean(reference.box_mean(spike, radius, 1), radius, 1)[0]
        got = [pt.window_weight(at, cell, radius, size) for at in range(size)]
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_positions_far_outside_are_unknown(planes):
    for x, y in [(-1e9, 2), (1e9, 2), (2, -1e30), (3e38, 3e38), (-0.001, 0), (0, ROWS - 0.999)]:
        assert np.isnan(pt.sample_linear(planes, 1, f4(x), f4(y)))
        assert np.isnan(pt.sample_nearest(planes, 1, f4(x), f4(y)))


def test_the_oracle_of_splines_is_scipy():
    from scipy.ndimage import map_coordinates, spline_filter

    values = np.random.default_rng(3).uniform(1, 2, (6, 11))
    coefficients = reference.spline_coefficients(values)
    np.testing.assert_allclose(coefficients, spline_filter(values, mode="mirror"), atol=1e-6)
    y, x = np.random.default_rng(4).uniform((0, 0), (5, 10), (30, 2)).T
    np.testing.assert_allclose(
        reference.sample_cubic(values, x, y), map_coordinates(values, [y, x], order=3, mode="mirror"), atol=1e-6
    )


def test_cubic_weights_are_the_b_spline():
    for distance in np.linspace(-2.5, 2.5, 101):
        assert pt.cubic_weight(f4(distance)) == pytest.approx(float(reference.b_spline(distance)), abs=3e-7)
    for shift in np.linspace(0, 1, 11):
        assert sum(pt.cubic_weight(f4(shift - k)) for k in range(-1, 3)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_indices_are_mirrored_at_the_outermost_cells(size):
    for index in range(-9, 18):
        assert pt.mirrored(index, size) == reference.mirrored(index, size)


def test_clamp_holds_values_within_bounds():
    assert [pt.clamp(f4(v), f4(-1), f4(2)) for v in (-5, -1, 0.5, 2, 9)] == [-1, -1, 0.5, 2, 2]


def test_log2_is_exact_to_1e_5_over_all_rates():
    values = np.geomspace(1e-6, 1e7, 20_001).astype(f4)
    values = np.concatenate([values, f4(2.0) ** np.arange(-20, 24), np.nextafter(f4(2) ** np.arange(1, 12), f4(0))])
    ours = np.array([pt.log2(value) for value in values])
    assert np.abs(ours - np.log2(values.astype(float))).max() < 1e-5
    assert all(pt.log2(f4(2.0**k)) == k for k in range(-10, 12))
    assert (np.diff(ours[:20_001]) > 0).all()


@pytest.mark.parametrize(("lowest", "ceiling"), [(0.1, 40.0), (0.02, 60.0)])
def test_decibel_is_the_oracle_and_zero_where_missing(lowest, ceiling):
    for rate in [0, 0.01, lowest, 0.11, 1, 31.4, 999, 1e4, 2500, np.nan]:
        expected = reference.decibel(np.nan_to_num(rate), lowest, ceiling)
        assert pt.decibel(f4(rate), f4(lowest), f4(ceiling)) == pytest.approx(float(expected), abs=5e-5)


def test_solve_flow_is_the_oracle():
    rng = np.random.default_rng(5)
    for _ in range(200):
        g = rng.normal(size=(2, 6))
        xx, xy, yy = (g[0] ** 2).sum(), (g[0] * g[1]).sum(), (g[1] ** 2).sum()
        x, y = rng.normal(size=2) * 3
        u, v = pt.solve_flow(*(f4(value) for value in (xx, xy, yy, x, y)), f4(0.1), f4(2))
        assert (u, v) == pytest.approx(tuple(reference.solve(xx, xy, yy, x, y, 0.1, 2)), abs=2e-4)


def test_solve_flow_stays_finite_where_nothing_is_known():
    assert pt.solve_flow(f4(0), f4(0), f4(0), f4(0), f4(0), f4(1e-6), f4(2)) == (0, 0)
    # rounding may leave a tensor that is not positive definite
    u, v = pt.solve_flow(f4(1), f4(1.0001), f4(1), f4(5), f4(-5), f4(1e-9), f4(2))
    assert max(abs(u), abs(v)) <= 2


def test_smaller_eigenvalue_is_numpys():
    for xx, xy, yy in np.random.default_rng(6).uniform(0, 5, (100, 3)):
        expected = max(np.linalg.eigvalsh([[xx, xy], [xy, yy]])[0], 0)
        assert pt.smaller_eigenvalue(f4(xx), f4(xy), f4(yy)) == pytest.approx(expected, abs=3e-6)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="types are those of compiled code")
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (pt.clamp, "fff"),
        (pt.bilinear, "Aiff"),
        (pt.sample_linear, "Aiff"),
        (pt.sample_nearest, "Aiff"),
        (pt.cubic_weight, "f"),
        (pt.weights_of, "Aiff"),
        (pt.sample_cubic, "AAiff"),
        (pt.log2, "f"),
        (pt.decibel, "fff"),
        (pt.smaller_eigenvalue, "fff"),
        (pt.solve_flow, "fffffff"),
        (pt.bilinear_from, "Aiiiff"),
        (pt.sample_linear_from, "Aiiiff"),
        (pt.increment_from, "Aiifffff"),
        (pt.next_guess, "ff"),
        (pt.spline_along, "Aiiii"),
        (pt.decibel_of_cells, "Aiiiiff"),
        (pt.binomial_half, "AAiii"),
        (pt.carried, "AAiff"),
        (pt.pair_tensor, "AAiiiiif"),
        (pt.window_along, "Aiiiii"),
        (pt.normalised, "ffff"),
        (pt.enlarged, "Aiiii"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_float32_is_kept(function, arguments):
    """Neither a result nor anything on the way to it is a float64."""
    types = {"f": numba.float32, "i": numba.int64, "A": numba.float32[:, :, ::1]}
    signature = tuple(types[letter] for letter in arguments)
    function.compile(signature)
    result = function.overloads[signature].signature.return_type
    assert result == numba.float32 or set(result) == {numba.float32}
    assert not re.findall(r"f(?:add|sub|mul|div|cmp)[^\n]* double", function.inspect_llvm(signature))
