"""Pseudo-NWP: fields like those of a convection-permitting model, simulated from later radar. No model made them.

There are public radar archives without the rain that a model had forecast for them. To try what model fields would add
to radar, and how that depends on the quality of the model, forecasts are made from what the radar saw later, and
spoiled the way a model errs. Whatever is made here says ``pseudo-NWP`` in its names and attributes, and so must every
table and figure made with it: it shows how a method uses such fields, never how good a model is.

The errors, in the order in which they are made (`hybridcast.datasets.pseudo_nwp.simulate`):

1. **Timing**: a run is early or late, by a time that drifts slowly with lead time.
2. **Displacement**: a smooth random vector field; where its source is not seen by the radar, the one on the other side
   is taken.
3. **Missed storms**: the rain is faded out in random patches.
4. **Invented storms**: in other random patches rain of other places of the same radar is put in, shifted around the
   grid, and in some events of other times too: turned by half a circle with its time reversed, so that it still moves
   like the rain around.
5. **Intensity**: a smooth log-normal factor.
6. **Resolution**: details below the effective resolution, about seven grid lengths of a model (Skamarock 2004,
   doi:10.1175/MWR2830.1), are smoothed away, and the distribution of rates is put back in part: such models have
   strong cells, but wide ones.
7. **Drizzle** around rain, and **spin-up** of the first hour.

All random patterns are smooth in space, are carried along with the mean motion of the rain, and change slowly with lead
time, so that an error seen at issue time tells about the hours after it. They have a part that belongs to the valid
time, which runs share, and one of the run's own. They grow with lead time. Different places, seeds and, beyond half a
day, times have independent patterns.

**How good the presets are** on the real events (mean over 21 events, 91 cases; ``make pseudo-nwp``): fractions skill
score of hourly rates at 1 mm/h and lead times of 2 to 5 h, by scale; CSI at 1 mm/h of the same, and of rates of 15 min
at 3 h against single frames of the radar:

=======  =====  =====  =====  ======  ======  =============  ==============
preset   10 km  20 km  50 km  100 km  200 km  CSI 1, hourly  CSI 1, 15 min
=======  =====  =====  =====  ======  ======  =============  ==============
good     .67    .76    .85    .89     .93     .39            .32
typical  .46    .54    .68    .78     .86     .24            .20
poor     .28    .34    .46    .61     .75     .14            .12
=======  =====  =====  =====  ======  ======  =============  ==============

With `TYPICAL` a score of 0.5, about what Roberts and Lean (2008, doi:10.1175/2007MWR2123.1) ask of a useful forecast
where little of the area is wet, is reached at about 15 km over all events: at 2 to 12 km in widespread rain, at 20 to
100 km on days of scattered showers. The presets are tuned by this measure and by what is usual of convection-permitting
models, not fitted to the scores of any one of them.

**Limits.** Every storm that is not invented was real, so its structure and life are those of radar, not of a model's
physics; there is no diurnal or orographic error, and none that depends on the kind of weather. A pseudo-NWP field is
unknown (NaN) where the radar did not see, because there is no truth to spoil; a real model is known there.
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
