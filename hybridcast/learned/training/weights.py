"""Weights of members, fitted on their forecasts for events left out; the choice of optional members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hybridcast.learned.blend import Blend, fit_blend
from hybridcast.learned.members import NWP_MEMBERS, OPTIONAL_MEMBERS, RADAR_MEMBERS
from hybridcast.learned.nwp_stage import NwpStage
from hybridcast.learned.training.brier_scores import compute_brier_scores, format_scores, name_blend, relative_gain
from hybridcast.learned.training.cross_validation import Validation
from hybridcast.learned.training.sample_store import Report

#: Fraction by which an optional member has to lower the Brier score of the blend to be kept.
MIN_GAIN = 0.002
#: Minimum number of rows for the weights of the NWP stage at a lead time.
MIN_ROWS = 50


class FittedWeights(NamedTuple):
    """Weights of members, fitted on events left out."""

    blends: tuple[Blend, ...]
    """See `hybridcast.learned.trained_model.TrainedModel`."""
    nwp_stage: NwpStage | None
    brier_scores: dict[str, Any]
    """See `hybridcast.learned.training.brier_scores.Scores`."""

    @property
    def members(self) -> set[str]:
        """Names of the members that have a weight."""
        of_stage = () if self.nwp_stage is None else self.nwp_stage.members
        return {*of_stage, *(name for blend in self.blends for name in blend.members)}


def fit_weights(validation: Validation, thresholds: Sequence[float], report: Report) -> FittedWeights:
    """Fit the weights of members on their forecasts for events left out, and decide which optional members to keep."""
    available = validation.all_rows[0].log_odds
    optional = [name for name in OPTIONAL_MEMBERS if name in available]
    candidates = [fit_blend(RADAR_MEMBERS, thresholds, validation.all_rows)]
    candidates += [fit_blend((*RADAR_MEMBERS, name), thresholds, validation.all_rows) for name in optional]
    scores: dict[str, Any] = {}
    for blend in candidates:
        scores |= compute_brier_scores(blend, validation.all_rows)
    _report_scores(scores, report)
    blends = select_blends(candidates, scores, report)
    stage = fit_nwp_stage(validation, thresholds)
    if stage is not None:
        nwp_scores = score_nwp_stage(stage, validation)
        _report_scores(nwp_scores, report)
        scores |= nwp_scores
    return FittedWeights(blends, stage, scores)


def select_blends(candidates: Sequence[Blend], scores: Mapping[str, Any], report: Report) -> tuple[Blend, ...]:
    """Return the blends to keep, the best first: those with optional members only if they gain enough.

    The first of the candidates has no optional member, the others have one each.
    """
    plain, *others = candidates
    kept = []
    for blend in others:
        gain = relative_gain(scores, name_blend(blend), name_blend(plain))
        name = next(name for name in blend.members if name not in plain.members)
        keep = gain >= MIN_GAIN
        report(f"the {name} lowers the Brier score of the blend by {gain:.1%}: {'kept' if keep else 'left out'}")
        kept += [(gain, blend)] * keep
    return (*(blend for _, blend in sorted(kept, key=lambda one: -one[0])), plain)


def fit_nwp_stage(
    validation: Validation, thresholds: Sequence[float], radar_members: Sequence[str] = RADAR_MEMBERS
) -> NwpStage | None:
    """Fit the weights where NWP rain is known; None if the rows with or without radar are too few."""
    with_radar, without_radar = (
        [one for one in part if one.observed.size >= MIN_ROWS]
        for part in (validation.with_radar, validation.without_radar)
    )
    if not with_radar or not without_radar:
        return None
    return NwpStage(
        fit_blend((*radar_members, *NWP_MEMBERS), thresholds, with_radar),
        fit_blend(NWP_MEMBERS, thresholds, without_radar),
    )


def score_nwp_stage(stage: NwpStage, validation: Validation) -> dict[str, Any]:
    """Return the Brier scores of the members and blends of the NWP stage."""
    return {
        f"{name}, {where}": value
        for where, blend, forecasts in (
            ("with NWP, radar known", stage.with_radar, validation.with_radar),
            ("with NWP, radar unknown", stage.without_radar, validation.without_radar),
        )
        for name, value in compute_brier_scores(blend, forecasts).items()
    }


def _report_scores(scores: Mapping[str, Any], report: Report) -> None:
    for line in format_scores(scores):
        report(line)
