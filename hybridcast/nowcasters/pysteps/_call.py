"""Calls of pysteps without its output, and the transformations of rain rates that its methods require."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import numpy as np

from hybridcast.core.extras import extra
from hybridcast.core.types import Doubles
from hybridcast.errors import DependencyError

log = logging.getLogger("hybridcast.nowcasters.pysteps")

#: Rates below this (mm h-1) are dry, as recommended by pysteps.
LOWEST_RATE = 0.1
#: The same threshold in dBR = 10 log10(mm h-1), and the value of dry cells.
LOWEST_DBR, DRY_DBR = -10.0, -15.0
#: Time step assumed for a single frame; only motion in m s-1 is converted with it.
LONE_STEP = np.timedelta64(5, "m").astype("timedelta64[ns]")


@contextlib.contextmanager
def quiet_pysteps() -> Iterator[None]:
    """Import pysteps, and suppress its output and warnings inside the context.

    The global random state of numpy, which pysteps seeds, is restored afterwards.
    """
    output = io.StringIO()
    state = np.random.get_state()  # noqa: NPY002
    try:
        with contextlib.redirect_stdout(output), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            missing = _import_pysteps()
            try:
                yield
            except missing as error:
                raise DependencyError(f"{error}; pysteps needs it for this method. Install it.") from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
        if output.getvalue():
            log.debug("pysteps: %s", output.getvalue())


def require_pysteps() -> None:
    """Raise `DependencyError` if pysteps is not installed."""
    with quiet_pysteps():
        pass


def _import_pysteps() -> type[Exception]:
    """Import pysteps; return the exception that it raises if one of its own optional packages is missing."""
    try:
        with extra("pysteps", "a method of pysteps", "pip compiles it, for which it needs a C compiler"):
            from pysteps.exceptions import MissingOptionalDependency
    except RuntimeError as error:
        raise DependencyError(f"pysteps cannot be imported ({error}). Correct its pystepsrc.") from error
    missing: type[Exception] = MissingOptionalDependency
    return missing


def failures() -> tuple[type[Exception], ...]:
    """Return the exceptions that pysteps raises if data do not suit a method."""
    import cv2

    return ValueError, RuntimeError, IndexError, ZeroDivisionError, FloatingPointError, np.linalg.LinAlgError, cv2.error


def to_dbr(rate: Doubles) -> Doubles:
    """Convert rain rates (mm h-1) to dBR; NaN stays NaN."""
    dbr = 10 * np.log10(np.maximum(rate, LOWEST_RATE))
    return np.where(rate < LOWEST_RATE, DRY_DBR, dbr)


def rate_from_dbr(dbr: Doubles) -> Doubles:
    """Convert dBR to rain rates (mm h-1), 0 below the threshold; NaN stays NaN."""
    return np.where(dbr < LOWEST_DBR, 0.0, 10 ** (dbr / 10))


def apply_threshold(rate: Doubles) -> Doubles:
    """Return rain rates (mm h-1) with 0 below the threshold; NaN stays NaN."""
    return np.where(rate < LOWEST_RATE, 0.0, rate)
