"""A small convolutional network for probabilities: a U-Net in the frame that moves with the rain.

Its output are corrections of the log odds that follow from the scale filter (`base_log_odds`), for all lead times and
thresholds at once. The last layer starts at zero: an untrained network returns that base. The thresholds stay in order
because the log odds of each threshold are limited by those of the threshold below. Only probabilities are corrected,
no rain rate: the conditional mean and the deterministic field follow from the probabilities.

The design is a U-Net (Ronneberger and others 2015, doi:10.1007/978-3-319-24574-4_28) with lead times as channels, as in
Ayzel and others (2020), doi:10.5194/gmd-13-2631-2020, residual blocks, and features scaled and shifted by the ages of
the frames (Perez and others 2018, arXiv 1709.07871). There is no normalisation over the domain: crops and whole fields
would see different ones; each cell's channels are normalised instead. torch is imported when a network is trained or
applied, not before.

Why it does not correct the boosted probabilities: on regions left out that gained nothing, whatever the settings
(`notebooks/network_trials.json`). From the scale filter it learns something of its own, which is no better than
boosting but errs elsewhere, so that the blend of both is better than either.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import DependencyError, InputError
from hybridcast.learned.logistic import fit_logistic
from hybridcast.learned.network_inputs import (
    CONDITIONS,
    DRY,
    KNOWN,
    LEADS,
    PLANES,
    SHOWN_LEADS,
    THRESHOLDS,
    Counts,
    FieldCase,
    NetworkInputs,
)
from hybridcast_kernels.trajectories import sample

if TYPE_CHECKING:
    from torch import Tensor


#: What is shown of the base: these lead times (`SHOWN_LEADS`), and these thresholds, mm/h.
SHOWN_THRESHOLDS = (0.1, 1.0, 5.0)
CHANNELS = len(PLANES) + len(SHOWN_LEADS) * len(SHOWN_THRESHOLDS)
#: Odds of the base beyond these (logarithm) are shown to the network as these.
_SHOWN_ODDS = 8.0


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of the network and its training."""

    widths: tuple[int, ...] = (16, 24, 32, 40)
    """Channels at each level; each is half as fine as the one before."""
    steps: int = 400
    """Steps of training, at most."""
    batch: int = 8
    """Crops in a step."""
    crop: int = 32
    """Cells along a side of a crop."""
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    dropout: float = 0.1
    """Share of the channels that are left out at the coarsest level in training."""
    averaging: float = 0.97
    """What is kept of the running mean of the parameters in each step; the mean is what is used."""
    check_every: int = 50
    """Steps from one look at the events kept out to the next."""
    patience: int = 4
    """Looks without gain before training ends."""
    augment: bool = True
    """Flip and turn."""
    seeds: tuple[int, ...] = (0, 1)
    """A network is trained for each; the mean of their corrections is used."""

    def __post_init__(self) -> None:
        """Refuse what makes no network."""
        if len(self.widths) < 2 or min(self.widths) < 1 or not self.seeds or min(self.batch, self.crop, self.steps) < 1:
            raise InputError(
                f"{self}", "a network has two levels, a seed, and crops to train on, at least", "Correct the settings"
            )


@dataclass(frozen=True)
class Network:
    """What was trained: arrays by name, as they are stored."""

    parameters: dict[str, Array]
    """Of all seeds, ``"<seed>.<layer>.weight"`` and ``".bias"``, and ``"base"``: what `base_log_odds` takes."""
    settings: NetworkSettings

    def of_seeds(self) -> list[dict[str, Tensor]]:
        """Return the parameters of each seed, as torch has them."""
        import torch

        return [
            {name: torch.from_numpy(self.parameters[f"{seed}.{name}"]) for name in shapes(self.settings)}
            for seed in self.settings.seeds
        ]

    def __post_init__(self) -> None:
        """Refuse arrays that are not those of the settings."""
        wanted: dict[str, tuple[int, ...]] = {"base": (len(LEADS), len(THRESHOLDS), 3)}
        for seed in self.settings.seeds:
            wanted |= {f"{seed}.{name}": shape for name, shape in shapes(self.settings).items()}
        found = {name: np.shape(value) for name, value in self.parameters.items()}
        for name in sorted(set(wanted) | set(found)):
            if wanted.get(name) != found.get(name):
                raise InputError(
                    f"parameter {name!r} has the shape {found.get(name)}",
                    f"the network of these settings has {wanted.get(name)}",
                    "Take parameters and settings from the same training",
                )


# --- the base from the scale filter ---------------------------------------------------------------------------


def base_log_odds(smooth: Array, coefficients: Array) -> Array:
    """Logarithm of the odds from what the scale filter gives: a parabola for each lead time and threshold.

    Parameters
    ----------
    smooth
        dB of 1 mm/h, shape ``(lead, y, x)``.
    coefficients
        Shape ``(lead, threshold, 3)``.

    Returns
    -------
    ndarray
        Shape ``(lead, threshold, y, x)``, falling along the thresholds.
    """
    x = ((smooth - DRY) * np.float32(0.1))[:, None]
    a, b, c = (coefficients[..., k, None, None] for k in range(3))
    return _falling(a + b * x + c * x * x)


def _falling(odds: Array) -> Array:
    """Cut odds ``(lead, threshold, ...)`` so that they fall along the thresholds, in place."""
    for k in range(1, odds.shape[1]):
        np.minimum(odds[:, k], odds[:, k - 1], out=odds[:, k])
    return odds


def fit_base(cases: Mapping[str, Sequence[FieldCase]], cells: int = 200, seed: int = 0) -> Array:
    """Fit the coefficients of `base_log_odds` by logistic regression, each event counting the same.

    Raises
    ------
    InputError
        If there is no case.
    """
    generator = np.random.default_rng(seed)
    rows: list[tuple[Array, Counts, Counts, float]] = []
    for event in cases.values():
        for case in event:
            seen = np.flatnonzero(case.inputs.planes[KNOWN].ravel() >= 0.5)
            some = generator.choice(seen, min(cells, seen.size), replace=False) if seen.size else seen
            known, reached = case.outcome.known, case.outcome.reached
            flat = case.inputs.smooth.reshape(len(LEADS), -1)[:, some]
            rows.append(
                (
                    flat,
                    known.reshape(len(LEADS), -1)[:, some],
                    reached.reshape(*reached.shape[:2], -1)[..., some],
                    1.0 / len(event),
                )
            )
    if not rows:
        raise InputError("there is no case to train on", "training needs events with issue times", "Give more events")
    smooth = np.concatenate([row[0] for row in rows], axis=1)
    known = np.concatenate([row[1] * np.float32(row[3]) for row in rows], axis=1)
    reached = np.concatenate([row[2] * np.float32(row[3]) for row in rows], axis=2)
    return np.stack(
        [
            np.stack([_fit_parabola(smooth[k], known[k], reached[k, t]) for t in range(len(THRESHOLDS))])
            for k in range(len(LEADS))
        ]
    ).astype(np.float32)


def _fit_parabola(smooth: Array, known: Array, reached: Array) -> Doubles:
    """Fit the coefficients of one lead time and threshold, constant first, with a weak ridge on the other two."""
    x = ((smooth - DRY) * 0.1).astype(np.float64)
    ridge = np.array([1e-3, 1e-3, 1e-9]) * max(float(known.sum()), 1e-9)
    fraction = reached / np.maximum(known, np.float32(1e-9))
    slope, curvature, constant = fit_logistic(np.stack([x, x * x], axis=1), fraction, known, ridge=ridge)
    return np.array([constant, slope, curvature])


# --- the network ----------------------------------------------------------------------------------------------


class _Layer(NamedTuple):
    name: str
    inside: int
    outside: int
    side: int
    gain: float


def _layers(settings: NetworkSettings) -> list[_Layer]:
    """Layers with weights; `gain` is how large those are at the start, 1 keeping the variance behind a rectifier."""
    widths = settings.widths
    made = [_Layer("stem", CHANNELS, widths[0], 3, 1.0)]
    for k, width in enumerate(widths):
        made += [_Layer(f"down{k}.a", width, width, 3, 1.0), _Layer(f"down{k}.b", width, width, 3, 0.3)]
        if k + 1 < len(widths):
            made.append(_Layer(f"into{k}", width, widths[k + 1], 1, 1.0))
            made.append(_Layer(f"back{k}", widths[k + 1], width, 1, 0.7))
            made.append(_Layer(f"up{k}", width, width, 3, 0.3))
    return [
        *made,
        _Layer("film", CONDITIONS, 2 * widths[0], 1, 0.0),
        _Layer("last", widths[0], len(LEADS) * len(THRESHOLDS), 1, 0.0),
    ]


def shapes(settings: NetworkSettings) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of one seed."""
    made: dict[str, tuple[int, ...]] = {}
    for layer in _layers(settings):
        made[f"{layer.name}.weight"] = (layer.outside, layer.inside, layer.side, layer.side)
        made[f"{layer.name}.bias"] = (layer.outside,)
    return made


def initial_parameters(settings: NetworkSettings, seed: int) -> dict[str, Tensor]:
    """Make parameters at random, but for the last layer, which is zero."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for layer in _layers(settings):
        scale = layer.gain * math.sqrt(2.0 / (layer.inside * layer.side**2))
        shape = (layer.outside, layer.inside, layer.side, layer.side)
        made[f"{layer.name}.weight"] = torch.randn(shape, generator=generator) * scale
        made[f"{layer.name}.bias"] = torch.zeros(layer.outside)
    return {name: value.requires_grad_() for name, value in made.items()}


def has_torch() -> bool:
    """Tell whether networks can be trained and asked."""
    return importlib.util.find_spec("torch") is not None


def require_torch() -> None:
    """Refuse to go on without torch."""
    if not has_torch():
        raise DependencyError("the network needs torch, which is not installed: pip install 'hybridcast[network]'")


def count_parameters(settings: NetworkSettings) -> int:
    """Count the parameters of one seed."""
    return sum(math.prod(shape) for shape in shapes(settings).values())


def correction(
    parameters: Mapping[str, Tensor], planes: Tensor, conditions: Tensor, factors: Tensor | None = None
) -> Tensor:
    """Apply the network.

    Parameters
    ----------
    parameters
        As `initial` makes them.
    planes
        ``(batch, CHANNELS, y, x)``, any size.
    conditions
        ``(batch, CONDITIONS)``.
    factors
        What the channels of the coarsest level are multiplied by, ``(batch, channel, 1, 1)``: dropout, in training.

    Returns
    -------
    Tensor
        ``(batch, lead, threshold, y, x)``.
    """
    from torch.nn import functional

    levels = sum(name.startswith("down") and name.endswith("a.weight") for name in parameters)
    rows, columns = planes.shape[-2:]
    unit = 2 ** (levels - 1)
    x = functional.pad(planes, (0, -columns % unit, 0, -rows % unit))

    def conv(name: str, x: Tensor) -> Tensor:
        weight = parameters[f"{name}.weight"]
        return functional.conv2d(x, weight, parameters[f"{name}.bias"], padding=weight.shape[-1] // 2)

    x = conv("stem", x)
    scale, shift = conv("film", conditions[..., None, None]).chunk(2, dim=1)
    x = x * (1 + scale) + shift
    kept = []
    for k in range(levels):
        x = x + conv(f"down{k}.b", _bent(conv(f"down{k}.a", _bent(_of_order_one(x)))))
        if k + 1 < levels:
            kept.append(x)
            x = conv(f"into{k}", functional.avg_pool2d(x, 2))
    if factors is not None:
        x = x * factors
    for k in range(levels - 2, -1, -1):
        x = kept[k] + functional.interpolate(conv(f"back{k}", x), scale_factor=2, mode="nearest")
        x = x + conv(f"up{k}", _bent(_of_order_one(x)))
    x = conv("last", _bent(_of_order_one(x)))[..., :rows, :columns]
    return x.reshape(x.shape[0], len(LEADS), len(THRESHOLDS), rows, columns)


def _bent(x: Tensor) -> Tensor:
    """Leaky rectifier: with a plain one, and nothing to hold the scale, whole networks died in training."""
    from torch.nn import functional

    return functional.leaky_relu(x, 0.1)


def _of_order_one(x: Tensor) -> Tensor:
    """Divide by the root mean square of the channels of each cell (Zhang and Sennrich 2019, arXiv 1910.07467)."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-3).rsqrt()


def add_correction(base: Tensor, change: Tensor) -> Tensor:
    """Add a correction to log odds, ``(..., threshold, y, x)``, and cut the sum so that it falls along thresholds."""
    return (base + change).cummin(dim=-3).values


def stack_channels(planes: Array, odds: Array) -> Array:
    """Put the planes and what is shown of the base together, ``(CHANNELS, y, x)``."""
    leads = [LEADS.index(lead) for lead in SHOWN_LEADS]
    thresholds = [THRESHOLDS.index(threshold) for threshold in SHOWN_THRESHOLDS]
    chosen = odds[np.ix_(leads, thresholds)].reshape(-1, *odds.shape[2:])
    return np.concatenate([planes, np.clip(chosen, -_SHOWN_ODDS, _SHOWN_ODDS) * np.float32(0.25)])


# --- applying it ----------------------------------------------------------------------------------------------


def compute_correction(inputs: NetworkInputs, network: Network) -> tuple[Array, Array]:
    """Return the base's odds and the mean correction of all seeds, ``(lead, threshold, y, x)``, in the moving frame."""
    require_torch()
    import torch

    base = base_log_odds(np.asarray(inputs.smooth, np.float32), network.parameters["base"])
    planes = torch.from_numpy(stack_channels(np.asarray(inputs.planes, np.float32), base))[None]
    conditions = torch.from_numpy(inputs.conditions)[None]
    total = np.zeros(base.shape, np.float32)
    with torch.inference_mode():
        for own in network.of_seeds():
            total += correction(own, planes, conditions)[0].numpy() / np.float32(len(network.settings.seeds))
    return base, total


class NetworkOutput(NamedTuple):
    """What the network says of an issue time: log odds on its blocks, in the frame that moves."""

    odds: Array
    """Shape ``(lead, threshold, y, x)``, falling along the thresholds."""
    block: int
    """Cells of the field to a block, along each axis."""

    def at(self, places: NDArray[np.floating], lead: float) -> Array:
        """Return log odds of air that is at `places` of the field at the issue time, ``(threshold, place)``.

        Between its lead times (min) they are interpolated, beyond them held; so are they between blocks.
        """
        planes = interpolate_leads(self.odds, LEADS, lead)
        half = np.float32(0.5)
        blocks = (np.asarray(places, np.float32) + half) / np.float32(self.block) - half
        return sample(np.ascontiguousarray(np.moveaxis(planes, 0, -1)), blocks).T


def apply_network(inputs: NetworkInputs, network: Network) -> NetworkOutput:
    """Ask the network about an issue time."""
    base, change = compute_correction(inputs, network)
    return NetworkOutput(_falling(base + change), inputs.block)
