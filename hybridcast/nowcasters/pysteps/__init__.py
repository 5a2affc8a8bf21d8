"""Methods of pysteps as motion methods and nowcasters of this package, for comparison.

pysteps (Pulkkinen et al. 2019, doi:10.5194/gmd-12-4185-2019) works on arrays without missing values. The adapters treat
all of its methods alike:

- **Frames.** A frame that is missing or has no rain ends the history that an AR process uses. If the history is too
  short, the order of the process is reduced; if it is too short for order 1, or the field is dry, the latest frame is
  extrapolated.
- **NaN.** pysteps never receives NaN. Gaps in a frame are filled along the motion from the frames before and after. The
  forecast is then unknown exactly where the extrapolation of the latest frame is unknown, that is, where the motion
  brings in air from outside radar coverage. Forecasts with the same motion therefore have the same mask. Where a method
  returns no value inside this mask (ANVIL near the inflow border, a perturbed STEPS member), the value is that of the
  extrapolation.
- **Lead times.** Multiples of the time step of the frames are whole steps. Others are passed to pysteps as fractions of
  a step: it advects to the exact time and interpolates the field between the steps around it.
- **Failures.** If a method raises an exception, it is logged as a warning and the forecast is the extrapolation. If the
  forecast is not the one requested, its attribute ``fallback`` states the reason.

Importing this module does not import pysteps. While pysteps runs, ``sys.stdout`` of the process is redirected, and its
output goes to the logger of this module at level DEBUG.
"""

from __future__ import annotations

from hybridcast.nowcasters.pysteps._blending import LinearBlending, StepsBlending
from hybridcast.nowcasters.pysteps._call import require_pysteps
from hybridcast.nowcasters.pysteps._motion import PystepsMotion
from hybridcast.nowcasters.pysteps._nowcasters import Anvil, Linda, LindaP, PystepsExtrapolation, SProg, Steps

__all__ = [
    "Anvil",
    "Linda",
    "LindaP",
    "LinearBlending",
    "PystepsExtrapolation",
    "PystepsMotion",
    "SProg",
    "Steps",
    "StepsBlending",
    "require_pysteps",
]
