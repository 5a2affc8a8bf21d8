"""Coastlines, borders and land from the file of the package: where they are, and across the date line."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hybridcast.datasets.outlines import clip_ring, find_borders, find_coast, find_land

FINLAND = (15.0, 57.0, 35.0, 70.0)
FIJI = (176.0, -20.0, 182.0, -15.0)


def is_land(longitude, latitude, box):
    """Return whether a point is inside an odd number of rings."""
    rings = [ring.astype(np.float32) for polygon in find_land(box) for ring in polygon]
    return (
        sum(cv2.pointPolygonTest(ring.reshape(-1, 1, 2), (longitude, latitude), False) > 0 for ring in rings) % 2 == 1
    )


@pytest.mark.parametrize(
    ("longitude", "latitude", "box", "expected"),
    [
        (25.5, 62.2, FINLAND, True),
        (26.0, 68.0, FINLAND, True),
        (20.0, 61.5, FINLAND, False),
        (178.0, -17.8, FIJI, True),
        (181.5, -18.5, FIJI, False),
        (181.0, 67.0, (170.0, 60.0, 190.0, 72.0), True),  # Chukotka, which goes on beyond 180 degrees
        (-179.0, 67.0, (-190.0, 60.0, -170.0, 72.0), True),
        (0.0, -80.0, (-20.0, -84.0, 20.0, -60.0), True),
        (0.0, -62.0, (-20.0, -84.0, 20.0, -60.0), False),
    ],
)
def test_land_is_land_and_sea_is_sea(longitude, latitude, box, expected):
    assert is_land(longitude, latitude, box) is expected


def test_coast_is_no_edge_of_the_source_map():
    for line in find_coast((170.0, 60.0, 190.0, 72.0)):
        steps = np.abs(np.diff(line, axis=0))
        assert steps.max() < 5.0
        along = np.abs(line[:-1, 0] - 180.0) + np.abs(line[1:, 0] - 180.0) < 0.01
        assert not along.any()


def test_borders_are_between_countries():
    points = np.concatenate(find_borders((24.0, 65.0, 26.0, 66.5)))
    distance = np.hypot((points[:, 0] - 24.15) * 0.4, points[:, 1] - 65.85)  # Tornio, at the border to Sweden
    assert distance.min() < 0.05


def test_a_ring_outside_of_a_box_vanishes():
    ring = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    assert len(clip_ring(ring, (2.0, 2.0, 3.0, 3.0))) == 0
    assert clip_ring(ring, (-1.0, -1.0, 2.0, 2.0)).tolist() == ring.tolist()
