"""Exceptions, named after the remedy.

Every message has three parts: the finding, the rule, and the remedy. Where the remedy is a parameter in Python and an
option on the command line, the error has both; `for_command_line` is the message that the command line shows.
"""

from __future__ import annotations

from pathlib import Path


class HybridcastError(Exception):
    """Base class of the exceptions of this package; the command line shows them as one line."""

    @property
    def for_command_line(self) -> str:
        """Message with remedies that a user of the command line can apply."""
        return str(self)


class InputError(HybridcastError, ValueError):
    """Data or options are invalid: correct them and call again.

    Parameters
    ----------
    found
        The invalid value.
    rule
        The rule that it violates.
    remedy
        Advice on the correction, in terms of Python.
    cli_remedy
        The same in terms of the command line, such as ``"Give --issue-time"``; by default `remedy`.
    """

    def __init__(self, found: str, rule: str, remedy: str, *, cli_remedy: str | None = None) -> None:
        self._parts = found, rule, remedy, cli_remedy
        self._for_command_line = f"{found}; {rule}. {cli_remedy or remedy}."
        super().__init__(f"{found}; {rule}. {remedy}.")

    @property
    def for_command_line(self) -> str:
        """Message with the remedy for the command line."""
        return self._for_command_line

    def located(self, where: str) -> InputError:
        """Return the same error with the location of the value, such as the name of a place, in front."""
        found, rule, remedy, cli_remedy = self._parts
        return InputError(f"{where}: {found}", rule, remedy, cli_remedy=cli_remedy)


class NoFramesError(InputError):
    """Data are valid, but contain no frame at the requested times: choose other times, or wait."""


class ReadError(HybridcastError, OSError):
    """A file cannot be read in its format: replace it, or leave it out.

    Parameters
    ----------
    path
        The file.
    reason
        What is wrong, and what to do, in terms of Python.
    cli_reason
        The same in terms of the command line; by default `reason`.
    """

    def __init__(self, path: str | Path, reason: str, *, cli_reason: str | None = None) -> None:
        self.path = path if isinstance(path, Path) else Path(path)
        self.reason = reason
        self.cli_reason = cli_reason or reason
        super().__init__(f"{path}: {reason}")

    def rename(self, old: Path, new: Path) -> None:
        """State the path by which the user knows the file, instead of that of a copy."""
        self.path = new
        self.reason, self.cli_reason = (text.replace(str(old), str(new)) for text in (self.reason, self.cli_reason))
        self.args = (f"{new}: {self.reason}",)

    @property
    def for_command_line(self) -> str:
        """Message with the remedy for the command line."""
        return f"{self.path}: {self.cli_reason}"


class UnknownFormatError(ReadError):
    """A file has no format that is known where it is read; among other files it may not belong to them."""


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
        reason = f"a forecast ({leads}), no observation. Give the analyses (lead time 0)"
        super().__init__(path, f"{reason}, or open it with xarray", cli_reason=reason)


class FetchError(HybridcastError, OSError):
    """A data set cannot be downloaded: check the network, or specify a local mirror."""


class DependencyError(HybridcastError, ImportError):
    """An optional package is not installed: install it, or choose another method."""


class InputWarning(UserWarning):
    """Data were left out or repaired; the result is valid, and the message states the change.

    Parameters
    ----------
    message
        The change, with remedies in terms of Python.
    cli_message
        The same in terms of the command line; by default `message`.
    """

    def __init__(self, message: str, cli_message: str | None = None) -> None:
        self.for_command_line = cli_message or message
        super().__init__(message)

    def rename(self, old: Path, new: Path) -> None:
        """State the path by which the user knows the file, instead of that of a copy."""
        self.for_command_line = self.for_command_line.replace(str(old), str(new))
        self.args = (str(self).replace(str(old), str(new)),)
