"""Late fusion: advection, scale filter, boosting and network blended by lead time, for every cell the radar can tell.

1. The frames are averaged onto the cells that the model was trained on (about 2 km), their motion is estimated.
2. Predictors are made on every second of these cells, in the frame that moves with the rain, for a few lead times.
3. Each member gives log odds that thresholds are reached; their weights come from events kept out of training, and
   are corrected by hindcasts: what the members would have said half an hour and an hour ago, against what came.
4. Log odds are interpolated in time within the moving frame, and carried along the motion to the fine grid.
5. The forecast rate has the ranks of the blended odds and the values of the latest frame, carried along: as sharp as
   pure advection, and as wet as lies between that frame and what the odds promise.

Where there are model fields, members that look at them speak too (`hybridcast.learned.nwp_stage`). Where the air
comes from outside the coverage only those do (`hybridcast.fusion.inflow`); without a model all of it is NaN: nobody
knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.device import resolve_device
from hybridcast.core.durations import check_lead_times
from hybridcast.core.field import iso_time
from hybridcast.core.forecast_schema import (
    add_advected,
    add_member_weights,
    add_motion,
    add_probabilities,
    add_source_weights,
    forecast_dataset,
)
from hybridcast.core.grid import cell_size, coarsen
from hybridcast.core.types import MINUTE, Array, LeadTimes
from hybridcast.errors import InputError
from hybridcast.fusion.deterministic_field import FusedFields, NodeProbabilities, fields_from_radar, fields_with_nwp
from hybridcast.fusion.inflow import compute_inflow
from hybridcast.fusion.nwp_matching import NwpInformedTarget
from hybridcast.fusion.sampling_grid import LagrangianInterpolator, SamplingGrid, node_lead_times
from hybridcast.learned.blend import Blend, HindcastSettings, Scored, corrected, probability
from hybridcast.learned.boosting import decreasing
from hybridcast.learned.network import NetworkOutput, apply_network, has_torch
from hybridcast.learned.network_inputs import build_network_inputs
from hybridcast.learned.nwp_stage import NwpStage, nwp_rain_rate
from hybridcast.learned.trained_model import DEFAULT, NETWORK, TrainedModel, load_model
from hybridcast.learned.training.samples import HINDCAST_HISTORY
from hybridcast.motion.estimate import DenseFlow, MotionMethod, cells_per_step
from hybridcast.nowcasters.base import latest_frame, radar_status
from hybridcast.nowcasters.scale_filter import filter_scales
from hybridcast.predictors.sources import Sources, add_wind_guidance, coarsen_sources, compute_source_predictors
from hybridcast.predictors.state import (
    PredictorState,
    build_predictor_state,
    departure_points,
    predictors_eulerian,
    predictors_lagrangian,
)
from hybridcast_kernels.devices import Device, kernels_for

#: Cells much coarser than those of the training hold other weather.
COARSEST = 2.5


class Fusion(NamedTuple):
    """Fields on the fine grid, and how they were made."""

    fields: FusedFields
    blend: Blend | None
    """Weights of the members; None if they were not evaluated."""
    hindcasts: int = 0
    """Number of hindcasts that the weights were adapted with."""
    nwp_weight: Array | None = None
    """Weight of NWP against radar, ``(lead,)``; None without NWP."""


class Look(NamedTuple):
    """All that members look at."""

    state: PredictorState
    rows: Array
    """Predictors of cells at each lead time, ``(lead, cell, predictor)``."""
    places: NDArray[Any]
    """Row and column of where their air is in the frame that moves, ``(lead, cell, 2)``."""
    said: NetworkOutput | None
    """What the network says."""


@dataclass(frozen=True)
class Hybrid:
    """Advection, scale filter and trained members, blended: see `hybridcast.fusion.hybrid`."""

    model: TrainedModel
    motion: MotionMethod = field(default_factory=DenseFlow)
    thresholds: tuple[float, ...] = (0.1, 1.0, 5.0)
    """Rates (mm h-1) whose probabilities are given; any of the model's."""
    hindcasts: HindcastSettings | None = field(default_factory=HindcastSettings)
    """How hindcasts correct the weights; None leaves them as they were learned."""
    stride: int = 2
    """Members are asked at every so many cells of the model's grid."""
    device: Device = "auto"
    """Where the latest frame is advected; the motion has a setting of its own, the members run on the CPU."""
    sources: Sources = field(default_factory=Sources)
    """Other observations of the issue time."""

    def __post_init__(self) -> None:
        """Refuse thresholds that the model does not know."""
        unknown = [t for t in self.thresholds if t not in self.model.blend.thresholds]
        if unknown or list(self.thresholds) != sorted(set(self.thresholds)):
            raise InputError(
                f"thresholds are {self.thresholds}",
                f"they increase and are among {self.model.blend.thresholds} mm/h, which the model was trained for",
                "Choose from these",
            )

    @property
    def name(self) -> str:
        """How results name it."""
        return "hybridcast"

    def with_sources(self, sources: Sources) -> Hybrid:
        """Return one that looks at other observations too."""
        return replace(self, sources=sources)

    @property
    def stage(self) -> NwpStage | None:
        """What is asked where there is a model's rain; None where there is none, or nothing was trained for it."""
        return self.model.sources if self.sources.has_rain else None

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`.

        The result holds `probability_of_exceedance` with dims ``("threshold", "lead_time", "y", "x")``, the advection
        alone as `precipitation_rate_advected`, the weights `member_weight` with dims ``("member", "threshold",
        "lead_time")``, and the motion `u` and `v` too.
        """
        leads = check_lead_times(lead_times)
        motion = add_wind_guidance(self.motion, self.sources, recent).estimate(recent)
        latest, age = latest_frame(recent)
        frame = np.ascontiguousarray(latest.values, np.float32)
        flow = cells_per_step(motion, MINUTE)
        minutes = ((leads + age) / MINUTE).astype(np.float32)
        advected = kernels_for(resolve_device(self.device)).advect(
            frame[None], flow, minutes, longest_step=LONGEST_STEP
        )[0]
        coarse = coarsen(recent, self.model.spacing)
        reason = self._why_not(recent, frame, coarse.sel(time=latest["time"]).values)
        if reason:
            fusion = Fusion(FusedFields(advected, _exceeded(advected, self.thresholds)), None)
        else:
            fusion = self._fuse(recent, coarse, flow, leads + age, advected)
        result = forecast_dataset(
            fusion.fields.rate, recent, leads, nowcaster=self.name, status=radar_status(recent, age)
        )
        result = add_motion(self._with_probabilities(add_advected(result, advected), fusion), motion)
        result.attrs["frames_used"] = ", ".join(iso_time(t) for t in recent["time"].values[_seen(recent)]) or "none"
        if reason:
            result.attrs["fallback"] = reason
        if self.speaking is not self.model:
            result.attrs["members_left_out"] = "network: torch is not installed (pip install 'hybridcast[network]')"
        return result

    def _why_not(self, recent: xr.DataArray, frame: Array, coarse: Array) -> str:
        """Say why the members cannot be asked; empty if they can."""
        own = cell_size(recent)
        if own > COARSEST * self.model.spacing:
            return (
                f"advection alone: cells of {own / 1e3:.1f} km, the model is made for {self.model.spacing / 1e3:.1f} km"
            )
        if self.stage is not None:
            return ""
        if not np.isfinite(frame).any():
            return "advection alone: no radar data"
        if not np.isfinite(coarse).any():
            return f"advection alone: no cell of {self.model.spacing / 1e3:.1f} km is seen by half in the latest frame"
        return ""

    def _fuse(
        self, recent: xr.DataArray, coarse: xr.DataArray, flow: Array, leads: LeadTimes, advected: Array
    ) -> Fusion:
        """Evaluate and blend the members on the sampling nodes; make the fields on the fine grid."""
        frame = latest_frame(recent)[0].values
        grid = SamplingGrid.over(recent, coarse, self.model.spacing, self.stride)
        interpolator = LagrangianInterpolator(grid, node_lead_times(leads), leads, flow, advected)
        node_leads, nodes = interpolator.node_leads, grid.nodes_near(frame)
        sources = Sources() if self.stage is None else coarsen_sources(self.sources, recent, coarse, self.model.spacing)
        with ThreadPoolExecutor(1) as beside:  # hindcasts and the forecast itself do not wait for each other
            adapted = beside.submit(self._adapted_blend, coarse)
            look = self.seen(coarse, _since_last(coarse, node_leads), nodes, moving=True, sources=sources)
            blend, hindcasts = adapted.result()
        found, weight = self._odds(blend, look, node_leads / MINUTE)
        # each threshold has weights of its own, so the blended log odds of two of them may cross
        values = grid.fill(probability(decreasing(found)), nodes)
        known = grid.sample(np.isfinite(latest_frame(coarse)[0].values))
        thresholds = blend.thresholds
        wanted = [thresholds.index(t) for t in self.thresholds]
        probabilities = NodeProbabilities(values, known, thresholds, wanted)
        if self.stage is None:
            return Fusion(fields_from_radar(probabilities, frame, interpolator), blend, hindcasts)
        inflow = compute_inflow(look.state, grid.nodes, grid.shape, self._chances(self.stage))
        rain = grid.fill(np.stack([nwp_rain_rate(rows) for rows in look.rows])[None], nodes, np.nan)[0]
        target = NwpInformedTarget(frame, known, rain, weight, inflow)
        nwp_weight = interpolator.weights_to_leads(np.nan_to_num(weight, nan=1.0))
        return Fusion(fields_with_nwp(probabilities, target, interpolator), blend, hindcasts, nwp_weight)

    def _odds(self, blend: Blend, look: Look, minutes: NDArray[np.float64]) -> tuple[Array, Array]:
        """Log odds at each lead time, ``(threshold, lead, cell)``, and the model's weight in them, ``(lead,)``."""
        found, weights = [], []
        for rows, places, lead in zip(look.rows, look.places, minutes, strict=True):
            of_radar = self.members(rows, float(lead), look.said, places)
            odds, weight = blend.scores(of_radar, float(lead)), np.nan
            if self.stage is not None:
                odds, weight = self.stage.instead(odds, self._of_stage(of_radar), rows, float(lead))
            found.append(odds)
            weights.append(weight)
        return np.stack(found, axis=1), np.array(weights, np.float32)

    def _of_stage(self, of_radar: Array) -> Array:
        """Pick the members that the stage with other sources blends too: all but the network."""
        names = self.speaking.blend.members
        return of_radar[[k for k, name in enumerate(names) if name != NETWORK]]

    def _chances(self, stage: NwpStage) -> Callable[[Array, float], Array]:
        """Return what makes probabilities, ``(threshold, row)``, of rows that have a model."""

        def chances(rows: Array, lead: float) -> Array:
            of_radar = np.stack(list(self._told(rows, lead).values()))
            nothing = np.zeros(of_radar.shape[1:], np.float32)
            return probability(decreasing(stage.instead(nothing, of_radar, rows, lead)[0]))

        return chances

    @property
    def fingerprint(self) -> str:
        """Tell it from all others: what its forecasts depend on."""
        told = (self.model.fingerprint, self.motion, self.thresholds, self.hindcasts, self.stride, self.sources.reports)
        return f"Hybrid{told!r}"

    def describe_settings(self) -> dict[str, object]:
        """Return what this nowcaster is set to, as attributes of forecasts have it."""
        live = None if self.hindcasts is None else asdict(self.hindcasts)
        return {
            "motion": self.motion.name,
            "thresholds": self.thresholds,
            "hindcasts": live,
            "stride": self.stride,
            "model": self.model.fingerprint,
            "regions_left_out": self.model.about.get("regions_left_out"),
        }

    @cached_property
    def speaking(self) -> TrainedModel:
        """The model as far as it can be asked here: without its network where torch is not installed."""
        return self.model if has_torch() else self.model.without_network

    def members(self, rows: Array, lead: float, said: NetworkOutput | None, places: Array) -> Array:
        """Ask all members of the radar, in the order of the blend: log odds, shape ``(member, threshold, row)``.

        Parameters
        ----------
        rows
            Predictors, shape ``(row, predictor)``.
        lead
            min, from the frame that moves.
        said
            What the network says, where there is one.
        places
            Row and column of where the air of each row is in the frame that moves, shape ``(row, 2)``.
        """
        told = self._told(rows, lead)
        if said is not None:
            told[NETWORK] = said.at(places, lead)
        return np.stack([told[name] for name in self.speaking.blend.members])

    def _told(self, rows: Array, lead: float) -> dict[str, Array]:
        """Ask the members of the radar that look at rows, by name."""
        told = {member.name: member.scores(rows, lead) for member in self.model.linear}
        return told | {"boosting": self.model.boosting.scores(rows)}

    def seen(
        self,
        coarse: xr.DataArray,
        leads: LeadTimes,
        cells: NDArray[np.int32],
        *,
        moving: bool,
        sources: Sources | None = None,
    ) -> Look:
        """Return all that members look at, from frames up to the last of `coarse`.

        The air is the one that is over the cells at the issue time (`moving`), or at the lead time.
        """
        others = Sources() if sources is None else sources
        motion = add_wind_guidance(DenseFlow(), others, coarse).estimate(coarse)
        smooth = filter_scales(coarse, motion, leads)["filtered_dbr"]
        state = build_predictor_state(
            coarse, motion, leads, smooth, compute_source_predictors(others, coarse, motion, leads)
        )
        network = self.speaking.network
        said = None if network is None else apply_network(build_network_inputs(coarse, motion, smooth=smooth), network)
        if moving:
            places = np.broadcast_to(cells, (len(leads), *cells.shape))
            return Look(state, predictors_lagrangian(state, cells), places, said)
        return Look(state, predictors_eulerian(state, cells), departure_points(state, cells), said)

    def _adapted_blend(self, coarse: xr.DataArray) -> tuple[Blend, int]:
        """Correct the learned weights by hindcasts; give them, and how many hindcasts there were."""
        blend = self.speaking.blend
        if self.hindcasts is None:
            return blend, 0
        hindcasts = hindcasts_of(self, coarse, self.hindcasts)
        return corrected(blend, hindcasts, self.hindcasts), len(hindcasts)

    def _with_probabilities(self, result: xr.Dataset, fusion: Fusion) -> xr.Dataset:
        """Add the probabilities, and the weights of members and sources that they come from."""
        blend = self.speaking.blend if fusion.blend is None else fusion.blend
        picked = [blend.thresholds.index(t) for t in self.thresholds]
        weights = [blend.at(m)[picked, :-1].T for m in result["lead_time"].values / MINUTE]
        of_nwp = fusion.nwp_weight
        if of_nwp is None:
            of_nwp = np.zeros(len(weights), np.float32)
        result = add_probabilities(result, fusion.fields.probabilities, self.thresholds)
        result = add_member_weights(result, np.stack(weights, axis=-1), blend.members)
        result = add_source_weights(
            result, np.stack([1 - of_nwp, of_nwp]), "weight of a source where radar and NWP are both known"
        )
        return result.assign_attrs(hindcasts=fusion.hindcasts)


def load_hybrid(path: str | Path, thresholds: Sequence[float] | None = None) -> Hybrid:
    """Load a model and make a nowcaster of it; ``"default"`` is the one that comes with the package."""
    model = _default_model() if path == DEFAULT else load_model(path)
    return Hybrid(model) if thresholds is None else Hybrid(model, thresholds=tuple(map(float, thresholds)))


@lru_cache(maxsize=1)
def _default_model() -> TrainedModel:
    return load_model(DEFAULT)


def single_member(hybrid: Hybrid, member: str) -> Hybrid:
    """Let one member alone speak, calibrated as it is: to see what each is worth."""
    model = hybrid.model if member == NETWORK else hybrid.model.without_network
    blend = model.blend
    if member not in blend.members:
        raise InputError(
            f"member {member!r}",
            f"the members of this model are {', '.join(blend.members)}",
            "Choose one of these, or train a model that has it",
        )
    weights = np.zeros_like(blend.weights)
    weights[..., blend.members.index(member)] = 1.0
    return replace(hybrid, model=replace(model, blend=replace(blend, weights=weights)), hindcasts=None)


def hindcasts_of(hybrid: Hybrid, coarse: xr.DataArray, live: HindcastSettings) -> list[Scored]:
    """Forecast again what has come since, from what was known then.

    For each lead time of `live` there is an issue time that long ago, if the frames reach back far enough; its
    forecasts for all lead times up to the latest frame are scored at randomly chosen cells.
    """
    found: list[Scored] = []
    if not _seen(coarse).size:
        return found
    now = coarse["time"].values[_seen(coarse)[-1]]
    generator = np.random.default_rng(0)
    for back in live.leads:
        issue = now - np.timedelta64(back, "m")
        recent = coarse.sel(time=slice(issue - HINDCAST_HISTORY, issue))
        if _seen(recent).size < 2 or recent["time"].values[_seen(recent)[-1]] != issue:
            continue
        leads = np.array([lead for lead in live.leads if lead <= back]) * MINUTE
        later = coarse.reindex(time=issue + leads).values
        cells = _choose(np.isfinite(later).any(axis=0), live.rows, generator)
        look = hybrid.seen(recent, leads, cells, moving=False)
        for of_lead, place, observed, lead in zip(look.rows, look.places, later, leads / MINUTE, strict=True):
            came = observed[cells[:, 0], cells[:, 1]]
            known = np.isfinite(came)
            if not known.any():
                continue
            scores = hybrid.members(of_lead[known], float(lead), look.said, place[known])
            found.append(Scored(float(lead), scores, came[known], np.ones(int(known.sum()), np.float32)))
    return found


# --- parts ----------------------------------------------------------------------------------------------------


def _seen(recent: xr.DataArray) -> NDArray[np.int64]:
    """Return which frames hold any value."""
    return np.flatnonzero(np.isfinite(recent.values).any(axis=(1, 2)))


def _choose(seen: NDArray[np.bool_], count: int, generator: np.random.Generator) -> NDArray[np.int32]:
    places = np.argwhere(seen).astype(np.int32)
    if len(places) <= count:
        return places
    return places[np.sort(generator.choice(len(places), count, replace=False))]


def _since_last(coarse: xr.DataArray, ahead: LeadTimes) -> LeadTimes:
    """Count lead times from the last time instead of the latest frame."""
    _, age = latest_frame(coarse)
    return ahead - age


def _exceeded(rate: Array, thresholds: Sequence[float]) -> Array:
    """Turn rates into probabilities 0 and 1; NaN stays."""
    reached = np.stack([rate >= np.float32(t) for t in thresholds]).astype(np.float32)
    reached[:, np.isnan(rate)] = np.nan
    return reached
