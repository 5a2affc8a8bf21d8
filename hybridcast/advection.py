"""Advection of precipitation along its motion."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.core.device import resolve_device
from hybridcast.core.durations import check_lead_times
from hybridcast.core.forecast_schema import DIMS, lead_time_variable
from hybridcast.core.types import MINUTE
from hybridcast.errors import InputError
from hybridcast.motion.estimate import cells_per_step, check_motion
from hybridcast.settings import AdvectionSettings
from hybridcast_kernels.devices import Device, kernels_for

Fields = TypeVar("Fields", xr.DataArray, xr.Dataset)

#: Order of each interpolation in the kernels.
ORDERS = {"nearest": 0, "linear": 1, "cubic": 3}
#: Longest step of the trajectories (min), whatever the interval between lead times.
LONGEST_STEP = 15.0


def advect(
    latest: Fields,
    motion: xr.Dataset,
    lead_times: ArrayLike,
    *,
    settings: AdvectionSettings | None = None,
    device: Device = "auto",
    out: NDArray[np.float32] | None = None,
) -> Fields:
    """Advect fields along the motion by the backward semi-Lagrangian scheme, with one interpolation per lead time.

    Parameters
    ----------
    latest
        One frame, dims ``("y", "x")`` (a dimension `time` of length one is dropped), NaN where missing; or a Dataset of
        several frames, which share the trajectories.
    motion
        Motion `u` and `v` in m s-1 on the same grid, as `estimate_motion` returns it.
    lead_times
        Lead times, ``timedelta64``, increasing, above zero, shape ``(lead_time,)``. The trajectories have one step
        between two lead times, or several if these are more than 15 min apart.
    settings
        Interpolation, `AdvectionSettings("nearest" | "linear" | "cubic")`; linear by default. Missing cells do not
        influence valid ones: where air comes from outside the coverage, the result is NaN.
    device
        "cpu", "cuda", or "auto": a GPU if one works.
    out
        Array for the result, which can be reused for several calls: C-contiguous float32, shape
        ``(lead_time, y, x)``, or ``(field, lead_time, y, x)`` for a Dataset.

    Returns
    -------
    DataArray or Dataset
        Advected fields, with dims ``("lead_time", "y", "x")``; of the type of `latest`.

    Raises
    ------
    InputError
        If grids differ, motion is not finite or not in m s-1, lead times do not increase, `out` has the wrong type or
        shape, or `device` is "cuda" and no GPU works.

    References
    ----------
    Germann and Zawadzki (2002), Mon. Wea. Rev. 130, 2859-2873: midpoint rule, constant motion.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> axis = np.arange(5) * 1000.0
    >>> rain = xr.DataArray(np.eye(5, dtype="float32"), dims=("y", "x"), coords={"y": axis, "x": axis})
    >>> wind = xr.Dataset({k: rain * 0 + v for k, v in {"u": 1000 / 300, "v": 0}.items()})
    >>> for name in wind:
    ...     wind[name].attrs["units"] = "m s-1"
    >>> advect(rain, wind, [np.timedelta64(5, "m")]).values[0, 1].round(3)
    array([nan,  0.,  1.,  0.,  0.], dtype=float32)
    """
    settings = settings or AdvectionSettings()
    leads = check_lead_times(lead_times)
    fields = latest if isinstance(latest, xr.Dataset) else latest.to_dataset(name="_field")
    fields = fields.map(_select_frame, keep_attrs=True)
    check_motion(motion, fields)
    values: NDArray[np.float32] = np.stack([np.asarray(field.values, dtype=np.float32) for field in fields.values()])
    minutes = (leads / MINUTE).astype(np.float32)
    flow = cells_per_step(motion, MINUTE)
    order = ORDERS[settings.interpolation]
    kernels = kernels_for(resolve_device(device))
    coefficients = _spline_coefficients(values) if settings.interpolation == "cubic" else None
    target = None if out is None else _check_output(out, (values.shape[0], leads.size, *values.shape[1:]), latest)
    moved = kernels.advect(
        values, flow, minutes, order, coefficients=coefficients, longest_step=LONGEST_STEP, out=target
    )
    result = _label(moved, fields, leads)
    return result if isinstance(latest, xr.Dataset) else result["_field"].rename(latest.name)


def _check_output(
    out: NDArray[np.float32], shape: tuple[int, ...], latest: xr.DataArray | xr.Dataset
) -> NDArray[np.float32]:
    """Return `out` with the shape ``(field, lead_time, y, x)``; raise `InputError` if it does not fit."""
    wanted = shape if isinstance(latest, xr.Dataset) else shape[1:]
    if out.shape != wanted or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise InputError(
            f"out is {out.dtype} of shape {out.shape}",
            f"it is contiguous float32 of shape {wanted}",
            f"Make it with np.empty({wanted}, dtype=np.float32)",
        )
    return out.reshape(shape)


def _select_frame(field: xr.DataArray) -> xr.DataArray:
    if "time" in field.dims:
        if field.sizes["time"] != 1:
            raise InputError(
                f"found {field.sizes['time']} frames", "one frame is advected", "Select the latest: field.isel(time=-1)"
            )
        field = field.isel(time=0)
    if set(field.dims) != {"y", "x"}:
        raise InputError(f"dims are {field.dims}", "a frame has the dims ('y', 'x')", "Rename or select dimensions")
    return field.transpose("y", "x")


def _spline_coefficients(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the coefficients of the cubic B-spline through the fields; missing cells, which are masked, are zero."""
    from scipy.ndimage import spline_filter

    filled = np.nan_to_num(values)
    return np.stack([spline_filter(field, order=3, output=np.float32, mode="mirror") for field in filled])


def _label(moved: NDArray[np.float32], fields: xr.Dataset, leads: NDArray[np.timedelta64]) -> xr.Dataset:
    coords: dict[str, Any] = {str(name): coord.variable for name, coord in fields.coords.items() if name != "time"}
    coords["lead_time"] = lead_time_variable(leads)
    variables = {name: (DIMS, moved[k], fields[name].attrs) for k, name in enumerate(fields.data_vars)}
    return xr.Dataset(variables, coords=coords, attrs=fields.attrs)
