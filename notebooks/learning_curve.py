"""The learning curve: chances of rain on networks left out, by the number of days that are learned from.

Members are trained on 4, 16 and 64 days (``--sizes`` for others), always with a varied copy of each, and forecast the
events of FMI, KNMI, MeteoNet and OpenRainER, none of whose radar is among the days. Days are drawn region by region in
turn, at random within each, so that each set contains those before it. The blend is the mean of the log odds of scale
filter, trees and network, because its weights would need networks left out of the days too. Trained members
are kept in the folder of ``--work``, and a run continues with the sizes that are missing. Writes
``learning_curve.json`` beside this file, the picture and the table of ``results/learning_curve.md``:

    python notebooks/learning_curve.py --work scratch
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from evaluation import write_between_marks

from hybridcast.core.files import atomic_write
from hybridcast.datasets.events import SPACING, Event, load_events
from hybridcast.learned.blend import Blend
from hybridcast.learned.trained_model import TrainedModel, load_model, save_model
from hybridcast.learned.training.brier_scores import compute_brier_scores
from hybridcast.learned.training.cross_validation import forecast_samples, train_members, training_digest
from hybridcast.learned.training.event_samples import EventSamples, load_event_samples
from hybridcast.learned.training.settings import TrainingSettings, standard_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "learning_curve.json", HERE / "results" / "learning_curve.md"
LEFT_OUT = ("fmi", "knmi", "meteonet", "openrainer")
SIZES = (4, 16, 64)
"""Numbers of days; 0 for all."""
MEMBERS = {"scale-filter": "scale filter", "boosting": "trees", "network": "network", "blend": "mean of the three"}
THRESHOLDS, LEADS = ("0.1", "1", "5"), ("30", "60", "120")
DRAWS, LEVEL = 2000, 0.9
"""Resampled sets of events, and the probability that their interval covers."""


def take_turns(events: Sequence[Event], seed: int) -> list[Event]:
    """Return events in random order, the regions in turn as long as they have any."""
    generator = np.random.default_rng(seed)
    regions = sorted({event.region for event in events})
    queues = {region: [event for event in events if event.region == region] for region in regions}
    shuffled = {region: [queue[k] for k in generator.permutation(len(queue))] for region, queue in queues.items()}
    longest = max(map(len, shuffled.values()))
    return [queue[turn] for turn in range(longest) for queue in shuffled.values() if turn < len(queue)]


def train_on(events: Sequence[EventSamples], settings: TrainingSettings, folder: Path) -> TrainedModel:
    """Return the members that learn from events, trained or from the folder."""
    path = folder / f"curve-{training_digest([one.event for one in events], settings)}"
    if not path.exists():
        names = ("scale-filter", "boosting", "network")
        members = train_members(events, settings, names)
        save_model(TrainedModel(members, (Blend.equal(tuple(members), settings.thresholds),), SPACING), path)
    return load_model(path)


def score(model: TrainedModel, events: Sequence[EventSamples]) -> dict[str, Any]:
    """Return the Brier scores of the members and of their mean for each event, see `compute_brier_scores`."""
    (blend,) = model.blends
    found = {}
    for one in events:
        scores = compute_brier_scores(blend, forecast_samples(dict(model.members), [one]).all_rows)
        named = {("blend" if name.startswith("blend") else name): values for name, values in scores.items()}
        found[one.name] = named | {"weight": float(one.weight.sum())}
    return found


def measure(sizes: Iterable[int], work: Path, workers: int) -> dict[str, Any]:
    """Return what was trained and the scores of the events left out, for each size."""
    settings = standard_settings(seed=0)

    def load(events: Sequence[Event]) -> list[EventSamples]:
        return load_event_samples(events, work, settings, workers, lambda text: print(text, flush=True))

    events = load_events()
    with_rain = {one.event for one in load(events)}
    tested = [one for one in load([event for event in events if event.region in LEFT_OUT]) if not one.varied]
    order = take_turns([one for one in events if one in with_rain and one.region not in LEFT_OUT], seed=0)
    folder = work / "models"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"tested": [one.name for one in tested], "sizes": []}
    for size in sizes:
        chosen = order[: size or len(order)]
        model = train_on(load(chosen), settings, folder)
        regions = [event.region for event in chosen]
        found["sizes"].append(
            {
                "days": len(chosen),
                "regions": {name: regions.count(name) for name in sorted(set(regions))},
                "scores": score(model, tested),
            }
        )
        print(f"{len(chosen)} days: {summarize_size(found['sizes'][-1])}", flush=True)
    return found


def summarize_size(size: dict[str, Any]) -> str:
    """Return a line of Brier scores at 1 mm/h."""
    return "; ".join(f"{name} " + "/".join(f"{pool(size, name, '1', lead):.4f}" for lead in LEADS) for name in MEMBERS)


# --- scores ---------------------------------------------------------------------------------------------------


def pool(size: Mapping[str, Any], name: str, threshold: str, lead: str) -> float:
    """Return the Brier score of all events together."""
    scores, weights = tabulate(size, name, threshold, lead)
    return float(np.average(scores, weights=weights))


def tabulate(size: Mapping[str, Any], name: str, threshold: str, lead: str) -> tuple[Any, Any]:
    """Return the Brier score and the weight of each event; both are 0 of one without the lead time."""
    events = size["scores"].values()
    scores = np.array([one[name][lead][threshold] if lead in one[name] else 0.0 for one in events])
    return scores, np.array([one["weight"] if lead in one[name] else 0.0 for one in events])


def compare(size: Mapping[str, Any], reference: Mapping[str, Any], name: str, threshold: str) -> tuple[float, ...]:
    """Return the gain over the scale filter that learned from the most days, mean over lead times, with its interval.

    The interval is that of resampled events, each with all its forecasts.
    """
    count = len(size["scores"])
    drawn = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    drawn = np.concatenate([np.arange(count)[None], drawn])
    ratios = []
    for lead in LEADS:
        scores, weights = tabulate(size, name, threshold, lead)
        base, _ = tabulate(reference, "scale-filter", threshold, lead)
        with np.errstate(invalid="ignore"):  # a draw may have no event with such a lead time, or such rain
            ratios.append((scores * weights)[drawn].sum(1) / (base * weights)[drawn].sum(1))
    gain = 1 - np.nanmean(ratios, axis=0)
    low, high = np.nanquantile(gain[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(gain[0]), float(low), float(high)


# --- the page -------------------------------------------------------------------------------------------------


def format_table(found: dict[str, Any]) -> str:
    """Return the table of the page: gains over the scale filter, in percent."""
    heads = [f"{MEMBERS[name]}, {threshold} mm/h" for threshold in THRESHOLDS for name in list(MEMBERS)[1:]]
    lines = [f"| days (regions) | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    reference = found["sizes"][-1]
    for size in found["sizes"]:
        cells = [
            "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * part for part in compare(size, reference, name, threshold)))
            for threshold in THRESHOLDS
            for name in list(MEMBERS)[1:]
        ]
        lines.append(f"| {size['days']} ({len(size['regions'])}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(found: dict[str, Any]) -> Figure:
    """Draw the gains against the number of days, a panel for each threshold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    reference = found["sizes"][-1]
    days = np.array([size["days"] for size in found["sizes"]])
    for axis, threshold in zip(figure.subplots(1, len(THRESHOLDS)), THRESHOLDS, strict=True):
        for number, (name, label) in enumerate(MEMBERS.items()):
            gains = 100 * np.array([compare(size, reference, name, threshold) for size in found["sizes"]])
            shifted = days * 1.04 ** (number - 1.5)
            errors = np.abs(gains[:, 1:].T - gains[:, 0])
            axis.errorbar(
                shifted, gains[:, 0], errors, marker="o", markersize=4, linewidth=1.4, elinewidth=0.6, label=label
            )
        axis.axhline(0, color="0.7", linewidth=0.8)
        axis.set(xscale="log", xticks=days, xticklabels=days, xlabel="days learned from", title=f"{threshold} mm/h")
        axis.minorticks_off()
    figure.axes[0].set_ylabel("lower Brier score than the scale filter, %")
    figure.axes[0].legend(fontsize=8)
    return figure


def write_page(found: dict[str, Any]) -> None:
    """Write the table into the page, and the picture beside it."""
    write_between_marks(PAGE, "learning curve", format_table(found))
    draw(found).savefig(PAGE.with_suffix(".svg"), metadata={"Date": None})


def main() -> None:
    """Train, score, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of samples and members")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw samples")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of days; 0 for all")
    options = parser.parse_args()
    found = measure(options.sizes, options.work, options.workers)
    if tuple(options.sizes) == SIZES:
        with atomic_write(RESULTS) as part:
            part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        write_page(found)
    else:
        print(format_table(found))


if __name__ == "__main__":
    main()
