"""Places of the pixels of geostationary satellites, by the equations of their operators."""

from __future__ import annotations

import numpy as np


def goes_place(x, y, height=35_786_023.0, equator=6378137.0, pole=6356752.31414, centre=-75.0):
    """Return longitude and latitude of scanning angles (rad): GOES-R PUG, volume 3, section 5.1.2.8.1."""
    distance, ratio = height + equator, (equator / pole) ** 2
    a = np.sin(x) ** 2 + np.cos(x) ** 2 * (np.cos(y) ** 2 + ratio * np.sin(y) ** 2)
    b = -2 * distance * np.cos(x) * np.cos(y)
    r = (-b - np.sqrt(b**2 - 4 * a * (distance**2 - equator**2))) / (2 * a)
    sx, sy, sz = r * np.cos(x) * np.cos(y), -r * np.sin(x), r * np.cos(x) * np.sin(y)
    latitude = np.degrees(np.arctan(ratio * sz / np.hypot(distance - sx, sy)))
    return centre - np.degrees(np.arctan(sy / (distance - sx))), latitude


def meteosat_place(x, y, centre=0.0):
    """Return longitude and latitude of scanning angles (rad, northwards): CGMS 03, LRIT/HRIT, section 4.4.3.2."""
    cosines = 42164 * np.cos(x) * np.cos(y)
    squares = np.cos(y) ** 2 + 1.006803 * np.sin(y) ** 2
    sn = (cosines - np.sqrt(cosines**2 - squares * 1737121856)) / squares
    s1, s2, s3 = 42164 - sn * np.cos(x) * np.cos(y), sn * np.sin(x) * np.cos(y), sn * np.sin(y)
    return centre + np.degrees(np.arctan(s2 / s1)), np.degrees(np.arctan(1.006803 * s3 / np.hypot(s1, s2)))
