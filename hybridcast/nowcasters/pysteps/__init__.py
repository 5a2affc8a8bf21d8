"""The methods of pysteps as objects of this package: motion methods and nowcasters, for comparison and as members.

pysteps (Pulkkinen et al. 2019, doi:10.5194/gmd-12-4185-2019) works on bare arrays without missing values. What stands
here between it and a field, for all of its methods alike:

- **Frames.** A frame that is missing or has no rain ends the history that an autoregressive model looks at. A history
  that is too short lowers the order of the model; one too short for order 1, and a dry field, are extrapolated.
- **NaN.** pysteps never sees it. Gaps in a frame are filled along the motion from the frames before and after.
  Afterwards the forecast is unknown exactly where the extrapolation of the newest frame is unknown: where the motion
  brings in what no radar saw. Forecasts with one motion therefore share one mask. Where a method gives nothing inside
  that mask (ANVIL near the inflow border, a perturbed STEPS member), it is completed by the extrapolation.
- **Lead times.** Multiples of the time step of the frames are whole steps; others go to pysteps as fractions of a
  step: it advects to the exact time and interpolates the model between the steps around it.
- **Failures.** What a method raises becomes a warning in the log and the extrapolation; whenever the result is not
  what was asked for, its attribute ``fallback`` says why.

Importing this module imports nothing of pysteps. While pysteps runs, ``sys.stdout`` of the process is redirected: what
it prints goes to this module's logger at level DEBUG.
"""

from __future__ import annotations

from hybridcast.nowcasters.pysteps._blending import LinearBlending, StepsBlending
from hybridcast.nowcasters.pysteps._motion import PystepsMotion
from hybridcast.nowcasters.pysteps._nowcasters import Anvil, Linda, PystepsExtrapolation, SProg, Steps

__all__ = [
    "Anvil",
    "Linda",
    "LinearBlending",
    "PystepsExtrapolation",
    "PystepsMotion",
    "SProg",
    "Steps",
    "StepsBlending",
]
