"""Frames that a radar cannot have seen: outages that are coded as dry, repeated frames, and frames of another place.

Rain moves no faster than `hybridcast.motion.bounds.MAX_SPEED`, and an area of many kilometres neither fills with rain
nor empties within minutes. Where one frame has rain over such an area, and the frame before or after it no echo within
the reach of that motion, one of the two is wrong:

- *Outage*: the frame is dry where the next or the previous one has rain. Radars that are down are coded as dry in many
  networks. The dry area of that frame is set to missing, and so is the same area of the adjacent frames that are dry
  there too. If a frame has no echo elsewhere, it is missing as a whole.
- *Lone rain*: rain of one frame without a trace in the frames before and after it, such as a test pattern or
  interference. This area is set to missing in that frame.
- *Another scene*: rain appears and vanishes within one step over a large part of the field, such as in a frame that is
  upside down or of another area. Of two such sequences the later one is kept, unless it has a single frame only.
- *Pattern*: most of the coverage has rain of one value, and other frames differ, as when a radar is tested.
- *Fragment*: one frame sees less than a tenth of the cells that those before and after it see, such as a composite that
  was made before its radars had come.
- *Repetition*: a frame equals the previous one bit by bit, as a feed delivers that is stuck. The first of the equal
  frames is kept.

Everything else remains, such as the first echoes of convection: of 35,000 frames of an Alpine radar (13 months) and
3,000 of eight networks none was rejected, and none of 31,911 frames of ten networks is a fragment. What was rejected is
missing, for the motion and for all else that uses the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from hybridcast.core.grid import LOWEST_RATE, cell_size
from hybridcast.core.packed_frames import iterate_frames
from hybridcast.core.time_steps import iso_time
from hybridcast.core.types import MINUTE, Array, Mask
from hybridcast.motion.bounds import MAX_SPEED
from hybridcast_kernels.resample_cpu import block_counts

#: Attribute of a screened field: what was rejected, as text.
REJECTED = "frames_rejected"
#: Attribute of a screened field: largest fraction of the coverage that was rejected in a frame.
REJECTED_FRACTION = "largest_fraction_rejected"

#: Size of the blocks that frames are compared on, m.
_BLOCK = 8000.0
#: A block has rain if half of its known cells have this rate (mm h-1), and echo if one has `LOWEST_RATE`.
_RAIN = 0.5
_HALF = 0.5
#: Smallest area (km2) of rain, in one place, that cannot appear or vanish within 10 min; it grows with the step.
_LEAST_AREA, _AREA_STEP = 500.0, 10.0
#: Smallest area (km2) of any echo that cannot appear or vanish within 10 min if the other frame has no echo at all.
_LEAST_DRIZZLE = 5000.0
#: Range of a radar, km.
_RANGE = 150.0
#: Fraction of the rain that appears and vanishes between frames of different scenes.
_SCENE_FRACTION = 0.3
#: Least fraction of the area of an outage that goes on in a frame.
_SHARE_OF_OUTAGE = 0.2
#: Fraction of an area in which a frame may have echo and still counts as dry there.
_DRY_FRACTION = 0.05
#: Fraction of the coverage above which rain of one value is a pattern.
_PATTERN_FRACTION = 0.5
#: Fraction of the cells seen by the frames before and after below which a frame is a fragment.
_FRAGMENT = 0.1
#: Fewest cells with rain of a frame that can repeat another one; few values can be equal by chance.
_LEAST_REPEATED = 100


@dataclass(frozen=True)
class Rejection:
    """A frame, or an area of it, that is set to missing."""

    time: np.datetime64
    reason: str
    fraction: float = 1.0
    """Fraction of the coverage that is set to missing; 1 for the whole frame."""
    place: str = ""
    """Where the area is, empty for a whole frame."""

    def __str__(self) -> str:
        where = "" if self.fraction == 1 else f", {self.fraction:.0%} of the coverage around {self.place}"
        return f"{iso_time(self.time)}{where}: {self.reason}"


class Screened(NamedTuple):
    """Frames after the screening."""

    field: xr.DataArray
    """The frames, NaN where rejected. Without any rejection it is the field that was given."""
    rejections: tuple[Rejection, ...]


def screen_frames(recent: xr.DataArray) -> Screened:
    """Set to missing what a radar cannot have seen, see `hybridcast.motion.screening`.

    Parameters
    ----------
    recent
        Checked precipitation field, dims ``(time, y, x)``. A field that has been screened is returned as it is.
    """
    if REJECTED in recent.attrs or recent.sizes["time"] < 2:
        return Screened(recent, ())
    scenes = _Scenes.of(recent)
    _find_fragments(scenes)
    _find_repetitions(recent, scenes)
    _find_patterns(recent, scenes)
    _find_other_scenes(scenes)
    _find_lone_rain(scenes)
    _find_outages(scenes)
    rejections = tuple(scenes.rejections(recent))
    if not rejections:
        return Screened(recent, ())
    attrs = {
        REJECTED: "; ".join(map(str, rejections)),
        REJECTED_FRACTION: round(max(rejection.fraction for rejection in rejections), 3),
    }
    return Screened(scenes.apply(recent).assign_attrs(recent.attrs | attrs), rejections)


@dataclass
class _Scenes:
    """Frames on blocks, and what of them is rejected."""

    seen: NDArray[np.int64]
    """Number of known cells, ``(frame,)``."""
    known: Mask
    """Whether half of the cells of a block are known, ``(frame, y, x)``."""
    echo: Mask
    """Whether any cell of a block has echo."""
    wet: Mask
    """Whether half of the known cells of a block have echo."""
    rain: Mask
    """Whether half of the known cells of a block have rain."""
    area: float
    """Area of a block, km2."""
    size: int
    """Side of a block, cells."""
    minutes: float
    """Time step, min."""
    lost: Mask
    """Blocks that are rejected, ``(frame, y, x)``."""
    outage: Mask
    """Blocks that are rejected because they are dry."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Reason by frame."""

    @classmethod
    def of(cls, recent: xr.DataArray) -> _Scenes:
        """Return the scenes of frames."""
        side = cell_size(recent)
        size = min(max(1, round(_BLOCK / side)), *recent.shape[1:])
        counts = [
            block_counts(np.ascontiguousarray(frame, np.float32)[None], size, float(LOWEST_RATE), _RAIN)
            for frame in iterate_frames(recent)
        ]
        known, echo, rain = np.moveaxis(np.concatenate(counts), 3, 0)
        high, wide = (np.bincount(np.arange(n) // size) for n in recent.shape[1:])
        complete = _HALF * high[:, None] * wide
        times = recent["time"].values
        return cls(
            seen=known.sum(axis=(1, 2), dtype=np.int64),
            known=known >= complete,
            echo=echo > 0,
            wet=(echo >= _HALF * known) & (known >= complete),
            rain=(rain >= _HALF * known) & (known >= complete),
            area=(size * side / 1e3) ** 2,
            size=size,
            minutes=float((times[1] - times[0]) / MINUTE),
            lost=np.zeros(known.shape, bool),
            outage=np.zeros(known.shape, bool),
        )

    def usable(self) -> NDArray[np.int64]:
        """Return the numbers of the frames that hold any value and are not rejected as a whole."""
        return np.flatnonzero((self.known & ~self.lost).any(axis=(1, 2)))

    def reach(self, frames: int) -> int:
        """Return how far rain comes within some time steps, in blocks."""
        metres = MAX_SPEED * 60 * self.minutes * frames
        return 1 + int(np.ceil(metres / (1e3 * np.sqrt(self.area))))

    def reject(self, frame: int, blocks: Mask | bool, reason: str) -> None:
        """Reject blocks of a frame."""
        self.lost[frame] |= blocks
        self.reasons.setdefault(frame, reason)

    def beyond_reach(self, rainy: int, dry: int) -> Mask:
        """Return the blocks with rain in one frame that have no echo within reach in another frame, in large areas.

        What is outside the coverage or the grid may hold echo.
        """
        frames = abs(rainy - dry)
        is_empty = not self.echo[dry].any()
        rain = (self.wet if is_empty else self.rain)[rainy] & ~self.lost[rainy]
        if self.area * (rain & ~self.echo[dry]).sum() < _LEAST_AREA * self._longer(frames):
            return np.zeros_like(rain)
        maybe = self.echo[dry] | ~self.known[dry] | self.lost[dry]
        beyond = rain & ~self._dilate(maybe, self.reach(frames), outside=1)
        if is_empty and self.area * beyond.sum() >= _LEAST_DRIZZLE * self._longer(frames):
            return np.asarray(beyond, bool)
        return self._keep_large(beyond & self.rain[rainy], frames)

    def _longer(self, frames: int) -> float:
        """Return the factor by which areas that appear or vanish are larger over some time steps than over 10 min."""
        return max(1.0, self.minutes * frames / _AREA_STEP)

    def comparable_rain(self, rainy: int, dry: int) -> Mask:
        """Return the blocks with rain in one frame that are not within reach of what another frame has not seen."""
        unseen = self._dilate(~self.known[dry], self.reach(abs(rainy - dry)), outside=1)
        return np.asarray(self.rain[rainy] & ~unseen)

    def _keep_large(self, blocks: Mask, frames: int) -> Mask:
        """Return the blocks that are part of a large area; gaps of four blocks belong to it."""
        least = _LEAST_AREA * self._longer(frames)
        if self.area * blocks.sum() < least:
            return np.zeros_like(blocks)
        labels, count = ndimage.label(self._dilate(blocks, 2), np.ones((3, 3)))
        areas = self.area * np.bincount(labels[blocks], minlength=count + 1)
        return np.asarray(blocks & (areas >= least)[labels])

    def dry_around(self, seeds: Mask, rainy: int, dry: int) -> Mask:
        """Return the area that is dry in one frame: near `seeds`, and where the other frame has echo.

        Once rain beyond reach proves that a radar is down, other echo within its range that vanishes needs less proof.
        """
        clear = ~self.echo[dry] & self.known[dry]
        in_range = self._dilate(seeds, round(_RANGE / np.sqrt(self.area)))
        others = in_range & clear & self.echo[rainy] & ~self._dilate(self.echo[dry], 1)
        near = self.surroundings(seeds, self.reach(abs(rainy - dry))) | self._dilate(others, 1)
        return np.asarray(ndimage.binary_propagation(near & clear, mask=clear & (near | self.echo[rainy])))

    def surroundings(self, seeds: Mask, reach: int) -> Mask:
        """Return the blocks within reach of `seeds`, with the gaps between those, also towards the edge of the grid."""
        closed = ~self._dilate(~self._dilate(seeds, 3 * reach), 2 * reach)
        return self._dilate(seeds, reach) | closed

    @staticmethod
    def _dilate(blocks: Mask, radius: int, outside: int = 0) -> Mask:
        grown = np.pad(blocks, radius, constant_values=bool(outside))
        return _any_of_rows(_any_of_rows(grown, 2 * radius + 1).T, 2 * radius + 1).T

    def rejections(self, recent: xr.DataArray) -> Iterator[Rejection]:
        """Reject frames as a whole whose remaining blocks have no echo, and describe all that is rejected."""
        times = recent["time"].values
        for frame in sorted(self.reasons):
            if not (self.echo[frame] & ~self.lost[frame]).any():
                self.lost[frame] = True
            fraction = float(self.lost[frame].mean() if self.lost[frame].all() else self._fraction(frame))
            place = "" if fraction == 1 else self._place(frame, recent)
            yield Rejection(times[frame], self.reasons[frame], fraction, place)

    def _fraction(self, frame: int) -> float:
        known = self.known[frame]
        return float((self.lost[frame] & known).sum() / max(known.sum(), 1))

    def _place(self, frame: int, recent: xr.DataArray) -> str:
        """Return the middle of the rejected area."""
        middle = [int((index.mean() + 0.5) * self.size) for index in np.nonzero(self.lost[frame])]
        y, x = (float(recent[axis][min(at, recent.sizes[axis] - 1)]) for axis, at in zip("yx", middle, strict=True))
        return f"y {y:g}, x {x:g}"

    def apply(self, recent: xr.DataArray) -> xr.DataArray:
        """Return the frames with what is rejected set to missing."""
        if recent.chunks:
            frames = [
                self._apply_lazily(recent[[k]], k) if k in self.reasons else recent[[k]] for k in range(len(recent))
            ]
            return xr.concat(frames, "time", combine_attrs="override")
        values: Array = recent.values.copy()
        for frame in self.reasons:
            self._hide(values[frame], frame)
        return recent.copy(data=values)

    def _apply_lazily(self, one: xr.DataArray, number: int) -> xr.DataArray:
        return one.copy(data=one.data.map_blocks(lambda values: self._hide(values[0].copy(), number)[None]))

    def _hide(self, values: Array, frame: int) -> Array:
        """Set what is rejected in a frame to missing."""
        rows, columns = values.shape
        values[self.lost[frame].repeat(self.size, axis=0).repeat(self.size, axis=1)[:rows, :columns]] = np.nan
        return values


def _any_of_rows(mask: Mask, count: int) -> Mask:
    """Return for each row whether it or any of the next ``count - 1`` rows is set, without the last of these rows."""
    done = 1
    while done < count:
        step = min(done, count - done)
        mask = mask[:-step] | mask[step:]
        done += step
    return mask


# --- rules ----------------------------------------------------------------------------------------------------


def _find_fragments(scenes: _Scenes) -> None:
    """Reject single frames that see hardly anything of what the frames before and after them see."""
    present = np.flatnonzero(scenes.seen).tolist()
    for place, frame in enumerate(present):
        beside = scenes.seen[[*present[max(0, place - 1) : place], *present[place + 1 : place + 2]]]
        if beside.size and scenes.seen[frame] < _FRAGMENT * beside.min():
            part = scenes.seen[frame] / beside.min()
            scenes.reject(frame, True, f"sees {part:.1%} of what the frames beside it see (incomplete?)")


def _find_repetitions(recent: xr.DataArray, scenes: _Scenes) -> None:
    """Reject frames that equal the one before them."""
    times = recent["time"].values
    for before, frame in pairwise(scenes.usable()):
        if not np.array_equal(scenes.echo[before], scenes.echo[frame]):
            continue
        rates, rates_before = recent.isel(time=int(frame)).values, recent.isel(time=int(before)).values
        rain = rates[rates >= LOWEST_RATE]
        if rain.size >= _LEAST_REPEATED and np.array_equal(rates_before, rates, equal_nan=True):
            scenes.reject(frame, True, f"equal to the frame of {iso_time(times[before])} bit by bit (a stuck feed?)")


def _find_patterns(recent: xr.DataArray, scenes: _Scenes) -> None:
    """Reject frames with rain of a single value over most of the coverage, unless all frames are like that."""
    usable = scenes.usable().tolist()
    full = [k for k in usable if scenes.rain[k].sum() > _PATTERN_FRACTION * scenes.known[k].sum()]
    patterns = [k for k in full if _has_one_value(recent.isel(time=k).values)]
    for frame in patterns if len(patterns) < len(usable) else []:
        scenes.reject(frame, True, "rain of one value over most of the coverage (a test pattern?)")


def _has_one_value(rate: Array) -> bool:
    rain = rate[rate >= LOWEST_RATE]
    return rain.size >= _LEAST_REPEATED and bool((rain == rain[0]).all())


def _find_other_scenes(scenes: _Scenes) -> None:
    """Reject sequences of frames of another scene than the latest one; a single latest frame is rejected itself."""
    runs = _split_by_scene(scenes)
    if len(runs) > 1 and len(runs[-1]) == 1 and len(runs[-2]) > 1:
        _reject_frames(scenes, runs.pop())
    while len(runs) > 1:
        first = runs[-1][0]
        earlier = runs.pop(-2)
        if _is_other_scene(scenes, earlier[-1], first):
            _reject_frames(scenes, earlier)
        else:
            runs[-1] = earlier + runs[-1]


def _split_by_scene(scenes: _Scenes) -> list[list[int]]:
    """Return the usable frames, split where the scene changes."""
    runs: list[list[int]] = []
    for frame in scenes.usable().tolist():
        if runs and not _is_other_scene(scenes, runs[-1][-1], frame):
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def _is_other_scene(scenes: _Scenes, before: int, after: int) -> bool:
    """Return whether a large part of the rain appears, and a large part vanishes, between two frames."""
    for rainy, dry in ((before, after), (after, before)):
        beyond = scenes.beyond_reach(rainy, dry)
        if not beyond.any() or beyond.sum() < _SCENE_FRACTION * scenes.comparable_rain(rainy, dry).sum():
            return False
    return True


def _reject_frames(scenes: _Scenes, frames: list[int]) -> None:
    for frame in frames:
        scenes.reject(frame, True, "its rain lies elsewhere than in the frames before and after (another scene?)")


def _find_lone_rain(scenes: _Scenes) -> None:
    """Reject rain of one frame that is in neither of the frames around it."""
    usable = scenes.usable()
    for before, frame, after in zip(usable, usable[1:], usable[2:], strict=False):
        lone = scenes.beyond_reach(frame, before) & scenes.beyond_reach(frame, after)
        if lone.any():
            area = scenes.area * lone.sum()
            echo = scenes.echo[frame] & ~scenes.echo[before] & ~scenes.echo[after]
            near = echo & scenes.surroundings(lone, scenes.reach(1))
            reason = f"rain over {area:.0f} km2 without a trace in the frames before and after (interference?)"
            scenes.reject(frame, ndimage.binary_propagation(near, mask=echo), reason)


def _find_outages(scenes: _Scenes) -> None:
    """Reject the dry area of frames next to frames that have rain there, against and along time."""
    usable = scenes.usable().tolist()
    for order, which in ((usable[::-1], "next"), (usable, "previous")):
        for rainy, dry in pairwise(order):
            seeds = scenes.beyond_reach(rainy, dry)
            if seeds.any():
                area = scenes.area * seeds.sum()
                reason = f"dry where the {which} frame has rain over {area:.0f} km2 (outage?)"
                _reject_dry(scenes, dry, scenes.dry_around(seeds, rainy, dry), reason)
            _continue_outage(scenes, rainy, dry, which)


def _reject_dry(scenes: _Scenes, frame: int, area: Mask, reason: str) -> None:
    scenes.reject(frame, area, reason)
    scenes.outage[frame] |= area


def _continue_outage(scenes: _Scenes, adjacent: int, frame: int, which: str) -> None:
    """Reject the areas that are rejected in the adjacent frame as dry, as long as they are dry."""
    if not scenes.outage[adjacent].any():
        return
    labels, count = ndimage.label(scenes.outage[adjacent])
    for number in range(1, count + 1):
        area = labels == number
        if area.sum() < _SHARE_OF_OUTAGE * scenes.outage[adjacent].sum():
            continue  # such as the rim of a storm, which the next frame has in another place
        if scenes.echo[frame][area].mean() <= _DRY_FRACTION:
            _reject_dry(scenes, frame, area & ~scenes.echo[frame], f"dry as the {which} frame (outage?)")


def rejected_in(field: xr.DataArray, time: np.datetime64) -> list[str]:
    """Return what was rejected in the frame of a time of a screened field, as text."""
    every = str(field.attrs.get(REJECTED, "")).split("; ")
    return [text for text in every if text.startswith(iso_time(time))]


def count_rejected(field: xr.DataArray) -> int:
    """Return the number of frames of a screened field of which all or a part was rejected."""
    return len([text for text in str(field.attrs.get(REJECTED, "")).split("; ") if text])


def note_on_rejected(field: xr.DataArray) -> str:
    """Return the part of a status that tells what of a screened field was rejected; empty if nothing was."""
    count = count_rejected(field)
    if count == 0:
        return ""
    frames = "1 frame" if count == 1 else f"{count} frames"
    whole = field.attrs[REJECTED_FRACTION] == 1
    share = "in whole" if whole else f"up to {field.attrs[REJECTED_FRACTION]:.0%} of the coverage"
    return f"; {frames} rejected ({share}, see {REJECTED})"
