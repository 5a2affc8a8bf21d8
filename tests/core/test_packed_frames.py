"""Frames that are kept compressed."""

import numpy as np
import pytest
import xarray as xr

from helpers import synthetic
from hybridcast.core.packed_frames import holds_any, iterate_frames, pack_frames
from hybridcast.errors import InputError
from hybridcast.motion.screening import screen_frames


def scene():
    rain = synthetic.rain((40, 50), frames=5, seen=synthetic.disc((40, 50), 0.5)).copy(deep=True)
    rain.values[1] = np.nan
    return rain


def test_packed_frames_are_the_frames():
    rain, loads = scene(), []

    def load(block):
        loads.append(block.shape)
        return block

    lazy = rain.copy(data=rain.chunk(time=1).data.map_blocks(load, meta=np.empty((0, 0, 0), np.float32)))
    packed = pack_frames(lazy)
    assert loads == [(1, 40, 50)] * 5
    xr.testing.assert_identical(packed.compute(), rain)
    np.testing.assert_array_equal(packed[2:4, 3:9, ::-2].values, rain[2:4, 3:9, ::-2].values)
    np.testing.assert_array_equal(packed.isel(time=-1).values, rain.values[-1])
    assert len(loads) == 5
    assert holds_any(packed).tolist() == [True, False, True, True, True]
    for frame, expected in zip(iterate_frames(packed), rain.values, strict=True):
        np.testing.assert_array_equal(frame, expected)


def test_values_are_checked_while_they_are_loaded():
    rain = scene()
    rain.values[3, 4, 5] = -2
    with pytest.raises(InputError, match="-2"):
        pack_frames(rain.chunk(time=1))


def test_packed_frames_are_screened_as_others():
    rain = synthetic.rain((120, 150), frames=6).copy(deep=True)
    rain.values[3] = rain.values[2]
    plain, packed = screen_frames(rain), screen_frames(pack_frames(rain.chunk(time=1)))
    assert packed.rejections == plain.rejections
    assert len(plain.rejections) == 1
    xr.testing.assert_identical(packed.field.compute(), plain.field)
