"""What the commands share: where they write to, how they say what goes on, and checks of options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console

from hybridcast.errors import InputError

out = Console()
err = Console(stderr=True)


def say(line: str) -> None:
    """Say a line of what goes on."""
    err.print(line, highlight=False, soft_wrap=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Show what is being done, where somebody looks."""
    with err.status(what) if err.is_terminal else nullcontext():
        yield


def check_suffix(path: Path, suffixes: set[str], option: str) -> None:
    """Refuse a file to write whose suffix is none of these, or whose folder is not there."""
    if path.suffix.lower() not in suffixes:
        better = path.with_suffix(min(suffixes)) if path.name else path / f"forecast{min(suffixes)}"
        raise InputError(f"{option} {path}", f"it ends in {', '.join(sorted(suffixes))}", f"Write {better}")
    if not path.expanduser().parent.is_dir():
        raise InputError(f"{option} {path}", "its folder exists", f"Create {path.expanduser().parent}")


def check_known(choices: Iterable[str], name: str, what: str) -> None:
    """Refuse a name that is not known."""
    if name not in choices:
        raise InputError(f"{what} {name!r}", f"the {what} is a known one", f"Choose one of {', '.join(choices)}")
