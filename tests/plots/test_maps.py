"""Pictures: the right colour at the right place, whatever the direction of the axes; whole files or none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.drawing import MINUTE, field_of, pixel, titles
from hybridcast.errors import InputError
from hybridcast.plots import (
    DRY,
    MAX_CELLS,
    UNKNOWN,
    plot_forecast,
    plot_motion,
    plot_precipitation,
    plot_probability,
    probability_colours,
    rain_colours,
    save_figure,
)

# --- one field ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("y_step", [1000.0, -1000.0])
@pytest.mark.parametrize("x_step", [1000.0, -1000.0])
def test_known_cells_are_where_their_coordinates_say(y_step, x_step):
    values = np.zeros((20, 30))
    values[2, 3], values[15, 25] = 30.0, np.nan
    field = field_of(values, y_step=y_step, x_step=x_step)
    ax = plot_precipitation(field).axes[0]
    y, x = field["y"].values / 1000, field["x"].values / 1000
    assert pixel(ax, x[3], y[2]) == tuple(rain_colours(np.array(30.0)).tolist())
    assert pixel(ax, x[25], y[15]) == UNKNOWN
    assert pixel(ax, x[3], y[15]) == DRY
    assert pixel(ax, x[25], y[2]) == DRY
    south, north = ax.get_ylim()
    assert (south, north) == (y.min() - 0.5, y.max() + 0.5)


def test_degrees_on_a_geographic_grid():
    ax = plot_precipitation(field_of(np.zeros((10, 20)), "EPSG:4326", -0.01, 0.01, 60.0, 10.0)).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("longitude (°)", "latitude (°)")
    assert ax.get_aspect() == pytest.approx(2.0, rel=0.01)
    assert ax.get_ylim() == pytest.approx((59.905, 60.005))


def test_title_colour_bar_and_legend():
    figure = plot_precipitation(field_of(np.zeros((5, 6))))
    assert titles(figure) == ["2017-05-09 23:30 UTC"]
    assert "mm h" in figure.axes[1].get_ylabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "dry (below 0.1 mm/h)",
        "unknown (outside radar coverage)",
    ]


def test_large_fields_are_thinned():
    values = np.zeros((2200, 1900), np.float32)
    values[1100:] = 5.0
    ax = plot_precipitation(field_of(values)).axes[0]
    drawn = ax.images[0].get_array()
    assert max(drawn.shape[:2]) <= MAX_CELLS
    assert ax.get_xlim() == pytest.approx((299.5, 2199.5), abs=2)
    assert pixel(ax, 1000, 6500) == DRY
    assert pixel(ax, 1000, 7500) == tuple(rain_colours(np.array(5.0)).tolist())


def test_a_single_cell_and_unknown_only():
    assert plot_precipitation(field_of([[np.nan]])).axes[0].images
    assert plot_precipitation(field_of(np.full((4, 5), np.nan))).axes[0].images


def test_three_dimensions_are_refused():
    field = field_of(np.zeros((4, 5))).expand_dims("time")
    with pytest.raises(InputError, match="dims y and x"):
        plot_precipitation(field)


# --- a forecast -----------------------------------------------------------------------------------------------


def test_forecast_panels_and_titles(forecast):
    figure = plot_forecast(forecast)
    assert figure.get_suptitle() == "Precipitation forecast issued 2017-05-09 23:30 UTC"
    assert titles(figure)[-1] == "+60 min, 10 May 00:30 UTC"
    assert len(titles(figure)) == 4


def test_forecast_at_lead_times_asked_for(forecast):
    figure = plot_forecast(forecast, lead_times=[MINUTE * 20])
    assert titles(figure) == ["+20 min, 23:50 UTC"]
    with pytest.raises(InputError, match="25"):
        plot_forecast(forecast, lead_times=[MINUTE * 25])


def test_observed_row_shows_the_valid_time(forecast, observed):
    leads = [MINUTE * 10, MINUTE * 60]
    figure = plot_forecast(forecast, observed, lead_times=leads)
    first, last, seen, unseen = (ax.images[0].get_array() for ax in figure.axes[:4])
    assert (first == seen).all()
    assert (np.asarray(unseen) == UNKNOWN).all()
    assert (last != unseen).any()
    assert [text.get_text() for text in figure.axes[3].texts] == ["not observed"]


def test_arrows_point_where_the_rain_goes(forecast):
    from matplotlib.quiver import Quiver

    ax = plot_forecast(forecast).axes[0]
    (arrows,) = (artist for artist in ax.get_children() if isinstance(artist, Quiver))
    assert (arrows.U == 8.0).all()
    assert (arrows.V == -6.0).all()
    without = plot_forecast(forecast.drop_vars("u")).axes[0]
    assert not any(isinstance(artist, Quiver) for artist in without.get_children())


def test_what_is_no_forecast_is_refused(forecast, observed):
    with pytest.raises(InputError, match="precipitation_rate"):
        plot_forecast(forecast.drop_vars("precipitation_rate"))
    with pytest.raises(InputError, match="reference_time"):
        plot_forecast(forecast.drop_vars("reference_time"))
    with pytest.raises(InputError, match="share one grid"):
        plot_forecast(forecast, observed.isel(x=slice(0, 10)))


def test_motion_over_rain_and_alone(forecast):
    from matplotlib.quiver import Quiver

    over = plot_motion(forecast, forecast["precipitation_rate"].isel(lead_time=0, drop=True))
    assert any(isinstance(artist, Quiver) for artist in over.axes[0].get_children())
    assert len(over.axes) == 2
    assert len(plot_motion(forecast[["u", "v"]]).axes) == 1
    with pytest.raises(InputError, match="u and v"):
        plot_motion(forecast.drop_vars("u"))
    with pytest.raises(InputError, match="share one grid"):
        plot_motion(forecast, field_of(np.zeros((3, 4))))


# --- probabilities --------------------------------------------------------------------------------------------


def test_chances_have_their_own_colours_and_unknown_stays_grey(forecast):
    chance = forecast["probability_of_exceedance"].sel(threshold=1.0)
    figure = plot_probability(forecast, threshold=1.0, lead_times=[MINUTE * 20])
    ax = figure.axes[0]
    for row, column in ((10, 7), (20, 30)):
        drawn = pixel(ax, chance["x"].values[column] / 1000, chance["y"].values[row] / 1000)
        assert drawn == tuple(probability_colours(chance.values[1, row, column]).tolist())
    assert pixel(ax, chance["x"].values[20] / 1000, chance["y"].values[2] / 1000) == UNKNOWN
    assert "probability of 1 mm" in figure.axes[1].get_ylabel()


def test_the_line_is_around_what_was_observed(forecast, observed):
    from matplotlib.contour import QuadContourSet

    seen = (observed * 0).fillna(0)
    seen[0, 10:20, 15:25] = 3.0
    figure = plot_probability(forecast, seen, lead_times=[MINUTE * 10, MINUTE * 60])
    (line,) = (artist for artist in figure.axes[0].get_children() if isinstance(artist, QuadContourSet))
    bounds = line.get_paths()[0].get_extents()
    assert (bounds.x0, bounds.x1) == pytest.approx((314.5, 324.5), abs=0.1)
    assert not any(isinstance(artist, QuadContourSet) for artist in figure.axes[1].get_children())


def test_chances_that_are_not_there(forecast):
    with pytest.raises(InputError, match=r"0\.1, 1, 5"):
        plot_probability(forecast, threshold=2.0)
    with pytest.raises(InputError, match="trained model"):
        plot_probability(forecast.drop_vars("probability_of_exceedance"))


# --- files ----------------------------------------------------------------------------------------------------


def test_save_figure(forecast, tmp_path):
    path = save_figure(plot_forecast(forecast), tmp_path / "forecast.png", dpi=50)
    with Image.open(path) as image:
        assert image.size[0] > 400
        assert image.size[1] > 100
        assert len(image.convert("RGB").resize((60, 30)).getcolors(1800)) > 10
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in tmp_path.iterdir()] == ["forecast.png"]


def test_no_pyplot_is_touched(forecast):
    import subprocess
    import sys

    code = "import sys, hybridcast.plots; assert not {'matplotlib', 'matplotlib.pyplot'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    plot_forecast(forecast)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []
