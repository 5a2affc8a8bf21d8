"""The kernels on CPU threads, returned by `kernels_for("cpu")`."""

from __future__ import annotations

from hybridcast_kernels.advection_cpu import advect
from hybridcast_kernels.flow_cpu import estimate

__all__ = ["advect", "estimate"]
