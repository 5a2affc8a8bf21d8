"""Samples with tokens beside them, to compare early with late fusion on the same rows.

Events without gauges get pseudo-gauges, simulated from their radar. Such gauges contain information about an error of
the radar only if the radar has one: in every second case a bias is simulated on the radar up to the issue time, but not
on the observations that forecasts are compared with.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from early_fusion.tokens import Tokens, build_token_sources, build_tokens, concatenate_tokens, select_rows
from hybridcast.core.files import atomic_write
from hybridcast.core.time_steps import time_step
from hybridcast.core.types import MINUTE, Mask
from hybridcast.datasets import (
    Event,
    PseudoGaugeSettings,
    issue_times,
    load_event_radar,
    simulate_pseudo_gauges,
    simulate_radar_bias,
)
from hybridcast.learned.member import HINDCAST_HISTORY
from hybridcast.learned.training.samples import (
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

#: Interval of the reports of pseudo-gauges, if the radar has a time step that fits.
INTERVAL = np.timedelta64(15, "m")


class TokenSamples(NamedTuple):
    """Rows of an event with their tokens."""

    samples: Samples
    tokens: Tokens
    biased: Mask
    """Whether the radar of the row's issue time has a simulated bias, shape ``(row,)``."""


def draw_token_samples(event: Event, sampling: Sampling) -> TokenSamples:
    """Draw the samples of an event, with pseudo-NWP and, unless it has gauges, pseudo-gauges.

    Raises
    ------
    ValueError
        If the event has no issue time with radar data afterwards.
    """
    radar = load_event_radar(event)
    interval = np.timedelta64(sampling.min_interval, "m")
    cases = issue_times(radar, event, min_interval=interval, max_count=sampling.cases)
    generator = np.random.default_rng(np.random.SeedSequence([sampling.seed, *event.name.encode()]))
    gauges = _open_gauges(event, radar, int(generator.integers(2**31)))
    parts = [
        draw_case(event.name, radar, gauges, issue, sampling, generator, biased=number % 2 == 1)
        for number, issue in enumerate(cases)
    ]
    parts = [part for part in parts if part.samples.lead.size]
    if not parts:
        raise ValueError(f"{event.name} has no case")
    return TokenSamples(
        concatenate_samples([part.samples for part in parts]),
        concatenate_tokens([part.tokens for part in parts]),
        np.concatenate([part.biased for part in parts]),
    )


def _open_gauges(event: Event, radar: xr.DataArray, seed: int) -> xr.Dataset:
    """Return the gauges of the event, or pseudo-gauges of 15 min or the next longer interval that fits the radar."""
    if event.stations is not None:
        return open_stations(event.stations)
    step = time_step(radar["time"].values) or INTERVAL
    minutes = int(-(-INTERVAL // step) * (step / MINUTE))
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
) -> TokenSamples:
    """Draw one issue time; a simulated bias affects the radar up to the issue time, but not the observations."""
    recent = radar.sel(time=slice(issue - HINDCAST_HISTORY, issue))
    if biased:
        recent = _add_bias(recent, generator)
    sources = select_sources(recent, nwp=simulate_random_runs(name, radar, issue, sampling.seed), stations=gauges)
    view = build_view(recent, np.array(sampling.leads) * MINUTE, DenseFlow(), sources)
    targets = draw_targets(radar, view, sampling, generator)
    samples = build_samples(view, targets)
    token_sources = build_token_sources(recent, view.state, sources)
    departures = departure_points(view.state, targets.cells)
    by_lead = [
        select_rows(build_tokens(token_sources, lead, departures[lead], targets.cells), known)
        for lead, known in enumerate(targets.known)
    ]
    return TokenSamples(samples, concatenate_tokens(by_lead), np.full(samples.lead.size, biased))


def _add_bias(recent: xr.DataArray, generator: np.random.Generator) -> xr.DataArray:
    """Simulate a radar bias: half to one and a half of the rain, less at long range, with patches."""
    return simulate_radar_bias(
        recent,
        seed=int(generator.integers(2**31)),
        bias=float(np.exp(generator.uniform(np.log(0.5), np.log(1.5)))),
        range_loss=float(generator.uniform(0, 0.5)),
    )[0]


def save_token_samples(drawn: TokenSamples, path: Path) -> None:
    """Write samples and tokens as plain arrays, tokens in half precision."""
    arrays = {f"samples.{name}": value for name, value in drawn.samples._asdict().items()}
    arrays |= {f"tokens.{name}": value.astype(np.float16) for name, value in drawn.tokens._asdict().items()}
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez_compressed(file, biased=drawn.biased, **arrays)


def load_token_samples(path: Path) -> TokenSamples:
    """Read samples and tokens written by `save_token_samples`."""
    with np.load(path, allow_pickle=False) as stored:
        return TokenSamples(
            Samples(**{name: stored[f"samples.{name}"] for name in Samples._fields}),
            Tokens(**{name: stored[f"tokens.{name}"].astype(np.float32) for name in Tokens._fields}),
            stored["biased"],
        )
