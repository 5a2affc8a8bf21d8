"""Composites in ODIM HDF5, of OPERA and of national services: rate, amount or reflectivity.

Michelson et al. (2014 and later), EUMETNET OPERA weather radar information model for implementation with the HDF5 file
format (ODIM_H5), versions 2.0 to 2.4. This reader relies on the following rules of the standard:

- attributes of ``what`` and ``where`` apply to the groups below, unless repeated there (section 2.1);
- value = gain * raw + offset; ``nodata`` was not observed, ``undetect`` was observed and is dry (table 18);
- rows run from the upper to the lower corners, which are the outer corners of the grid (section 4.2);
- ACRR is accumulated from startdate and starttime to enddate and endtime.

Of several quantities the first of RATE, ACRR, DBZH is read, and for want of these, with a warning, URATE, DBZV, TH or
TV. Reflectivity is converted to rain rate by the Z-R relation in the file (``how`` zr_a, zr_b), otherwise by
Z = 200 R^1.6 (Marshall and Palmer), as in OPERA's own rate product. Forecasts in this format, such as DWD's RV and WN,
are no observations: see `hybridcast.radar._odim_times`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridcast.core.field import precipitation
from hybridcast.core.netcdf import HDF5_MAGIC, decode_text, open_hdf5
from hybridcast.core.readers import read_bytes
from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar._odim_grid import read_grid
from hybridcast.radar._odim_layers import Layer, list_layers
from hybridcast.radar._odim_rates import QUANTITIES, UNCORRECTED, read_rate
from hybridcast.radar._odim_rows import are_rows_reversed
from hybridcast.radar._odim_times import find_forecaster, frame_times, split_forecasts
from hybridcast.radar._rates import limit_rates

NAME = "odim-hdf5"
DESCRIPTION = "OPERA and national composites in ODIM HDF5: rate, amount or reflectivity"

_MAPS = {"COMP", "IMAGE", "CVOL"}


def recognises(path: Path, head: bytes) -> bool:
    """Return whether a file, possibly damaged, is HDF5 that follows ODIM."""
    if not head.startswith(HDF5_MAGIC):
        return False
    try:
        with open_hdf5(path) as file:
            if "what" in file and "object" in file["what"].attrs:
                return True
            return decode_text(file.attrs.get("Conventions", b"")).startswith("ODIM_H5")
    except ReadError:
        return b"ODIM_H5" in read_bytes(path)


def read(path: Path) -> xr.DataArray:
    """Read all frames of one file as a precipitation field.

    The time of an amount is the END of its interval; the time of a rate or reflectivity is the nominal time of the
    file.

    Raises
    ------
    ForecastFileError
        If all data in the file are forecasts. If some are, the others are read, and a warning names those left out.
    """
    with open_hdf5(path) as file:
        layers = _select_observations(path, file)
        attrs = _read_origin(file)
        _describe_quantity(layers[0], attrs)
        rates = [read_rate(layer, attrs) for layer in layers]
        times = frame_times(layers)
        x, y, crs = read_grid(layers[0])
        if any(rate.shape != rates[0].shape for rate in rates):
            raise ReadError(path, f"its {layers[0].quantity} frames differ in size")
        if are_rows_reversed(layers[0], rates[0], x, y, crs):
            y = y[::-1]
            attrs["rows"] = "from south to north, as the coverage shows; the corners in the file say the opposite"
            warnings.warn(f"{path}: its rows run {attrs['rows']}", InputWarning, stacklevel=2)
    order = np.argsort(times)
    rate = rates[0][None] if len(rates) == 1 else np.stack([rates[index] for index in order])
    return precipitation(limit_rates(rate, attrs), time=times[order], y=y, x=x, crs=crs, attrs=attrs)


def read_times(path: Path) -> NDArray[np.datetime64]:
    """Return the times of the frames of one file."""
    with open_hdf5(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # they come when the file is read
        return np.sort(frame_times(_select_observations(path, file)))


def _select_observations(path: Path, file: Any) -> list[Layer]:
    """Return the layers to read, one for each time; `ForecastFileError` if all are forecasts."""
    _refuse_polar(path, file)
    layers, leads = split_forecasts(_select_quantity(path, list_layers(path, file)))
    if not layers:
        raise ForecastFileError(path, leads)
    if leads:
        warnings.warn(f"{path}: forecasts ({leads}) left out, the analysis is read", InputWarning, stacklevel=2)
    elif words := find_forecaster(layers[0]):
        warnings.warn(f"{path}: {words}, but its times are those of an observation: read as one", InputWarning, 2)
    return _select_frames(layers)


def _refuse_polar(path: Path, file: Any) -> None:
    kind = decode_text(file["what"].attrs.get("object", b"")) if "what" in file else ""
    if kind in {"PVOL", "SCAN", "AZIM", "ELEV", "RAY"}:
        raise ReadError(path, f"ODIM object {kind}: polar data of one radar, which are not on a map. Give a composite")
    if kind not in _MAPS:
        raise ReadError(path, f"ODIM object {kind!r} is no map of rain, which is one of {', '.join(sorted(_MAPS))}")


def _select_quantity(path: Path, layers: list[Layer]) -> list[Layer]:
    """Return the layers of the preferred quantity."""
    held = [layer.quantity for layer in layers]
    quantity = next((name for name in QUANTITIES if name in held), None)
    if quantity is None:
        found = ", ".join(name or "?" for name in held) or "nothing"
        raise ReadError(path, f"holds {found}, none of {', '.join(QUANTITIES)}")
    return [layer for layer in layers if layer.quantity == quantity]


def _select_frames(layers: list[Layer]) -> list[Layer]:
    """Return one layer for each time; further heights are left out with a warning."""
    frames: dict[tuple[str, str], Layer] = {}
    for layer in layers:
        first = frames.setdefault((layer.text("what", "enddate"), layer.text("what", "endtime")), layer)
        if first is not layer:
            _require_apart(first, layer)
            warnings.warn(
                f"{layer.path}: {layer.quantity} of {layer.name} left out, {first.name} is read",
                InputWarning,
                stacklevel=2,
            )
    return list(frames.values())


#: Attributes by which several data of one time are told apart.
_APART = (("what", "product"), ("what", "prodpar"), ("what", "prodname"), ("where", "elangle"), ("where", "height"))


def _require_apart(first: Layer, layer: Layer) -> None:
    """Raise `ReadError` if different data of one time are not told apart, as members of an ensemble are not."""
    alike = all(first.text(*place) == layer.text(*place) for place in _APART)
    if alike and not np.array_equal(first.values[...], layer.values[...]):
        raise ReadError(
            layer.path,
            f"{first.name} and {layer.name} are different {layer.quantity} of one time, and nothing tells them apart: "
            "members of an ensemble? Give one of them in a file of its own",
        )


def _describe_quantity(layer: Layer, attrs: dict[str, Any]) -> None:
    """Warn of a quantity that is not quite rain, and name it in `attrs`."""
    if layer.quantity in UNCORRECTED:
        meaning = UNCORRECTED[layer.quantity]
        attrs["quantity"] = f"{layer.quantity}: {meaning}"
        warnings.warn(f"{layer.path}: holds {layer.quantity} only, {meaning}", InputWarning, stacklevel=2)


def _read_origin(file: Any) -> dict[str, Any]:
    source = decode_text(file["what"].attrs.get("source", b"unknown"))
    parts = dict(part.partition(":")[::2] for part in source.split(","))
    institution = "EUMETNET OPERA" if parts.get("ORG") == "247" else parts.get("CMT", source)
    return {"source": f"ODIM {source}", "institution": institution}
