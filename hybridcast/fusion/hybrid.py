"""Late fusion: advection, scale filter, boosting and network, blended by lead time.

1. The frames are averaged onto the cells that the model was trained on (about 2 km), and their motion is estimated.
2. Predictors are computed at every second of these cells, in Lagrangian coordinates, for a few lead times.
3. Each member estimates the log odds that thresholds are reached. The weights of the members were fitted on events kept
   out of training, and are adapted by hindcasts from half an hour and an hour ago (`hybridcast.fusion.hindcasts`).
4. Probabilities are interpolated in time in Lagrangian coordinates, and carried along the motion to the fine grid.
5. Cells are ordered by the mean of their blended probabilities and by the heavy rain of the latest frame, carried along
   the motion, and get the rates of that frame (`hybridcast.fusion.deterministic_field`). Their coverage lies between
   that of the frame and the one expected from the probabilities.

With NWP, members that use it are blended too (`hybridcast.learned.nwp_stage`). Where the air comes from outside the
radar coverage only those are (`hybridcast.fusion.inflow`); without NWP such air is unknown, NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.advection import LONGEST_STEP
from hybridcast.core.device import resolve_device
from hybridcast.core.durations import check_lead_times
from hybridcast.core.forecast_schema import (
    add_advected,
    add_ensemble,
    add_member_weights,
    add_motion,
    add_probabilities,
    add_source_weights,
    forecast_dataset,
)
from hybridcast.core.grid import cell_size, coarsen
from hybridcast.core.types import MINUTE, Array, LeadTimes
from hybridcast.core.zarr_folders import TILE_ROWS, is_large
from hybridcast.ensembles.noise import MemberCount
from hybridcast.ensembles.realizations import ByLead
from hybridcast.errors import InputError
from hybridcast.fusion.coverage_correction import correct_coverage
from hybridcast.fusion.deterministic_field import NodeProbabilities, fields_from_radar, fields_with_nwp
from hybridcast.fusion.field_bands import FusedFields
from hybridcast.fusion.hindcasts import HindcastSettings, adapt_weights, make_hindcasts
from hybridcast.fusion.inflow import Inflow, compute_inflow
from hybridcast.fusion.members import (
    NO_SOURCES,
    InputsByLead,
    blend_members,
    nwp_probabilities,
    prepare_inputs,
    select_members,
)
from hybridcast.fusion.node_choice import NodeChoice
from hybridcast.fusion.nwp_matching import NwpInformedTarget
from hybridcast.fusion.realizations import make_realizations
from hybridcast.fusion.sampling_grid import LagrangianInterpolator, LatestFrame, SamplingGrid, node_lead_times
from hybridcast.learned.blend import Blend
from hybridcast.learned.member import Member
from hybridcast.learned.nwp_stage import NwpStage
from hybridcast.learned.trained_model import DEFAULT, TrainedModel, is_default, load_model
from hybridcast.motion.estimate import DenseFlow, MotionMethod, cells_per_step
from hybridcast.nowcasters.base import latest_frame, radar_status
from hybridcast.nowcasters.scale_filter_ensemble import scale_filter_members
from hybridcast.predictors.sources import Sources, add_wind_guidance, coarsen_sources
from hybridcast.predictors.state import PredictorState
from hybridcast.settings import ScaleFilterSettings
from hybridcast_kernels.devices import Device, kernels_for
from hybridcast_kernels.workspace import workspace_of_this_thread

#: Fewest sampling nodes along an axis: with fewer, their probabilities do not tell wet from dry cells between them.
FEWEST_NODES = 3
#: Maximum size of cells, as a multiple of that of the training: the statistics of coarser cells are different.
MAX_COARSENESS = 2.5


class Fusion(NamedTuple):
    """Fields on the fine grid, and the weights that they were made with."""

    fields: FusedFields
    blend: Blend
    """Weights of the members."""
    hindcasts: int = 0
    """Number of hindcasts that the weights were adapted with."""
    nwp_weight: Array | None = None
    """Weight of NWP against radar, ``(lead,)``; None without NWP."""
    members: da.Array | None = None
    """Members of an ensemble, ``(realization, lead, y, x)``; None if there are none to make."""


class EvaluatedNodes(NamedTuple):
    """Blended members at the sampling nodes."""

    grid: SamplingGrid
    leads: LeadTimes
    """Lead times of the nodes."""
    nodes: NodeProbabilities
    weight: Array
    """Weight of NWP in the blend, ``(lead,)``; NaN without."""
    blend: Blend
    hindcasts: int
    """Number of hindcasts that the weights were adapted with."""
    state: PredictorState | None
    """State of the predictors; None without NWP, which alone needs it further."""
    nwp_rate: Array | None
    """NWP rain where the radar's air will be, mm h-1, ``(lead, y, x)``; None without NWP."""


@dataclass(frozen=True)
class Hybrid:
    """Nowcaster that blends advection, scale filter and trained members, see `hybridcast.fusion.hybrid`."""

    model: TrainedModel
    """Members and their weights."""
    motion: MotionMethod = field(default_factory=DenseFlow)
    """Method that estimates the motion on the fine grid."""
    thresholds: tuple[float, ...] = (0.1, 1.0, 5.0)
    """Rain rates (mm h-1) of the exceedance probabilities, among those of the model."""
    hindcasts: HindcastSettings | None = field(default_factory=HindcastSettings)
    """Settings of the hindcasts that adapt the weights; None leaves the weights as they were learned."""
    stride: int = 2
    """Members are evaluated at every `stride`-th cell of the model's grid along both axes."""
    device: Device = "auto"
    """Device that advects the latest frame. The motion has a setting of its own; the members run on the CPU."""
    sources: Sources = field(default_factory=Sources)
    """Observations and forecasts other than radar."""
    members: int = 0
    """Number of members of an ensemble."""
    seed: int = 0
    """Seed of the members."""

    def __post_init__(self) -> None:
        """Refuse thresholds that the model does not have."""
        unknown = [t for t in self.thresholds if t not in self.model.thresholds]
        if unknown or not self.thresholds or list(self.thresholds) != sorted(set(self.thresholds)):
            raise InputError(
                f"thresholds are {self.thresholds}",
                f"they increase and are among {self.model.thresholds} mm/h, which the model was trained for",
                "Choose from these",
            )

    @property
    def name(self) -> str:
        """Name in results."""
        return "hybridcast"

    @property
    def fingerprint(self) -> str:
        """Text that differs between nowcasters whose forecasts may differ."""
        parts = (
            self.model.fingerprint,
            self.motion,
            self.thresholds,
            self.hindcasts,
            self.stride,
            self.sources.reports,
            self.members,
            self.seed,
        )
        return f"Hybrid{parts!r}"

    def describe_settings(self) -> dict[str, object]:
        """Return the settings, as attributes of forecasts have them."""
        return {
            "motion": self.motion.name,
            "thresholds": self.thresholds,
            "hindcasts": None if self.hindcasts is None else asdict(self.hindcasts),
            "stride": self.stride,
            "model": self.model.fingerprint,
            "regions_left_out": self.model.about.get("regions_left_out"),
        }

    def with_sources(self, sources: Sources) -> Hybrid:
        """Return the nowcaster with other sources than radar."""
        return replace(self, sources=sources)

    def with_members(self, count: int, seed: int) -> Hybrid:
        """Return the nowcaster with an ensemble, see `hybridcast.nowcasters.base.MakesMembers`."""
        return replace(self, members=count, seed=seed)

    @property
    def nwp_stage(self) -> NwpStage | None:
        """Weights of members with NWP; None without NWP rain, or if the model was trained without."""
        return self.model.nwp_stage if self.sources.has_rain else None

    @property
    def _members(self) -> list[Member]:
        """Members that have a weight, with the sources at hand."""
        return select_members(self.model.members, self.model.blend, self.nwp_stage)

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return the forecast, see `hybridcast.nowcasters.base.Nowcaster` and `hybridcast.core.forecast_schema`.

        It holds exceedance probabilities, the rain rate of advection alone, the weights of members and of sources, and
        the motion too.
        """
        return self._forecast(recent, lead_times, lazy=False)

    def forecast_lazily(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """Return the forecast with lazy fields, see `hybridcast.nowcasters.base.MakesBands`.

        With NWP they are in memory.
        """
        return self._forecast(recent, lead_times, lazy=True)

    def count_fields(self) -> int:
        """Return the number of fields at each lead time, without those of an ensemble."""
        return 2 + len(self.thresholds)

    def _forecast(self, recent: xr.DataArray, lead_times: LeadTimes, *, lazy: bool) -> xr.Dataset:
        leads = check_lead_times(lead_times)
        motion = add_wind_guidance(self.motion, self.sources, recent).estimate(recent)
        latest = _follow(recent, leads, motion)
        if is_large(recent):
            workspace_of_this_thread().forget()  # what the motion worked with
        reason = self._fallback_reason(recent)
        fusion = self._advection_alone(recent, motion, latest, lazy) if reason else self._fuse(recent, latest, lazy)
        result = add_motion(self._label(recent, leads, fusion), motion)
        return result.assign_attrs({"fallback": reason} if reason else {})

    def _advect(self, latest: LatestFrame) -> Array:
        """Return the latest frame at the lead times, mm h-1, ``(lead, y, x)``; NaN where air comes from outside."""
        kernels = kernels_for(resolve_device(self.device))
        advected: Array = kernels.advect(latest.frame[None], latest.flow, latest.minutes, longest_step=LONGEST_STEP)[0]
        return advected

    def _advect_on_gpu(self, latest: LatestFrame) -> Array | None:
        """Return the latest frame at the lead times if a GPU advects it; on the CPU it is advected with the fields."""
        return self._advect(latest) if resolve_device(self.device) == "cuda" else None

    def _fallback_reason(self, recent: xr.DataArray) -> str:
        """Return the reason why the members cannot be evaluated; empty if they can."""
        size, spacing = cell_size(recent) / 1e3, self.model.spacing / 1e3
        if size > MAX_COARSENESS * spacing:
            return f"advection alone: cells of {size:.1f} km, the model is made for {spacing:.1f} km"
        latest, _ = latest_frame(recent)
        coarse = coarsen(latest, self.model.spacing)
        if min(coarse.shape) <= (FEWEST_NODES - 1) * self.stride:
            return f"advection alone: the grid has fewer than {FEWEST_NODES} sampling nodes along an axis"
        if self.nwp_stage is not None:
            return ""
        if not np.isfinite(latest.values).any():
            return "advection alone: no radar data"
        if not np.isfinite(coarse.values).any():
            return f"advection alone: no cell of {spacing:.1f} km is seen by half in the latest frame"
        return ""

    def _advection_alone(self, recent: xr.DataArray, motion: xr.Dataset, latest: LatestFrame, lazy: bool) -> Fusion:
        """Return the advected frame, with probabilities 0 and 1; members are those of the scale filter."""
        advected = self._advect(latest)
        rate = da.from_array(advected, chunks=(-1, TILE_ROWS, -1), name=False) if lazy else advected
        exceeded = np.stack([np.where(np.isnan(rate), rate, rate >= np.float32(t)) for t in self.thresholds])
        members = None
        if self.members:
            leads, count = latest.leads - latest_frame(recent)[1], MemberCount(self.members, self.seed)
            members = scale_filter_members(recent, motion, leads, advected, count, ScaleFilterSettings())
        return Fusion(FusedFields(rate, rate, exceeded), self.model.blend, members=members)

    def _fuse(self, recent: xr.DataArray, latest: LatestFrame, lazy: bool) -> Fusion:
        """Evaluate and blend the members at the sampling nodes, and make the fields on the fine grid."""
        made, stage = self._evaluate_nodes(recent, latest), self.nwp_stage
        interpolator = LagrangianInterpolator(made.grid, made.leads, latest)
        if stage is None:
            bands = fields_from_radar(made.nodes, interpolator)
            fields = bands.to_dask() if lazy else bands.compute(self._advect_on_gpu(latest))
            draw = partial(self._draw, recent, made.nodes, interpolator, None)
            drawn = draw(bands.known() if lazy else fields.rate) if self.members else None
            return Fusion(fields, made.blend, made.hindcasts, members=drawn)
        assert made.state is not None  # there is a stage with NWP
        assert made.nwp_rate is not None
        evaluate = partial(nwp_probabilities, self.model.members, stage)
        inflow = compute_inflow(made.state, made.grid.nodes, made.grid.shape, evaluate)
        target = NwpInformedTarget(latest.frame, made.nodes.known, made.nwp_rate, made.weight, inflow)
        nwp_weight = interpolator.weights_to_leads(np.nan_to_num(made.weight, nan=1.0))
        fields = fields_with_nwp(made.nodes, target, interpolator, self._advect(latest))
        draw = partial(self._draw, recent, made.nodes, interpolator, inflow)
        drawn = draw(fields.rate, fields.advected) if self.members else None
        return Fusion(fields, made.blend, made.hindcasts, nwp_weight, drawn)

    def _evaluate_nodes(self, recent: xr.DataArray, latest: LatestFrame) -> EvaluatedNodes:
        """Evaluate and blend the members at the sampling nodes."""
        coarse = coarsen(recent, self.model.spacing)
        grid = SamplingGrid.over(recent, coarse, self.model.spacing, self.stride)
        leads, nodes, stage = node_lead_times(latest.leads), grid.nodes_near(latest.frame), self.nwp_stage
        sparse = is_large(recent) and stage is None  # NWP may have rain where the radar has none
        choice = NodeChoice.near_rain(grid, nodes, coarse) if sparse else NodeChoice.all_of(grid, nodes)
        prepare = partial(self._prepare, recent, coarse, leads, choice.evaluated)
        if is_large(recent):  # the predictors of both at the same time would take twice the memory
            (blend, hindcasts), (state, inputs) = self._adapt_blend(coarse), prepare()
            workspace_of_this_thread().forget()  # what the scale filter worked with
        else:
            with ThreadPoolExecutor(1) as pool:  # hindcasts and the forecast itself do not wait for each other
                adapted = pool.submit(self._adapt_blend, coarse)
                state, inputs = prepare()
                blend, hindcasts = adapted.result()
        blended = blend_members(self._members, blend, stage, inputs, (leads / MINUTE).tolist())
        frame, kept = latest_frame(coarse)[0], None if stage is None else state
        del state, inputs  # the largest part of the memory
        found, nwp_rate = blended.probabilities, None
        if stage is None:
            found = correct_coverage(choice.complete(found), frame, blend.thresholds, leads / MINUTE)
        else:
            nwp_rate = grid.fill(blended.nwp_rate[None], nodes, np.nan)[0]
        known = grid.sample(np.isfinite(frame.values))
        at_nodes = NodeProbabilities(grid.fill(found, nodes), known, blend.thresholds, self._wanted)
        return EvaluatedNodes(grid, leads, at_nodes, blended.nwp_weight, blend, hindcasts, kept, nwp_rate)

    def _draw(
        self,
        recent: xr.DataArray,
        nodes: NodeProbabilities,
        interpolator: LagrangianInterpolator,
        inflow: Inflow | None,
        known: ByLead,
        advected: ByLead | None = None,
    ) -> da.Array:
        """Return the members of the ensemble, see `make_realizations`."""
        count = MemberCount(self.members, self.seed)
        return make_realizations(nodes, interpolator, inflow, known, recent, count, advected)

    def _prepare(
        self, recent: xr.DataArray, coarse: xr.DataArray, node_leads: LeadTimes, nodes: NDArray[np.int32]
    ) -> tuple[PredictorState, InputsByLead]:
        """Prepare the inputs of the members for the air over the nodes, at lead times after the latest frame."""
        sources = NO_SOURCES
        if self.nwp_stage is not None:
            sources = coarsen_sources(self.sources, recent, coarse, self.model.spacing)
        leads = node_leads - latest_frame(recent)[1]
        return prepare_inputs(self._members, coarse, leads, nodes, lagrangian=True, sources=sources)

    def _adapt_blend(self, coarse: xr.DataArray) -> tuple[Blend, int]:
        """Return the weights adapted by hindcasts, and the number of hindcasts."""
        model = self.model
        if self.hindcasts is None:
            return model.blend, 0
        members = select_members(model.members, model.blend, None)
        hindcasts = make_hindcasts(members, coarse, self.hindcasts)
        return adapt_weights(model.blend, hindcasts, self.hindcasts), len(hindcasts)

    @property
    def _wanted(self) -> list[int]:
        """Numbers of the thresholds among those of the model."""
        return [self.model.thresholds.index(threshold) for threshold in self.thresholds]

    def _label(self, recent: xr.DataArray, leads: LeadTimes, fusion: Fusion) -> xr.Dataset:
        """Return the forecast with the names, dimensions and attributes of `hybridcast.core.forecast_schema`."""
        blend, nwp_weight = fusion.blend, fusion.nwp_weight
        if nwp_weight is None:
            nwp_weight = np.zeros(leads.size, np.float32)
        member_weights = [blend.weights_at(m)[self._wanted, :-1].T for m in leads / MINUTE]
        status = radar_status(recent, latest_frame(recent)[1])
        result = forecast_dataset(fusion.fields.rate, recent, leads, nowcaster=self.name, status=status)
        result = add_advected(result, fusion.fields.advected)
        if fusion.members is not None:
            result = add_ensemble(result, fusion.members, rate_is_mean=False)
        result = add_probabilities(result, fusion.fields.probabilities, self.thresholds)
        result = add_member_weights(result, np.stack(member_weights, axis=-1), blend.members)
        result = add_source_weights(
            result, np.stack([1 - nwp_weight, nwp_weight]), "weight of a source where radar and NWP are both known"
        )
        return result.assign_attrs(hindcasts=fusion.hindcasts)


def _follow(recent: xr.DataArray, leads: LeadTimes, motion: xr.Dataset) -> LatestFrame:
    """Return the latest frame with the motion that its air follows."""
    latest, age = latest_frame(recent)
    frame = np.ascontiguousarray(latest.values, np.float32)
    return LatestFrame(frame, leads + age, cells_per_step(motion, MINUTE))


def load_hybrid(path: str | Path, thresholds: Sequence[float] | None = None) -> Hybrid:
    """Load a model and return a nowcaster with it; ``"default"`` is the model that comes with the package."""
    model = _load_default_model() if is_default(path) else load_model(path)
    return Hybrid(model) if thresholds is None else Hybrid(model, thresholds=_as_thresholds(thresholds))


def _as_thresholds(given: Any) -> tuple[float, ...]:
    try:
        return tuple(map(float, given))
    except (TypeError, ValueError) as error:
        rule = "they are a list of rain rates in mm/h"
        raise InputError(f"thresholds = {given!r}", rule, "Give, for example, thresholds=[0.1, 1, 5]") from error


@lru_cache(maxsize=1)
def _load_default_model() -> TrainedModel:
    return load_model(DEFAULT)


def single_member(hybrid: Hybrid, member: str) -> Hybrid:
    """Return a nowcaster in which one member has all the weight, without hindcasts."""
    model = hybrid.model
    blends = [blend for blend in model.blends if member in blend.members]
    if not blends:
        raise InputError(
            f"member {member!r}",
            f"the members of this model are {', '.join(model.blend.members)}",
            "Choose one of these, or train a model that has it",
        )
    blend = blends[-1]  # with as few other members as possible
    weights = np.zeros_like(blend.weights)
    weights[..., blend.members.index(member)] = 1.0
    return replace(hybrid, model=model.with_blends(replace(blend, weights=weights)), hindcasts=None)
