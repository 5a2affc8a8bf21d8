"""Training of the small network on random crops, turned and zoomed, until held-out events gain no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError
from hybridcast.learned.network import (
    CHANNELS,
    OUTPUTS,
    Network,
    NetworkSettings,
    base_log_odds,
    fit_base,
    stack_channels,
)
from hybridcast.learned.network_inputs import CONDITIONS, DRY, KNOWN, PLANES, Counts, FieldCase, FieldOutcome
from hybridcast.learned.training.optimisation import has_bfloat16, minimise, require_torch, seeded, torch_threads
from hybridcast_kernels.parallel import threads

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hybridcast.learned.training.unet import UNet

_U, _V, _SPEED = (PLANES.index(name) for name in ("u", "v", "speed"))
_WET = PLANES.index("wet")

Cases = Mapping[str, Sequence[FieldCase]]
"""Issue times of each event."""


def draw_orientation(settings: NetworkSettings, generator: np.random.Generator) -> Doubles:
    """Draw the matrix that maps offsets in a crop to offsets in the field, ``(row, column)``.

    It turns by any angle, flips half of the crops, and enlarges or reduces by at most `NetworkSettings.zoom`.
    """
    if not settings.augment:
        return np.eye(2)
    angle = generator.uniform(0, 2 * np.pi)
    zoom = np.exp(generator.uniform(-1, 1) * np.log(settings.zoom))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(zoom * turn @ np.diag([1.0, generator.choice([-1.0, 1.0])]))


def find_sources(shape: tuple[int, ...], centre: Doubles, matrix: Doubles, side: int) -> NDArray[np.int64]:
    """Return the flat index of the nearest cell of a field for each cell of a crop, -1 beyond the field.

    Parameters
    ----------
    shape
        Rows and columns of the field.
    centre
        Row and column of the middle of the crop.
    matrix
        Result of `draw_orientation`.
    side
        Rows and columns of the crop.

    Returns
    -------
    ndarray
        Shape ``(side, side)``.
    """
    offsets = np.indices((side, side)) - (side - 1) / 2
    rows, columns = np.rint(np.tensordot(matrix, offsets, axes=1) + centre[:, None, None]).astype(np.int64)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return np.where(inside, rows * shape[1] + columns, -1)


def take(fields: NDArray[Any], sources: NDArray[np.int64], beyond: float = 0.0) -> NDArray[Any]:
    """Return the values of fields ``(..., y, x)`` at the result of `find_sources`, and a constant beyond the fields."""
    taken = fields.reshape(*fields.shape[:-2], -1)[..., sources]
    return np.where(sources >= 0, taken, np.asarray(beyond, fields.dtype))


def turn_motion(planes: Array, matrix: Doubles) -> Array:
    """Express the motion of planes that begin with `PLANES`, taken from a field, in the axes of the crop."""
    turned = planes.copy()
    v, u = np.tensordot(np.linalg.inv(matrix), planes[[_V, _U]], axes=1).astype(np.float32)
    turned[[_V, _U, _SPEED]] = v, u, np.hypot(u, v)
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


def _crop(case: FieldCase, coefficients: Array, settings: NetworkSettings, generator: np.random.Generator) -> _Crop:
    """Cut out the wetter of two random crops, turned at random; beyond the field nothing is known."""
    inputs, outcome = case
    rows, columns = _choose_wettest(inputs.planes, settings.crop, 2, generator)[1:]
    shape = inputs.planes.shape[1:]
    centre = np.array([(s.start + min(s.stop, n) - 1) / 2 for s, n in zip((rows, columns), shape, strict=True)])
    matrix = draw_orientation(settings, generator)
    sources = find_sources(shape, centre, matrix, settings.crop)
    planes = turn_motion(take(inputs.planes, sources).astype(np.float32), matrix)
    base = base_log_odds(take(inputs.smooth, sources, float(DRY)).astype(np.float32), coefficients)
    known = take(outcome.known, sources) * (planes[KNOWN] >= 0.5)
    reached = take(outcome.reached, sources)
    return _Crop(stack_channels(planes, base), inputs.conditions, base, known.astype(np.uint8), reached)


def build_unet(settings: NetworkSettings, seed: int = 0) -> UNet:
    """Build a network with random parameters; its last layer is zero."""
    from hybridcast.learned.training.unet import UNet

    with seeded(seed):
        return UNet(CHANNELS, CONDITIONS, OUTPUTS, settings.widths, settings.dropout)


def correct(network: nn.Module, base: Tensor, planes: Tensor, conditions: Tensor) -> Tensor:
    """Add the correction of a network to the log odds of the base.

    Parameters
    ----------
    network
        Network of one seed.
    base
        Log odds of the base, shape ``(batch, lead, threshold, y, x)``.
    planes
        Result of `stack_channels`, shape ``(batch, CHANNELS, y, x)``.
    conditions
        Conditions, shape ``(batch, CONDITIONS)``.

    Returns
    -------
    Tensor
        Log odds in the shape of `base`; they are not limited to decrease along the thresholds.
    """
    correction: Tensor = network(planes, conditions)
    return base + correction.float().reshape(base.shape)


# --- training -------------------------------------------------------------------------------------------------


def fit_network(
    cases: Cases,
    stop: Cases,
    settings: NetworkSettings | None = None,
    log: list[dict[str, float]] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Network:
    """Train a network for each seed.

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
    weights
        Weight of each event in the choice of crops; equal by default.

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
    with torch_threads(threads()):
        for seed in settings.seeds:
            trained = _fit_seed(cases, held_out, coefficients, settings, seed, [] if log is None else log, weights)
            parameters |= {f"{seed}.{name}": value for name, value in trained.items()}
    return Network(parameters, settings)


def _fit_seed(
    cases: Cases,
    held_out: list[list[_Crop]],
    coefficients: Array,
    settings: NetworkSettings,
    seed: int,
    log: list[dict[str, float]],
    weights: Mapping[str, float] | None,
) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    network = build_unet(settings, seed)
    base_loss = _mean_loss(network, held_out)
    names = list(cases)
    share = np.array([1.0 if weights is None else weights[name] for name in names])

    def loss() -> Tensor:
        chosen = [cases[names[k]] for k in generator.choice(len(names), settings.batch, p=share / share.sum())]
        drawn = [event[int(generator.integers(len(event)))] for event in chosen]
        return _loss(network, [_crop(case, coefficients, settings, generator) for case in drawn])

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
    with torch.autocast("cpu", torch.bfloat16, enabled=network.training and has_bfloat16()):
        log_odds = correct(network, base, planes, conditions)
    fraction = reached / known.clamp(min=1)[:, :, None]
    loss = functional.binary_cross_entropy_with_logits(log_odds, fraction, weight=known[:, :, None], reduction="sum")
    return loss / known.sum().clamp(min=1)


def _draw_held_out(
    stop: Cases, coefficients: Array, settings: NetworkSettings, max_cases: int = 12
) -> list[list[_Crop]]:
    """Draw crops of each held-out event, the same at every call."""
    generator, as_it_is = np.random.default_rng(0), replace(settings, augment=False)
    drawn = []
    for event in stop.values():
        chosen = [event[k] for k in np.unique(np.linspace(0, len(event) - 1, max_cases).astype(int))]
        drawn.append([_crop(case, coefficients, as_it_is, generator) for case in chosen])
    return drawn


def _mean_loss(network: nn.Module, held_out: list[list[_Crop]]) -> float:
    """Return the mean loss of the held-out events."""
    import torch

    network.eval()
    with torch.no_grad():
        return float(np.mean([float(_loss(network, crops)) for crops in held_out]))
