"""Training of early fusion: rows with tokens, sources dropped at random, until held-out events gain no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from early_fusion.attention import AttentionSettings, CrossAttention, build_network
from early_fusion.attention_inputs import fit_scaling, prepare_inputs
from early_fusion.tokens import Tokens, concatenate_tokens, select_rows
from hybridcast.core.types import Array, Mask
from hybridcast.errors import InputError
from hybridcast.learned.boosting import THRESHOLDS
from hybridcast.learned.training.optimisation import minimise, seeded
from hybridcast.learned.training.samples import Samples, concatenate_samples


class EventTokens(NamedTuple):
    """Rows of an event with their tokens and weights."""

    samples: Samples
    tokens: Tokens
    weight: Array
    """Weight of each row, shape ``(row,)``."""


class _Rows(NamedTuple):
    """Rows to learn from, or rows of held-out events."""

    rows: Array
    tokens: Tokens
    reached: Array
    """1 where the observation reaches the threshold, 0 elsewhere, ``(row, threshold)``."""
    weight: Array


def fit_attention(
    learn: Sequence[EventTokens],
    stop: Sequence[EventTokens],
    settings: AttentionSettings | None = None,
    log: list[dict[str, float]] | None = None,
) -> CrossAttention:
    """Train a network for each seed.

    Training ends when the held-out events gain no more; the parameters that are best there are kept.

    Parameters
    ----------
    learn
        Events to learn from.
    stop
        Held-out events.
    settings
        `AttentionSettings()` by default.
    log
        List to which each evaluation on the held-out events is appended: seed, step, loss.

    Raises
    ------
    InputError
        If there are no rows to learn from, or no held-out rows.
    """
    settings = settings or AttentionSettings()
    if not any(one.weight.size for one in learn) or not any(one.weight.size for one in stop):
        raise InputError(
            f"training on {len(learn)} events, stopping by {len(stop)}",
            "both have rows",
            "Keep an event out of training",
        )
    own, held_out = _concatenate(learn), _concatenate(stop)
    scaling = fit_scaling(own.rows, own.weight)
    parameters: dict[str, Array] = {"scaling": scaling}
    for seed in settings.seeds:
        trained = _fit_seed(own, held_out, scaling, settings, seed, [] if log is None else log)
        parameters |= {f"{seed}.{name}": value for name, value in trained.items()}
    return CrossAttention(parameters, settings)


def _concatenate(events: Sequence[EventTokens]) -> _Rows:
    samples = concatenate_samples([one.samples for one in events])
    weight = np.concatenate([one.weight for one in events])
    reached = samples.observed[:, None] >= np.array(THRESHOLDS, np.float32)
    tokens = concatenate_tokens([one.tokens for one in events])
    return _Rows(samples.predictors, tokens, reached.astype(np.float32), (weight / weight.mean()).astype(np.float32))


def _fit_seed(
    own: _Rows,
    held_out: _Rows,
    scaling: Array,
    settings: AttentionSettings,
    seed: int,
    log: list[dict[str, float]],
) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    network = build_network(settings, seed, np.average(own.reached, axis=0, weights=own.weight))

    def loss() -> Tensor:
        chosen = np.sort(generator.choice(len(own.weight), min(settings.batch, len(own.weight)), replace=False))
        dropped = (settings.without_stations, settings.without_nwp)
        kept = [generator.random(len(chosen)) >= fraction for fraction in dropped]
        return _loss(network, own, chosen, scaling, *kept)

    def append(step: int, found: float) -> None:
        log.append({"seed": seed, "step": step, "loss": found})

    with seeded(seed):
        return minimise(network, loss, lambda mean: _held_out_loss(mean, held_out, scaling), settings, append)


def _loss(
    network: nn.Module, of: _Rows, chosen: NDArray[np.intp], scaling: Array, with_stations: Mask, with_nwp: Mask
) -> Tensor:
    """Return the cross-entropy, summed over thresholds, weighted mean over the chosen rows.

    The masks, shape ``(row,)``, are false for rows whose stations or NWP are dropped.
    """
    inputs = prepare_inputs(of.rows[chosen], select_rows(of.tokens, chosen), scaling)
    inputs = inputs._replace(
        has_station=inputs.has_station & with_stations[:, None], has_nwp=inputs.has_nwp & with_nwp[:, None]
    )
    weight = torch.from_numpy(of.weight[chosen])[:, None]
    reached = torch.from_numpy(of.reached[chosen])
    total = functional.binary_cross_entropy_with_logits(network(inputs), reached, weight=weight, reduction="sum")
    return total / weight.sum()


def _held_out_loss(network: nn.Module, held_out: _Rows, scaling: Array, rows: int = 8192) -> float:
    """Return the mean loss of evenly chosen rows of the held-out events, with all sources and without any."""
    chosen = np.unique(np.linspace(0, len(held_out.weight) - 1, rows).astype(np.intp))
    everything = np.ones(chosen.size, bool)
    with torch.no_grad():
        losses = [_loss(network, held_out, chosen, scaling, kept, kept) for kept in (everything, ~everything)]
    return float(torch.stack(losses).mean())
