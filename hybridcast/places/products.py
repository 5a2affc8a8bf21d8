"""What a forecast says of places: rates, probabilities, minutes to rain, sums, and probabilities of warning levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from hybridcast.core.durations import Duration, parse_duration
from hybridcast.core.field import RATE
from hybridcast.core.forecast_schema import ENSEMBLE, PROBABILITY, lead_time_variable
from hybridcast.core.listing import list_first
from hybridcast.core.types import MINUTE, Array, Doubles
from hybridcast.ensembles.one_pass import CellSamples
from hybridcast.ensembles.products import exceedance
from hybridcast.ensembles.products import quantiles as member_quantiles
from hybridcast.errors import InputError
from hybridcast.places.level_products import add_levels
from hybridcast.places.place import Place, check_places
from hybridcast.places.rain_times import DRY_FOR, conditional_quantiles, find_rain_times
from hybridcast.places.reading import read_places
from hybridcast.places.sampling import OUTSIDE, find_exchanged
from hybridcast.places.series import BY_LEAD, Series, find_probabilities, sample_forecast

QUANTILES = (0.1, 0.5, 0.9)
WINDOWS = ("15min", "30min", "1h", "2h")
THRESHOLDS = (0.1, 1.0, 5.0)
"""Rates, mm h-1, of a forecast without thresholds of its own."""
RAIN = 0.1
"""Rate from which on it rains, mm h-1."""


class _Wanted(NamedTuple):
    """What is computed."""

    thresholds: tuple[float, ...]
    windows: tuple[np.timedelta64, ...]
    quantiles: Doubles
    rain: float


def at_places(
    result: xr.Dataset,
    places: Any,
    *,
    radar: xr.DataArray | None = None,
    thresholds: Sequence[float] | None = None,
    windows: Sequence[Duration] = WINDOWS,
    quantiles: Sequence[float] = QUANTILES,
    rain: float = RAIN,
    members: CellSamples | None = None,
) -> xr.Dataset:
    """Return what a forecast says of places.

    Points stand for the cell around them. Of areas there are the mean and the maximum over their cells, member by
    member: ``statistic``; at a point both are its cell. What is not known is NaN, never dry: places outside the grid
    (`position`), lead times of unknown rain (`known_fraction`, `minutes_known`), windows that do not begin and end at
    lead times, and all that needs members where a forecast has none; ``attrs["missing"]`` says so.

    Parameters
    ----------
    result
        Forecast, as `hybridcast.forecast` returns it; with ``members=20`` all products are known.
    places
        As `read_places` returns them, or anything that it reads.
    radar
        Precipitation field that the forecast was made from. With it, rain that has fallen before the issue time counts
        in windows that begin there, and it is known whether it rains at the issue time.
    thresholds
        Rates, mm h-1, whose probabilities are wanted; by default those of the forecast, or 0.1, 1 and 5.
    windows
        Lengths of the windows of sums, which end at each lead time.
    quantiles
        Levels of the quantiles, 0 to 1.
    rain
        Rate from which on it rains, mm h-1.
    members
        Members at the cells of places, from `hybridcast.places.series.plan_samples`, if they have been computed for
        something else; computed if it is None or lacks cells of these places.

    Returns
    -------
    Dataset
        With the dims ``place``, ``statistic``, ``lead_time``, ``quantile``, ``threshold``, ``window`` and ``level``:

        - `precipitation_rate`, mm h-1, of the deterministic field, and `rate_quantile` of the members;
        - `probability_of_exceedance` of each threshold: at points that of the forecast where it has the threshold,
          otherwise the fraction of members;
        - `amount` and `amount_quantile`, mm, in the window that ends at each lead time;
        - `raining`, whether it rains at the issue time: 1, 0, or NaN without `radar`;
        - `probability_of_rain` until `minutes_known`, the lead time up to which all is known; `minutes_to_rain` of the
          deterministic field, and `minutes_to_rain_quantile` over the members in which it comes; the same of
          its end, the first rate below `rain` from which on it is dry for 15 min, given that it rains;
        - of the places' own warning levels: `level_probability` at each lead time; `warning_probability`, that the
          level is reached at any known lead time, or is at the issue time; `minutes_to_level_quantile`; `level_known`,
          the fraction of the lead times that are known; `level_basis`, what they are made of; and the levels. The
          maximum of an area is the amount, or the rate, at its wettest cell.

        Minutes count from the issue time, and are lead times: their resolution is the step of the forecast.

    Raises
    ------
    InputError
        If places cannot be read or placed on the grid, lead times up to the first one are missing, or an option is
        wrong.

    Examples
    --------
    >>> result = forecast(radar, members=20)  # doctest: +SKIP
    >>> table = at_places(result, "places.toml", radar=radar)  # doctest: +SKIP
    >>> table.minutes_to_rain_quantile.sel(place="Helsinki", statistic="mean", quantile=0.5)  # doctest: +SKIP
    """
    found = _as_places(places)
    wanted = _check_options(result, thresholds, windows, quantiles, rain)
    lengths = [level.length for place in found for level in place.levels]
    series = sample_forecast(result, found, radar, [*wanted.windows, *(one for one in lengths if one)], members)
    table = _new_table(result, found, series)
    table = _add_rates(table, series, wanted)
    table = _add_amounts(table, series, wanted)
    table = _add_rain_times(table, series, wanted)
    table = add_levels(table, series, found, wanted.quantiles)
    missing = [*_describe_missing(result, series, wanted, table), *_describe_outside(result, found, table)]
    return table.assign_attrs(missing="; ".join(missing)).transpose("place", ...)


def _as_places(given: Any) -> tuple[Place, ...]:
    if isinstance(given, tuple | list) and given and all(isinstance(one, Place) for one in given):
        return check_places(given)
    return read_places(given)


def _check_options(
    result: xr.Dataset,
    thresholds: Sequence[float] | None,
    windows: Sequence[Duration],
    quantiles: Sequence[float],
    rain: float,
) -> _Wanted:
    if RATE not in result or "lead_time" not in result[RATE].dims:
        found = f"the forecast has {list(result.data_vars)}"
        raise InputError(found, f"it has {RATE!r} by lead_time", "Give what hybridcast.forecast returns")
    own = tuple(result["threshold"].values.tolist()) if PROBABILITY in result else THRESHOLDS
    rates = own if thresholds is None else tuple(float(one) for one in thresholds)
    for name, value in (("rain", rain), *(("threshold", one) for one in rates)):
        if not 0 < value < np.inf:
            raise InputError(f"{name} = {value:g}", "it is a rate above zero, mm/h", "Give, for example, 0.1")
    wanted = np.asarray(quantiles, dtype=np.float64)
    if wanted.ndim != 1 or not wanted.size or not ((wanted >= 0) & (wanted <= 1)).all():
        raise InputError(f"quantiles = {quantiles}", "their levels are between 0 and 1", "Give, e.g., [0.1, 0.5, 0.9]")
    return _Wanted(rates, tuple(parse_duration(one, "windows", least="1min") for one in windows), wanted, float(rain))


def _new_table(result: xr.Dataset, places: tuple[Place, ...], series: Series) -> xr.Dataset:
    names = np.array([place.name for place in places])
    coords: dict[str, Any] = {
        "place": ("place", names, {"long_name": "name of the place"}),
        "kind": ("place", [place.kind for place in places], {"long_name": "point or area"}),
        "position": ("place", series.position, {"long_name": "place with respect to the grid"}),
        "statistic": ("statistic", series.field.rates["statistic"].values, {"long_name": "of the cells of an area"}),
        "lead_time": lead_time_variable(series.leads),
    }
    coords |= {name: result[name].variable for name in ("time", "reference_time") if name in result.coords}
    known = (("lead_time", "place"), series.known_fraction, {"long_name": "known fraction of the place", "units": "1"})
    kept = ("sources_used", "sources_left_out", "status", "nowcaster", "hybridcast_version", "motion_status")
    attrs = {name: result.attrs[name] for name in kept if name in result.attrs}
    return xr.Dataset({"known_fraction": known}, coords=coords, attrs=attrs)


# --- rates ----------------------------------------------------------------------------------------------------


def _add_rates(table: xr.Dataset, series: Series, wanted: _Wanted) -> xr.Dataset:
    described = {"long_name": "forecast precipitation rate", "units": "mm h-1"}
    of_members = None if series.members is None else series.members.rates
    return table.assign_coords(
        quantile=("quantile", wanted.quantiles, {"long_name": "level of the quantile", "units": "1"}),
        threshold=("threshold", list(wanted.thresholds), {"long_name": "precipitation rate", "units": "mm h-1"}),
    ).assign(
        {
            RATE: (BY_LEAD, series.field.rates.values[0], described),
            "rate_quantile": (
                ("quantile", *BY_LEAD),
                _quantiles(series, of_members, wanted),
                {"long_name": "quantile of the precipitation rate", "units": "mm h-1"},
            ),
            PROBABILITY: _probabilities(series, wanted),
        }
    )


def _quantiles(series: Series, members: xr.DataArray | None, wanted: _Wanted) -> Array:
    """Return quantiles over members, shape ``(quantile, lead_time, statistic, place)``; NaN without members."""
    if members is None:
        return np.full((wanted.quantiles.size, *series.shape), np.nan, np.float32)
    return np.asarray(member_quantiles(members, wanted.quantiles.tolist()).transpose("quantile", *BY_LEAD).values)


def _probabilities(series: Series, wanted: _Wanted) -> xr.Variable:
    values = np.full((len(wanted.thresholds), *series.shape), np.nan, np.float32)
    if series.members is not None:
        values[:] = exceedance(series.members.rates, wanted.thresholds).transpose("threshold", *BY_LEAD).values
    of_points = find_probabilities(series, wanted.thresholds)[:, :, None]
    long_name = "probability that the precipitation rate is at or above the threshold"
    values = np.where(np.isfinite(of_points), of_points, values)
    return xr.Variable(("threshold", *BY_LEAD), values, {"long_name": long_name, "units": "1"})


# --- sums -----------------------------------------------------------------------------------------------------


def _add_amounts(table: xr.Dataset, series: Series, wanted: _Wanted) -> xr.Dataset:
    if not wanted.windows:
        return table
    of_field = [series.field.amounts[length].values[0, 1:] for length in wanted.windows]
    of_members = [
        None if series.members is None else series.members.amounts[length].isel(lead_time=slice(1, None))
        for length in wanted.windows
    ]
    spread = np.stack([_quantiles(series, members, wanted) for members in of_members], axis=1)
    named = {"long_name": "length of the window that ends at the lead time"}
    described = {"long_name": "amount in the window that ends at the lead time", "units": "mm"}
    of_quantiles = {"long_name": "quantile of the amount in the window that ends at the lead time", "units": "mm"}
    return table.assign_coords(window=("window", np.array(wanted.windows), named)).assign(
        {
            "amount": (("window", *BY_LEAD), np.stack(of_field), described),
            "amount_quantile": (("quantile", "window", *BY_LEAD), spread, of_quantiles),
        }
    )


# --- times ----------------------------------------------------------------------------------------------------


def _add_rain_times(table: xr.Dataset, series: Series, wanted: _Wanted) -> xr.Dataset:
    raining = np.where(np.isfinite(series.latest), series.latest >= np.float32(wanted.rain), np.nan)
    of_field = find_rain_times(series.field.rates.values[0], series.leads, wanted.rain, raining)
    scenarios = np.moveaxis(series.scenarios.rates.values, 0, 1)
    of_members = find_rain_times(scenarios, series.leads, wanted.rain, raining)
    known = of_members.known.min(axis=0)
    dims = ("statistic", "place")
    made: dict[str, Any] = {
        "raining": (dims, raining, {"long_name": "whether it rains at the issue time", "units": "1"}),
        "minutes_known": (dims, known, _minutes("lead time up to which all is known")),
        "minutes_to_rain": (dims, of_field.onset, _minutes("minutes to rain, of the deterministic field")),
        "minutes_to_end": (dims, of_field.end, _minutes("minutes to the end of the rain, of the deterministic field")),
    }
    comes, ends = np.isfinite(of_members.onset), np.isfinite(of_members.end)
    chance = np.where((known > 0) | (raining == 1), comes.mean(axis=0), np.nan)
    of_end = np.where(comes.any(axis=0), ends.sum(axis=0) / np.maximum(comes.sum(axis=0), 1), np.nan)
    made |= _spread("rain", "rain comes", chance, of_members.onset, series, wanted)
    made |= _spread("end", "the rain ends, given that it rains", of_end, of_members.end, series, wanted)
    return table.assign(made).assign_attrs(rain_threshold=wanted.rain, dry_for_minutes=float(DRY_FOR / MINUTE))


def _spread(
    name: str, what: str, probability: Doubles, minutes: Doubles, series: Series, wanted: _Wanted
) -> dict[str, Any]:
    """Return the probability of an event and the quantiles of its time, which are unknown without members."""
    dims = ("statistic", "place")
    spread = conditional_quantiles(minutes, wanted.quantiles)
    if series.members is None:
        probability, spread = np.full_like(probability, np.nan), np.full_like(spread, np.nan)
    described = {"long_name": f"probability that {what} until minutes_known", "units": "1"}
    of_minutes = _minutes(f"quantile of the minutes to {name}, of the members in which it comes")
    return {
        f"probability_of_{name}": (dims, probability, described),
        f"minutes_to_{name}_quantile": (("quantile", *dims), spread, of_minutes),
    }


def _minutes(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "min"}


# --- what is missing ------------------------------------------------------------------------------------------


def _describe_missing(result: xr.Dataset, series: Series, wanted: _Wanted, table: xr.Dataset) -> list[str]:
    """Return sentences about what is unknown for the whole forecast."""
    found = []
    if ENSEMBLE not in result:
        without = (
            "no members: quantiles, the probability and the spread of minutes, and probabilities of areas are unknown"
        )
        found.append(without)
        if PROBABILITY not in result:
            found.append("no probabilities: warning levels are reached or not in the deterministic field")
    if np.isnan(series.latest).all():
        found.append("no radar: rain before the issue time does not count, and whether it rains now is unknown")
    for length in wanted.windows:
        if np.isnan(table["amount"].sel(window=length)).all() and np.isfinite(series.field.rates).any():
            found.append(f"no window of {length / MINUTE:g} min begins and ends at lead times")
    return found


def _describe_outside(result: xr.Dataset, places: Sequence[Place], table: xr.Dataset) -> list[str]:
    """Return sentences about places outside the grid, and why they may be."""
    outside = [place for place, where in zip(places, table["position"].values, strict=True) if where == OUTSIDE]
    if not outside:
        return []
    found = f"{len(outside)} of {len(places)} places are outside the grid"
    exchanged = find_exchanged(outside, result[RATE])
    if not exchanged:
        return [found]
    return [f"{found}; with latitude and longitude exchanged {list_first(exchanged, 3)} would be inside"]
