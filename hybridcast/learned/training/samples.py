"""Training samples: predictors of randomly chosen cells with the rain observed there later, event by event.

The trees and the logistic members learn from rows of single cells (`sample_event`). The network learns from whole
fields (`sample_fields`), which are drawn only if a network is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.types import MINUTE, Array, LeadTimes, Mask
from hybridcast.datasets.events import Event, issue_times, load_event_radar
from hybridcast.datasets.pseudo_nwp import PRESETS, simulate_runs_before
from hybridcast.learned.member import HINDCAST_HISTORY
from hybridcast.learned.network_inputs import LEADS, FieldCase, build_network_inputs, observe_outcome
from hybridcast.learned.training.variation import draw_variation, keep_frames, vary_cells
from hybridcast.motion.estimate import DenseFlow, MotionMethod
from hybridcast.nowcasters.base import latest_frame
from hybridcast.nowcasters.scale_filter import filter_scales
from hybridcast.nwp import open_nwp
from hybridcast.predictors.registry import ALL_PREDICTORS
from hybridcast.predictors.sources import Sources, compute_source_predictors, select_sources
from hybridcast.predictors.state import PredictorState, build_predictor_state, departure_points, predictors_eulerian
from hybridcast.stations import open_stations
from hybridcast.terrain import open_terrain


@dataclass(frozen=True)
class Sampling:
    """Settings of the random choice of training samples."""

    leads: tuple[int, ...] = (15, 30, 45, 60, 75, 90, 105, 120, 150, 180)
    """Lead times, min."""
    cells: int = 500
    """Number of cells chosen at each issue time; each cell is used at every lead time."""
    min_interval: int = 5
    """Minimum interval between issue times of an event, min."""
    cases: int = 16
    """Maximum number of issue times of an event."""
    dry_probability: float = 0.15
    """Probability of choosing a cell without rain in its surroundings, relative to a cell with rain.

    The weights of the samples make up for it.
    """
    pseudo_nwp: bool = True
    """Whether events without NWP files get pseudo-NWP runs, of a random quality at each issue time."""
    varied: bool = False
    """Whether each event is varied at random (`hybridcast.learned.training.variation`)."""
    seed: int = 0
    """Seed of all random choices."""


class Samples(NamedTuple):
    """Rows of predictors with the observed rain rate, of one event or of several events in sequence."""

    predictors: Array
    """Predictors in the order of `hybridcast.predictors.registry.ALL_PREDICTORS`, shape ``(row, predictor)``."""
    observed: Array
    """Observed rain rate, mm h-1, shape ``(row,)``."""
    weight: Array
    """Number of rows of a uniformly random choice that the row stands for, shape ``(row,)``."""
    lead: Array
    """Lead time, min, shape ``(row,)``."""
    case: NDArray[np.int32]
    """Number of the issue time, shape ``(row,)``."""
    departure_points: Array
    """Row and column at the issue time of the air that arrives at the cell, shape ``(row, 2)``."""


def concatenate_samples(parts: list[Samples]) -> Samples:
    """Concatenate samples; the numbers of the issue times continue from one part to the next."""
    offsets = np.cumsum([0, *(int(part.case.max(initial=-1)) + 1 for part in parts)]).astype(np.int32)
    numbered = [part._replace(case=part.case + offset) for part, offset in zip(parts, offsets, strict=False)]
    return Samples(*(np.concatenate(column) for column in zip(*numbered, strict=True)))


# --- events ---------------------------------------------------------------------------------------------------


def sample_event(event: Event, sampling: Sampling, motion: MotionMethod | None = None) -> Samples:
    """Draw the samples of one event, issue time by issue time.

    Issue times without any radar data at the lead times are left out.
    """
    generator = np.random.default_rng(np.random.SeedSequence([sampling.seed, *event.name.encode()]))
    radar = load_event_radar(event)
    if sampling.varied:  # files of other sources do not show what a varied radar sees
        event = replace(event, nwp=None, stations=None, terrain=None)
    method = motion or DenseFlow()
    seen_at = _vary(radar, event, sampling)
    drawn = []
    for issue in _issue_times(radar, event, sampling):
        seen = seen_at(issue)
        sources = _select_sources(event, seen, issue, sampling)
        drawn.append(sample_case(seen, issue, sampling, generator, method, sources))
    return concatenate_samples(drawn) if drawn else _no_samples()


def sample_fields(event: Event, sampling: Sampling, motion: MotionMethod | None = None) -> Iterator[FieldCase]:
    """Yield network inputs and outcomes of the issue times of `sample_event`, one by one, in the same order."""
    radar = load_event_radar(event)
    method = motion or DenseFlow()
    seen_at = _vary(radar, event, sampling)
    for issue in _issue_times(radar, event, sampling):
        yield sample_field(seen_at(issue), issue, method)


def _vary(radar: xr.DataArray, event: Event, sampling: Sampling) -> Callable[[np.datetime64], xr.DataArray]:
    """Return what gives the radar field of an issue time, as a network of another kind saw it if samples are varied."""
    if not sampling.varied:
        return lambda issue: radar
    seeds = np.random.SeedSequence([sampling.seed, *event.name.encode()])
    variation = draw_variation(np.random.default_rng(seeds))
    return partial(keep_frames, vary_cells(radar, variation), stride=variation.stride)


def _issue_times(radar: xr.DataArray, event: Event, sampling: Sampling) -> list[np.datetime64]:
    """Return the issue times of an event that have radar data at one of the lead times at least."""
    interval = np.timedelta64(sampling.min_interval, "m")
    times = issue_times(radar, event, min_interval=interval, max_count=sampling.cases)
    leads = np.array(sampling.leads) * MINUTE
    return [issue for issue in times if radar.reindex(time=issue + leads).notnull().any()]


def _no_samples() -> Samples:
    empty = np.empty(0, np.float32)
    rows, points = np.empty((0, len(ALL_PREDICTORS)), np.float32), np.empty((0, 2), np.float32)
    return Samples(rows, empty, empty, empty, np.empty(0, np.int32), points)


def _select_sources(event: Event, radar: xr.DataArray, issue: np.datetime64, sampling: Sampling) -> Sources:
    """Return the sources available at an issue time; pseudo-NWP if the event has no NWP files."""
    recent = radar.sel(time=slice(None, issue))
    nwp = None
    if event.nwp is not None:
        nwp = _open_nwp(event.nwp)
    elif sampling.pseudo_nwp:
        nwp = simulate_random_runs(event.name, radar, issue, sampling.seed)
    terrain = None if event.terrain is None else open_terrain(event.terrain, radar)
    stations = None if event.stations is None else _open_stations(event.stations)
    return select_sources(recent, nwp=nwp, terrain=terrain, stations=stations)


@lru_cache(maxsize=1)
def _open_nwp(files: str) -> xr.Dataset:
    return open_nwp(files)


@lru_cache(maxsize=1)
def _open_stations(files: str) -> xr.Dataset:
    return open_stations(files)


def simulate_random_runs(name: str, radar: xr.DataArray, issue: np.datetime64, seed: int = 0) -> xr.Dataset:
    """Simulate one or two pseudo-NWP runs of a random quality, age and time step for an issue time of an event."""
    seeds = np.random.SeedSequence([seed, *name.encode(), int(issue.astype(np.int64) // 10**9)])
    generator = np.random.default_rng(seeds)
    quality = PRESETS[str(generator.choice(sorted(PRESETS)))]
    age = int(generator.integers(3, 7))
    ages = (age, age + 3) if generator.random() < 0.5 else (age,)
    step = int(generator.choice([15, 60]))
    return simulate_runs_before(radar, issue, quality, ages=ages, step=step, seed=int(generator.integers(2**31)))


# --- one issue time -------------------------------------------------------------------------------------------


def sample_case(
    radar: xr.DataArray,
    issue: np.datetime64,
    sampling: Sampling,
    generator: np.random.Generator,
    motion: MotionMethod,
    sources: Sources | None = None,
) -> Samples:
    """Draw the samples of one issue time: predictors from data up to it, observations after it."""
    leads = np.array(sampling.leads) * MINUTE
    view = build_view(radar.sel(time=slice(issue - HINDCAST_HISTORY, issue)), leads, motion, sources or Sources())
    return build_samples(view, draw_targets(radar, view, sampling, generator))


def sample_field(radar: xr.DataArray, issue: np.datetime64, motion: MotionMethod) -> FieldCase:
    """Compute the network inputs and the outcome of one issue time."""
    recent = radar.sel(time=slice(issue - HINDCAST_HISTORY, issue))
    flow = motion.estimate(recent)
    latest, _ = latest_frame(recent)
    later = radar.reindex(time=latest["time"].values + np.array(LEADS) * MINUTE).values
    return FieldCase(build_network_inputs(recent, flow), observe_outcome(later, recent, flow))


class View(NamedTuple):
    """Data of an issue time from which predictors are computed."""

    recent: xr.DataArray
    """Precipitation field up to the issue time, mm h-1, dims ``(time, y, x)``."""
    leads: LeadTimes
    """Lead times, shape ``(lead,)``."""
    state: PredictorState
    """Predictor fields of the radar and the other sources."""


def build_view(recent: xr.DataArray, leads: LeadTimes, motion: MotionMethod, sources: Sources) -> View:
    """Estimate the motion, apply the scale filter, and compute the fields from which predictors are taken."""
    flow = motion.estimate(recent)
    smooth = filter_scales(recent, flow, leads)["filtered_dbr"]
    found = compute_source_predictors(sources, recent, flow, leads)
    return View(recent, leads, build_predictor_state(recent, flow, leads, smooth, found))


class Targets(NamedTuple):
    """Randomly chosen cells and the rain observed there."""

    cells: NDArray[np.int32]
    """Row and column, shape ``(cell, 2)``."""
    weight: Array
    """Weight of each cell that makes up for the unequal probability of its choice, shape ``(cell,)``."""
    observed: Array
    """Rain rate, mm h-1, NaN without radar data, shape ``(lead, cell)``."""

    @property
    def known(self) -> Mask:
        """Cells with an observation, shape ``(lead, cell)``; the rows of samples follow its true values."""
        return np.isfinite(self.observed)


def draw_targets(radar: xr.DataArray, view: View, sampling: Sampling, generator: np.random.Generator) -> Targets:
    """Choose cells with radar data after the issue time at random, and look up the rain observed there."""
    later = radar.reindex(time=view.recent["time"].values[-1] + view.leads).values
    cells, weight = _choose_cells(view.recent, np.isfinite(later).any(axis=0), sampling, generator)
    return Targets(cells, weight, later[:, cells[:, 0], cells[:, 1]])


def build_samples(view: View, targets: Targets) -> Samples:
    """Build the rows of one issue time."""
    known, shape = targets.known, targets.observed.shape
    return Samples(
        predictors=_pad_sources(predictors_eulerian(view.state, targets.cells)[known]),
        observed=targets.observed[known],
        weight=np.broadcast_to(targets.weight, shape)[known],
        lead=np.broadcast_to((view.leads / MINUTE).astype(np.float32)[:, None], shape)[known],
        case=np.zeros(int(known.sum()), np.int32),
        departure_points=departure_points(view.state, targets.cells)[known],
    )


def _pad_sources(rows: Array) -> Array:
    """Append columns of NaN for the predictors of sources that are missing."""
    missing = len(ALL_PREDICTORS) - rows.shape[1]
    return np.pad(rows, [(0, 0), (0, missing)], constant_values=np.nan) if missing else rows


def _choose_cells(
    recent: xr.DataArray, known: Mask, sampling: Sampling, generator: np.random.Generator
) -> tuple[NDArray[np.int32], Array]:
    """Choose known cells, more often where rain is near; the weights make up for it."""
    from scipy.ndimage import uniform_filter

    rain = np.nan_to_num(recent.values[-1]) >= 0.1
    near = uniform_filter(rain.astype(np.float32), 65, mode="nearest") > 1e-4
    probability = np.where(near, 1.0, sampling.dry_probability) * known
    cells = np.argwhere(known).astype(np.int32)
    if not len(cells):
        return cells, np.empty(0, np.float32)
    probability = probability[known] / probability.sum()
    count = min(sampling.cells, len(cells))
    chosen = generator.choice(len(cells), count, replace=False, p=probability, shuffle=False)
    weight = 1.0 / (probability[chosen] * len(cells))
    return cells[chosen], weight.astype(np.float32)
