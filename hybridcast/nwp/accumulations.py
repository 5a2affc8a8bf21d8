"""Precipitation rates from accumulations, either since the start of a run or over each step."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hybridcast.core.types import HOUR, Array
from hybridcast.errors import InputError, InputWarning, ReadError
from hybridcast.nwp.components import sum_components
from hybridcast.nwp.pieces import SINCE_START, Piece, Stated, complaint
from hybridcast.nwp.schema import RATE

Step = tuple[np.timedelta64, np.timedelta64]

#: A decrease of an accumulation up to this (mm) is a rounding error of packed values.
ROUNDING = 0.02
#: A decrease up to this (mm), or up to this fraction of the sum, can result from packing with few bits.
LARGEST_PACKING_ERROR, RELATIVE_PACKING_ERROR = 0.05, 0.02
#: If an accumulation decreases in more than this fraction of its wet cells, it has been reset.
RESET_FRACTION = 0.5
#: Sums since a time of the day are reset at most this often.
SHORTEST_RESET = np.timedelta64(6, "h")
#: Number of cells, and fraction of the wet ones, that must be unchanged and grow from each sum to the next, for sums
#: that never fall to be known as sums since the start of the run.
_EVIDENCE = 20, 0.01
_FEWEST_SUMS = 3


def rates_of_run(amounts: Sequence[Piece], stated: Stated) -> tuple[list[Piece], list[str]]:
    """Return the mean rates of one run or member from its amounts and their parts, and notes on what was left out.

    Parameters
    ----------
    amounts
        Pieces with names in `hybridcast.nwp.schema.AMOUNTS`, of one run or member.
    stated
        What the user states about files that do not say it.

    Raises
    ------
    ReadError, InputError
        If the start of the step of an amount is not known.
    """
    whole, notes = sum_components(_find_starts(amounts, stated))
    _check_resets(whole)
    by_end = {piece.end: piece for piece in whole}
    rates = rates_from_accumulations({(piece.start, piece.end): piece.values for piece in whole})
    made = [by_end[end]._replace(name=RATE, start=start, end=end, values=v) for (start, end), v in rates.items()]
    apart = _leave_out_overlapping(made)
    if len(apart) < len(made):
        notes.append(f"{len(made) - len(apart)} sums over intervals that overlap those before")
    return apart, notes


def _leave_out_overlapping(rates: Sequence[Piece]) -> list[Piece]:
    """Return the rates, in the order of their ends, whose step begins at or after the end of the one before."""
    kept: list[Piece] = []
    for piece in rates:
        if not kept or piece.start >= kept[-1].end:
            kept.append(piece)
    return kept


# --- interval -------------------------------------------------------------------------------------------------


def _find_starts(amounts: Sequence[Piece], stated: Stated) -> list[Piece]:
    """Return amounts of known steps; those without one are of the stated interval, or since the start of the run."""
    unknown = sorted((piece for piece in amounts if np.isnat(piece.start)), key=lambda piece: piece.end)
    known = [piece for piece in amounts if not np.isnat(piece.start)]
    if not unknown:
        return known
    interval = stated.accumulation
    if interval is None:
        for name in {piece.name for piece in unknown}:
            _require_evidence([piece for piece in unknown if piece.name == name])
        interval = np.timedelta64(0, "ns")
    placed = [
        piece._replace(start=piece.end - interval if interval > np.timedelta64(0) else np.timedelta64(0, "ns"))
        for piece in unknown
    ]
    return known + [piece for piece in placed if piece.start >= np.timedelta64(0)]


def _require_evidence(amounts: list[Piece]) -> None:
    """Warn if sums are since the start of the run by their values; raise an error if their interval is not known."""
    first = amounts[0]
    if counts_since_start([piece.values for piece in amounts if piece.end > np.timedelta64(0)]):
        where = "" if first.path is None else f"{first.path}: "
        found = (
            f"{where}the interval of {first.name} is not stated; as no sum falls, read as since the start of the run"
        )
        option = f"--nwp-accumulation {SINCE_START}"
        warnings.warn(
            InputWarning(f"{found}; state it by accumulation={SINCE_START!r}", f"{found}; state it by {option}"),
            stacklevel=2,
        )
        return
    raise complaint(
        first.path,
        f"the interval of {first.name} is not stated (by bounds of time, or cell_methods)",
        f"State it: accumulation={SINCE_START!r} (of the run) or accumulation='1h', or add bounds of time to the file",
        f"State it: --nwp-accumulation {SINCE_START} (of the run) or --nwp-accumulation 1h",
    )


def counts_since_start(sums: Sequence[Array]) -> bool:
    """Return whether amounts are sums since the start of the run, as far as their values can prove it.

    No sum falls in any cell; and from each to the next some wet cells grow, while others, where the rain has ended,
    stay exactly the same, as amounts of single steps do not.
    """
    if len(sums) < _FEWEST_SUMS:
        return False
    fewest, fraction = _EVIDENCE
    for before, after in pairwise(sums):
        wet = (before > ROUNDING) | (after > ROUNDING)
        least = max(fewest, fraction * int(wet.sum()))
        change = after - before
        if (change < -ROUNDING).any() or (change > ROUNDING).sum() < least or ((change == 0) & wet).sum() < least:
            return False
    return True


def _check_resets(amounts: Sequence[Piece]) -> None:
    """Raise an error if sums from one start fall again and again, so that they are amounts of single steps."""
    for start in {piece.start for piece in amounts}:
        series = sorted((piece for piece in amounts if piece.start == start), key=lambda piece: piece.end)
        resets = [after for before, after in pairwise(series) if _was_reset(before.values, after.values)]
        for first, second in pairwise(resets):
            if second.end - first.end < SHORTEST_RESET:
                raise _contradicts(second)


def _contradicts(piece: Piece) -> ReadError | InputError:
    return complaint(
        piece.path,
        f"{piece.describe()}, a sum since the start, falls again and again, as amounts of single steps do",
        "Correct the bounds of time, or state the interval: accumulation='1h'",
        "Correct the bounds of time, or state the interval: --nwp-accumulation 1h",
    )


# --- rates ----------------------------------------------------------------------------------------------------


def rates_from_accumulations(sums: dict[Step, Array]) -> dict[Step, Array]:
    """Compute rates from the accumulations of one run.

    For each end the accumulation over the shortest step is used: either one of the file, or its difference to the
    accumulation from the same start to the previous end. Small negative differences, which result from packing, become
    0; where an accumulation decreases by more, the amount is unknown. If the accumulation decreases in most of the wet
    cells, it has been reset and counts from the previous end.

    Parameters
    ----------
    sums
        Accumulations (mm, arrays of any shape) by start and end of their step, both from the start of the run.

    Returns
    -------
    dict
        Rates (mm h-1) by start and end, at most one for each end. An accumulation over an empty step, such as the
        first one of a run, is left out.

    Examples
    --------
    >>> hours = [np.timedelta64(k, "h") for k in range(3)]
    >>> since_start = {(hours[0], hours[1]): np.float32([2]), (hours[0], hours[2]): np.float32([5])}
    >>> [rate.tolist() for rate in rates_from_accumulations(since_start).values()]
    [[2.0], [3.0]]
    """
    rates: dict[Step, Array] = {}
    for end in sorted({end for _, end in sums}):
        candidates = [_shortest_step(sums, start, end) for start, stop in sums if stop == end and start < end]
        if not candidates:
            continue
        (first, amount) = max(candidates, key=lambda candidate: candidate[0])
        rates[first, end] = np.asarray(amount / np.float32((end - first) / HOUR))
    return rates


def _shortest_step(sums: dict[Step, Array], start: np.timedelta64, end: np.timedelta64) -> tuple[np.timedelta64, Array]:
    """Return start and amount of the shortest step before `end` that follows from accumulations since `start`."""
    whole = sums[start, end]
    earlier = [stop for begin, stop in sums if begin == start and start < stop < end]
    if not earlier:
        return start, np.maximum(whole, np.float32(0))
    before = max(earlier)
    if _was_reset(sums[start, before], whole):
        return before, np.maximum(whole, np.float32(0))
    return before, _difference(sums[start, before], whole)


def _difference(before: Array, after: Array) -> Array:
    """Return the growth of a sum: 0 where it falls by an error of packing, NaN where it falls by more."""
    growth = after - before
    fallen = growth < -np.maximum(np.float32(LARGEST_PACKING_ERROR), np.float32(RELATIVE_PACKING_ERROR) * before)
    return np.where(fallen, np.float32(np.nan), np.maximum(growth, np.float32(0)))


def _was_reset(before: Array, after: Array) -> bool:
    wet = before > ROUNDING
    decreased = wet & (after < before - ROUNDING)
    return int(decreased.sum()) > RESET_FRACTION * max(int(wet.sum()), 1)
