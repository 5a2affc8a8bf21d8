"""Training of the small network on random crops, flipped and rotated, until held-out events gain no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import Array
from hybridcast.errors import InputError
from hybridcast.learned.network import (
    Network,
    NetworkSettings,
    base_log_odds,
    build_unet,
    correct,
    fit_base,
    require_torch,
    stack_channels,
)
from hybridcast.learned.network_inputs import KNOWN, PLANES, Counts, FieldCase, FieldOutcome
from hybridcast.learned.training.optimisation import minimise, seeded

if TYPE_CHECKING:
    from torch import Tensor, nn

_U, _V = PLANES.index("u"), PLANES.index("v")
_WET = PLANES.index("wet")

Cases = Mapping[str, Sequence[FieldCase]]
"""Issue times of each event."""


def turn_fields(fields: NDArray[Any], turn: int) -> NDArray[Any]:
    """Rotate and flip the last two axes, ``(y, x)``, in one of the eight ways of a square; 0 changes nothing."""
    if turn & 4:
        fields = fields.swapaxes(-1, -2)
    if turn & 2:
        fields = fields[..., ::-1, :]
    if turn & 1:
        fields = fields[..., ::-1]
    return fields


def turn_planes(planes: Array, turn: int) -> Array:
    """Rotate and flip planes that begin with `PLANES`, including the direction of the motion."""
    turned: Array = np.array(turn_fields(planes, turn))
    if turn & 4:
        turned[[_U, _V]] = turned[[_V, _U]]
    if turn & 2:
        turned[_V] *= -1
    if turn & 1:
        turned[_U] *= -1
    return turned


# --- crops ----------------------------------------------------------------------------------------------------


class _Crop(NamedTuple):
    """Input of the network and its target on a part of a field."""

    planes: Array
    conditions: Array
    base: Array
    known: Counts
    reached: Counts


def cut_window(case: FieldCase, side: int, generator: np.random.Generator) -> FieldCase:
    """Cut out the wettest of four random windows of `side` blocks, so that large fields need less memory."""
    inputs, outcome = case
    if max(inputs.planes.shape[1:]) <= side:
        return case
    window = _choose_wettest(inputs.planes, side, 4, generator)
    cut = inputs._replace(planes=inputs.planes[window].copy(), smooth=inputs.smooth[window].copy())
    return FieldCase(cut, FieldOutcome(outcome.known[window].copy(), outcome.reached[window].copy()))


def _choose_wettest(planes: Array, side: int, count: int, generator: np.random.Generator) -> tuple[Any, ...]:
    """Return the index of the wettest of `count` random windows."""
    choices = []
    for _ in range(count):
        y, x = (int(generator.integers(max(length - side, 0) + 1)) for length in planes.shape[1:])
        window = np.s_[..., y : y + side, x : x + side]
        choices.append((float(planes[_WET][window].sum(dtype=np.float32)), window))
    best: tuple[Any, ...] = max(choices, key=lambda choice: choice[0])[1]
    return best


def _crop(case: FieldCase, coefficients: Array, size: int, generator: np.random.Generator, augment: bool) -> _Crop:
    """Cut out the wetter of two random crops, turned at random; a smaller field is used whole and padded."""
    inputs, outcome = case
    window = _choose_wettest(inputs.planes, size, 2, generator)
    planes = np.asarray(inputs.planes[window], np.float32)
    base = base_log_odds(np.asarray(inputs.smooth[window], np.float32), coefficients)
    known = outcome.known[window] * (planes[KNOWN] >= 0.5)
    turn = int(generator.integers(8)) if augment else 0
    fields = (base, known.astype(np.uint8), outcome.reached[window])
    parts = [turn_planes(stack_channels(planes, base), turn), *(turn_fields(field, turn) for field in fields)]
    planes, base, known, reached = (_pad(part, size) for part in parts)
    return _Crop(planes, inputs.conditions, base, known, reached)


def _pad(field: NDArray[Any], size: int) -> NDArray[Any]:
    """Append zeros to the last two axes."""
    return np.pad(field, [(0, 0)] * (field.ndim - 2) + [(0, size - side) for side in field.shape[-2:]])


# --- training -------------------------------------------------------------------------------------------------


def fit_network(
    cases: Cases,
    stop: Cases,
    settings: NetworkSettings | None = None,
    log: list[dict[str, float]] | None = None,
) -> Network:
    """Train a network for each seed; each event has the same weight.

    Training ends when the held-out events gain no more. The parameters that are best there are kept; these may be the
    initial ones, with which the network returns its base.

    Parameters
    ----------
    cases
        Issue times of each event to learn from.
    stop
        Issue times of held-out events.
    settings
        `NetworkSettings()` by default.
    log
        List to which each evaluation on the held-out events is appended: seed, step, loss, and the loss of the base.

    Raises
    ------
    InputError
        If there is no event to learn from or no held-out event, or an event is in both.
    """
    require_torch()
    settings = settings or NetworkSettings()
    cases, stop = ({name: event for name, event in given.items() if len(event)} for given in (cases, stop))
    if not cases or not stop or set(cases) & set(stop):
        raise InputError(
            f"training on {sorted(cases)}, stopping by {sorted(stop)}",
            "both have events, and no event is in both",
            "Keep an event out of training",
        )
    coefficients = fit_base(cases)
    held_out = _draw_held_out(stop, coefficients, settings)
    parameters: dict[str, Array] = {"base": coefficients}
    for seed in settings.seeds:
        trained = _fit_seed(cases, held_out, coefficients, settings, seed, [] if log is None else log)
        parameters |= {f"{seed}.{name}": value for name, value in trained.items()}
    return Network(parameters, settings)


def _fit_seed(
    cases: Cases,
    held_out: list[list[_Crop]],
    coefficients: Array,
    settings: NetworkSettings,
    seed: int,
    log: list[dict[str, float]],
) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    network = build_unet(settings, seed)
    base_loss = _mean_loss(network, held_out)
    names = list(cases)

    def loss() -> Tensor:
        chosen = [cases[names[int(generator.integers(len(names)))]] for _ in range(settings.batch)]
        drawn = [event[int(generator.integers(len(event)))] for event in chosen]
        return _loss(network, [_crop(case, coefficients, settings.crop, generator, settings.augment) for case in drawn])

    def append(step: int, found: float) -> None:
        log.append({"seed": seed, "step": step, "loss": found, "base": base_loss})

    with seeded(seed):
        return minimise(network, loss, partial(_mean_loss, held_out=held_out), settings, append, best_loss=base_loss)


def _loss(network: nn.Module, crops: Sequence[_Crop]) -> Tensor:
    """Return the cross-entropy, summed over thresholds, averaged over the known cells of all lead times."""
    import torch
    from torch.nn import functional

    planes, conditions, base, known, reached = (
        torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*crops, strict=True)
    )
    log_odds = correct(network, base, planes, conditions)
    fraction = reached / known.clamp(min=1)[:, :, None]
    loss = functional.binary_cross_entropy_with_logits(log_odds, fraction, weight=known[:, :, None], reduction="sum")
    return loss / known.sum().clamp(min=1)


def _draw_held_out(
    stop: Cases, coefficients: Array, settings: NetworkSettings, max_cases: int = 12
) -> list[list[_Crop]]:
    """Draw crops of each held-out event, the same at every call."""
    generator = np.random.default_rng(0)
    drawn = []
    for event in stop.values():
        chosen = [event[k] for k in np.unique(np.linspace(0, len(event) - 1, max_cases).astype(int))]
        drawn.append([_crop(case, coefficients, settings.crop, generator, augment=False) for case in chosen])
    return drawn


def _mean_loss(network: nn.Module, held_out: list[list[_Crop]]) -> float:
    """Return the mean loss of the held-out events."""
    import torch

    network.eval()
    with torch.no_grad():
        return float(np.mean([float(_loss(network, crops)) for crops in held_out]))
