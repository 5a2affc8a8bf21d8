"""Where the kernels run: "cpu", "cuda" (an NVIDIA GPU), or "auto", which takes the GPU if one works."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeVar

from hybridcast.errors import InputError
from hybridcast_kernels.devices import Choice, Device, choose

T = TypeVar("T")


def chosen(device: Device) -> Choice:
    """Choose the hardware for a wish; its `reason` is for `hybridcast info`.

    Raises
    ------
    InputError
        If `device` is none of the three, or is "cuda" and no GPU works; the message says what is missing.
    """
    try:
        return choose(device)
    except ValueError as error:
        raise InputError(str(error), "the device is there", "Choose 'auto', which falls back to 'cpu'") from error


def resolved(device: Device) -> Literal["cpu", "cuda"]:
    """Return the hardware alone: see `chosen`."""
    return chosen(device).device


def with_device(method: T, device: Device) -> T:
    """Return a method with its field `device`, and those of the methods it is made of, set to `device`.

    "auto" leaves it as it is: then its own setting counts.

    Raises
    ------
    InputError
        If no GPU works, or the method has no field `device` and `device` is "cuda".
    """
    if device == "auto":
        return method
    chosen(device)
    changed = _changed(method, device)
    if changed is method and device == "cuda":
        name = getattr(method, "name", repr(method))
        raise InputError(f"{name} runs on the CPU only", "the method has a GPU twin", "Choose device='auto' or 'cpu'")
    return changed


def _changed(method: T, device: Device) -> T:
    if not dataclasses.is_dataclass(method) or isinstance(method, type):
        return method
    values: dict[str, Any] = {}
    for field in dataclasses.fields(method):
        before = getattr(method, field.name)
        after = device if field.name == "device" else _changed(before, device)
        if after is not before:
            values[field.name] = after
    return dataclasses.replace(method, **values) if values else method
