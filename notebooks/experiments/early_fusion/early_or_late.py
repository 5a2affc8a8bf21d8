"""Compare early with late fusion: one network with attention against the blend of members, on the same rows and splits.

Regions are left out in turn. No archive has both this radar and NWP rain, so NWP fields are pseudo-NWP
(`hybridcast.datasets.pseudo_nwp`) and gauges are pseudo-gauges simulated from the radar. In every second case the radar
up to the issue time has a simulated bias, which gauges can reveal. Weights of blends and the calibration of the network
are fitted on the groups of regions other than the one that is scored.

Writes a JSON and a Markdown file. Samples and log odds are kept in the folder ``--work``, so that a run that was
interrupted continues.
"""

from __future__ import annotations

import argparse
import json
import textwrap
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from early_fusion.attention import AttentionSettings, CrossAttention, count_parameters
from early_fusion.attention_training import EventTokens, fit_attention
from early_fusion.token_samples import TokenSamples, draw_token_samples, load_token_samples, save_token_samples
from early_fusion.tokens import Tokens, concatenate_tokens, drop_sources, select_rows
from hybridcast.core.files import atomic_write
from hybridcast.core.types import Array, Mask
from hybridcast.datasets import Event, load_events
from hybridcast.learned.blend import MemberForecasts, fit_blend
from hybridcast.learned.boosting import THRESHOLDS, enforce_decreasing
from hybridcast.learned.logistic import probability
from hybridcast.learned.member import Member, MemberInputs, evaluate_members
from hybridcast.learned.members import NWP_MEMBERS, RADAR_MEMBERS
from hybridcast.learned.predictor_rows import has_nwp, has_radar
from hybridcast.learned.training.cross_validation import train_members
from hybridcast.learned.training.event_samples import EventSamples, assign_groups, weight_events
from hybridcast.learned.training.sample_store import sampling_digest
from hybridcast.learned.training.samples import Samples, Sampling, concatenate_samples
from hybridcast.learned.training.settings import TrainingSettings
from hybridcast.predictors.registry import index_of, names

SAMPLING = Sampling(leads=(30, 60, 90, 120, 180), cells=300, cases=4, min_interval=30)
NETWORKS = {"early": AttentionSettings(steps=400, batch=1024, check_every=40)}
#: Thresholds that are scored, mm/h, and their numbers.
SCORED = (0.1, 1.0, 5.0)
SCORED_INDEX = [THRESHOLDS.index(threshold) for threshold in SCORED]
#: Combinations of sources, and the sources that are dropped for them.
COMBINATIONS = {
    "radar": {"stations": True, "nwp": True},
    "pseudo-gauges": {"stations": False, "nwp": True},
    "pseudo-NWP": {"stations": True, "nwp": False},
    "both": {"stations": False, "nwp": False},
}
WITH_NWP = ("pseudo-NWP", "both")
#: Number of bootstrap resamples.
RESAMPLES = 2000


@dataclass
class Comparison:
    """Rows of all events in sequence, and their log odds by models trained without them."""

    events: list[Event]
    samples: Samples
    tokens: Tokens
    weight: Array
    """Weight of each row, shape ``(row,)``."""
    event: np.ndarray
    """Number of the event of each row."""
    group: np.ndarray
    """Number of the group of regions of each row."""
    biased: Mask
    """Rows whose radar has a simulated bias."""
    log_odds: dict[str, Array]
    """Log odds by method and combination of sources; ``(member, threshold, row)`` of late fusion, ``(threshold, row)``
    of a network."""


def draw_events(events: Sequence[Event], work: Path) -> Iterator[tuple[Event, TokenSamples]]:
    """Draw the samples of each event, or load them from `work`."""
    work.mkdir(parents=True, exist_ok=True)
    for event in events:
        file = work / f"{event.name}-{sampling_digest(event, SAMPLING)}.npz"
        if not file.exists():
            start = time.monotonic()
            try:
                drawn = draw_token_samples(event, SAMPLING)
            except ValueError as error:
                print(f"left out: {error}")
                continue
            save_token_samples(drawn, file)
            print(f"{event.name}: {drawn.samples.lead.size} rows, {time.monotonic() - start:.0f} s", flush=True)
        yield event, load_token_samples(file)


def gather_events(events: Sequence[Event], work: Path, folds: int) -> tuple[Comparison, list[EventSamples]]:
    """Concatenate the rows of all events, and return them also event by event, with weights."""
    drawn = list(draw_events(events, work))
    weighted = weight_events([(event, one.samples) for event, one in drawn])
    counts = [one.samples.lead.size for one in weighted]
    groups = assign_groups([one.event for one in weighted], folds)
    comparison = Comparison(
        events=[one.event for one in weighted],
        samples=concatenate_samples([one.samples for one in weighted]),
        tokens=concatenate_tokens([one.tokens for _, one in drawn]),
        weight=np.concatenate([one.weight for one in weighted]),
        event=np.repeat(np.arange(len(weighted)), counts),
        group=np.repeat(groups, counts),
        biased=np.concatenate([one.biased for _, one in drawn]),
        log_odds={},
    )
    return comparison, weighted


# --- training and evaluation ----------------------------------------------------------------------------------


def drop_predictors(rows: Array, *, stations: bool, nwp: bool) -> Array:
    """Replace the predictors of some sources by NaN."""
    out = rows.copy()
    dropped = (*(names("station") if stations else ()), *(names("nwp") if nwp else ()))
    out[:, [index_of(name) for name in dropped]] = np.nan
    return out


def evaluate_late(members: Mapping[str, Member], rows: Array, lead: Array, chosen: Sequence[str]) -> Array:
    """Return the log odds of some members, ``(member, threshold, row)``."""
    found = np.full((len(chosen), len(THRESHOLDS), len(rows)), np.nan, np.float32)
    for minutes in np.unique(lead):
        at = lead == minutes
        inputs = MemberInputs(rows[at], np.zeros((int(at.sum()), 2)))
        log_odds = evaluate_members([members[name] for name in chosen], inputs, float(minutes))
        found[..., at] = np.stack(list(log_odds.values()))
    return found


def choose_held_out(names: Sequence[str]) -> set[str]:
    """Choose every fifth event, which ends the training of networks."""
    return set(names[min(2, len(names) - 1) :: 5])


def train_networks(
    comparison: Comparison, events: Sequence[EventSamples], learn: Sequence[int]
) -> dict[str, CrossAttention]:
    """Train the networks on events given by their numbers."""
    ordered = sorted(learn, key=lambda number: (events[number].event.region, events[number].event.name))
    held_out = choose_held_out([events[number].event.name for number in ordered])
    parts: tuple[list[EventTokens], list[EventTokens]] = ([], [])
    for number in ordered:
        one = events[number]
        tokens = select_rows(comparison.tokens, comparison.event == number)
        parts[one.event.name in held_out].append(EventTokens(one.samples, tokens, one.weight))
    networks = {}
    for name, settings in NETWORKS.items():
        start = time.monotonic()
        log: list[dict[str, float]] = []
        networks[name] = fit_attention(*parts, settings, log)
        best = min(log, key=lambda entry: entry["loss"])
        print(f"  {name}: {best['step']} steps, {time.monotonic() - start:.0f} s", flush=True)
    return networks


def evaluate_group(
    comparison: Comparison, events: Sequence[EventSamples], settings: TrainingSettings, group: int
) -> dict[str, Array]:
    """Train on all groups but one, and return log odds for the one left out, with every combination of sources."""
    rows = comparison.group == group
    learn = [number for number in range(len(events)) if not rows[comparison.event == number].any()]
    start = time.monotonic()
    members = train_members([events[number] for number in learn], settings)
    print(f"group {group + 1}: late, {time.monotonic() - start:.0f} s", flush=True)
    networks = train_networks(comparison, events, learn)
    tokens, lead = select_rows(comparison.tokens, rows), comparison.samples.lead[rows]
    log_odds = {}
    for combination, dropped in COMBINATIONS.items():
        predictors = drop_predictors(comparison.samples.predictors[rows], **dropped)
        chosen = (*RADAR_MEMBERS, *NWP_MEMBERS) if combination in WITH_NWP else RADAR_MEMBERS
        log_odds[f"late, {combination}"] = evaluate_late(members, predictors, lead, chosen)
        for name, network in networks.items():
            log_odds[f"{name}, {combination}"] = network.scores(predictors, drop_sources(tokens, **dropped))
    return log_odds


def load_or_evaluate(
    comparison: Comparison, events: Sequence[EventSamples], settings: TrainingSettings, group: int, work: Path
) -> dict[str, Array]:
    """Return the result of `evaluate_group`, from `work` if it is there."""
    file = work / f"log-odds-{group}-{sampling_digest([one.event for one in events], settings, NETWORKS)}.npz"
    if not file.exists():
        found: dict[str, Any] = {**evaluate_group(comparison, events, settings, group)}
        with atomic_write(file) as part, part.open("wb") as stream:
            np.savez(stream, **found)
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def store_group(comparison: Comparison, name: str, group: int, log_odds: Array) -> None:
    """Put the log odds of a group into the array of all rows."""
    if name not in comparison.log_odds:
        shape = (*log_odds.shape[:-1], comparison.group.size)
        comparison.log_odds[name] = np.full(shape, np.nan, np.float32)
    comparison.log_odds[name][..., comparison.group == group] = log_odds


# --- blends and scores ----------------------------------------------------------------------------------------


def blend_members(comparison: Comparison, members: Sequence[Array], area: Mask) -> Array:
    """Blend log odds ``(threshold, row)`` of members, with weights fitted on the other groups; return probabilities."""
    samples = comparison.samples
    by_name = {str(number): log_odds for number, log_odds in enumerate(members)}
    leads = np.unique(samples.lead)
    probabilities = np.full(members[0].shape, np.nan, np.float32)

    def select(groups: Mask, lead: float) -> tuple[np.ndarray, dict[str, Array]]:
        rows = np.flatnonzero(area & groups & (samples.lead == lead))
        return rows, {name: log_odds[:, rows] for name, log_odds in by_name.items()}

    for group in np.unique(comparison.group[area]):
        own = comparison.group == group
        forecasts = []
        for lead in leads:
            rows, log_odds = select(~own, lead)
            forecasts.append(MemberForecasts(float(lead), log_odds, samples.observed[rows], comparison.weight[rows]))
        blend = fit_blend(list(by_name), SCORED, forecasts)
        for lead in leads:
            rows, log_odds = select(own, lead)
            probabilities[:, rows] = probability(enforce_decreasing(blend.log_odds(log_odds, float(lead))))
    return probabilities


def compute_probabilities(comparison: Comparison, combination: str, area: Mask, inside: bool) -> dict[str, Array]:
    """Return the probabilities of all compared methods, ``(threshold scored, row)``."""
    late = list(comparison.log_odds[f"late, {combination}"][:, SCORED_INDEX])
    found: dict[str, Array] = {}
    if combination in WITH_NWP:
        alone = zip(NWP_MEMBERS, late[len(RADAR_MEMBERS) :], strict=True)
        found |= {f"late: member {name!r} alone": probability(log_odds) for name, log_odds in alone}
    if not inside:
        late = late[len(RADAR_MEMBERS) :]
    found["late: blend"] = blend_members(comparison, late, area)
    for name in NETWORKS:
        early = comparison.log_odds[f"{name}, {combination}"][SCORED_INDEX]
        found[name] = probability(early)
        found[f"{name}, calibrated"] = blend_members(comparison, [early], area)
    early = comparison.log_odds[f"early, {combination}"][SCORED_INDEX]
    found["late and early blended"] = blend_members(comparison, [*late, early], area)
    return found


def compute_scores(comparison: Comparison, probabilities: Array, area: Mask) -> dict[str, list[float]]:
    """Return Brier score and log loss by lead time, at each threshold scored."""
    found: dict[str, list[float]] = {}
    for threshold, p in zip(SCORED, probabilities.astype(np.float64), strict=True):
        event = comparison.samples.observed >= np.float32(threshold)
        clipped = np.clip(p, 1e-6, 1 - 1e-6)
        losses = {"Brier": (p - event) ** 2, "log loss": -np.log(np.where(event, clipped, 1 - clipped))}
        for name, loss in losses.items():
            found[f"{name} {threshold:g}"] = [
                round(float(np.average(loss[rows], weights=comparison.weight[rows])), 5)
                for rows in split_by_lead(comparison, area)
            ]
    return found


def split_by_lead(comparison: Comparison, area: Mask) -> list[np.ndarray]:
    """Return the rows of each lead time."""
    return [np.flatnonzero(area & (comparison.samples.lead == lead)) for lead in SAMPLING.leads]


def count_support(comparison: Comparison, area: Mask) -> dict[str, list[int]]:
    """Return the number of rows, cases and events of each lead time."""
    rows = split_by_lead(comparison, area)
    return {
        "rows": [int(of_lead.size) for of_lead in rows],
        "cases": [int(np.unique(comparison.samples.case[of_lead]).size) for of_lead in rows],
        "events": [int(np.unique(comparison.event[of_lead]).size) for of_lead in rows],
    }


def compute_change(comparison: Comparison, early: Array, late: Array, area: Mask) -> dict[str, list[list[float]]]:
    """Return the change of the Brier score from `late` to `early` (%) with 95 % intervals over days of a region."""
    days = [f"{event.region} {event.day or event.name.split('-')[1]}" for event in comparison.events]
    numbers = np.unique(days, return_inverse=True)[1][comparison.event]
    count = int(numbers.max()) + 1
    resampled_days = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    found: dict[str, list[list[float]]] = {}
    for k, threshold in enumerate(SCORED):
        event = comparison.samples.observed >= np.float32(threshold)
        found[f"Brier {threshold:g}"] = []
        for rows in split_by_lead(comparison, area):
            of_early, of_late = (
                np.bincount(numbers[rows], comparison.weight[rows] * (p[k, rows] - event[rows]) ** 2, count)
                for p in (early, late)
            )
            change = 100 * (of_early.sum() / of_late.sum() - 1)
            changes = 100 * (of_early[resampled_days].sum(axis=1) / of_late[resampled_days].sum(axis=1) - 1)
            interval = np.nanquantile(changes, (0.025, 0.975))
            found[f"Brier {threshold:g}"].append([round(float(value), 2) for value in (change, *interval)])
    return found


def compare(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Score all methods where the radar knows the air, with and without a bias, and where it does not."""
    rows = comparison.samples.predictors
    nwp, radar = has_nwp(rows), has_radar(rows)
    inside, outside = nwp & radar, nwp & ~radar
    found = {}
    known = {name: compute_probabilities(comparison, name, inside, True) for name in COMBINATIONS}
    for kind, mask in (("radar as it is", ~comparison.biased), ("radar with a simulated bias", comparison.biased)):
        found[f"inside, {kind}"] = _score_area(comparison, known, inside & mask)
    unknown = {name: compute_probabilities(comparison, name, outside, False) for name in WITH_NWP}
    found["outside, all cases"] = _score_area(comparison, unknown, outside)
    return found


def _score_area(comparison: Comparison, probabilities: Mapping[str, Mapping[str, Array]], area: Mask) -> dict[str, Any]:
    """Score probabilities, by combination and method, in an area."""

    def change(method: str) -> dict[str, Any]:
        return {
            combination: compute_change(comparison, found[method], found["late: blend"], area)
            for combination, found in probabilities.items()
        }

    return {
        "support": count_support(comparison, area),
        "scores": {
            combination: {method: compute_scores(comparison, p, area) for method, p in found.items()}
            for combination, found in probabilities.items()
        },
        "early against late, per cent": change("early, calibrated"),
        "blend of both against late, per cent": change("late and early blended"),
    }


# --- tables ---------------------------------------------------------------------------------------------------

#: Methods in the tables; single members and the uncalibrated network are in the JSON file only.
IN_TABLES = ("late: blend", "early, calibrated", "late and early blended")
CHANGES = ("early against late, per cent", "blend of both against late, per cent")
TITLES = {
    "inside, radar as it is": "Air known to the radar; radar as it is",
    "inside, radar with a simulated bias": "Air known to the radar; radar with a simulated bias",
    "outside, all cases": "Air from outside radar coverage; all cases",
}


def format_comparison(found: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Format the result of `compare` as Markdown."""
    text = (
        "Made by `make early-or-late`. NWP fields are **pseudo-NWP**, gauges are **pseudo-gauges**: both are simulated "
        f"from radar. {about['rows']} rows, {about['cases']} cases, {about['events']} events of {about['regions']} "
        f"regions; regions are left out in {about['folds']} groups, and all scores are of regions not trained on. "
        f"The network has {about['parameters']['early']} parameters; 'calibrated' is after a factor and a constant "
        "fitted like the weights of the blend, on the other groups. Of late fusion only the trees called 'fused' use "
        "gauges, and those only with NWP. Scores are weighted means, lower is better; single members and the "
        "uncalibrated network are in `early_or_late.json`."
    )
    lines = ["# Early or late fusion?", "", *textwrap.wrap(text, 120)]
    for name, one in found.items():
        lines += ["", f"## {TITLES[name]}", "", *_format_area(one)]
    return "\n".join(lines) + "\n"


def _format_area(one: Mapping[str, Any]) -> list[str]:
    leads = " / ".join(map(str, SAMPLING.leads))
    counts = "; ".join(f"{kind} {' / '.join(map(str, numbers))}" for kind, numbers in one["support"].items())
    columns = [f"{score} {threshold:g}" for score in ("Brier", "log loss") for threshold in SCORED]
    lines = [f"At {leads} min; {counts}. Pseudo-NWP and pseudo-gauges.", ""]
    lines += [f"| sources | forecast | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for combination, scores in one["scores"].items():
        for method in IN_TABLES:
            cells = [" / ".join(map(_format_score, scores[method][column])) for column in columns]
            lines.append(f"| {combination} | {method} | {' | '.join(cells)} |")
    lines += ["", "Change of the Brier score from the late blend, per cent [95 % over days of a region]:", ""]
    lines += ["| sources | at | early, calibrated | late and early blended |", "|---|---|---|---|"]
    for combination in one["scores"]:
        for threshold in SCORED:
            cells = [_format_changes(one[kind][combination][f"Brier {threshold:g}"]) for kind in CHANGES]
            lines.append(f"| {combination} | {threshold:g} mm/h | {' | '.join(cells)} |")
    return lines


def _format_changes(changes: Sequence[Sequence[float]]) -> str:
    return " / ".join(f"{value:+.1f} [{low:+.0f}, {high:+.0f}]" for value, low, high in changes)


def _format_score(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


# --- the command ----------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw samples, train, score, and write the results."""
    options = _parse(arguments)
    warnings.simplefilter("ignore")
    comparison, events = gather_events(load_events(options.events), options.work, options.folds)
    settings = TrainingSettings(sampling=SAMPLING, folds=options.folds)
    for group in range(options.folds) if options.group is None else [options.group]:
        for name, log_odds in load_or_evaluate(comparison, events, settings, group, options.work).items():
            store_group(comparison, name, group, log_odds)
    if options.group is not None:
        return
    found, about = compare(comparison), describe(comparison, options.folds)
    for path, content in (
        (options.output, json.dumps({"about": about, **found}, indent=1) + "\n"),
        (options.output.with_suffix(".md"), format_comparison(found, about)),
    ):
        with atomic_write(path) as part:
            part.write_text(content, encoding="utf-8")
    print(f"wrote {options.output} and {options.output.with_suffix('.md')}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m early_fusion.early_or_late", description=__doc__)
    parser.add_argument("--events", type=Path, help="TOML file of events; by default the real ones of the package")
    parser.add_argument(
        "--work", type=Path, default=Path("scratch/early_or_late"), help="folder of samples and log odds"
    )
    parser.add_argument("--folds", type=int, default=3, help="number of groups of regions")
    parser.add_argument("--group", type=int, help="only train without this group, and end; several may run at once")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"), help="JSON file to write")
    return parser.parse_args(arguments)


def describe(comparison: Comparison, folds: int) -> dict[str, Any]:
    """Return what the results depend on."""
    events = enumerate(comparison.events)
    return {
        "rows": int(comparison.weight.size),
        "cases": int(comparison.samples.case.max()) + 1,
        "events": len(comparison.events),
        "regions": len({event.region for event in comparison.events}),
        "folds": folds,
        "groups": {event.name: int(comparison.group[comparison.event == number][0]) for number, event in events},
        "parameters": {name: count_parameters(settings) for name, settings in NETWORKS.items()},
        "sampling": asdict(SAMPLING),
        "networks": {name: asdict(settings) for name, settings in NETWORKS.items()},
        "lead_times_min": SAMPLING.leads,
    }


if __name__ == "__main__":
    main()
