"""Compare the forecasts of two revisions bit by bit: ``make same-bits BASE=<revision>``.

A change that only moves or renames code leaves every bit of every forecast as it was. Forecasts of three real events
are made by the working tree and by the base revision, in processes of their own: advection, the scale filter, and the
default model with radar alone, with pseudo-NWP, with gauges, with terrain, and with all of them. Nothing is compared
with stored numbers, which would differ between processors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

ROOT = Path(__file__).parent.parent
LEADS = {"lead_time": "3h", "step": "15min"}
Digests = dict[str, dict[str, str]]


def digest(dataset: xr.Dataset) -> dict[str, str]:
    """Return the SHA-256 of each variable and coordinate of a dataset, by name."""
    found = {}
    for name in sorted(map(str, {**dataset.data_vars, **dataset.coords})):
        values = dataset[name].values
        content = json.dumps(values.tolist()).encode() if values.dtype.kind in "OU" else values.tobytes()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def make_forecasts() -> Iterator[tuple[str, xr.Dataset]]:
    """Forecast three events in several ways; yield a name and a forecast."""
    from hybridcast import Advection, ScaleFilter, fetch, forecast, open_radar, open_stations, open_terrain
    from hybridcast.datasets import simulate_runs_before

    finland = open_radar(fetch("fmi-20160928", progress=False))
    recent = finland.isel(time=slice(7, 20))
    runs = simulate_runs_before(finland, recent["time"].values[-1])
    terrain = open_terrain(fetch("dem-fmi", progress=False)[0], recent)
    yield "FMI, advection", forecast(recent, nowcaster=Advection(), **LEADS)
    yield "FMI, scale filter", forecast(recent, nowcaster=ScaleFilter(), **LEADS)
    yield "FMI, radar", forecast(recent, **LEADS)
    yield "FMI, radar and NWP", forecast(recent, nwp=runs, **LEADS)
    yield "FMI, radar, NWP and terrain", forecast(recent, nwp=runs, terrain=terrain, **LEADS)

    files = {Path(file).stem.split("_")[-1]: file for file in fetch("openrainer-20220917", progress=False)}
    emilia, gauges = open_radar(files["RAD"]), open_stations(files["AWS"])
    recent = emilia.isel(time=slice(0, 7))
    runs = simulate_runs_before(emilia, recent["time"].values[-1])
    yield "OpenRainER, radar", forecast(recent, **LEADS)
    yield "OpenRainER, radar and gauges", forecast(recent, stations=gauges, **LEADS)
    yield "OpenRainER, radar, gauges and NWP", forecast(recent, stations=gauges, nwp=runs, **LEADS)

    brisbane = open_radar(fetch("bom-20201031", progress=False)[30:60])
    recent = brisbane.isel(time=slice(0, 13))
    runs = simulate_runs_before(brisbane, recent["time"].values[-1])
    yield "Brisbane, radar", forecast(recent, **LEADS)
    yield "Brisbane, radar and NWP", forecast(recent, nwp=runs, **LEADS)


def digest_checkout(checkout: Path, work: Path) -> Digests:
    """Make the forecasts with the package of a checkout, in a process of its own, and return their digests."""
    output = work / f"{checkout.name}.json"
    path = os.pathsep.join([str(checkout), str(checkout / "kernels")])
    command = [sys.executable, __file__, "--digests", str(output)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})
    digests: Digests = json.loads(output.read_text())
    return digests


def list_differences(base: Digests, new: Digests) -> list[str]:
    """Return a line for each variable of a forecast that differs, or that one of both lacks."""
    lines = []
    for name in sorted({*base, *new}):
        one, other = base.get(name, {}), new.get(name, {})
        lines += [f"{name}: {key}" for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    return lines


def compare(revision: str) -> int:
    """Compare the working tree with a revision; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        git: list[Any] = ["git", "-C", ROOT, "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", base, revision], check=True)
        try:
            before, now = digest_checkout(base, Path(folder)), digest_checkout(ROOT, Path(folder))
        finally:
            subprocess.run([*git, "remove", "--force", base], check=True)
    differences = list_differences(before, now)
    for line in differences:
        print(f"differs: {line}")
    count = sum(map(len, now.values()))
    print(f"{len(differences)} of {count} variables of {len(now)} forecasts differ from {revision}")
    return 1 if differences else 0


def main() -> None:
    """Compare two revisions, or write the digests of the package that is imported."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--base", help="revision to compare with, such as HEAD or main")
    choice.add_argument("--digests", type=Path, help="only write the digests of the imported package to this file")
    options = parser.parse_args()
    if options.base:
        sys.exit(compare(options.base))
    warnings.simplefilter("ignore")
    options.digests.write_text(json.dumps({name: digest(made) for name, made in make_forecasts()}, indent=1))


if __name__ == "__main__":
    main()
