"""Motion and forecasts with and without the model's wind, on the two MeteoNet patches with AROME wind.

Prints a Markdown table: correlation of decibels and CSI over the cells that every method knows; the error of the motion
against the flow of the four frames that follow, at the echo there; and that where echo is hidden from the method,
against the flow of all echo. Run it from the root of the repository.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from hybridcast import Advection, Persistence, estimate_motion, fetch, open_radar
from hybridcast.guidance import GuidedFlow
from hybridcast.motion import DenseFlow
from hybridcast.neighbourhoods import decibels
from hybridcast.nwp import on_radar_grid, open_nwp, steering_wind

LEADS = np.array([15, 30, 60]) * np.timedelta64(1, "m")
DAYS = ("meteonet-wind-20180312", "meteonet-wind-20160109")
METHODS = ("persistence", "flow", "wind as it is", "wind turned", "wind, one frame", "persistence, one frame")


def forecasts(recent, wind):
    """Forecast in all ways, by name: two or more frames, then the last frame alone."""
    alone = recent.isel(time=slice(-1, None))
    return {
        "persistence": Persistence().forecast(recent, LEADS),
        "flow": Advection(DenseFlow()).forecast(recent, LEADS),
        "wind as it is": Advection(GuidedFlow(wind=wind, calibrated=False)).forecast(recent, LEADS),
        "wind turned": Advection(GuidedFlow(wind=wind)).forecast(recent, LEADS),
        "wind, one frame": Advection(GuidedFlow(wind=wind)).forecast(alone, LEADS),
        "persistence, one frame": Persistence().forecast(alone, LEADS),
    }


def scores(made, truth):
    """Give correlation and CSI at 0.1 and 1 mm/h by method, where all know a value."""
    known = np.isfinite(truth) & np.all([np.isfinite(f) for f in made.values()], axis=0)
    found = {}
    for name, forecast in made.items():
        f, o = forecast[known], truth[known]
        csi = [((f >= t) & (o >= t)).sum() / max(((f >= t) | (o >= t)).sum(), 1) for t in (0.1, 1.0)]
        found[name] = [np.corrcoef(decibels(f), decibels(o))[0, 1], *csi]
    return found


def motion_errors(recent, later, wind):
    """Give RMS differences (m/s) from the flow found in the frames that follow, at their echo."""
    truth = estimate_motion(later)
    echo = later.values[-1] >= 0.1
    made = {
        "flow": DenseFlow().estimate(recent),
        "wind as it is": GuidedFlow(wind=wind, calibrated=False).estimate(recent),
        "wind turned": GuidedFlow(wind=wind).estimate(recent),
        "wind, one frame": wind,
    }
    return {
        name: float(np.sqrt(((m.u - truth.u) ** 2 + (m.v - truth.v) ** 2).values[echo].mean()))
        for name, m in made.items()
    }


HALVES = (
    {"x": slice(0, 64)},
    {"x": slice(64, 128)},
    {"y": slice(0, 64)},
    {"y": slice(64, 128)},
)


def hidden_errors(recent, wind):
    """Hide the echo of one half of the patch (dry there), and give RMS differences from the flow of all, m/s, there."""
    truth = DenseFlow().estimate(recent)
    found = {name: [] for name in ("flow", "wind as it is", "wind turned")}
    for half in HALVES:
        hidden = recent.copy(deep=True)
        hidden[half] = 0.0
        echo = (recent.values[-1] >= 0.1) & (hidden.values[-1] == 0)
        if echo.sum() < 100 or (hidden.values[-1] >= 0.1).sum() < 100:
            continue
        for name, method in (
            ("flow", DenseFlow()),
            ("wind as it is", GuidedFlow(wind=wind, calibrated=False)),
            ("wind turned", GuidedFlow(wind=wind)),
        ):
            m = method.estimate(hidden)
            error = np.sqrt(((m.u - truth.u) ** 2 + (m.v - truth.v) ** 2).values[echo].mean())
            found[name].append(float(error))
    return found


def of_a_day(day):
    """Give scores by method and lead time, errors of motion by method, and errors where echo is hidden by method."""
    rain = open_radar(fetch(day, radar_only=True))
    files = [path for path in fetch(day) if path.parent.name in "UV"]
    there = on_radar_grid(open_nwp(files), rain, rain.time.values)
    collected, errors, hidden = defaultdict(list), defaultdict(list), defaultdict(list)
    for k in range(3, rain.sizes["time"]):
        recent = rain.isel(time=slice(k - 3, k + 1))
        wind = steering_wind(there, recent.time.values[-1])
        made = forecasts(recent, wind)
        for i, lead in enumerate(LEADS):
            for truth in rain.values[rain.time.values == recent.time.values[-1] + lead]:
                fields = {name: forecast.precipitation_rate.values[i] for name, forecast in made.items()}
                for name, score in scores(fields, truth).items():
                    collected[name, i].append(score)
        for name, values in hidden_errors(recent, wind).items():
            hidden[name] += values
        if k + 4 < rain.sizes["time"]:
            for name, error in motion_errors(recent, rain.isel(time=slice(k + 1, k + 5)), wind).items():
                errors[name].append(error)
    return collected, errors, hidden


def cell(values):
    """Write means and the number of cases."""
    if not values:
        return "-"
    means = np.atleast_1d(np.mean(values, axis=0))
    return " / ".join(f"{mean:.3f}" if len(means) > 1 else f"{mean:.1f}" for mean in means) + f" ({len(values)})"


def main():
    """Print the table."""
    for day in DAYS:
        collected, errors, hidden = of_a_day(day)
        print(f"\n{day}: correlation / CSI at 0.1 / CSI at 1 mm/h (cases); error of motion, and where echo is hidden\n")
        leads = [f"{lead.astype(int)} min" for lead in LEADS]
        print(f"| motion | {' | '.join(leads)} | m/s | hidden, m/s |\n|---|---|---|---|---|---|")
        for name in METHODS:
            cells = [*(cell(collected[name, i]) for i in range(len(LEADS))), cell(errors[name]), cell(hidden[name])]
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
