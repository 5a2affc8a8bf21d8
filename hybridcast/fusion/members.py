"""Evaluation of the members of a model: their inputs for an issue time, and their blended probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.types import Array, LeadTimes
from hybridcast.learned.blend import Blend
from hybridcast.learned.boosting import enforce_decreasing
from hybridcast.learned.logistic import probability
from hybridcast.learned.member import FieldMember, FieldOutput, Member, MemberInputs, evaluate_members
from hybridcast.learned.network_inputs import build_network_inputs
from hybridcast.learned.nwp_stage import NwpStage, Overlap, fit_nwp_weight
from hybridcast.learned.predictor_rows import nwp_rain_rate
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
from hybridcast_kernels.parallel import over_bands

NO_SOURCES = Sources()
#: Rows that a thread evaluates members at, one block after the other: their predictors take 2 MB.
BLOCK_ROWS = 2**13
#: Cost of a row, in cells that a kernel processes.
ROW_WORK = 1000

InputsOf = Callable[[slice], MemberInputs]
"""Function that makes the inputs of some rows at a lead time, in any thread."""
Evaluate = Callable[[MemberInputs], dict[str, Array]]
"""Function from inputs to the log odds of members by name, ``(threshold, row)`` each."""


def prepare_inputs(
    members: Iterable[Member],
    coarse: xr.DataArray,
    lead_times: LeadTimes,
    cells: NDArray[np.int32],
    *,
    lagrangian: bool,
    sources: Sources = NO_SOURCES,
) -> tuple[PredictorState, InputsByLead]:
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
        return state, InputsByLead(LagrangianPredictors(state, cells).of_lead, [cells] * len(lead_times), outputs)
    rows = predictors_eulerian(state, cells)
    return state, InputsByLead(lambda lead: rows[lead].__getitem__, list(departure_points(state, cells)), outputs)


class InputsByLead(Sequence[MemberInputs]):
    """Inputs of the members, made for one lead time after the other, and for all of its rows or some of them."""

    def __init__(
        self,
        predictors_of: Callable[[int], Callable[[slice], Array]],
        points: Sequence[NDArray[Any]],
        outputs: Mapping[str, FieldOutput],
    ) -> None:
        self._predictors_of, self._points, self._outputs = predictors_of, points, outputs

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, lead: Any) -> Any:
        """Return the inputs at a lead time."""
        return self.of_lead(lead)(slice(None))

    @property
    def rows(self) -> int:
        """Number of rows at a lead time."""
        return len(self._points[0])

    def of_lead(self, lead: int) -> InputsOf:
        """Return a function that makes the inputs of some rows at a lead time, in any thread."""
        predictors, points = self._predictors_of(lead), self._points[lead]
        return lambda rows: MemberInputs(predictors(rows), points[rows], self._outputs)


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


class Blended(NamedTuple):
    """Members blended at some rows."""

    probabilities: Array
    """Exceedance probabilities, ``(threshold, lead, row)``."""
    nwp_weight: Array
    """Weight of NWP in them where the radar knows the air too, ``(lead,)``; NaN without."""
    nwp_rate: Array
    """NWP rain, mm h-1, ``(lead, row)``, NaN where it is unknown; of no lead time without a stage with NWP."""


def blend_members(
    members: Sequence[Member],
    blend: Blend,
    nwp_stage: NwpStage | None,
    inputs: InputsByLead,
    lead_minutes: Sequence[float],
) -> Blended:
    """Evaluate members and blend them, so that the predictors of few rows are in memory at a time.

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
    """
    leads, rows = len(lead_minutes), inputs.rows
    probabilities = np.empty((len(blend.thresholds), leads, rows), np.float32)
    rates = np.empty((leads if nwp_stage else 0, rows), np.float32)
    weights = np.full(leads, np.nan, np.float32)
    for lead, minutes in enumerate(lead_minutes):
        evaluate, out = partial(evaluate_members, members, lead_minutes=minutes), probabilities[:, lead]
        if nwp_stage is None:
            _blend_radar(blend, evaluate, inputs.of_lead(lead), minutes, out)
        else:
            weights[lead] = _blend_nwp(blend, nwp_stage, evaluate, inputs.of_lead(lead), minutes, out, rates[lead])
    return Blended(probabilities, weights, rates)


def _blend_radar(blend: Blend, evaluate: Evaluate, inputs: InputsOf, minutes: float, out: Array) -> None:
    """Write the probabilities of a lead time, ``(threshold, row)``, to `out`."""

    def of_block(rows: slice) -> None:
        out[:, rows] = _probabilities(blend.log_odds(evaluate(inputs(rows)), minutes))

    _over_blocks(of_block, out.shape[1])


def _blend_nwp(
    blend: Blend, stage: NwpStage, evaluate: Evaluate, inputs: InputsOf, minutes: float, out: Array, rates: Array
) -> float:
    """Do as `_blend_radar`, write NWP rain, mm h-1, ``(row,)``, to `rates`, and return the weight of NWP."""
    overlaps: dict[int, Overlap] = {}

    def of_block(rows: slice) -> None:
        of_rows = inputs(rows)
        members = evaluate(of_rows)
        log_odds, overlaps[rows.start] = stage.reblend(
            blend.log_odds(members, minutes), members, of_rows.predictors, minutes
        )
        out[:, rows] = _probabilities(log_odds)
        rates[rows] = nwp_rain_rate(of_rows.predictors)

    _over_blocks(of_block, out.shape[1])
    return fit_nwp_weight([overlaps[start] for start in sorted(overlaps)])


def _over_blocks(of_block: Callable[[slice], None], rows: int) -> None:
    """Call a function for each block of `BLOCK_ROWS` rows, on all threads."""
    starts = range(0, max(rows, 1), BLOCK_ROWS)  # one block at least, for the shapes of its results

    def blocks(first: int, last: int) -> None:
        for start in starts[first:last]:
            of_block(slice(start, min(start + BLOCK_ROWS, rows)))

    over_bands(blocks, len(starts), BLOCK_ROWS * ROW_WORK)


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
