"""The commands of the nightly verification: ``nightly`` and ``scores``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from hybridcast.cli.options import Regions, say
from hybridcast.errors import DependencyError, InputError

if TYPE_CHECKING:
    import pandas as pd

    from hybridcast.nightly.config import NightlySettings
    from hybridcast.nightly.run import Outcome
    from hybridcast.nightly.verify_day import Costs

T = TypeVar("T")
WRONG_CONFIGURATION = 2
"""Exit status if the configuration or an option is wrong."""

Config = Annotated[
    str, typer.Option("--config", "-c", help="TOML file; 'shipped' for three real regions of the package.")
]
Dates = Annotated[
    list[str] | None,
    typer.Option(
        "--date",
        help="Day (UTC), or range of days such as 2018-05-10..2018-05-20; can be repeated. By default yesterday, and "
        "for a region with 'dates' in the configuration all of them.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Verify days again that are done.")]
WorkerCount = Annotated[
    int | None, typer.Option("--workers", min=1, help="Number of processes; by default as configured.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address of a dask.distributed scheduler, such as tcp://host:8786, whose workers make the forecasts. They "
        "need access to the same folders as this machine.",
    ),
]
Init = Annotated[bool, typer.Option("--init", help="Write a configuration with every key explained, and stop.")]

Store = Annotated[Path, typer.Option(help="Folder of the nightly store.")]
Query = Annotated[
    str | None,
    typer.Option(
        help="SQL for DuckDB. Views: nights, moments, contingency, fss, windows, reliability, spectra, ranks, "
        "case_moments, case_contingency, case_fss; all with region and date."
    ),
]
Since = Annotated[str | None, typer.Option(help="First day, such as 2018-05-10.")]
Until = Annotated[str | None, typer.Option(help="Last day.")]


def nightly(
    config: Config = "regions.toml",
    date: Dates = None,
    region: Regions = None,
    force: Force = False,
    workers: WorkerCount = None,
    scheduler: Scheduler = None,
    init: Init = False,
) -> None:
    """Verify yesterday's nowcasts in every region, store their statistics, and write a report.

    In each region, every nowcaster is run at every issue time of the day, and all of them are scored over the points
    that they all know. The statistics go into the store, a page for the night and an index into the folder of reports.

    The command can be repeated at any time: days that are done are skipped, unless their radar files or settings have
    changed; a run that was killed continues where it stopped; a second run waits for the first.

    Exit status: 0 good, 1 a region failed (the others are done), 2 the configuration is wrong, 3 skill alarm.

    Examples:

        hybridcast nightly --init       # then put your radar into regions.toml
        hybridcast nightly              # every morning
        hybridcast nightly --config shipped --date 2018-05-12   # with real rain
    """
    if init:
        exit_if_wrong(lambda: write_template(Path(config), "nightly --config"))
        return
    from hybridcast.core.parallel import WorkerPool
    from hybridcast.nightly.run import plan_jobs, run

    settings = exit_if_wrong(lambda: _load(config))
    jobs = exit_if_wrong(lambda: plan_jobs(settings, date or (), region or (), force=force))
    pool = exit_if_wrong(lambda: WorkerPool(workers or settings.workers, scheduler))
    with pool:
        outcome = run(settings, jobs, pool, say)
    _report(outcome)
    raise typer.Exit(outcome.status)


def scores(
    store: Store = Path("nightly/store"),
    query: Query = None,
    region: Regions = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Show scores of the nightly store, by nowcaster and lead time; or the result of a query in SQL.

    The statistics of the days are added, and the scores computed from their sum.

    Examples:

        hybridcast scores --since 2018-05-10
        hybridcast scores --query "select date, nowcaster, sum(hits) / sum(hits + misses + false_alarms) as csi \\
            from contingency where period = 0 and lead_time = 60 and threshold = 1 group by all order by all"
    """
    from hybridcast.nightly.query import compute_score_table, query_store

    if query is not None:
        _print_rows(query_store(store, query, regions=region or (), since=since, until=until))
    else:
        _print_rows(compute_score_table(store, regions=region or (), since=since, until=until))


def exit_if_wrong(make: Callable[[], T], status: int = WRONG_CONFIGURATION) -> T:
    """Return the result of `make`; print its error, if the configuration is wrong, and exit with a status."""
    try:
        return make()
    except (InputError, DependencyError) as error:
        say(f"error: {' '.join(error.for_command_line.split())}")
        raise typer.Exit(status) from error


def _load(config: str) -> NightlySettings:
    from hybridcast.nightly.config import SHIPPED, load_config

    if config != SHIPPED and not Path(config).expanduser().exists():
        raise InputError(
            f"there is no {config}",
            "regions are configured in a TOML file",
            "Write one with 'hybridcast nightly --init', name yours with --config, or try '--config shipped'",
        )
    return load_config(config)


def write_template(path: Path, command: str) -> None:
    """Write the configuration of the package, to be edited; `command` reads it then."""
    from hybridcast.core.files import atomic_write
    from hybridcast.datasets.registry import packaged_path

    if path.exists():
        raise InputError(f"{path} exists", "nothing is overwritten", "Name another file, or remove it")
    with atomic_write(path) as part:
        part.write_text(packaged_path("regions.toml").read_text(encoding="utf-8"), encoding="utf-8")
    say(f"wrote {path}: edit it, then run 'hybridcast {command} {path}'")


def _report(outcome: Outcome) -> None:
    """Print messages, costs, the state of each night, and the name of the report."""
    import pandas as pd

    for message in (*outcome.broken, *outcome.alarms):
        say(message)
    _report_costs(outcome.costs)
    names = ("region", "date", "state", "done", "expected")
    _print_rows(pd.DataFrame([[getattr(night, name) for name in names] for night in outcome.nights], columns=names))
    for path in outcome.reports[-1:]:
        print(f"report: {path} and {path.with_name('index.html')}")


def _report_costs(costs: Costs) -> None:
    if costs.case_seconds:
        means = ", ".join(f"{name} {mean(seconds):.2f}" for name, seconds in costs.case_seconds.items())
        count = len(costs.case_seconds["statistics"])
        say(f"seconds for each issue time and nowcaster: {means} (of {count} issue times)")
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in costs.stages.items())
    memory = f"; peak memory of a process {costs.memory:.0f} MB" if costs.memory > 0 else ""
    say(f"seconds by stage: {stages}{memory}")


def _print_rows(rows: pd.DataFrame) -> None:
    """Print a table to a terminal, and lines with tabs to other programs."""
    out = Console()
    if not out.is_terminal:
        print(rows.to_csv(index=False, sep="\t", float_format="%.6g"), end="")
        return
    table = Table(*map(str, rows.columns))
    for row in rows.itertuples(index=False):
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    out.print(table)
