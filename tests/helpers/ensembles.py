"""Simulated members of an ensemble that are made when they are computed, and counted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import dask.array
import numpy as np
import xarray as xr

from hybridcast.core.forecast_schema import add_ensemble
from hybridcast.nowcasters.base import Persistence


def lazy_members(members: int, shape, make) -> dask.array.Array:
    """Return members of shape ``(member, lead, y, x)`` that ``make(lead)`` makes, one chunk for each lead time."""

    def compute(block_info):
        lead = block_info[None]["chunk-location"][1]
        return make(lead)[:, None]

    leads, *grid = shape
    chunks = ((members,), (1,) * leads, *((size,) for size in grid))
    return dask.array.map_blocks(compute, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))


@dataclass(frozen=True)
class SimulatedEnsemble:
    """Persistence, whose members are the latest frame times simulated noise; `computed` lists the lead times made."""

    members: int = 0
    seed: int = 0
    computed: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "simulated ensemble"

    def with_members(self, count: int, seed: int) -> SimulatedEnsemble:
        return replace(self, members=count, seed=seed)

    def forecast(self, recent, lead_times) -> xr.Dataset:
        made = Persistence().forecast(recent, lead_times)
        rate = made.precipitation_rate.values

        def make(lead: int) -> np.ndarray:
            self.computed.append(lead)
            draws = (np.random.default_rng([self.seed, member, lead]) for member in range(self.members))
            return np.stack([rate[lead] * draw.exponential(size=rate.shape[1:]).astype(np.float32) for draw in draws])

        if not self.members:
            return made
        return add_ensemble(made, lazy_members(self.members, rate.shape, make), rate_is_mean=False)
