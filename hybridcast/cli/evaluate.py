"""The command ``evaluate``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hybridcast.cli.options import Workers, check_choice, check_suffix, out, say
from hybridcast.errors import InputError

if TYPE_CHECKING:
    from hybridcast.datasets.events import Event
    from hybridcast.nowcasters.base import Nowcaster

Output = Annotated[
    Path, typer.Option("--output", "-o", help="JSON file to write, with a Markdown file of the same name beside it.")
]
Work = Annotated[
    Path,
    typer.Option(
        help="Folder of the forecasts and of the statistics of every case; a run that was interrupted continues from "
        "them."
    ),
]
Events = Annotated[
    Path | None, typer.Option(help="TOML file with the events; by default the real events of the package.")
]
Only = Annotated[list[str] | None, typer.Option(help="Only this event or region; can be repeated.")]
Nowcasters = Annotated[
    str | None,
    typer.Option(
        "--nowcasters",
        help="Nowcasters to compare, with commas: those of 'forecast --nowcaster'; hybridcast, trained without the "
        "region of the event; no-hindcasts, the same with its weights as trained; no-network, the same without its "
        "network; and its members alone: boosting, neighbourhood, network. By default all but linda and "
        "linda-p, which are slow, scale-filter-ensemble, no-network and network. Those of pysteps use the motion of "
        "pysteps.",
    ),
]
Baseline = Annotated[str, typer.Option(help="Nowcaster that the others are compared with.")]
Cases = Annotated[int, typer.Option(min=1, help="Maximum number of issue times of an event.")]

Members = Annotated[
    int,
    typer.Option(
        min=0,
        help="Number of members of hybridcast, scale-filter-ensemble, steps and linda-p, which are then forecast for "
        "every frame of the radar, so that their sums are scored too. With 0 hybridcast has none, the others have 20, "
        "without sums.",
    ),
]

SHOWN_SCORES = (
    *("CSI 1", "CSI 1, equal area", "FSS 20 km", "Brier 1"),
    *("fair CRPS", "fair CRPS 20 km", "fair CRPS 1 h, 20 km", "spread/error 1 h, 20 km"),
)


def evaluate(
    output: Output = Path("evaluation.json"),
    work: Work = Path("evaluation"),
    events: Events = None,
    only: Only = None,
    nowcasters: Nowcasters = None,
    baseline: Baseline = "s-prog",
    cases: Cases = 12,
    members: Members = 0,
    workers: Workers = 1,
) -> None:
    """Score nowcasters on real events, all on the same points, with confidence intervals.

    The scores are CSI with frequency bias and at equal wet area, FSS, MAE, RMSE, Brier score and CRPS at 30, 60, 90 and
    120 min; over the points known to all nowcasters, and over all points. Ensembles have fair CRPS, spread against
    error, rank histograms, energy and variogram scores too, at cells, on blocks and, with --members, of sums over 30
    min, 1 h and 2 h. All events have the same weight. Differences to the baseline have a 95 % interval over event days.

    Trained nowcasters need models that were not trained on the region of an event. These models come from one
    cross-validation over groups of regions, which is done first; with all events of the package and a network it takes
    most of an hour on two cores (--workers 2), a third of it for drawing samples. A run that was interrupted continues
    when the same command is given again, and one more nowcaster costs only its own forecasts. STEPS takes about a
    minute for each case, all others together ten seconds; a worker process needs about 1 GB with STEPS and half of it
    without.

    Example:

        hybridcast evaluate --only fmi --nowcasters advection,s-prog --work scratch -o fmi.json

        hybridcast evaluate --only fmi --nowcasters hybridcast --baseline steps --members 20 -o members.json
    """
    from hybridcast.datasets.events import load_events
    from hybridcast.verification.evaluation import EvaluationSettings
    from hybridcast.verification.evaluation import evaluate as run_evaluation
    from hybridcast.verification.tables import format_markdown, summarize

    check_suffix(output, (".json",), "--output")
    names = _parse_nowcasters(nowcasters, baseline)
    all_events = load_events(events)
    selected = _select_events(all_events, only)
    models = _train_models(names, all_events, selected, work, workers)
    statistics = run_evaluation(
        selected,
        lambda event: _make_nowcasters(names, models.get(event.region)),
        work=work,
        settings=EvaluationSettings(max_cases=cases, members=members),
        workers=workers,
        progress=lambda case, done, count: say(f"{done}/{count} {case}"),
    )
    summary = summarize(statistics, baseline=baseline)
    _write(output, json.dumps(summary, indent=1))
    _write(output.with_suffix(".md"), format_markdown(summary))
    _report(summary)
    out.print(f"wrote {output} and {output.with_suffix('.md')}", highlight=False, soft_wrap=True)


def _parse_nowcasters(text: str | None, baseline: str) -> list[str]:
    """Return the names of the nowcasters to compare, the baseline among them."""
    from hybridcast.registry import NOT_BY_DEFAULT, TRAINED_NOWCASTERS, baseline_nowcasters, require_installed

    known = [*baseline_nowcasters(), *TRAINED_NOWCASTERS]
    names = [name.strip() for name in text.split(",")] if text else [n for n in known if n not in NOT_BY_DEFAULT]
    for name in (*names, baseline):
        check_choice(name, known, "--nowcasters")
    require_installed((*names, baseline))  # an error before models are trained
    return list(dict.fromkeys((*names, baseline)))


def _make_nowcasters(names: Sequence[str], model: Path | None) -> dict[str, Nowcaster]:
    """Return the nowcasters, those that are trained from the folder of a model."""
    from hybridcast.registry import baseline_nowcasters, trained_nowcaster

    untrained: dict[str, Callable[[], Nowcaster]] = baseline_nowcasters()
    made: dict[str, Nowcaster] = {}
    for name in names:
        if name in untrained:
            made[name] = untrained[name]()
        elif model is not None:
            made[name] = trained_nowcaster(name, model)
    return made


def _train_models(
    names: Sequence[str], events: list[Event], selected: list[Event], work: Path, workers: int
) -> Mapping[str, Path]:
    """Return the folder of a model for each region of the selected events, trained without that region."""
    from hybridcast.learned.training.settings import standard_settings
    from hybridcast.learned.training.train import train_without
    from hybridcast.registry import TRAINED_NOWCASTERS

    if not set(names) & set(TRAINED_NOWCASTERS):
        return {}
    regions = sorted({event.region for event in selected})
    return train_without(events, regions, work, settings=standard_settings(), workers=workers, report=say)


def _select_events(events: list[Event], names: list[str] | None) -> list[Event]:
    """Return the events with these names or regions; by default all."""
    if not names:
        return events
    known = {event.name for event in events} | {event.region for event in events}
    for name in names:
        if name not in known:
            raise InputError(
                f"--only {name!r}", "it is an event or a region", f"Choose among {', '.join(sorted(known))}"
            )
    return [event for event in events if {event.name, event.region} & set(names)]


def _write(path: Path, text: str) -> None:
    from hybridcast.core.files import atomic_write

    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def _report(summary: dict[str, Any]) -> None:
    """Print the means of a few scores as a table."""
    leads = " / ".join(f"{minutes:g}" for minutes in summary["lead_times_min"])
    nowcasters = summary["nowcasters"]
    table = Table("", *nowcasters, title=f"mean over events at {leads} min", title_justify="left")
    for name in SHOWN_SCORES:
        by_nowcaster = [summary["mean"]["source"][nowcaster].get(name, []) for nowcaster in nowcasters]
        if all(value is None for values in by_nowcaster for value in values):
            continue
        cells = ["\n".join("-" if v is None else f"{v:.3f}" for v in values) for values in by_nowcaster]
        table.add_row(name, *cells)
        table.add_section()
    out.print(table)
