"""Early fusion as a nowcaster, for comparison with the late fusion of `hybridcast.fusion`.

The network of `early_fusion.attention` is asked at every second cell of about 2 km, at each lead time, at the
place where the air will be. The forecast rate has the ranks of its log odds, and as values those of the advected frame
where the radar knows the air, and of the model elsewhere. What neither knows is NaN.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from early_fusion.attention import CrossAttention, load_attention
from early_fusion.tokens import heard_of, tokens_at
from hybridcast.advection import advect
from hybridcast.core.durations import check_lead_times
from hybridcast.core.forecast_schema import add_motion, add_probabilities, forecast_dataset
from hybridcast.core.grid import coarsen
from hybridcast.core.types import Array, LeadTimes
from hybridcast.datasets.events import SPACING
from hybridcast.errors import InputError
from hybridcast.fusion.deterministic_field import deterministic_field
from hybridcast.fusion.probability_matching import (
    coverage_targets,
    exceedance_fraction,
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
from hybridcast.predictors.state import departure_known, departure_points, predictors_at_lead


class _Said(NamedTuple):
    """What comes out on the cells that are asked."""

    chances: Array
    """``(threshold, lead, y, x)``, everywhere."""
    known: NDArray[np.bool_]
    """Where radar or model know anything, ``(lead, y, x)``."""
    model: Array
    """Rain of the model, mm h-1, NaN where it has none, ``(lead, y, x)``."""


@dataclass(frozen=True)
class Attention:
    """One network that looks at radar, stations and model fields at once."""

    network: CrossAttention
    motion: MotionMethod = field(default_factory=DenseFlow)
    thresholds: tuple[float, ...] = (0.1, 1.0, 5.0)
    """Rates (mm h-1) whose probabilities are given."""
    stride: int = 2
    """The network is asked at every so many cells of about 2 km."""
    sources: Sources = field(default_factory=Sources)
    """Other observations of the issue time."""

    def __post_init__(self) -> None:
        """Refuse thresholds that the network does not know."""
        unknown = [t for t in self.thresholds if t not in THRESHOLDS]
        if unknown or list(self.thresholds) != sorted(set(self.thresholds)):
            raise InputError(
                f"thresholds are {self.thresholds}",
                f"they increase and are among {THRESHOLDS} mm/h, which the network was trained for",
                "Choose from these",
            )

    @property
    def name(self) -> str:
        """How results name it."""
        return "early fusion by attention"

    @property
    def fingerprint(self) -> str:
        """Tell it from all others: what its forecasts depend on."""
        content = b"".join(name.encode() + value.tobytes() for name, value in sorted(self.network.parameters.items()))
        told = hashlib.sha256(content).hexdigest(), self.motion, self.thresholds, self.stride, self.sources.reports
        return f"Attention{told!r}"

    def with_sources(self, sources: Sources) -> Attention:
        """Return one that looks at other observations too."""
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
        said = self._said(coarse, grid, leads, coarsen_sources(self.sources, recent, coarse, SPACING))
        rate, chances = _fields(said, grid, advected)
        result = forecast_dataset(rate, recent, leads, nowcaster=self.name, status=radar_status(recent, age))
        wanted = chances[[THRESHOLDS.index(t) for t in self.thresholds]]
        return add_motion(add_probabilities(result, wanted, self.thresholds), motion)

    def _said(self, coarse: xr.DataArray, grid: SamplingGrid, leads: LeadTimes, sources: Sources) -> _Said:
        """Ask the network on the coarse grid."""
        view = build_view(coarse, leads, add_wind_guidance(self.motion, sources, coarse), sources)
        heard = heard_of(coarse, view.state, sources)
        cells = grid.nodes
        odds, known, model = [], [], []
        for lead, places in enumerate(departure_points(view.state, cells)):
            rows = predictors_at_lead(view.state, lead, places, cells)
            odds.append(self.network.scores(rows, tokens_at(heard, lead, places, cells)))
            rain = nwp_rain_rate(rows)
            model.append(rain)
            known.append(departure_known(view.state, places) | np.isfinite(rain))
        shape = (len(leads), *grid.shape)
        return _Said(
            probability(np.stack(odds, axis=1)).reshape(-1, *shape),
            np.stack(known).reshape(shape),
            np.stack(model).reshape(shape),
        )


def early_fusion(path: str | Path) -> Attention:
    """Load a network that `early_fusion.attention.save_attention` wrote, and make a nowcaster of it."""
    return Attention(load_attention(path))


def _fields(said: _Said, grid: SamplingGrid, advected: Array) -> tuple[Array, Array]:
    """Return rates ``(lead, y, x)`` and probabilities ``(threshold, lead, y, x)`` on the fine grid."""
    shape = advected.shape[1:]
    reference = np.where(np.isfinite(advected), advected, grid.enlarge(said.model, shape))
    chances = np.stack([grid.enlarge(of_threshold, shape) for of_threshold in said.chances])
    chances[:, np.isnan(reference)] = np.nan
    cells = [of_lead[:, known] for of_lead, known in zip(said.chances.swapaxes(0, 1), said.known, strict=True)]
    coverage = np.stack([exceedance_fraction(frame, THRESHOLDS) for frame in reference])
    targets = coverage_targets(cells, coverage, THRESHOLDS)
    ranking = grid.enlarge(rank_cells(said.chances, said.known, targets), shape)
    rates = [
        deterministic_field(
            np.where(np.isfinite(reference[lead]), ranking[lead], np.float32(np.nan))[None],
            reference_ranking=ranking[[lead]],
            reference=reference[lead],
            values=[sorted_descending(reference[lead])],
            thresholds=THRESHOLDS,
            fractions=targets.fraction[[lead]],
        )
        for lead in range(len(reference))
    ]
    return np.concatenate(rates), chances
