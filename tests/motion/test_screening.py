"""Outages, repeated frames and frames of another place are rejected; weather is not.

The kinds are those of public reports: composites in which a radar that is down is dry (real frames below), a feed that
repeats a file, interference and test patterns of a transmitter, arrays that a reader turned upside down.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast import forecast, open_radar
from hybridcast.core.field import precipitation
from hybridcast.motion.estimate import DIS, DenseFlow, estimate_motion
from hybridcast.motion.screening import REJECTED, count_rejected, rejected_in, screen_frames
from hybridcast.nowcasters import Advection

SIZE = 240
WEST = np.arange(SIZE)[None, :] < SIZE // 2


@pytest.fixture(scope="module")
def rain() -> xr.DataArray:
    """Six frames of wide rain, 240 x 240 km, 5 min apart."""
    return synthetic.rain((SIZE, SIZE), synthetic.translation(3, -1), frames=6, cell=8.0)


def dry(field: xr.DataArray, frames, where=True) -> xr.DataArray:
    """Return the field, dry in some frames, everywhere or in an area."""
    values = field.values.copy()
    values[frames] = np.where(np.broadcast_to(where, values[frames].shape), 0, values[frames])
    return field.copy(data=values)


def whole_frames(field: xr.DataArray) -> list[int]:
    """Return the frames that are missing as a whole."""
    return np.flatnonzero(~np.isfinite(field.values).any(axis=(1, 2))).tolist()


def test_ordinary_frames_are_returned_as_they_are(rain):
    assert screen_frames(rain) == (rain, ())
    assert screen_frames(rain).field is rain
    assert count_rejected(rain) == 0


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([0, 1, 2, 3, 4], "dry where the next frame has rain over"),
        ([0, 1, 2, 3], "dry where the next frame"),
        ([3], "dry where the next frame"),
        ([4], "dry where the next frame"),
        ([5], "dry where the previous frame has rain over"),
        ([4, 5], "dry where the previous frame"),
        ([1, 4], "dry where the next frame"),
    ],
)
def test_a_dry_frame_beside_one_with_wide_rain_is_missing(rain, frames, reason):
    screened, rejections = screen_frames(dry(rain, frames))
    assert whole_frames(screened) == frames
    assert [str(one.time) for one in rejections] == [str(rain.time.values[k]) for k in frames]
    assert any(reason in one.reason and "(outage?)" in one.reason for one in rejections)
    kept = [k for k in range(6) if k not in frames]
    np.testing.assert_array_equal(screened.values[kept], rain.values[kept])
    assert screened.attrs[REJECTED].count("outage?") == len(frames) == count_rejected(screened)


def test_a_field_is_screened_once(rain):
    screened, _ = screen_frames(dry(rain, [4]))
    assert screen_frames(screened) == (screened, ())


@pytest.mark.parametrize("frames", [[0, 1, 2, 3, 4], [2], [5]])
def test_of_half_a_composite_that_was_down_that_half_is_missing(rain, frames):
    screened, rejections = screen_frames(dry(rain, frames, WEST))
    for k in frames:
        missing = np.isnan(screened.values[k])
        wet = (rain.values[k] >= 0.1) & (np.arange(SIZE) < SIZE // 2 - 30)
        assert missing[wet].mean() > 0.9
        assert not missing[:, SIZE // 2 + 10 :].any()
    assert whole_frames(screened) == []
    assert all(0.3 < one.fraction < 0.6 and "of the coverage around y" in str(one) for one in rejections)
    assert len(rejected_in(screened, rain.time.values[frames[0]])) == 1


def test_what_is_not_seen_is_no_outage(rain):
    seen = np.ones((6, SIZE, SIZE), bool)
    seen[:4, :, : SIZE // 2] = False
    assert screen_frames(rain.where(seen)).rejections == ()


def cells(radius: float, peaks, *, minutes: int = 5) -> xr.DataArray:
    """Return one cell of rain in the middle of 240 x 240 km, with a peak (mm/h) for each frame."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    shape = np.exp(-(y**2 + x**2) / (2 * radius**2))
    values = np.array([np.where(peak * shape < 0.1, 0, peak * shape) for peak in peaks], np.float32)
    times = synthetic.START + np.arange(len(peaks)) * np.timedelta64(minutes, "m")
    axis = 1000.0 * np.arange(SIZE)
    return precipitation(values, time=times, y=axis, x=axis, crs=None)


@pytest.mark.parametrize("peaks", [(0, 0, 0, 0, 10, 30), (0, 0, 0, 0, 0, 30), (30, 10, 0, 0, 0, 0)])
def test_a_storm_that_forms_or_dies_is_weather(peaks):
    assert screen_frames(cells(4, peaks)).rejections == ()


def test_a_frame_without_any_echo_beside_wide_drizzle_is_missing(rain):
    drizzle = (rain.clip(max=1.0) * 0.4).assign_attrs(rain.attrs)
    assert float((drizzle >= 0.5).sum()) == 0
    assert whole_frames(screen_frames(dry(drizzle, [5])).field) == [5]
    begins = drizzle.where((rain.time > rain.time[4]) | ((rain.x > 90e3) & (rain.x < 100e3)), 0)  # first echo somewhere
    assert screen_frames(begins).rejections == ()


def test_rain_that_enters_at_the_edge_is_weather(rain):
    front = np.arange(SIZE)[None, None, :] < 20 * np.arange(1, 7)[:, None, None]  # 67 m/s would be 20 km in 5 min
    assert screen_frames(rain.where(front, 0)).rejections == ()


def test_within_longer_steps_more_can_happen():
    assert screen_frames(cells(20, (0, 0, 10))).rejections != ()
    assert screen_frames(cells(20, (0, 0, 10), minutes=30)).rejections == ()


def test_a_repeated_frame_counts_once_and_the_radar_is_late(rain):
    stuck = rain.copy(data=rain.values[[0, 1, 2, 3, 3, 3]])
    screened, rejections = screen_frames(stuck)
    assert whole_frames(screened) == [4, 5]
    assert "equal to the frame of 2020-06-01T12:15:00Z bit by bit" in rejections[0].reason
    result = forecast(stuck, lead_time="30min", nowcaster=Advection())
    assert result.attrs["status"] == "radar is late: latest frame is 10 min old"
    assert float(result.u[100:140, 100:140].mean()) == pytest.approx(10.0, abs=0.5)  # 3 km in 5 min, not 0


def test_equal_dry_frames_are_no_repetition(rain):
    assert screen_frames(rain * 0).rejections == ()
    few = rain.where((rain.x < 9e3) & (rain.y < 9e3), 0)
    assert screen_frames(few.copy(data=few.values[[0, 0, 0, 0, 0, 0]])).rejections == ()  # such as clutter


def test_interference_in_one_frame_is_missing_there(rain):
    values = np.zeros_like(rain.values)
    values[3, 60:180, 60:180] = rain.values[3, 60:180, 60:180]
    screened, rejections = screen_frames(rain.copy(data=values))
    assert [one.time for one in rejections] == [rain.time.values[3]]
    assert "without a trace in the frames before and after" in rejections[0].reason
    assert not (screened.values >= 0.1).any()
    assert np.isfinite(screened.values[[0, 1, 2, 4, 5]]).all()


@pytest.mark.parametrize("frame", [2, 5])
def test_a_pattern_of_one_value_is_missing(rain, frame):
    screened, rejections = screen_frames(rain.where(rain.time != rain.time[frame], 5.0))
    assert whole_frames(screened) == [frame]
    assert "one value" in rejections[0].reason


@pytest.mark.parametrize("frame", [0, 3, 5])
@pytest.mark.parametrize("seen", [np.s_[120:121, 120:121], np.s_[:40, :40]])
def test_a_fragment_of_what_others_see_is_missing(rain, frame, seen):
    values = rain.values.copy()
    values[frame] = np.nan
    values[frame][seen] = rain.values[frame][seen]
    screened = screen_frames(rain.copy(data=values))
    assert whole_frames(screened.field) == [frame]
    assert "of what the frames beside it see" in screened.rejections[0].reason


def test_frames_of_which_several_see_little_stay(rain):
    """The other radars of a network are down."""
    values = rain.values.copy()
    values[3:, 40:] = np.nan
    values[3:, :, 40:] = np.nan
    assert screen_frames(rain.copy(data=values)).rejections == ()


def test_a_stray_cell_does_not_make_a_forecast_unknown(rain):
    values = rain.values.copy()
    values[-1] = np.nan
    values[-1, 120, 120] = 1.0
    made = forecast(rain.copy(data=values), lead_time="15min")
    assert made.attrs["status"] == "radar is late: latest frame is 5 min old"
    assert "incomplete?" in made.attrs["sources_left_out"]
    assert float(made.unknown_fraction[0]) < 0.2


def test_rain_of_one_value_in_all_frames_stays(rain):
    assert screen_frames(xr.full_like(rain, 2.0).where(rain.time > rain.time[0], 3.0)).rejections != ()  # repeated
    steady = xr.full_like(rain, 1.0) * (1 + np.arange(6)[:, None, None])
    assert screen_frames(steady.assign_attrs(rain.attrs)).rejections == ()


@pytest.mark.parametrize(("turned", "rejected"), [([5], [5]), ([2], [2]), ([4, 5], [0, 1, 2, 3])])
def test_frames_upside_down_are_rejected_unless_the_later_ones_agree(turned, rejected):
    """The rain of a strip in the north is in the south of some frames, as after a change of the reader."""
    strip = synthetic.rain((SIZE, SIZE), synthetic.translation(3, 0), frames=6, cell=8.0)
    strip = strip.where(np.arange(SIZE)[None, :, None] < 80, 0)
    values = strip.values.copy()
    values[turned] = values[turned][:, ::-1]
    screened, rejections = screen_frames(strip.copy(data=values))
    assert whole_frames(screened) == rejected
    assert all("another scene" in one.reason for one in rejections)


# --- in motion and forecast -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [DenseFlow(), DIS()], ids=lambda method: method.name)
@pytest.mark.parametrize(("frames", "where"), [([0, 1, 2, 3], True), ([3], True), ([5], True), ([0, 1, 2], WEST)])
def test_an_outage_does_not_change_the_motion(rain, method, frames, where):
    motion = estimate_motion(dry(rain, frames, where), method=method)
    inner = motion.isel(y=slice(30, -30), x=slice(30, -30))
    assert (float(inner.u.mean()), float(inner.v.mean())) == pytest.approx((10, 10 / 3), abs=1.0)
    assert motion.attrs["status"].startswith("estimated; ")
    share = "in whole" if where is True else "of the coverage"
    assert f"{share}, see frames_rejected" in motion.attrs["status"]


def test_a_forecast_after_an_outage_is_not_dry_and_says_why(rain):
    result = forecast(dry(rain, [5]), lead_time="30min", nowcaster=Advection())
    assert (result.precipitation_rate[0] >= 0.1).mean() > 0.3
    assert result.attrs["status"] == "radar is late: latest frame is 5 min old"
    assert "radar frame 2020-06-01T12:25:00Z: dry where the previous frame has rain" in result.attrs["sources_left_out"]
    assert result.attrs[REJECTED].startswith("2020-06-01T12:25:00Z: dry where")
    assert result.attrs["frames_used"].count("Z") == 4


@pytest.mark.parametrize(("frames", "count"), [([0, 1, 2, 3], 4), ([3], 1)])
def test_the_status_of_a_forecast_tells_of_earlier_outages(rain, frames, count):
    result = forecast(dry(rain, frames), lead_time="30min", nowcaster=Advection())
    assert result.attrs["status"] == f"earlier frames rejected: {count}, see frames_rejected"


def test_where_a_part_of_the_latest_frame_is_rejected_the_forecast_is_unknown(rain):
    result = forecast(dry(rain, [5], WEST), lead_time="30min", nowcaster=Advection())
    assert result.attrs["status"].startswith("a part of the latest frame is rejected: 2020-06-01T12:25:00Z, ")
    was_wet = (rain.values[4] >= 0.1)[:, : SIZE // 2 - 40]
    assert np.isnan(result.precipitation_rate.values[0, :, : SIZE // 2 - 40][was_wet]).mean() > 0.9


EVENTS = {
    "mch 2016": ("mch/20160711/*.gif", 20),
    "mch 2015": ("mch/20150515/*.gif", 15),
    "bom": ("bom/66_20201031/*.nc", 14),
    "fmi": ("fmi/20160928/*.pgm.gz", 15),
}


@pytest.mark.parametrize("name", EVENTS)
def test_real_frames_after_an_outage_keep_their_rain(real, name):
    """The first four or five of six frames are dry; motion was up to 1146 m/s, the rain up to 17 times as much."""
    pattern, last = EVENTS[name]
    radar = open_radar(real(pattern)[last - 5 : last + 1]).load()
    assert screen_frames(radar).rejections == ()
    known = np.isfinite(radar.values)
    for zero in (4, 5):
        values = radar.values.copy()
        values[:zero] = np.where(known[:zero], 0, np.nan)
        result = forecast(radar.copy(data=values), lead_time="1h", nowcaster=Advection())
        assert result.attrs["motion_status"] != "estimated"
        assert float(np.hypot(result.u, result.v).max()) < 60
        total = result.precipitation_rate.sum(("y", "x")).values / np.nansum(values[-1])
        assert ((total > 0.7) & (total < 1.4)).all()
