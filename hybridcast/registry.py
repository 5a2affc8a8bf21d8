"""Names of motion methods and nowcasters, for the command line and for what is configured in files.

Everywhere else objects are passed, not names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hybridcast.fusion.hybrid import load_hybrid, single_member
from hybridcast.motion.estimate import DIS, DenseFlow, MotionMethod
from hybridcast.nowcasters.base import Advection, Nowcaster, Persistence
from hybridcast.nowcasters.pysteps import Anvil, Linda, PystepsExtrapolation, PystepsMotion, SProg, Steps
from hybridcast.nowcasters.scale_filter import ScaleFilter
from hybridcast.settings import Settings

OF_PYSTEPS = ("extrapolation", "s-prog", "anvil", "linda", "steps")
LEARNED = ("hybridcast", "no-hindcasts", "no-network", "network", "boosting", "neighbourhood")
"""Those made of a trained model, as `learned` takes them."""
NOT_BY_DEFAULT = ("linda", "no-network", "network")
"""Not compared unless asked for: one is slow, and a model has a network only if that is worth it."""


def motions(settings: Settings) -> dict[str, Callable[[], MotionMethod]]:
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


def models_along(motion: MotionMethod, settings: Settings) -> dict[str, Callable[[], Nowcaster]]:
    """Return the nowcasters that need no training by name, all along one `motion`."""
    return {
        "advection": lambda: Advection(motion, settings.advection),
        "scales": lambda: ScaleFilter(motion, settings.scales),
        "persistence": Persistence,
        "extrapolation": lambda: PystepsExtrapolation(motion=motion),
        "s-prog": lambda: SProg(motion=motion),
        "anvil": lambda: Anvil(motion=motion),
        "linda": lambda: Linda(motion=motion),
        "steps": lambda: Steps(motion=motion),
    }


def compared() -> dict[str, Callable[[], Nowcaster]]:
    """Return the same as they are compared with each other: those of pysteps along the motion of pysteps."""
    settings = Settings()
    ours = models_along(motions(settings)["dense"](), settings)
    theirs = models_along(motions(settings)["lucaskanade"](), settings)
    return ours | {name: theirs[name] for name in OF_PYSTEPS}


def learned(name: str, folder: str | Path) -> Nowcaster:
    """Return the blend of a trained model, the blend as it was learned, or one of its members alone.

    All with the probabilities of every threshold of the model.
    """
    hybrid = load_hybrid(folder)
    hybrid = replace(hybrid, thresholds=hybrid.model.blend.thresholds)
    if name == "hybridcast":
        return hybrid
    if name == "no-network":
        return replace(hybrid, model=hybrid.model.without_network)
    return replace(hybrid, hindcasts=None) if name == "no-hindcasts" else single_member(hybrid, name)


__all__ = ["LEARNED", "NOT_BY_DEFAULT", "OF_PYSTEPS", "compared", "learned", "models_along", "motions"]
