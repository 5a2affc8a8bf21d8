"""Motion methods of pysteps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.time_steps import time_step
from hybridcast.core.types import Doubles
from hybridcast.errors import InputError
from hybridcast.motion.estimate import estimated_motion, motion_dataset
from hybridcast.motion.status import ESTIMATED, no_motion_status
from hybridcast.nowcasters.pysteps._call import (
    DRY_DBR,
    LONE_STEP,
    LOWEST_RATE,
    failures,
    log,
    quiet_pysteps,
    to_dbr,
)

#: Smallest number of rows and columns; on smaller grids, compiled methods of pysteps read beyond the ends of arrays.
SMALLEST_GRID = 16


@dataclass(frozen=True)
class PystepsMotion:
    """A motion method of pysteps.

    - ``lucaskanade``: features are tracked over all frames, outliers removed, and the rest interpolated by inverse
      distance (Lucas and Kanade 1981; Bouguet 2001). NaN is masked.
    - ``vet``: variational echo tracking with two or three frames (Laroche and Zawadzki 1995,
      doi:10.1175/1520-0426(1995)012<0721:ROHWFS>2.0.CO;2; Germann and Zawadzki 2002). NaN is masked.
    - ``darts``: spectral method with six frames or more (Ruzanski, Chandrasekar and Wang 2011,
      doi:10.1175/2011JTECHA1496.1). It assumes periodic frames and underestimates the speed by a quarter to a half with
      nine frames, by more with fewer. NaN is dry.
    - ``proesmans``: anisotropic diffusion with two frames (Proesmans et al. 1994, doi:10.1007/BFb0028362). NaN is dry.
      Single vectors far from rain and at the borders can be far too long.
    - ``farneback``: polynomial expansion (Farnebäck 2003, doi:10.1007/3-540-45103-X_50), averaged over the frames and
      smoothed over 60 pixels, which reduces the speed by up to a quarter where much of the field is dry. NaN is dry.

    All methods work on dBR with a threshold of 0.1 mm h-1. Frames without rain are skipped; of the remaining ones, the
    latest that are evenly spaced are used.
    """

    method: Literal["lucaskanade", "vet", "darts", "proesmans", "farneback"] = "lucaskanade"
    """Name of the method."""
    frames: int | None = None
    """Largest number of frames; None for the number that pysteps uses in its examples."""

    def __post_init__(self) -> None:
        """Refuse an unknown method, and a number of frames that the method cannot use."""
        if self.method not in _METHODS:
            raise InputError(f"motion method {self.method!r}", "it is one of pysteps", f"Choose of {list(_METHODS)}")
        solver = _METHODS[self.method]
        if self.frames is not None and not solver.fewest <= self.frames <= solver.most:
            rule = f"at least {solver.fewest}" + (f", at most {solver.most}" if solver.most < ANY else "")
            raise InputError(f"frames = {self.frames}", f"{self.method} uses {rule}", "Correct frames, or leave it out")

    @property
    def name(self) -> str:
        """Name in the attributes of results."""
        return f"pysteps-{self.method}"

    def estimate(self, recent: xr.DataArray) -> xr.Dataset:
        """Estimate motion from a checked field of at least one frame.

        Returns
        -------
        Dataset
            `u` and `v` in m s-1, finite everywhere. They are zero if there are fewer frames with rain than the method
            needs, or if it fails; the attribute ``status`` states the reason.

        Raises
        ------
        DependencyError
            If pysteps is not installed.
        """
        recent = recent.compute()
        solver = _METHODS[self.method]
        picked, spacing = _wet_frames(recent, self.frames or solver.usual)
        step = (time_step(recent["time"].values) or LONE_STEP) * spacing
        with quiet_pysteps():
            flow, status = _solve(solver, recent.values[picked].astype(np.float64))
        if flow is None:
            zero = np.zeros((2, *recent.shape[1:]), np.float32)
            return motion_dataset(zero, recent, step, method=self.name, status=status, frames_used="")
        return estimated_motion(flow.astype(np.float32), recent, step, self.name, picked)


def _wet_frames(recent: xr.DataArray, count: int) -> tuple[NDArray[np.intp], int]:
    """Return the indices of the latest evenly spaced frames with rain, at most `count`, and their spacing in steps."""
    wet = np.flatnonzero((recent.values >= LOWEST_RATE).any(axis=(1, 2)))
    if wet.size < 2:
        return wet, 1
    spacing = int(wet[-1] - wet[-2])
    even = np.arange(wet[-1], -1, -spacing)[:count]
    gaps = np.flatnonzero(~np.isin(even, wet))
    return even[: gaps[0] if gaps.size else None][::-1], spacing


def _solve(solver: _Method, rates: Doubles) -> tuple[Doubles | None, str]:
    """Return the flow found by a motion method, None if it finds none, and the status."""
    if min(rates.shape[1:]) < SMALLEST_GRID:
        return None, no_motion_status(f"the grid has fewer than {SMALLEST_GRID} rows or columns")
    if len(rates) < solver.fewest:
        return None, no_motion_status(f"{len(rates)} evenly spaced frames with rain, {solver.fewest} needed")
    try:
        flow = np.asarray(solver.solve(to_dbr(rates)), dtype=np.float64)
    except failures() as error:
        log.warning("the motion method failed, motion is zero: %s: %s", type(error).__name__, error)
        return None, no_motion_status(f"{type(error).__name__}: {error}")
    if not np.isfinite(flow).any():
        return None, no_motion_status("no finite motion found")
    return _fill_with_nearest(flow), ESTIMATED


def _fill_with_nearest(flow: Doubles) -> Doubles:
    """Replace vectors that are not finite by the nearest finite one."""
    from scipy.ndimage import distance_transform_edt

    bad = ~np.isfinite(flow).all(axis=0)
    if not bad.any() or bad.all():
        return np.nan_to_num(flow, posinf=0.0, neginf=0.0)
    rows, columns = distance_transform_edt(bad, return_distances=False, return_indices=True)
    return flow[:, rows, columns]


def _lucaskanade(dbr: Doubles) -> Doubles:
    from pysteps.motion.lucaskanade import dense_lucaskanade

    flow: Doubles = dense_lucaskanade(np.ma.masked_invalid(dbr))
    return flow


def _vet(dbr: Doubles) -> Doubles:
    from pysteps.motion.vet import vet

    fits = [n for n in (2, 4, 16, 32) if 2 * n <= min(dbr.shape[1:])] or [1]  # sectors of at least two pixels
    flow: Doubles = vet(np.ma.masked_invalid(dbr), sectors=(fits, fits), verbose=False)
    return flow


def _darts(dbr: Doubles) -> Doubles:
    from pysteps.motion.darts import DARTS

    waves = {f"N_{axis}": max(1, min(50, n // 2 - 3)) for axis, n in (("y", dbr.shape[1]), ("x", dbr.shape[2]))}
    flow: Doubles = DARTS(_dry_where_nan(dbr), verbose=False, **waves)
    return flow


def _proesmans(dbr: Doubles) -> Doubles:
    from pysteps.motion.proesmans import proesmans

    levels = max(1, min(6, int(np.log2(min(dbr.shape[1:]))) - 1))  # at least four pixels at the coarsest level
    flow: Doubles = proesmans(_dry_where_nan(dbr), num_levels=levels)
    return flow


def _farneback(dbr: Doubles) -> Doubles:
    from pysteps.motion.farneback import farneback

    flow: Doubles = farneback(_dry_where_nan(dbr))
    return flow


def _dry_where_nan(dbr: Doubles) -> Doubles:
    return np.where(np.isnan(dbr), DRY_DBR, dbr)


class _Method(NamedTuple):
    """A motion method of pysteps, and the number of frames that it uses."""

    solve: Callable[[Doubles], Doubles]
    """Function of frames in dBR, with NaN, that returns the flow in cells per frame."""
    fewest: int
    usual: int
    most: int


ANY = 1000
_METHODS = {
    "lucaskanade": _Method(_lucaskanade, fewest=2, usual=3, most=ANY),
    "vet": _Method(_vet, fewest=2, usual=3, most=3),
    "darts": _Method(_darts, fewest=6, usual=9, most=ANY),
    "proesmans": _Method(_proesmans, fewest=2, usual=2, most=2),
    "farneback": _Method(_farneback, fewest=2, usual=2, most=ANY),
}
