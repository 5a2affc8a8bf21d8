"""Pictures of precipitation: maps, motion, a forecast beside what was observed, chances, a place, a film.

One function each, which gives the matplotlib figure. Colours say the same everywhere (`hybridcast.plots.colours`):
white is dry, grey is unknown, and ten steps from pale blue to dark red are rain. Figures are made without pyplot, so
nothing here touches the state of a notebook or needs a display; a notebook shows what a cell ends with.
"""

from __future__ import annotations

from hybridcast.plots.colours import DRY, RATE_STEPS, UNKNOWN, colour_key, probability_colours, rain_colours
from hybridcast.plots.film import animate_forecast
from hybridcast.plots.maps import plot_forecast, plot_motion, plot_precipitation, plot_probability
from hybridcast.plots.meteogram import plot_meteogram
from hybridcast.plots.parts import MAX_CELLS, render_field, save_figure

__all__ = [
    "DRY",
    "MAX_CELLS",
    "RATE_STEPS",
    "UNKNOWN",
    "animate_forecast",
    "colour_key",
    "plot_forecast",
    "plot_meteogram",
    "plot_motion",
    "plot_precipitation",
    "plot_probability",
    "probability_colours",
    "rain_colours",
    "render_field",
    "save_figure",
]
