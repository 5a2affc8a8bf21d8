"""The command line: fetch, forecast, train, evaluate, demo, info; plot, nightly and scores have their own modules."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import hybridcast
from hybridcast.cli_nightly import nightly, scores
from hybridcast.cli_plot import plot as draw_plot
from hybridcast.errors import HybridcastError, InputError, InputWarning

if TYPE_CHECKING:
    from hybridcast.demo import DemoResult
    from hybridcast.events import Event
    from hybridcast.motion import MotionMethod
    from hybridcast.nowcasters import Nowcaster
    from hybridcast.settings import Settings
    from hybridcast_kernels.devices import Device

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Precipitation nowcasting: from radar files to a forecast of the next two hours.",
)
out = Console()
err = Console(stderr=True)


# --- what options name ----------------------------------------------------------------------------------------


def _nowcaster(model: str, motion: MotionMethod, settings: Settings, thresholds: str | None) -> Nowcaster:
    """Give a nowcaster by its name, or the trained one in a folder."""
    from hybridcast.names import models_along

    models = models_along(motion, settings)
    if model != "default" and not Path(model).is_dir():
        _check_known({"default": None, **models}, model, "model")
    if model in models:
        if thresholds is not None:
            raise InputError(
                f"--thresholds for {model}", "only a trained model gives probabilities", "Leave it out, or --model"
            )
        return models[model]()
    from dataclasses import replace

    from hybridcast.fusion import trained

    return replace(trained(model, _numbers(thresholds)), motion=motion)


def _numbers(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"--thresholds {text}", "they are numbers with commas between", "Write 0.1,1,5") from error


def _choose(choices: dict[str, Callable[[], T]], name: str, what: str) -> T:
    _check_known(choices, name, what)
    return choices[name]()


def _check_known(choices: Iterable[str], name: str, what: str) -> None:
    if name not in choices:
        raise InputError(f"{what} {name!r}", f"the {what} is a known one", f"Choose one of {', '.join(choices)}")


def _device(name: str) -> Device:
    choices: dict[str, Callable[[], Device]] = {"auto": lambda: "auto", "cpu": lambda: "cpu", "cuda": lambda: "cuda"}
    return _choose(choices, name, "device")


# --- commands -------------------------------------------------------------------------------------------------


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and what happens inside.")] = False,
) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("numba").setLevel(logging.WARNING)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


@app.command()
def fetch(
    name: Annotated[str | None, typer.Argument(help="Name of a data set; --list shows them.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the data sets, with licence and size.")] = False,
    radar_only: Annotated[bool, typer.Option("--radar-only", help="Print only the files of one radar field.")] = False,
) -> None:
    """Bring a real event: download it once, check it, and print where its files are.

    A folder named by HYBRIDCAST_DATA_MIRROR is looked at first; downloads are kept in HYBRIDCAST_CACHE.

    Example: hybridcast fetch fmi-20170509
    """
    from hybridcast.datasets import fetch as bring

    if list_ or name is None:
        if out.is_terminal:
            out.print(_dataset_table())
        else:  # for other programs: a line each, whatever its width
            for row in _dataset_rows():
                print(*row, sep="\t")
        return
    for path in bring(name, radar_only=radar_only):
        print(path)


@app.command()
def forecast(
    files: Annotated[
        list[str], typer.Argument(help="Radar files, or a glob in quotes; any order.", metavar="FILES...")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="NetCDF file to write.")] = Path("forecast.nc"),
    plot: Annotated[
        Path | None, typer.Option(help="Picture to write: .png, .pdf, .svg; .gif or .mp4 for a film.")
    ] = None,
    lead_time: Annotated[str, typer.Option(help="How far ahead, such as 2h or 90min.")] = "2h",
    step: Annotated[str | None, typer.Option(help="From one lead time to the next; by default the radar's.")] = None,
    issue_time: Annotated[
        str | None,
        typer.Option(help="UTC, such as 2017-05-09T12:00; by default the last frame. Nothing later is used."),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="Format of the files; by default told from their content.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="default (trained, comes with the package), the folder of a model made by 'hybridcast train', "
            "advection, scales, persistence; by pysteps: extrapolation, s-prog, anvil, linda, steps."
        ),
    ] = "default",
    thresholds: Annotated[
        str | None,
        typer.Option(help="Rates (mm/h) whose probabilities a trained model gives, with commas; by default 0.1,1,5."),
    ] = None,
    motion: Annotated[
        str, typer.Option(help="dense, dis; by pysteps: lucaskanade, vet, darts, proesmans, farneback.")
    ] = "dense",
    device: Annotated[str, typer.Option(help="auto (a GPU if one works), cpu or cuda.")] = "auto",
    settings: Annotated[
        Path | None, typer.Option(help="TOML file with the tables \\[motion], \\[advection] and \\[scales].")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at an unreadable file instead of leaving it out.")
    ] = False,
) -> None:
    """Forecast precipitation from radar files.

    Example: hybridcast forecast 'radar/*.pgm.gz' -o forecast.nc --plot forecast.gif
    """
    from hybridcast.forecasting import forecast as make
    from hybridcast.forecasting import save_forecast
    from hybridcast.names import motions
    from hybridcast.radar import open_radar
    from hybridcast.settings import Settings, load_settings

    _check_suffix(output, {".nc"}, "--output")
    if plot is not None:
        _check_suffix(plot, {".png", ".pdf", ".svg", ".gif", ".mp4"}, "--plot")
    chosen = load_settings(settings) if settings else Settings()
    nowcaster = _nowcaster(model, _choose(motions(chosen), motion, "motion"), chosen, thresholds)
    with _step("reading radar"):
        radar = open_radar(files, format_, strict=strict)
    with _step("forecasting"):
        result = make(
            radar, lead_time=lead_time, step=step, issue_time=issue_time, model=nowcaster, device=_device(device)
        )
    with _step(f"writing {output}"):
        save_forecast(result, output)
    if plot is not None:
        with _step(f"drawing {plot}"):
            _draw(result, plot)
    _report(result, output, plot)


app.command("plot")(draw_plot)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder for the forecast and the film.")] = Path("out"),
    cases: Annotated[int, typer.Option(min=1, help="How many forecasts to make and score.")] = 8,
) -> None:
    """Forecast the stormiest hours of a real archive, and compare with what then happened.

    Eleven days of German radar are fetched through pip (10 MB are kept). Without a network a small simulated scene
    is used instead, and said so.
    """
    from hybridcast.demo import run_demo

    _report_demo(run_demo(folder, cases=cases, step=_step))


@app.command()
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
    models: Annotated[
        str | None,
        typer.Option(
            help="What to compare, with commas, of those of 'forecast --model', and of hybridcast (trained without the "
            "region it is scored on), no-hindcasts (the same, its weights as learned), no-network (the same without "
            "its network), network (alone; where the model has one), boosting and neighbourhood (members of it alone). "
            "By default all but linda, which is slow, no-network and network. Those of pysteps use its motion."
        ),
    ] = None,
    baseline: Annotated[str, typer.Option(help="The model that the others are compared with.")] = "s-prog",
    cases: Annotated[int, typer.Option(min=1, help="At most so many issue times of an event.")] = 12,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes; one holds about 1 GB with steps, half of it without.")
    ] = 1,
) -> None:
    """Score nowcasters on real events, all on the same points, with intervals.

    At 30, 60, 90 and 120 min: CSI with frequency bias and at equal wet area, FSS, MAE, RMSE, Brier score, CRPS; over
    the points known to all, and over all points. Each event counts the same; differences to the baseline carry a
    95 % interval over event days.

    Trained models are made first, one without each region, from all other events of the list: about 5 min each.
    A run that was stopped goes on where it was when the same command is given again. One more model costs its own
    forecasts only. steps takes about a minute for each case, all others together ten seconds.

    Example: hybridcast evaluate --only fmi --models advection,s-prog --work scratch -o fmi.json
    """
    import json

    from hybridcast.evaluation import EvaluationSettings
    from hybridcast.evaluation import evaluate as run
    from hybridcast.events import load_events
    from hybridcast.files import written_whole
    from hybridcast.names import LEARNED, NOT_BY_DEFAULT, compared, learned
    from hybridcast.verification.tables import markdown, summary

    _check_suffix(output, {".json"}, "--output")
    known: dict[str, Callable[[], Nowcaster] | None] = {**compared(), **dict.fromkeys(LEARNED)}
    names = (
        [name.strip() for name in models.split(",")]
        if models
        else [name for name in known if name not in NOT_BY_DEFAULT]
    )
    for name in {*names, baseline}:
        _check_known(known, name, "model")
    names += [baseline] * (baseline not in names)
    every = load_events(events)
    chosen = _only(every, only)
    folders = _trained_without(every, chosen, work, workers) if set(names) & set(LEARNED) else {}

    def nowcasters(event: Event) -> dict[str, Nowcaster]:
        made = {name: known[name] for name in names}
        return {name: make() if make else learned(name, folders[event.region]) for name, make in made.items()}

    sums = run(
        chosen,
        nowcasters,
        work=work,
        settings=EvaluationSettings(cases=cases),
        workers=workers,
        progress=_say_case,
    )
    found = summary(sums, baseline=baseline)
    for path, text in ((output, json.dumps(found, indent=1)), (output.with_suffix(".md"), markdown(found))):
        with written_whole(path) as part:
            part.write_text(text, encoding="utf-8")
    _report_evaluation(found, output)


@app.command()
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
    ] = True,
) -> None:
    """Train a model from an archive of radar.

    The archive is a TOML file with a table for each event: name, region, and radar, a glob of files of any format that
    'hybridcast forecast' reads. With split = "day" each day of a long archive is an event. Events of one region are
    kept together when weights are fitted on events that the members have not seen: two regions are better than one.

    Use the model with: hybridcast forecast --model MODEL ...

    Example: hybridcast train --archive events.toml --out mymodel --leave-out north
    """
    from hybridcast.events import load_events
    from hybridcast.learned.boosting import BoostingSettings
    from hybridcast.learned.model import save_model
    from hybridcast.learned.network import NetworkSettings, torch_is_there
    from hybridcast.learned.samples import Sampling
    from hybridcast.learned.training import TrainingSettings
    from hybridcast.learned.training import train as run

    if not output.expanduser().parent.is_dir():
        raise InputError(f"--out {output}", "the folder it goes into exists", f"Create {output.parent}")
    if network and not torch_is_there():
        raise InputError(
            "torch is not installed", "the network needs it", "pip install 'hybridcast[network]', or add --no-network"
        )
    settings = TrainingSettings(
        sampling=Sampling(seed=seed),
        boosting=BoostingSettings(seed=seed),
        rows=rows,
        network=NetworkSettings(seeds=(seed, seed + 1)) if network else None,
    )
    model = run(load_events(archive), work, settings=settings, leave_out=leave_out or (), workers=workers, report=_say)
    save_model(model, output)
    size = sum(part.stat().st_size for part in output.expanduser().iterdir())
    out.print(f"wrote {output} ({size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)


@app.command()
def info() -> None:
    """Show versions, threads, folders and formats."""
    for title, rows in (("hybridcast", _about()), ("radar formats", _formats())):
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)


app.command()(nightly)
app.command()(scores)


def _say(line: str) -> None:
    err.print(line, highlight=False, soft_wrap=True)


def _trained_without(every: list[Event], chosen: list[Event], work: Path, workers: int) -> dict[str, Path]:
    from hybridcast.learned.training import train_without

    return train_without(every, sorted({e.region for e in chosen}), work, workers=workers, report=_say)


# --- parts ----------------------------------------------------------------------------------------------------


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Show what is being done, where somebody looks."""
    with err.status(what) if err.is_terminal else nullcontext():
        yield


def _check_suffix(path: Path, suffixes: set[str], option: str) -> None:
    if path.suffix.lower() not in suffixes:
        better = path.with_suffix(min(suffixes)) if path.name else path / f"forecast{min(suffixes)}"
        raise InputError(f"{option} {path}", f"it ends in {', '.join(sorted(suffixes))}", f"Write {better}")
    if not path.expanduser().parent.is_dir():
        raise InputError(f"{option} {path}", "its folder exists", f"Create {path.expanduser().parent}")


def _draw(result: Any, path: Path) -> None:
    from hybridcast.plots import animate_forecast, plot_forecast, save_figure

    if path.suffix.lower() in {".gif", ".mp4"}:
        animate_forecast(result, path)
    else:
        save_figure(plot_forecast(result), path)


def _report(result: Any, output: Path, plot: Path | None) -> None:
    issued = str(result["reference_time"].values)[:16].replace("T", " ")
    leads = result["lead_time"].values
    longest = leads[-1].astype("timedelta64[m]").astype(int)
    unknown = float(result["unknown_fraction"][-1])
    out.print(
        f"issued {issued} UTC by {result.attrs['model']}: {leads.size} lead times to +{longest} min, "
        f"{unknown:.0%} of the grid unknown at the last",
        highlight=False,
        soft_wrap=True,
    )
    for name in ("status", "motion_status", "fallback"):
        if result.attrs.get(name, "ok") not in {"ok", "estimated"}:
            err.print(f"[yellow]note:[/] {result.attrs[name]}", highlight=False, soft_wrap=True)
    for path in (output, plot):
        if path is not None:
            out.print(
                f"wrote {path} ({path.expanduser().stat().st_size / 1e6:.1f} MB)", highlight=False, soft_wrap=True
            )


def _report_demo(result: DemoResult) -> None:
    out.print(f"rain: {result.source}", highlight=False)
    days = len({str(time)[:10] for time in result.issue_times})
    count = len(result.issue_times)
    what = f"{count} forecast{'s' * (count > 1)} on {days} day{'s' * (days > 1)}"
    out.print(f"{what}, against what then was observed:", highlight=False)
    table = Table("", "lead", "correlation", "mean absolute error", "CSI at 1 mm/h")
    for model in result.scores["model"].values:
        for lead in result.scores["lead_time"].values:
            at = result.scores.sel(model=model, lead_time=lead)
            minutes = lead.astype("timedelta64[m]").astype(int)
            table.add_row(
                str(model).partition(" (")[0],
                f"{minutes} min",
                f"{float(at.correlation):.2f}",
                f"{float(at.mean_absolute_error):.2f} mm/h",
                f"{float(at.csi):.2f}",
            )
        table.add_section()
    out.print(table)
    out.print(f"wrote {result.forecast_path} and {result.animation_path}", highlight=False, soft_wrap=True)


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
    table = Table("", *found["models"], title=f"mean over events at {leads} min", title_justify="left")
    for name in ("CSI 1", "CSI 1, equal area", "FSS 20 km", "Brier 1"):
        scored = [found["mean"]["source"][model][name] for model in found["models"]]
        table.add_row(name, *("\n".join("-" if v is None else f"{v:.3f}" for v in values) for values in scored))
        table.add_section()
    out.print(table)
    out.print(f"wrote {output} and {output.with_suffix('.md')}", highlight=False, soft_wrap=True)


def _dataset_table() -> Table:
    table = Table("name", "what", "size", "licence")
    for row in _dataset_rows():
        table.add_row(*row)
    return table


def _dataset_rows() -> list[tuple[str, str, str, str]]:
    from hybridcast.datasets import registry

    return [(name, e.title, f"{e.size / 1e6:.1f} MB", e.licence) for name, e in registry().items()]


def _about() -> list[tuple[str, str]]:
    import importlib.metadata
    import platform

    from hybridcast.datasets import cache_folder
    from hybridcast.device import chosen
    from hybridcast_kernels.parallel import threads

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    device = chosen("auto")
    packages = ("numpy", "numba", "numba-cuda", "xarray", "opencv-python-headless", "pysteps")
    return [
        ("version", hybridcast.__version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((package, version(package)) for package in packages),
        ("threads", f"{threads()} (HYBRIDCAST_NUM_THREADS)"),
        ("device", f"{device.device}: {device.reason}"),
        ("data mirror", os.environ.get("HYBRIDCAST_DATA_MIRROR", "none (HYBRIDCAST_DATA_MIRROR)")),
        ("data cache", f"{cache_folder()} (HYBRIDCAST_CACHE)"),
    ]


def _formats() -> list[tuple[str, str]]:
    from hybridcast.radar import formats

    return [(name, reader.DESCRIPTION) for name, reader in formats().items()]


def main() -> None:
    """Run the command line; errors are one line with a remedy, a traceback only with --debug."""
    debug = "--debug" in sys.argv
    warnings.showwarning = _show_warning
    if not debug:
        warnings.simplefilter("ignore")
    warnings.simplefilter("always", InputWarning)
    try:
        app()
    except HybridcastError as error:
        _fail(error, str(error), debug)
    except OSError as error:
        _fail(error, f"{error}; a file could not be read or written. Check the disk and its permissions", debug)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _fail(
            error,
            f"unexpected {type(error).__name__}: {error}. Run again as 'hybridcast --debug ...' and report it",
            debug,
        )


def _fail(error: Exception, message: str, debug: bool) -> None:
    if debug:
        raise error
    err.print("[red]error:[/] ", end="")
    err.print(" ".join(message.split()), highlight=False, markup=False, soft_wrap=True)
    sys.exit(1)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    err.print("[yellow]note:[/] ", end="")
    err.print(" ".join(str(message).split()), highlight=False, markup=False, soft_wrap=True)
