"""Time steps of frames: found, kept, filled and rounded.

Frames are on regular steps. Seconds off them are rounded away with a note, and missing frames are frames of NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hybridcast.errors import InputError, InputWarning

#: Smallest fraction of regular time steps with a frame for which gaps are filled.
MIN_FRAME_FRACTION = 0.1
#: Largest difference between a time and its regular step that is rounded away, if it is also below a tenth of the step.
MAX_JITTER = np.timedelta64(30, "s")
#: Time steps of radars (s), to which times may be rounded; others are found if the times keep them.
_USUAL_STEPS = (60, 120, 150, 180, 240, 300, 360, 450, 600, 720, 900, 1200, 1800, 3600, 10800, 21600, 86400)
_HALF_MINUTE = np.timedelta64(30, "s")


def time_step(times: ArrayLike) -> np.timedelta64 | None:
    """Return the step between regular times; None for a single time.

    Raises
    ------
    InputError
        If times are missing, repeated, not in order or not evenly spaced. `regular_times` fills gaps.
    """
    values = np.asarray(times, dtype="datetime64[ns]")
    if np.isnat(values).any():
        raise InputError("a time is missing (NaT)", "every frame has a time", "Give the time of each frame")
    if values.size < 2:
        return None
    steps = np.diff(values)
    step = steps.min()
    if step <= np.timedelta64(0):
        late = values[1:][steps <= np.timedelta64(0)]
        raise InputError(
            f"time does not increase at {_show(late)}", "each time comes once, in order", "Sort, and drop doubled times"
        )
    if (steps != step).any():
        raise InputError(
            f"time steps differ ({_minutes(step)} min, but not at {_show(values[1:][steps != step])})",
            "frames are evenly spaced in time",
            "Fill gaps with hybridcast.regular_times(field), or select frames at one step",
        )
    return cast(np.timedelta64, step)


def regular_times(
    field: xr.DataArray,
    step: np.timedelta64 | None = None,
    *,
    file_of: Callable[[np.datetime64], str] | None = None,
) -> xr.DataArray:
    """Put frames on regular time steps; missing frames become frames of NaN.

    Times that differ from regular steps by seconds, such as those of processing, are rounded to them, with an
    `InputWarning` and ``attrs["times_rounded_seconds"]``, the largest difference.

    Parameters
    ----------
    field
        Frames in time order, dims ``(time, ...)``.
    step
        Time step; by default the most frequent difference between times (the smaller of two equally frequent ones)
        that all times keep.
    file_of
        Returns the name of the file of a time, for error messages.

    Raises
    ------
    InputError
        If a time is repeated or not on a regular step (the message names the times), or if more than nine in ten
        frames would be missing.
    """
    times = np.asarray(field["time"].values, dtype="datetime64[ns]")
    if (np.diff(times) <= np.timedelta64(0)).any():
        time_step(times)
    if times.size < 2:
        return field
    nominal, every = _round_times(times, step)
    if not _are_on_steps(nominal, every):
        raise _off_steps_error(nominal, every, file_of)
    count = int((nominal[-1] - nominal[0]) // every) + 1
    if times.size < MIN_FRAME_FRACTION * count:
        raise _scattered_error(nominal, every, count, file_of)
    field = _with_rounded_times(field, nominal, every)
    return field if count == times.size else field.reindex(time=nominal[0] + np.arange(count) * every)


def usual_step(times: NDArray[np.datetime64]) -> np.timedelta64:
    """Return the most frequent difference between ordered times, the smaller of two equally frequent ones."""
    return _rank_steps(np.diff(times))[0]


def _rank_steps(differences: NDArray[np.timedelta64]) -> list[np.timedelta64]:
    """Return the different steps, the most frequent first, the smaller of two equally frequent ones first."""
    lengths, counts = np.unique(differences, return_counts=True)
    return list(lengths[np.argsort(-counts, kind="stable")])


def _find_step(times: NDArray[np.datetime64]) -> np.timedelta64:
    """Return the most frequent step that all times keep, for a radar whose step changes; otherwise the usual one."""
    differences = np.diff(times)
    steps = _rank_steps(differences)
    lasting = [step for step in steps if step == steps[0] or _lasts(step, differences)]
    return next((step for step in lasting if _are_on_steps(times, step)), steps[0])


def _lasts(step: np.timedelta64, differences: NDArray[np.timedelta64]) -> bool:
    """Return whether a step is not only that of a stray frame: it comes three times, or twice at an end."""
    same = differences == step
    return bool(same.sum() > 2 or same[:2].all() or same[-2:].all())


def _are_on_steps(times: NDArray[np.datetime64], step: np.timedelta64) -> bool:
    return not ((times - times[0]) % step != np.timedelta64(0)).any()


def _round_times(
    times: NDArray[np.datetime64], step: np.timedelta64 | None
) -> tuple[NDArray[np.datetime64], np.timedelta64]:
    """Return times rounded to regular steps if they differ from them by seconds, otherwise as they are; and the step.

    Two times are never rounded to one.
    """
    every = _find_step(times) if step is None else step
    if _are_on_steps(times, every) and (step is not None or every % _HALF_MINUTE == np.timedelta64(0)):
        return times, every
    for guess in _guess_steps(np.diff(times)) if step is None else [step]:
        nominal = _round_to(times, guess)
        if nominal is not None:
            return nominal, _find_step(nominal) if step is None else step
    return times, every


def _guess_steps(differences: NDArray[np.timedelta64]) -> list[np.timedelta64]:
    """Return the steps that half of these differences keep but for seconds, the longest first."""
    rounded = (differences + _HALF_MINUTE // 2) // _HALF_MINUTE * _HALF_MINUTE
    usual = np.array(_USUAL_STEPS).astype("timedelta64[s]").astype(rounded.dtype)
    found = np.array(_rank_steps(rounded[rounded >= _HALF_MINUTE])[:20], dtype=rounded.dtype)
    steps = np.unique(np.concatenate([usual, found]))[::-1]
    near = np.abs(differences[:, None] - steps) <= 2 * np.minimum(steps // 10, MAX_JITTER)
    return list(steps[2 * near.sum(axis=0) >= differences.size])


def _round_to(times: NDArray[np.datetime64], step: np.timedelta64) -> NDArray[np.datetime64] | None:
    """Return times rounded to steps from midnight, or from a whole minute or second; None if they are farther off."""
    largest = min(step // 10, MAX_JITTER)
    late = (times - times.astype("datetime64[D]")) % step
    turn = 2j * np.pi * (late / step)
    middle = np.angle(np.exp(turn).mean()) / (2 * np.pi) * (step / np.timedelta64(1, "s"))
    for phase in (0, 60 * round(middle / 60), round(middle)):
        start = times.astype("datetime64[D]").min() + np.timedelta64(phase, "s")
        nominal = start + (times - start + step // 2) // step * step
        if (np.abs(times - nominal) <= largest).all() and (np.diff(nominal) > np.timedelta64(0)).all():
            return np.asarray(nominal)
    return None


def _with_rounded_times(field: xr.DataArray, nominal: NDArray[np.datetime64], step: np.timedelta64) -> xr.DataArray:
    """Return the field with these times, and a note if they are rounded by a second or more."""
    off = np.abs(field["time"].values - nominal).max() / np.timedelta64(1, "s")
    if off == 0:
        return field
    field = field.assign_coords(time=("time", nominal, field["time"].attrs))
    if off >= 1:
        warnings.warn(
            f"times are up to {off:g} s off the {_minutes(step)} min steps: they were rounded to them",
            InputWarning,
            stacklevel=4,
        )
        field.attrs["times_rounded_seconds"] = float(off)
    return field


def _off_steps_error(
    times: NDArray[np.datetime64], step: np.timedelta64, file_of: Callable[[np.datetime64], str] | None
) -> InputError:
    odd = times[(times - times[0]) % step != np.timedelta64(0)]
    return InputError(
        f"{_show(odd, file_of)} is off the {_minutes(step)} min steps that start at {_show(times[:1], file_of)}",
        "frames are evenly spaced in time",
        "Leave out these frames, or give step=, a step that all of them keep",
        cli_remedy="Leave out these files, or give --radar-step, a step that all of them keep",
    )


def _scattered_error(
    times: NDArray[np.datetime64],
    step: np.timedelta64,
    count: int,
    file_of: Callable[[np.datetime64], str] | None,
) -> InputError:
    gap = int(np.argmax(np.diff(times)))
    return InputError(
        f"{times.size} frames are scattered over {count} steps of {_minutes(step)} min, from "
        f"{_show(times[:1], file_of)} to {_show(times[-1:], file_of)}, with the longest gap between "
        f"{_show(times[gap : gap + 1], file_of)} and {_show(times[gap + 1 : gap + 2], file_of)}",
        "at least one frame in ten is there",
        "Take frames that are close in time: open fewer files, or give times=(first, last)",
        cli_remedy="Give the files of one period only, or --issue-time, the last time of the period",
    )


def _show(times: NDArray[np.datetime64], file_of: Callable[[np.datetime64], str] | None = None) -> str:
    named = [f" ({file_of(time)})" if file_of else "" for time in times[:5]]
    shown = [f"{np.datetime_as_string(time, unit='s')}{name}" for time, name in zip(times, named, strict=False)]
    more = f" and {times.size - 5} more" if times.size > 5 else ""
    return ", ".join(shown) + more


def iso_time(time: np.datetime64) -> str:
    """Return a time as text, such as ``2017-05-09T10:45:00Z``."""
    return f"{np.datetime_as_string(time, unit='s')}Z"


def _minutes(step: np.timedelta64) -> str:
    return f"{step / np.timedelta64(1, 'm'):g}"
