"""The commands about trained models: train one, evaluate it and others, lay out an archive to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hybridcast.cli.options import check_known, check_suffix, err, out, say
from hybridcast.errors import InputError

if TYPE_CHECKING:
    from hybridcast.datasets.events import Event
    from hybridcast.nowcasters.base import Nowcaster


def evaluate(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="JSON file to write; a Markdown file of the same name beside it.")
    ] = Path("evaluation.json"),
    work: Annotated[
        Path,
        typer.Option(help="Folder that keeps every forecast and the sums of every case: start again, and it goes on."),
    ] = Path("evaluation"),
    events: Annotated[
        Path | None, typer.Option(help="TOML file that lists the events; by default the real ones of the package.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this event or region; may be given several times.")
    ] = None,
    nowcasters: Annotated[
        str | None,
        typer.Option(
            help="What to compare, with commas, of those of 'forecast --nowcaster', and of hybridcast (trained without "
            "the region it is scored on), no-hindcasts (the same, its weights as learned), no-network (the same "
            "without its network), network (alone; where the model has one), boosting and neighbourhood (members of it "
            "alone). By default all but linda, which is slow, no-network and network. Those of pysteps use its motion."
        ),
    ] = None,
    baseline: Annotated[str, typer.Option(help="The nowcaster that the others are compared with.")] = "s-prog",
    cases: Annotated[int, typer.Option(min=1, help="At most so many issue times of an event.")] = 12,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes; one holds about 1 GB with steps, half of it without.")
    ] = 1,
    sources: Annotated[
        bool,
        typer.Option(
            "--sources",
            help="Instead: what other sources add, leaving out one at a time. Real gauges, real wind of a model, and "
            "pseudo-NWP (later radar, spoiled the way a model errs) to three hours.",
        ),
    ] = False,
) -> None:
    """Score nowcasters on real events, all on the same points, with intervals.

    At 30, 60, 90 and 120 min: CSI with frequency bias and at equal wet area, FSS, MAE, RMSE, Brier score, CRPS; over
    the points known to all, and over all points. Each event counts the same; differences to the baseline carry a
    95 % interval over event days.

    Trained models are made first, one without each region, from all other events of the list: about 5 min each.
    A run that was stopped goes on where it was when the same command is given again. One more nowcaster costs its own
    forecasts only. steps takes about a minute for each case, all others together ten seconds.

    Example: hybridcast evaluate --only fmi --nowcasters advection,s-prog --work scratch -o fmi.json
    """
    from hybridcast.datasets.events import load_events
    from hybridcast.registry import NOT_BY_DEFAULT, TRAINED_NOWCASTERS, baseline_nowcasters, trained_nowcaster
    from hybridcast.verification.evaluation import EvaluationSettings
    from hybridcast.verification.evaluation import evaluate as run
    from hybridcast.verification.tables import format_markdown, summarize

    check_suffix(output, {".json"}, "--output")
    if sources:
        if nowcasters is not None:
            raise InputError("--nowcasters with --sources", "what is compared is given then", "Leave out --nowcasters")
        _evaluate_sources(output, load_events(events), only, work, cases, workers)
        return
    known: dict[str, Callable[[], Nowcaster] | None] = {**baseline_nowcasters(), **dict.fromkeys(TRAINED_NOWCASTERS)}
    names = (
        [name.strip() for name in nowcasters.split(",")]
        if nowcasters
        else [name for name in known if name not in NOT_BY_DEFAULT]
    )
    for name in {*names, baseline}:
        check_known(known, name, "nowcaster")
    names += [baseline] * (baseline not in names)
    every = load_events(events)
    chosen = _only(every, only)
    folders = (
        _trained_without(every, {event.region for event in chosen}, work, workers)
        if set(names) & set(TRAINED_NOWCASTERS)
        else {}
    )

    def make_nowcasters(event: Event) -> dict[str, Nowcaster]:
        made = {name: known[name] for name in names}
        return {name: make() if make else trained_nowcaster(name, folders[event.region]) for name, make in made.items()}

    sums = run(
        chosen,
        make_nowcasters,
        work=work,
        settings=EvaluationSettings(max_cases=cases),
        workers=workers,
        progress=_say_case,
    )
    found = summarize(sums, baseline=baseline)
    _write(found, format_markdown(found), output)
    _report_evaluation(found, output)


def train(
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder of the model to write.")],
    archive: Annotated[
        Path | None,
        typer.Option(help="TOML file that lists the events to learn from; by default the real ones of the package."),
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Learn nothing from this region; may be given several times.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Folder that keeps the samples: start again, and it goes on.")] = Path(
        "training"
    ),
    rows: Annotated[int, typer.Option(min=1000, help="Samples a training uses, at most.")] = 400_000,
    seed: Annotated[int, typer.Option(help="Of all random choices.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw samples; each holds one event.")] = 1,
    network: Annotated[
        bool,
        typer.Option(
            help="Train a small network too, which needs torch. It is kept in the model only if events left out gain."
        ),
    ] = False,
) -> None:
    """Train a model from an archive of radar.

    The archive is a TOML file with a table for each event: name, region, and radar, a glob of files of any format that
    'hybridcast forecast' reads. With split = "day" each day of a long archive is an event. Events of one region are
    kept together when weights are fitted on events that the members have not seen: two regions are better than one.

    Use the model with: hybridcast forecast --nowcaster MODEL ...

    Example: hybridcast train --archive events.toml --out mymodel --leave-out north
    """
    from hybridcast.datasets.events import load_events
    from hybridcast.learned.boosting import BoostingSettings
    from hybridcast.learned.network import NetworkSettings, has_torch
    from hybridcast.learned.trained_model import save_model
    from hybridcast.learned.training.samples import Sampling
    from hybridcast.learned.training.settings import TrainingSettings
    from hybridcast.learned.training.train import train as run

    if not output.expanduser().parent.is_dir():
        raise InputError(f"--out {output}", "the folder it goes into exists", f"Create {output.parent}")
    if network and not has_torch():
        raise InputError(
            "torch is not installed", "the network needs it", "pip install 'hybridcast[network]', or leave it out"
        )
    settings = TrainingSettings(
        sampling=Sampling(seed=seed),
        boosting=BoostingSettings(seed=seed),
        rows=rows,
        network=NetworkSettings(seeds=(seed, seed + 1)) if network else None,
    )
    model = run(load_events(archive), work, settings=settings, leave_out=leave_out or (), workers=workers, report=say)
    save_model(model, output)
    size = sum(part.stat().st_size for part in output.expanduser().iterdir())
    out.print(f"wrote {output} ({size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)


# --- parts ----------------------------------------------------------------------------------------------------


def _evaluate_sources(
    output: Path, every: list[Event], only: list[str] | None, work: Path, cases: int, workers: int
) -> None:
    """Run the three ablations, and write one file of them."""
    from ablation.gauges import REGIONS, gauge_ablation, gauge_lines
    from ablation.pseudo import pseudo_ablation, pseudo_lines
    from ablation.wind import wind_ablation, wind_lines

    from hybridcast.datasets.events import load_events

    chosen = _only(every, only)
    folders = _trained_without(every, {event.region for event in chosen}, work, workers)
    own = _trained_without(load_events(), REGIONS, work, workers)
    found = {
        "pseudo_nwp": pseudo_ablation(chosen, folders, work=work, cases=cases, workers=workers, progress=_say_case),
        "gauges": gauge_ablation(own, progress=_say_case),
        "wind": wind_ablation(),
    }
    lines = ["# What other sources add", "", "## Pseudo-NWP", "", *pseudo_lines(found["pseudo_nwp"])]
    lines += ["## Gauges", "", *gauge_lines(found["gauges"]), "", "## Wind of a model", "", *wind_lines(found["wind"])]
    _write(_rounded(found), "\n".join(lines) + "\n", output, indent=None)
    out.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    out.print(f"wrote {output} and {output.with_suffix('.md')}", highlight=False, soft_wrap=True)


def _rounded(value: Any) -> Any:
    """Round all numbers to five decimals: there are a great many."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


def _write(found: dict[str, Any], text: str, output: Path, indent: int | None = 1) -> None:
    """Write JSON, and Markdown beside it."""
    import json

    from hybridcast.core.files import atomic_write

    for path, content in ((output, json.dumps(found, indent=indent)), (output.with_suffix(".md"), text)):
        with atomic_write(path) as part:
            part.write_text(content, encoding="utf-8")


def _trained_without(every: list[Event], regions: Iterable[str], work: Path, workers: int) -> dict[str, Path]:
    from hybridcast.learned.training.train import train_without

    return train_without(every, sorted(regions), work, workers=workers, report=say)


def _only(events: list[Any], names: list[str] | None) -> list[Any]:
    """Select events by name or region."""
    if not names:
        return events
    known = {event.name for event in events} | {event.region for event in events}
    for name in names:
        if name not in known:
            raise InputError(
                f"--only {name!r}", "it is an event or a region", f"Choose among {', '.join(sorted(known))}"
            )
    return [event for event in events if {event.name, event.region} & set(names)]


def _say_case(what: str, done: int, count: int) -> None:
    err.print(f"{done}/{count} {what}", highlight=False, markup=False, soft_wrap=True)


def _report_evaluation(found: dict[str, Any], output: Path) -> None:
    leads = " / ".join(f"{minutes:g}" for minutes in found["lead_times_min"])
    table = Table("", *found["nowcasters"], title=f"mean over events at {leads} min", title_justify="left")
    for name in ("CSI 1", "CSI 1, equal area", "FSS 20 km", "Brier 1"):
        scored = [found["mean"]["source"][nowcaster][name] for nowcaster in found["nowcasters"]]
        table.add_row(name, *("\n".join("-" if v is None else f"{v:.3f}" for v in values) for values in scored))
        table.add_section()
    out.print(table)
    out.print(f"wrote {output} and {output.with_suffix('.md')}", highlight=False, soft_wrap=True)
