"""NWP wind as a first guess of the motion of rain."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import ndimage

from hybridcast.core.field import GRID_MAPPING
from hybridcast.nwp.schema import WIND, order_newest_first


def steering_wind(nwp_on_grid: xr.Dataset | None, time: np.datetime64) -> xr.Dataset | None:
    """Return the wind of the newest run that has one at `time`, as motion for `hybridcast.motion.wind_guidance`.

    Cells outside the NWP domain get the wind of the nearest cell inside.

    Parameters
    ----------
    nwp_on_grid
        NWP fields on the radar's grid, from `regrid_to_radar`, or None.
    time
        One of their times, UTC.

    Returns
    -------
    Dataset or None
        ``u`` and ``v``, m s-1, dims ``("y", "x")``, known everywhere, with ``attrs["vertical_level"]``; None if no run
        has a wind at that time.
    """
    if nwp_on_grid is None or not set(WIND) <= set(nwp_on_grid.data_vars):
        return None
    times = nwp_on_grid["time"].values
    at = np.flatnonzero(times == time.astype("datetime64[ns]"))
    if not at.size:
        return None
    for k in order_newest_first(nwp_on_grid):
        u, v = (nwp_on_grid[name].values[k, at[0]] for name in WIND)
        known = np.isfinite(u) & np.isfinite(v)
        if not known.any():
            continue
        rows, columns = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        coords = {name: nwp_on_grid.coords[name] for name in ("y", "x", GRID_MAPPING) if name in nwp_on_grid.coords}
        attrs = {"vertical_level": str(nwp_on_grid["x_wind"].attrs.get("vertical_level", "not stated"))}
        filled = {"u": u[rows, columns], "v": v[rows, columns]}
        return xr.Dataset({n: (("y", "x"), f, {"units": "m s-1"}) for n, f in filled.items()}, coords, attrs)
    return None
