"""Draw the animated picture at the top of the README: a real forecast beside the observations.

The forecast is that of the scale filter, which needs no training, for the evening of 28 September 2016 in Finland, from
radar of the Finnish Meteorological Institute (CC BY 4.0). Run it with ``make picture``; it writes ``forecast.gif``
beside this file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hybridcast import ScaleFilter, fetch, forecast, open_radar
from hybridcast.core.grid import coarsen
from hybridcast.plots import animate_forecast

OUTPUT = Path(__file__).parent / "forecast.gif"
ISSUE_TIME = np.datetime64("2016-09-28T15:30")
MAX_BYTES = 1_500_000


def main() -> None:
    """Forecast, draw, and print the size of the file."""
    radar = coarsen(open_radar(fetch("fmi-20160928")).load(), 2000.0)
    radar = radar.isel(y=slice(100, 560)) if radar.sizes["y"] > 560 else radar
    result = forecast(radar, issue_time=ISSUE_TIME, nowcaster=ScaleFilter())
    animate_forecast(result, OUTPUT, radar, frames_per_second=5, dpi=62)
    with Image.open(OUTPUT) as film:
        size = OUTPUT.stat().st_size
        print(f"wrote {OUTPUT}: {film.n_frames} frames of {film.size[0]} x {film.size[1]}, {size / 1e6:.2f} MB")
    assert size < MAX_BYTES


if __name__ == "__main__":
    main()
