"""The NWP stage: weights of the members where NWP rain is known.

With NWP rain two more members are blended: NWP alone, calibrated, and trees that use the predictors of every source.
Where the radar knows the air all members are blended, elsewhere only these two. So the inflow from outside the radar
coverage is that of NWP, and inside it the weights of radar and NWP are those learned for the lead time.

Trees that use all sources were trained where radar is near. Far from any coverage, where the radar could not verify
anything in training, NWP alone counts, and the weight of the trees grows with the coverage nearby. With the west of
three real events masked, and pseudo-NWP, CSI 0.5 beyond 64 km from the coverage is .15 and .19 at 30 and 60 min (.04
and .09 with the learned weights everywhere, which were too dry by a factor of 5 to 16); nearer, and inside, it is the
same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hybridcast.core.types import Array
from hybridcast.learned.blend import Blend
from hybridcast.learned.logistic import MAX_LOG_ODDS
from hybridcast.learned.predictor_rows import has_nwp, has_radar, known_fraction

#: Name of the member that uses NWP alone.
NWP_ALONE = "nwp"
#: Fraction of known cells within 64 km of the origin of the air from which on the learned weights hold in full.
NEAR_COVERAGE = 0.25


class Overlap(NamedTuple):
    """Log odds of rows where both radar and NWP know the rain, ``(threshold, row)`` each."""

    blended: Array
    radar: Array
    """Blend of the members with radar alone."""
    nwp: Array
    """NWP alone."""


@dataclass(frozen=True)
class NwpStage:
    """Weights of members where NWP rain is known."""

    with_radar: Blend
    """Weights where the radar knows the air."""
    without_radar: Blend
    """Weights elsewhere."""

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members that it blends."""
        return tuple(dict.fromkeys([*self.with_radar.members, *self.without_radar.members]))

    def reblend(
        self, log_odds: Array, member_log_odds: Mapping[str, Array], predictors: Array, lead_minutes: float
    ) -> tuple[Array, Overlap]:
        """Recompute the blend for rows where NWP rain is available.

        Parameters
        ----------
        log_odds
            Log odds of the blend of radar members, shape ``(threshold, row)``.
        member_log_odds
            Log odds of the members by name, shape ``(threshold, row)``.
        predictors
            Predictors of all sources, shape ``(row, predictor)``.
        lead_minutes
            Lead time, min.

        Returns
        -------
        tuple
            Log odds ``(threshold, row)``, and those of the rows where the radar knows the air too, from which
            `fit_nwp_weight` finds the weight of NWP.
        """
        result = log_odds.copy()
        nwp, radar = has_nwp(predictors), has_radar(predictors)
        for blend, rows in ((self.with_radar, nwp & radar), (self.without_radar, nwp & ~radar)):
            taken = {name: member_log_odds[name][:, rows] for name in blend.members}
            result[:, rows] = blend.log_odds(taken, lead_minutes)
        far = nwp & ~radar
        share = np.clip(known_fraction(predictors[far]) / np.float32(NEAR_COVERAGE), 0, 1)
        result[:, far] = share * result[:, far] + (1 - share) * member_log_odds[NWP_ALONE][:, far]
        both = nwp & radar
        return result, Overlap(result[:, both], log_odds[:, both], member_log_odds[NWP_ALONE][:, both])


def fit_nwp_weight(overlaps: Sequence[Overlap]) -> float:
    """Return the weight with which a mean of radar and NWP is closest to blended log odds, by least squares.

    It is NaN without any row. How rows are divided among the overlaps does not matter.
    """
    blended, radar, nwp = (
        np.clip(np.concatenate(parts, axis=1), -MAX_LOG_ODDS, MAX_LOG_ODDS) for parts in zip(*overlaps, strict=True)
    )
    apart, moved = nwp - radar, blended - radar
    total = float((apart * apart).sum())
    return float(np.clip((moved * apart).sum() / total, 0.0, 1.0)) if total > 0 else np.nan
