"""Draw the animated picture at the top of the README: a real forecast, what was observed, and the probability of rain.

The forecast is that of the trained model, whose training includes this event, for the evening of 28 September 2016 in
Finland, from radar of the Finnish Meteorological Institute (CC BY 4.0). Run it with ``make picture``; it writes
``forecast.gif`` beside this file.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

from hybridcast import fetch, forecast, open_radar
from hybridcast.core.grid import coarsen
from hybridcast.plots import parts
from hybridcast.plots.maps import select_probability

OUTPUT = Path(__file__).parent / "forecast.gif"
ISSUE_TIME = np.datetime64("2016-09-28T15:30")
THRESHOLD = 1.0  # mm/h
MAX_BYTES = 1_500_000


def draw_lead(result: xr.Dataset, radar: xr.DataArray, lead: int) -> Figure:
    """Draw forecast, observation and probability at one lead time."""
    rate = result.precipitation_rate.isel(lead_time=lead)
    figure = parts.new_figure(parts.figure_size(rate, 3, 1))
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    parts.draw_field(panels[0], rate)
    parts.draw_motion(panels[0], result, key=False)
    parts.draw_observed(panels[1], radar, rate)
    parts.draw_field(panels[2], select_probability(result, THRESHOLD).isel(lead_time=lead), is_probability=True)
    titles = parts.lead_title(rate), "observed", f"probability of {THRESHOLD:g} mm/h"
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, fontsize="medium")
        panel.label_outer()
    figure.suptitle(parts.issue_title(result.precipitation_rate))
    parts.draw_key(figure, list(panels[:2]))
    parts.draw_key(figure, [panels[2]], threshold=THRESHOLD)
    figure.legends[1].remove()  # one legend is enough
    figure.set_layout_engine("compressed")
    return figure


def to_image(figure: Figure) -> Image.Image:
    """Return the drawn figure with few colours, which are flat."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=62)
    return Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE)


def main() -> None:
    """Forecast, draw, and print the size of the file."""
    radar = coarsen(open_radar(fetch("fmi-20160928")).load(), 2000.0)
    result = forecast(radar, issue_time=ISSUE_TIME)
    images = [to_image(draw_lead(result, radar, lead)) for lead in range(result.sizes["lead_time"])]
    images[0].save(OUTPUT, save_all=True, append_images=images[1:], duration=200, loop=0)
    size = OUTPUT.stat().st_size
    print(f"wrote {OUTPUT}: {len(images)} frames of {images[0].width} x {images[0].height}, {size / 1e6:.2f} MB")
    assert size < MAX_BYTES


if __name__ == "__main__":
    main()
