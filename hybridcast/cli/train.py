"""The command ``train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridcast.cli.options import Workers, out, say
from hybridcast.errors import InputError

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
Network = Annotated[
    bool,
    typer.Option(
        help="Train a small network too, which needs torch. It becomes part of the model only if it improves the "
        "forecasts of events that were left out."
    ),
]


def train(
    output: Output,
    archive: Archive = None,
    leave_out: LeaveOut = None,
    work: Work = Path("training"),
    rows: Rows = 400_000,
    seed: Seed = 0,
    workers: Workers = 1,
    network: Network = False,
) -> None:
    """Train a model from an archive of radar.

    The archive is a TOML file with a table for each event: name, region, and radar, a glob of files in any format that
    `hybridcast forecast` reads. With split = "day" each day of a long archive is an event. The weights of the members
    are fitted on events that the members have not learned from; the events of a region stay together, so two regions
    are better than one. Each worker process holds one event.

    Examples:

        hybridcast train --archive events.toml --out mymodel --leave-out north
        hybridcast forecast 'radar/*.h5' --nowcaster mymodel
    """
    from hybridcast.datasets.events import load_events
    from hybridcast.learned.boosting import BoostingSettings
    from hybridcast.learned.network import NetworkSettings, has_torch
    from hybridcast.learned.trained_model import save_model
    from hybridcast.learned.training.samples import Sampling
    from hybridcast.learned.training.settings import TrainingSettings
    from hybridcast.learned.training.train import train as train_model

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
    events = load_events(archive)
    model = train_model(events, work, settings=settings, leave_out=leave_out or (), workers=workers, report=say)
    save_model(model, output)
    size = sum(part.stat().st_size for part in output.expanduser().iterdir())
    out.print(f"wrote {output} ({size / 1e6:.1f} MB)", highlight=False, soft_wrap=True)
