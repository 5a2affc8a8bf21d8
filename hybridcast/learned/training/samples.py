"""Training samples: predictors of randomly chosen cells and what was then observed there, event by event."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.types import MINUTE, Array
from hybridcast.datasets.events import Event, issue_times, load_event_radar
from hybridcast.datasets.pseudo_nwp import PRESETS, simulate_runs_before
from hybridcast.learned.network_inputs import LEADS, FieldCase, build_network_inputs, observe_outcome
from hybridcast.motion.estimate import DenseFlow, MotionMethod
from hybridcast.nowcasters.base import latest_frame
from hybridcast.nowcasters.scale_filter import filtered
from hybridcast.nwp import open_nwp
from hybridcast.predictors.registry import ALL_PREDICTORS
from hybridcast.predictors.sources import Sources, compute_source_predictors, select_sources
from hybridcast.predictors.state import PredictorState, build_predictor_state, departure_points, predictors_eulerian
from hybridcast.stations import open_stations
from hybridcast.terrain import open_terrain

#: Length of the radar history before the issue time of a hindcast or a training sample.
HINDCAST_HISTORY = np.timedelta64(60, "m")


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn."""

    leads: tuple[int, ...] = (15, 30, 45, 60, 75, 90, 105, 120, 150, 180)
    """Lead times, min."""
    cells: int = 500
    """Cells per issue time; each is used at every lead time."""
    apart: int = 5
    """Issue times of an event are at least this far apart, min."""
    cases: int = 16
    """Issue times of an event, at most."""
    quiet: float = 0.15
    """How likely a cell without any rain around it is chosen, against one with rain; it then counts as much more."""
    pseudo_nwp: bool = True
    """Whether events without files of a model get pseudo-NWP runs, of a quality drawn for each issue time."""
    seed: int = 0


class Samples(NamedTuple):
    """Rows of predictors and what was observed; one event's, or several one after the other."""

    predictors: Array
    """Shape ``(row, predictor)``, predictors as `hybridcast.predictors.registry.ALL_PREDICTORS` has them."""
    observed: Array
    """Rain rate, mm h-1, shape ``(row,)``."""
    weight: Array
    """How many rows of a plain random choice a row stands for, shape ``(row,)``."""
    lead: Array
    """min, shape ``(row,)``."""
    case: NDArray[np.int32]
    """Number of the issue time, shape ``(row,)``."""
    place: Array
    """Row and column of where the air is at the issue time, shape ``(row, 2)``."""


class DrawnEvent(NamedTuple):
    """What is drawn of an event: rows for what looks at cells, whole issue times for the network."""

    samples: Samples
    cases: list[FieldCase]
    """One for each number in `samples.case`."""


def concatenate_samples(parts: list[Samples]) -> Samples:
    """Put samples one after the other, with cases numbered on."""
    offset, cases = 0, []
    for part in parts:
        cases.append(part.case + np.int32(offset))
        offset += int(part.case.max(initial=-1)) + 1
    return Samples(
        predictors=np.concatenate([part.predictors for part in parts]),
        observed=np.concatenate([part.observed for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
        lead=np.concatenate([part.lead for part in parts]),
        case=np.concatenate(cases),
        place=np.concatenate([part.place for part in parts]),
    )


def sample_event(event: Event, sampling: Sampling, motion: MotionMethod | None = None) -> DrawnEvent:
    """Draw the samples of one event, issue time after issue time; those after which the radar was gone give none."""
    radar = load_event_radar(event)
    cases = issue_times(radar, event, apart=np.timedelta64(sampling.apart, "m"), most=sampling.cases)
    seed = np.random.SeedSequence([sampling.seed, *event.name.encode()])
    generator = np.random.default_rng(seed)
    drawn = []
    for issue in cases:
        sources = _sources(event, radar, issue, sampling)
        drawn.append(sample_case(radar, issue, sampling, generator, motion or DenseFlow(), sources))
    kept = [(samples, case) for samples, case in drawn if samples.lead.size]
    return DrawnEvent(
        concatenate_samples([samples for samples, _ in kept]) if kept else _nothing(), [case for _, case in kept]
    )


def _nothing() -> Samples:
    empty = np.empty(0, np.float32)
    rows, places = np.empty((0, len(ALL_PREDICTORS)), np.float32), np.empty((0, 2), np.float32)
    return Samples(rows, empty, empty, empty, np.empty(0, np.int32), places)


def _sources(event: Event, radar: xr.DataArray, issue: np.datetime64, sampling: Sampling) -> Sources:
    """Return what there would have been at an issue time; pseudo-NWP where the event has no files of a model."""
    recent = radar.sel(time=slice(None, issue))
    nwp = None
    if event.nwp is not None:
        nwp = _model_of(event.nwp)
    elif sampling.pseudo_nwp:
        nwp = simulate_random_runs(event.name, radar, issue, sampling.seed)
    terrain = None if event.terrain is None else open_terrain(event.terrain, radar)
    stations = None if event.stations is None else _reports_of(event.stations)
    return select_sources(recent, nwp=nwp, terrain=terrain, stations=stations)


@lru_cache(maxsize=1)
def _model_of(files: str) -> xr.Dataset:
    return open_nwp(files)


@lru_cache(maxsize=1)
def _reports_of(files: str) -> xr.Dataset:
    return open_stations(files)


def simulate_random_runs(name: str, radar: xr.DataArray, issue: np.datetime64, seed: int = 0) -> xr.Dataset:
    """Simulate one or two runs of a random quality, age and time step for an issue time of an event."""
    drawn = np.random.default_rng(np.random.SeedSequence([seed, *name.encode(), int(issue.astype(np.int64) // 10**9)]))
    quality = PRESETS[str(drawn.choice(sorted(PRESETS)))]
    age = int(drawn.integers(3, 7))
    ages = (age, age + 3) if drawn.random() < 0.5 else (age,)
    step = int(drawn.choice([15, 60]))
    return simulate_runs_before(radar, issue, quality, ages=ages, step=step, seed=int(drawn.integers(2**31)))


def sample_case(
    radar: xr.DataArray,
    issue: np.datetime64,
    sampling: Sampling,
    generator: np.random.Generator,
    motion: MotionMethod,
    sources: Sources | None = None,
) -> tuple[Samples, FieldCase]:
    """Draw one issue time: predictors and inputs from what was there, observations after it."""
    leads = np.array(sampling.leads) * MINUTE
    view = build_view(radar.sel(time=slice(issue - HINDCAST_HISTORY, issue)), leads, motion, sources or Sources())
    samples = build_samples(view, draw_targets(radar, view, sampling, generator))
    recent = view.recent
    came = radar.reindex(time=latest_frame(recent)[0]["time"].values + np.array(LEADS) * MINUTE).values
    return samples, FieldCase(
        build_network_inputs(recent, view.motion, smooth=view.smooth), observe_outcome(came, recent, view.motion)
    )


class View(NamedTuple):
    """What was there at an issue time."""

    recent: xr.DataArray
    leads: NDArray[np.timedelta64]
    motion: xr.Dataset
    smooth: xr.DataArray
    """What the scale filter gives."""
    state: PredictorState


def build_view(recent: xr.DataArray, leads: NDArray[np.timedelta64], motion: MotionMethod, sources: Sources) -> View:
    """Make what predictors are taken from."""
    flow = motion.estimate(recent)
    smooth = filtered(recent, flow, leads)["filtered_dbr"]
    found = compute_source_predictors(sources, recent, flow, leads)
    return View(recent, leads, flow, smooth, build_predictor_state(recent, flow, leads, smooth, found))


class Targets(NamedTuple):
    """Chosen cells, and what came there."""

    cells: NDArray[np.int32]
    """Row and column, shape ``(cell, 2)``."""
    weight: Array
    """Shape ``(cell,)``."""
    observed: Array
    """mm h-1, NaN where the radar did not see, shape ``(lead, cell)``."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which of them make a row: rows are in the order of this mask's true values."""
        return np.isfinite(self.observed)


def draw_targets(radar: xr.DataArray, view: View, sampling: Sampling, generator: np.random.Generator) -> Targets:
    """Choose cells that were seen after the issue time, and look up what came there."""
    later = radar.reindex(time=view.recent["time"].values[-1] + view.leads).values
    cells, weight = _choose_cells(view.recent, np.isfinite(later).any(axis=0), sampling, generator)
    return Targets(cells, weight, later[:, cells[:, 0], cells[:, 1]])


def build_samples(view: View, targets: Targets) -> Samples:
    """Make the rows of one issue time."""
    seen, shape = targets.seen, targets.observed.shape
    return Samples(
        predictors=_with_sources(predictors_eulerian(view.state, targets.cells)[seen]),
        observed=targets.observed[seen],
        weight=np.broadcast_to(targets.weight, shape)[seen],
        lead=np.broadcast_to((view.leads / MINUTE).astype(np.float32)[:, None], shape)[seen],
        case=np.zeros(int(seen.sum()), np.int32),
        place=departure_points(view.state, targets.cells)[seen],
    )


def _with_sources(rows: Array) -> Array:
    """Make rows as wide as with all sources, NaN for those that were not there."""
    missing = len(ALL_PREDICTORS) - rows.shape[1]
    return np.pad(rows, [(0, 0), (0, missing)], constant_values=np.nan) if missing else rows


def _choose_cells(
    recent: xr.DataArray, seen: NDArray[np.bool_], sampling: Sampling, generator: np.random.Generator
) -> tuple[NDArray[np.int32], Array]:
    """Choose cells, those with rain around them more often; the weights make up for it."""
    from scipy.ndimage import uniform_filter

    rain = np.nan_to_num(recent.values[-1]) >= 0.1
    near = uniform_filter(rain.astype(np.float32), 65, mode="nearest") > 1e-4
    chance = np.where(near, 1.0, sampling.quiet) * seen
    places = np.argwhere(seen).astype(np.int32)
    if not len(places):  # the radar was gone after the issue time
        return places, np.empty(0, np.float32)
    chance = chance[seen] / chance.sum()
    count = min(sampling.cells, len(places))
    chosen = generator.choice(len(places), count, replace=False, p=chance, shuffle=False)
    weight = 1.0 / (chance[chosen] * len(places))
    return places[chosen], weight.astype(np.float32)
