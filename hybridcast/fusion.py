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

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.special import ndtri

from hybridcast.advection import LONGEST_STEP, check_lead_times
from hybridcast.coarse import block_size, cell_size, coarsened
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
from hybridcast.scales import filtered
from hybridcast_kernels import scales_cpu
from hybridcast_kernels.advection_cpu import LINEAR
from hybridcast_kernels.advection_cpu import advect as advect_arrays
from hybridcast_kernels.resample_cpu import enlarge
from hybridcast_kernels.workspace import workspace_of_this_thread

Array = NDArray[np.float32]

_MINUTE = np.timedelta64(1, "m")
#: Members are asked at these lead times (min), and every half hour after them; in between, the moving frame is
#: interpolated.
ASKED = (15.0, 30.0, 45.0, 60.0)
#: Cells much coarser than those of the training hold other weather.
COARSEST = 2.5
#: How far back a hindcast's own frames go.
HISTORY = np.timedelta64(60, "m")
EXCEEDANCE = "probability_of_exceedance"
#: How gradually a threshold counts in the ranking, in log odds.
SOFTNESS = np.float32(0.3)
#: How far the ranking is a local one, by lead time (min): it keeps showers at places where nothing is lost by it.
LOCAL = ((30.0, 90.0), (0.5, 0.0))
#: Half width of a neighbourhood, in cells at which members are asked.
NEIGHBOURHOOD = 5


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
        advected = advect_arrays(frame[None], flow, minutes, LINEAR, longest_step=LONGEST_STEP)[0]
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
        blend, used = self._live_blend(coarse)
        asked = _asked(ahead)
        cells, shape = _every(coarse.shape[1:], self.stride)
        rows, places, said = self.seen(coarse, _since_last(coarse, asked), cells, moving=True)
        found = [
            blend.scores(self.members(r, m, said, p), m) for r, p, m in zip(rows, places, asked / _MINUTE, strict=True)
        ]
        # each threshold has weights of its own, so what they give may cross
        chances = probability(decreasing(np.stack(found, axis=1))).reshape(len(blend.thresholds), len(asked), *shape)
        chances = _between(chances, asked, ahead)
        grid = _Onto(frame.shape, block_size(recent, self.model.spacing), self.stride)
        known = np.isfinite(latest_frame(coarse)[0].values)[:: self.stride, :: self.stride]
        wanted = chances[[blend.thresholds.index(t) for t in self.thresholds]]
        minutes = (ahead / _MINUTE).astype(np.float32)
        local = np.interp(minutes, *LOCAL).astype(np.float32)
        ranking = _ranking(chances, known, _shares(frame, blend.thresholds), local)
        fields = grid.enlarged(np.concatenate([ranking[None], wanted]))
        matchings = _matchings(fields[0], frame)
        carried = _carried(fields, flow, minutes, advected)
        rate = scales_cpu.matched(carried[0], matchings) if matchings else advected.copy()
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


def _every(shape: tuple[int, ...], stride: int) -> tuple[NDArray[np.int32], tuple[int, int]]:
    """Give every `stride`-th cell of a grid, ``(cell, 2)``, and how many rows and columns they make."""
    rows, columns = np.arange(0, shape[0], stride), np.arange(0, shape[1], stride)
    i, j = np.meshgrid(rows, columns, indexing="ij")
    return np.column_stack([i.ravel(), j.ravel()]).astype(np.int32), (rows.size, columns.size)


def _between(values: Array, asked: LeadTimes, ahead: LeadTimes) -> Array:
    """Interpolate ``(threshold, asked, y, x)`` linearly to other lead times."""
    place = np.interp(ahead / _MINUTE, asked / _MINUTE, np.arange(len(asked)))
    low = np.minimum(place.astype(int), len(asked) - 1)
    high = np.minimum(low + 1, len(asked) - 1)
    share = (place - low).astype(np.float32)[:, None, None]
    between: Array = values[:, low] * (1 - share) + values[:, high] * share
    return between


class _Onto(NamedTuple):
    """From every so many coarse cells to the fine grid."""

    fine: tuple[int, ...]
    block: int
    """Fine cells to a coarse one."""
    stride: int

    def enlarged(self, planes: Array) -> Array:
        """Interpolate planes ``(set, lead, y, x)`` bilinearly; beyond the last cell the edge holds."""
        out: Array = workspace_of_this_thread().array("enlarged", (*planes.shape[:2], *self.fine))
        flat = np.ascontiguousarray(planes.reshape(-1, *planes.shape[2:]), np.float32)
        enlarge(flat, self.block * self.stride, (self.block - 1) / 2, out.reshape(len(flat), *self.fine))
        return out


def _carried(fields: Array, flow: Array, minutes: Array, advected: Array) -> Array:
    """Carry fields of each lead time, ``(set, lead, y, x)``, along the motion; NaN where the advected rate is."""
    flat = fields.reshape(-1, *fields.shape[2:])
    moved = advect_arrays(flat, flow, minutes, LINEAR, paired=True, longest_step=LONGEST_STEP)
    unknown = np.isnan(advected)
    for one in moved:
        np.copyto(one, np.float32(np.nan), where=unknown)
    return moved


def _exceeded(rate: Array, thresholds: Sequence[float]) -> Array:
    """Turn rates into probabilities 0 and 1; NaN stays."""
    reached = np.stack([rate >= np.float32(t) for t in thresholds]).astype(np.float32)
    reached[:, np.isnan(rate)] = np.nan
    return reached


def _ranking(chances: Array, known: NDArray[np.bool_], shares: Array, local: Array) -> Array:
    """Make one field to rank cells by, ``(lead, y, x)``, from probabilities ``(threshold, lead, y, x)``.

    Around the share of cells that are to be wet at a threshold, cells are ranked by the probability of that threshold:
    each threshold counts one where its log odds are above the cut that gives the share, smoothly.

    One cut for all would leave nothing of small showers beside a large system. At short lead times, when showers are
    still there, the cut is moved (by the part `local`, ``(lead,)``) towards the one that gives each neighbourhood the
    share that its own probabilities promise.
    """
    total: Array = np.zeros(chances.shape[1:], np.float32)
    for chance, share in zip(chances, shares, strict=True):
        if share <= 0:
            continue
        odds = _log_odds(chance)
        seen = odds[:, known] if known.any() else odds.reshape(len(odds), -1)
        cuts = np.quantile(seen, 1 - min(share, 1.0), axis=1).astype(np.float32)
        for lead, cut in enumerate(cuts):
            here = cut
            if local[lead] > 0 and known.any():
                here = cut + local[lead] * (_local_cut(odds[lead], chance[lead], known, share) - cut)
            total[lead] += probability((odds[lead] - here) / SOFTNESS)
    return total


def _local_cut(odds: Array, chance: Array, known: NDArray[np.bool_], share: np.float32) -> Array:
    """Give the log odds above which each neighbourhood is as wet as its probabilities promise.

    Its log odds are taken as normally distributed, and promises are scaled so that they make up `share` in all.
    """
    inside = known.astype(np.float32)
    seen = np.maximum(_smooth(inside), np.float32(1e-3))
    mean = _smooth(odds * inside) / seen
    variance = _smooth(odds * odds * inside) / seen - mean * mean
    promised = _smooth(chance * inside) / seen * share / max(float(chance[known].mean()), 1e-6)
    spread = np.sqrt(np.maximum(variance, 1e-6))
    cut: Array = mean + spread * ndtri(1 - np.clip(promised, 1e-4, 1 - 1e-4)).astype(np.float32)
    return cut


def _smooth(field: Array) -> Array:
    """Mean over `NEIGHBOURHOOD` cells each way, the edge repeated."""
    smooth: Array = uniform_filter(field, 2 * NEIGHBOURHOOD + 1, mode="nearest")
    return smooth


def _log_odds(chance: Array) -> Array:
    held = np.clip(chance, 1e-4, 1 - 1e-4)
    odds: Array = np.log(held / (1 - held))
    return odds


def _shares(frame: Array, thresholds: Sequence[float]) -> Array:
    """Share of the known cells that reach each threshold."""
    known = frame[np.isfinite(frame)]
    return np.array([(known >= np.float32(t)).mean() for t in thresholds], np.float32)


def _matchings(ranking: Array, frame: Array) -> list[scales_cpu.Matching]:
    """Find how the ranks of `ranking`, ``(lead, y, x)``, get the values of the latest frame; none if that is dry."""
    wet = np.sort(frame[frame > 0])[::-1]
    return scales_cpu.matchings(ranking, frame, wet) if wet.size else []
