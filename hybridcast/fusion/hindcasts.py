"""Hindcasts: forecasts of the members made again from earlier issue times, and weights adapted by their errors.

At the issue time the forecasts of the last hour are made again from the frames of that time. A small correction of the
weights is fitted to their errors: more or less weight for each member, and a constant if all of them are too wet or too
dry. A ridge holds the correction at zero, so that few data change little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.packed_frames import holds_any
from hybridcast.core.types import MINUTE, Array, Mask
from hybridcast.fusion.members import prepare_inputs
from hybridcast.learned.blend import Blend, MemberForecasts
from hybridcast.learned.logistic import fit_logistic
from hybridcast.learned.member import HINDCAST_HISTORY, Member, evaluate_members


@dataclass(frozen=True)
class HindcastSettings:
    """Settings of the hindcasts, and how far they may change the weights."""

    cells: int = 3000
    """Maximum number of cells at which a hindcast is verified."""
    leads: tuple[int, ...] = (30, 60)
    """Lead times of the hindcasts, min."""
    evidence: float = 100.0
    """Maximum number of independent observations that a hindcast counts as; neighbouring cells are not independent."""
    ridge: float = 30.0
    """Strength of the ridge, as a number of observations."""


def make_hindcasts(
    members: Sequence[Member], coarse: xr.DataArray, settings: HindcastSettings
) -> list[MemberForecasts]:
    """Forecast frames that have been observed, from the frames before them.

    Issue times lie before the latest frame by each lead time of the settings, if the frames reach back far enough.
    Their forecasts for all lead times up to the latest frame are paired with the frames at randomly chosen cells.

    Parameters
    ----------
    members
        Members to evaluate, which need radar only.
    coarse
        Frames up to the issue time, on the cells that the members were trained on.
    settings
        Settings of the hindcasts.
    """
    known = known_frames(coarse)
    if not known.size:
        return []
    latest = coarse["time"].values[known[-1]]
    generator = np.random.default_rng(0)
    found: list[MemberForecasts] = []
    for back in settings.leads:
        issue = latest - np.timedelta64(back, "m")
        recent = coarse.sel(time=slice(issue - HINDCAST_HISTORY, issue))
        usable = known_frames(recent)
        if usable.size < 2 or recent["time"].values[usable[-1]] != issue:
            continue
        leads = [lead for lead in settings.leads if lead <= back]
        later = coarse.reindex(time=issue + np.array(leads) * MINUTE).values
        cells = _choose_cells(np.isfinite(later).any(axis=0), settings.cells, generator)
        found += _hindcast(members, recent, leads, later, cells)
    return found


def known_frames(field: xr.DataArray) -> NDArray[np.int64]:
    """Return the numbers of the frames that hold any value."""
    return np.flatnonzero(holds_any(field))


def _choose_cells(known: Mask, count: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """Return row and column of at most `count` of the known cells, ``(cell, 2)``."""
    cells = np.argwhere(known).astype(np.int32)
    if len(cells) <= count:
        return cells
    return cells[np.sort(generator.choice(len(cells), count, replace=False))]


def _hindcast(
    members: Sequence[Member],
    recent: xr.DataArray,
    leads: Sequence[int],
    later: Array,
    cells: NDArray[np.int32],
) -> list[MemberForecasts]:
    """Return the forecasts from the last time of `recent` at the cells, one for each lead time (min) that is known."""
    lead_times = np.array(leads) * MINUTE
    _, inputs = prepare_inputs(members, recent, lead_times, cells, lagrangian=False)
    found = []
    for lead, of_lead, frame in zip(leads, inputs, later, strict=True):
        observed = frame[cells[:, 0], cells[:, 1]]
        known = np.isfinite(observed)
        if known.any():
            log_odds = evaluate_members(members, of_lead.select(known), float(lead))
            weight = np.ones(int(known.sum()), np.float32)
            found.append(MemberForecasts(float(lead), log_odds, observed[known], weight))
    return found


# --- adaptation of the weights --------------------------------------------------------------------------------


def adapt_weights(blend: Blend, hindcasts: Sequence[MemberForecasts], settings: HindcastSettings) -> Blend:
    """Adapt the weights by hindcasts of the same event.

    For each threshold one correction is fitted to all hindcasts together and used at all lead times: a factor of the
    blend, the difference of each member from the blend, and a constant.
    """
    hindcasts = [one for one in hindcasts if one.observed.size]
    if not hindcasts:
        return blend
    blended = [blend.log_odds(one.log_odds, one.lead_minutes) for one in hindcasts]
    weights = blend.weights.copy()
    for k in range(len(blend.thresholds)):
        factor, differences, constant = _fit_correction(blend, hindcasts, blended, k, settings)
        weights[:, k] *= np.float32(1 + factor - differences.sum())
        weights[:, k, :-1] += differences
        weights[:, k, -1] += np.float32(constant)
    return replace(blend, weights=weights)


def _fit_correction(
    blend: Blend,
    hindcasts: Sequence[MemberForecasts],
    blended: Sequence[Array],
    threshold: int,
    settings: HindcastSettings,
) -> tuple[float, Array, float]:
    """Return by how much to stretch the blend, the weights of the members' differences from it, and the constant."""
    inputs, offsets, events, weights = [], [], [], []
    for one, of_blend in zip(hindcasts, blended, strict=True):
        offset = of_blend[threshold]
        differences = [one.log_odds[name][threshold] - offset for name in blend.members]
        inputs.append(np.stack([offset, *differences], axis=1))
        offsets.append(offset)
        events.append(one.observed >= np.float32(blend.thresholds[threshold]))
        weights.append(one.weight * (settings.evidence / max(one.weight.sum(), settings.evidence)))
    found = fit_logistic(
        np.concatenate(inputs),
        np.concatenate(events),
        np.concatenate(weights),
        offset=np.concatenate(offsets),
        ridge=settings.ridge,
    )
    return float(found[0]), found[1:-1].astype(np.float32), float(found[-1])
