"""Names, dimensions and attributes of the variables of a forecast.

A forecast is an ``xarray.Dataset`` built by `forecast_dataset`, to which the functions below add further variables:

=============================== ============================================= ============================
variable                        dims                                          present
=============================== ============================================= ============================
``precipitation_rate``          ``(lead_time, y, x)``                         always
``unknown_fraction``            ``(lead_time,)``                              from `hybridcast.forecast`
``u``, ``v``                    ``(y, x)``                                    if motion was estimated
``precipitation_rate_advected`` ``(lead_time, y, x)``                         from a trained model
``precipitation_rate_ensemble`` ``(realization, lead_time, y, x)``            from an ensemble method
``probability_of_exceedance``   ``(threshold, lead_time, y, x)``              from a trained model
``member_weight``               ``(member, threshold, lead_time)``            from a trained model
``source_weight``               ``(source, lead_time)``                       from a blend with NWP
=============================== ============================================= ============================

``lead_time``, ``threshold``, ``member``, ``source`` and ``realization`` are index coordinates. The valid time of each
lead time is the coordinate ``time``, the time of issue the scalar coordinate ``reference_time``.

In files, the labels of ``member`` and ``source`` are the auxiliary coordinates ``member_name`` and ``source_name``,
because the CF conventions require coordinate variables to be numeric; `hybridcast.load_forecast` restores them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import GRID_MAPPING, RATE, UNITS
from hybridcast.core.memory import check_fits
from hybridcast.core.types import MINUTE, Array, LeadTimes

ADVECTED = f"{RATE}_advected"
ENSEMBLE = f"{RATE}_ensemble"
PROBABILITY = "probability_of_exceedance"
MEMBER_WEIGHT = "member_weight"
SOURCE_WEIGHT = "source_weight"
UNKNOWN_FRACTION = "unknown_fraction"
MOTION = ("u", "v")

DIMS = ("lead_time", "y", "x")
"""Dimensions of `RATE`, and the last dimensions of every other field."""
STEP_MINUTES = "longest_step_minutes"
"""Attribute of the coordinate `lead_time`: the longest interval between lead times, or before a single one, min."""
SOURCES = ("radar", "nwp")
"""Labels of the coordinate ``source``."""
_LABELLED = ("member", "source")


def forecast_dataset(rate: ArrayLike, recent: xr.DataArray, lead_times: LeadTimes, **attrs: Any) -> xr.Dataset:
    """Build a forecast from rain rates.

    Parameters
    ----------
    rate
        Rain rate, mm h-1, shape ``(lead_time, y, x)``, NaN where unknown; a dask array stays lazy.
    recent
        Precipitation field that the forecast was made from; its last time is the time of issue.
    lead_times
        ``timedelta64``, shape ``(lead_time,)``.
    attrs
        Attributes of the dataset.

    Returns
    -------
    Dataset
        `precipitation_rate` with dims ``("lead_time", "y", "x")``, valid times in `time`, the time of issue in the
        scalar `reference_time`.
    """
    issue = recent["time"].values[-1]
    leads = check_lead_times(lead_times)
    coords: dict[str, Any] = {name: recent.coords[name] for name in ("y", "x", GRID_MAPPING) if name in recent.coords}
    coords["lead_time"] = lead_time_variable(leads)
    coords["reference_time"] = ((), issue, {"standard_name": "forecast_reference_time", "long_name": "issue time"})
    coords["time"] = ("lead_time", issue + leads, {"standard_name": "time", "long_name": "valid time"})
    described = {"standard_name": "lwe_precipitation_rate", "long_name": "forecast precipitation rate", "units": UNITS}
    if GRID_MAPPING in coords:
        described["grid_mapping"] = GRID_MAPPING
    values = rate if hasattr(rate, "dask") else np.asarray(rate, dtype=np.float32)
    return xr.Dataset({RATE: (DIMS, values, described)}, coords=coords, attrs=attrs)


def lead_time_variable(leads: LeadTimes) -> xr.Variable:
    """Return the coordinate of lead times with its CF attributes, and the longest interval between them.

    The interval tells of lead times that are selected later whether some are missing.
    """
    steps = np.diff(leads) if leads.size > 1 else leads
    step = float(steps.max() / MINUTE) if steps.size else 0.0
    attrs = {"standard_name": "forecast_period", "long_name": "lead time", STEP_MINUTES: step}
    return xr.Variable("lead_time", leads, attrs)


def add_motion(forecast: xr.Dataset, motion: xr.Dataset) -> xr.Dataset:
    """Add the motion of precipitation, `u` and `v`, and the attributes that tell how it was found.

    These are ``motion_method``, ``motion_status`` and, if the motion has it, ``motion_bounded``.
    """
    made = forecast.assign({name: motion[name] for name in MOTION})
    attrs = {"motion_method": str(motion.attrs["method"]), "motion_status": str(motion.attrs["status"])}
    bounded = {name: motion.attrs[name] for name in ("motion_bounded",) if name in motion.attrs}
    return made.assign_attrs(attrs | bounded)


def add_advected(forecast: xr.Dataset, advected: ArrayLike) -> xr.Dataset:
    """Add the rain rate from advection alone, mm h-1, shape ``(lead_time, y, x)``."""
    described = {**forecast[RATE].attrs, "long_name": "precipitation rate, advection alone"}
    return forecast.assign({ADVECTED: (DIMS, advected, described)})


def add_ensemble(forecast: xr.Dataset, members: ArrayLike, *, rate_is_mean: bool = True) -> xr.Dataset:
    """Add the members of an ensemble.

    Parameters
    ----------
    forecast
        As `forecast_dataset` returns it.
    members
        Rain rates, mm h-1, shape ``(realization, lead_time, y, x)``: an array in memory, or a dask array with one chunk
        for each lead time, which stays lazy.
    rate_is_mean
        Whether `precipitation_rate` is the mean of the members; its attribute ``cell_methods`` says so then.
    """
    described = {**forecast[RATE].attrs, "long_name": "members of the forecast precipitation rate"}
    made = forecast.assign({ENSEMBLE: (("realization", *DIMS), members, described)})
    number = {"standard_name": "realization", "long_name": "number of the member", "units": "1"}
    made = made.assign_coords(realization=("realization", np.arange(made.sizes["realization"]), number))
    if rate_is_mean:
        made[RATE].attrs["cell_methods"] = "realization: mean"
    return made


def add_probabilities(forecast: xr.Dataset, probabilities: ArrayLike, thresholds: Sequence[float]) -> xr.Dataset:
    """Add exceedance probabilities.

    Parameters
    ----------
    forecast
        As `forecast_dataset` returns it.
    probabilities
        Probability that the rain rate is at or above each threshold, shape ``(threshold, lead_time, y, x)``.
    thresholds
        Rain rates, mm h-1, increasing.
    """
    described = {"long_name": "probability that the precipitation rate is at or above the threshold", "units": "1"}
    if GRID_MAPPING in forecast.coords:
        described["grid_mapping"] = GRID_MAPPING
    rates = ("threshold", np.array(thresholds), {"long_name": "precipitation rate", "units": UNITS})
    return forecast.assign({PROBABILITY: (("threshold", *DIMS), probabilities, described)}).assign_coords(
        threshold=rates
    )


def add_member_weights(forecast: xr.Dataset, weights: ArrayLike, members: Sequence[str]) -> xr.Dataset:
    """Add the weights of the members of a blend, shape ``(member, threshold, lead_time)``; `members` names them."""
    described = {"long_name": "weight of the log odds of a member in the blend", "units": "1"}
    names = ("member", list(members), {"long_name": "member of the blend"})
    variable = (("member", "threshold", "lead_time"), np.asarray(weights), described)
    return forecast.assign({MEMBER_WEIGHT: variable}).assign_coords(member=names)


def add_source_weights(forecast: xr.Dataset, weights: Array, meaning: str) -> xr.Dataset:
    """Add the weights of radar and NWP, shape ``(source, lead_time)``; `meaning` describes them."""
    described = {"long_name": meaning, "units": "1"}
    labels = ("source", list(SOURCES), {"long_name": "source"})
    return forecast.assign({SOURCE_WEIGHT: (("source", "lead_time"), weights, described)}).assign_coords(source=labels)


def add_unknown_fraction(forecast: xr.Dataset) -> xr.Dataset:
    """Add the fraction of the grid where the rain rate is unknown, by lead time."""
    rate = forecast[RATE].data
    if forecast[RATE].chunks:  # stays lazy too
        unknown = np.isnan(rate).mean(axis=(1, 2)).astype(np.float32)
    else:  # frame by frame: a mask of all lead times would need a quarter of the memory of the rates
        unknown = np.array([np.isnan(frame).mean() for frame in rate], dtype=np.float32)
    described = {"long_name": "fraction of the grid where precipitation is unknown", "units": "1"}
    return forecast.assign({UNKNOWN_FRACTION: ("lead_time", unknown, described)})


def load_fields(forecast: xr.Dataset) -> xr.Dataset:
    """Return the forecast with all lazy fields made at once and in memory; members, which are larger, stay lazy.

    Raises
    ------
    InputError
        If the fields do not fit into the memory left.
    """
    lazy = {name: field for name, field in forecast.data_vars.items() if field.chunks and name != ENSEMBLE}
    if not lazy:
        return forecast
    check_fits(
        "the fields of the forecast",
        sum(field.nbytes for field in lazy.values()) / 1e6,
        "Take out='forecast.zarr', which is made and written in parts",
        cli_remedy="Take a part of the grid or fewer lead times; or write to a Zarr folder, -o forecast.zarr",
    )
    import dask.array
    import dask.threaded

    # to join computed chunks would take the memory twice
    made = {name: np.empty(field.shape, field.dtype) for name, field in lazy.items()}
    with dask.config.set(scheduler=dask.threaded.get):  # the workers of a cluster do not see the memory of this process
        dask.array.store([field.data for field in lazy.values()], list(made.values()), lock=False)
    return forecast.assign({name: forecast[name].copy(data=values) for name, values in made.items()})


def move_labels_aside(forecast: xr.Dataset) -> xr.Dataset:
    """Turn text labels of dimensions into auxiliary coordinates ``<dimension>_name``, as in files."""
    names = {dim: f"{dim}_name" for dim in _LABELLED if dim in forecast.indexes}
    return forecast.reset_index(list(names)).rename_vars(names)


def restore_labels(forecast: xr.Dataset) -> xr.Dataset:
    """Make the auxiliary coordinates ``<dimension>_name`` the labels of their dimensions again."""
    names = {f"{dim}_name": dim for dim in _LABELLED if f"{dim}_name" in forecast.coords}
    for name, dim in names.items():
        forecast = forecast.assign_coords({dim: (dim, forecast[name].values, forecast[name].attrs)}).drop_vars(name)
    return forecast
