"""A small convolutional network for probabilities: a U-Net in the coordinate system that moves with the rain.

Its output are corrections of the log odds that follow from the scale filter (`base_log_odds`), for all lead times and
thresholds at once. The last layer starts at zero: an untrained network returns that base. The thresholds stay in order
because the log odds of each threshold are limited by those of the threshold below when the network is applied; in
training each learns alone. Only probabilities are corrected, no rain rate: the conditional mean and the deterministic
field follow from the probabilities.

Lead times are channels, as in Ayzel and others (2020), doi:10.5194/gmd-13-2631-2020. `hybridcast.learned.training.unet`
has the architecture, and `hybridcast.learned.unet` applies it: a forecast needs no torch.

The network corrects the scale filter instead of the boosted probabilities, because corrections of these gained nothing
in regions left out, whatever the settings (`notebooks/network_trials.json`). Corrections of the scale filter are no
better than boosting, but their errors differ, so that the blend of both is better than either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridcast.core.interpolation import interpolate_leads
from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError
from hybridcast.learned.logistic import fit_logistic
from hybridcast.learned.network_inputs import (
    CONDITIONS,
    DRY,
    FILTER_LEADS,
    KNOWN,
    LEADS,
    PLANES,
    THRESHOLDS,
    FieldCase,
    NetworkInputs,
)
from hybridcast.learned.training.optimisation import OptimisationSettings
from hybridcast.learned.unet import Parameters, apply_unet, parameter_shapes
from hybridcast_kernels.trajectories import sample

#: Thresholds of the base that the network receives, mm/h, at the lead times `FILTER_LEADS`.
BASE_THRESHOLDS = (0.1, 1.0, 5.0)
CHANNELS = len(PLANES) + len(FILTER_LEADS) * len(BASE_THRESHOLDS)
OUTPUTS = len(LEADS) * len(THRESHOLDS)
#: Maximum absolute log odds of the base in the input of the network.
MAX_BASE_LOG_ODDS = 8.0


@dataclass(frozen=True)
class NetworkSettings(OptimisationSettings):
    """Settings of the network and its training."""

    steps: int = 3000
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    averaging: float = 0.999
    check_every: int = 250
    patience: int = 8
    widths: tuple[int, ...] = (24, 32, 48, 64)
    """Number of channels at each resolution; each halves the resolution of the one before."""
    batch: int = 16
    """Number of crops in a step."""
    crop: int = 64
    """Side of a crop, cells."""
    dropout: float = 0.15
    """Fraction of the channels at the coarsest resolution that are dropped in training."""
    augment: bool = True
    """Whether crops are turned by any angle, flipped and zoomed at random."""
    zoom: float = 1.25
    """Maximum factor by which crops are enlarged or reduced."""
    seeds: tuple[int, ...] = (0,)
    """Random seeds; a network is trained for each, and the mean of their corrections is used."""

    def __post_init__(self) -> None:
        """Check that the settings describe a network."""
        if len(self.widths) < 2 or min(self.widths) < 1 or not self.seeds or min(self.batch, self.crop, self.steps) < 1:
            raise InputError(
                f"{self}", "a network has two widths, a seed, and crops to train on, at least", "Correct the settings"
            )


@dataclass(frozen=True)
class Network:
    """A trained network: its parameters as they are stored, and its settings."""

    parameters: dict[str, Array]
    """Parameters of the U-Net of each seed, named ``"<seed>.<parameter>"`` (`parameter_shapes`), and the coefficients
    of `base_log_odds`, named ``"base"``."""
    settings: NetworkSettings

    def __post_init__(self) -> None:
        """Check that the parameters belong to the settings."""
        unet = parameter_shapes(CHANNELS, CONDITIONS, OUTPUTS, self.settings.widths)
        expected: dict[str, tuple[int, ...]] = {"base": (len(LEADS), len(THRESHOLDS), 3)}
        expected |= {f"{seed}.{name}": shape for seed in self.settings.seeds for name, shape in unet.items()}
        check_shapes(self.parameters, expected)

    def select_seed(self, seed: int) -> Parameters:
        """Return the parameters of the network of one seed."""
        prefix = f"{seed}."
        return {name.removeprefix(prefix): a for name, a in self.parameters.items() if name.startswith(prefix)}


def check_shapes(parameters: Mapping[str, Array], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Check names and shapes of stored parameters.

    Raises
    ------
    InputError
        If a parameter is missing, unknown or of another shape.
    """
    found = {name: np.shape(value) for name, value in parameters.items()}
    for name in sorted(set(expected) | set(found)):
        if expected.get(name) != found.get(name):
            raise InputError(
                f"parameter {name!r} has the shape {found.get(name)}",
                f"the network of these settings has {expected.get(name)}",
                "Take parameters and settings from the same training",
            )


# --- the base from the scale filter ---------------------------------------------------------------------------


def base_log_odds(smooth: Array, coefficients: Array) -> Array:
    """Compute log odds from the filtered rain, a parabola for each lead time and threshold.

    Parameters
    ----------
    smooth
        Rain of the scale filter, dB of 1 mm/h, shape ``(lead, y, x)``.
    coefficients
        Coefficients of the parabola, the constant first, shape ``(lead, threshold, 3)``.

    Returns
    -------
    ndarray
        Log odds, shape ``(lead, threshold, y, x)``, decreasing along the thresholds.
    """
    x = _scale_decibels(smooth)[:, None]
    constant, linear, square = (coefficients[..., k, None, None] for k in range(3))
    return np.minimum.accumulate(constant + linear * x + square * x * x, axis=1)


def _scale_decibels(smooth: Array) -> Array:
    return (smooth - DRY) * np.float32(0.1)


def fit_base(cases: Mapping[str, Sequence[FieldCase]], cells: int = 200, seed: int = 0) -> Array:
    """Fit the coefficients of `base_log_odds` by logistic regression; each event has the same weight.

    Parameters
    ----------
    cases
        Issue times of each event.
    cells
        Number of cells chosen at random in each issue time.
    seed
        Seed of this choice.

    Raises
    ------
    InputError
        If no event has an issue time.
    """
    if not any(cases.values()):
        raise InputError("there is no case to train on", "training needs events with issue times", "Give more events")
    generator = np.random.default_rng(seed)
    drawn = [_draw_cells(case, cells, len(event), generator) for event in cases.values() for case in event]
    smooth, known, reached = (np.concatenate(parts, axis=-1) for parts in zip(*drawn, strict=True))
    coefficients = [
        [_fit_parabola(smooth[k], known[k], of_threshold) for of_threshold in reached[k]] for k in range(len(LEADS))
    ]
    return np.array(coefficients, np.float32)


def _fit_parabola(smooth: Array, known: Array, reached: Array) -> Doubles:
    """Fit the coefficients of one lead time and threshold, constant first, with a weak ridge on the other two."""
    x = _scale_decibels(smooth)
    ridge = np.array([1e-3, 1e-3, 1e-9]) * max(float(known.sum()), 1e-9)
    fraction = reached / np.maximum(known, np.float32(1e-9))
    slope, curvature, constant = fit_logistic(np.stack([x, x * x], axis=1), fraction, known, ridge=ridge)
    return np.array([constant, slope, curvature])


def _draw_cells(case: FieldCase, count: int, cases: int, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return filtered rain, and the number of known and of wet outcomes, at random cells.

    Shapes are ``(lead, cell)``, ``(lead, cell)`` and ``(lead, threshold, cell)``. The numbers are divided by `cases`,
    the number of issue times of the event.
    """
    inputs, outcome = case
    cells = np.flatnonzero(inputs.planes[KNOWN] >= 0.5)
    cells = generator.choice(cells, min(count, cells.size), replace=False)

    def at_cells(field: NDArray[Any]) -> NDArray[Any]:
        return field.reshape(*field.shape[:-2], -1)[..., cells]

    weight = np.float32(1 / cases)
    return at_cells(inputs.smooth), at_cells(outcome.known) * weight, at_cells(outcome.reached) * weight


# --- the network ----------------------------------------------------------------------------------------------


def stack_channels(planes: Array, log_odds: Array) -> Array:
    """Stack the planes and some of the log odds of the base as input of the network, ``(CHANNELS, y, x)``."""
    leads = [LEADS.index(lead) for lead in FILTER_LEADS]
    thresholds = [THRESHOLDS.index(threshold) for threshold in BASE_THRESHOLDS]
    chosen = log_odds[np.ix_(leads, thresholds)].reshape(-1, *log_odds.shape[2:])
    return np.concatenate([planes, np.clip(chosen, -MAX_BASE_LOG_ODDS, MAX_BASE_LOG_ODDS) * np.float32(0.25)])


# --- applying it ----------------------------------------------------------------------------------------------


class NetworkOutput(NamedTuple):
    """Log odds of the network at an issue time, on blocks of cells of the latest frame."""

    log_odds: Array
    """Shape ``(lead, threshold, y, x)``, decreasing along the thresholds."""
    block: int
    """Number of cells along each side of a block."""

    def at(self, points: NDArray[np.floating], lead: float) -> Array:
        """Return log odds of the air at some points of the latest frame, shape ``(threshold, point)``.

        Between lead times and between blocks log odds are interpolated; beyond the first and the last they are held.

        Parameters
        ----------
        points
            Row and column in cells, shape ``(point, 2)``.
        lead
            Lead time, min.
        """
        planes = interpolate_leads(self.log_odds, LEADS, lead)
        half = np.float32(0.5)
        blocks = (np.asarray(points, np.float32) + half) / np.float32(self.block) - half
        return sample(np.ascontiguousarray(np.moveaxis(planes, 0, -1)), blocks).T


def apply_network(inputs: NetworkInputs, network: Network) -> NetworkOutput:
    """Apply the network to the inputs of an issue time."""
    base, correction = compute_correction(inputs, network)
    return NetworkOutput(np.minimum.accumulate(base + correction, axis=1), inputs.block)


def compute_correction(inputs: NetworkInputs, network: Network) -> tuple[Array, Array]:
    """Return log odds of the base and the mean correction of all seeds, both ``(lead, threshold, y, x)``."""
    base = base_log_odds(np.asarray(inputs.smooth, np.float32), network.parameters["base"])
    planes = stack_channels(np.asarray(inputs.planes, np.float32), base)
    settings = network.settings
    corrections = [
        apply_unet(network.select_seed(seed), planes, inputs.conditions, len(settings.widths))
        for seed in settings.seeds
    ]
    return base, np.mean(corrections, axis=0).reshape(base.shape)
