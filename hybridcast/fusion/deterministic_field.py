"""The deterministic field: one sharp field of rain rates from exceedance probabilities.

`deterministic_field` does probability matching on the fine grid. `fields_from_radar` and `fields_with_nwp` prepare its
arguments: the ranking of cells, the reference cells with their rates, and the target coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hybridcast.core.types import Array, Mask
from hybridcast.fusion.field_bands import FieldBands, FusedFields
from hybridcast.fusion.nwp_matching import NwpInformedTarget
from hybridcast.fusion.probability_matching import (
    LEAST_RATE,
    add_frame,
    expected_coverage,
    mean_rate,
    rank_cells,
    rank_transforms,
    sorted_descending,
    target_values,
)
from hybridcast.fusion.sampling_grid import LagrangianInterpolator
from hybridcast_kernels import scales_cpu
from hybridcast_kernels.parallel import threads


def deterministic_field(
    ranking: Array,
    *,
    reference_ranking: Array,
    reference: Array,
    values: Sequence[Array],
    thresholds: Sequence[float],
    expected: Array,
) -> Array:
    """Return rain rates in the order of a ranking, with given values and a coverage near the expected one.

    The relation of ranks to rates is found on reference cells: the rates assigned to them have the distribution of
    `values`, changed towards the expected coverage (`target_values`). The same relation holds for all cells.

    Parameters
    ----------
    ranking
        Ranking of the cells at the valid times, ``(lead, y, x)``; NaN where the field is unknown. It is written over.
    reference_ranking
        Ranking of the reference cells, ``(lead, row, column)``. It is written over.
    reference
        Field ``(row, column)`` that is NaN where a cell is no reference cell.
    values
        Rain rates, one array for each lead time with a value for each reference cell, mm h-1, highest first.
    thresholds
        mm h-1, increasing.
    expected
        Fraction of the reference cells that is expected to reach each threshold, ``(lead, threshold)``.

    Returns
    -------
    ndarray
        mm h-1, ``(lead, y, x)``, in the memory of `ranking`.
    """
    wet = [target_values(of_lead, thresholds, target) for of_lead, target in zip(values, expected, strict=True)]
    transforms = rank_transforms(reference_ranking, reference, wet)
    return scales_cpu.apply_rank_transforms(ranking, transforms, out=ranking)


class NodeProbabilities(NamedTuple):
    """Exceedance probabilities of the air of the latest frame, on the sampling nodes."""

    values: Array
    """Shape ``(threshold, node lead, y, x)``."""
    known: Mask
    """Nodes that are known in the latest frame, ``(y, x)``."""
    thresholds: tuple[float, ...]
    """mm h-1, increasing."""
    wanted: list[int]
    """Numbers of the thresholds whose probabilities are brought to the fine grid."""


def fields_from_radar(nodes: NodeProbabilities, interpolator: LagrangianInterpolator) -> FieldBands:
    """Return the fields for the air of the latest frame, with the values of that frame, as bands yet to be made.

    The reference cells are those of the frame: its air, ranked by the forecast for the lead time.
    """
    frame, leads = interpolator.latest.frame, interpolator.latest.leads.size
    ranking = rank_cells(mean_rate(nodes.values, nodes.thresholds), nodes.known)
    planes = interpolator.to_leads(np.concatenate([ranking[None], nodes.values[nodes.wanted]]))
    expected = interpolator.fractions_to_leads(
        expected_coverage(of_lead[:, nodes.known] for of_lead in nodes.values.swapaxes(0, 1))
    )
    values, transforms = sorted_descending(frame), []
    for first in range(0, leads, threads()):  # no more lead times at once than there are threads for
        some = slice(first, min(first + threads(), leads))
        wet = [target_values(values, nodes.thresholds, target) for target in expected[some]]
        of_frame = add_frame(
            interpolator.enlarge_in_workspace(planes[0, some]), frame[None], np.ones(len(wet), np.float32)
        )
        transforms += rank_transforms(of_frame, frame, wet)
    return FieldBands(interpolator, planes, transforms)


def fields_with_nwp(
    nodes: NodeProbabilities, target: NwpInformedTarget, interpolator: LagrangianInterpolator, advected: Array
) -> FusedFields:
    """Return the fields for the air of the latest frame and for the inflow, with values of that frame and of NWP.

    The reference cells are those of the frame, and those that the inflow covers at the lead time. `advected` is the
    latest frame at the lead times, mm h-1, ``(lead, y, x)``.
    """
    ranking, inflow_ranking = _rank_with_nwp(nodes, target)
    planes = interpolator.to_leads(np.concatenate([ranking[None], nodes.values[nodes.wanted]]))
    inflow = np.concatenate([inflow_ranking[None], target.inflow.probabilities[nodes.wanted], target.inflow.rate[None]])
    inflow_planes = interpolator.to_leads(inflow)
    expected = interpolator.fractions_to_leads(expected_coverage(target.concatenate_cells(nodes.values)))
    weight = interpolator.weights_to_leads(target.radar_weight)
    fields = interpolator.advect(planes, advected)
    add_frame(fields[0], advected, weight)
    for lead, node_lead in enumerate(interpolator.nearest_nodes()):
        inflow_fields = _inflow_fields(inflow_planes[:, lead], interpolator, advected[lead])
        inflow_rate = inflow_fields[-1]
        inside = np.isfinite(inflow_rate)
        fields[:, lead, inside] = inflow_fields[:-1, inside]
        frame_ranking = interpolator.enlarge(planes[:1, lead])
        add_frame(frame_ranking, target.frame[None], weight[[lead]])
        deterministic_field(
            fields[:1, lead],
            reference_ranking=np.concatenate([frame_ranking, inflow_fields[:1]], axis=1),
            reference=np.concatenate([target.frame, inflow_rate]),
            values=[target.values(int(node_lead), inflow_rate)],
            thresholds=nodes.thresholds,
            expected=expected[lead : lead + 1],
        )
    return FusedFields(fields[0], advected, fields[1:])


def _rank_with_nwp(nodes: NodeProbabilities, target: NwpInformedTarget) -> tuple[Array, Array]:
    """Rank the air of the latest frame, without the rates of that frame, and the inflow; each ``(node lead, y, x)``."""
    inflow = target.inflow
    mean = mean_rate(nodes.values, nodes.thresholds) + LEAST_RATE
    inflow_mean = mean_rate(np.nan_to_num(inflow.probabilities), nodes.thresholds) + LEAST_RATE
    return mean * target.nwp_factor(target.nwp_rate), inflow_mean * target.nwp_factor(inflow.rate)


def _inflow_fields(planes: Array, interpolator: LagrangianInterpolator, advected: Array) -> Array:
    """Return planes ``(set, y, x)`` of the inflow on the fine grid, NaN where `advected` is known.

    The first is the ranking, which is returned in logarithms.
    """
    fields = interpolator.enlarge(planes)
    fields[:, np.isfinite(advected) | np.isnan(fields).any(axis=0)] = np.nan
    fields[0] = np.log2(fields[0])
    return fields
