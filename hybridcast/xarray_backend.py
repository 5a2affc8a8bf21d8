"""Radar files of every format by ``xarray.open_dataset(file, engine="hybridcast")``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendEntrypoint

from hybridcast.core.durations import Duration
from hybridcast.core.proj import load_pyproj
from hybridcast.errors import InputError

NAME = "precipitation_rate"
"""Name of the variable."""


class HybridcastBackend(BackendEntrypoint):
    """Engine of xarray, registered under the entry point group ``xarray.backends``.

    The dataset has one variable, the precipitation field of `hybridcast.open_radar`. A glob or a container is opened as
    one sequence; for a list use `xarray.open_mfdataset`, or `hybridcast.open_radar`, which also fills gaps in time.
    """

    description = "Precipitation radar in any format of hybridcast"

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        format: str | None = None,
        strict: bool = False,
        step: np.timedelta64 | None = None,
        interval: Duration | None = None,
    ) -> xr.Dataset:
        """Open a file as a dataset.

        Parameters
        ----------
        filename_or_obj
            A path, a glob or a URL, as for `hybridcast.open_radar`.
        drop_variables
            Names of variables and coordinates to leave out.
        format, strict, step, interval
            As for `hybridcast.open_radar`.

        Raises
        ------
        ReadError
            If the file cannot be read.
        InputError
            If it is no path.
        """
        load_pyproj()  # xarray has loaded cfgrib, and with it ecCodes, when it listed its engines
        from hybridcast.radar import open_radar  # here, so that listing them stays light

        if not isinstance(filename_or_obj, str | os.PathLike):
            raise InputError(
                f"{type(filename_or_obj).__name__} given to the engine 'hybridcast'",
                "it opens one path, glob or URL",
                "Give the name of a file; several go to xarray.open_mfdataset or hybridcast.open_radar",
            )
        field = open_radar(os.fspath(filename_or_obj), format, strict=strict, step=step, interval=interval)
        data = field.to_dataset(name=NAME)
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return data.drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return False: without ``engine="hybridcast"`` files are left to the other engines."""
        return False
