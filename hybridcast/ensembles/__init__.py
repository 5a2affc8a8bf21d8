"""Ensembles: scenarios of the rain, and products made of them.

A forecast with members (``forecast(radar, members=20)``) has the variable ``precipitation_rate_ensemble``, dims
``(realization, lead_time, y, x)``. The functions here turn members into products: amounts in windows of lead time
(`accumulate`), means over polygons (`over_regions`) and blocks (`over_blocks`), probabilities (`exceedance`),
`quantiles`, and one field instead of all members (`summarize`). Each takes what another one returns, so the probability
of more than 20 mm in a catchment within the next hour is that of the members' amounts in the catchment:

>>> import numpy as np
>>> import xarray as xr
>>> from hybridcast.ensembles import accumulate, exceedance, over_regions, quantiles
>>> rates = np.array([0.0, 6.0, 18.0, 30.0]).reshape(4, 1, 1, 1) * np.ones((4, 2, 3, 3))
>>> result = xr.Dataset(
...     {"precipitation_rate_ensemble": (("realization", "lead_time", "y", "x"), rates, {"units": "mm h-1"})},
...     coords={"lead_time": np.array([30, 60], "timedelta64[m]"), "y": np.arange(3) * 1e3, "x": np.arange(3) * 1e3},
... )
>>> catchments = {"upper": {"type": "Polygon", "coordinates": [[[0, 0], [1500, 0], [0, 1500]]]}}
>>> rain = accumulate(over_regions(result, catchments, crs="grid"), "1h")  # mm, of each member
>>> rain.dims
('realization', 'lead_time', 'region')
>>> exceedance(rain, 20.0).sel(lead_time="1h", region="upper").item()
0.25
>>> quantiles(rain, [0.1, 0.5, 0.9]).sel(region="upper").values.ravel().tolist()
[1.8, 12.0, 26.4]

Regions first and sums after them is the cheaper order: what is kept of a lead time is a number for each member and
region. Both orders agree where all is known. Products of lazy members are lazy: computing several of them together,
``dask.compute(a, b)``, makes each member once.
"""

from __future__ import annotations

from hybridcast.ensembles.fields import find_typical_member, summarize
from hybridcast.ensembles.products import accumulate, exceedance, quantiles, to_cf
from hybridcast.ensembles.regions import over_blocks, over_regions

__all__ = [
    "accumulate",
    "exceedance",
    "find_typical_member",
    "over_blocks",
    "over_regions",
    "quantiles",
    "summarize",
    "to_cf",
]
