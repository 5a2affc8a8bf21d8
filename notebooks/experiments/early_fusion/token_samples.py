"""Samples with tokens beside them, to compare early with late fusion on the same rows.

Where an event has no gauges it gets pseudo-gauges, made from its radar. Such gauges tell of an error of the radar only
if the radar has one: in every second case a bias is simulated on what the radar shows at the issue time, not on what is
compared with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from early_fusion.tokens import Heard, Tokens, heard_of, joined_tokens, tokens_at
from hybridcast.core.field import time_step
from hybridcast.core.files import atomic_write
from hybridcast.core.types import MINUTE
from hybridcast.datasets.events import Event, issue_times, load_event_radar
from hybridcast.datasets.pseudo_gauges import PseudoGaugeSettings, simulate_pseudo_gauges, simulate_radar_bias
from hybridcast.learned.training.samples import (
    HINDCAST_HISTORY,
    Samples,
    Sampling,
    build_samples,
    build_view,
    concatenate_samples,
    draw_targets,
    simulate_random_runs,
)
from hybridcast.motion.estimate import DenseFlow
from hybridcast.predictors.sources import select_sources
from hybridcast.predictors.state import departure_points
from hybridcast.stations import open_stations

_INTERVAL = np.timedelta64(15, "m")


class WithTokens(NamedTuple):
    """Rows of an event, and the tokens beside them."""

    samples: Samples
    tokens: Tokens
    biased: np.ndarray
    """Whether the radar of the row's case has a simulated bias, shape ``(row,)``."""


def draw_with_tokens(event: Event, sampling: Sampling) -> WithTokens:
    """Draw an event's samples, with pseudo-NWP and, where it has no gauges, pseudo-gauges."""
    radar = load_event_radar(event)
    cases = issue_times(radar, event, min_interval=np.timedelta64(sampling.min_interval, "m"), max_count=sampling.cases)
    seeds = np.random.SeedSequence([sampling.seed, *event.name.encode()])
    generator = np.random.default_rng(seeds)
    gauges = _gauges(event, radar, int(generator.integers(2**31)))
    parts = [
        draw_case(event.name, radar, gauges, issue, sampling, generator, biased=k % 2 == 1)
        for k, issue in enumerate(cases)
    ]
    kept = [part for part in parts if part.samples.lead.size]
    if not kept:
        raise ValueError(f"{event.name} has no case")
    return WithTokens(
        concatenate_samples([part.samples for part in kept]),
        joined_tokens([part.tokens for part in kept]),
        np.concatenate([part.biased for part in kept]),
    )


def _gauges(event: Event, radar: xr.DataArray, seed: int) -> xr.Dataset:
    """Return the event's own gauges, or pseudo-gauges of 15 min or the next longer interval that fits the radar."""
    if event.stations is not None:
        return open_stations(event.stations)
    step = time_step(radar["time"].values) or _INTERVAL
    minutes = int(-(-_INTERVAL // step) * (step / MINUTE))
    return simulate_pseudo_gauges(radar, seed=seed, settings=PseudoGaugeSettings(interval_minutes=minutes))


def draw_case(
    name: str,
    radar: xr.DataArray,
    gauges: xr.Dataset,
    issue: np.datetime64,
    sampling: Sampling,
    generator: np.random.Generator,
    *,
    biased: bool,
) -> WithTokens:
    """Draw one issue time: what is seen may have a simulated bias, what is compared with it has none."""
    recent = radar.sel(time=slice(issue - HINDCAST_HISTORY, issue))
    if biased:
        recent = _with_bias(recent, generator)
    sources = select_sources(recent, nwp=simulate_random_runs(name, radar, issue, sampling.seed), stations=gauges)
    view = build_view(recent, np.array(sampling.leads) * MINUTE, DenseFlow(), sources)
    targets = draw_targets(radar, view, sampling, generator)
    samples = build_samples(view, targets)
    heard = heard_of(recent, view.state, sources)
    places = departure_points(view.state, targets.cells)
    parts = [
        _some(tokens_at(heard, k, places[k], targets.cells), seen) for k, seen in enumerate(targets.known) if seen.any()
    ]
    tokens = joined_tokens(parts) if parts else _no_tokens(heard)
    return WithTokens(samples, tokens, np.full(samples.lead.size, biased))


def _some(tokens: Tokens, chosen: np.ndarray) -> Tokens:
    return Tokens(*(part[chosen] for part in tokens))


def _no_tokens(heard: Heard) -> Tokens:
    return tokens_at(heard, 0, np.empty((0, 2), np.float32), np.empty((0, 2), np.int32))


def _with_bias(recent: xr.DataArray, generator: np.random.Generator) -> xr.DataArray:
    """Put a simulated bias on radar: half to one and a half of the rain, less far away, with patches."""
    return simulate_radar_bias(
        recent,
        seed=int(generator.integers(2**31)),
        bias=float(np.exp(generator.uniform(np.log(0.5), np.log(1.5)))),
        range_loss=float(generator.uniform(0, 0.5)),
    )[0]


def save_with_tokens(drawn: WithTokens, path: Path) -> None:
    """Write what was drawn as plain arrays, tokens in half precision."""
    arrays = {f"samples.{name}": value for name, value in drawn.samples._asdict().items()}
    arrays |= {f"tokens.{name}": value.astype(np.float16) for name, value in drawn.tokens._asdict().items()}
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez_compressed(file, biased=drawn.biased, **arrays)


def load_with_tokens(path: Path) -> WithTokens:
    """Read what `save_with_tokens` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return WithTokens(
            Samples(**{name: stored[f"samples.{name}"] for name in Samples._fields}),
            Tokens(**{name: stored[f"tokens.{name}"].astype(np.float32) for name in Tokens._fields}),
            stored["biased"],
        )
