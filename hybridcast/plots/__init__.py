"""Figures of precipitation: maps, motion, forecasts beside observations, probabilities, members, meteograms and films.

Each function returns a matplotlib figure. The colours have the same meaning in all figures
(`hybridcast.plots.colours`): white is dry, grey is unknown, and ten steps from pale blue to dark red are rain. Figures
are made without pyplot, so they need no display and leave the state of a notebook alone; a notebook shows the figure at
the end of a cell.
"""

from __future__ import annotations

from hybridcast.plots.colours import DRY, RATE_STEPS, UNKNOWN, colour_key, probability_colours, rain_colours
from hybridcast.plots.film import animate_forecast
from hybridcast.plots.maps import plot_forecast, plot_motion, plot_precipitation, plot_probability
from hybridcast.plots.members import plot_members
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
    "plot_members",
    "plot_meteogram",
    "plot_motion",
    "plot_precipitation",
    "plot_probability",
    "probability_colours",
    "rain_colours",
    "render_field",
    "save_figure",
]
