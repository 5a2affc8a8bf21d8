"""Settings of a training."""

from __future__ import annotations

from dataclasses import dataclass, field

from hybridcast.errors import InputError
from hybridcast.learned.boosting import THRESHOLDS, BoostingSettings
from hybridcast.learned.network import NetworkSettings
from hybridcast.learned.network_inputs import THRESHOLDS as NETWORK_THRESHOLDS
from hybridcast.learned.training.optimisation import has_torch
from hybridcast.learned.training.samples import Sampling


@dataclass(frozen=True)
class TrainingSettings:
    """All that a training depends on besides its events."""

    sampling: Sampling = field(default_factory=Sampling)
    """How samples are drawn."""
    boosting: BoostingSettings = field(default_factory=BoostingSettings)
    """Settings of the boosted trees."""
    thresholds: tuple[float, ...] = THRESHOLDS
    """Rain rates whose exceedance is learned, mm h-1, increasing."""
    folds: int = 4
    """Number of groups of events that are left out in turn to fit the weights."""
    rows: int = 600_000
    """Maximum number of rows of a training; more are thinned out, to shares of the events in proportion to weights."""
    network: NetworkSettings | None = None
    """Settings of the network; None trains none. It needs torch, and two events besides those left out."""
    varied: bool = False
    """Whether a varied copy of each event is learned from beside it (`hybridcast.learned.training.variation`)."""
    fields: int = 4000
    """Maximum number of issue times that the network learns from; more are thinned out, in every event alike."""

    def __post_init__(self) -> None:
        """Refuse thresholds that the network does not have."""
        if self.network is not None and self.thresholds != NETWORK_THRESHOLDS:
            raise InputError(
                f"thresholds are {self.thresholds}",
                f"the network has {NETWORK_THRESHOLDS} mm/h",
                "Train with these, or without a network",
            )


def standard_settings(
    *, seed: int = 0, rows: int = TrainingSettings.rows, network: bool | None = None
) -> TrainingSettings:
    """Return the settings of the command line, with which the model of the package is trained.

    Parameters
    ----------
    seed
        Seed of all random choices.
    rows
        See `TrainingSettings`.
    network
        Whether a network is trained; by default if torch is installed.
    """
    with_network = has_torch() if network is None else network
    return TrainingSettings(
        sampling=Sampling(seed=seed),
        boosting=BoostingSettings(seed=seed),
        rows=rows,
        varied=True,
        network=NetworkSettings(seeds=(seed,)) if with_network else None,
    )
