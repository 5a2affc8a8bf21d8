"""Training of the small network: random crops, turned and flipped, until events kept out gain no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import Array
from hybridcast.errors import InputError
from hybridcast.learned.network import (
    Network,
    NetworkSettings,
    add_correction,
    base_log_odds,
    correction,
    fit_base,
    initial_parameters,
    require_torch,
    stack_channels,
)
from hybridcast.learned.network_inputs import KNOWN, PLANES, Counts, FieldCase, FieldOutcome
from hybridcast.learned.training.optimisation import minimise

if TYPE_CHECKING:
    from torch import Tensor


_U, _V = PLANES.index("u"), PLANES.index("v")
_WET = PLANES.index("wet")


def turn_fields(fields: NDArray[Any], turn: int) -> NDArray[Any]:
    """Turn and flip the last two axes, ``(y, x)``: the eight ways of a square, 0 leaves them."""
    if turn & 4:
        fields = fields.swapaxes(-1, -2)
    if turn & 2:
        fields = fields[..., ::-1, :]
    if turn & 1:
        fields = fields[..., ::-1]
    return fields


def turn_planes(planes: Array, turn: int) -> Array:
    """Turn and flip planes that begin with `PLANES`, and the direction of the motion with them."""
    made: Array = np.array(turn_fields(planes, turn))
    if turn & 4:
        made[[_U, _V]] = made[[_V, _U]]
    if turn & 2:
        made[_V] *= -1
    if turn & 1:
        made[_U] *= -1
    return made


# --- the score ------------------------------------------------------------------------------------------------


class _Crop(NamedTuple):
    planes: Array
    conditions: Array
    odds: Array
    known: Counts
    reached: Counts


def cut_window(case: FieldCase, side: int, generator: np.random.Generator) -> FieldCase:
    """Cut out the wettest of four random windows of `side` blocks: what is kept in memory of a large field."""
    inputs, outcome = case
    if max(inputs.planes.shape[1:]) <= side:
        return case
    window = _wettest(inputs.planes, side, 4, generator)
    cut = inputs._replace(planes=inputs.planes[window].copy(), smooth=inputs.smooth[window].copy())
    return FieldCase(cut, FieldOutcome(outcome.known[window].copy(), outcome.reached[window].copy()))


def _wettest(planes: Array, side: int, count: int, generator: np.random.Generator) -> tuple[Any, ...]:
    choices = []
    for _ in range(count):
        y, x = (int(generator.integers(max(length - side, 0) + 1)) for length in planes.shape[1:])
        window = np.s_[..., y : y + side, x : x + side]
        choices.append((float(planes[_WET][window].sum(dtype=np.float32)), window))
    best: tuple[Any, ...] = max(choices, key=lambda choice: choice[0])[1]
    return best


def _crop(case: FieldCase, coefficients: Array, size: int, generator: np.random.Generator, augment: bool) -> _Crop:
    """Cut out the wetter one of two random crops, turned at random; a smaller field is cut out whole, and filled up."""
    inputs, outcome = case
    window = _wettest(inputs.planes, size, 2, generator)
    planes = np.asarray(inputs.planes[window], np.float32)
    odds = base_log_odds(np.asarray(inputs.smooth[window], np.float32), coefficients)
    known = outcome.known[window] * (planes[KNOWN] >= 0.5)
    parts = [stack_channels(planes, odds), odds, known.astype(np.uint8), outcome.reached[window]]
    turn = int(generator.integers(8)) if augment else 0
    parts = [turn_planes(parts[0], turn), *(turn_fields(part, turn) for part in parts[1:])]
    parts = [np.pad(p, [(0, 0)] * (p.ndim - 2) + [(0, size - side) for side in p.shape[-2:]]) for p in parts]
    return _Crop(parts[0], inputs.conditions, parts[1], parts[2], parts[3])


def _loss(parameters: Mapping[str, Tensor], crops: Sequence[_Crop], factors: Tensor | None = None) -> Tensor:
    """Cross-entropy, summed over thresholds, mean over the known cells of all lead times: a proper score."""
    import torch
    from torch.nn import functional

    planes, conditions, odds, known, reached = (
        torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*crops, strict=True)
    )
    logits = add_correction(odds, correction(parameters, planes, conditions, factors))
    share = reached / known.clamp(min=1)[:, :, None]
    loss = functional.binary_cross_entropy_with_logits(logits, share, weight=known[:, :, None], reduction="sum")
    return loss / known.sum().clamp(min=1)


def fit_network(
    cases: Mapping[str, Sequence[FieldCase]],
    stop: Mapping[str, Sequence[FieldCase]],
    settings: NetworkSettings | None = None,
    log: list[dict[str, float]] | None = None,
) -> Network:
    """Train a network for each seed, each event counting the same.

    Training ends when the events kept out no longer gain; the parameters that did best there are kept, which may be
    those of the start: then the network gives its base.

    Parameters
    ----------
    cases
        Issue times of each event, to learn from.
    stop
        Issue times of events that are not among them.
    settings
        `NetworkSettings()` by default.
    log
        The score of each look at the events kept out is appended: seed, step, loss, and the base's.

    Raises
    ------
    InputError
        If there is nothing to learn from or to stop by, or an event is in both.
    """
    require_torch()
    settings = settings or NetworkSettings()
    cases = {name: event for name, event in cases.items() if len(event)}
    stop = {name: event for name, event in stop.items() if len(event)}
    if not cases or not stop or set(cases) & set(stop):
        raise InputError(
            f"training on {sorted(cases)}, stopping by {sorted(stop)}",
            "both are there, and no event is in both",
            "Keep an event out of training",
        )
    coefficients = fit_base(cases)
    parameters: dict[str, Array] = {"base": coefficients}
    for seed in settings.seeds:
        trained = _fit_seed(cases, stop, coefficients, settings, seed, [] if log is None else log)
        parameters |= {f"{seed}.{name}": value for name, value in trained.items()}
    return Network(parameters, settings)


def _fit_seed(
    cases: Mapping[str, Sequence[FieldCase]],
    stop: Mapping[str, Sequence[FieldCase]],
    coefficients: Array,
    settings: NetworkSettings,
    seed: int,
    log: list[dict[str, float]],
) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    parameters = initial_parameters(settings, seed)
    held = _held_out(stop, coefficients, settings)
    start = _mean_loss({name: value.detach() for name, value in parameters.items()}, held)
    names = list(cases)

    def loss() -> Tensor:
        chosen = [cases[names[int(generator.integers(len(names)))]] for _ in range(settings.batch)]
        drawn = [event[int(generator.integers(len(event)))] for event in chosen]
        crops = [_crop(case, coefficients, settings.crop, generator, settings.augment) for case in drawn]
        return _loss(parameters, crops, _factors(settings, generator))

    def look(step: int, found: float) -> None:
        log.append({"seed": seed, "step": step, "loss": found, "base": start})

    return minimise(parameters, loss, lambda mean: _mean_loss(mean, held), settings, look, best_loss=start)


def _factors(settings: NetworkSettings, generator: np.random.Generator) -> Tensor | None:
    """Leave some channels out, and make up for them."""
    import torch

    if settings.dropout <= 0:
        return None
    kept = generator.random((settings.batch, settings.widths[-1], 1, 1)) >= settings.dropout
    return torch.from_numpy((kept / (1 - settings.dropout)).astype(np.float32))


def _held_out(
    stop: Mapping[str, Sequence[FieldCase]], coefficients: Array, settings: NetworkSettings, most: int = 12
) -> list[list[_Crop]]:
    """Draw the same crops of the events kept out each time, some for each event."""
    generator = np.random.default_rng(0)
    drawn = []
    for event in stop.values():
        some = [event[k] for k in np.unique(np.linspace(0, len(event) - 1, most).astype(int))]
        drawn.append([_crop(case, coefficients, settings.crop, generator, False) for case in some])
    return drawn


def _mean_loss(parameters: Mapping[str, Tensor], held: list[list[_Crop]]) -> float:
    import torch

    with torch.no_grad():
        return float(np.mean([float(_loss(parameters, crops)) for crops in held]))
