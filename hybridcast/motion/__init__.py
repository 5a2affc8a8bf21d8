"""Motion of precipitation: optical flow from radar frames, and NWP wind where there is no echo."""

from __future__ import annotations

from hybridcast.motion.estimate import DIS, DenseFlow, MotionMethod, check_motion, estimate_motion
from hybridcast.motion.wind_guidance import WindGuidedFlow

__all__ = ["DIS", "DenseFlow", "MotionMethod", "WindGuidedFlow", "check_motion", "estimate_motion"]
