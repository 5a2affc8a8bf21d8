"""Late fusion: advection, scale filter, boosting and network blended by lead time, for every cell the radar can tell.

1. The frames are averaged onto the cells that the model was trained on (about 2 km), their motion is estimated.
2. Predictors are made on every second of these cells, in the frame that moves with the rain, for a few lead times.
3. Each member gives log odds that thresholds are reached; their weights come from events kept out of training, and
   are corrected by hindcasts: what the members would have said half an hour and an hour ago, against what came.
4. Log odds are interpolated in time within the moving frame, and carried along the motion to the fine grid.
5. The forecast rate has the ranks of the blended odds and the values of the latest frame, carried along: as wet, and as
   sharp, as pure advection.

Where the air comes from outside the coverage all of it is NaN: nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from hybridcast.advection import LONGEST_STEP, check_lead_times
from hybridcast.coarse import block_size, cell_size, coarsened
from hybridcast.device import resolved
from hybridcast.errors import InputError
from hybridcast.features import origins_of, rows_in_moving_frame, rows_of, situation_of
from hybridcast.field import GRID_MAPPING, NAME, iso_time
from hybridcast.learned.blend import Blend, LiveSettings, Scored, corrected, probability
from hybridcast.learned.boosting import decreasing
from hybridcast.learned.model import DEFAULT, NETWORK, TrainedModel, load_model
from hybridcast.learned.network import Said, said_of, torch_is_there
from hybridcast.learned.network_inputs import inputs_of
from hybridcast.motion import DenseFlow, MotionMethod, cells_per_step
from hybridcast.nowcasters import LeadTimes, forecast_dataset, latest_frame, radar_status
from hybridcast.ranking import matchings_of, ranking_of, shares_of
from hybridcast.scales import filtered
from hybridcast_kernels import scales_cpu
from hybridcast_kernels.devices import Device, kernels_for
from hybridcast_kernels.parallel import threads
from hybridcast_kernels.planes_cpu import carry
from hybridcast_kernels.resample_cpu import enlarge
from hybridcast_kernels.workspace import workspace_of_this_thread

Array = NDArray[np.float32]

T = TypeVar("T")
S = TypeVar("S")

_MINUTE = np.timedelta64(1, "m")
#: Members are asked at these lead times (min), and every half hour after them; in between, the moving frame is
#: interpolated.
ASKED = (15.0, 30.0, 45.0, 60.0)
#: Cells much coarser than those of the training hold other weather.
COARSEST = 2.5
#: How far back a hindcast's own frames go.
HISTORY = np.timedelta64(60, "m")
EXCEEDANCE = "probability_of_exceedance"


class Blended(NamedTuple):
    """What came out."""

    rate: Array
    """mm h-1, ``(lead, y, x)``."""
    chances: Array
    """``(threshold, lead, y, x)``."""
    blend: Blend | None
    """The weights used; None if members were not asked."""
    hindcasts: int = 0
    """How many of them corrected the weights."""


@dataclass(frozen=True)
class Hybrid:
    """Advection, scale filter and trained members, blended: see `hybridcast.fusion`."""

    model: TrainedModel
    motion: MotionMethod = field(default_factory=DenseFlow)
    thresholds: tuple[float, ...] = (0.1, 1.0, 5.0)
    """Rates (mm h-1) whose probabilities are given; any of the model's."""
    live: LiveSettings | None = field(default_factory=LiveSettings)
    """How hindcasts correct the weights; None leaves them as they were learned."""
    stride: int = 2
    """Members are asked at every so many cells of the model's grid."""
    device: Device = "auto"
    """Where the latest frame is advected; the motion has a setting of its own, the members run on the CPU."""

    def __post_init__(self) -> None:
        """Refuse thresholds that the model does not know."""
        unknown = [t for t in self.thresholds if t not in self.model.blend.thresholds]
        if unknown or list(self.thresholds) != sorted(set(self.thresholds)):
            raise InputError(
                f"thresholds are {self.thresholds}",
                f"they increase and are among {self.model.blend.thresholds} mm/h, which the model was trained for",
                "Choose from these",
            )

    @property
    def name(self) -> str:
        """How results name it."""
        return "hybridcast"

    def forecast(self, recent: xr.DataArray, lead_times: LeadTimes) -> xr.Dataset:
        """See `hybridcast.nowcasters.Nowcaster`.

        The result holds `probability_of_exceedance` with dims ``("threshold", "lead_time", "y", "x")``, the advection
        alone as `precipitation_rate_advected`, the weights `member_weight` with dims ``("member", "threshold",
        "lead_time")``, and the motion `u` and `v` too.
        """
        leads = check_lead_times(lead_times)
        motion = self.motion.estimate(recent)
        latest, age = latest_frame(recent)
        frame = np.ascontiguousarray(latest.values, np.float32)
        flow = cells_per_step(motion, _MINUTE)
        minutes = ((leads + age) / _MINUTE).astype(np.float32)
        advected = kernels_for(resolved(self.device)).advect(frame[None], flow, minutes, longest_step=LONGEST_STEP)[0]
        coarse = coarsened(recent, self.model.spacing)
        reason = self._why_not(recent, frame, coarse.sel(time=latest["time"]).values)
        if reason:
            blended = Blended(advected, _exceeded(advected, self.thresholds), None)
        else:
            blended = self._blended(recent, coarse, flow, leads + age, advected)
        result = forecast_dataset(blended.rate, recent, leads, model=self.name, status=radar_status(recent, age))
        described = {**result[NAME].attrs, "long_name": "precipitation rate, advection alone"}
        result[f"{NAME}_advected"] = (("lead_time", "y", "x"), advected, described)
        result = self._with_probabilities(result, blended)
        for name in ("u", "v"):
            result[name] = motion[name]
        result.attrs["frames_used"] = ", ".join(iso_time(t) for t in recent["time"].values[_seen(recent)]) or "none"
        if reason:
            result.attrs["fallback"] = reason
        if self.speaking is not self.model:
            result.attrs["members_left_out"] = "network: torch is not installed (pip install 'hybridcast[network]')"
        return result.assign_attrs(motion_method=str(motion.attrs["method"]), motion_status=str(motion.attrs["status"]))

    def _why_not(self, recent: xr.DataArray, frame: Array, coarse: Array) -> str:
        """Say why the members cannot be asked; empty if they can."""
        if not np.isfinite(frame).any():
            return "advection alone: no radar data"
        own = cell_size(recent)
        if own > COARSEST * self.model.spacing:
            return (
                f"advection alone: cells of {own / 1e3:.1f} km, the model is made for {self.model.spacing / 1e3:.1f} km"
            )
        if not np.isfinite(coarse).any():
            return f"advection alone: no cell of {self.model.spacing / 1e3:.1f} km is seen by half in the latest frame"
        return ""

    def _blended(
        self, recent: xr.DataArray, coarse: xr.DataArray, flow: Array, ahead: LeadTimes, advected: Array
    ) -> Blended:
        """Blend on coarse cells in the moving frame; carry what comes out to the fine grid."""
        frame = latest_frame(recent)[0].values
        grid = _Grid.of(recent, coarse, self.model.spacing, self.stride)
        asked = _asked(ahead)
        cells = grid.cells(frame)
        with ThreadPoolExecutor(
            1
        ) as beside:  # hindcasts and the forecast itself have nothing to wait for in each other
            corrected_blend = beside.submit(self._live_blend, coarse)
            rows, places, said = self.seen(coarse, _since_last(coarse, asked), cells, moving=True)
            blend, used = corrected_blend.result()
        found = [
            blend.scores(self.members(r, m, said, p), m) for r, p, m in zip(rows, places, asked / _MINUTE, strict=True)
        ]
        # each threshold has weights of its own, so what they give may cross
        chances = grid.filled(probability(decreasing(np.stack(found, axis=1))), cells)
        known = grid.at_asked(np.isfinite(latest_frame(coarse)[0].values))
        ranking = ranking_of(chances, known, shares_of(frame, blend.thresholds))
        wanted = chances[[blend.thresholds.index(t) for t in self.thresholds]]
        planes = _between(np.concatenate([ranking[None], wanted]), asked, ahead)
        matchings = matchings_of(grid.enlarged(planes[0], frame.shape), frame)
        carried = grid.carried(planes, flow, (ahead / _MINUTE).astype(np.float32), advected)
        rate = scales_cpu.matched(carried[0], matchings, out=carried[0]) if matchings else advected.copy()
        return Blended(rate, carried[1:], blend, used)

    @property
    def fingerprint(self) -> str:
        """Tell it from all others: what its forecasts depend on."""
        told = (self.model.fingerprint, self.motion, self.thresholds, self.live, self.stride)
        return f"Hybrid{told!r}"

    def settings_told(self) -> dict[str, object]:
        """Give what this nowcaster is set to, as attributes of forecasts have it."""
        live = None if self.live is None else asdict(self.live)
        return {
            "motion": self.motion.name,
            "thresholds": self.thresholds,
            "live": live,
            "stride": self.stride,
            "model": self.model.fingerprint,
            "regions_left_out": self.model.about.get("regions_left_out"),
        }

    @cached_property
    def speaking(self) -> TrainedModel:
        """The model as far as it can be asked here: without its network where torch is not installed."""
        return self.model if torch_is_there() else self.model.without_network

    def members(self, rows: Array, lead: float, said: Said | None, places: Array) -> Array:
        """Ask all members, in the order of the blend: log odds, shape ``(member, threshold, row)``.

        Parameters
        ----------
        rows
            Predictors, shape ``(row, feature)``.
        lead
            min, from the frame that moves.
        said
            What the network says, where there is one.
        places
            Row and column of where the air of each row is in the frame that moves, shape ``(row, 2)``.
        """
        model = self.speaking
        told = {member.name: member.scores(rows, lead) for member in model.linear}
        told["boosting"] = model.boosting.scores(rows)
        if said is not None:
            told[NETWORK] = said.at(places, lead)
        return np.stack([told[name] for name in model.blend.members])

    def seen(
        self, coarse: xr.DataArray, leads: LeadTimes, cells: NDArray[np.int32], *, moving: bool
    ) -> tuple[Array, Array, Said | None]:
        """Give all that members look at, from frames up to the last of `coarse`.

        Returns
        -------
        tuple
            Predictors of `cells` at each lead time; where their air is in the frame that moves, ``(lead, cell, 2)``;
            and what the network says. The air is the one that is over the cells at the issue time (`moving`), or at
            the lead time.
        """
        motion = DenseFlow().estimate(coarse)
        smooth = filtered(coarse, motion, leads)["filtered_dbr"]
        situation = situation_of(coarse, motion, leads, smooth)
        network = self.speaking.network
        said = None if network is None else said_of(inputs_of(coarse, motion, smooth=smooth), network)
        if moving:
            return rows_in_moving_frame(situation, cells), np.broadcast_to(cells, (len(leads), *cells.shape)), said
        return rows_of(situation, cells), origins_of(situation, cells), said

    def _live_blend(self, coarse: xr.DataArray) -> tuple[Blend, int]:
        """Correct the learned weights by hindcasts; give them, and how many hindcasts there were."""
        blend = self.speaking.blend
        if self.live is None:
            return blend, 0
        hindcasts = hindcasts_of(self, coarse, self.live)
        return corrected(blend, hindcasts, self.live), len(hindcasts)

    def _with_probabilities(self, result: xr.Dataset, blended: Blended) -> xr.Dataset:
        described = {
            "long_name": "probability that the precipitation rate is at or above the threshold",
            "units": "1",
        }
        if GRID_MAPPING in result.coords:
            described["grid_mapping"] = GRID_MAPPING
        thresholds = ("threshold", np.array(self.thresholds), {"long_name": "precipitation rate", "units": "mm h-1"})
        result = result.assign_coords(threshold=thresholds)
        result[EXCEEDANCE] = (("threshold", "lead_time", "y", "x"), blended.chances, described)
        blend = self.speaking.blend if blended.blend is None else blended.blend
        minutes = result["lead_time"].values / _MINUTE
        picked = [blend.thresholds.index(t) for t in self.thresholds]
        weights = np.stack([blend.at(m)[picked, :-1].T for m in minutes], axis=-1)
        about = {"long_name": "weight of the log odds of a member in the blend", "units": "1"}
        result["member_weight"] = (("member", "threshold", "lead_time"), weights, about)
        result.attrs["hindcasts"] = blended.hindcasts
        return result.assign_coords(member_name=("member", list(blend.members), {"long_name": "member of the blend"}))


def trained(path: str | Path, thresholds: Sequence[float] | None = None) -> Hybrid:
    """Load a model and make a nowcaster of it; ``"default"`` is the one that comes with the package."""
    model = _default_model() if path == DEFAULT else load_model(path)
    return Hybrid(model) if thresholds is None else Hybrid(model, thresholds=tuple(map(float, thresholds)))


@lru_cache(maxsize=1)
def _default_model() -> TrainedModel:
    return load_model(DEFAULT)


def only(hybrid: Hybrid, member: str) -> Hybrid:
    """Let one member alone speak, calibrated as it is: to see what each is worth."""
    model = hybrid.model if member == NETWORK else hybrid.model.without_network
    blend = model.blend
    if member not in blend.members:
        raise InputError(
            f"member {member!r}",
            f"the members of this model are {', '.join(blend.members)}",
            "Choose one of these, or train a model that has it",
        )
    weights = np.zeros_like(blend.weights)
    weights[..., blend.members.index(member)] = 1.0
    return replace(hybrid, model=replace(model, blend=replace(blend, weights=weights)), live=None)


def hindcasts_of(hybrid: Hybrid, coarse: xr.DataArray, live: LiveSettings) -> list[Scored]:
    """Forecast again what has come since, from what was known then.

    For each lead time of `live` there is an issue time that long ago, if the frames reach back far enough; its
    forecasts for all lead times up to the latest frame are scored at randomly chosen cells.
    """
    found = []
    now = coarse["time"].values[_seen(coarse)[-1]]
    generator = np.random.default_rng(0)
    for back in live.leads:
        issue = now - np.timedelta64(back, "m")
        recent = coarse.sel(time=slice(issue - HISTORY, issue))
        if _seen(recent).size < 2 or recent["time"].values[_seen(recent)[-1]] != issue:
            continue
        leads = np.array([lead for lead in live.leads if lead <= back]) * _MINUTE
        later = coarse.reindex(time=issue + leads).values
        cells = _choose(np.isfinite(later).any(axis=0), live.rows, generator)
        rows, places, said = hybrid.seen(recent, leads, cells, moving=False)
        for of_lead, place, observed, lead in zip(rows, places, later, leads / _MINUTE, strict=True):
            came = observed[cells[:, 0], cells[:, 1]]
            known = np.isfinite(came)
            if not known.any():
                continue
            scores = hybrid.members(of_lead[known], float(lead), said, place[known])
            found.append(Scored(float(lead), scores, came[known], np.ones(int(known.sum()), np.float32)))
    return found


# --- parts ----------------------------------------------------------------------------------------------------


def _seen(recent: xr.DataArray) -> NDArray[np.int64]:
    """Give which frames hold any value."""
    return np.flatnonzero(np.isfinite(recent.values).any(axis=(1, 2)))


def _choose(seen: NDArray[np.bool_], count: int, generator: np.random.Generator) -> NDArray[np.int32]:
    places = np.argwhere(seen).astype(np.int32)
    if len(places) <= count:
        return places
    return places[np.sort(generator.choice(len(places), count, replace=False))]


def _side_by_side(first: Callable[[], T], second: Callable[[], S]) -> tuple[T, S]:
    """Do two things that do not wait for one another, at once if there are threads for it."""
    if threads() == 1:
        return first(), second()
    with ThreadPoolExecutor(1) as beside:
        begun = beside.submit(first)
        done = second()
        return begun.result(), done


def _asked(ahead: LeadTimes) -> LeadTimes:
    """Give the lead times at which members are asked: the first and the last one, and regular ones between."""
    minutes = ahead / _MINUTE
    regular = np.array([*ASKED, *np.arange(ASKED[-1] + 30, minutes[-1], 30.0)])
    between = regular[(regular > minutes[0]) & (regular < minutes[-1])]
    asked = np.unique([minutes[0], *between, minutes[-1]])
    return (asked * 60e9).astype("timedelta64[ns]")


def _since_last(coarse: xr.DataArray, ahead: LeadTimes) -> LeadTimes:
    """Count lead times from the last time instead of the latest frame."""
    _, age = latest_frame(coarse)
    return ahead - age


def _between(values: Array, asked: LeadTimes, ahead: LeadTimes) -> Array:
    """Interpolate ``(threshold, asked, y, x)`` linearly to other lead times."""
    place = np.interp(ahead / _MINUTE, asked / _MINUTE, np.arange(len(asked)))
    low = np.minimum(place.astype(int), len(asked) - 1)
    high = np.minimum(low + 1, len(asked) - 1)
    share = (place - low).astype(np.float32)[:, None, None]
    between: Array = values[:, low] * (1 - share) + values[:, high] * share
    return between


class _Grid(NamedTuple):
    """Where members are asked: every so many coarse cells."""

    coarse: tuple[int, int]
    """Rows and columns of the coarse grid."""
    block: int
    """Fine cells to a coarse one."""
    stride: int

    @classmethod
    def of(cls, recent: xr.DataArray, coarse: xr.DataArray, spacing: float, stride: int) -> _Grid:
        """Make it for a field and the same field on cells of `spacing`."""
        return cls((coarse.sizes["y"], coarse.sizes["x"]), block_size(recent, spacing), stride)

    def cells(self, frame: Array) -> NDArray[np.int32]:
        """Give the cells to ask, ``(cell, 2)``: those that air which the latest frame knows can be sampled from."""
        seen = np.isfinite(frame)
        rows, columns = (size * self.block for size in self.coarse)
        whole = np.pad(seen, [(0, max(0, n - have)) for n, have in zip((rows, columns), seen.shape, strict=True)])
        blocks = whole[:rows, :columns].reshape(self.coarse[0], self.block, self.coarse[1], self.block)
        near = maximum_filter(blocks.any(axis=(1, 3)), 2 * self.stride + 3)
        near[-2 * self.stride - 1 :] |= seen[rows:].any()
        near[:, -2 * self.stride - 1 :] |= seen[:, columns:].any()
        return (np.argwhere(self.at_asked(near)) * self.stride).astype(np.int32)

    def at_asked(self, field: NDArray[Any]) -> NDArray[Any]:
        """Give what a coarse field holds at the cells that may be asked."""
        return field[:: self.stride, :: self.stride]

    def filled(self, values: Array, cells: NDArray[np.int32]) -> Array:
        """Put values of the cells that were asked, ``(threshold, lead, cell)``, on their grid; 0 elsewhere."""
        rows, columns = (-(-size // self.stride) for size in self.coarse)
        out = np.zeros((*values.shape[:2], rows, columns), np.float32)
        out[:, :, cells[:, 0] // self.stride, cells[:, 1] // self.stride] = values
        return out

    def enlarged(self, planes: Array, fine: tuple[int, ...]) -> Array:
        """Interpolate planes ``(lead, y, x)`` bilinearly onto the fine grid; beyond the last cell the edge holds."""
        out: Array = workspace_of_this_thread().array("enlarged", (len(planes), *fine))
        return enlarge(np.ascontiguousarray(planes), self.block * self.stride, (self.block - 1) / 2, out)

    def carried(self, planes: Array, flow: Array, minutes: Array, advected: Array) -> Array:
        """Carry planes of each lead time, ``(set, lead, y, x)``, along the motion; NaN where the advected rate is."""
        factor, offset = self.block * self.stride, (self.block - 1) / 2
        whole = np.ascontiguousarray(planes)
        return carry(whole, factor, offset, flow, minutes, advected, longest_step=LONGEST_STEP)


def _exceeded(rate: Array, thresholds: Sequence[float]) -> Array:
    """Turn rates into probabilities 0 and 1; NaN stays."""
    reached = np.stack([rate >= np.float32(t) for t in thresholds]).astype(np.float32)
    reached[:, np.isnan(rate)] = np.nan
    return reached
