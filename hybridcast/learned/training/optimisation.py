"""Training of small networks by gradient descent, stopped by events that are held out."""

from __future__ import annotations

import importlib.util
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hybridcast.core.types import Array
from hybridcast.errors import DependencyError

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Maximum norm of the gradient; longer gradients are shortened to it.
MAX_GRADIENT = 5.0
_TORCH_THREADS = threading.RLock()


@dataclass(frozen=True)
class OptimisationSettings:
    """Settings of the gradient descent."""

    steps: int = 400
    """Maximum number of steps."""
    learning_rate: float = 1.5e-3
    """Maximum learning rate; see `scale_learning_rate` for its course."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    averaging: float = 0.97
    """Fraction of the running mean of the parameters that is kept in each step; the trained network uses this mean."""
    check_every: int = 50
    """Number of steps between two evaluations on the held-out events."""
    patience: int = 4
    """Number of evaluations without improvement after which the training ends."""


def minimise(
    module: nn.Module,
    loss: Callable[[], Tensor],
    held_out_loss: Callable[[nn.Module], float],
    settings: OptimisationSettings,
    log: Callable[[int, float], None],
    best_loss: float = np.inf,
) -> dict[str, Array]:
    """Minimise a loss, and return the running mean of the parameters that is best on the held-out events.

    Parameters
    ----------
    module
        Network to train; its parameters are changed in place.
    loss
        Function that draws a batch and returns the loss of `module`.
    held_out_loss
        Function that returns the loss of a network on the held-out events.
    settings
        Settings of the descent.
    log
        Function that receives the step and the loss of each evaluation on the held-out events.
    best_loss
        Loss that has to be undercut; the initial parameters are returned if it never is.
    """
    import torch
    from torch.optim.swa_utils import AveragedModel

    optimiser = torch.optim.AdamW(module.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: scale_learning_rate(step + 1, settings.steps))

    def average(mean: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        return mean.lerp(current, 1 - min(settings.averaging, (float(count) + 1) / (float(count) + 11)))

    averaged = AveragedModel(module, avg_fn=average)
    best, since = copy_parameters(module), 0
    for step in range(1, settings.steps + 1):
        module.train()
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), MAX_GRADIENT)
        optimiser.step()
        schedule.step()
        averaged.update_parameters(module)
        if step % settings.check_every and step != settings.steps:
            continue
        found = held_out_loss(averaged.module.eval())
        log(step, found)
        since += 1
        if found < best_loss:
            best_loss, best, since = found, copy_parameters(averaged.module), 0
        if since >= settings.patience:
            break
    return best


def copy_parameters(module: nn.Module) -> dict[str, Array]:
    """Return copies of the parameters of a module as arrays, by name."""
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def scale_learning_rate(step: int, steps: int) -> float:
    """Return the learning rate of a step as a fraction of its maximum.

    It rises linearly over the first twentieth of the steps, and then falls along a cosine.
    """
    progress = step / steps
    return min(1.0, progress / 0.05) * (0.5 + 0.5 * math.cos(math.pi * progress))


def has_torch() -> bool:
    """Return whether torch is installed, so that networks can be trained."""
    return importlib.util.find_spec("torch") is not None


def require_torch() -> None:
    """Raise `DependencyError` if torch is not installed."""
    if not has_torch():
        raise DependencyError(
            "to train the network torch is needed, which is not installed: pip install 'hybridcast[network]'"
        )


def has_bfloat16() -> bool:
    """Return whether this processor computes with bfloat16, which is faster there than float32 and elsewhere slower."""
    import torch

    tell = getattr(torch.cpu, "get_capabilities", dict)  # older versions of torch do not tell
    capabilities: Mapping[str, object] = tell()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "sve_bf16"))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the random numbers of torch within a context, and restore its state afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Limit the threads of torch within a context, so that workers share the processor.

    The number is one of the whole process: contexts of several threads wait for one another, for otherwise the last of
    them would restore the number of another context.
    """
    import torch

    with _TORCH_THREADS:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
