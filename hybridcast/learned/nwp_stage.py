"""The stage that is asked where there is a model's rain: its members, and their weights.

Besides the members of the radar there are two more: the model alone, calibrated, and trees that look at every source.
Where the air comes from what the radar sees, all of them are blended; where it does not, those two. So what flows in
from outside the radar's reach is the model's, and elsewhere the weights, learned by lead time, say who is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import Array, Mask
from hybridcast.learned.blend import Blend, Scored, fit_blend
from hybridcast.learned.boosting import Boosting, BoostingSettings, train_boosting
from hybridcast.learned.logistic import MAX_LOG_ODDS, NWP, LogisticMember, fit_logistic_member
from hybridcast.learned.training.samples import Samples
from hybridcast.predictors.predictor import Group
from hybridcast.predictors.registry import ALL_PREDICTORS, index_of, names

#: Its members, besides those of the radar.
ALONE, FUSED = "nwp", "fused"
#: Groups of predictors that are left out of some issue times in training, so that the trees can do without.
OPTIONAL: tuple[Group, ...] = ("station", "terrain")
#: How often.
DROPPED = 0.3
#: Rows that weights need at a lead time, at least.
LEAST_ROWS = 50

_RATE, _NWP_RATE = index_of("rate"), index_of("nwp_rate")


class SourceMembers(NamedTuple):
    """Trained members that look at other sources."""

    alone: LogisticMember
    fused: Boosting

    def scores(self, rows: Array, lead: float) -> list[Array]:
        """Log odds of both, each ``(threshold, row)``, from rows with the predictors of all sources."""
        return [self.alone.scores(rows, lead), self.fused.scores(rows)]


@dataclass(frozen=True)
class NwpStage:
    """Members and weights."""

    members: SourceMembers
    inside: Blend
    """Where the air comes from what the radar sees: members of the radar, then these."""
    outside: Blend
    """Where it does not."""

    def instead(self, odds: Array, of_radar: Array, rows: Array, lead: float) -> tuple[Array, float]:
        """Blend anew for the rows for which there is a model.

        Parameters
        ----------
        odds
            What the blend of the radar says, log odds, shape ``(threshold, row)``.
        of_radar
            What its members say, in the order of `inside`, shape ``(member, threshold, row)``.
        rows
            Predictors of all sources, shape ``(row, predictor)``.
        lead
            min.

        Returns
        -------
        tuple
            Log odds, and the weight of the model in them where radar is known too: least squares of what comes out
            against the model alone and the radar alone; NaN where there are no such rows.
        """
        there = np.flatnonzero(has_nwp(rows))
        out = odds.copy()
        if not there.size:
            return out, np.nan
        asked = np.stack(self.members.scores(rows[there], lead))
        known = has_radar(rows[there])
        inside = there[known]
        out[:, there[~known]] = self.outside.scores(asked[..., ~known], lead)
        out[:, inside] = self.inside.scores(np.concatenate([of_radar[..., inside], asked[..., known]]), lead)
        return out, _weight(out[:, inside], odds[:, inside], asked[0][:, known])


def _weight(fused: Array, radar: Array, model: Array) -> float:
    """Weight of the model with which a mean of model and radar comes closest to what was fused."""
    apart = np.clip(model, -MAX_LOG_ODDS, MAX_LOG_ODDS) - np.clip(radar, -MAX_LOG_ODDS, MAX_LOG_ODDS)
    moved = np.clip(fused, -MAX_LOG_ODDS, MAX_LOG_ODDS) - np.clip(radar, -MAX_LOG_ODDS, MAX_LOG_ODDS)
    total = float((apart * apart).sum())
    return float(np.clip((moved * apart).sum() / total, 0.0, 1.0)) if total > 0 else np.nan


def has_nwp(rows: Array) -> Mask:
    """Tell for which rows the model has rain, wet or dry."""
    known: Mask = np.isfinite(rows[:, _NWP_RATE])
    return known


def nwp_rain_rate(rows: Array) -> Array:
    """Rain of the model, mm h-1, as far as rows tell it: what is below 0.1 mm/h is dry."""
    level = rows[:, _NWP_RATE]
    rate: Array = np.where(level > 0, np.float32(0.1) * np.float32(10) ** (level / np.float32(10)), np.float32(0))
    return np.where(np.isnan(level), level, rate)


def has_radar(rows: Array) -> Mask:
    """Tell for which rows the radar knows the air."""
    known: Mask = np.isfinite(rows[:, _RATE])
    return known


def train_source_members(
    samples: Samples, weight: Array, settings: BoostingSettings, thresholds: Sequence[float]
) -> SourceMembers | None:
    """Train the members on the rows for which there is a model; None if there are too few."""
    there = has_nwp(samples.predictors)
    if there.sum() < LEAST_ROWS * len(thresholds):
        return None
    kept = samples._replace(**{name: getattr(samples, name)[there] for name in samples._fields})
    of_row = weight[there]
    data = (kept.predictors, kept.observed, of_row, kept.lead, thresholds)
    alone = fit_logistic_member(ALONE, NWP, *data)
    thinned = kept._replace(predictors=_with_gaps(kept.predictors, kept.case, settings.seed))
    return SourceMembers(alone, train_boosting(thinned, of_row, settings, thresholds, ALL_PREDICTORS))


def _with_gaps(predictors: Array, case: NDArray[np.int32], seed: int) -> Array:
    """Leave each optional group out of some issue times."""
    out = predictors.copy()
    generator = np.random.default_rng(seed)
    count = int(case.max(initial=0)) + 1
    for group in OPTIONAL:
        columns = [index_of(name) for name in names(group)]
        gone = (generator.random(count) < DROPPED)[case]
        for column in columns:
            out[gone, column] = np.nan
    return out


class SourceAnswers(NamedTuple):
    """What members said about events left out, by lead time."""

    inside: list[Scored]
    outside: list[Scored]


def source_answers(
    members: SourceMembers,
    radar_scores: Callable[[Array, float], Sequence[Array]],
    samples: Samples,
    weight: Array,
) -> SourceAnswers:
    """Ask all members about rows with a model.

    Parameters
    ----------
    members
        Those trained here.
    radar_scores
        From rows and a lead time to the log odds of each member of the radar.
    samples, weight
        Rows of events left out.
    """
    inside: list[Scored] = []
    outside: list[Scored] = []
    there = has_nwp(samples.predictors)
    known = has_radar(samples.predictors)
    for lead in np.unique(samples.lead):
        for answers, at in ((inside, there & known), (outside, there & ~known)):
            rows = np.flatnonzero(at & (samples.lead == lead))
            if not rows.size:
                continue
            taken, minutes = samples.predictors[rows], float(lead)
            of_radar = radar_scores(taken, minutes) if answers is inside else ()
            scores = np.stack([*of_radar, *members.scores(taken, minutes)])
            answers.append(Scored(minutes, scores, samples.observed[rows], weight[rows]))
    return SourceAnswers(inside, outside)


def fit_stage(
    members: SourceMembers, names: Sequence[str], answers: SourceAnswers, thresholds: Sequence[float]
) -> NwpStage | None:
    """Fit the weights; None where either kind of place has too few rows at every lead time."""
    inside, outside = ([one for one in part if one.observed.size >= LEAST_ROWS] for part in answers)
    if not inside or not outside:
        return None
    return NwpStage(
        members,
        fit_blend((*names, ALONE, FUSED), thresholds, inside),
        fit_blend((ALONE, FUSED), thresholds, outside),
    )
