"""Errors, few, named after what the user can do about them.

Every message has three parts: what was found, the rule, what to do.
"""

from __future__ import annotations

from pathlib import Path


class HybridcastError(Exception):
    """Anything that hybridcast raises on purpose; the command line shows it as one line."""


class InputError(HybridcastError, ValueError):
    """The data or an option given do not fit: correct them and call again."""

    def __init__(self, found: str, rule: str, remedy: str) -> None:
        super().__init__(f"{found}; {rule}. {remedy}.")


class NoFramesError(InputError):
    """The data are fine, but have nothing at the times asked for: choose others, or wait."""


class ReadError(HybridcastError, OSError):
    """A file cannot be read as what it claims to be: replace it, or leave it out."""

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")


class FetchError(HybridcastError, OSError):
    """A data set could not be brought: check the network, or point to a local mirror."""


class DependencyError(HybridcastError, ImportError):
    """A package that this one function needs is not installed: install it, or choose another method."""


class InputWarning(UserWarning):
    """Something was left out or repaired; the result is still valid and says what was done."""
