"""Covered fractions of cells: exact, for polygons of any shape, size, direction and place."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.ensembles.coverage import cover_cells

SHAPE = (9, 7)
SQUARE = np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 4.0], [1.0, 4.0]])


def on_grid(polygons, shape=SHAPE):
    row, column, fraction, inside = cover_cells(polygons, shape)
    whole = np.zeros(shape)
    whole[row : row + fraction.shape[0], column : column + fraction.shape[1]] = fraction
    return whole, inside


@pytest.mark.parametrize("reverse", [False, True])
def test_whole_cells_parts_and_holes(reverse):
    ring = SQUARE[::-1] if reverse else SQUARE
    whole, inside = on_grid([[ring]])
    expected = np.zeros(SHAPE)
    expected[1:4, 1:5] = 1.0
    np.testing.assert_allclose(whole, expected, atol=1e-12)
    hole = np.array([[2.0, 2.0], [3.5, 2.0], [3.5, 3.0], [2.0, 3.0]])
    whole, inside = on_grid([[ring, hole]])
    expected[2, 2], expected[2, 3] = 0.0, 0.5
    np.testing.assert_allclose(whole, expected, atol=1e-12)
    assert inside == pytest.approx(1.0)


def test_what_is_beyond_the_grid():
    whole, inside = on_grid([[SQUARE - [3.0, 2.0]]])  # two of three rows, two of four columns
    assert whole.sum() == pytest.approx(4.0)
    assert inside == pytest.approx(4 / 12)
    assert on_grid([[SQUARE + 20.0]])[1] == 0.0
    around, inside = on_grid([[np.array([[-1e4, -1e4], [1e4, -1e4], [1e4, 1e4], [-1e4, 1e4]])]])
    np.testing.assert_allclose(around, 1.0)
    assert inside == pytest.approx(63 / 4e8)


def test_a_polygon_much_smaller_than_a_cell():
    whole, inside = on_grid([[4.3 + 1e-3 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])]])
    assert whole[4, 4] == pytest.approx(5e-7)
    assert inside == pytest.approx(1.0)


def test_random_polygons_are_those_of_shapely():
    shapely = pytest.importorskip("shapely")
    generator = np.random.default_rng(0)
    cells = [[shapely.box(j, i, j + 1, i + 1) for j in range(SHAPE[1])] for i in range(SHAPE[0])]
    for trial in range(40):
        corners = int(generator.integers(3, 12))
        angle = np.sort(generator.uniform(0, 2 * np.pi, corners))
        radius = generator.uniform(0.1, 6.0, corners)
        ring = generator.uniform(-2, 10, 2) + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        ring = np.round(ring * 2) / 2 if trial % 4 == 0 else ring  # corners and edges on those of cells
        polygon = shapely.Polygon(ring)
        if polygon.is_valid and polygon.area > 0:
            whole, inside = on_grid([[ring]])
            expected = [[polygon.intersection(cell).area for cell in row] for row in cells]
            np.testing.assert_allclose(whole, expected, atol=1e-9)
            assert inside == pytest.approx(np.sum(expected) / polygon.area, abs=1e-9)
