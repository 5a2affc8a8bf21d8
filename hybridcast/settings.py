"""Settings as frozen dataclasses, read from TOML that is refused, by name, where a key is unknown."""

from __future__ import annotations

import dataclasses
import difflib
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
    """Settings of the dense multi-frame flow; those in pixels hold for the pixels of each pyramid level."""

    frames: int = 4
    """How many of the latest frames are used (at least 2); missing ones are skipped."""
    iterations: int = FlowOptions.iterations
    """Gauss-Newton iterations per pyramid level; three times as many on the coarsest."""
    window: float = FlowOptions.window
    """Standard deviation of the window of the least-squares fit, pixels."""
    smoothing: float = FlowOptions.smoothing
    """Standard deviation of the smoothing between iterations, pixels."""
    final_smoothing: float = FlowOptions.final_smoothing
    """Standard deviation of the smoothing of the finest level, pixels."""
    ridge: float = FlowOptions.ridge
    """Ridge of the fit as a share of the mean trace of the structure tensor."""
    prior: float = FlowOptions.prior
    """Weight of the flow of the coarser level, as a share of the mean trace: more of it, and weak echo counts less."""
    lowest_rate: float = FlowOptions.lowest_rate
    """Rates below this (mm h-1) are no echo."""
    highest_rate: float = 1000.0
    """Rates above this (mm h-1) count as this one, so that single cells do not rule the fit."""

    def __post_init__(self) -> None:
        """Refuse values with which the method makes no sense."""
        _at_least(self, "frames", 2)
        _at_least(self, "iterations", 1)
        for name in ("window", "smoothing", "final_smoothing", "ridge", "prior", "lowest_rate"):
            _at_least(self, name, 1e-6)
        _at_least(self, "highest_rate", self.lowest_rate * 10)


@dataclass(frozen=True)
class AdvectionSettings:
    """Settings of the semi-Lagrangian advection."""

    interpolation: Interpolation = "linear"
    """How the latest field is sampled."""

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
class ScaleSettings:
    """Settings of the scale filter."""

    levels: int = 8
    """Levels of the cascade; fewer on a grid too small for them."""
    offset: float = 0.25
    """Rates are filtered as decibels of the rate plus this (mm h-1): below it they differ little."""
    lowest_rate: float = 0.1
    """Rates below this (mm h-1) are dry."""
    longest_step: float = 15.0
    """The models step once, twice, ... the radar's step, as far as that is no longer than this (min)."""

    def __post_init__(self) -> None:
        """Refuse values with which the method makes no sense."""
        _at_least(self, "levels", 1)
        for name in ("offset", "lowest_rate", "longest_step"):
            _at_least(self, name, 1e-6)


@dataclass(frozen=True)
class Settings:
    """All settings of a forecast, as in a TOML file with the tables ``[motion]``, ``[advection]`` and ``[scales]``."""

    motion: MotionSettings = field(default_factory=MotionSettings)
    advection: AdvectionSettings = field(default_factory=AdvectionSettings)
    scales: ScaleSettings = field(default_factory=ScaleSettings)


def load_settings(path: str | Path) -> Settings:
    """Read settings from a TOML file; absent keys keep their defaults.

    Raises
    ------
    InputError
        If the file is no TOML, a key is unknown (the nearest right one is named), or a value does not fit.
    """
    return from_table(Settings, read_toml(path, "settings"), str(path))


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """Read a TOML file that holds `what`, such as "settings"; `InputError` if there is none, or it is no TOML."""
    try:
        return tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", f"{what} are read from a TOML file", "Check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}", f"{what} are TOML", "Correct the line named") from error


def from_table(kind: type[T], table: dict[str, Any], where: str) -> T:
    """Build the dataclass `kind` from a TOML table, refusing unknown keys, wrong types and what is not there.

    A field whose metadata has `key` is called that in the file; with None for it, it cannot be set there. Fields may
    be of plain types, dataclasses (tables), tuples of these (arrays), or one of them or None.
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
        values[name] = _fitting(hints[name], value, f"{where}, {key}")
    absent = [key for key, f in known.items() if _is_needed(f) and f.name not in values]
    if absent:
        raise InputError(f"{where} has no {absent[0]!r}", f"{', '.join(absent)} must be given", "Add it")
    return kind(**values)


def _is_needed(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _fitting(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) in {Union, UnionType}:
        hint = next(h for h in get_args(hint) if h is not NoneType)  # TOML has no null, so what is given is the other
    if get_origin(hint) is tuple:
        return _fitting_array(get_args(hint), value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return from_table(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = hint if isinstance(hint, type) else str
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise InputError(f"{where} = {value!r}", f"it is {_named(wanted)}", "Correct the value")
    return value


def _fitting_array(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InputError(f"{where} = {value!r}", "it is an array", "Write it in brackets")
    if hints[-1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise InputError(f"{where} = {value!r}", f"it is an array of {len(hints)}", "Correct the array")
    return tuple(_fitting(hint, v, _place(where, k, v)) for k, (hint, v) in enumerate(zip(hints, value, strict=True)))


def _place(where: str, number: int, value: Any) -> str:
    """Name one of an array: a table by its name, if it has one."""
    return f"{where} {value['name']}" if isinstance(value, dict) and "name" in value else f"{where}[{number}]"


def _named(kind: type) -> str:
    return "a table" if dataclasses.is_dataclass(kind) else f"of type {kind.__name__}"


def _at_least(settings: Any, name: str, low: float) -> None:
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
