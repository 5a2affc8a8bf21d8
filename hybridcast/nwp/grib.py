"""NWP fields in GRIB 1 and 2, read field by field.

Unlike cfgrib's datasets, the start of a step is read too, because otherwise a sum since the start of the run could not
be distinguished from a sum over an hour.

Precipitation is identified by the numbers of WMO code table 4.2-0-1 (edition 2), of table 2 and of HIRLAM's table 253
(edition 1), because ecCodes has no short name for them at many centres; other variables by the short names of ecCodes
(https://codes.ecmwf.int/grib/param-db/). Fields over a step count if they are sums or means, and of gusts also maxima;
fields of an ensemble if they are members, means or percentiles (product definition templates 4.1, 4.2, 4.6, 4.10 to
4.12, and the local definitions of ECMWF and NCEP in edition 1).

Grids are those of `hybridcast.core.grib`, the triangles of ICON, whose places are in files of their own, and Gaussian
grids, regular and reduced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hybridcast.core.grib import (
    KINDS,
    GribGrid,
    is_grib,
    read_grid,
    read_messages,
    read_values,
    reference_time,
    step_range,
)
from hybridcast.core.types import Array
from hybridcast.errors import ReadError
from hybridcast.nwp.ensemble import MEAN, PERCENTILE
from hybridcast.nwp.pieces import NOTHING_STATED, UNKNOWN_START, FileGrid, Piece, ScatteredCells, Stated
from hybridcast.nwp.schema import (
    AMOUNT,
    AMOUNTS,
    CAPE,
    CONVECTIVE,
    CONVECTIVE_RAIN,
    CONVECTIVE_SNOW,
    EARTH_WIND,
    GRAUPEL,
    HAIL,
    HUMIDITY,
    RAIN,
    RATE,
    SNOW,
    SOLID,
    STRATIFORM,
    STRATIFORM_RAIN,
    STRATIFORM_SNOW,
    WIND,
)
from hybridcast.nwp.units import convert_units

NAME = "grib"
DESCRIPTION = "NWP fields in GRIB 1 or 2"

#: Variables by short name of ecCodes, in order of preference; for the wind see `_name_wind`.
_NAMES = {
    "2t": "air_temperature",
    "t": "air_temperature",
    "2r": HUMIDITY,
    "r": HUMIDITY,
    "cape": CAPE,
    "mucape": CAPE,
    "mlcape100": CAPE,
    "gust": "wind_speed_of_gust",
    "10fg": "wind_speed_of_gust",
    "i10fg": "wind_speed_of_gust",
    "max_i10fg": "wind_speed_of_gust",
}
#: Keys of the number of a parameter of edition 2; and variables by that number, with their units, where ecCodes has no
#: short name. Numbers from 191 on are DWD's.
_NUMBERS = ("discipline", "parameterCategory", "parameterNumber")
_NUMBERED: dict[tuple[int, ...], tuple[str, str]] = {
    (0, 0, 0): ("air_temperature", "K"),
    (0, 1, 1): (HUMIDITY, "%"),
    (0, 2, 22): ("wind_speed_of_gust", "m s-1"),
    (0, 7, 6): (CAPE, "J kg-1"),
    (0, 191, 1): ("latitude", "degrees"),
    (0, 191, 2): ("longitude", "degrees"),
}
_ORDER = {short: order for order, short in enumerate(_NAMES)}
_PARTS = {name: k for k, part in enumerate("uv") for name in (part, f"10{part}", f"100{part}", f"200{part}")}
#: Rates by number in table 4.2-0-1 of edition 2, kg m-2 s-1; their sums are amounts.
_RATES = {
    7: AMOUNT,
    52: AMOUNT,
    37: CONVECTIVE,
    54: STRATIFORM,
    65: RAIN,
    66: SNOW,
    75: GRAUPEL,
    73: HAIL,
    76: CONVECTIVE_RAIN,
    77: STRATIFORM_RAIN,
    55: CONVECTIVE_SNOW,
    56: STRATIFORM_SNOW,
}
#: Amounts by number in the same table, kg m-2.
_AMOUNTS = {8: AMOUNT, 49: AMOUNT, 9: STRATIFORM, 10: CONVECTIVE}
#: Precipitation by short name of ecCodes, for edition 1 and the local numbers of centres; ecCodes knows the units.
_SHORT = {
    "tp": AMOUNT,
    "apcp": AMOUNT,
    "tirf": RAIN,
    "TOT_PREC": AMOUNT,
    "RR-KGM2": AMOUNT,
    "prate": RATE,
    "tprate": RATE,
    "avg_tprate": RATE,
    "rain": RAIN,
    "snow": SNOW,
    "grpl": GRAUPEL,
    "hail": HAIL,
    "tpsolid": SOLID,
    "cp": CONVECTIVE,
    "acpcp": CONVECTIVE,
    "lsp": STRATIFORM,
    "ncpcp": STRATIFORM,
}
#: Precipitation and units by number in WMO table 2, and in HIRLAM's table 253, where ecCodes has no short name.
_TABLE_2 = {
    59: (RATE, "kg m-2 s-1"),
    61: (AMOUNT, "kg m-2"),
    62: (STRATIFORM, "kg m-2"),
    63: (CONVECTIVE, "kg m-2"),
}
_TABLE_253 = {61: AMOUNT, 181: RAIN, 184: SNOW, 185: SOLID, 201: GRAUPEL, 204: HAIL}
_LEVELS = {
    "isobaricInhPa": "{:g} hPa",
    "heightAboveGround": "{:g} m above ground",
    "surface": "surface",
    "mixedLayerParcel": "surface",
    "entireAtmosphere": "surface",
}
#: Product definition templates (code table 4.0) of fields as they are: instantaneous, of a step, and post-processed.
_PLAIN = {0, 1, 8, 11, 60, 61, 70, 71, 72, 73}
_PROBABILITIES, _PERCENTILES, _DERIVED = {5, 9}, {6, 10}, {2, 3, 4, 12, 13, 14}
_NEGATIVELY_PERTURBED = 2  # code table 4.6
_ECMWF, _NCEP = 98, 7


class _Parameter(NamedTuple):
    """What a message holds."""

    name: str
    """Name of the piece."""
    units: str
    """Units of the values."""
    order: int = 0
    """Rank among parameters of one name."""


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file is GRIB, by its first bytes."""
    return is_grib(head)


def read(path: Path, stated: Stated = NOTHING_STATED) -> list[Piece]:
    """Read all messages with variables of the schema, or with the places of the cells of a grid."""
    found: list[tuple[int, Piece]] = []
    others: dict[str, None] = {}
    grids: dict[tuple[Any, ...], GribGrid] = {}
    for message in read_messages(path):
        parameter = _identify(message)
        if parameter is None:
            others[_describe(message)] = None
        else:
            piece = _build_piece(message, parameter, path, grids)
            found.append((_rank(parameter, piece), piece))
    if not found:
        raise ReadError(
            path,
            f"no variable known: it holds {', '.join(list(others)[:8])}. Known are precipitation, wind, temperature, "
            "humidity, CAPE and gusts; give files with one of these, or arrays to hybridcast.nwp.nwp_fields",
        )
    return _select_preferred(found)


def _rank(parameter: _Parameter, piece: Piece) -> int:
    """Return a sort key: parameters in their order, and of gusts those of a time before maxima of a step."""
    is_extreme = piece.name not in (*AMOUNTS, RATE) and bool(piece.start < piece.end)
    return 2 * parameter.order + is_extreme


def _select_preferred(found: list[tuple[int, Piece]]) -> list[Piece]:
    """Where several parameters are the same variable at one level, keep the one that comes first."""
    first: dict[tuple[str, str, str], int] = {}
    for order, piece in found:
        key = piece.name, piece.vertical_level, piece.statistic
        first[key] = min(order, first.get(key, order))
    return [piece for order, piece in found if order == first[piece.name, piece.vertical_level, piece.statistic]]


# --- parameters -----------------------------------------------------------------------------------------------


def _identify(message: Any) -> _Parameter | None:
    """Return the variable that a message holds; None if it is none of the schema."""
    precipitation = (_identify_1(message) if int(message["edition"]) == 1 else _identify_2(message)) or _by_name(
        message
    )
    if precipitation is not None:
        return precipitation
    short = str(message["shortName"])
    name = _name_wind(message, short) if short in _PARTS else _NAMES.get(short)
    if name is None:
        return _identify_by_number(message)
    return _Parameter(name, str(message["units"]).replace("**", ""), _ORDER.get(short, 0))


def _identify_by_number(message: Any) -> _Parameter | None:
    if int(message["edition"]) == 1 or message["shortName"] not in ("unknown", "tlat", "tlon"):
        return None
    known = _NUMBERED.get(tuple(int(message[key]) for key in _NUMBERS))
    return None if known is None else _Parameter(*known)


def _name_wind(message: Any, short: str) -> str:
    return (WIND if message.get("uvRelativeToGrid", 0) else EARTH_WIND)[_PARTS[short]]


def _identify_2(message: Any) -> _Parameter | None:
    """Return the precipitation in a message of edition 2."""
    if (int(message["discipline"]), int(message["parameterCategory"])) != (0, 1):
        return None
    number = int(message["parameterNumber"])
    if number in _AMOUNTS:
        return _Parameter(_AMOUNTS[number], "kg m-2", number)
    if number not in _RATES:
        return None
    if message.get("stepType") == "accum":
        return _Parameter(_RATES[number], "kg m-2", number)
    return _Parameter(RATE, "kg m-2 s-1", number) if _RATES[number] == AMOUNT else None


def _identify_1(message: Any) -> _Parameter | None:
    """Return the precipitation in a message of edition 1."""
    table, number = int(message["table2Version"]), int(message["indicatorOfParameter:int"])
    short = str(message["shortName"])
    if short == "unknown" and table <= 3 and number in _TABLE_2:
        return _Parameter(*_TABLE_2[number])
    if short == "unknown" and table == 253 and number in _TABLE_253:
        return _Parameter(_TABLE_253[number], "kg m-2")
    return None


def _by_name(message: Any) -> _Parameter | None:
    """Return the precipitation in a message by its short name."""
    name = _SHORT.get(str(message["shortName"]))
    units = str(message["units"]).replace("**", "").replace(" of water equivalent", "")
    return None if name is None else _Parameter(name, units)


def _describe(message: Any) -> str:
    short, level = str(message["shortName"]), str(message.get("typeOfLevel"))
    if short == "unknown":
        keys = _NUMBERS if int(message["edition"]) == 2 else ("indicatorOfParameter:int",)
        numbers = [message.get(key) for key in keys]
        short = f"parameter {'.'.join(map(str, numbers))}"
    return f"{short} ({level})"


# --- pieces ---------------------------------------------------------------------------------------------------


def _build_piece(message: Any, parameter: _Parameter, path: Path, grids: dict[tuple[Any, ...], GribGrid]) -> Piece:
    name = parameter.name
    start, end = step_range(message)
    if name in AMOUNTS and start == end:
        start = _start_of_sum(message, end)
    member, statistic = _read_member(message), _read_statistic(message, name)
    grid = _read_cells(message, path, grids)
    values = np.empty(0, np.float32)
    if not statistic or statistic == MEAN or statistic.startswith(PERCENTILE):
        values = convert_units(name, _read_field(message, path, grid), parameter.units, path)
    level = "surface" if name in AMOUNTS or name == RATE else _read_level(message)
    return Piece(name, level, reference_time(message), start, end, values, grid, member, statistic, path)


def _read_level(message: Any) -> str:
    kind = str(message["typeOfLevel"])
    return _LEVELS.get(kind, kind).format(float(message["level"]))


def _start_of_sum(message: Any, end: np.timedelta64) -> np.timedelta64:
    """Return the start of a sum whose step has no length, as many centres write them in edition 1.

    The Integrated Forecasting System of ECMWF sums since the start of the run (https://confluence.ecmwf.int, "Table of
    parameters: accumulated from the beginning of the forecast"); its reanalysis ERA5 does not.
    """
    if end == np.timedelta64(0):
        return end
    is_forecast = int(message.get("centre:int") or 0) == _ECMWF and message.get("marsClass") in ("od", "rd", "ai")
    return np.timedelta64(0, "ns") if is_forecast else UNKNOWN_START


# --- ensembles and statistics -----------------------------------------------------------------------------------


def _read_member(message: Any) -> int | None:
    """Return the number of the ensemble member, negative for one that is negatively perturbed; None without."""
    if int(message["edition"]) == 1:
        return _read_member_1(message)
    number = message.get("perturbationNumber")
    if number is None:
        return None
    negative = message.get("typeOfEnsembleForecast") == _NEGATIVELY_PERTURBED
    return -int(number) if negative else int(number)


def _read_member_1(message: Any) -> int | None:
    if message.get("dataType") in ("cf", "pf"):
        return int(message["number"])
    if int(message.get("centre:int") or 0) == _NCEP and message.get("applicationIdentifier") == 1:
        sign = {2: -1, 3: 1}.get(int(message["type"]), 0)
        return sign * int(message["identificationNumber"])
    return None


def _read_statistic(message: Any, name: str) -> str:
    """Return the statistic of the ensemble, or else of the step; empty for values as they are, sums and means."""
    of_ensemble = _read_statistic_1(message) if int(message["edition"]) == 1 else _read_statistic_2(message)
    if of_ensemble:
        return of_ensemble
    step = str(message.get("stepType") or "instant")
    allowed = {RATE: ("instant", "avg"), "wind_speed_of_gust": ("instant", "max")}
    if step in allowed.get(name, ("instant", "accum") if name in AMOUNTS else ("instant",)):
        return ""
    words = {"max": "maximum", "min": "minimum", "avg": "mean", "diff": "difference", "accum": "sum"}
    return f"{words.get(step, step)} of the step"


def _read_statistic_2(message: Any) -> str:
    template = int(message["productDefinitionTemplateNumber"])
    if template in _PERCENTILES:
        return f"{PERCENTILE}{float(message['percentileValue']):g}"
    if template in _DERIVED:
        code = int(message["derivedForecast"])
        return MEAN if code in (0, 1) and template in (2, 12) else f"statistic {code} of the ensemble"
    if template in _PROBABILITIES:
        return "probability"
    if template not in _PLAIN:
        return f"product of template 4.{template}"
    return "" if int(message.get("numberOfTimeRange") or 1) == 1 else "statistic of several time ranges"


def _read_statistic_1(message: Any) -> str:
    names = {"em": MEAN, "es": "spread of the ensemble", "ep": "probability", "pd": "probability", "taem": "time mean"}
    if message.get("dataType") == "pb" and message.get("number") is not None:
        return f"{PERCENTILE}{float(message['number']):g}"
    return names.get(str(message.get("dataType")), "")


# --- grids ------------------------------------------------------------------------------------------------------


def _read_cells(message: Any, path: Path, grids: dict[tuple[Any, ...], GribGrid]) -> FileGrid | ScatteredCells:
    kind = str(message["gridType"])
    if kind == "unstructured_grid":
        return _read_triangles(message)
    if kind in ("reduced_gg", "regular_gg"):
        return _read_gaussian(message)
    if kind not in KINDS:
        read_grid(message, path, grids)  # raises the error
    return _shared(read_grid(message, path, grids))


def _shared(grid: GribGrid) -> FileGrid:
    return FileGrid(grid.y, grid.x, grid.crs)


def _read_triangles(message: Any) -> ScatteredCells:
    uuid, number = str(message.get("uuidOfHGrid") or ""), message.get("numberOfGridUsed")
    name = uuid if uuid.strip("0") else f"{message.get('centre')}-{number}"
    advice = (
        f"Give the files of latitude and longitude of this grid (number {number}, UUID {uuid}) as well; for ICON they "
        "are icon*_icosahedral_time-invariant_*_clat.grib2 and *_clon.grib2 in the folders clat and clon of "
        "https://opendata.dwd.de/weather/nwp/"
    )
    return ScatteredCells(name, int(message["numberOfDataPoints"]), advice=advice)


def _read_gaussian(message: Any) -> ScatteredCells:
    longitude, latitude = (np.asarray(message[name], np.float64) for name in ("longitudes", "latitudes"))
    return ScatteredCells(str(message["md5GridSection"]), longitude.size, longitude, latitude)


def _read_field(message: Any, path: Path, grid: FileGrid | ScatteredCells) -> Array:
    if isinstance(grid, FileGrid):
        return read_values(message, path, (grid.y.size, grid.x.size))
    return read_values(message, path, (1, grid.size)).ravel()
