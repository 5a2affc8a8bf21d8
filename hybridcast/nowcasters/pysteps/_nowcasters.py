"""Nowcasting methods of pysteps and their settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import xarray as xr

from hybridcast.core.types import Doubles, LeadTimes
from hybridcast.motion.estimate import MotionMethod
from hybridcast.nowcasters.base import ChoosesMembers
from hybridcast.nowcasters.pysteps._call import LOWEST_DBR, apply_threshold, rate_from_dbr, to_dbr
from hybridcast.nowcasters.pysteps._motion import PystepsMotion
from hybridcast.nowcasters.pysteps._run import ArMethod, NowcastInputs, run_nowcast


@dataclass(frozen=True)
class PystepsExtrapolation:
    """Semi-Lagrangian extrapolation of the latest frame, linear in mm h-1.

    Germann and Zawadzki (2002), doi:10.1175/1520-0493(2002)130<2859:SDOTPO>2.0.CO;2.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    """Motion method."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return "pysteps-extrapolation"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames; see `hybridcast.nowcasters.base.Nowcaster`."""
        return run_nowcast(self, recent, lead_times, None)


@dataclass(frozen=True)
class SProg:
    """S-PROG: each spatial scale of the field, in dBR, decays by an AR process as it becomes unpredictable.

    Seed (2003), doi:10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2. It uses ``ar_order + 1`` frames. The forecast
    becomes smoother with lead time by design.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    """Motion method."""
    n_cascade_levels: int = 6
    """Number of cascade levels."""
    ar_order: int = 2
    """Order of the AR processes."""
    matching: Literal["cdf", "mean"] | None = "cdf"
    """Matching of the distribution of the forecast to the observed one; None for no matching."""
    workers: int = 1
    """Number of threads."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return "pysteps-sprog"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames; see `hybridcast.nowcasters.base.Nowcaster`."""
        return run_nowcast(self, recent, lead_times, ArMethod(self._run, self.ar_order, extra_frames=1))

    def _run(self, inputs: NowcastInputs, order: int) -> Doubles:
        from pysteps.nowcasts import sprog

        dbr = sprog.forecast(
            to_dbr(inputs.rates),
            inputs.flow,
            inputs.steps,
            precip_thr=LOWEST_DBR,
            n_cascade_levels=self.n_cascade_levels,
            ar_order=order,
            probmatching_method=self.matching,
            num_workers=self.workers,
        )
        return rate_from_dbr(dbr)


@dataclass(frozen=True)
class Anvil:
    """ANVIL: S-PROG on differences in mm h-1, with AR processes that vary in space.

    Pulkkinen et al. (2020), doi:10.1109/TGRS.2020.2984594. It uses ``ar_order + 2`` frames.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    """Motion method."""
    n_cascade_levels: int = 6
    """Number of cascade levels."""
    ar_order: int = 2
    """Order of the AR processes."""
    ar_window_radius: int | None = 50
    """Standard deviation (cells) of the window of the local AR processes; None for one process for the whole field."""
    rain_mask: bool = True
    """Whether rain is confined to the area of the advected rain; without it, new rain can appear."""
    workers: int = 1
    """Number of threads."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return "pysteps-anvil"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames; see `hybridcast.nowcasters.base.Nowcaster`."""
        return run_nowcast(self, recent, lead_times, ArMethod(self._run, self.ar_order, extra_frames=2))

    def _run(self, inputs: NowcastInputs, order: int) -> Doubles:
        from pysteps.nowcasts import anvil

        rate = anvil.forecast(
            inputs.rates,
            inputs.flow,
            inputs.steps,
            n_cascade_levels=self.n_cascade_levels,
            ar_order=order,
            ar_window_radius=self.ar_window_radius,
            apply_rainrate_mask=self.rain_mask,
            num_workers=self.workers,
        )
        return apply_threshold(rate)


@dataclass(frozen=True)
class Linda:
    """LINDA-D: convolution kernels and AR processes fitted around features, in mm h-1, deterministic.

    Pulkkinen, Chandrasekar and Niemi (2021), Lagrangian integro-difference equation model for precipitation nowcasting,
    J. Atmos. Oceanic Technol. It uses ``ar_order + 2`` frames. A forecast takes seconds on 128 x 128 cells.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    """Motion method."""
    ar_order: Literal[1, 2] = 1
    """Order of the AR processes."""
    features: Literal["shitomasi", "blob", "domain"] = "shitomasi"
    """Features: corners by default, because the blobs that pysteps uses by default need scikit-image."""
    max_features: int = 25
    """Largest number of features."""
    kernel: Literal["anisotropic", "isotropic"] = "anisotropic"
    """Shape of the convolution kernels."""
    workers: int = 1
    """Number of threads."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return "pysteps-linda"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames; see `hybridcast.nowcasters.base.Nowcaster`."""
        return run_nowcast(self, recent, lead_times, ArMethod(self._run, self.ar_order, extra_frames=2))

    def _run(self, inputs: NowcastInputs, order: int) -> Doubles:
        return _run_linda(self, inputs, order, add_perturbations=False, vel_pert_method=None)


@dataclass(frozen=True)
class LindaP(ChoosesMembers):
    """LINDA-P: ensemble of LINDA forecasts with local perturbations of their own errors, and perturbed motion.

    Pulkkinen, Chandrasekar and Niemi (2021), Lagrangian integro-difference equation model for precipitation nowcasting,
    J. Atmos. Oceanic Technol. It uses ``ar_order + 2`` frames, in mm h-1. `precipitation_rate` is the mean of the
    members, which are in `precipitation_rate_ensemble`. If the forecast falls back to extrapolation, all members are
    equal. A forecast takes minutes on 128 x 128 cells. pysteps draws the motion of all members after their rain, so
    those of a larger ensemble are others.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    """Motion method."""
    members: int = 20
    """Number of members."""
    ar_order: Literal[1, 2] = 1
    """Order of the AR processes."""
    features: Literal["shitomasi", "blob", "domain"] = "shitomasi"
    """Features: corners by default, because the blobs that pysteps uses by default need scikit-image."""
    max_features: int = 25
    """Largest number of features."""
    kernel: Literal["anisotropic", "isotropic"] = "anisotropic"
    """Shape of the convolution kernels."""
    seed: int | None = 0
    """Seed of the perturbations, which makes forecasts reproducible; None for a different seed each time."""
    workers: int = 1
    """Number of threads."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return "pysteps-linda-p"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames; see `hybridcast.nowcasters.base.Nowcaster`."""
        method = ArMethod(self._run, self.ar_order, extra_frames=2, members=self.members)
        return run_nowcast(self, recent, lead_times, method)

    def _run(self, inputs: NowcastInputs, order: int) -> Doubles:
        return _run_linda(
            self,
            inputs,
            order,
            n_ens_members=self.members,
            kmperpixel=inputs.kilometres,
            timestep=inputs.minutes,
            seed=self.seed,
        )


def _run_linda(nowcaster: Linda | LindaP, inputs: NowcastInputs, order: int, **perturbations: Any) -> Doubles:
    """Return the rates of LINDA, mm h-1, ``([member], step, y, x)``."""
    from pysteps.nowcasts import linda

    rate = linda.forecast(
        inputs.rates,
        inputs.flow,
        inputs.steps,
        feature_method=nowcaster.features,
        max_num_features=nowcaster.max_features,
        ari_order=order,
        kernel_type=nowcaster.kernel,
        num_workers=nowcaster.workers,
        **perturbations,
    )
    return apply_threshold(rate)


@dataclass(frozen=True)
class Steps(ChoosesMembers):
    """STEPS: ensemble of S-PROG forecasts with noise of the observed spectrum and perturbed motion.

    Bowler, Pierce and Seed (2006), doi:10.1256/qj.04.100; Seed, Pierce and Norman (2013), doi:10.1002/wrcr.20536. It
    uses ``ar_order + 1`` frames, in dBR. `precipitation_rate` is the mean of the members, which are in
    `precipitation_rate_ensemble`, dims ``("realization", "lead_time", "y", "x")``. If the forecast falls back to
    extrapolation, all members are equal.
    """

    motion: MotionMethod = field(default_factory=PystepsMotion)
    """Motion method."""
    members: int = 20
    """Number of members."""
    n_cascade_levels: int = 6
    """Number of cascade levels."""
    ar_order: int = 2
    """Order of the AR processes."""
    noise: Literal["nonparametric", "parametric", "ssft", "nested"] = "nonparametric"
    """Method that generates the noise."""
    mask: Literal["incremental", "sprog", "obs"] | None = "incremental"
    """Area where rain may occur: near the present rain, where S-PROG has rain, where rain was observed, or anywhere."""
    matching: Literal["cdf", "mean"] | None = "cdf"
    """Matching of the distribution of each member to the observed one; None for no matching."""
    seed: int | None = 0
    """Seed of the noise, which makes forecasts reproducible; None for a different seed each time."""
    workers: int = 1
    """Number of threads."""

    @property
    def name(self) -> str:
        """Name in the attributes of forecasts."""
        return "pysteps-steps"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return a forecast from a checked field of recent frames; see `hybridcast.nowcasters.base.Nowcaster`."""
        method = ArMethod(self._run, self.ar_order, extra_frames=1, members=self.members)
        return run_nowcast(self, recent, lead_times, method)

    def _run(self, inputs: NowcastInputs, order: int) -> Doubles:
        from pysteps.nowcasts import steps

        dbr = steps.forecast(
            to_dbr(inputs.rates),
            inputs.flow,
            inputs.steps,
            n_ens_members=self.members,
            n_cascade_levels=self.n_cascade_levels,
            precip_thr=LOWEST_DBR,
            kmperpixel=inputs.kilometres,
            timestep=inputs.minutes,
            noise_method=self.noise,
            ar_order=order,
            probmatching_method=self.matching,
            mask_method=self.mask,
            seed=self.seed,
            num_workers=self.workers,
        )
        if not (dbr >= LOWEST_DBR).any():
            raise ValueError("STEPS tapers the field towards its corners and found no rain")
        return rate_from_dbr(dbr)
