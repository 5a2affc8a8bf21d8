"""A process that reads files as it is told, so that a crash, a hang or memory without bound is seen from outside."""

from __future__ import annotations

import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Bounds of one reading.
SECONDS, BYTES = 10.0, 2 * 2**30
#: Address space of the process, so that the machine survives what the bound is there to find.
ADDRESS_SPACE = 14 * 2**30


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    kind: str
    """"read", "refused", or a defect: "unnamed", "exception", "crash", "hang" or "memory"."""
    message: str = ""
    seconds: float = 0.0

    @property
    def is_defect(self) -> bool:
        """Whether the reader did neither read the file rightly nor refuse it."""
        return self.kind not in {"read", "refused"}


def read_radar(path: Path) -> None:
    """Read all of a radar file; raise `InputError` if the field does not keep its contract."""
    from hybridcast.core.field import check_precipitation
    from hybridcast.radar import open_radar

    check_precipitation(open_radar(path, strict=True).load())


def read_stations(path: Path) -> None:
    """Read all of a station file; raise `AssertionError` if a rate is negative."""
    from hybridcast.stations import open_stations

    reports = open_stations(path, strict=True).load()
    if (reports["precipitation_rate"] < 0).any():
        raise AssertionError("negative rates")


def read_nwp(path: Path) -> None:
    """Read all of an NWP file; raise `AssertionError` if a rate is negative."""
    from hybridcast.nwp import open_nwp

    fields = open_nwp(path, strict=True).load()
    if "precipitation_rate" in fields and (fields["precipitation_rate"] < 0).any():
        raise AssertionError("negative rates")


READ: dict[str, Callable[[Path], None]] = {"radar": read_radar, "stations": read_stations, "nwp": read_nwp}


class Reader:
    """A process of its own that reads one file after another, and is replaced when it dies."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._kind), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()  # ready

    def read(self, path: Path) -> Outcome:
        """Read one file and say what became of it."""
        self._pipe.send(path)
        if not self._pipe.poll(SECONDS):
            self.close()
            self._start()
            return Outcome("hang", f"more than {SECONDS:g} s", SECONDS)
        try:
            outcome: Outcome = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            code = self.close()
            self._start()
            return Outcome("crash", f"the process ended with {code}")
        if outcome.kind == "memory":
            self.close()
            self._start()
        return outcome

    def renewed(self) -> Reader:
        """Return a reader in a fresh process."""
        self.close()
        return Reader(self._kind)

    def close(self) -> int | None:
        """End the process, and return its exit code."""
        self._process.join(0.5)
        self._process.kill()
        self._process.join()
        self._pipe.close()
        return self._process.exitcode


def _serve(pipe: Any, kind: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    import hybridcast.nwp
    import hybridcast.radar
    import hybridcast.stations  # noqa: F401 (imports are no part of a reading)

    warnings.simplefilter("ignore")
    pipe.send("ready")
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        pipe.send(_read(READ[kind], path))


def _read(read: Callable[[Path], None], path: Path) -> Outcome:
    from hybridcast.core.memory import measure_peak_memory
    from hybridcast.errors import HybridcastError, ReadError

    start = time.monotonic()
    try:
        read(path)
        outcome = ("read", "")
    except ReadError as error:
        outcome = ("refused", str(error))
    except HybridcastError as error:  # an InputError does not name the file unless it says so
        outcome = ("refused" if path.name in str(error) else "unnamed", str(error))
    except Exception as error:
        outcome = ("exception", f"{type(error).__name__}: {error}")
    except BaseException as error:
        outcome = ("crash", f"{type(error).__name__}: {error}")
    seconds = time.monotonic() - start
    if measure_peak_memory() * 1e6 > BYTES:
        return Outcome("memory", "more than 2 GiB", seconds)
    return Outcome(*outcome, seconds)
