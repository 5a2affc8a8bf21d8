"""Evaluation of the members of a model: their inputs for an issue time, and their blended probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.types import Array, LeadTimes
from hybridcast.learned.blend import Blend
from hybridcast.learned.boosting import enforce_decreasing
from hybridcast.learned.logistic import probability
from hybridcast.learned.member import FieldMember, FieldOutput, Member, MemberInputs, evaluate_members
from hybridcast.learned.network_inputs import build_network_inputs
from hybridcast.learned.nwp_stage import NwpStage
from hybridcast.motion.estimate import DenseFlow
from hybridcast.nowcasters.scale_filter import filter_scales
from hybridcast.predictors.sources import Sources, add_wind_guidance, compute_source_predictors
from hybridcast.predictors.state import (
    LagrangianPredictors,
    PredictorState,
    build_predictor_state,
    departure_points,
    predictors_eulerian,
)

NO_SOURCES = Sources()


def prepare_inputs(
    members: Iterable[Member],
    coarse: xr.DataArray,
    lead_times: LeadTimes,
    cells: NDArray[np.int32],
    *,
    lagrangian: bool,
    sources: Sources = NO_SOURCES,
) -> tuple[PredictorState, Sequence[MemberInputs]]:
    """Return the state that predictors are taken from, and the inputs of the members at each lead time.

    Parameters
    ----------
    members
        Members to be evaluated.
    coarse
        Frames up to the issue time, on the cells that the members were trained on.
    lead_times
        ``timedelta64``, from the last time of `coarse`, shape ``(lead,)``.
    cells
        Row and column of cells, shape ``(cell, 2)``.
    lagrangian
        Whether the inputs are those of the air that is over the cells at the issue time, or at the lead time.
    sources
        Other sources than radar, on the cells of `coarse`.
    """
    motion = add_wind_guidance(DenseFlow(), sources, coarse).estimate(coarse)
    smooth = filter_scales(coarse, motion, lead_times)["filtered_dbr"]
    others = compute_source_predictors(sources, coarse, motion, lead_times)
    state = build_predictor_state(coarse, motion, lead_times, smooth, others)
    outputs = _apply_field_members(members, coarse, motion, smooth)
    if lagrangian:
        return state, InputsByLead(LagrangianPredictors(state, cells), [cells] * len(lead_times), outputs)
    return state, InputsByLead(predictors_eulerian(state, cells), list(departure_points(state, cells)), outputs)


class InputsByLead(Sequence[MemberInputs]):
    """Inputs of the members, made for one lead time after the other."""

    def __init__(
        self, predictors: Sequence[Array] | Array, points: Sequence[NDArray[Any]], outputs: Mapping[str, FieldOutput]
    ) -> None:
        self._predictors, self._points, self._outputs = predictors, points, outputs

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, lead: Any) -> Any:
        """Return the inputs at a lead time."""
        return MemberInputs(self._predictors[lead], self._points[lead], self._outputs)


def _apply_field_members(
    members: Iterable[Member], coarse: xr.DataArray, motion: xr.Dataset, smooth: xr.DataArray
) -> dict[str, FieldOutput]:
    """Return the output of the members that work on the whole field, by name."""
    of_fields = [member for member in members if isinstance(member, FieldMember)]
    if not of_fields:
        return {}
    inputs = build_network_inputs(coarse, motion, smooth=smooth)
    return {member.name: member.apply(inputs) for member in of_fields}


def select_members(members: Mapping[str, Member], blend: Blend, nwp_stage: NwpStage | None) -> list[Member]:
    """Return the members that have a weight in the blend or in the NWP stage."""
    names = dict.fromkeys([*blend.members, *(() if nwp_stage is None else nwp_stage.members)])
    return [members[name] for name in names]


def blend_members(
    members: Sequence[Member],
    blend: Blend,
    nwp_stage: NwpStage | None,
    inputs: Sequence[MemberInputs],
    lead_minutes: Iterable[float],
) -> tuple[Array, Array]:
    """Evaluate members and blend them.

    Parameters
    ----------
    members
        All members that have a weight.
    blend
        Weights where NWP rain is unknown.
    nwp_stage
        Weights where NWP rain is known; None without NWP.
    inputs
        Inputs of the members, one for each lead time.
    lead_minutes
        Lead times, min.

    Returns
    -------
    tuple
        Exceedance probabilities ``(threshold, lead, row)``, and the weights of NWP in them, ``(lead,)``; NaN without.
    """
    blended, weights = [], []
    for of_lead, minutes in zip(inputs, lead_minutes, strict=True):
        member_log_odds = evaluate_members(members, of_lead, minutes)
        log_odds, weight = blend.log_odds(member_log_odds, minutes), np.nan
        if nwp_stage is not None:
            log_odds, weight = nwp_stage.reblend(log_odds, member_log_odds, of_lead.predictors, minutes)
        blended.append(_probabilities(log_odds))
        weights.append(weight)
    return np.stack(blended, axis=1), np.array(weights, np.float32)


def nwp_probabilities(
    members: Mapping[str, Member], nwp_stage: NwpStage, inputs: MemberInputs, lead_minutes: float
) -> Array:
    """Return exceedance probabilities of the NWP stage, ``(threshold, row)``, for rows that all have NWP rain."""
    member_log_odds = evaluate_members([members[name] for name in nwp_stage.members], inputs, lead_minutes)
    unknown = np.full((len(nwp_stage.with_radar.thresholds), len(inputs.predictors)), np.nan, np.float32)
    log_odds, _ = nwp_stage.reblend(unknown, member_log_odds, inputs.predictors, lead_minutes)
    return _probabilities(log_odds)


def _probabilities(log_odds: Array) -> Array:
    """Return probabilities from blended log odds, ``(threshold, ...)``.

    Each threshold has weights of its own, so that the log odds of two of them may cross.
    """
    return probability(enforce_decreasing(log_odds))
