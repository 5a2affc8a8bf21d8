"""The command line: fetch, forecast, demo and info; the other commands have their own modules."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from hybridcast._version import __version__
from hybridcast.cli.archive import archive
from hybridcast.cli.nightly import nightly, scores
from hybridcast.cli.options import check_known, check_suffix, err, out
from hybridcast.cli.options import step as doing
from hybridcast.cli.plot import plot as draw_plot
from hybridcast.cli.train_evaluate import evaluate, train
from hybridcast.errors import HybridcastError, InputError, InputWarning

if TYPE_CHECKING:
    from hybridcast.cli.demo import DemoResult
    from hybridcast.motion.estimate import MotionMethod
    from hybridcast.nowcasters.base import Nowcaster
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


# --- what options name ----------------------------------------------------------------------------------------


def _nowcaster(name: str, motion: MotionMethod, settings: Settings, thresholds: str | None) -> Nowcaster:
    """Return a nowcaster by its name, or the trained one in a folder."""
    from hybridcast.registry import nowcasters_along

    untrained = nowcasters_along(motion, settings)
    if name != "default" and not Path(name).is_dir():
        check_known({"default": None, **untrained}, name, "nowcaster")
    if name in untrained:
        if thresholds is not None:
            raise InputError(
                f"--thresholds for {name}", "only a trained model gives probabilities", "Leave it out, or --nowcaster"
            )
        return untrained[name]()
    from dataclasses import replace

    from hybridcast.fusion.hybrid import load_hybrid

    return replace(load_hybrid(name, _numbers(thresholds)), motion=motion)


def _numbers(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"--thresholds {text}", "they are numbers with commas between", "Write 0.1,1,5") from error


def _choose(choices: dict[str, Callable[[], T]], name: str, what: str) -> T:
    check_known(choices, name, what)
    return choices[name]()


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
    from hybridcast.datasets.registry import fetch as bring

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
    nowcaster: Annotated[
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
    stations: Annotated[
        list[str] | None,
        typer.Option(help="Files of gauges or stations, or a glob in quotes; may be given several times."),
    ] = None,
    nwp: Annotated[
        list[str] | None,
        typer.Option(help="Files of a model's runs (GRIB, NetCDF), or a glob; may be given several times."),
    ] = None,
    nwp_delay: Annotated[str, typer.Option(help="How long after its start a run of the model is there.")] = "3h",
    terrain: Annotated[Path | None, typer.Option(help="File of heights: GeoTIFF, NetCDF, GRIB.")] = None,
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
    """Forecast precipitation from radar files, and from stations and model fields where there are any.

    Example: hybridcast forecast 'radar/*.pgm.gz' -o forecast.nc --plot forecast.gif

    Example: hybridcast forecast 'radar/*.nc' --nwp 'arome/*.grib2' --stations gauges.csv --lead-time 3h
    """
    from hybridcast.forecasting import forecast as make
    from hybridcast.forecasting import save_forecast
    from hybridcast.nwp import open_nwp
    from hybridcast.radar import open_radar
    from hybridcast.registry import motion_methods
    from hybridcast.settings import Settings, load_settings
    from hybridcast.stations import open_stations
    from hybridcast.terrain import open_terrain

    check_suffix(output, {".nc"}, "--output")
    if plot is not None:
        check_suffix(plot, {".png", ".pdf", ".svg", ".gif", ".mp4"}, "--plot")
    chosen = load_settings(settings) if settings else Settings()
    maker = _nowcaster(nowcaster, _choose(motion_methods(chosen), motion, "motion"), chosen, thresholds)
    with doing("reading radar"):
        radar = open_radar(files, format_, strict=strict)
    with doing("reading other sources"):
        reports = open_stations(stations, strict=strict) if stations else None
        runs = open_nwp(nwp, strict=strict) if nwp else None
        heights = open_terrain(terrain, radar) if terrain else None
    with doing("forecasting"):
        result = make(
            radar,
            lead_time=lead_time,
            step=step,
            issue_time=issue_time,
            nowcaster=maker,
            device=_device(device),
            stations=reports,
            nwp=runs,
            nwp_delay=nwp_delay,
            terrain=heights,
        )
    with doing(f"writing {output}"):
        save_forecast(result, output)
    if plot is not None:
        with doing(f"drawing {plot}"):
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
    from hybridcast.cli.demo import run_demo

    _report_demo(run_demo(folder, cases=cases, step=doing))


@app.command()
def info() -> None:
    """Show versions, threads, folders and formats."""
    for title, rows in {"hybridcast": _about(), **_formats()}.items():
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)


app.command()(evaluate)
app.command()(train)
app.add_typer(archive, name="archive")
app.command()(nightly)
app.command()(scores)


# --- parts ----------------------------------------------------------------------------------------------------


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
        f"issued {issued} UTC by {result.attrs['nowcaster']}: {leads.size} lead times to +{longest} min, "
        f"{unknown:.0%} of the grid unknown at the last",
        highlight=False,
        soft_wrap=True,
    )
    for line in _sources_of(result.attrs):
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    for name in ("status", "motion_status", "fallback"):
        if result.attrs.get(name, "ok") not in {"ok", "estimated"}:
            err.print(f"[yellow]note:[/] {result.attrs[name]}", highlight=False, soft_wrap=True)
    for path in (output, plot):
        if path is not None:
            out.print(
                f"wrote {path} ({path.expanduser().stat().st_size / 1e6:.1f} MB)", highlight=False, soft_wrap=True
            )


def _sources_of(attrs: Any) -> list[str]:
    """Say what was used and what was left out, where it is more than radar and nothing."""
    told = {"sources": attrs["sources_used"], "left out": attrs["sources_left_out"]}
    lines = [f"{name}: {value}" for name, value in told.items() if value not in {"radar", "none"}]
    return [*lines, attrs["radar_adjustment"]] if "radar_adjustment" in attrs else lines


def _report_demo(result: DemoResult) -> None:
    out.print(f"rain: {result.source}", highlight=False)
    days = len({str(time)[:10] for time in result.issue_times})
    count = len(result.issue_times)
    what = f"{count} forecast{'s' * (count > 1)} on {days} day{'s' * (days > 1)}"
    out.print(f"{what}, against what then was observed:", highlight=False)
    table = Table("", "lead", "correlation", "mean absolute error", "CSI at 1 mm/h")
    for nowcaster in result.scores["nowcaster"].values:
        for lead in result.scores["lead_time"].values:
            at = result.scores.sel(nowcaster=nowcaster, lead_time=lead)
            minutes = lead.astype("timedelta64[m]").astype(int)
            table.add_row(
                str(nowcaster).partition(" (")[0],
                f"{minutes} min",
                f"{float(at.correlation):.2f}",
                f"{float(at.mean_absolute_error):.2f} mm/h",
                f"{float(at.csi):.2f}",
            )
        table.add_section()
    out.print(table)
    out.print(f"wrote {result.forecast_path} and {result.animation_path}", highlight=False, soft_wrap=True)


def _dataset_table() -> Table:
    table = Table("name", "what", "size", "licence")
    for row in _dataset_rows():
        table.add_row(*row)
    return table


def _dataset_rows() -> list[tuple[str, str, str, str]]:
    from hybridcast.datasets.registry import load_registry

    return [(name, e.title, f"{e.size / 1e6:.1f} MB", e.licence) for name, e in load_registry().items()]


def _about() -> list[tuple[str, str]]:
    import importlib.metadata
    import platform

    from hybridcast.core.device import choose_device
    from hybridcast.datasets.registry import cache_folder
    from hybridcast_kernels.parallel import threads

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    device = choose_device("auto")
    packages = ("numpy", "numba", "numba-cuda", "xarray", "opencv-python-headless", "pysteps")
    return [
        ("version", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((package, version(package)) for package in packages),
        ("threads", f"{threads()} (HYBRIDCAST_NUM_THREADS)"),
        ("device", f"{device.device}: {device.reason}"),
        ("data mirror", os.environ.get("HYBRIDCAST_DATA_MIRROR", "none (HYBRIDCAST_DATA_MIRROR)")),
        ("data cache", f"{cache_folder()} (HYBRIDCAST_CACHE)"),
    ]


def _formats() -> dict[str, list[tuple[str, str]]]:
    from hybridcast import nwp, radar, stations

    known: dict[str, Mapping[str, Any]] = {
        "radar formats": radar.formats(),
        "station formats": stations.formats(),
        "NWP formats": nwp.formats(),
    }
    return {title: [(name, one.DESCRIPTION) for name, one in found.items()] for title, found in known.items()}


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
