"""Settings as frozen dataclasses, and their reading from TOML files with strict checks of keys and types."""

from __future__ import annotations

import dataclasses
import difflib
import numbers
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hybridcast.errors import InputError
from hybridcast_kernels.flow_cpu import FlowOptions

T = TypeVar("T")
Interpolation = Literal["nearest", "linear", "cubic"]


@dataclass(frozen=True)
class MotionSettings:
    """Settings of the dense multi-frame flow; lengths in pixels refer to the pixels of each pyramid level."""

    frames: int = 4
    """Number of latest frames used (at least 2); missing frames are skipped."""
    iterations: int = FlowOptions.iterations
    """Number of Gauss-Newton iterations per pyramid level; the coarsest level has three times as many."""
    window: float = FlowOptions.window
    """Standard deviation of the window of the least-squares fit, pixels."""
    smoothing: float = FlowOptions.smoothing
    """Standard deviation of the smoothing between iterations, pixels."""
    final_smoothing: float = FlowOptions.final_smoothing
    """Standard deviation of the smoothing of the finest level, pixels."""
    ridge: float = FlowOptions.ridge
    """Ridge of the fit as a fraction of the mean trace of the structure tensor."""
    prior: float = FlowOptions.prior
    """Weight of the flow of the coarser level, as a fraction of the mean trace; larger values reduce the influence of
    weak echo."""
    lowest_rate: float = FlowOptions.lowest_rate
    """Rates below this (mm h-1) are no echo."""
    highest_rate: float = 1000.0
    """Rates above this (mm h-1) are reduced to it, so that single cells do not dominate the fit."""

    def __post_init__(self) -> None:
        """Refuse values outside the valid range."""
        _check_minimum(self, "frames", 2)
        _check_minimum(self, "iterations", 1)
        for name in ("window", "smoothing", "final_smoothing", "ridge", "prior", "lowest_rate"):
            _check_minimum(self, name, 1e-6)
        _check_minimum(self, "highest_rate", self.lowest_rate * 10)


@dataclass(frozen=True)
class AdvectionSettings:
    """Settings of the semi-Lagrangian advection."""

    interpolation: Interpolation = "linear"
    """Interpolation of the latest field."""

    def __post_init__(self) -> None:
        """Refuse an unknown interpolation."""
        choices = ("nearest", "linear", "cubic")
        if self.interpolation not in choices:
            raise InputError(
                f"interpolation {self.interpolation!r}",
                "the field is sampled in a known way",
                f"Choose one of {choices}",
            )


@dataclass(frozen=True)
class ScaleFilterSettings:
    """Settings of the scale filter."""

    levels: int = 8
    """Number of cascade levels; a small grid has fewer."""
    offset: float = 0.25
    """Offset (mm h-1) that is added to rates before they are converted to decibels and filtered, which reduces the
    differences between lower rates."""
    lowest_rate: float = 0.1
    """Rates below this (mm h-1) are dry."""
    longest_step: float = 15.0
    """Longest step of the AR processes (min); their steps are the multiples of the time step of the radar up to it."""

    def __post_init__(self) -> None:
        """Refuse values outside the valid range."""
        _check_minimum(self, "levels", 1)
        for name in ("offset", "lowest_rate", "longest_step"):
            _check_minimum(self, name, 1e-6)


@dataclass(frozen=True)
class Settings:
    """Settings of a forecast, as in the tables ``[motion]``, ``[advection]`` and ``[scale_filter]`` of a TOML file."""

    motion: MotionSettings = field(default_factory=MotionSettings)
    advection: AdvectionSettings = field(default_factory=AdvectionSettings)
    scale_filter: ScaleFilterSettings = field(default_factory=ScaleFilterSettings)


def load_settings(path: str | Path) -> Settings:
    """Read settings from a TOML file; absent keys keep their defaults.

    Raises
    ------
    InputError
        If the file is not TOML, a key is unknown (the message suggests the most similar one), or a value is invalid.
    """
    return parse_table(Settings, read_toml(path, "settings"), str(path))


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """Read a TOML file that contains `what`, such as "settings"; raise `InputError` if it cannot be read."""
    try:
        return tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", f"{what} are read from a TOML file", "Check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}", f"{what} are TOML", "Correct the line named") from error


def parse_table(kind: type[T], table: dict[str, Any], where: str) -> T:
    """Build a dataclass from a TOML table; unknown keys, wrong types and missing required keys are refused.

    Parameters
    ----------
    kind
        Dataclass. The key of a field is its name, or the item ``key`` of its metadata; a field whose item ``key`` is
        None has no key. Fields have plain types, dataclasses (tables), tuples of these (arrays), or are optional.
    table
        Table read from the file.
    where
        Location of the table, for error messages.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value has the wrong type.
    """
    hints = get_type_hints(kind)
    known = {f.metadata.get("key", f.name): f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    known.pop(None, None)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            remedy = f"Did you mean {near[0]!r}" if near else f"Known keys are {', '.join(known)}"
            raise InputError(f"{where}: unknown key {key!r}", "only known settings are accepted", remedy)
        name = known[key].name
        values[name] = _convert(hints[name], value, f"{where}, {key}")
    absent = [key for key, f in known.items() if _is_required(f) and f.name not in values]
    if absent:
        raise InputError(f"{where} has no {absent[0]!r}", f"{', '.join(absent)} must be given", "Add it")
    return kind(**values)


def _is_required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) in {Union, UnionType}:
        hint = next(h for h in get_args(hint) if h is not NoneType)  # TOML has no null, so a given value is not None
    if get_origin(hint) is tuple:
        return _convert_array(get_args(hint), value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return parse_table(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = hint if isinstance(hint, type) else str
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise InputError(f"{where} = {value!r}", f"it is {_describe_type(wanted)}", "Correct the value")
    return value


def _convert_array(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InputError(f"{where} = {value!r}", "it is an array", "Write it in brackets")
    if hints[-1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise InputError(f"{where} = {value!r}", f"it is an array of {len(hints)}", "Correct the array")
    return tuple(_convert(hint, v, _locate(where, k, v)) for k, (hint, v) in enumerate(zip(hints, value, strict=True)))


def _locate(where: str, number: int, value: Any) -> str:
    """Return the location of an item of an array, by the name of a table or by its number."""
    return f"{where} {value['name']}" if isinstance(value, dict) and "name" in value else f"{where}[{number}]"


def _describe_type(kind: type) -> str:
    return "a table" if dataclasses.is_dataclass(kind) else f"of type {kind.__name__}"


def _check_minimum(settings: Any, name: str, low: float) -> None:
    value = getattr(settings, name)
    if not low <= value < float("inf"):
        raise InputError(f"{name} = {value}", f"{name} is at least {low:g}, and finite", "Correct the setting")


def check_known(name: str, known: Iterable[str], what: str) -> None:
    """Raise `InputError` if `name` is not among `known` names; the message has the nearest of them or all.

    Parameters
    ----------
    name
        The name that was given.
    known
        The names that are allowed.
    what
        What the name is of, such as "nowcaster", for the message.
    """
    names = list(dict.fromkeys(known))
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        remedy = f"Did you mean {near[0]!r}" if near else f"Choose one of {', '.join(names)}"
        raise InputError(f"{what} {name!r}", "it is a known one", remedy)


def check_whole(name: str, value: Any, largest: int) -> int:
    """Return a whole number from 0 to the largest; `InputError` for anything else."""
    whole = int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else -1
    if not 0 <= whole <= largest:
        rule = f"it is a whole number from 0 to {largest}"
        raise InputError(f"{name} = {value!r}", rule, f"Give, for example, {name}=20", cli_remedy=f"Write --{name} 20")
    return whole
