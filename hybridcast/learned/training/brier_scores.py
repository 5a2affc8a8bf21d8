"""Brier scores of members and blends on events left out of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybridcast.core.types import Array
from hybridcast.learned.blend import Blend, MemberForecasts
from hybridcast.learned.logistic import probability
from hybridcast.learned.members import OPTIONAL_MEMBERS

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Brier scores by name of member or blend, lead time (min) and threshold (mm/h)."""


def name_blend(blend: Blend) -> str:
    """Return the name of a blend among the scores."""
    missing = [name for name in OPTIONAL_MEMBERS if name not in blend.members]
    return f"blend without {', '.join(missing)}" if missing else "blend"


def compute_brier_scores(blend: Blend, forecasts: Sequence[MemberForecasts]) -> dict[str, Any]:
    """Return the Brier scores of a blend and its members, see `Scores`."""
    scores: dict[str, Any] = {name: {} for name in (*blend.members, name_blend(blend))}
    for one in forecasts:
        log_odds = {name: one.log_odds[name] for name in blend.members}
        log_odds[name_blend(blend)] = blend.log_odds(one.log_odds, one.lead_minutes)
        for name, values in log_odds.items():
            scores[name][f"{one.lead_minutes:g}"] = {
                f"{threshold:g}": _brier_score(probability(values[k]), one.observed >= threshold, one.weight)
                for k, threshold in enumerate(blend.thresholds)
            }
    return scores


def _brier_score(probabilities: Array, event: Any, weight: Array) -> float:
    return round(float(np.average((probabilities - event) ** 2, weights=weight)), 5)


def relative_gain(scores: Scores, name: str, reference: str) -> float:
    """Return the relative reduction of the Brier score of a reference, mean over lead times and thresholds."""
    ratios = [
        scores[name][lead][threshold] / value
        for lead, by_threshold in scores[reference].items()
        for threshold, value in by_threshold.items()
        if value > 0
    ]
    return 1 - float(np.mean(ratios)) if ratios else 0.0


def format_scores(scores: Scores, threshold: str = "1") -> list[str]:
    """Return the scores at one threshold as text, a line for each member and blend."""
    lines = []
    for name, by_lead in scores.items():
        shown = ", ".join(
            f"{lead} min {values[threshold]:.4f}" for lead, values in by_lead.items() if threshold in values
        )
        lines.append(f"Brier score at {threshold} mm/h, events left out, {name}: {shown}")
    return lines
