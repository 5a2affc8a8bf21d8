"""Nowcasters of pysteps: what each is, and its settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import xarray as xr

from hybridcast.core.types import Doubles, LeadTimes
from hybridcast.errors import InputError
from hybridcast.motion.estimate import MotionMethod
from hybridcast.nowcasters.pysteps._call import LOWEST_DBR, rate_from_dbr, thresholded, to_dbr
from hybridcast.nowcasters.pysteps._motion import PystepsMotion
from hybridcast.nowcasters.pysteps._run import Case, Run, nowcast


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
        return nowcast(self, recent, lead_times, None)


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
        return nowcast(self, recent, lead_times, Run(self._run, order=self.ar_order, beyond_order=1))

    def _run(self, case: Case, order: int) -> Doubles:
        from pysteps.nowcasts import sprog

        dbr = sprog.forecast(
            to_dbr(case.rates),
            case.flow,
            case.steps,
            precip_thr=LOWEST_DBR,
            n_cascade_levels=self.n_cascade_levels,
            ar_order=order,
            probmatching_method=self.matching,
            num_workers=self.workers,
        )
        return rate_from_dbr(dbr)


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
        return nowcast(self, recent, lead_times, Run(self._run, order=self.ar_order, beyond_order=2))

    def _run(self, case: Case, order: int) -> Doubles:
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
        return thresholded(rate)


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
        return nowcast(self, recent, lead_times, Run(self._run, order=self.ar_order, beyond_order=2))

    def _run(self, case: Case, order: int) -> Doubles:
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
        return thresholded(rate)


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
        run = Run(self._run, order=self.ar_order, beyond_order=1, members=self.members)
        return nowcast(self, recent, lead_times, run)

    def _run(self, case: Case, order: int) -> Doubles:
        from pysteps.nowcasts import steps

        dbr = steps.forecast(
            to_dbr(case.rates),
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
        return rate_from_dbr(dbr)
