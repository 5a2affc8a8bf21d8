"""The demo on the simulated scene that comes with the package, as if there were no network."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.cli import demo
from hybridcast.errors import FetchError, InputError


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    patch = pytest.MonkeyPatch()

    def no_network(*_, **__):
        raise FetchError("no network")

    patch.setattr(demo, "fetch", no_network)
    yield demo.run_demo(tmp_path_factory.mktemp("demo"), cases=2)
    patch.undo()


def test_without_a_network_it_says_that_the_rain_is_simulated_and_why(result):
    assert "SIMULATED" in result.source
    assert "no network" in result.source


def test_it_writes_the_forecast_and_the_film(result):
    assert result.forecast_path.stat().st_size > 10_000
    assert result.animation_path.read_bytes()[:6] == b"GIF89a"


def test_it_scores_advection_and_persistence_at_four_lead_times(result):
    assert result.scores.sizes == {"nowcaster": 2, "lead_time": 4}
    assert np.isfinite(result.scores["mean_absolute_error"]).all()
    advection, persistence = result.scores["correlation"].isel(lead_time=0).values
    assert advection > persistence


def test_issue_times_leave_room_and_are_apart():
    radar, _ = demo.open_radar(demo.scene_path()), None
    times = demo.find_stormiest_times(radar, 5)
    assert times[0] >= radar.time.values[0] + np.timedelta64(1, "h")
    assert times.max() <= radar.time.values[-1] - np.timedelta64(2, "h")
    gaps = np.abs(times[:, None] - times[None, :])[~np.eye(times.size, dtype=bool)]
    assert (gaps >= demo.APART).all()


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_fetched(tmp_path):
    (tmp_path / "out").write_text("here")
    with pytest.raises(InputError, match="cannot be made"):
        demo.run_demo(tmp_path / "out")
