"""Pseudo-NWP: fields like those of a convection-permitting NWP system, simulated from later radar.

Public radar archives do not contain the NWP rain forecast for them. To evaluate what NWP fields add to radar, and how
that depends on their quality, forecasts are simulated: later radar, with errors like those of an NWP system. Names and
attributes of everything made here contain ``pseudo-NWP``, and so must every table and figure made with it: it shows how
a method uses such fields, never how good an NWP system is.

The errors are applied in this order (`hybridcast.datasets.pseudo_nwp.simulate`):

1. **Timing**: a run is early or late, by a time that changes slowly with lead time.
2. **Displacement**: a smooth random vector field. Where its source is unknown to the radar, the opposite vector is
   used.
3. **Missed storms**: the rain fades out in random patches.
4. **Invented storms**: other random patches get rain of other places of the same radar, shifted around the grid. In
   some events it is also of other times: rotated by 180 degrees and reversed in time, so that it moves like the rain
   around.
5. **Intensity**: a smooth log-normal factor.
6. **Resolution**: details below the effective resolution, about seven grid lengths of an NWP model (Skamarock 2004,
   doi:10.1175/MWR2830.1), are smoothed, and the distribution of rates is restored in part: NWP models produce strong
   cells, but wide ones.
7. **Drizzle** around rain, and **spin-up** in the first hour.

All random patterns are smooth in space, are advected with the mean motion of the rain, and change slowly with lead
time, so that an error visible at issue time persists in the following hours. One part of them belongs to the valid
time, and is shared between runs; another part belongs to the run. They grow with lead time. Patterns are independent
between places, between seeds and, beyond half a day, between times.

**Quality of the presets** on the real events (mean over 21 events, 91 cases; ``make pseudo-nwp``): fractions skill
score of hourly rates at 1 mm/h and lead times of 2 to 5 h, by scale; CSI at 1 mm/h of the same rates, and of rates over
15 min at 3 h against single frames of the radar:

=======  =====  =====  =====  ======  ======  =============  ==============
preset   10 km  20 km  50 km  100 km  200 km  CSI 1, hourly  CSI 1, 15 min
=======  =====  =====  =====  ======  ======  =============  ==============
good     .67    .76    .85    .89     .93     .39            .32
typical  .46    .54    .68    .78     .86     .24            .20
poor     .28    .34    .46    .61     .75     .14            .12
=======  =====  =====  =====  ======  ======  =============  ==============

With `TYPICAL` a fractions skill score of 0.5 is reached at about 15 km over all events: at 2 to 12 km in widespread
rain, at 20 to 100 km on days with scattered showers. Roberts and Lean (2008, doi:10.1175/2007MWR2123.1) regard about
this score as the limit of useful skill if little of the area is wet. The presets are tuned by this measure and by
values that are usual for convection-permitting NWP, not fitted to the scores of a particular system.

**Limits.** Every storm that is not invented was real, so its structure and life cycle are those of radar, not of the
physics of an NWP model. There is no diurnal or orographic error, and none that depends on the weather situation. A
pseudo-NWP field is unknown (NaN) where the radar is unknown, because the truth is missing there; real NWP is known.
"""

from __future__ import annotations

from hybridcast.datasets.pseudo_nwp.runs import simulate_runs_before
from hybridcast.datasets.pseudo_nwp.settings import GOOD, PERFECT, POOR, PRESETS, TYPICAL, PseudoNwpSettings
from hybridcast.datasets.pseudo_nwp.simulate import simulate_pseudo_nwp

__all__ = [
    "GOOD",
    "PERFECT",
    "POOR",
    "PRESETS",
    "TYPICAL",
    "PseudoNwpSettings",
    "simulate_pseudo_nwp",
    "simulate_runs_before",
]
