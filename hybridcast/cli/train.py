"""The command ``train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridcast.cli.options import Workers, check_choice, out, say
from hybridcast.errors import InputError

if TYPE_CHECKING:
    from hybridcast.datasets.events import Event

Output = Annotated[Path, typer.Option("--out", "-o", help="Folder of the trained model to write.")]
Archive = Annotated[
    Path | None,
    typer.Option(help="TOML file with the events to learn from; by default the real events of the package."),
]
LeaveOut = Annotated[
    list[str] | None, typer.Option(help="Region whose events are not used for training; can be repeated.")
]
Work = Annotated[Path, typer.Option(help="Folder of the samples; a training that was interrupted continues from them.")]
Rows = Annotated[int, typer.Option(min=1000, help="Maximum number of samples.")]
Seed = Annotated[int, typer.Option(help="Seed of all random choices.")]
Licences = Annotated[
    str,
    typer.Option(help="verified: only events of data sets whose licence is known for certain; or any."),
]
Network = Annotated[
    bool | None,
    typer.Option(
        help="Train a small network too, which needs torch; by default if torch is installed. It becomes part of the "
        "model only if it improves the forecasts of events that were left out.",
        show_default=False,
    ),
]


def train(
    output: Output,
    archive: Archive = None,
    leave_out: LeaveOut = None,
    work: Work = Path("training"),
    rows: Rows = 600_000,
    seed: Seed = 0,
    workers: Workers = 1,
    network: Network = None,
    licences: Licences = "any",
) -> None:
    """Train a model from an archive of radar.

    The archive is a TOML file with a table for each event: name, region, and radar, a glob of files in any format that
    `hybridcast forecast` reads. With split = "day" each day of a long archive is an event. The weights of the members
    are fitted on events that the members have not learned from; the events of a region stay together, so two regions
    are better than one. Each event is learned from twice, once varied as another radar network would have seen it. Each
    worker process holds one event.

    Examples:

        hybridcast train --archive events.toml --out mymodel --leave-out north
        hybridcast forecast 'radar/*.h5' --nowcaster mymodel
    """
    from hybridcast.datasets.events import load_events
    from hybridcast.learned.trained_model import save_model
    from hybridcast.learned.training.optimisation import has_torch
    from hybridcast.learned.training.settings import standard_settings
    from hybridcast.learned.training.train import train as train_model

    if not output.expanduser().parent.is_dir():
        raise InputError(f"--out {output}", "the folder it goes into exists", f"Create {output.parent}")
    check_choice(licences, ("any", "verified"), "--licences")
    if network and not has_torch():
        raise InputError(
            "torch is not installed", "the network needs it", "pip install 'hybridcast[network]', or give --no-network"
        )
    settings = standard_settings(seed=seed, rows=rows, network=network)
    events = _with_licences(load_events(archive), licences)
    model = train_model(events, work, settings=settings, leave_out=leave_out or (), workers=workers, report=say)
    save_model(model, output)
    size = sum(part.stat().st_size for part in output.expanduser().iterdir())
    out.print(f"wrote {output} ({size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)


def _with_licences(events: list[Event], licences: str) -> list[Event]:
    """Return the events whose licence is verified, or all."""
    if licences == "any":
        return events
    kept = [event for event in events if event.licence_source]
    if not kept:
        raise InputError(
            f"--licences verified: none of {len(events)} events",
            "a licence is verified if the registry of data sets says how it is known",
            "Give --licences any for archives of your own",
        )
    left_out = sorted({event.region for event in events} - {event.region for event in kept})
    say(f"{len(events) - len(kept)} events without a verified licence are left out (regions: {', '.join(left_out)})")
    return kept
