"""Training of small networks by gradient descent, ended by events kept out: alike for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hybridcast.core.types import Array

if TYPE_CHECKING:
    from torch import Tensor


class DescentSettings(Protocol):
    """What of the settings of a network the descent looks at."""

    @property
    def steps(self) -> int:
        """Steps of training, at most."""
        ...

    @property
    def learning_rate(self) -> float:
        """The largest."""
        ...

    @property
    def weight_decay(self) -> float:
        """As AdamW has it."""
        ...

    @property
    def averaging(self) -> float:
        """What is kept of the running mean of the parameters in each step; the mean is what is used."""
        ...

    @property
    def check_every(self) -> int:
        """Steps from one look at the events kept out to the next."""
        ...

    @property
    def patience(self) -> int:
        """Looks without gain before training ends."""
        ...


def minimise(
    parameters: Mapping[str, Tensor],
    loss: Callable[[], Tensor],
    held_out: Callable[[Mapping[str, Tensor]], float],
    settings: DescentSettings,
    look: Callable[[int, float], None],
    best_loss: float = np.inf,
) -> dict[str, Array]:
    """Return the running mean of the parameters where the events kept out liked it best.

    Parameters
    ----------
    parameters
        Changed in place.
    loss
        Draws a batch, and gives its loss.
    held_out
        From parameters to the loss of the events kept out.
    settings
        Those of the network.
    look
        Told the step and the loss at each look at the events kept out.
    best_loss
        That of the parameters at the start, if they are to be kept where nothing gains.
    """
    import torch

    values = list(parameters.values())
    mean = {name: value.detach().clone() for name, value in parameters.items()}
    optimiser = torch.optim.AdamW(values, settings.learning_rate, weight_decay=settings.weight_decay)
    best, since = _copied(mean), 0
    for step in range(1, settings.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * learning_rate_at(step, settings.steps)
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(values, 5.0)
        optimiser.step()
        with torch.no_grad():
            keep = min(settings.averaging, step / (step + 10))
            for name, value in mean.items():
                value.lerp_(parameters[name], 1 - keep)
        if step % settings.check_every and step != settings.steps:
            continue
        found = held_out(mean)
        look(step, found)
        since += 1
        if found < best_loss:
            best_loss, best, since = found, _copied(mean), 0
        if since >= settings.patience:
            break
    return best


def _copied(parameters: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: value.numpy().copy() for name, value in parameters.items()}


def learning_rate_at(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: rising over the first twentieth, then falling along a cosine."""
    place = step / steps
    return min(1.0, place / 0.05) * (0.5 + 0.5 * math.cos(math.pi * place))
