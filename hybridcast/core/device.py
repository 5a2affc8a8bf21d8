"""Choice of the hardware that kernels run on: "cpu", "cuda" (an NVIDIA GPU), or "auto", a GPU if one works."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from hybridcast.errors import InputError
from hybridcast_kernels.devices import Choice, Device, choose


@runtime_checkable
class HasDevice(Protocol):
    """Ability of a motion method or nowcaster, a dataclass with the field `device`, to run on a GPU."""

    @property
    def device(self) -> Device:
        """Hardware of its kernels."""
        ...


class _Method(Protocol):
    @property
    def name(self) -> str: ...


M = TypeVar("M", bound=_Method)


def choose_device(device: Device) -> Choice:
    """Return the hardware for a setting, with the reason for the choice.

    Raises
    ------
    InputError
        If `device` is none of the three settings, or is "cuda" and no GPU works; the message states what is missing.
    """
    try:
        return choose(device)
    except ValueError as error:
        raise InputError(str(error), "the device is there", "Choose 'auto', which falls back to 'cpu'") from error


def resolve_device(device: Device) -> Literal["cpu", "cuda"]:
    """Return the hardware for a setting; raise `InputError` as `choose_device` does."""
    return choose_device(device).device


def with_device(method: M, device: Device) -> M:
    """Return a motion method or nowcaster that runs on `device`, including the methods that it is composed of.

    "auto" keeps the setting of each method.

    Raises
    ------
    InputError
        If no GPU works, or neither the method nor its parts can run on a GPU and `device` is "cuda".
    """
    if device == "auto":
        return method
    choose_device(device)
    changed: M = _replace_device(method, device)
    if changed is method and device == "cuda":
        raise InputError(
            f"{method.name} runs on the CPU only", "the method has a GPU twin", "Choose device='auto' or 'cpu'"
        )
    return changed


def _replace_device(method: Any, device: Device) -> Any:
    """Return a copy of a dataclass with `device` set in it and in its fields; the same object if none has a device."""
    if not dataclasses.is_dataclass(method) or isinstance(method, type):
        return method
    parts = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    changed = {name: _replace_device(part, device) for name, part in parts.items()}
    values = {name: part for name, part in changed.items() if part is not parts[name]}
    if isinstance(method, HasDevice):
        values["device"] = device
    return dataclasses.replace(method, **values) if values else method
