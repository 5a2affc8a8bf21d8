"""Draw the animated picture at the top of the README: a real forecast beside what then happened.

The evening of 28 September 2016 in Finland, radar of the Finnish Meteorological Institute (CC BY 4.0), by the scale
filter, which is trained on nothing: so the picture shows what anybody gets, on an event that no model has seen.
Run it with ``make picture``; it writes ``forecast.gif`` beside this file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hybridcast import ScaleFilter, fetch, forecast, open_radar
from hybridcast.core.grid import coarsen
from hybridcast.plots import animate_forecast

OUTPUT = Path(__file__).parent / "forecast.gif"
ISSUED = np.datetime64("2016-09-28T15:30")
LARGEST = 1_500_000


def main() -> None:
    """Forecast, draw, and say how large it became."""
    radar = coarsen(open_radar(fetch("fmi-20160928")).load(), 2000.0)
    radar = radar.isel(y=slice(100, 560)) if radar.sizes["y"] > 560 else radar
    result = forecast(radar, issue_time=ISSUED, nowcaster=ScaleFilter())
    animate_forecast(result, OUTPUT, radar, frames_per_second=5, dpi=62)
    with Image.open(OUTPUT) as film:
        size = OUTPUT.stat().st_size
        print(f"wrote {OUTPUT}: {film.n_frames} frames of {film.size[0]} x {film.size[1]}, {size / 1e6:.2f} MB")
    assert size < LARGEST


if __name__ == "__main__":
    main()
