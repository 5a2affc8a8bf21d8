"""Nowcasters, objects with one protocol: persistence, advection, scale filter, skill-weighted blend.

The adapters of pysteps are in `hybridcast.nowcasters.pysteps`, the blend of trained members in `hybridcast.fusion`.
"""

from __future__ import annotations

from hybridcast.nowcasters.base import (
    Advection,
    DescribesSettings,
    MakesMembers,
    Nowcaster,
    Persistence,
    TakesSources,
)
from hybridcast.nowcasters.scale_filter import ScaleFilter
from hybridcast.nowcasters.scale_filter_ensemble import ScaleFilterEnsemble
from hybridcast.nowcasters.skill_blend import SkillWeightedBlend

__all__ = [
    "Advection",
    "DescribesSettings",
    "MakesMembers",
    "Nowcaster",
    "Persistence",
    "ScaleFilter",
    "ScaleFilterEnsemble",
    "SkillWeightedBlend",
    "TakesSources",
]
