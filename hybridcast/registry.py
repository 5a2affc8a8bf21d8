"""Names of motion methods and nowcasters, for the command line and for configuration files.

Everywhere else, objects are passed instead of names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from hybridcast.fusion.hybrid import load_hybrid, single_member
from hybridcast.motion.estimate import DIS, DenseFlow, MotionMethod
from hybridcast.nowcasters.base import Advection, Nowcaster, Persistence
from hybridcast.nowcasters.pysteps import (
    Anvil,
    Linda,
    LindaP,
    PystepsExtrapolation,
    PystepsMotion,
    SProg,
    Steps,
    require_pysteps,
)
from hybridcast.nowcasters.scale_filter import ScaleFilter
from hybridcast.nowcasters.scale_filter_ensemble import ScaleFilterEnsemble
from hybridcast.settings import Settings

PYSTEPS_NOWCASTERS = ("extrapolation", "s-prog", "anvil", "linda", "linda-p", "steps")
"""Nowcasters of pysteps."""
TRAINED_NOWCASTERS = ("hybridcast", "no-hindcasts", "no-network", "network", "boosting", "neighbourhood")
"""Nowcasters that need a trained model, as accepted by `trained_nowcaster`."""
NOT_BY_DEFAULT = ("linda", "linda-p", "no-network", "network", "scale-filter-ensemble")
"""Nowcasters that are compared only on request: LINDA is slow, and few trained models contain a network."""


def motion_methods(settings: Settings) -> dict[str, Callable[[], MotionMethod]]:
    """Return the motion methods by name."""
    return {
        "dense": lambda: DenseFlow(settings.motion),
        "dis": DIS,
        "lucaskanade": lambda: PystepsMotion("lucaskanade"),
        "vet": lambda: PystepsMotion("vet"),
        "darts": lambda: PystepsMotion("darts"),
        "proesmans": lambda: PystepsMotion("proesmans"),
        "farneback": lambda: PystepsMotion("farneback"),
    }


def nowcasters_along(motion: MotionMethod, settings: Settings) -> dict[str, Callable[[], Nowcaster]]:
    """Return the nowcasters that need no training by name, all with the same motion method."""
    return {
        "advection": lambda: Advection(motion, settings.advection),
        "scale-filter": lambda: ScaleFilter(motion, settings.scale_filter),
        "scale-filter-ensemble": lambda: ScaleFilterEnsemble(motion, settings.scale_filter),
        "persistence": Persistence,
        "extrapolation": lambda: PystepsExtrapolation(motion=motion),
        "s-prog": lambda: SProg(motion=motion),
        "anvil": lambda: Anvil(motion=motion),
        "linda": lambda: Linda(motion=motion),
        "linda-p": lambda: LindaP(motion=motion),
        "steps": lambda: Steps(motion=motion),
    }


def baseline_nowcasters() -> dict[str, Callable[[], Nowcaster]]:
    """Return the nowcasters that need no training by name, those of pysteps with the motion method of pysteps."""
    settings = Settings()
    ours = nowcasters_along(motion_methods(settings)["dense"](), settings)
    theirs = nowcasters_along(motion_methods(settings)["lucaskanade"](), settings)
    return ours | {name: theirs[name] for name in PYSTEPS_NOWCASTERS}


def require_installed(names: Iterable[str]) -> None:
    """Raise `DependencyError` if one of the nowcasters is of pysteps, and pysteps is not installed."""
    if not set(names).isdisjoint(PYSTEPS_NOWCASTERS):
        require_pysteps()


def trained_nowcaster(name: str, folder: str | Path) -> Nowcaster:
    """Return a nowcaster that needs a trained model.

    It returns exceedance probabilities at every threshold of the model.

    Parameters
    ----------
    name
        One of `TRAINED_NOWCASTERS`: the blend ("hybridcast"), the blend with its weights as trained ("no-hindcasts"),
        the blend without its network ("no-network"), or the name of a single member.
    folder
        Folder of the trained model, or ``"default"``.
    """
    hybrid = load_hybrid(folder)
    hybrid = replace(hybrid, thresholds=hybrid.model.thresholds)
    if name == "hybridcast":
        return hybrid
    if name == "no-network":
        return replace(hybrid, model=hybrid.model.without("network"))
    return replace(hybrid, hindcasts=None) if name == "no-hindcasts" else single_member(hybrid, name)


__all__ = [
    "NOT_BY_DEFAULT",
    "PYSTEPS_NOWCASTERS",
    "TRAINED_NOWCASTERS",
    "baseline_nowcasters",
    "motion_methods",
    "nowcasters_along",
    "require_installed",
    "trained_nowcaster",
]
