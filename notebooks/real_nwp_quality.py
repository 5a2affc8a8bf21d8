"""Quality of real NWP rain against radar sums: ``make real-nwp RUNS=folder``.

The runs are few: sums of ICON-D2 over one hour, and of HARMONIE and IFS over three, beside radar sums of those hours.
They tell which errors occur, not how good a model is; ``make pseudo-nwp`` scores pseudo-NWP. Cells have a size of 2 km.
Writes real_nwp_quality.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import ndimage

from hybridcast.core.grid import cell_size
from hybridcast.core.types import Array
from hybridcast.nwp import open_nwp, regrid_to_radar
from hybridcast.radar import open_radar
from hybridcast.verification.scores import fractions_skill_score, spectral_ratio
from hybridcast.verification.statistics import compute_statistics

SCALES = (2.0, 20.0, 50.0, 100.0)
"""Widths of the windows of the fractions skill score, km."""
SMOOTHING = 15.0
"""Standard deviation of the Gaussian window before the correlation, km."""
FARTHEST = 100.0
"""Longest displacement that is looked for, km."""
WAVELENGTHS = (11.0, 45.0)
"""Wavelengths in the middle of the octaves whose power is shown, km."""
HOUR = np.timedelta64(1, "h")


class Pair(NamedTuple):
    """Mean rates over the same hours, mm h-1, on cells of about 2 km."""

    name: str
    model: Array
    radar: xr.DataArray


# --- real runs ------------------------------------------------------------------------------------------------


def pair(name: str, nwp: xr.Dataset, radar: xr.DataArray, first: int, last: int) -> Pair:
    """Return the mean rate of the only run between two lead times, h, on the grid of a radar sum."""
    leads = nwp["lead_time"] / HOUR
    mean = nwp.isel(lead_time=(leads > first) & (leads <= last)).mean("lead_time", keep_attrs=True)
    whole = mean.expand_dims(lead_time=[last * HOUR], axis=1)
    at = nwp["reference_time"].values[0] + last * HOUR
    return Pair(name, regrid_to_radar(whole, radar, [at])["precipitation_rate"].values[0, 0], radar)


def real_pairs(folder: Path) -> list[Pair]:
    """Return the real runs with the radar of their hours; each radar sum is thinned to cells of 2 km."""
    dwd, denmark = folder / "dwd_20221214", folder / "dk_2024"
    icon = open_nwp([*dwd.glob("icon*_tot_prec.grib2.bz2"), *dwd.glob("icon*_cl??.grib2")])
    harmonie = open_nwp(denmark / "harmonie_20240102/*.grb")
    ifs = open_nwp(denmark / "ifs_20240530/*.grib")

    def german(file: str) -> xr.DataArray:
        return open_radar(dwd / file).isel(y=slice(None, None, 2), x=slice(None, None, 2))

    def danish(stamp: str) -> xr.DataArray:
        return open_radar(denmark / f"radar/{stamp}.kavrRAD.03.h5").isel(y=slice(None, None, 4), x=slice(None, None, 4))

    return [
        pair("ICON-D2, 0-1 h, against RADVOR RQ", icon, german("RQ2212141300_000.gz"), 0, 1),
        pair("ICON-D2, 0-1 h, against RADOLAN RW", icon, german("raa01-rw_10000-2212141250-dwd---bin.gz"), 0, 1),
        pair("HARMONIE, 21-24 h, against radar and gauges", harmonie, danish("202401030000"), 21, 24),
        pair("IFS, 0-3 h, against radar and gauges", ifs, danish("202405300300"), 0, 3),
        pair("IFS, 3-6 h, against radar and gauges", ifs, danish("202405300600"), 3, 6),
    ]


# --- measures -------------------------------------------------------------------------------------------------


def compute_measures(forecasts: xr.Dataset, observed: xr.DataArray, threshold: float = 1.0) -> dict[str, float]:
    """Return the errors of forecasts ``(lead_time, y, x)`` over all lead times.

    The fractions skill score is that of a threshold in mm h-1. The displacement is the mean over the lead times.
    """
    statistics = compute_statistics(forecasts, observed, thresholds=(threshold,), scales=SCALES, spectra=True)
    statistics = statistics.sum("lead_time")
    cells = cell_size(observed) / 1e3
    pairs = list(zip(forecasts["precipitation_rate"].values, observed.values, strict=True))
    smoothed = [correlate_smoothed(*pair, SMOOTHING / cells) for pair in pairs]
    moved = [find_displacement(*pair, cells) for pair in pairs]
    power = spectral_ratio(statistics)
    known = [np.isfinite(a) & np.isfinite(b) for a, b in pairs]
    means = [np.mean([pair[k][mask].mean() for pair, mask in zip(pairs, known, strict=True)]) for k in (0, 1)]
    found = {"correlation at 15 km": np.nanmean(smoothed), "displacement, km": np.nanmean(moved)}
    skill = fractions_skill_score(statistics).sel(threshold=threshold)
    found |= {f"FSS {scale:g} km": float(skill.sel(scale=scale)) for scale in SCALES}
    found |= {"mean rate / observed": means[0] / means[1]}
    for wavelength in WAVELENGTHS:
        found |= {f"power / observed, {wavelength:g} km": float(power.sel(wavelength=wavelength, method="nearest"))}
    return {name: round(float(value), 3) for name, value in found.items()}


def correlate_smoothed(model: Array, radar: Array, cells: float) -> float:
    """Return the correlation of two fields after a Gaussian window, where most of the window is known."""
    known = np.isfinite(model) & np.isfinite(radar)
    weight = ndimage.gaussian_filter(known.astype(np.float64), cells)
    smooth = [
        ndimage.gaussian_filter(np.where(known, field, 0.0), cells) / np.maximum(weight, 1e-6)
        for field in (model, radar)
    ]
    inside = known & (weight > 0.5)
    return float(np.corrcoef(smooth[0][inside], smooth[1][inside])[0, 1])


def find_displacement(model: Array, radar: Array, cell: float) -> float:
    """Return the length (km) of the shift of the whole model field that correlates best with the radar."""
    known = np.isfinite(model) & np.isfinite(radar)
    fields = [ndimage.gaussian_filter(np.where(known, field, 0.0), SMOOTHING / 3 / cell) for field in (model, radar)]
    a, b = (np.where(known, field - field[known].mean(), 0.0) for field in fields)
    products = np.fft.irfft2(np.conj(np.fft.rfft2(a)) * np.fft.rfft2(b), s=a.shape)
    steps = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, 1 / n) * cell for n in a.shape), indexing="ij"))
    products[steps > FARTHEST] = -np.inf
    return float(steps.flat[int(products.argmax())])


# --- tables ---------------------------------------------------------------------------------------------------


def score_real(folder: Path) -> dict[str, dict[str, float]]:
    """Return the measures of each real run."""
    found = {}
    for name, model, radar in real_pairs(folder):
        rates = xr.Dataset({"precipitation_rate": radar.copy(data=model[None])})
        rates = rates.assign_coords(lead_time=("time", [0 * HOUR])).swap_dims(time="lead_time")
        found[name] = compute_measures(rates, radar)
    return found


def format_table(rows: dict[str, dict[str, float]]) -> str:
    """Format a Markdown table with a row for each run."""
    names = list(next(iter(rows.values())))
    lines = ["| rain of | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(f"{found[name]:.2f}" for name in names) + " |" for row, found in rows.items()]
    return "\n".join(lines)


def main() -> None:
    """Score the real runs, print the table, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of the real runs: dwd_20221214, dk_2024")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = score_real(options.folder)
    print(format_table(found))
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1).replace("NaN", "null") + "\n")


if __name__ == "__main__":
    main()
