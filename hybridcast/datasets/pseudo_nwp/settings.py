"""How a pseudo-NWP errs: settings, and presets of quality."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

from hybridcast.errors import InputError

_SHARES = ("missed", "invented", "start", "shared", "peaks")
_POSITIVE = ("spacing", "displacement_scale", "storm_scale", "intensity_scale", "memory")


@dataclass(frozen=True)
class PseudoNwpSettings:
    """Errors of a pseudo-NWP. Those that grow are given as they are at a lead time of 6 h."""

    spacing: float = 2000.0
    """Side of a cell, m; radar that is finer is averaged."""
    displacement: float = 35.0
    """Root mean square distance between a storm and where it is forecast, km. Grows."""
    displacement_scale: float = 120.0
    """Over how many km the displacement is alike."""
    timing: float = 25.0
    """Standard deviation of the timing, min. Grows."""
    missed: float = 0.25
    """Share of the area whose storms are missed, on average. Grows."""
    invented: float = 0.25
    """Share of the area that gets storms of other times and places, on average. Grows."""
    storm_scale: float = 35.0
    """Size of the patches in which storms are missed or invented, km."""
    intensity: float = 0.4
    """Standard deviation of the logarithm of the factor on the intensity. Grows."""
    intensity_scale: float = 60.0
    """Over how many km the factor is alike."""
    resolution: float = 14.0
    """Waves of this length (km) keep half their amplitude, shorter ones less; 0 for the grid's own resolution."""
    peaks: float = 0.7
    """How much of the strong rain that smoothing takes is given back: none 0, as much as the radar has 1."""
    drizzle: float = 0.2
    """Light rain that is spread around rain, at most, mm h-1."""
    spin_up: float = 20.0
    """Time in which a model that starts dry makes 63 % of its rain, min."""
    start: float = 0.5
    """Share of the errors that grow that is there at the start of a run."""
    shared: float = 0.5
    """Share of the errors' variance that runs with one valid time have in common."""
    memory: float = 6.0
    """After so many hours the pattern of the errors is another one."""

    def __post_init__(self) -> None:
        """Refuse what is no share or no size."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            low = 1e-6 if entry.name in _POSITIVE else 0.0
            high = 1.0 if entry.name in _SHARES else np.inf
            if not (low <= value <= high and np.isfinite(value)):
                raise InputError(
                    f"{entry.name} = {value}", f"it lies between {low:g} and {high:g}, finite", "Correct the setting"
                )

    def growth(self, hours: float) -> float:
        """How large the errors are at a lead time, against those at 6 h; they grow up to 12 h."""
        return self.start + (1 - self.start) * min(hours, 12.0) / 6.0


#: No error at all: what the radar saw later, on the coarse grid.
PERFECT = PseudoNwpSettings(
    displacement=0, timing=0, missed=0, invented=0, intensity=0, resolution=0, drizzle=0, spin_up=0
)
#: A model whose errors are about half the usual ones: a run with good analyses, in organised rain.
GOOD = PseudoNwpSettings(displacement=18, timing=12, missed=0.12, invented=0.12, intensity=0.3, drizzle=0.1)
#: A convection-permitting model of today, a few hours ahead.
TYPICAL = PseudoNwpSettings()
#: A model that has little to say about where.
POOR = PseudoNwpSettings(displacement=70, timing=50, missed=0.5, invented=0.5, intensity=0.6, drizzle=0.3)
#: By name.
PRESETS = MappingProxyType({"good": GOOD, "typical": TYPICAL, "poor": POOR})
