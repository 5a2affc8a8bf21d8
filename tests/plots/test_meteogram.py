"""A forecast at one place: the right cell, what is known of it, and nothing that is not."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.drawing import ISSUED, field_of
from hybridcast.errors import InputError
from hybridcast.plots import plot_meteogram
from hybridcast.plots.meteogram import find_point


def lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize("y_step", [1000.0, -1000.0])
def test_the_nearest_cell_by_x_and_y_and_by_longitude_and_latitude(y_step):
    import pyproj

    field = field_of(np.zeros((30, 40)), y_step=y_step)
    x, y = float(field["x"][7]) + 300, float(field["y"][12]) - 300
    place = find_point(field, x=x, y=y, longitude=None, latitude=None)
    assert (place.row, place.column) == (12, 7)
    longitude, latitude = pyproj.Transformer.from_crs("EPSG:3067", "EPSG:4326", always_xy=True).transform(x, y)
    place = find_point(field, x=None, y=None, longitude=longitude, latitude=latitude)
    assert (place.row, place.column) == (12, 7)
    assert "° N" in place.name


def test_rates_chances_and_what_came(forecast, observed):
    x, y = float(forecast["x"][20]), float(forecast["y"][15])
    figure = plot_meteogram(forecast, observed, x=x, y=y)
    rates, chances = figure.axes
    drawn = lines(rates)
    assert drawn["forecast"].get_ydata() == pytest.approx(forecast["precipitation_rate"].values[:, 15, 20])
    assert drawn["observed"].get_xdata() == pytest.approx([10, 20, 30])
    assert drawn["observed"].get_ydata() == pytest.approx(observed.values[:, 15, 20])
    said = [text.get_text() for text in chances.get_legend().get_texts()]
    assert said == ["≥ 0.1 mm/h", "≥ 1 mm/h", "≥ 5 mm/h"]
    heights = [band.get_paths()[0].vertices[:, 1].max() for band in chances.collections]
    assert heights == pytest.approx(100 * forecast["probability_of_exceedance"].values[:, :, 15, 20].max(axis=1))


def test_the_range_is_that_around(forecast):
    rain = forecast["precipitation_rate"]
    figure = plot_meteogram(forecast, x=float(rain["x"][20]), y=float(rain["y"][15]))
    (band,) = figure.axes[0].collections
    around = rain.values[0, 5:26, 10:31]
    at_first = band.get_paths()[0].vertices
    at_first = at_first[at_first[:, 0] == 10.0, 1]
    assert (at_first.min(), at_first.max()) == pytest.approx(tuple(np.nanpercentile(around, [10, 90])))


def test_unknown_is_said_to_be(forecast):
    alone = forecast[["precipitation_rate"]]
    figure = plot_meteogram(alone, x=float(forecast["x"][20]), y=float(forecast["y"][2]))
    (ax,) = figure.axes
    assert "unknown" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(ax.patches) == 6
    assert np.isnan(lines(ax)["forecast"].get_ydata()).all()


def test_places_that_are_none(forecast):
    with pytest.raises(InputError, match="one of the two pairs"):
        plot_meteogram(forecast, x=1.0)
    with pytest.raises(InputError, match="one of the two pairs"):
        plot_meteogram(forecast, x=1.0, latitude=60.0)
    with pytest.raises(InputError, match="place inside"):
        plot_meteogram(forecast, longitude=0.0, latitude=0.0)
    nowhere = forecast.drop_vars("spatial_ref")
    with pytest.raises(InputError, match="no CRS"):
        plot_meteogram(nowhere, longitude=24.0, latitude=60.0)
    assert plot_meteogram(nowhere, x=float(forecast["x"][3]), y=float(forecast["y"][20])).axes
    assert forecast["reference_time"] == ISSUED
