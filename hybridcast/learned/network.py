"""A small convolutional network that corrects probabilities: a U-Net in the frame that moves with the rain.

Its output are corrections of the logarithm of the odds (a base, which is another member's or a transform of the scale
filter), for all lead times and thresholds at once. Its last layer starts at zero: untrained, it gives the base. The
thresholds stay in order because what is above is cut at what is below. Only probabilities are corrected, no rate: the
conditional mean follows from them, and the sharp field from their ranks, so that a rate of its own could only
contradict them.

All it sees is made from frames up to the issue time, carried along the motion to the latest: no later frame is an
argument of `inputs_of`. What is compared with it, `outcome_of`, is found by following each cell forward.

The design is a U-Net (Ronneberger and others 2015, doi:10.1007/978-3-319-24574-4_28) with lead times as channels, as in
Ayzel and others (2020), doi:10.5194/gmd-13-2631-2020, residual blocks, and features scaled and shifted by the ages of
the frames (Perez and others 2018, arXiv 1709.07871). There is no normalisation over the domain: crops and whole fields
would see different ones; each cell's channels are normalised instead. torch is imported when a network is trained or
applied, not before.

What it is good for, by `notebooks/network_trials.json` (regions left out in turn): corrections of boosted probabilities
gain nothing there, whatever the settings. Trained on the base of the scale filter, it is a member of its own, no better
than boosting, but different: one part of its log odds in four lowers the Brier score at 1 mm/h by about one per cent.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.advection import LONGEST_STEP, check_lead_times
from hybridcast.errors import DependencyError, InputError
from hybridcast.features import decibels, frame_before
from hybridcast.field import GRID_MAPPING, metres_per_cell, time_step
from hybridcast.motion import cells_per_step, check_motion, usable_frames
from hybridcast.scales import filtered
from hybridcast_kernels.advection_cpu import LINEAR
from hybridcast_kernels.advection_cpu import advect as advect_arrays
from hybridcast_kernels.trajectories import origins, sample

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float32]
Counts = NDArray[np.uint8]

#: Lead times of the channels, min.
LEADS = (15, 30, 45, 60, 75, 90, 105, 120)
#: Thresholds of the channels, mm/h.
THRESHOLDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
#: How long before the latest the earlier frames should be, min.
LAGS = (10, 20, 30)
#: Half widths of the neighbourhoods, km.
WIDTHS = (32, 64)
#: What the base is shown for.
SHOWN_LEADS = (30, 60, 120)
SHOWN_THRESHOLDS = (0.1, 1.0, 5.0)
#: Planes before those of the base. `u` and `v` are along columns and rows.
PLANES = (
    *("level", "highest", "wet", "wet_1", "known"),
    *(f"change_{lag}" for lag in LAGS),
    *(f"both_{lag}" for lag in LAGS),
    *(f"level_{width}" for width in WIDTHS),
    *(f"wet_{width}" for width in WIDTHS),
    *(f"known_{width}" for width in WIDTHS),
    *("u", "v", "speed", "divergence"),
    *(f"filter_{lead}" for lead in SHOWN_LEADS),
)
_U, _V = PLANES.index("u"), PLANES.index("v")
_KNOWN, _WET = PLANES.index("known"), PLANES.index("wet")
CONDITIONS = 2 * len(LAGS) + 1
CHANNELS = len(PLANES) + len(SHOWN_LEADS) * len(SHOWN_THRESHOLDS)
#: Odds of the base beyond these (logarithm) are shown to the network as these.
_SHOWN_ODDS = 8.0
#: Values of the scale filter without rain, dB of 1 mm/h.
_DRY = np.float32(-15)
_MINUTE = np.timedelta64(1, "m")


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of the network and its training."""

    spacing: float = 4000.0
    """Size of its cells, m, about: whole blocks of the field's own."""
    widths: tuple[int, ...] = (16, 24, 32, 40)
    """Channels at each level; each is half as fine as the one before."""
    steps: int = 600
    """Steps of training, at most."""
    batch: int = 8
    """Crops in a step."""
    crop: int = 48
    """Cells along a side of a crop."""
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    dropout: float = 0.1
    """Share of the channels that are left out at the coarsest level in training."""
    averaging: float = 0.97
    """What is kept of the running mean of the parameters in each step; the mean is what is used."""
    check_every: int = 50
    """Steps from one look at the events kept out to the next."""
    patience: int = 4
    """Looks without gain before training ends."""
    augment: bool = True
    """Flip and turn."""
    seeds: tuple[int, ...] = (0, 1)
    """A network is trained for each; the mean of their corrections is used."""

    def __post_init__(self) -> None:
        """Refuse what makes no network."""
        if len(self.widths) < 2 or min(self.widths) < 1 or not self.seeds or min(self.batch, self.crop, self.steps) < 1:
            raise InputError(
                f"{self}", "a network has two levels, a seed, and crops to train on, at least", "Correct the settings"
            )


class Inputs(NamedTuple):
    """What is known at the issue time, on blocks of cells, in the frame that moves: the latest one's."""

    planes: Array
    """Named by `PLANES`, of order one, finite, ``(plane, y, x)``."""
    conditions: Array
    """Ages of the earlier frames and whether they are there, the time step, ``(CONDITIONS,)``."""
    smooth: Array
    """What the scale filter gives at the lead times, dB of 1 mm/h, ``(lead, y, x)``."""
    base: Array | None
    """Logarithm of the odds of another member, ``(lead, threshold, y, x)``."""


class Outcome(NamedTuple):
    """What was then observed of the air in each block."""

    known: Counts
    """How many cells of the block are known at the lead time, ``(lead, y, x)``."""
    reached: Counts
    """How many of them reach each threshold, ``(lead, threshold, y, x)``."""


class Case(NamedTuple):
    """One issue time."""

    inputs: Inputs
    outcome: Outcome


@dataclass(frozen=True)
class Network:
    """What was trained: arrays by name, as they are stored."""

    parameters: dict[str, Array]
    """Of all seeds, ``"<seed>.<layer>.weight"`` and ``".bias"``, and ``"base"``: what `base_odds` takes."""
    settings: NetworkSettings

    def __post_init__(self) -> None:
        """Refuse arrays that are not those of the settings."""
        wanted: dict[str, tuple[int, ...]] = {"base": (len(LEADS), len(THRESHOLDS), 3)}
        for seed in self.settings.seeds:
            wanted |= {f"{seed}.{name}": shape for name, shape in shapes(self.settings).items()}
        found = {name: np.shape(value) for name, value in self.parameters.items()}
        for name in sorted(set(wanted) | set(found)):
            if wanted.get(name) != found.get(name):
                raise InputError(
                    f"parameter {name!r} has the shape {found.get(name)}",
                    f"the network of these settings has {wanted.get(name)}",
                    "Take parameters and settings from the same training",
                )


# --- inputs ---------------------------------------------------------------------------------------------------


def inputs_of(
    recent: xr.DataArray,
    motion: xr.Dataset,
    *,
    base: xr.DataArray | None = None,
    smooth: xr.DataArray | None = None,
    spacing: float = NetworkSettings.spacing,
) -> Inputs:
    """Make what the network sees from frames up to the issue time and their motion.

    Parameters
    ----------
    recent
        Precipitation field, mm h-1, dims ``(time, y, x)``; its last frame that holds any value is the one that moves.
    motion
        `u` and `v` on the same grid, as `hybridcast.motion.estimate_motion` gives them.
    base
        Probabilities to start from, dims ``(threshold, lead_time, y, x)``, thresholds as `THRESHOLDS`.
    smooth
        `filtered_dbr` of `hybridcast.scales.filtered`, where it is there already; else it is made.
    spacing
        Size of the network's cells, m.

    Raises
    ------
    InputError
        If grids differ, or the thresholds of `base` are others.
    """
    check_motion(motion, recent)
    last = _latest(recent)
    block = _block(recent, spacing)
    flow = cells_per_step(motion, _MINUTE)
    if smooth is None:
        smooth = filtered(recent, motion, np.array(LEADS) * _MINUTE)["filtered_dbr"]
    forward = _forward(flow, _centres(recent.shape[1:], block))
    shape = _coarse_shape(recent.shape[1:], block)
    levels = _at_leads(smooth.transpose("lead_time", "y", "x"), recent)
    carried = _carried_back(levels[:, None], forward, shape)[:, 0]
    carried = np.where(np.isfinite(carried), carried, _DRY)
    odds = None
    if base is not None:
        odds = _log_odds(_carried_back(_at_leads(_checked(base), recent), forward, shape))
    planes = _latest_planes(recent.values[last], block, _cell(recent, block))
    changes, conditions = _changes(recent, last, flow, block)
    planes |= changes | _motion_planes(flow, recent, block)
    planes |= {f"filter_{lead}": (carried[LEADS.index(lead)] - _DRY) / np.float32(15) for lead in SHOWN_LEADS}
    return Inputs(np.stack([planes[name] for name in PLANES]).astype(np.float32), conditions, carried, odds)


def _latest(recent: xr.DataArray) -> int:
    indices, _ = usable_frames(recent, 1)
    return int(indices[0]) if indices.size else recent.sizes["time"] - 1


def _minutes(recent: xr.DataArray, leads: NDArray[np.timedelta64]) -> Array:
    """Lead times from the frame that moves, min."""
    age = recent["time"].values[-1] - recent["time"].values[_latest(recent)]
    return np.asarray((leads + age) / _MINUTE, np.float32)


def _block(field: xr.DataArray, spacing: float) -> int:
    """Give how many cells along each axis make up a block closest to `spacing`."""
    dy, dx = metres_per_cell(field)
    own = float(np.sqrt(abs(dy) * np.abs(dx).mean()))
    return int(np.clip(round(spacing / own), 1, min(field.shape[-2:])))


def _cell(field: xr.DataArray, block: int) -> tuple[float, float]:
    """Size of a block, km, ``(y, x)``."""
    dy, dx = metres_per_cell(field)
    return block * abs(dy) / 1e3, block * float(np.abs(dx).mean()) / 1e3


def _coarse_shape(shape: tuple[int, ...], block: int) -> tuple[int, int]:
    return -(-shape[0] // block), -(-shape[1] // block)


def _blocks(field: NDArray[Any], block: int, fill: float = np.nan) -> NDArray[Any]:
    """Give the cells of each block, ``(y, x, cell)``; those beyond the edge are `fill`."""
    rows, columns = _coarse_shape(field.shape, block)
    padding = [(0, rows * block - field.shape[0]), (0, columns * block - field.shape[1])]
    padded = np.pad(field, padding, constant_values=fill)
    return padded.reshape(rows, block, columns, block).swapaxes(1, 2).reshape(rows, columns, block * block)


def _block_means(field: Array, block: int) -> tuple[Array, Array]:
    """Mean over the known cells of each block (0 if none is), and the share that is known."""
    cells = _blocks(field, block)
    known = np.isfinite(cells)
    count = known.sum(axis=-1, dtype=np.float32)
    mean = np.where(known, cells, np.float32(0)).sum(axis=-1) / np.maximum(count, 1)
    return mean.astype(np.float32), count / np.float32(block * block)


def _latest_planes(latest: Array, block: int, cell: tuple[float, float]) -> dict[str, Array]:
    """The latest frame, and wider and wider means of it, the edge repeated beyond itself."""
    level = decibels(latest)
    mean, known = _block_means(level, block)
    cells = _blocks(latest, block)
    planes = {
        "level": mean,
        "highest": _blocks(np.nan_to_num(level), block, 0.0).max(axis=-1),
        "wet": (cells >= np.float32(0.1)).mean(axis=-1, dtype=np.float32),
        "wet_1": (cells >= np.float32(1)).mean(axis=-1, dtype=np.float32),
        "known": known,
    }
    for width in WIDTHS:
        size = tuple(2 * round(width / side) + 1 for side in cell)
        share = ndimage.uniform_filter(known, size, mode="nearest")
        above = np.maximum(share, np.float32(1e-3))
        planes[f"known_{width}"] = share
        planes[f"level_{width}"] = ndimage.uniform_filter(mean * known, size, mode="nearest") / above
        planes[f"wet_{width}"] = ndimage.uniform_filter(planes["wet"], size, mode="nearest") / above
    for name in ("level", "highest", *(f"level_{width}" for width in WIDTHS)):
        planes[name] = planes[name] * np.float32(0.1)
    return planes


def _changes(recent: xr.DataArray, last: int, flow: Array, block: int) -> tuple[dict[str, Array], Array]:
    """Growth and decay: the latest frame less earlier ones carried to its time, per dekadB; and their ages."""
    until = recent.isel(time=slice(None, last + 1))
    now = decibels(recent.values[last])
    planes: dict[str, Array] = {}
    conditions = np.zeros(CONDITIONS, np.float32)
    for k, lag in enumerate(LAGS):
        earlier, minutes = frame_before(until, lag)
        if earlier is None:
            change = np.full_like(now, np.nan)
        else:
            level = np.ascontiguousarray(decibels(earlier.values), np.float32)[None]
            moved = advect_arrays(level, flow, np.array([minutes], np.float32), LINEAR, longest_step=LONGEST_STEP)
            change = now - moved[0, 0]
            conditions[2 * k : 2 * k + 2] = 1.0, minutes / lag - 1.0
        mean, share = _block_means(change, block)
        planes[f"change_{lag}"] = mean * np.float32(0.1)
        planes[f"both_{lag}"] = share
    step = time_step(recent["time"].values)
    conditions[-1] = 0.0 if step is None else (step / _MINUTE) / 15.0
    return planes, conditions


def _motion_planes(flow: Array, recent: xr.DataArray, block: int) -> dict[str, Array]:
    """Motion along columns and rows, km/min, its speed, and its divergence, per hour."""
    height, width = _cell(recent, 1)
    u, v = (_block_means(part * np.float32(side), block)[0] for part, side in zip(flow, (width, height), strict=True))
    along_x = np.gradient(u, width * block, axis=1) if u.shape[1] > 1 else np.zeros_like(u)
    along_y = np.gradient(v, height * block, axis=0) if v.shape[0] > 1 else np.zeros_like(v)
    divergence = (np.clip((along_x + along_y) * 60.0, -5.0, 5.0) / 5.0).astype(np.float32)
    return {"u": u, "v": v, "speed": np.hypot(u, v), "divergence": divergence}


# --- along the motion and back --------------------------------------------------------------------------------


def _centres(shape: tuple[int, ...], block: int) -> NDArray[np.int32]:
    """Row and column of the middle cell of each block, within the grid, ``(block, 2)``."""
    rows, columns = _coarse_shape(shape, block)
    y, x = np.mgrid[:rows, :columns] * block + block // 2
    return np.stack([np.minimum(y, shape[0] - 1).ravel(), np.minimum(x, shape[1] - 1).ravel()], axis=1).astype(np.int32)


def _forward(flow: Array, cells: NDArray[np.int32]) -> Array:
    """Where the air at `cells` will be: it comes from there if the motion is turned round; ``(lead, cell, 2)``."""
    return origins(-flow, np.array(LEADS, np.float32), cells, LONGEST_STEP)


def _carried_back(fields: Array, places: Array, shape: tuple[int, int]) -> Array:
    """Give fields ``(lead, k, y, x)`` where the air of each block will be; beyond the edge the edge holds."""
    found = [
        sample(np.ascontiguousarray(np.moveaxis(field, 0, -1)), place).T.reshape(-1, *shape)
        for field, place in zip(fields, places, strict=True)
    ]
    return np.stack(found)


def outcome_of(
    later: Array, recent: xr.DataArray, motion: xr.Dataset, spacing: float = NetworkSettings.spacing
) -> Outcome:
    """Find what was observed where the air of each cell went: the nearest cell at each lead time.

    Parameters
    ----------
    later
        Rain rate at `LEADS` after the last frame of `recent` that holds any value, mm h-1, NaN where unknown, shape
        ``(lead, y, x)``.
    recent, motion, spacing
        As for `inputs_of`.
    """
    shape = recent.shape[1:]
    block = _block(recent, spacing)
    cells = np.argwhere(np.ones(shape, bool)).astype(np.int32)
    flow = cells_per_step(motion, _MINUTE)
    places = np.rint(_forward(flow, cells)).astype(np.int64)
    known, reached = [], []
    for frame, place in zip(later, places, strict=True):
        inside = ((place >= 0) & (place < shape)).all(axis=1)
        rate = np.full(len(cells), np.nan, np.float32)
        rate[inside] = frame[place[inside, 0], place[inside, 1]]
        found = _blocks(rate.reshape(shape), block)
        known.append(np.isfinite(found).sum(axis=-1))
        reached.append([(found >= np.float32(threshold)).sum(axis=-1) for threshold in THRESHOLDS])
    return Outcome(np.array(known, np.uint8), np.array(reached, np.uint8))


def _between(have: Array, want: Array) -> Array:
    """Weights of linear interpolation from `have` (increasing) to `want`, the ends held, ``(want, have)``."""
    return np.stack([np.interp(want, have, row) for row in np.eye(have.size)], axis=1).astype(np.float32)


def _at_leads(fields: xr.DataArray, recent: xr.DataArray) -> Array:
    """Interpolate fields, dims ``(lead_time, ...)``, to `LEADS` after the frame that moves."""
    values = np.asarray(fields.values, np.float32)
    weights = _between(_minutes(recent, fields["lead_time"].values), np.array(LEADS, np.float32))
    return np.stack([_weighted(row, values) for row in weights])


def _weighted(weights: Array, fields: Array) -> Array:
    """Sum up fields times weights; those of weight zero are not looked at, so that their NaN do not count."""
    some = np.flatnonzero(weights)
    return np.asarray(np.tensordot(weights[some], fields[some], axes=1), np.float32)


def _checked(base: xr.DataArray) -> xr.DataArray:
    """Check thresholds, and give dims ``(lead_time, threshold, y, x)``."""
    thresholds = tuple(float(value) for value in base["threshold"].values)
    if len(thresholds) != len(THRESHOLDS) or not np.allclose(thresholds, THRESHOLDS):
        raise InputError(
            f"the base has the thresholds {thresholds}", f"the network's are {THRESHOLDS}", "Give a base with those"
        )
    return base.transpose("lead_time", "threshold", "y", "x")


def _log_odds(probability: Array) -> Array:
    least = np.float32(1e-5)
    within = np.clip(probability, least, np.float32(1) - least)
    return np.asarray(np.log(within / (np.float32(1) - within)), np.float32)


def _probability(odds: Array, axis: int) -> Array:
    """Give probabilities that fall along an axis, the thresholds."""
    falling = np.minimum.accumulate(odds, axis=axis)
    np.negative(falling, out=falling)
    np.exp(falling, out=falling)
    falling += np.float32(1)
    return np.asarray(np.reciprocal(falling, out=falling))


# --- the base from the scale filter ---------------------------------------------------------------------------


def base_odds(smooth: Array, coefficients: Array) -> Array:
    """Logarithm of the odds from what the scale filter gives: a parabola for each lead time and threshold.

    Parameters
    ----------
    smooth
        dB of 1 mm/h, shape ``(lead, y, x)``.
    coefficients
        Shape ``(lead, threshold, 3)``.

    Returns
    -------
    ndarray
        Shape ``(lead, threshold, y, x)``, falling along the thresholds.
    """
    x = ((smooth - _DRY) * np.float32(0.1))[:, None]
    a, b, c = (coefficients[..., k, None, None] for k in range(3))
    return np.minimum.accumulate(a + b * x + c * x * x, axis=1)


def fit_base(cases: Mapping[str, Sequence[Case]], iterations: int = 12, cells: int = 200, seed: int = 0) -> Array:
    """Fit the coefficients of `base_odds` by logistic regression, each event counting the same.

    Raises
    ------
    InputError
        If there is no case.
    """
    generator = np.random.default_rng(seed)
    rows: list[tuple[Array, Counts, Counts, float]] = []
    for event in cases.values():
        for case in event:
            seen = np.flatnonzero(case.inputs.planes[_KNOWN].ravel() >= 0.5)
            some = generator.choice(seen, min(cells, seen.size), replace=False) if seen.size else seen
            known, reached = case.outcome.known, case.outcome.reached
            flat = case.inputs.smooth.reshape(len(LEADS), -1)[:, some]
            rows.append(
                (
                    flat,
                    known.reshape(len(LEADS), -1)[:, some],
                    reached.reshape(*reached.shape[:2], -1)[..., some],
                    1.0 / len(event),
                )
            )
    if not rows:
        raise InputError("there is no case to train on", "training needs events with issue times", "Give more events")
    smooth = np.concatenate([row[0] for row in rows], axis=1)
    known = np.concatenate([row[1] * np.float32(row[3]) for row in rows], axis=1)
    reached = np.concatenate([row[2] * np.float32(row[3]) for row in rows], axis=2)
    return np.stack(
        [
            np.stack([_logistic(smooth[k], known[k], reached[k, t], iterations) for t in range(len(THRESHOLDS))])
            for k in range(len(LEADS))
        ]
    ).astype(np.float32)


def _logistic(smooth: Array, known: Array, reached: Array, iterations: int) -> NDArray[np.float64]:
    """Newton's method with a slight ridge, from the share that reaches the threshold."""
    x = ((smooth - _DRY) * 0.1).astype(np.float64)
    design = np.stack([np.ones_like(x), x, x * x], axis=1)
    total = max(float(known.sum()), 1e-9)
    share = np.clip(reached.sum() / total, 1e-4, 1 - 1e-4)
    found = np.array([math.log(share / (1 - share)), 0.0, 0.0])
    ridge = np.diag([1e-9, 1e-3, 1e-3]) * total
    for _ in range(iterations):
        chance = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = design.T @ (reached - known * chance) - ridge @ found
        curve = (design * (known * chance * (1 - chance))[:, None]).T @ design + ridge
        found = found + np.clip(np.linalg.solve(curve, slope), -3, 3)
    return found


# --- the network ----------------------------------------------------------------------------------------------


class _Layer(NamedTuple):
    name: str
    inside: int
    outside: int
    side: int
    gain: float


def _layers(settings: NetworkSettings) -> list[_Layer]:
    """Layers with weights; `gain` is how large those are at the start, 1 keeping the variance behind a rectifier."""
    widths = settings.widths
    made = [_Layer("stem", CHANNELS, widths[0], 3, 1.0)]
    for k, width in enumerate(widths):
        made += [_Layer(f"down{k}.a", width, width, 3, 1.0), _Layer(f"down{k}.b", width, width, 3, 0.3)]
        if k + 1 < len(widths):
            made.append(_Layer(f"into{k}", width, widths[k + 1], 1, 1.0))
            made.append(_Layer(f"back{k}", widths[k + 1], width, 1, 0.7))
            made.append(_Layer(f"up{k}", width, width, 3, 0.3))
    return [
        *made,
        _Layer("film", CONDITIONS, 2 * widths[0], 1, 0.0),
        _Layer("last", widths[0], len(LEADS) * len(THRESHOLDS), 1, 0.0),
    ]


def shapes(settings: NetworkSettings) -> dict[str, tuple[int, ...]]:
    """Give the shapes of the parameters of one seed."""
    made: dict[str, tuple[int, ...]] = {}
    for layer in _layers(settings):
        made[f"{layer.name}.weight"] = (layer.outside, layer.inside, layer.side, layer.side)
        made[f"{layer.name}.bias"] = (layer.outside,)
    return made


def initial(settings: NetworkSettings, seed: int) -> dict[str, Tensor]:
    """Make parameters at random, but for the last layer, which is zero."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for layer in _layers(settings):
        scale = layer.gain * math.sqrt(2.0 / (layer.inside * layer.side**2))
        shape = (layer.outside, layer.inside, layer.side, layer.side)
        made[f"{layer.name}.weight"] = torch.randn(shape, generator=generator) * scale
        made[f"{layer.name}.bias"] = torch.zeros(layer.outside)
    return {name: value.requires_grad_() for name, value in made.items()}


def _need_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise DependencyError("the network needs torch, which is not installed: pip install 'hybridcast[network]'")


def size(settings: NetworkSettings) -> int:
    """Count the parameters of one seed."""
    return sum(math.prod(shape) for shape in shapes(settings).values())


def correction(
    parameters: Mapping[str, Tensor], planes: Tensor, conditions: Tensor, factors: Tensor | None = None
) -> Tensor:
    """Apply the network.

    Parameters
    ----------
    parameters
        As `initial` makes them.
    planes
        ``(batch, CHANNELS, y, x)``, any size.
    conditions
        ``(batch, CONDITIONS)``.
    factors
        What the channels of the coarsest level are multiplied by, ``(batch, channel, 1, 1)``: dropout, in training.

    Returns
    -------
    Tensor
        ``(batch, lead, threshold, y, x)``.
    """
    from torch.nn import functional

    levels = sum(name.startswith("down") and name.endswith("a.weight") for name in parameters)
    rows, columns = planes.shape[-2:]
    unit = 2 ** (levels - 1)
    x = functional.pad(planes, (0, -columns % unit, 0, -rows % unit))

    def conv(name: str, x: Tensor) -> Tensor:
        weight = parameters[f"{name}.weight"]
        return functional.conv2d(x, weight, parameters[f"{name}.bias"], padding=weight.shape[-1] // 2)

    x = conv("stem", x)
    scale, shift = conv("film", conditions[..., None, None]).chunk(2, dim=1)
    x = x * (1 + scale) + shift
    kept = []
    for k in range(levels):
        x = x + conv(f"down{k}.b", _bent(conv(f"down{k}.a", _bent(_of_order_one(x)))))
        if k + 1 < levels:
            kept.append(x)
            x = conv(f"into{k}", functional.avg_pool2d(x, 2))
    if factors is not None:
        x = x * factors
    for k in range(levels - 2, -1, -1):
        x = kept[k] + functional.interpolate(conv(f"back{k}", x), scale_factor=2, mode="nearest")
        x = x + conv(f"up{k}", _bent(_of_order_one(x)))
    x = conv("last", _bent(_of_order_one(x)))[..., :rows, :columns]
    return x.reshape(x.shape[0], len(LEADS), len(THRESHOLDS), rows, columns)


def _bent(x: Tensor) -> Tensor:
    """Leaky rectifier: with a plain one, and nothing to hold the scale, whole networks died in training."""
    from torch.nn import functional

    return functional.leaky_relu(x, 0.1)


def _of_order_one(x: Tensor) -> Tensor:
    """Divide by the root mean square of the channels of each cell (Zhang and Sennrich 2019, arXiv 1910.07467)."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-3).rsqrt()


def corrected(base: Tensor, change: Tensor) -> Tensor:
    """Add a correction to log odds, ``(..., threshold, y, x)``, and cut the sum so that it falls along thresholds."""
    return (base + change).cummin(dim=-3).values


def shown(planes: Array, odds: Array) -> Array:
    """Put the planes and what is shown of the base together, ``(CHANNELS, y, x)``."""
    leads = [LEADS.index(lead) for lead in SHOWN_LEADS]
    thresholds = [THRESHOLDS.index(threshold) for threshold in SHOWN_THRESHOLDS]
    chosen = odds[np.ix_(leads, thresholds)].reshape(-1, *odds.shape[2:])
    return np.concatenate([planes, np.clip(chosen, -_SHOWN_ODDS, _SHOWN_ODDS) * np.float32(0.25)])


def turned(fields: NDArray[Any], turn: int) -> NDArray[Any]:
    """Turn and flip the last two axes, ``(y, x)``: the eight ways of a square, 0 leaves them."""
    if turn & 4:
        fields = fields.swapaxes(-1, -2)
    if turn & 2:
        fields = fields[..., ::-1, :]
    if turn & 1:
        fields = fields[..., ::-1]
    return fields


def turned_planes(planes: Array, turn: int) -> Array:
    """Turn and flip planes that begin with `PLANES`, and the direction of the motion with them."""
    made: Array = np.array(turned(planes, turn))
    if turn & 4:
        made[[_U, _V]] = made[[_V, _U]]
    if turn & 2:
        made[_V] *= -1
    if turn & 1:
        made[_U] *= -1
    return made


# --- training -------------------------------------------------------------------------------------------------


class _Crop(NamedTuple):
    planes: Array
    conditions: Array
    odds: Array
    known: Counts
    reached: Counts


def _odds_of(inputs: Inputs, coefficients: Array) -> Array:
    """Give the base's odds in the moving frame: another member's, if there is one, and the scale filter's elsewhere."""
    own = base_odds(inputs.smooth, coefficients)
    return own if inputs.base is None else np.where(np.isfinite(inputs.base), inputs.base, own)


def _crop(case: Case, coefficients: Array, size: int, generator: np.random.Generator, augment: bool) -> _Crop:
    """Cut out the wetter one of two random crops, turned at random; a smaller field is cut out whole, and filled up."""
    inputs, outcome = case
    shape = inputs.planes.shape[1:]
    choices = []
    for _ in range(2):
        y, x = (int(generator.integers(max(side - size, 0) + 1)) for side in shape)
        window = np.s_[..., y : y + size, x : x + size]
        choices.append((float(inputs.planes[_WET][window].sum()), window))
    window = max(choices, key=lambda choice: choice[0])[1]
    cut = Inputs(
        np.asarray(inputs.planes[window], np.float32),
        inputs.conditions,
        np.asarray(inputs.smooth[window], np.float32),
        None if inputs.base is None else np.asarray(inputs.base[window], np.float32),
    )
    odds = _odds_of(cut, coefficients)
    known = outcome.known[window] * (cut.planes[_KNOWN] >= 0.5)
    parts = [shown(cut.planes, odds), odds, known.astype(np.uint8), outcome.reached[window]]
    turn = int(generator.integers(8)) if augment else 0
    parts = [turned_planes(parts[0], turn), *(turned(part, turn) for part in parts[1:])]
    parts = [np.pad(p, [(0, 0)] * (p.ndim - 2) + [(0, size - side) for side in p.shape[-2:]]) for p in parts]
    return _Crop(parts[0], inputs.conditions, parts[1], parts[2], parts[3])


def _loss(parameters: Mapping[str, Tensor], crops: Sequence[_Crop], factors: Tensor | None = None) -> Tensor:
    """Cross-entropy, summed over thresholds, mean over the known cells of all lead times: a proper score."""
    import torch
    from torch.nn import functional

    planes, conditions, odds, known, reached = (
        torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*crops, strict=True)
    )
    logits = corrected(odds, correction(parameters, planes, conditions, factors))
    share = reached / known.clamp(min=1)[:, :, None]
    loss = functional.binary_cross_entropy_with_logits(logits, share, weight=known[:, :, None], reduction="sum")
    return loss / known.sum().clamp(min=1)


def fit(
    cases: Mapping[str, Sequence[Case]],
    stop: Mapping[str, Sequence[Case]],
    settings: NetworkSettings | None = None,
    log: list[dict[str, float]] | None = None,
) -> Network:
    """Train a network for each seed, each event counting the same.

    Training ends when the events kept out no longer gain; the parameters that did best there are kept, which may be
    those of the start: then the network gives its base.

    Parameters
    ----------
    cases
        Issue times of each event, to learn from.
    stop
        Issue times of events that are not among them.
    settings
        `NetworkSettings()` by default.
    log
        The score of each look at the events kept out is appended: seed, step, loss, and the base's.

    Raises
    ------
    InputError
        If there is nothing to learn from or to stop by, or an event is in both.
    """
    _need_torch()
    settings = settings or NetworkSettings()
    cases = {name: event for name, event in cases.items() if len(event)}
    stop = {name: event for name, event in stop.items() if len(event)}
    if not cases or not stop or set(cases) & set(stop):
        raise InputError(
            f"training on {sorted(cases)}, stopping by {sorted(stop)}",
            "both are there, and no event is in both",
            "Keep an event out of training",
        )
    coefficients = fit_base(cases)
    parameters: dict[str, Array] = {"base": coefficients}
    for seed in settings.seeds:
        trained = _fit_seed(cases, stop, coefficients, settings, seed, [] if log is None else log)
        parameters |= {f"{seed}.{name}": value for name, value in trained.items()}
    return Network(parameters, settings)


def _fit_seed(
    cases: Mapping[str, Sequence[Case]],
    stop: Mapping[str, Sequence[Case]],
    coefficients: Array,
    settings: NetworkSettings,
    seed: int,
    log: list[dict[str, float]],
) -> dict[str, Array]:
    import torch

    generator = np.random.default_rng(seed)
    parameters = initial(settings, seed)
    mean = {name: value.detach().clone() for name, value in parameters.items()}
    optimiser = torch.optim.AdamW(list(parameters.values()), settings.learning_rate, weight_decay=settings.weight_decay)
    held = _held_out(stop, coefficients, settings)
    best_loss = start = _mean_loss(mean, held)
    best, since = {name: value.numpy().copy() for name, value in mean.items()}, 0
    names = list(cases)
    for step in range(1, settings.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _rate(step, settings.steps)
        chosen = [cases[names[int(generator.integers(len(names)))]] for _ in range(settings.batch)]
        drawn = [event[int(generator.integers(len(event)))] for event in chosen]
        crops = [_crop(case, coefficients, settings.crop, generator, settings.augment) for case in drawn]
        optimiser.zero_grad()
        _loss(parameters, crops, _factors(settings, generator)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 5.0)
        optimiser.step()
        with torch.no_grad():
            keep = min(settings.averaging, step / (step + 10))
            for name, value in mean.items():
                value.lerp_(parameters[name], 1 - keep)
        if step % settings.check_every and step != settings.steps:
            continue
        loss = _mean_loss(mean, held)
        log.append({"seed": seed, "step": step, "loss": loss, "base": start})
        since += 1
        if loss < best_loss:
            best_loss, since = loss, 0
            best = {name: value.numpy().copy() for name, value in mean.items()}
        if since >= settings.patience:
            break
    return best


def _factors(settings: NetworkSettings, generator: np.random.Generator) -> Tensor | None:
    """Leave some channels out, and make up for them."""
    import torch

    if settings.dropout <= 0:
        return None
    kept = generator.random((settings.batch, settings.widths[-1], 1, 1)) >= settings.dropout
    return torch.from_numpy((kept / (1 - settings.dropout)).astype(np.float32))


def _rate(step: int, steps: int) -> float:
    """Rise over the first twentieth, then fall along a cosine."""
    place = step / steps
    return min(1.0, place / 0.05) * (0.5 + 0.5 * math.cos(math.pi * place))


def _held_out(
    stop: Mapping[str, Sequence[Case]], coefficients: Array, settings: NetworkSettings, most: int = 12
) -> list[list[_Crop]]:
    """Draw the same crops of the events kept out each time, some for each event."""
    generator = np.random.default_rng(0)
    drawn = []
    for event in stop.values():
        some = [event[k] for k in np.unique(np.linspace(0, len(event) - 1, most).astype(int))]
        drawn.append([_crop(case, coefficients, settings.crop, generator, False) for case in some])
    return drawn


def _mean_loss(parameters: Mapping[str, Tensor], held: list[list[_Crop]]) -> float:
    import torch

    with torch.no_grad():
        return float(np.mean([float(_loss(parameters, crops)) for crops in held]))


# --- applying it ----------------------------------------------------------------------------------------------


def correction_of(inputs: Inputs, network: Network) -> tuple[Array, Array]:
    """Give the base's odds and the mean correction of all seeds, ``(lead, threshold, y, x)``, in the moving frame."""
    _need_torch()
    import torch

    odds = _odds_of(inputs, network.parameters["base"])
    planes = torch.from_numpy(shown(inputs.planes, odds))[None]
    conditions = torch.from_numpy(inputs.conditions)[None]
    seeds = network.settings.seeds
    total = np.zeros(odds.shape, np.float32)
    with torch.inference_mode():
        for seed in seeds:
            own = {
                name.removeprefix(f"{seed}."): torch.from_numpy(value)
                for name, value in network.parameters.items()
                if name.startswith(f"{seed}.")
            }
            total += correction(own, planes, conditions)[0].numpy() / np.float32(len(seeds))
    return odds, total


def probabilities_of(inputs: Inputs, network: Network) -> Array:
    """Give the probabilities of each block in the moving frame, ``(lead, threshold, y, x)``."""
    odds, change = correction_of(inputs, network)
    return _probability(odds + change, axis=1)


def predict(
    recent: xr.DataArray,
    motion: xr.Dataset,
    network: Network,
    lead_times: NDArray[np.timedelta64],
    *,
    base: xr.DataArray | None = None,
    smooth: xr.DataArray | None = None,
) -> xr.DataArray:
    """Give probabilities of exceedance on the field's own grid: the base's, corrected.

    The correction is made on the network's coarser cells in the moving frame, interpolated between its lead times (and
    held beyond them), and carried along the motion; the base keeps its detail.

    Parameters
    ----------
    recent, motion, base, smooth
        As for `inputs_of`. Without a base it is that of the scale filter, and unknown where that is.
    network
        What `fit` gave.
    lead_times
        ``timedelta64``, increasing, above zero, from the last time of `recent`; those of `base` and `smooth` too.

    Returns
    -------
    DataArray
        `probability_of_exceedance`, dims ``("threshold", "lead_time", "y", "x")``, falling along the thresholds.

    Raises
    ------
    InputError
        If grids, lead times or thresholds differ.
    """
    leads = check_lead_times(lead_times)
    for given in (base, smooth):
        if given is not None and not np.array_equal(given["lead_time"].values, leads):
            raise InputError(
                f"lead times are {leads}, those given with it {given['lead_time'].values}",
                "a base and a smooth field have the lead times of the forecast",
                "Select or make them so",
            )
    if smooth is None:
        both = np.union1d(leads, (np.array(LEADS) * _MINUTE).astype(leads.dtype))
        all_leads = filtered(recent, motion, both)["filtered_dbr"]
        inputs = inputs_of(recent, motion, base=base, smooth=all_leads, spacing=network.settings.spacing)
        smooth = all_leads.sel(lead_time=leads)
    else:
        inputs = inputs_of(recent, motion, base=base, smooth=smooth, spacing=network.settings.spacing)
    weights = _between(np.array(LEADS, np.float32), _minutes(recent, leads))
    if base is None:
        coefficients = np.tensordot(weights, network.parameters["base"], axes=1)
        fields = smooth.transpose("lead_time", "y", "x").values
        odds = (base_odds(fields[k : k + 1], coefficients[k : k + 1])[0] for k in range(leads.size))
    else:
        given_odds = _checked(base).values
        odds = (_log_odds(given_odds[k]) for k in range(leads.size))
    change = np.tensordot(weights, correction_of(inputs, network)[1], axes=1)
    made = np.empty((len(THRESHOLDS), leads.size, *recent.shape[1:]), np.float32)
    carried = _carried(change, recent, motion, _minutes(recent, leads), network.settings.spacing)
    for k, (own, added) in enumerate(zip(odds, carried, strict=True)):
        made[:, k] = _probability(own + added, axis=0)
    return _labelled(made, recent, leads)


def _carried(
    change: Array, recent: xr.DataArray, motion: xr.Dataset, minutes: Array, spacing: float
) -> Iterator[Array]:
    """Carry corrections of blocks, ``(lead, threshold, y, x)``, to the cells at each lead time in turn."""
    shape = recent.shape[1:]
    block = np.float32(_block(recent, spacing))
    cells = np.argwhere(np.ones(shape, bool)).astype(np.int32)
    places = origins(cells_per_step(motion, _MINUTE), minutes, cells, LONGEST_STEP)
    for blocks, place in zip(change, places, strict=True):
        planes = np.ascontiguousarray(np.moveaxis(blocks, 0, -1), np.float32)
        found = sample(planes, (place + np.float32(0.5)) / block - np.float32(0.5))
        yield found.T.reshape(-1, *shape)


def _labelled(probability: Array, recent: xr.DataArray, leads: NDArray[np.timedelta64]) -> xr.DataArray:
    coords: dict[str, Any] = {name: recent.coords[name] for name in ("y", "x", GRID_MAPPING) if name in recent.coords}
    coords["lead_time"] = ("lead_time", leads, {"standard_name": "forecast_period", "long_name": "lead time"})
    coords["threshold"] = ("threshold", np.array(THRESHOLDS), {"units": "mm h-1", "long_name": "threshold"})
    attrs = {"units": "1", "long_name": "probability of at least the threshold"}
    if GRID_MAPPING in coords:
        attrs["grid_mapping"] = GRID_MAPPING
    return xr.DataArray(probability, coords, ("threshold", "lead_time", "y", "x"), "probability_of_exceedance", attrs)
