"""Errors of pseudo-NWP: settings, and presets of quality."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

from hybridcast.errors import InputError

_FRACTIONS = ("missed", "invented", "start", "shared", "peaks")
_POSITIVE = ("spacing", "displacement_scale", "storm_scale", "intensity_scale", "memory")


@dataclass(frozen=True)
class PseudoNwpSettings:
    """Errors of pseudo-NWP. Errors that grow with lead time are given at a lead time of 6 h."""

    spacing: float = 2000.0
    """Size of the cells, m; finer radar is averaged."""
    displacement: float = 35.0
    """Root mean square displacement of storms, km. Grows."""
    displacement_scale: float = 120.0
    """Length scale of the displacement, km."""
    timing: float = 25.0
    """Standard deviation of the timing error, min. Grows."""
    missed: float = 0.25
    """Mean fraction of the area whose storms are missed. Grows."""
    invented: float = 0.25
    """Mean fraction of the area with storms of other times and places. Grows."""
    storm_scale: float = 35.0
    """Length scale of the patches in which storms are missed or invented, km."""
    intensity: float = 0.4
    """Standard deviation of the logarithm of the intensity factor. Grows."""
    intensity_scale: float = 60.0
    """Length scale of the intensity factor, km."""
    resolution: float = 14.0
    """Wavelength (km) that keeps half of its amplitude, shorter ones keep less; 0 for the resolution of the grid."""
    peaks: float = 0.7
    """Fraction of the rates lost by smoothing that is restored: 0 none, 1 the distribution of the radar."""
    drizzle: float = 0.2
    """Maximum rate of drizzle around rain, mm h-1."""
    spin_up: float = 20.0
    """Time constant with which the rain of a run develops from a dry start, min."""
    start: float = 0.5
    """Size of the growing errors at the start of a run, as a fraction of that at 6 h."""
    shared: float = 0.5
    """Fraction of the error variance shared by runs at the same valid time."""
    memory: float = 6.0
    """Time after which the pattern of the errors is independent, h."""

    def __post_init__(self) -> None:
        """Check that fractions lie between 0 and 1, and sizes are positive."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            low = 1e-6 if entry.name in _POSITIVE else 0.0
            high = 1.0 if entry.name in _FRACTIONS else np.inf
            if not (low <= value <= high and np.isfinite(value)):
                raise InputError(
                    f"{entry.name} = {value}", f"it lies between {low:g} and {high:g}, finite", "Correct the setting"
                )

    def growth(self, hours: float) -> float:
        """Return the size of the errors at a lead time relative to that at 6 h; they grow up to 12 h."""
        return self.start + (1 - self.start) * min(hours, 12.0) / 6.0


#: No errors: later radar on the coarse grid.
PERFECT = PseudoNwpSettings(
    displacement=0, timing=0, missed=0, invented=0, intensity=0, resolution=0, drizzle=0, spin_up=0
)
#: Errors of about half the usual size: a run from good analyses, in organised rain.
GOOD = PseudoNwpSettings(displacement=18, timing=12, missed=0.12, invented=0.12, intensity=0.3, drizzle=0.1)
#: Errors of a current convection-permitting system at lead times of a few hours.
TYPICAL = PseudoNwpSettings()
#: Errors of a run with little skill in the position of rain.
POOR = PseudoNwpSettings(displacement=70, timing=50, missed=0.5, invented=0.5, intensity=0.6, drizzle=0.3)
#: Presets by name.
PRESETS = MappingProxyType({"good": GOOD, "typical": TYPICAL, "poor": POOR})
