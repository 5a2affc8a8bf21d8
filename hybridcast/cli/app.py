"""The application: all commands in the order of the work, and how errors are shown."""

from __future__ import annotations

import gc
import io
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from hybridcast.cli.archive import archive
from hybridcast.cli.evaluate import evaluate
from hybridcast.cli.forecast import forecast
from hybridcast.cli.getting_started import demo, fetch, info
from hybridcast.cli.map import map_, serve
from hybridcast.cli.nightly import nightly, scores
from hybridcast.cli.options import err
from hybridcast.cli.places import places
from hybridcast.cli.plot import plot
from hybridcast.cli.train import train
from hybridcast.cli.warm import warm
from hybridcast.cli.watch import status, watch
from hybridcast.errors import HybridcastError, InputWarning

COLLECT_AFTER = 50_000
"""Number of new objects after which those in cycles are looked for. With the default of 700 a quarter of the time of
imports goes into looking through what they have just made."""

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and log messages.")] = False,
) -> None:
    """Precipitation nowcasting: from radar files to a forecast of the next two hours.

    From radar to a forecast and a picture of it:

        hybridcast forecast 'radar/*.h5' -o forecast.nc
        hybridcast plot forecast.nc -o forecast.png
        hybridcast places forecast.nc --places places.toml -o places.csv
        hybridcast map forecast.nc -o out

    From an archive to a trained model of your own, its skill, and a forecast with it:

        hybridcast archive generic archive --radar 'radar/**/*.h5' --region north
        hybridcast train --archive archive/events.toml --out mymodel
        hybridcast evaluate --events archive/events.toml --nowcasters s-prog,hybridcast
        hybridcast forecast 'radar/*.h5' --nowcaster mymodel

    All the time, a forecast of each frame as it comes:

        hybridcast watch --init
        hybridcast watch regions.toml
        hybridcast status regions.toml

    Every night, the skill of yesterday's forecasts:

        hybridcast nightly --init
        hybridcast nightly

    `hybridcast COMMAND --help` explains a command.
    """
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("numba").setLevel(logging.WARNING)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Forecast": (forecast, plot, places, map_),
    "Try it": (demo, fetch, info, warm),
    "Train and evaluate": (train, evaluate),
    "All the time": (watch, status, serve),
    "Every night": (nightly, scores),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(_command.__name__.rstrip("_"), rich_help_panel=_panel)(_command)
app.add_typer(archive, name="archive", rich_help_panel="Train and evaluate")


def main() -> None:
    """Run the command line. An error is one line with a remedy, with a traceback only after ``--debug``."""
    debug = "--debug" in sys.argv
    gc.set_threshold(COLLECT_AFTER)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that the encoding of the terminal lacks
    warnings.showwarning = _show_warning
    if not debug:
        warnings.simplefilter("ignore")
    warnings.simplefilter("always", InputWarning)
    try:
        app()
    except HybridcastError as error:
        _fail(error, error.for_command_line, debug)
    except OSError as error:
        _fail(error, f"{error}; a file could not be read or written. Check the disk and its permissions", debug)
    except MemoryError as error:
        _fail(error, "not enough memory. Choose fewer lead times (--lead-time, --step), or a larger machine", debug)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        _fail(
            error,
            f"unexpected {type(error).__name__}: {error}. Run again as 'hybridcast --debug ...' and report it",
            debug,
        )
    finally:
        gc.freeze()  # the end of the process frees its memory, there is nothing to look through


def _fail(error: Exception, message: str, debug: bool) -> None:
    if debug:
        raise error
    err.print("[red]error:[/] ", end="")
    err.print(" ".join(message.split()), highlight=False, markup=False, soft_wrap=True)
    sys.exit(1)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    err.print("[yellow]note:[/] ", end="")
    text = message.for_command_line if isinstance(message, InputWarning) else str(message)
    err.print(" ".join(text.split()), highlight=False, markup=False, soft_wrap=True)
