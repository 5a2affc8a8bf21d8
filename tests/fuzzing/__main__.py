"""Run the campaign: ``make fuzz``, or ``PYTHONPATH=tests python -m fuzzing --count 1000 [NAMES or radar:FILES]``."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from fuzzing.campaign import Result, is_read, run
from fuzzing.samples import find_samples


def main() -> None:
    """Print a line for each reader, and the defects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="damaged copies of each file")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument(
        "names", nargs="*", help="samples, by default all of real data; or KIND:FILE, such as radar:mine.h5"
    )
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.count)
    defects = 0
    for name, (kind, source) in find_samples(options.names).items():
        if not is_read(kind, source):
            print(f"{name}: not read even undamaged")
            continue
        with tempfile.TemporaryDirectory() as folder:
            result = run(name, kind, source, Path(folder), seeds)
        report(result)
        defects += len(result.defects)
    raise SystemExit(1 if defects else 0)


def report(result: Result) -> None:
    """Print the counts of a result, and its defects."""
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(result.counts.items()))
    print(f"{result.name}: {counts}; longest {result.longest:.1f} s", flush=True)
    for seed, damage, outcome in result.defects:
        print(f"    seed {seed}, {damage}: {outcome.kind} {outcome.message[:300]}", flush=True)


if __name__ == "__main__":
    main()
