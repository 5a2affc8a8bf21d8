"""Training of early fusion: rows with tokens, sources left out at random, until events kept out gain no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from early_fusion.attention import AttentionSettings, CrossAttention, odds_of, shapes
from early_fusion.attention_inputs import prepared, scaling_of
from early_fusion.tokens import Tokens, joined_tokens
from hybridcast.core.types import Array
from hybridcast.errors import InputError
from hybridcast.learned.boosting import THRESHOLDS
from hybridcast.learned.network import require_torch
from hybridcast.learned.training.optimisation import minimise
from hybridcast.learned.training.samples import Samples, concatenate_samples

if TYPE_CHECKING:
    from torch import Tensor


class Told(NamedTuple):
    """Rows of an event, their tokens, and how much each counts."""

    samples: Samples
    tokens: Tokens
    weight: Array
    """Shape ``(row,)``."""


class _Rows(NamedTuple):
    """What is learned from, or stopped by."""

    rows: Array
    tokens: Tokens
    reached: Array
    """Whether each threshold was, ``(row, threshold)``."""
    weight: Array


def fit_attention(
    learn: Sequence[Told],
    stop: Sequence[Told],
    settings: AttentionSettings | None = None,
    log: list[dict[str, float]] | None = None,
) -> CrossAttention:
    """Train a network for each seed.

    Training ends when the events kept out gain no more; the parameters that did best there are kept.

    Parameters
    ----------
    learn
        Events to learn from.
    stop
        Events that are not among them.
    settings
        `AttentionSettings()` by default.
    log
        Each look at the events kept out is appended: seed, step, loss.

    Raises
    ------
    InputError
        If there is nothing to learn from, or nothing to stop by.
    """
    require_torch()
    settings = settings or AttentionSettings()
    if not any(one.weight.size for one in learn) or not any(one.weight.size for one in stop):
        raise InputError(
            f"training on {len(learn)} events, stopping by {len(stop)}",
            "both have rows",
            "Keep an event out of training",
        )
    own, held = _rows(learn), _rows(stop)
    scaling = scaling_of(own.rows, own.weight)
    parameters: dict[str, Array] = {"scaling": scaling}
    for seed in settings.seeds:
        trained = _fit_seed(own, held, scaling, settings, seed, [] if log is None else log)
        parameters |= {f"{seed}.{name}": value for name, value in trained.items()}
    return CrossAttention(parameters, settings)


def _rows(told: Sequence[Told]) -> _Rows:
    samples = concatenate_samples([one.samples for one in told])
    weight = np.concatenate([one.weight for one in told])
    reached = samples.observed[:, None] >= np.array(THRESHOLDS, np.float32)
    tokens = joined_tokens([one.tokens for one in told])
    return _Rows(samples.predictors, tokens, reached.astype(np.float32), (weight / weight.mean()).astype(np.float32))


def initial(settings: AttentionSettings, seed: int, shares: Array) -> dict[str, Tensor]:
    """Make parameters at random, but for the last layer, which says what is usual.

    Parameters
    ----------
    shares
        How often each threshold is reached, ``(threshold,)``.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for name, shape in shapes(settings).items():
        inside = shape[1] if name.endswith(("weight", "value")) else shape[-1]
        gain = 0.3 if name.endswith(("down.weight", "out.weight")) else 1.0
        values = torch.randn(shape, generator=generator) * (gain / inside**0.5)
        made[name] = torch.zeros(shape) if name.endswith("bias") or name.startswith("last") else values
    usual = np.clip(shares, 1e-4, 1 - 1e-4)
    odds = np.log(usual / (1 - usual))
    steps = np.maximum(odds[:-1] - odds[1:], 0.05)
    made["last.bias"] = torch.tensor(np.append(odds[:1], np.log(np.expm1(steps))), dtype=torch.float32)
    return {name: value.requires_grad_() for name, value in made.items()}


def _fit_seed(
    own: _Rows,
    held: _Rows,
    scaling: Array,
    settings: AttentionSettings,
    seed: int,
    log: list[dict[str, float]],
) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    parameters = initial(settings, seed, np.average(own.reached, axis=0, weights=own.weight))

    def loss() -> Tensor:
        chosen = np.sort(generator.choice(len(own.weight), min(settings.batch, len(own.weight)), replace=False))
        return _loss(parameters, own, chosen, scaling, settings, _drawn(len(chosen), settings, generator))

    def look(step: int, found: float) -> None:
        log.append({"seed": seed, "step": step, "loss": found})

    return minimise(parameters, loss, lambda mean: _held_loss(mean, held, scaling, settings), settings, look)


class _Kept(NamedTuple):
    """What of a batch is looked at."""

    stations: NDArray[np.bool_]
    """Shape ``(row,)``, as `nwp`."""
    nwp: NDArray[np.bool_]
    channels: Array | None
    """What channels are multiplied by, ``(layer, row, width)``; None: nothing."""


def _drawn(rows: int, settings: AttentionSettings, generator: np.random.Generator) -> _Kept:
    """Leave stations out of some rows, the model out of others, and some channels; those left make up for them."""
    stations, nwp = (generator.random(rows) >= gone for gone in (settings.without_stations, settings.without_nwp))
    if settings.dropout <= 0:
        return _Kept(stations, nwp, None)
    channels = generator.random((settings.layers, rows, settings.width), dtype=np.float32) >= settings.dropout
    return _Kept(stations, nwp, (channels / (1 - settings.dropout)).astype(np.float32))


def _loss(
    parameters: Mapping[str, Tensor],
    of: _Rows,
    chosen: NDArray[np.intp],
    scaling: Array,
    settings: AttentionSettings,
    kept: _Kept,
) -> Tensor:
    """Cross-entropy, summed over thresholds, weighted mean over rows: a proper score."""
    import torch
    from torch.nn import functional

    inputs = prepared(of.rows[chosen], Tokens(*(part[chosen] for part in of.tokens)), scaling)
    inputs = inputs._replace(
        station_there=inputs.station_there & kept.stations[:, None], nwp_there=inputs.nwp_there & kept.nwp[:, None]
    )
    factors = None if kept.channels is None else torch.from_numpy(kept.channels)
    odds = odds_of(parameters, [torch.from_numpy(values) for values in inputs], settings, factors)
    weight = torch.from_numpy(of.weight[chosen])[:, None]
    reached = torch.from_numpy(of.reached[chosen])
    total = functional.binary_cross_entropy_with_logits(odds, reached, weight=weight, reduction="sum")
    return total / weight.sum()


def _held_loss(
    parameters: Mapping[str, Tensor], held: _Rows, scaling: Array, settings: AttentionSettings, rows: int = 8192
) -> float:
    """Mean loss of rows evenly picked from the events kept out: with all sources, and with none."""
    import torch

    some = np.unique(np.linspace(0, len(held.weight) - 1, rows).astype(np.intp))
    everything = np.ones(some.size, bool)
    with torch.no_grad():
        return float(
            np.mean(
                [
                    float(_loss(parameters, held, some, scaling, settings, _Kept(there, there, None)))
                    for there in (everything, ~everything)
                ]
            )
        )
