"""Packages that only some users need: extras of ``pip install 'hybridcast[...]'``, imported where they are used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hybridcast.errors import DependencyError


@contextmanager
def extra(name: str, purpose: str, advice: str = "") -> Iterator[None]:
    """Import packages of an extra inside the context.

    Parameters
    ----------
    name
        The extra in ``pyproject.toml``.
    purpose
        What needs the packages, the start of the message.
    advice
        What else helps, the end of the message.

    Raises
    ------
    DependencyError
        If one of them cannot be imported; the message names the extra.

    Examples
    --------
    >>> with extra("plot", "a figure"):
    ...     import no_such_package
    Traceback (most recent call last):
    hybridcast.errors.DependencyError: a figure needs a package that is not installed (No module named \
'no_such_package'): pip install 'hybridcast[plot]'
    """
    try:
        yield
    except DependencyError:
        raise
    except ImportError as error:
        found = f"{purpose} needs a package that is not installed ({error}): pip install 'hybridcast[{name}]'"
        raise DependencyError(f"{found}; {advice}" if advice else found) from error
