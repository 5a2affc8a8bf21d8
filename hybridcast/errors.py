"""Exceptions, named after the remedy.

Every message has three parts: the finding, the rule, and the remedy.
"""

from __future__ import annotations

from pathlib import Path


class HybridcastError(Exception):
    """Base class of the exceptions of this package; the command line shows them as one line."""


class InputError(HybridcastError, ValueError):
    """Data or options are invalid: correct them and call again.

    Parameters
    ----------
    found
        The invalid value.
    rule
        The rule that it violates.
    remedy
        Advice on the correction.
    """

    def __init__(self, found: str, rule: str, remedy: str) -> None:
        super().__init__(f"{found}; {rule}. {remedy}.")


class NoFramesError(InputError):
    """Data are valid, but contain no frame at the requested times: choose other times, or wait."""


class ReadError(HybridcastError, OSError):
    """A file cannot be read in its format: replace it, or leave it out."""

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")


class ForecastFileError(ReadError):
    """A file holds a forecast where an observation is needed: it is left out of a sequence, and refused alone.

    Parameters
    ----------
    path
        The file.
    leads
        Lead times found, as text, such as ``"+60 min"`` or ``"+5 to +120 min"``.
    """

    def __init__(self, path: str | Path, leads: str) -> None:
        self.leads = leads
        super().__init__(
            path, f"a forecast ({leads}), no observation. Give the analyses (lead time 0), or open it with xarray"
        )


class FetchError(HybridcastError, OSError):
    """A data set cannot be downloaded: check the network, or specify a local mirror."""


class DependencyError(HybridcastError, ImportError):
    """An optional package is not installed: install it, or choose another method."""


class InputWarning(UserWarning):
    """Data were left out or repaired; the result is valid, and the message states the change."""
