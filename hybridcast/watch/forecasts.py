"""One forecast with its products, made in the worker process; and what is kept warm there."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr

from hybridcast.core.forecast_schema import UNKNOWN_FRACTION, load_fields
from hybridcast.core.memory import measure_memory, measure_peak_memory
from hybridcast.core.parallel import report_progress
from hybridcast.datasets.registry import scene_path
from hybridcast.errors import HybridcastError
from hybridcast.forecasting import build_lead_times, forecast, with_members
from hybridcast.fusion.hybrid import Hybrid
from hybridcast.nowcasters.base import Nowcaster
from hybridcast.places import WarningState, read_places
from hybridcast.radar import open_radar
from hybridcast.registry import TRAINED_NOWCASTERS, baseline_nowcasters, trained_nowcaster
from hybridcast.watch.config import WatchedRegion
from hybridcast.watch.products import ALONGSIDE, PRODUCTS, Work, write_product
from hybridcast.watch.sources import OtherSources, open_others, open_recent

READING, SOURCES, FORECASTING = "radar", "sources", "forecast"
"""Names of the stages before the products."""


@dataclass(frozen=True)
class Order:
    """A forecast that is to be made."""

    region: WatchedRegion
    issue_time: np.datetime64
    files: tuple[str, ...]
    """Radar files on the disk."""
    folder: Path
    """Folder of the products, which is empty."""
    downloads: Path
    """Folder of downloads."""
    nwp_delay: np.timedelta64
    """Time from the start of an NWP run until it is there."""
    radar_alone: bool = False
    """Whether other sources are left out."""
    warnings: WarningState = field(default_factory=WarningState)
    """The warnings after the forecast before."""


@dataclass(frozen=True)
class Made:
    """What was made, and how."""

    attrs: dict[str, str]
    """Attributes of the forecast that say how it was made."""
    left_out: list[str]
    """Files that were left out, with the reason."""
    unknown_fraction: float
    """Fraction of the grid that is unknown at the last lead time."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration of each stage."""
    memory: float = float("nan")
    """Memory of the process after the forecast, MB."""
    peak_memory: float = float("nan")
    """Peak memory of the process so far, MB."""


def make_forecast(order: Order) -> Made:
    """Make a forecast, and write its products into the folder of the order."""
    seconds: dict[str, float] = {}
    left_out: list[str] = []
    with _stage(READING, seconds):
        radar = open_recent(order.region, order.files, order.issue_time, left_out)
    with _stage(SOURCES, seconds):
        others = OtherSources() if order.radar_alone else _open_others(order, radar, left_out)
    with _stage(FORECASTING, seconds):
        result = _forecast(order, radar, others)
    work = Work(result, radar, order)
    left_out += _write_products(work, seconds)
    made = _describe(result, left_out, seconds)
    del result, radar, others, work
    release_memory()
    return replace(made, memory=measure_memory(), peak_memory=measure_peak_memory())


def _write_products(work: Work, seconds: dict[str, float]) -> list[str]:
    """Write the products, and return notes of what was left out.

    Those of `ALONGSIDE` are drawn by one core meanwhile, because writing the file does not keep two of them busy.
    """
    notes = []
    with ThreadPoolExecutor(1) as pool:
        alongside = {name: pool.submit(_write_alongside, name, work) for name in ALONGSIDE}
        for name in PRODUCTS:
            if name in alongside:
                found, seconds[name] = alongside[name].result()
            else:
                with _stage(name, seconds):
                    found = write_product(name, work)
            notes += found
    return notes


def _write_alongside(name: str, work: Work) -> tuple[list[str], float]:
    """Write a product, and return notes of what was left out, and how long it took, s."""
    started = time.perf_counter()
    return write_product(name, work), round(time.perf_counter() - started, 3)


@contextmanager
def _stage(name: str, seconds: dict[str, float]) -> Iterator[None]:
    report_progress(name)
    started = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - started, 3)


def _open_others(order: Order, radar: xr.DataArray, left_out: list[str]) -> OtherSources:
    return open_others(order.region, radar, order.issue_time, order.downloads, left_out)


def _forecast(order: Order, radar: xr.DataArray, others: OtherSources) -> xr.Dataset:
    watch = order.region.watch
    result = forecast(
        radar,
        lead_time=watch.lead_time,
        step=watch.step,
        issue_time=order.issue_time,
        nowcaster=_make_nowcaster(watch.nowcaster, order.region.region.model, watch.thresholds),
        stations=others.stations,
        nwp=others.nwp,
        nwp_delay=order.nwp_delay,
        terrain=others.terrain,
        members=watch.members,
        seed=watch.seed,
    )
    return load_fields(result)  # all products need them


@lru_cache(maxsize=4)
def _make_nowcaster(name: str, model: str, thresholds: tuple[float, ...]) -> Nowcaster:
    """Return a nowcaster, which is loaded once."""
    if name not in TRAINED_NOWCASTERS:
        return baseline_nowcasters()[name]()
    trained = trained_nowcaster(name, model)
    return replace(trained, thresholds=thresholds) if isinstance(trained, Hybrid) else trained


def _describe(result: xr.Dataset, left_out: list[str], seconds: dict[str, float]) -> Made:
    attrs = {name: str(result.attrs[name]) for name in _ATTRIBUTES if name in result.attrs}
    unknown = float(result[UNKNOWN_FRACTION][-1])
    return Made(attrs, left_out, round(unknown, 4), seconds)


_ATTRIBUTES = (
    "nowcaster",
    "status",
    "motion_status",
    "fallback",
    "sources_used",
    "sources_left_out",
    "radar_adjustment",
    "frames_used",
    "hybridcast_version",
)


def warm_up(region: WatchedRegion) -> str | None:
    """Load the model and compile the kernels, by a forecast of the scene that comes with the package.

    Returns
    -------
    str or None
        Why the settings of the forecast do not fit, or the model cannot be loaded; None if all is well.
    """
    watch = region.watch
    radar = open_radar(scene_path()).isel(time=slice(-5, None))
    try:
        nowcaster = _make_nowcaster(watch.nowcaster, region.region.model, watch.thresholds)
        with_members(nowcaster, watch.members, watch.seed)
        build_lead_times(radar, watch.lead_time, watch.step)
        result = forecast(radar, lead_time="15min", nowcaster=nowcaster, members=min(watch.members, 2))
    except (HybridcastError, OSError) as error:
        return str(error)
    result.compute()
    del result, radar
    release_memory()
    gc.freeze()  # modules, kernels and the model stay: `release_memory` need not look through them after each forecast
    return _check_places(region)


def _check_places(region: WatchedRegion) -> str | None:
    """Return why the places of a region cannot be read; None if they can, or there are none."""
    if region.region.places is None:
        return None
    try:
        places = read_places(region.region.places)
    except (HybridcastError, OSError) as error:
        return str(error)
    if region.watch.on_warning is not None and not any(place.levels for place in places):
        return f"on_warning is set, and no place of {region.region.places} has levels: nothing would ever be told"
    return None


def release_memory() -> None:
    """Collect garbage, and give freed memory back to the system where glibc would keep it."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library
        return
