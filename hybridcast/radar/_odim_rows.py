"""Order of the rows in Danish composites, some of which are upside down.

The sums of radar and gauges that the Danish Meteorological Institute (DMI) publishes in ODIM HDF5 have their rows from
south to north, while their corners, and the standard, say north to south; nothing in the metadata tells them from its
other composites. The coverage does: it is made of the discs of five radars whose places are known (DMI, radar data:
documentation), and the single northern one, Sindal, is then in the south.
"""

from __future__ import annotations

import numpy as np
import pyproj

from hybridcast.core.types import Array, Doubles, Mask
from hybridcast.radar._odim_layers import Layer

#: Longitude and latitude of the radars Roemoe, Sindal, Stevns, Bornholm and Virring.
_RADARS = ((8.552, 55.173), (10.136, 57.489), (12.449, 55.326), (14.888, 55.113), (10.025, 56.024))
_RANGE = 240_000.0  # m
#: Difference in the fraction of cells that agree with the discs from which the order of the rows is known.
_CLEAR = 0.05
#: Number of rows and of columns that are compared, at least if there are as many.
_SAMPLES = 100


def are_rows_reversed(layer: Layer, rate: Array, x: Doubles, y: Doubles, crs: pyproj.CRS) -> bool:
    """Return whether the coverage of a Danish composite is that of the Danish radars upside down."""
    if "CTY:611" not in layer.text("what", "source"):
        return False
    some = tuple(slice(None, None, 1 + size // _SAMPLES) for size in rate.shape)
    discs = _discs(x[some[1]], y[some[0]], crs)
    upright, reversed_ = (np.mean(np.isfinite(order[some]) == discs) for order in (rate, rate[::-1]))
    return bool(reversed_ > upright + _CLEAR)


def _discs(x: Doubles, y: Doubles, crs: pyproj.CRS) -> Mask:
    """Return the cells within reach of a radar, ``(y, x)``."""
    to_earth = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_earth.transform(*np.meshgrid(x, y))
    discs = np.zeros(longitude.shape, bool)
    for place in np.deg2rad(_RADARS):
        haversine = np.sin((np.deg2rad(latitude) - place[1]) / 2) ** 2
        haversine += (
            np.cos(np.deg2rad(latitude)) * np.cos(place[1]) * np.sin((np.deg2rad(longitude) - place[0]) / 2) ** 2
        )
        discs |= 2 * 6_371_000.0 * np.arcsin(np.sqrt(haversine)) < _RANGE
    return discs
