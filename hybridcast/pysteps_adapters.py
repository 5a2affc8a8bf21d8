"""The methods of pysteps as objects of this package: motion methods and nowcasters, for comparison and as members.

pysteps (Pulkkinen et al. 2019, doi:10.5194/gmd-12-4185-2019) works on bare arrays without missing values. What stands
here between it and a field, for all of its methods alike:

- **Frames.** A frame that is missing or has no rain ends the history that an autoregressive model looks at. A history
  that is too short lowers the order of the model; one too short for order 1, and a dry field, are extrapolated.
- **NaN.** pysteps never sees it. Gaps in a frame are filled along the motion from the frames before and after.
  Afterwards the forecast is unknown exactly where the extrapolation of the newest frame is unknown: where the motion
  brings in what no radar saw. Forecasts with one motion therefore share one mask. Where a method gives nothing inside
  that mask (ANVIL near the inflow border, a perturbed STEPS member), it is completed by the extrapolation.
- **Lead times.** Multiples of the time step of the frames are whole steps; others go to pysteps as fractions of a
  step: it advects to the exact time and interpolates the model between the steps around it.
- **Failures.** What a method raises becomes a warning in the log and the extrapolation; whenever the result is not
  what was asked for, its attribute ``fallback`` says why.

Importing this module imports nothing of pysteps. While pysteps runs, ``sys.stdout`` of the process is redirected: what
it prints goes to this module's logger at level DEBUG.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.advection import check_lead_times
from hybridcast.errors import DependencyError, InputError
from hybridcast.field import NAME, metres_per_cell, time_step
from hybridcast.motion import MotionMethod, cells_per_step, motion_dataset
from hybridcast.nowcasters import LeadTimes, forecast_dataset

Array = NDArray[np.float64]

log = logging.getLogger(__name__)

#: Rates below this (mm h-1) are dry, as pysteps recommends.
LOWEST_RATE = 0.1
#: The same in dBR = 10 log10(mm h-1), and what stands there for dry.
LOWEST_DBR, DRY_DBR = -10.0, -15.0
#: The step of a lone frame, which has none; motion in m s-1 is all that is converted with it.
LONE_STEP = np.timedelta64(5, "m").astype("timedelta64[ns]")
#: Leads within this share of a step are at the step.
WHOLE = 1e-6
#: A grid of fewer rows or columns has no motion; compiled methods of pysteps read beyond the ends of such.
SMALLEST_GRID = 16
ENSEMBLE = f"{NAME}_ensemble"


# --- pysteps, quietly -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _pysteps() -> Iterator[None]:
    """Import pysteps and keep it quiet inside; numpy's global random state, which it seeds, is put back after."""
    said = io.StringIO()
    state = np.random.get_state()  # noqa: NPY002
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            missing = _import_pysteps()
            try:
                yield
            except missing as error:
                raise DependencyError(f"{error}; pysteps needs it for this method. Install it.") from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
        if said.getvalue():
            log.debug("pysteps: %s", said.getvalue())


def _import_pysteps() -> type[Exception]:
    """Import pysteps; give its exception for a package that it lacks itself."""
    try:
        from pysteps.exceptions import MissingOptionalDependency
    except (ImportError, RuntimeError) as error:  # RuntimeError: a pystepsrc that does not keep to its schema
        raise DependencyError(
            f"pysteps cannot be imported ({error}); this method is part of it. "
            "pip install pysteps (needs a C compiler)."
        ) from error
    missing: type[Exception] = MissingOptionalDependency
    return missing


def _failures() -> tuple[type[Exception], ...]:
    """Give what pysteps raises where the data do not suit a method."""
    import cv2

    return ValueError, RuntimeError, IndexError, ZeroDivisionError, FloatingPointError, np.linalg.LinAlgError, cv2.error


def _dbr(rate: Array) -> Array:
    """Decibels of a rain rate (mm h-1); NaN stays."""
    dbr = 10 * np.log10(np.maximum(rate, LOWEST_RATE))
    return np.where(rate < LOWEST_RATE, DRY_DBR, dbr)


def _rate_from_dbr(dbr: Array) -> Array:
    """Rain rate (mm h-1) from decibels, dry below the threshold; NaN stays."""
    return np.where(dbr < LOWEST_DBR, 0.0, 10 ** (dbr / 10))


def _thresholded(rate: Array) -> Array:
    """Rain rate (mm h-1), dry below the threshold; NaN stays."""
    return np.where(rate < LOWEST_RATE, 0.0, rate)


# --- motion ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PystepsMotion:
    """A motion method of pysteps.

    - ``lucaskanade``: features tracked over all frames, outliers removed, interpolated by inverse distance (Lucas and
      Kanade 1981; Bouguet 2001). NaN is masked.
    - ``vet``: variational echo tracking, two or three frames (Laroche and Zawadzki 1995,
      doi:10.1175/1520-0426(1995)012<0721:ROHWFS>2.0.CO;2; Germann and Zawadzki 2002). NaN is masked.
    - ``darts``: spectral, six frames or more (Ruzanski, Chandrasekar and Wang 2011, doi:10.1175/2011JTECHA1496.1). It
      takes the frames as periodic and falls short of the true speed: by a quarter to a half on nine frames, more on
      fewer. NaN is dry.
    - ``proesmans``: anisotropic diffusion, two frames (Proesmans et al. 1994, doi:10.1007/BFb0028362). NaN is dry.
      Far from rain and at the borders single vectors can be far too long.
    - ``farneback``: polynomial expansion (Farnebäck 2003, doi:10.1007/3-540-45103-X_50), averaged over the frames and
      smoothed by 60 pixels, which takes up to a quarter of the speed where much of the field is dry. NaN is dry.

    All work on dBR with a threshold of 0.1 mm h-1. Frames without rain are skipped, and of those left the latest that
    are evenly spaced are taken.

    Attributes
    ----------
    method
        See above.
    frames
        How many frames are used at most; None for as many as pysteps uses in its own examples.
    """

    method: Literal["lucaskanade", "vet", "darts", "proesmans", "farneback"] = "lucaskanade"
    frames: int | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown method, and a number of frames that it cannot use."""
        if self.method not in _MOTIONS:
            raise InputError(f"motion method {self.method!r}", "it is one of pysteps", f"Choose of {list(_MOTIONS)}")
        solver = _MOTIONS[self.method]
        if self.frames is not None and not solver.fewest <= self.frames <= solver.most:
            rule = f"at least {solver.fewest}" + (f", at most {solver.most}" if solver.most < ANY else "")
            raise InputError(f"frames = {self.frames}", f"{self.method} uses {rule}", "Correct frames, or leave it out")

    @property
    def name(self) -> str:
        """How results name it."""
        return f"pysteps-{self.method}"

    def estimate(self, recent: xr.DataArray) -> xr.Dataset:
        """Estimate motion from a checked field of at least one frame.

        Returns
        -------
        Dataset
            `u`, `v` in m s-1, finite everywhere. Zero, with the reason in the attribute ``status``, where fewer frames
            with rain are given than the method needs or where it fails.

        Raises
        ------
        DependencyError
            If pysteps is not installed.
        """
        recent = recent.compute()
        solver = _MOTIONS[self.method]
        picked, spacing = _wet_frames(recent, self.frames or solver.usual)
        step = (time_step(recent["time"].values) or LONE_STEP) * spacing
        with _pysteps():
            flow, status = _solved(solver, recent.values[picked].astype(np.float64))
        if flow is None:
            flow = np.zeros((2, *recent.shape[1:]))
        used = picked.size if status == "estimated" else 0
        return motion_dataset(flow.astype(np.float32), recent, step, method=self.name, frames=used, status=status)


def _wet_frames(recent: xr.DataArray, count: int) -> tuple[NDArray[np.intp], int]:
    """Select the latest frames with rain, evenly spaced, `count` at most: ``(indices, spacing in time steps)``."""
    wet = np.flatnonzero((recent.values >= LOWEST_RATE).any(axis=(1, 2)))
    if wet.size < 2:
        return wet, 1
    spacing = int(wet[-1] - wet[-2])
    even = np.arange(wet[-1], -1, -spacing)[:count]
    gaps = np.flatnonzero(~np.isin(even, wet))
    return even[: gaps[0] if gaps.size else None][::-1], spacing


def _solved(solver: _Motion, rates: Array) -> tuple[Array | None, str]:
    """Run a motion method: ``(flow, status)``, no flow where there is none to be found."""
    if min(rates.shape[1:]) < SMALLEST_GRID:
        return None, f"no motion: the grid has fewer than {SMALLEST_GRID} rows or columns"
    if len(rates) < solver.fewest:
        return None, f"no motion: {len(rates)} evenly spaced frames with rain, {solver.fewest} needed"
    try:
        flow = np.asarray(solver.solve(_dbr(rates)), dtype=np.float64)
    except _failures() as error:
        log.warning("the motion method failed, motion is zero: %s: %s", type(error).__name__, error)
        return None, f"no motion: {type(error).__name__}: {error}"
    if not np.isfinite(flow).any():
        return None, "no motion: no finite motion found"
    return _nearest_finite(flow), "estimated"


def _nearest_finite(flow: Array) -> Array:
    """Replace vectors that are not finite by the nearest one that is."""
    from scipy.ndimage import distance_transform_edt

    bad = ~np.isfinite(flow).all(axis=0)
    if not bad.any() or bad.all():
        return np.nan_to_num(flow, posinf=0.0, neginf=0.0)
    rows, columns = distance_transform_edt(bad, return_distances=False, return_indices=True)
    return flow[:, rows, columns]


def _lucaskanade(dbr: Array) -> Array:
    from pysteps.motion.lucaskanade import dense_lucaskanade

    flow: Array = dense_lucaskanade(np.ma.masked_invalid(dbr))
    return flow


def _vet(dbr: Array) -> Array:
    from pysteps.motion.vet import vet

    fits = [n for n in (2, 4, 16, 32) if 2 * n <= min(dbr.shape[1:])] or [1]  # sectors of at least two pixels
    flow: Array = vet(np.ma.masked_invalid(dbr), sectors=(fits, fits), verbose=False)
    return flow


def _darts(dbr: Array) -> Array:
    from pysteps.motion.darts import DARTS

    waves = {f"N_{axis}": max(1, min(50, n // 2 - 3)) for axis, n in (("y", dbr.shape[1]), ("x", dbr.shape[2]))}
    flow: Array = DARTS(_dry_where_nan(dbr), verbose=False, **waves)
    return flow


def _proesmans(dbr: Array) -> Array:
    from pysteps.motion.proesmans import proesmans

    levels = max(1, min(6, int(np.log2(min(dbr.shape[1:]))) - 1))  # the coarsest of four pixels or more
    flow: Array = proesmans(_dry_where_nan(dbr), num_levels=levels)
    return flow


def _farneback(dbr: Array) -> Array:
    from pysteps.motion.farneback import farneback

    flow: Array = farneback(_dry_where_nan(dbr))
    return flow


def _dry_where_nan(dbr: Array) -> Array:
    return np.where(np.isnan(dbr), DRY_DBR, dbr)


class _Motion(NamedTuple):
    """A motion method: from frames in dBR with NaN to the flow in cells per frame, and how many frames it takes."""

    solve: Callable[[Array], Array]
    fewest: int
    usual: int
    most: int


ANY = 1000
_MOTIONS = {
    "lucaskanade": _Motion(_lucaskanade, fewest=2, usual=3, most=ANY),
    "vet": _Motion(_vet, fewest=2, usual=3, most=3),
    "darts": _Motion(_darts, fewest=6, usual=9, most=ANY),
    "proesmans": _Motion(_proesmans, fewest=2, usual=2, most=2),
    "farneback": _Motion(_farneback, fewest=2, usual=2, most=ANY),
}


# --- nowcasters -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PystepsExtrapolation:
    """Semi-Lagrangian extrapolation of the newest frame, linear in mm h-1.

    Germann and Zawadzki (2002), doi:10.1175/1520-0493(2002)130<2859:SDOTPO>2.0.CO;2.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)

    @property
    def name(self) -> str:
        """How results name it."""
        return "pysteps-extrapolation"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Forecast from a checked field of recent frames; see `Nowcaster`."""
        return _nowcast(self, recent, lead_times, None)


@dataclass(frozen=True)
class SProg:
    """S-PROG: each scale of the field, in dBR, fades by an autoregressive model as it becomes unpredictable.

    Seed (2003), doi:10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2. Uses ``ar_order + 1`` frames. Smooth by design.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    n_cascade_levels: int = 6
    ar_order: int = 2
    matching: Literal["cdf", "mean"] | None = "cdf"
    """How the distribution of the forecast is held to the one observed."""
    workers: int = 1

    @property
    def name(self) -> str:
        """How results name it."""
        return "pysteps-sprog"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Forecast from a checked field of recent frames; see `Nowcaster`."""
        return _nowcast(self, recent, lead_times, _Run(self._run, order=self.ar_order, beyond_order=1))

    def _run(self, case: _Case, order: int) -> Array:
        from pysteps.nowcasts import sprog

        dbr = sprog.forecast(
            _dbr(case.rates),
            case.flow,
            case.steps,
            precip_thr=LOWEST_DBR,
            n_cascade_levels=self.n_cascade_levels,
            ar_order=order,
            probmatching_method=self.matching,
            num_workers=self.workers,
        )
        return _rate_from_dbr(dbr)


@dataclass(frozen=True)
class Anvil:
    """ANVIL: S-PROG on differences in mm h-1, with an autoregressive model of its own around each place.

    Pulkkinen et al. (2020), doi:10.1109/TGRS.2020.2984594. Uses ``ar_order + 2`` frames. New rain appears only where
    `rain_mask` is off.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    n_cascade_levels: int = 6
    ar_order: int = 2
    ar_window_radius: int | None = 50
    """Standard deviation (cells) of the window of the local models; None for one model."""
    rain_mask: bool = True
    workers: int = 1

    @property
    def name(self) -> str:
        """How results name it."""
        return "pysteps-anvil"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Forecast from a checked field of recent frames; see `Nowcaster`."""
        return _nowcast(self, recent, lead_times, _Run(self._run, order=self.ar_order, beyond_order=2))

    def _run(self, case: _Case, order: int) -> Array:
        from pysteps.nowcasts import anvil

        rate = anvil.forecast(
            case.rates,
            case.flow,
            case.steps,
            n_cascade_levels=self.n_cascade_levels,
            ar_order=order,
            ar_window_radius=self.ar_window_radius,
            apply_rainrate_mask=self.rain_mask,
            num_workers=self.workers,
        )
        return _thresholded(rate)


@dataclass(frozen=True)
class Linda:
    """LINDA-D: convolution kernels and autoregressive models fitted around features, in mm h-1, one forecast.

    Pulkkinen, Chandrasekar and Niemi (2021), Lagrangian integro-difference equation model for precipitation nowcasting,
    J. Atmos. Oceanic Technol. Uses ``ar_order + 2`` frames. The features are corners, because the blobs that pysteps
    takes by itself need scikit-image, which is not one of its dependencies. Slow: seconds on 128 x 128 cells.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    ar_order: Literal[1, 2] = 1
    features: Literal["shitomasi", "blob", "domain"] = "shitomasi"
    max_features: int = 25
    kernel: Literal["anisotropic", "isotropic"] = "anisotropic"
    workers: int = 1

    @property
    def name(self) -> str:
        """How results name it."""
        return "pysteps-linda"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Forecast from a checked field of recent frames; see `Nowcaster`."""
        return _nowcast(self, recent, lead_times, _Run(self._run, order=self.ar_order, beyond_order=2))

    def _run(self, case: _Case, order: int) -> Array:
        from pysteps.nowcasts import linda

        rate = linda.forecast(
            case.rates,
            case.flow,
            case.steps,
            feature_method=self.features,
            max_num_features=self.max_features,
            ari_order=order,
            kernel_type=self.kernel,
            add_perturbations=False,
            vel_pert_method=None,
            num_workers=self.workers,
        )
        return _thresholded(rate)


@dataclass(frozen=True)
class Steps:
    """STEPS: an ensemble, each member S-PROG with noise of the observed spectrum added and its own motion.

    Bowler, Pierce and Seed (2006), doi:10.1256/qj.04.100; Seed, Pierce and Norman (2013), doi:10.1002/wrcr.20536.
    Uses ``ar_order + 1`` frames, in dBR. `precipitation_rate` is the mean of the members, which
    `precipitation_rate_ensemble` holds with dims ``("realization", "lead_time", "y", "x")``; all alike where the
    forecast fell back to the extrapolation.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    members: int = 20
    n_cascade_levels: int = 6
    ar_order: int = 2
    noise: Literal["nonparametric", "parametric", "ssft", "nested"] = "nonparametric"
    mask: Literal["incremental", "sprog", "obs"] | None = "incremental"
    """Where rain may appear: near where it is, where S-PROG has it, where it was observed, anywhere."""
    matching: Literal["cdf", "mean"] | None = "cdf"
    """How the distribution of each member is held to the one observed."""
    seed: int | None = 0
    """Of the noise; the same forecast for the same seed. None for another one each time."""
    workers: int = 1

    def __post_init__(self) -> None:
        """Refuse an ensemble without members."""
        if self.members < 1:
            raise InputError(f"members = {self.members}", "an ensemble has at least one", "Correct members")

    @property
    def name(self) -> str:
        """How results name it."""
        return "pysteps-steps"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Forecast from a checked field of recent frames; see `Nowcaster`."""
        run = _Run(self._run, order=self.ar_order, beyond_order=1, members=self.members)
        return _nowcast(self, recent, lead_times, run)

    def _run(self, case: _Case, order: int) -> Array:
        from pysteps.nowcasts import steps

        dbr = steps.forecast(
            _dbr(case.rates),
            case.flow,
            case.steps,
            n_ens_members=self.members,
            n_cascade_levels=self.n_cascade_levels,
            precip_thr=LOWEST_DBR,
            kmperpixel=case.kilometres,
            timestep=case.minutes,
            noise_method=self.noise,
            ar_order=order,
            probmatching_method=self.matching,
            mask_method=self.mask,
            seed=self.seed,
            num_workers=self.workers,
        )
        if not (dbr >= LOWEST_DBR).any():
            raise ValueError("STEPS tapers the field towards its corners and saw no rain")
        return _rate_from_dbr(dbr)


# --- what all nowcasters share --------------------------------------------------------------------------------


class _Case(NamedTuple):
    """What a method of pysteps is given."""

    rates: Array
    """mm h-1, shape ``(frame, y, x)``: consecutive frames with rain, as many as the order needs, NaN filled."""
    flow: Array
    """Cells per step, shape ``(2, y, x)``, x first."""
    steps: int | list[float]
    """The number of steps, or the steps themselves."""
    kilometres: float
    """Size of a cell."""
    minutes: float
    """Time step."""


class _Run(NamedTuple):
    """How to run an autoregressive method of pysteps."""

    function: Callable[[_Case, int], Array]
    """From a case and the order of the model to rates, mm h-1, ``([member], step, y, x)``."""
    order: int
    """The order wanted."""
    beyond_order: int
    """How many frames are needed more than the order."""
    members: int = 0
    """Size of the ensemble; 0 if there is none."""


class _Model(Protocol):
    """What `_nowcast` needs of a nowcaster."""

    @property
    def name(self) -> str: ...

    @property
    def motion(self) -> MotionMethod: ...


def _nowcast(model: _Model, recent: xr.DataArray, lead_times: LeadTimes, run: _Run | None) -> xr.Dataset:
    """Forecast by extrapolation, and by `run` where the frames allow it."""
    recent = recent.compute()
    leads = check_lead_times(lead_times)
    step = time_step(recent["time"].values) or LONE_STEP
    motion = model.motion.estimate(recent)
    attrs: dict[str, Any] = {
        "model": model.name,
        "status": "ok",
        "motion_method": model.motion.name,
        "motion_status": str(motion.attrs.get("status", "")),
    }
    shape = (leads.size, *recent.shape[1:])
    newest = _newest(recent)
    if newest is None:
        rate, reason = np.full(shape, np.nan, np.float32), "no radar data in any frame: all unknown"
        attrs["status"] = reason
    else:
        age = recent.sizes["time"] - 1 - newest
        if age:
            minutes = age * step / np.timedelta64(1, "m")
            attrs["status"] = f"radar is late: latest frame is {minutes:g} min old"
        flow = cells_per_step(motion, step).astype(np.float64)
        with _pysteps():
            rate, reason = _rates(recent[: newest + 1], flow, leads / step + age, step, run)
    if reason:
        attrs["fallback"] = reason
    if run is None or not run.members:
        result = forecast_dataset(rate, recent, leads, **attrs)
    else:
        result = _ensemble_dataset(np.broadcast_to(rate, (run.members, *shape)), recent, leads, attrs)
    return result.assign({name: motion[name] for name in ("u", "v")})


def _newest(recent: xr.DataArray) -> int | None:
    """Index of the last frame that holds any value."""
    present = np.flatnonzero(np.isfinite(recent.values).any(axis=(1, 2)))
    return int(present[-1]) if present.size else None


def _rates(
    recent: xr.DataArray, flow: Array, steps: Array, step: np.timedelta64, run: _Run | None
) -> tuple[NDArray[np.float32], str]:
    """Rates at `steps` after the last frame, ``([member], step, y, x)``, and the reason if they are not from `run`."""
    whole = np.rint(steps).astype(int)
    at_steps = bool((np.abs(steps - whole) < WHOLE).all()) and whole[0] > 0
    asked: int | list[float] = int(whole[-1]) if at_steps else [float(s) for s in steps]
    picked = whole - 1 if at_steps else np.arange(steps.size)
    advected = _advect(recent.values[-1].astype(np.float64), flow, asked)[picked].astype(np.float32)
    if run is None:
        return advected, ""
    order, reason = _order(recent, run)
    if order == 0:
        log.info("extrapolated: %s", reason)
        return advected, reason
    dy, dx = metres_per_cell(recent)
    case = _Case(
        rates=_filled(recent.values[-(order + run.beyond_order) :].astype(np.float64), flow),
        flow=flow,
        steps=asked,
        kilometres=float(abs(dy) + np.abs(dx).mean()) / 2000,
        minutes=float(step / np.timedelta64(1, "m")),
    )
    try:
        rate = np.asarray(run.function(case, order), dtype=np.float32)[..., picked, :, :]
        if not np.isfinite(rate).any() and np.isfinite(advected).any():
            raise ValueError("no finite value in the forecast")
        return _completed(rate, advected), reason
    except _failures() as error:
        log.warning("the nowcast failed and was extrapolated: %s: %s", type(error).__name__, error)
        return advected, f"extrapolated: {type(error).__name__}: {error}"


def _order(recent: xr.DataArray, run: _Run) -> tuple[int, str]:
    """Order of the model that the last frames allow, 0 for none, and the reason if it is not the one wanted."""
    wet = np.atleast_1d((recent.values[::-1] >= LOWEST_RATE).any(axis=(1, 2)))
    if not bool(wet[0]):
        return 0, f"extrapolated: no rain of {LOWEST_RATE:g} mm/h in the newest frame"
    frames = int(np.argmin(wet)) if not wet.all() else wet.size
    order = min(run.order, frames - run.beyond_order)
    if order == run.order:
        return order, ""
    what = f"{frames} consecutive frames with rain, {run.order + run.beyond_order} needed"
    return (order, f"model of order {order}: {what}") if order > 0 else (0, f"extrapolated: {what}")


def _advect(rate: Array, flow: Array, steps: int | list[float]) -> Array:
    """Extrapolate one frame along the flow, ``(step, y, x)``; NaN where most of what arrives is unknown."""
    from pysteps.extrapolation.semilagrangian import extrapolate

    known = np.isfinite(rate)
    if known.all():
        advected: Array = extrapolate(rate, flow, steps)
        return advected
    arriving = extrapolate(known.astype(np.float64), flow, steps, outval=0.0)
    total = extrapolate(np.where(known, rate, 0.0), flow, steps, outval=0.0)
    return np.where(arriving >= 0.5, total / np.maximum(arriving, 0.5), np.nan)


def _filled(rates: Array, flow: Array) -> Array:
    """Fill NaN in consecutive frames along the flow, from the frame before, else from the one after, else as dry."""
    filled = rates.copy()
    for frames, towards in ((range(1, len(filled)), 1), (range(len(filled) - 2, -1, -1), -1)):
        for i in frames:
            gaps = np.isnan(filled[i])
            if gaps.any():
                filled[i, gaps] = _advect(filled[i - towards], towards * flow, 1)[0, gaps]
    return np.nan_to_num(filled)


def _completed(rate: NDArray[np.float32], advected: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give `rate` the mask of `advected`, and its values where there are none."""
    return np.where(np.isfinite(rate) | np.isnan(advected), np.where(np.isnan(advected), np.nan, rate), advected)


def _ensemble_dataset(
    members: NDArray[np.float32], recent: xr.DataArray, leads: LeadTimes, attrs: dict[str, Any]
) -> xr.Dataset:
    """Label an ensemble: its mean as the forecast, its members beside it."""
    result = forecast_dataset(members.mean(axis=0, dtype=np.float64), recent, leads, **attrs)
    described = {**result[NAME].attrs, "long_name": "members of the forecast precipitation rate"}
    result[NAME].attrs["cell_methods"] = "realization: mean"
    result[ENSEMBLE] = (("realization", "lead_time", "y", "x"), members, described)
    return result.assign_coords(
        realization=("realization", np.arange(len(members)), {"standard_name": "realization", "long_name": "member"})
    )
