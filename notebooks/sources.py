"""What other sources add, on the real events: ``make sources``.

Runs `hybridcast evaluate --sources`, writes sources.json and sources.md beside this file, and the short tables between
the marks in the README. Forecasts are kept in the folder given by ``--work``: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from ablation.gauges import gauge_lines
from ablation.pseudo import pseudo_lines

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
REGIONS = ("dwd", "fmi", "mch", "knmi", "bom", "opera")
#: The quality of pseudo-NWP that the README shows.
SHOWN = "typical"


def main() -> None:
    """Run it, and write the README's tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", default="scratch", help="folder of forecasts and models")
    parser.add_argument("--cases", type=int, default=2, help="issue times of an event, at most")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    output = HERE / "sources.json"
    command = [sys.executable, "-c", "from hybridcast.cli.app import main; main()", "evaluate", "--sources"]
    command += ["--work", options.work, "--cases", str(options.cases), "--workers", str(options.workers)]
    command += ["-o", str(output), *(word for region in REGIONS for word in ("--only", region))]
    subprocess.run(command, check=True)
    found = json.loads(output.read_text())
    together = {**found["gauges"], "sets": {}}
    text = "\n".join([*pseudo_lines({SHOWN: found["pseudo_nwp"][SHOWN]}), *gauge_lines(together)])
    pattern = re.compile(r"(<!-- sources -->\n).*?(<!-- /sources -->)", re.S)
    README.write_text(pattern.sub(lambda marks: f"{marks[1]}{text}\n{marks[2]}", README.read_text()))


if __name__ == "__main__":
    main()
