"""Motion and advection in one call on a GPU, whose kernels are those of the CPU here: what is done around them."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import synthetic
from hybridcast.nowcasters import gpu
from hybridcast.nowcasters.base import Advection
from hybridcast_kernels import advection_cpu, flow_cpu

LEADS = np.arange(1, 7) * np.timedelta64(10, "m")


@pytest.fixture
def a_gpu(monkeypatch):
    kernels = pytest.importorskip("hybridcast_kernels.gpu")

    def forecast(frames, offsets, leads, options, order, *, longest_step):
        flow, found = flow_cpu.estimate(frames, offsets, options)
        return advection_cpu.advect(frames[-1:], flow, leads, order, longest_step=longest_step), flow, found

    monkeypatch.setattr(kernels, "forecast", forecast)
    monkeypatch.setattr(gpu, "resolve_device", lambda device: "cuda")


def growing():
    """Rain that grows to thirty times as much in 15 min."""
    return synthetic.rain((160, 160), synthetic.translation(2, 1), growth=3.2, wet=0.1)


@pytest.mark.parametrize("rain", [growing(), synthetic.rain((96, 96))], ids=["growing", "steady"])
def test_the_forecast_is_that_of_the_cpu(rain, monkeypatch, a_gpu):
    on_gpu = Advection().forecast(rain, LEADS)
    monkeypatch.undo()
    on_cpu = Advection().forecast(rain, LEADS)
    assert on_gpu.attrs["motion_bounded"] == on_cpu.attrs["motion_bounded"]
    for name in ("precipitation_rate", "u", "v"):
        np.testing.assert_allclose(on_gpu[name], on_cpu[name], atol=2e-3)


def test_the_motion_of_growing_rain_is_bounded():
    assert "area on" in Advection().forecast(growing(), LEADS).attrs["motion_bounded"]


@pytest.mark.parametrize("change", [lambda r: r.where(r.time < r.time[-1], 0), lambda r: r * 0, lambda r: r[-1:]])
def test_without_echo_in_the_latest_frame_the_cpu_does_it(change, a_gpu):
    rain = change(synthetic.rain((40, 40))).assign_attrs(units="mm h-1")
    assert gpu.estimate_and_advect(rain, LEADS, Advection().motion, Advection().settings, "auto") is None
