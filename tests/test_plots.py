"""Pictures: the right colour at the right place, whatever the direction of the axes; whole files or none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from hybridcast.errors import InputError
from hybridcast.field import precipitation
from hybridcast.plots import (
    DRY,
    LEVELS,
    MOST_CELLS,
    UNKNOWN,
    animate_forecast,
    plot_forecast,
    plot_precipitation,
    rain_colours,
    save_figure,
)

PROJECTED = "EPSG:3067"
ISSUED = np.datetime64("2017-05-09T23:30", "ns")
MINUTE = np.timedelta64(60, "s").astype("timedelta64[ns]")


def field_of(values, crs=PROJECTED, y_step=1000.0, x_step=1000.0, y0=6_000_000.0, x0=300_000.0):
    values = np.asarray(values, dtype=np.float32)
    y = y0 + y_step * np.arange(values.shape[-2])
    x = x0 + x_step * np.arange(values.shape[-1])
    return precipitation(values, time=[ISSUED], y=y, x=x, crs=crs)[0]


@pytest.fixture
def forecast():
    rng = np.random.default_rng(1)
    rates = rng.gamma(0.3, 3.0, (6, 30, 40)).astype(np.float32)
    rates[:, :5] = np.nan
    lead = MINUTE * 10 * np.arange(1, 7)
    one = field_of(rates[0])
    return xr.Dataset(
        {
            "precipitation_rate": (("lead_time", "y", "x"), rates),
            "u": (("y", "x"), np.full((30, 40), 8.0)),
            "v": (("y", "x"), np.full((30, 40), -6.0)),
        },
        coords={
            "lead_time": lead,
            "reference_time": ISSUED,
            "time": ("lead_time", ISSUED + lead),
            "y": one["y"],
            "x": one["x"],
            "spatial_ref": one["spatial_ref"],
        },
    )


@pytest.fixture
def observed(forecast):
    """What is forecast comes true, but the last three frames are not there yet."""
    rain = forecast["precipitation_rate"].isel(lead_time=slice(0, 3))
    return rain.swap_dims(lead_time="time").drop_vars(["lead_time", "reference_time"])


def pixel(ax, x, y):
    """Give the colour drawn at data coordinates (km or degrees)."""
    figure = ax.figure
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())
    column, row = ax.transData.transform((x, y))
    return tuple(int(value) for value in drawn[drawn.shape[0] - 1 - int(row), int(column)])


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


# --- colours --------------------------------------------------------------------------------------------------


def test_colours_of_dry_wet_and_unknown():
    colours = rain_colours(np.array([[0.0, 0.099, np.nan, np.inf]]))
    assert colours.shape == (1, 4, 4)
    assert [tuple(colour) for colour in colours[0, :3].tolist()] == [DRY, DRY, UNKNOWN]
    assert tuple(colours[0, 3].tolist()) not in (DRY, UNKNOWN)


def test_steps_are_at_the_levels_and_darken():
    below, at = rain_colours(np.array(LEVELS) * 0.999), rain_colours(np.array(LEVELS))
    assert (below[1:] == at[:-1]).all()
    light = np.vstack([below[:1], at])[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) < -5).all()


# --- one field ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("y_step", [1000.0, -1000.0])
@pytest.mark.parametrize("x_step", [1000.0, -1000.0])
def test_known_cells_are_where_their_coordinates_say(y_step, x_step):
    values = np.zeros((20, 30))
    values[2, 3], values[15, 25] = 30.0, np.nan
    field = field_of(values, y_step=y_step, x_step=x_step)
    ax = plot_precipitation(field)
    y, x = field["y"].values / 1000, field["x"].values / 1000
    assert pixel(ax, x[3], y[2]) == tuple(rain_colours(np.array(30.0)).tolist())
    assert pixel(ax, x[25], y[15]) == UNKNOWN
    assert pixel(ax, x[3], y[15]) == DRY
    assert pixel(ax, x[25], y[2]) == DRY
    south, north = ax.get_ylim()
    assert (south, north) == (y.min() - 0.5, y.max() + 0.5)


def test_degrees_on_a_geographic_grid():
    ax = plot_precipitation(field_of(np.zeros((10, 20)), "EPSG:4326", -0.01, 0.01, 60.0, 10.0))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("longitude (°)", "latitude (°)")
    assert ax.get_aspect() == pytest.approx(2.0, rel=0.01)
    assert ax.get_ylim() == pytest.approx((59.905, 60.005))


def test_title_colour_bar_and_legend():
    figure = plot_precipitation(field_of(np.zeros((5, 6)))).figure
    assert titles(figure) == ["2017-05-09 23:30 UTC"]
    assert "mm h" in figure.axes[1].get_ylabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dry (below 0.1 mm/h)", "unknown"]


def test_large_fields_are_thinned():
    values = np.zeros((2200, 1900), np.float32)
    values[1100:] = 5.0
    ax = plot_precipitation(field_of(values))
    drawn = ax.images[0].get_array()
    assert max(drawn.shape[:2]) <= MOST_CELLS
    assert ax.get_xlim() == pytest.approx((299.5, 2199.5), abs=2)
    assert pixel(ax, 1000, 6500) == DRY
    assert pixel(ax, 1000, 7500) == tuple(rain_colours(np.array(5.0)).tolist())


def test_a_single_cell_and_unknown_only():
    assert plot_precipitation(field_of([[np.nan]])).images
    assert plot_precipitation(field_of(np.full((4, 5), np.nan))).images


def test_three_dimensions_are_refused():
    field = field_of(np.zeros((4, 5))).expand_dims("time")
    with pytest.raises(InputError, match="dims y and x"):
        plot_precipitation(field)


# --- a forecast -----------------------------------------------------------------------------------------------


def test_forecast_panels_and_titles(forecast):
    figure = plot_forecast(forecast)
    assert figure.get_suptitle() == "Precipitation forecast issued 2017-05-09 23:30 UTC"
    assert titles(figure)[-1] == "+60 min, valid 10 May 00:30 UTC"
    assert len(titles(figure)) == 4


def test_forecast_at_lead_times_asked_for(forecast):
    figure = plot_forecast(forecast, lead_times=[MINUTE * 20])
    assert titles(figure) == ["+20 min, valid 23:50 UTC"]
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


# --- files ----------------------------------------------------------------------------------------------------


def test_save_figure(forecast, tmp_path):
    path = save_figure(plot_forecast(forecast), tmp_path / "forecast.png", dpi=50)
    with Image.open(path) as image:
        assert image.size[0] > 400
        assert image.size[1] > 100
        assert len(image.convert("RGB").resize((60, 30)).getcolors(1800)) > 10
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in tmp_path.iterdir()] == ["forecast.png"]


@pytest.mark.parametrize("with_observed", [True, False])
def test_film_has_a_frame_for_each_lead_time(forecast, observed, tmp_path, with_observed):
    path = animate_forecast(forecast, tmp_path / "film.gif", observed if with_observed else None)
    with Image.open(path) as film:
        assert film.n_frames == 6
        assert film.info["duration"] == 250
        frames = []
        for i in range(6):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")))
    assert all((one != other).any() for one, other in pairwise(frames))
    assert [file.name for file in tmp_path.iterdir()] == ["film.gif"]


def test_failed_write_leaves_what_was_there(forecast, tmp_path, monkeypatch):
    def fail(self, path, *args, **options):
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    film, picture = tmp_path / "film.gif", tmp_path / "new.png"
    film.write_bytes(b"the old film")
    figure = plot_forecast(forecast)
    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="full"):
        animate_forecast(forecast, film)
    monkeypatch.setattr(type(figure), "savefig", fail)
    with pytest.raises(OSError, match="full"):
        save_figure(figure, picture)
    assert film.read_bytes() == b"the old film"
    assert [file.name for file in tmp_path.iterdir()] == ["film.gif"]


def test_no_pyplot_is_touched(forecast):
    import subprocess
    import sys

    code = "import sys, hybridcast.plots; assert not {'matplotlib', 'matplotlib.pyplot'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    plot_forecast(forecast)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []
