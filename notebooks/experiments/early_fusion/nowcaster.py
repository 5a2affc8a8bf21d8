"""Early fusion as a nowcaster, for comparison with the late fusion of `hybridcast.fusion`.

The network of `early_fusion.attention` is evaluated at every second cell of about 2 km and at each lead time. The
deterministic field has the ranks of its probabilities. Its values are those of the advected frame where the radar knows
the air, and those of NWP elsewhere. Where neither is known the forecast is NaN.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from early_fusion.attention import CrossAttention, load_attention
from early_fusion.tokens import build_token_sources, build_tokens
from hybridcast.advection import advect
from hybridcast.core.durations import check_lead_times
from hybridcast.core.forecast_schema import add_motion, add_probabilities, forecast_dataset
from hybridcast.core.grid import coarsen
from hybridcast.core.types import Array, LeadTimes, Mask
from hybridcast.datasets.events import SPACING
from hybridcast.errors import InputError
from hybridcast.fusion.deterministic_field import deterministic_field
from hybridcast.fusion.probability_matching import (
    expected_coverage,
    mean_rate,
    rank_cells,
    sorted_descending,
)
from hybridcast.fusion.sampling_grid import SamplingGrid
from hybridcast.learned.boosting import THRESHOLDS
from hybridcast.learned.logistic import probability
from hybridcast.learned.predictor_rows import nwp_rain_rate
from hybridcast.learned.training.samples import build_view
from hybridcast.motion.estimate import DenseFlow, MotionMethod
from hybridcast.nowcasters.base import latest_frame, radar_status
from hybridcast.predictors.sources import Sources, add_wind_guidance, coarsen_sources
from hybridcast.predictors.state import departure_known, departure_points, predictors_at_points


class _CoarseForecast(NamedTuple):
    """Output of the network on the sampling grid."""

    probabilities: Array
    """Exceedance probabilities at all nodes, ``(threshold, lead, y, x)``."""
    known: Mask
    """Nodes where radar or NWP is known, ``(lead, y, x)``."""
    nwp_rate: Array
    """NWP rain rate, mm h-1, NaN where unknown, ``(lead, y, x)``."""


@dataclass(frozen=True)
class Attention:
    """Nowcaster with one network that uses radar, stations and NWP at once."""

    network: CrossAttention
    """Trained network."""
    motion: MotionMethod = field(default_factory=DenseFlow)
    """Motion of the advected frame."""
    thresholds: tuple[float, ...] = (0.1, 1.0, 5.0)
    """Rates (mm h-1) whose exceedance probabilities are returned."""
    stride: int = 2
    """Spacing of the nodes at which the network is evaluated, cells of about 2 km."""
    sources: Sources = field(default_factory=Sources)
    """NWP and stations of the issue time."""

    def __post_init__(self) -> None:
        """Check that the network was trained for the thresholds."""
        unknown = [t for t in self.thresholds if t not in THRESHOLDS]
        if unknown or list(self.thresholds) != sorted(set(self.thresholds)):
            raise InputError(
                f"thresholds are {self.thresholds}",
                f"they increase and are among {THRESHOLDS} mm/h, which the network was trained for",
                "Choose from these",
            )

    @property
    def name(self) -> str:
        """Name in results."""
        return "early fusion by attention"

    @property
    def fingerprint(self) -> str:
        """Text that depends on everything that its forecasts depend on."""
        content = b"".join(name.encode() + value.tobytes() for name, value in sorted(self.network.parameters.items()))
        digest = hashlib.sha256(content).hexdigest()
        return f"Attention{(digest, self.motion, self.thresholds, self.stride, self.sources.reports)!r}"

    def with_sources(self, sources: Sources) -> Attention:
        """Return the nowcaster with NWP and stations."""
        return replace(self, sources=sources)

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.base.Nowcaster`.

        The result holds `probability_of_exceedance` with dims ``("threshold", "lead_time", "y", "x")`` and the motion
        `u` and `v` too.
        """
        leads = check_lead_times(lead_times)
        motion = add_wind_guidance(self.motion, self.sources, recent).estimate(recent)
        latest, age = latest_frame(recent)
        advected = advect(latest, motion, leads + age).values
        coarse = coarsen(recent, SPACING)
        grid = SamplingGrid.over(recent, coarse, SPACING, self.stride)
        sources = coarsen_sources(self.sources, recent, coarse, SPACING)
        rate, probabilities = _refine(self._apply_network(coarse, grid, leads, sources), grid, advected)
        result = forecast_dataset(rate, recent, leads, nowcaster=self.name, status=radar_status(recent, age))
        wanted = probabilities[[THRESHOLDS.index(t) for t in self.thresholds]]
        return add_motion(add_probabilities(result, wanted, self.thresholds), motion)

    def _apply_network(
        self, coarse: xr.DataArray, grid: SamplingGrid, leads: LeadTimes, sources: Sources
    ) -> _CoarseForecast:
        """Evaluate the network at the nodes of the sampling grid."""
        view = build_view(coarse, leads, add_wind_guidance(self.motion, sources, coarse), sources)
        token_sources = build_token_sources(coarse, view.state, sources)
        cells = grid.nodes
        log_odds, known, nwp = [], [], []
        points = list(departure_points(view.state, cells))
        by_lead = predictors_at_points(view.state, points, [cells] * len(points))
        for lead, (departures, rows) in enumerate(zip(points, by_lead, strict=True)):
            log_odds.append(self.network.scores(rows, build_tokens(token_sources, lead, departures, cells)))
            nwp.append(nwp_rain_rate(rows))
            known.append(departure_known(view.state, departures) | np.isfinite(nwp[-1]))
        shape = (len(leads), *grid.shape)
        return _CoarseForecast(
            probability(np.stack(log_odds, axis=1)).reshape(-1, *shape),
            np.stack(known).reshape(shape),
            np.stack(nwp).reshape(shape),
        )


def early_fusion(path: str | Path) -> Attention:
    """Load a network written by `early_fusion.attention.save_attention`, and return its nowcaster."""
    return Attention(load_attention(path))


def _refine(coarse: _CoarseForecast, grid: SamplingGrid, advected: Array) -> tuple[Array, Array]:
    """Return rates ``(lead, y, x)`` and probabilities ``(threshold, lead, y, x)`` on the fine grid."""
    shape = advected.shape[1:]
    reference = np.where(np.isfinite(advected), advected, grid.enlarge(coarse.nwp_rate, shape))
    probabilities = np.stack([grid.enlarge(of_threshold, shape) for of_threshold in coarse.probabilities])
    probabilities[:, np.isnan(reference)] = np.nan
    by_lead = coarse.probabilities.swapaxes(0, 1)
    cells = [of_lead[:, known] for of_lead, known in zip(by_lead, coarse.known, strict=True)]
    expected = expected_coverage(cells)
    ranking = grid.enlarge(rank_cells(mean_rate(coarse.probabilities, THRESHOLDS), coarse.known), shape)
    rates = [
        deterministic_field(
            np.where(np.isfinite(reference[lead]), ranking[lead], np.float32(np.nan))[None],
            reference_ranking=ranking[[lead]],
            reference=reference[lead],
            values=[sorted_descending(reference[lead])],
            thresholds=THRESHOLDS,
            expected=expected[[lead]],
        )
        for lead in range(len(reference))
    ]
    return np.concatenate(rates), probabilities
