"""pysteps, quietly, and the transformations its methods ask for."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import numpy as np

from hybridcast.core.types import Doubles
from hybridcast.errors import DependencyError

log = logging.getLogger("hybridcast.nowcasters.pysteps")

#: Rates below this (mm h-1) are dry, as pysteps recommends.
LOWEST_RATE = 0.1
#: The same in dBR = 10 log10(mm h-1), and what stands there for dry.
LOWEST_DBR, DRY_DBR = -10.0, -15.0
#: The step of a lone frame, which has none; motion in m s-1 is all that is converted with it.
LONE_STEP = np.timedelta64(5, "m").astype("timedelta64[ns]")


@contextlib.contextmanager
def quiet_pysteps() -> Iterator[None]:
    """Import pysteps and keep it quiet inside; numpy's global random state, which it seeds, is put back after."""
    said = io.StringIO()
    state = np.random.get_state()  # noqa: NPY002
    try:
        with contextlib.redirect_stdout(said), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            missing = _import_pysteps()
            try:
                yield
            except missing as error:
                raise DependencyError(f"{error}; pysteps needs it for this method. Install it.") from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
        if said.getvalue():
            log.debug("pysteps: %s", said.getvalue())


def _import_pysteps() -> type[Exception]:
    """Import pysteps; give its exception for a package that it lacks itself."""
    try:
        from pysteps.exceptions import MissingOptionalDependency
    except (ImportError, RuntimeError) as error:  # RuntimeError: a pystepsrc that does not keep to its schema
        raise DependencyError(
            f"pysteps cannot be imported ({error}); this method is part of it. "
            "pip install pysteps (needs a C compiler)."
        ) from error
    missing: type[Exception] = MissingOptionalDependency
    return missing


def failures() -> tuple[type[Exception], ...]:
    """Return what pysteps raises where the data do not suit a method."""
    import cv2

    return ValueError, RuntimeError, IndexError, ZeroDivisionError, FloatingPointError, np.linalg.LinAlgError, cv2.error


def to_dbr(rate: Doubles) -> Doubles:
    """Decibels of a rain rate (mm h-1); NaN stays."""
    dbr = 10 * np.log10(np.maximum(rate, LOWEST_RATE))
    return np.where(rate < LOWEST_RATE, DRY_DBR, dbr)


def rate_from_dbr(dbr: Doubles) -> Doubles:
    """Rain rate (mm h-1) from decibels, dry below the threshold; NaN stays."""
    return np.where(dbr < LOWEST_DBR, 0.0, 10 ** (dbr / 10))


def thresholded(rate: Doubles) -> Doubles:
    """Rain rate (mm h-1), dry below the threshold; NaN stays."""
    return np.where(rate < LOWEST_RATE, 0.0, rate)
