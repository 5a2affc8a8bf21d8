"""Members side by side: the observation and the deterministic field first, all in the same colours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.drawing import MINUTE, titles
from hybridcast.errors import InputError
from hybridcast.plots import UNKNOWN, animate_forecast, plot_forecast, plot_members, plot_meteogram, rain_colours


def images(figure):
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def test_panels_in_order_at_the_last_lead_time(scenarios, observed):
    figure = plot_members(scenarios, observed, count=3, coast=False)
    assert titles(figure) == ["observed", "deterministic field", "member 0", "member 1", "member 2"]
    assert figure.get_suptitle().endswith("+60 min, 10 May 00:30 UTC")
    drawn = images(figure)
    assert (drawn[0] == UNKNOWN).all()  # not observed
    rates = scenarios["precipitation_rate"].isel(lead_time=-1).values
    np.testing.assert_array_equal(drawn[1], rain_colours(rates))
    np.testing.assert_array_equal(drawn[2], rain_colours(0 * rates))
    np.testing.assert_array_equal(drawn[3], rain_colours(np.float32(0.5) * rates))


def test_a_lead_time_that_was_observed(scenarios, observed):
    figure = plot_members(scenarios, observed, lead_time=MINUTE * 30, coast=False)
    assert len(titles(figure)) == 2 + 6
    drawn = images(figure)
    np.testing.assert_array_equal(drawn[0], drawn[1])  # all that is forecast comes true
    with pytest.raises(InputError, match="25"):
        plot_members(scenarios, lead_time=MINUTE * 25)


def test_fewer_members_than_panels_and_those_left_over(scenarios):
    assert titles(plot_members(scenarios.isel(realization=[4]), coast=False)) == ["deterministic field", "member 4"]
    figure = plot_members(scenarios, count=5, coast=False)  # six panels in rows of four
    labelled = [bool(ax.get_xlabel()) for ax in figure.axes if ax.images]
    assert labelled == [False, False, True, True, True, True]
    assert [bool(ax.get_ylabel()) for ax in figure.axes if ax.images] == [True, False, False, False, True, False]


def test_a_mean_is_called_so(scenarios):
    scenarios["precipitation_rate"].attrs["cell_methods"] = "realization: mean"
    assert titles(plot_members(scenarios, count=1, coast=False))[0] == "mean of the members"


def test_no_members_and_none_to_draw(forecast, scenarios):
    with pytest.raises(InputError, match="members=20"):
        plot_members(forecast)
    with pytest.raises(InputError, match="at least one"):
        plot_members(scenarios, count=0)


def test_maps_and_films_of_one_member(scenarios, tmp_path):
    figure = plot_forecast(scenarios, realization=6, lead_times=[MINUTE * 20], coast=False)
    rates = scenarios["precipitation_rate"].isel(lead_time=1).values
    np.testing.assert_array_equal(images(figure)[0], rain_colours(2 * rates))
    assert figure.get_suptitle().endswith("member 6")
    paths = [animate_forecast(scenarios, tmp_path / f"{k}.gif", realization=k, dpi=50, coast=False) for k in (0, 7)]
    dry, heavy = (Image.open(path) for path in paths)
    assert dry.n_frames == heavy.n_frames == 6
    assert (np.asarray(dry.convert("RGB")) != np.asarray(heavy.convert("RGB"))).any()
    with pytest.raises(InputError, match="0 to 7"):
        plot_forecast(scenarios, realization=8)


def test_the_fan_holds_quantiles_of_members_at_the_place(scenarios):
    figure = plot_meteogram(scenarios, x=float(scenarios["x"][20]), y=float(scenarios["y"][15]))
    outer, inner = figure.axes[0].collections
    rates = scenarios["precipitation_rate_ensemble"].values[:, :, 15, 20]
    for band, levels in ((outer, [0.1, 0.9]), (inner, [0.25, 0.75])):
        for lead in (0, 5):
            corners = band.get_paths()[0].vertices
            at_lead = corners[corners[:, 0] == 10.0 * (lead + 1), 1]
            assert (at_lead.min(), at_lead.max()) == pytest.approx(np.quantile(rates[:, lead], levels), rel=1e-4)
    said = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert said == ["10 to 90 % of 8 members", "25 to 75 % of 8 members", "median of members", "forecast"]
