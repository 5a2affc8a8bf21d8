"""Small ensembles: values that are known, on grids of metres and of degrees, in memory and lazy."""

from __future__ import annotations

import numpy as np

from helpers.ensembles import lazy_members
from hybridcast.core.field import precipitation
from hybridcast.core.forecast_schema import ENSEMBLE, add_ensemble, forecast_dataset

ISSUED = np.datetime64("2024-06-01T12:00", "ns")


def build_ensemble(members, minutes=None, *, crs="EPSG:3067", y=None, x=None):
    """Return a forecast with these members, shape (realization, lead, y, x), at lead times in minutes."""
    members = np.asarray(members, dtype=np.float32)
    count, rows, columns = members.shape[1:]
    minutes = 10 * np.arange(1, count + 1) if minutes is None else minutes
    y = 6_700_500.0 + 1000.0 * np.arange(rows) if y is None else y
    x = 300_500.0 + 1000.0 * np.arange(columns) if x is None else x
    recent = precipitation(np.zeros((1, rows, columns)), time=[ISSUED], y=y, x=x, crs=crs)
    leads = np.asarray(minutes, dtype="timedelta64[m]").astype("timedelta64[ns]")
    return add_ensemble(forecast_dataset(members.mean(axis=0), recent, leads), members, rate_is_mean=False)


def make_lazy(result):
    """Return the forecast with lazy members, one chunk for each lead time, and a list of the chunks computed so far."""
    values, computed = result[ENSEMBLE].values, []

    def make(lead):
        computed.append(lead)
        return values[:, lead]

    lazy = lazy_members(len(values), values.shape[1:], make)
    return result.assign({ENSEMBLE: (result[ENSEMBLE].dims, lazy, result[ENSEMBLE].attrs)}), computed


def box(west, south, east, north):
    """Return a rectangle as GeoJSON."""
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [corners]}
