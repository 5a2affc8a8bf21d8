"""The members: every kind that a stored model may have, and those that a training makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hybridcast.learned.boosting import BoostedTrees, TreesBuilder
from hybridcast.learned.logistic import NEIGHBOURHOOD, NWP_RAIN, SCALE_FILTER, LogisticBuilder, LogisticMember
from hybridcast.learned.member import Member, MemberBuilder, StoredParts, uses_nwp
from hybridcast.learned.network_member import NetworkBuilder, NetworkMember
from hybridcast.learned.nwp_stage import NWP_ALONE
from hybridcast.predictors.registry import ALL_PREDICTORS, RADAR_PREDICTORS

#: How a member of each kind is made from its entry in the manifest of a model.
KINDS: dict[str, Callable[[Mapping[str, Any], StoredParts], Member]] = {
    "logistic": LogisticMember.from_parts,
    "trees": BoostedTrees.from_parts,
    "network": NetworkMember.from_parts,
}

#: Members that a training makes. Blends list them in this order.
BUILDERS: tuple[MemberBuilder, ...] = (
    LogisticBuilder("neighbourhood", NEIGHBOURHOOD),
    LogisticBuilder("scale-filter", SCALE_FILTER),
    TreesBuilder("boosting", RADAR_PREDICTORS),
    NetworkBuilder(),
    LogisticBuilder(NWP_ALONE, NWP_RAIN),
    TreesBuilder("fused", ALL_PREDICTORS, dropped_groups=("station", "terrain")),
)

#: Names of the members that need radar only and are always kept.
RADAR_MEMBERS = tuple(one.name for one in BUILDERS if not one.optional and not uses_nwp(one))
#: Names of the members that need NWP.
NWP_MEMBERS = tuple(one.name for one in BUILDERS if uses_nwp(one))
#: Names of the members that are kept only if the blend with them is better.
OPTIONAL_MEMBERS = tuple(one.name for one in BUILDERS if one.optional)
