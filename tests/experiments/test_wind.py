"""What a model's wind adds: errors as by hand, and a wind that is right is worth more than standing still."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ablation import wind as module
from ablation.wind import (
    PATCHES,
    SCORES,
    compute_hidden_errors,
    compute_motion_errors,
    evaluate_wind,
    format_wind,
    rms_difference,
    score_forecasts,
    score_wind,
)

from helpers.stations_synthetic import moving_rain
from hybridcast.motion.estimate import DenseFlow
from hybridcast.nwp import nwp_fields, regrid_to_radar, steering_wind

HOUR = np.timedelta64(1, "h")
SPEED = 2000 / 300  # m/s: a cell of 2 km in 5 min


@pytest.fixture(scope="module")
def rain():
    """Simulated showers that move east."""
    return moving_rain(frames=18)


def winds_over(rain, speed):
    """Give a run with one wind from the west."""
    start = rain["time"].values[0] - 6 * HOUR
    values = np.full((1, 12, *rain.shape[1:]), speed, np.float32)
    axes = {"y": rain.y.values, "x": rain.x.values, "crs": None}
    fields = {"x_wind": values, "y_wind": 0 * values}
    nwp = nwp_fields(fields, reference_time=[start], lead_time=np.arange(12) * HOUR, **axes)
    return regrid_to_radar(nwp, rain, rain["time"].values)


def wind_of(rain, speed):
    return steering_wind(winds_over(rain, speed), rain["time"].values[3])


def test_the_right_wind_carries_one_frame_better_than_it_is_kept(rain):
    found = score_wind(rain, winds_over(rain, SPEED))
    assert found["flow"]["forecast"][0]["cases"] == 18 - 3 - 3
    csi = SCORES.index("CSI 1")
    for lead in range(3):
        moved, kept, flow = (
            found[name]["forecast"][lead]["mean"][csi] for name in ("wind, one frame", "persistence", "flow")
        )
        assert moved > kept + 0.1
        assert moved == pytest.approx(flow, abs=0.1)
    assert found["wind, one frame"]["motion"]["mean"] < 1.5
    assert found["persistence"]["motion"] == {"cases": 0, "mean": None}


def test_motion_is_compared_with_that_of_the_frames_that_follow(rain):
    found = compute_motion_errors(rain.isel(time=slice(0, 4)), rain.isel(time=slice(4, 8)), wind_of(rain, -SPEED))
    assert found["flow"] < 1.0
    assert found["wind, one frame"] == pytest.approx(2 * SPEED, rel=0.1)


@pytest.mark.parametrize("half", [{"x": slice(0, 30)}, {"x": slice(30, 60)}, {"y": slice(0, 30)}])
def test_hidden_echo_leaves_the_wind_to_tell(rain, half):
    wide = rain.assign_coords(y=2 * rain.y, x=2 * rain.x)  # the hidden half is as wide as a wind reaches
    recent, speed = wide.isel(time=slice(0, 4)), 2 * SPEED
    right, wrong = (compute_hidden_errors(recent, half, 0.0, wind_of(wide, wind)) for wind in (speed, -speed))
    assert right["wind as it is"] < 0.8 * right["flow"]
    assert wrong["wind as it is"] > 16 > wrong["wind turned"]  # a turned wind is led by the echo that is left
    assert right["flow"] == wrong["flow"]


def test_half_that_is_not_seen_does_not_stand_still(rain):
    recent, half = rain.isel(time=slice(0, 4)), {"x": slice(0, 30)}
    dry, unseen = (compute_hidden_errors(recent, half, value, wind_of(rain, SPEED)) for value in (0.0, np.nan))
    assert unseen["flow"] < 1 < dry["flow"]


def test_too_little_echo_on_one_side_tells_nothing(rain):
    recent = rain.isel(time=slice(0, 4)).copy(deep=True)
    recent[:, :, 30:] = 0.0
    assert compute_hidden_errors(recent, {"x": slice(0, 30)}, 0.0, wind_of(rain, SPEED)) == {}


def test_the_error_is_the_length_of_the_difference(rain):
    flow = DenseFlow().estimate(rain.isel(time=slice(0, 4)))
    moved = flow.assign(u=flow["u"] + 3, v=flow["v"] - 4)
    assert rms_difference(moved, flow, np.ones(rain.shape[1:], bool)) == pytest.approx(5, rel=1e-5)


def test_scores_are_over_the_cells_that_all_know():
    truth = np.array([[0.0, 1.0, 2.0, 0.5, 9.0]], np.float32)
    made = {
        "a": np.array([[0.0, 1.0, 0.5, 2.0, 9.0]], np.float32),
        "b": np.array([[0.0, 1.0, 2.0, 0.5, np.nan]], np.float32),
    }
    found = score_forecasts(made, truth)
    assert found["b"] == pytest.approx([1, 1, 1])
    assert found["a"][1:] == pytest.approx([1, 1 / 3])


def test_real_patch(real, monkeypatch):
    for part in ("U", "V"):
        real(f"meteonet_wind/**/{part}/*")
    monkeypatch.setattr(module, "PATCHES", PATCHES[1:])
    found = json.loads(json.dumps(evaluate_wind()))
    one = found["patches"][PATCHES[1]]
    assert one["flow"]["forecast"][0]["cases"] == 6
    assert one["flow"]["hidden_as_dry"]["cases"] == one["flow"]["hidden_as_unseen"]["cases"] == 36
    assert one["wind turned"]["hidden_as_dry"]["mean"] < one["flow"]["hidden_as_dry"]["mean"]
    assert one["flow"]["forecast"][2] == {"cases": 0, "mean": None}
    lines = format_wind(found)
    assert lines[2].startswith(f"| {PATCHES[1]} | 15 min | 30 min | 60 min |")
    assert any(line.startswith("| flow |") and "(36)" in line for line in lines)
