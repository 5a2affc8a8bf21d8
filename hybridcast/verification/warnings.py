"""Verification of warnings at places: hits, misses, false alarms, lead times, and the reliability of probabilities.

A sequence of forecasts is put through the rule of `hybridcast.places.hysteresis`, and what it raises is compared with
what was observed. All statistics are counts and sums, which add up over days, regions and places.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import RATE
from hybridcast.core.forecast_schema import PROBABILITY
from hybridcast.core.times import as_datetime64
from hybridcast.core.types import MINUTE, Array, Mask
from hybridcast.errors import InputError
from hybridcast.places.hysteresis import WarningEvent, WarningState, update_warnings
from hybridcast.verification.statistics import PROBABILITY_BINS

#: Observations of a level less than this apart are one event.
SEPARATION = np.timedelta64(60, "m")
LEAD_MINUTES = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0)
"""Lower edges of the classes of the lead time of warnings, min; the last class is open."""
OUTCOMES = ("hits", "misses", "late", "false_alarms", "undecided")
"""Counts of events and warnings; ``late`` ones are among the misses."""
_PAIRS = ("pairs", "pair_events", "pair_probability", "pair_error")


class Episode(NamedTuple):
    """A time during which a warning is raised, or a level is reached."""

    start: np.datetime64
    end: np.datetime64 | None
    """Issue time of the forecast that cleared it, or the last time at which it is reached; None if it is not over."""


def score_warnings(tables: Sequence[xr.Dataset], observed: xr.Dataset) -> xr.Dataset:
    """Return the statistics of the warnings and probabilities of a sequence of forecasts.

    An event is the time during which a level is reached at a place; times less than an hour apart are one event. It
    counts if it begins after the first issue time and until the last one, and it is known that the level was not
    reached before. It is a hit if a warning was raised before it begins and is not cleared; its lead time is from the
    issue time of the forecast that raised it, or from the end of the event before if that is later, and at most the
    longest lead time of the forecasts. Otherwise it is a miss, and ``late`` if a warning is raised while it lasts. A
    warning that is cleared before anything is reached is a false alarm; it is undecided if the observation has
    gaps, or the forecasts end before it is cleared.

    Parameters
    ----------
    tables
        Products of forecasts at places, as `hybridcast.at_places` returns them, in the order of their issue times.
    observed
        As `hybridcast.places.observe_radar` or `observe_gauges` returns it, until after the last lead time.

    Returns
    -------
    Dataset
        By ``place`` and ``level``: `hits`, `misses`, `late`, `false_alarms`, `undecided`; `lead_sum`, min, over hits;
        and `hits_by_lead`, by ``lead_minutes`` (`LEAD_MINUTES`). Of the probability that a level is reached within the
        forecast, by ``probability_bin`` too: `level_pairs`, `level_pair_events`, `level_pair_probability` and
        `level_pair_error`, the numbers of forecasts and of events, and the sums of the probability and of its squared
        error. The same of rates, by ``place``, ``statistic``, ``threshold`` and ``lead_time``: `rate_pairs` and so on.

    Raises
    ------
    InputError
        If there is no forecast, or they are not in the order of time.
    """
    if not tables:
        raise InputError("there is no forecast", "a sequence of forecasts is scored", "Give one at least")
    state, events = WarningState(), []
    for table in tables:
        state, found = update_warnings(state, table)
        events += found
    made = score_episodes(tables, observed, events)
    pairs = functools.reduce(np.add, (_pair_levels(table, observed) for table in tables))
    rates = functools.reduce(np.add, (_pair_rates(table, observed) for table in tables))
    return (
        made.assign(_name(pairs, "level", ("place", "level")))
        .assign(_name(rates, "rate", ("threshold", "lead_time", "statistic", "place")))
        .assign_coords(probability_bin=np.linspace(0, 1, PROBABILITY_BINS).round(6))
    )


# --- warnings -------------------------------------------------------------------------------------------------


def score_episodes(tables: Sequence[xr.Dataset], observed: xr.Dataset, events: Sequence[WarningEvent]) -> xr.Dataset:
    """Return the outcomes of warnings, by place and level; see `score_warnings`."""
    first, last = (table["reference_time"].values.reshape(1)[0] for table in (tables[0], tables[-1]))
    labels = tables[-1][["place", "level", "threshold", "lead_time", "statistic"]].coords
    coords = {name: labels[name].values for name in ("place", "level", "threshold", "lead_time", "statistic")}
    shape = coords["place"].size, coords["level"].size
    counts = {name: np.zeros(shape) for name in (*OUTCOMES, "lead_sum")}
    by_lead = np.zeros((*shape, len(LEAD_MINUTES)))
    raised, horizon = _find_warnings(events), tables[-1]["lead_time"].values[-1]
    times = observed["time"].values
    for row, place in enumerate(coords["place"]):
        for column, level in enumerate(coords["level"]):
            if place not in observed["place"].values or level not in observed["level"].values:
                continue
            reached = observed["level_reached"].sel(place=place, level=level).values
            found = raised.get((str(place), str(level)), [])
            outcome, leads = judge_episodes(found, reached, times, (first, last), horizon)
            for name, count in outcome.items():
                counts[name][row, column] = count
            counts["lead_sum"][row, column] = sum(leads)
            by_lead[row, column] = np.bincount(
                np.searchsorted(LEAD_MINUTES, leads, "right") - 1, minlength=by_lead.shape[-1]
            )
    made = {name: (("place", "level"), values) for name, values in counts.items()}
    return xr.Dataset(
        {**made, "hits_by_lead": (("place", "level", "lead_minutes"), by_lead)},
        coords=coords | {"lead_minutes": list(LEAD_MINUTES)},
    )


def _find_warnings(events: Sequence[WarningEvent]) -> dict[tuple[str, str], list[Episode]]:
    """Return the warnings of each place and level in the order of time."""
    found: dict[tuple[str, str], list[Episode]] = {}
    for event in events:
        key = str(event.place), str(event.level)
        if event.kind == "raised":
            found.setdefault(key, []).append(Episode(as_datetime64(event.time), None))
        elif event.kind == "cleared":
            found[key][-1] = found[key][-1]._replace(end=as_datetime64(event.time))
    return found


def judge_episodes(
    raised: Sequence[Episode],
    reached: Array,
    times: NDArray[np.datetime64],
    period: tuple[np.datetime64, np.datetime64],
    horizon: np.timedelta64,
) -> tuple[dict[str, int], list[float]]:
    """Return the outcomes of the warnings of one level at one place, and the lead times of its hits, min.

    Parameters
    ----------
    raised
        Warnings, in the order of time.
    reached
        1 where the level is reached, 0 where not, NaN where unknown, shape ``(time,)``.
    times
        Times of `reached`.
    period
        The first and the last issue time.
    horizon
        The longest lead time of the forecasts.
    """
    outcome = dict.fromkeys(OUTCOMES, 0)
    leads = []
    over = period[0]
    for event in find_events(reached, times):
        before, over = over, event.end or over
        if not period[0] < event.start <= period[1]:
            continue
        active = [one for one in raised if one.start < event.start and (one.end is None or one.end >= event.start)]
        if active:
            outcome["hits"] += 1
            lead = min(event.start - max(active[-1].start, before), horizon)
            leads.append(float(lead / MINUTE))
            continue
        outcome["misses"] += 1
        outcome["late"] += any(event.start <= one.start <= (event.end or one.start) for one in raised)
    for one in raised:
        during = reached[(times >= one.start) & (times <= (times[-1] if one.end is None else one.end))]
        if not (during == 1).any():
            is_known = one.end is not None and during.size > 0 and np.isfinite(during).all()
            outcome["false_alarms" if is_known else "undecided"] += 1
    return outcome, leads


def find_events(reached: Array, times: NDArray[np.datetime64]) -> list[Episode]:
    """Return the times during which a level is reached, whose beginning is known.

    Times that are less than `SEPARATION` apart are one.
    """
    wet = np.flatnonzero(reached == 1)
    if not wet.size:
        return []
    apart = np.diff(times[wet]) >= SEPARATION
    first, last = wet[np.append(True, apart)], wet[np.append(apart, True)]
    return [Episode(times[a], times[b]) for a, b in zip(first, last, strict=True) if a > 0 and reached[a - 1] == 0]


# --- probabilities --------------------------------------------------------------------------------------------


def _pair_levels(table: xr.Dataset, observed: xr.Dataset) -> NDArray[np.float64]:
    """Return the sums over pairs of probabilities of levels and events, ``(sum, place, level, bin)``."""
    probability = table["warning_probability"].transpose("place", "level").values
    (issued,) = table["reference_time"].values.reshape(1)
    reached = observed["level_reached"].reindex(place=table["place"].values, level=table["level"].values)
    end = issued + table["lead_time"].values[-1]
    during = reached.sel(time=slice(issued, end)).transpose("time", "place", "level").values
    is_whole = bool(observed["time"].values[-1] >= end)
    happened = (during == 1).any(axis=0)
    decided = happened | (np.isfinite(during).all(axis=0) & is_whole & (len(during) > 0))
    return _sum_pairs(probability, happened, decided)


def _pair_rates(table: xr.Dataset, observed: xr.Dataset) -> NDArray[np.float64]:
    """Return the sums over pairs of probabilities of rates and events.

    Shape ``(sum, threshold, lead, statistic, place, bin)``.
    """
    dims = ("threshold", "lead_time", "statistic", "place")
    probability = table[PROBABILITY].transpose(*dims).values
    (issued,) = table["reference_time"].values.reshape(1)
    rates = observed[RATE].reindex(place=table["place"].values, time=issued + table["lead_time"].values)
    seen = rates.transpose("time", "statistic", "place").values
    limits = table["threshold"].values.astype(np.float32).reshape(-1, 1, 1, 1)
    return _sum_pairs(probability, seen >= limits, np.broadcast_to(np.isfinite(seen), probability.shape))


def _sum_pairs(probability: Array, events: Mask, valid: Mask) -> NDArray[np.float64]:
    """Return numbers of forecasts and events, and sums of probability and squared error, by bin of the probability."""
    valid = valid & np.isfinite(probability)
    known = np.where(valid, probability, 0.0).astype(np.float64)
    happened = np.where(valid, events, False).astype(np.float64)
    sums = np.zeros((len(_PAIRS), *probability.shape, PROBABILITY_BINS))
    bins = np.rint(known * (PROBABILITY_BINS - 1)).astype(int)[..., None]
    values: Sequence[Any] = (valid.astype(np.float64), happened, known, np.where(valid, (known - happened) ** 2, 0.0))
    for total, value in zip(sums, values, strict=True):
        np.put_along_axis(total, bins, value[..., None], axis=-1)
    return sums


def _name(total: NDArray[np.float64], what: str, dims: tuple[str, ...]) -> dict[str, Any]:
    return {f"{what}_{name}": ((*dims, "probability_bin"), values) for name, values in zip(_PAIRS, total, strict=True)}


# --- scores ---------------------------------------------------------------------------------------------------


def summarize_warnings(statistics: xr.Dataset) -> xr.Dataset:
    """Return scores from the statistics of warnings, after they are summed over what is wanted.

    Returns
    -------
    Dataset
        `hit_rate` (hits of all events), `false_alarm_ratio` (false alarms of the warnings that are decided),
        `mean_lead`, min, over hits, `csi`, and `brier_score` of the probability of the level; NaN without cases.
    """
    hits, misses, alarms = (statistics[name] for name in ("hits", "misses", "false_alarms"))
    pairs, error = (statistics[name].sum("probability_bin") for name in ("level_pairs", "level_pair_error"))

    def divide(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
        return a / b.where(b > 0)

    return xr.Dataset(
        {
            "hit_rate": divide(hits, hits + misses),
            "false_alarm_ratio": divide(alarms, hits + alarms),
            "mean_lead": divide(statistics["lead_sum"], hits),
            "csi": divide(hits, hits + misses + alarms),
            "brier_score": divide(error, pairs),
        }
    )
