"""The commands of the nightly verification: nightly, scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from hybridcast.errors import DependencyError, InputError

if TYPE_CHECKING:
    import pandas as pd

    from hybridcast.nightly.config import NightlySettings
    from hybridcast.nightly.run import Outcome

T = TypeVar("T")
WRONG_CONFIGURATION = 2


def nightly(
    config: Annotated[
        str, typer.Option("--config", "-c", help="TOML file; 'shipped' for three real regions of the package.")
    ] = "regions.toml",
    date: Annotated[
        list[str] | None,
        typer.Option(
            help="Day (UTC), or days as 2018-05-10..2018-05-20; may be given several times. By default yesterday, and "
            "for a region with 'dates' in the configuration all of them."
        ),
    ] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only this region; may be given several times.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Do days again that are done.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default as configured.")] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A dask.distributed scheduler, such as tcp://host:8786, whose workers forecast. They see the same "
            "folders as this machine.",
        ),
    ] = None,
    init: Annotated[bool, typer.Option("--init", help="Write a configuration with every key explained.")] = False,
) -> None:
    """Verify yesterday's nowcasts in every region, store the sums, write the report.

    For each region: the radar of the day is found, every nowcaster is run at every issue time, all are scored over the
    points known to all of them; the sums go into the store, a page for the night and an index into the report folder.

    It can be run again at any time: days that are done are skipped, unless their radar files or settings changed; a
    killed run goes on where it was; a second run waits for the first.

    Exit status: 0 good, 1 a region failed (the others are done), 2 the configuration is wrong, 3 skill alarm.

    Example: hybridcast nightly --init, edit regions.toml, hybridcast nightly; or, to see it work on real rain:
    hybridcast nightly --config shipped --date 2018-05-12
    """
    if init:
        _or_exit_2(lambda: _write_template(Path(config)))
        return
    from hybridcast.core.parallel import WorkerPool
    from hybridcast.nightly.run import plan_jobs, run

    settings = _or_exit_2(lambda: _load(config))
    jobs = _or_exit_2(lambda: plan_jobs(settings, date or (), region or (), force=force))
    crew = _or_exit_2(lambda: WorkerPool(workers or settings.workers, scheduler))
    with crew:
        outcome = run(settings, jobs, crew, _say)
    _tell(outcome)
    raise typer.Exit(outcome.status)


def scores(
    store: Annotated[Path, typer.Option(help="Folder of the nightly store.")] = Path("nightly/store"),
    query: Annotated[
        str | None,
        typer.Option(
            help="SQL for DuckDB. Views: nights, moments, contingency, fss, windows, reliability, spectra, ranks, "
            "case_moments, case_contingency, case_fss; all with region and date."
        ),
    ] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only this region; may be given several times.")] = None,
    since: Annotated[str | None, typer.Option(help="First day, such as 2018-05-10.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day.")] = None,
) -> None:
    """Show scores of the nightly store: sums added up over days, by nowcaster and lead time; or ask it in SQL.

    Example: hybridcast scores --since 2018-05-10 --query "select date, nowcaster, sum(hits) / sum(hits + misses +
    false_alarms) as csi from contingency where period = 0 and lead_time = 60 and threshold = 1 group by all
    order by all"
    """
    from hybridcast.nightly.query import compute_score_table, query_store

    if query is not None:
        _print_rows(query_store(store, query, regions=region or (), since=since, until=until))
    else:
        _print_rows(compute_score_table(store, regions=region or (), since=since, until=until))


# --- parts ----------------------------------------------------------------------------------------------------


def _say(line: str) -> None:
    Console(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)


def _or_exit_2(make: Callable[[], T]) -> T:
    """Return what is made; where the configuration does not allow it, say so and end with status 2."""
    try:
        return make()
    except (InputError, DependencyError) as error:
        _say(f"error: {' '.join(str(error).split())}")
        raise typer.Exit(WRONG_CONFIGURATION) from error


def _load(config: str) -> NightlySettings:
    from hybridcast.nightly.config import SHIPPED, load_config

    if config != SHIPPED and not Path(config).expanduser().exists():
        raise InputError(
            f"there is no {config}",
            "regions are configured in a TOML file",
            "Write one with 'hybridcast nightly --init', name yours with --config, or try '--config shipped'",
        )
    return load_config(config)


def _write_template(path: Path) -> None:
    from hybridcast.core.files import atomic_write
    from hybridcast.datasets.registry import packaged_path

    if path.exists():
        raise InputError(f"{path} is there", "nothing is overwritten", "Name another file with --config, or remove it")
    with atomic_write(path) as part:
        part.write_text(packaged_path("regions.toml").read_text(encoding="utf-8"), encoding="utf-8")
    _say(f"wrote {path}: edit it, then run 'hybridcast nightly --config {path}'")


def _tell(outcome: Outcome) -> None:
    """Say what was done and what it took."""
    costs = outcome.costs
    for message in (*outcome.broken, *outcome.alarms):
        _say(message)
    if costs.case_seconds:
        each = ", ".join(f"{name} {mean(times):.2f}" for name, times in costs.case_seconds.items())
        count = len(costs.case_seconds["statistics"])
        _say(f"seconds for each issue time and nowcaster: {each} (of {count} issue times)")
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in costs.stages.items())
    memory = f"; most memory of a process {costs.memory:.0f} MB" if costs.memory > 0 else ""
    _say(f"seconds by stage: {stages}{memory}")
    import pandas as pd

    names = ("region", "date", "state", "done", "expected")
    _print_rows(pd.DataFrame([[getattr(night, name) for name in names] for night in outcome.nights], columns=names))
    for path in outcome.reports[-1:]:
        print(f"report: {path} and {path.with_name('index.html')}")


def _print_rows(rows: pd.DataFrame) -> None:
    """Print a table where somebody looks, and lines with tabs for other programs."""
    out = Console()
    if not out.is_terminal:
        print(rows.to_csv(index=False, sep="\t", float_format="%.6g"), end="")
        return
    table = Table(*map(str, rows.columns))
    for row in rows.itertuples(index=False):
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    out.print(table)
