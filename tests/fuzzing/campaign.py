"""Many damaged copies of a file through its reader."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.reading import Outcome, Reader
from helpers.mutations import mutate

#: Number of files after which the process is replaced, so that its memory is that of few readings.
FRESH = 50


@dataclass
class Result:
    """What became of the damaged copies of one file."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    defects: list[tuple[int, str, Outcome]] = field(default_factory=list)
    """Seed, damage and outcome of each defect."""
    longest: float = 0.0
    """Seconds of the longest reading."""

    def add(self, seed: int, damage: str, outcome: Outcome) -> None:
        """Count one outcome."""
        self.counts[outcome.kind] += 1
        self.longest = max(self.longest, outcome.seconds)
        if outcome.is_defect:
            self.defects.append((seed, damage, outcome))


def run(name: str, kind: str, source: Path, folder: Path, seeds: range) -> Result:
    """Read one damaged copy of `source` for each seed."""
    result, reader = Result(name), Reader(kind)
    target = folder / source.name
    try:
        for number, seed in enumerate(seeds, 1):
            target.unlink(missing_ok=True)  # a new file: HDF5 may still have the former one open
            damage = mutate(source, target, seed)
            result.add(seed, damage, reader.read(target))
            if number % FRESH == 0:
                reader = reader.renewed()
    finally:
        reader.close()
        target.unlink(missing_ok=True)
    return result


def is_read(kind: str, source: Path) -> bool:
    """Return whether a file is read as it is."""
    reader = Reader(kind)
    try:
        return reader.read(source).kind == "read"
    finally:
        reader.close()
