"""Early or late fusion? One network with attention against the blend of members, on the same rows and splits.

Regions are left out in turn. No rain of a real model lies beside this radar: model fields are pseudo-NWP
(`hybridcast.datasets.pseudo_nwp`), gauges are pseudo-gauges made from the radar, and in every second case the radar
at the issue
time has a simulated bias, for gauges to tell of. Weights of blends, and the calibration of the network, are fitted on
the groups other than the one that is scored. Writes early_or_late.json and early_or_late.md beside this file; what was
drawn is kept in the folder of ``--work``, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from early_fusion.attention import AttentionSettings, CrossAttention, size
from early_fusion.attention_training import Told, fit_attention
from early_fusion.token_samples import WithTokens, draw_with_tokens, load_with_tokens, save_with_tokens
from early_fusion.tokens import Tokens, joined_tokens, without
from hybridcast.core.files import atomic_write
from hybridcast.datasets.events import Event, load_events
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
SHOWN = (0.1, 1.0, 5.0)
PICKED = [THRESHOLDS.index(threshold) for threshold in SHOWN]
GIVEN = {
    "radar": {"stations": True, "nwp": True},
    "pseudo-gauges": {"stations": False, "nwp": True},
    "pseudo-NWP": {"stations": True, "nwp": False},
    "both": {"stations": False, "nwp": False},
}
"""What is given, and what is therefore taken away."""
WITH_MODEL = ("pseudo-NWP", "both")
RESAMPLES = 2000


@dataclass
class Everything:
    """All rows of all events, one event after the other, and what was said of them when they were left out."""

    events: list[Event]
    samples: Samples
    tokens: Tokens
    weight: np.ndarray
    event: np.ndarray
    group: np.ndarray
    biased: np.ndarray
    said: dict[str, np.ndarray]
    """Log odds ``(member, threshold, row)``, or ``(threshold, row)`` of a network, by what speaks and what is given."""


def drawn(events: Sequence[Event], work: Path) -> Iterator[tuple[Event, WithTokens]]:
    """Draw each event, or take what is on disk."""
    work.mkdir(parents=True, exist_ok=True)
    for event in events:
        file = work / f"{event.name}-{sampling_digest(event, SAMPLING)}.npz"
        if not file.exists():
            began = time.monotonic()
            try:
                made = draw_with_tokens(event, SAMPLING)
            except ValueError as error:
                print(f"left out: {error}")
                continue
            save_with_tokens(made, file)
            print(f"{event.name}: {made.samples.lead.size} rows, {time.monotonic() - began:.0f} s", flush=True)
        yield event, load_with_tokens(file)


def gathered(events: Sequence[Event], work: Path, folds: int) -> tuple[Everything, list[EventSamples]]:
    """Put the rows of all events together, and give them as `hybridcast.learned.training.train` has them."""
    found = list(drawn(events, work))
    made = weight_events([(event, one.samples) for event, one in found])
    counts = [one.samples.lead.size for one in made]
    groups = assign_groups([one.event for one in made], folds)
    whole = Everything(
        events=[one.event for one in made],
        samples=concatenate_samples([one.samples for one in made]),
        tokens=joined_tokens([one.tokens for _, one in found]),
        weight=np.concatenate([one.weight for one in made]),
        event=np.repeat(np.arange(len(made)), counts),
        group=np.repeat(groups, counts),
        biased=np.concatenate([one.biased for _, one in found]),
        said={},
    )
    return whole, made


# --- training and asking --------------------------------------------------------------------------------------


def rows_given(rows: np.ndarray, *, stations: bool, nwp: bool) -> np.ndarray:
    """Take the predictors of sources away from rows."""
    out = rows.copy()
    for group, gone in (("station", stations), ("nwp", nwp)):
        if gone:
            out[:, [index_of(name) for name in names(group)]] = np.nan
    return out


def evaluate_late(
    members: Mapping[str, Member], rows: np.ndarray, lead: np.ndarray, chosen: Sequence[str]
) -> np.ndarray:
    """Return the log odds of some members, ``(member, threshold, row)``."""
    found = np.full((len(chosen), len(THRESHOLDS), len(rows)), np.nan, np.float32)
    for minutes in np.unique(lead):
        at = lead == minutes
        inputs = MemberInputs(rows[at], np.zeros((int(at.sum()), 2)))
        log_odds = evaluate_members([members[name] for name in chosen], inputs, float(minutes))
        found[..., at] = np.stack(list(log_odds.values()))
    return found


def stopping(names: Sequence[str]) -> set[str]:
    """Keep every fifth event, from every region in turn, out of a training: it stops by them."""
    return set(list(names)[min(2, len(names) - 1) :: 5])


def train_networks(whole: Everything, made: Sequence[EventSamples], learn: Sequence[int]) -> dict[str, CrossAttention]:
    """Train the networks on some events, by their numbers."""
    ordered = sorted(learn, key=lambda k: (made[k].event.region, made[k].event.name))
    stop = stopping([made[k].event.name for k in ordered])
    told = {}
    for k in ordered:
        at = whole.event == k
        told[k] = Told(made[k].samples, Tokens(*(part[at] for part in whole.tokens)), made[k].weight)
    parts = [[told[k] for k in ordered if (made[k].event.name in stop) == held] for held in (False, True)]
    networks = {}
    for name, settings in NETWORKS.items():
        began, log = time.monotonic(), []
        networks[name] = fit_attention(*parts, settings, log)
        best = min(log, key=lambda look: look["loss"])
        print(f"  {name}: {best['step']} steps, {time.monotonic() - began:.0f} s", flush=True)
    return networks


def ask(whole: Everything, made: Sequence[EventSamples], settings: TrainingSettings, group: int) -> dict:
    """Train on all groups but one, and ask about the one left out, with every combination of sources."""
    out = whole.group == group
    learn = [k for k in range(len(made)) if not out[whole.event == k].any()]
    began = time.monotonic()
    members = train_members([made[k] for k in learn], settings)
    print(f"group {group + 1}: late, {time.monotonic() - began:.0f} s", flush=True)
    networks = train_networks(whole, made, learn)
    tokens = Tokens(*(part[out] for part in whole.tokens))
    said = {}
    for given, gone in GIVEN.items():
        rows = rows_given(whole.samples.predictors[out], **gone)
        chosen = (*RADAR_MEMBERS, *NWP_MEMBERS) if given in WITH_MODEL else RADAR_MEMBERS
        said[f"late, {given}"] = evaluate_late(members, rows, whole.samples.lead[out], chosen)
        said |= {f"{name}, {given}": one.scores(rows, without(tokens, **gone)) for name, one in networks.items()}
    return said


def asked(whole: Everything, made: Sequence[EventSamples], settings: TrainingSettings, group: int, work: Path) -> dict:
    """Do that, or take what is on disk."""
    file = work / f"said-{group}-{sampling_digest([one.event for one in made], settings, NETWORKS)}.npz"
    if not file.exists():
        with atomic_write(file) as part, part.open("wb") as stream:
            np.savez(stream, **ask(whole, made, settings, group))
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def keep(whole: Everything, name: str, out: np.ndarray, said: np.ndarray) -> None:
    """Put away what was said of the rows left out."""
    if name not in whole.said:
        whole.said[name] = np.full((*said.shape[:-1], out.size), np.nan, np.float32)
    whole.said[name][..., out] = said


# --- blending and scoring -------------------------------------------------------------------------------------


def blended(whole: Everything, members: Sequence[np.ndarray], area: np.ndarray) -> np.ndarray:
    """Blend log odds ``(threshold, row)`` of members, with weights from the other groups; chances of the rows there."""
    stacked = np.stack(members)
    names = [str(k) for k in range(len(stacked))]
    leads = np.unique(whole.samples.lead)
    chances = np.full(stacked.shape[1:], np.nan, np.float32)
    for group in np.unique(whole.group[area]):
        rows = [np.flatnonzero(area & (whole.group != group) & (whole.samples.lead == lead)) for lead in leads]
        scored = [
            MemberForecasts(
                float(lead),
                dict(zip(names, stacked[..., at], strict=True)),
                whole.samples.observed[at],
                whole.weight[at],
            )
            for lead, at in zip(leads, rows, strict=True)
        ]
        blend = fit_blend(names, SHOWN, scored)
        for lead in leads:
            at = np.flatnonzero(area & (whole.group == group) & (whole.samples.lead == lead))
            chances[:, at] = probability(
                enforce_decreasing(blend.log_odds(dict(zip(names, stacked[..., at], strict=True)), float(lead)))
            )
    return chances


def forecasts(whole: Everything, given: str, area: np.ndarray, inside: bool) -> dict[str, np.ndarray]:
    """Return the chances of all that is compared, ``(threshold shown, row)``."""
    late = list(whole.said[f"late, {given}"][:, PICKED])
    found = {}
    if given in WITH_MODEL:
        found |= {
            f"late: member {name!r} alone": probability(late[len(RADAR_MEMBERS) + k])
            for k, name in enumerate(NWP_MEMBERS)
        }
    if not inside:
        late = late[len(RADAR_MEMBERS) :]
    found["late: blend"] = blended(whole, late, area)
    for name in NETWORKS:
        early = whole.said[f"{name}, {given}"][PICKED]
        found[name] = probability(early)
        found[f"{name}, calibrated"] = blended(whole, [early], area)
    found["late and early blended"] = blended(whole, [*late, whole.said[f"early, {given}"][PICKED]], area)
    return found


def scores_of(whole: Everything, chances: np.ndarray, at: np.ndarray) -> dict[str, list[float]]:
    """Brier score and log loss by lead time, at the thresholds shown."""
    found: dict[str, list[float]] = {}
    for threshold, p in zip(SHOWN, chances.astype(np.float64), strict=True):
        happened = whole.samples.observed >= np.float32(threshold)
        held = np.clip(p, 1e-6, 1 - 1e-6)
        for name, loss in (
            ("Brier", (p - happened) ** 2),
            ("log loss", -np.where(happened, np.log(held), np.log(1 - held))),
        ):
            found[f"{name} {threshold:g}"] = [
                round(float(np.average(loss[of_lead], weights=whole.weight[of_lead])), 5)
                for of_lead in by_lead(whole, at)
            ]
    return found


def by_lead(whole: Everything, at: np.ndarray) -> list[np.ndarray]:
    """Rows of each lead time."""
    return [np.flatnonzero(at & (whole.samples.lead == lead)) for lead in SAMPLING.leads]


def support(whole: Everything, at: np.ndarray) -> dict[str, list[int]]:
    """Rows, cases and events of each lead time."""
    rows = by_lead(whole, at)
    return {
        "rows": [int(of_lead.size) for of_lead in rows],
        "cases": [int(np.unique(whole.samples.case[of_lead]).size) for of_lead in rows],
        "events": [int(np.unique(whole.event[of_lead]).size) for of_lead in rows],
    }


def difference(whole: Everything, early: np.ndarray, late: np.ndarray, at: np.ndarray) -> dict[str, list[list[float]]]:
    """Change of the Brier score from late to early, per cent, with 95 % intervals over days of a region."""
    days = [f"{event.region} {event.day or event.name.split('-')[1]}" for event in whole.events]
    numbers = np.unique(days, return_inverse=True)[1][whole.event]
    count = int(numbers.max()) + 1
    drawn_days = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    found: dict[str, list[list[float]]] = {}
    for k, threshold in enumerate(SHOWN):
        happened = whole.samples.observed >= np.float32(threshold)
        found[f"Brier {threshold:g}"] = []
        for rows in by_lead(whole, at):
            sums = [
                np.bincount(numbers[rows], whole.weight[rows] * (p[k, rows] - happened[rows]) ** 2, count)
                for p in (early, late)
            ]
            change = 100 * (sums[0].sum() / sums[1].sum() - 1)
            resampled = 100 * (sums[0][drawn_days].sum(axis=1) / sums[1][drawn_days].sum(axis=1) - 1)
            found[f"Brier {threshold:g}"].append(
                [round(float(v), 2) for v in (change, *np.nanquantile(resampled, (0.025, 0.975)))]
            )
    return found


def compared(whole: Everything) -> dict[str, dict]:
    """Score all that is compared, where the radar knows the air and where it does not, with and without a bias."""
    rows = whole.samples.predictors
    there, seen = has_nwp(rows), has_radar(rows)
    found: dict[str, dict] = {}
    for place, area in (("inside", there & seen), ("outside", there & ~seen)):
        said = {g: forecasts(whole, g, area, place == "inside") for g in GIVEN if place == "inside" or g in WITH_MODEL}
        kinds = {"radar as it is": ~whole.biased, "radar with a simulated bias": whole.biased}
        for kind, of_kind in kinds.items() if place == "inside" else [("all cases", whole.biased | ~whole.biased)]:
            at = area & of_kind
            found[f"{place}, {kind}"] = {
                "support": support(whole, at),
                "scores": {g: {name: scores_of(whole, p, at) for name, p in said[g].items()} for g in said},
                "early against late, per cent": {
                    g: difference(whole, said[g]["early, calibrated"], said[g]["late: blend"], at) for g in said
                },
                "blend of both against late, per cent": {
                    g: difference(whole, said[g]["late and early blended"], said[g]["late: blend"], at) for g in said
                },
            }
    return found


#: What the tables show; members alone, and the network without its calibration, are in the JSON.
IN_TABLES = ("late: blend", "early, calibrated", "late and early blended")
AGAINST = ("early", "blend of both")

# --- the tables -----------------------------------------------------------------------------------------------

TITLES = {
    "inside, radar as it is": "Where the radar knows the air; radar as it is",
    "inside, radar with a simulated bias": "Where the radar knows the air; radar with a simulated bias",
    "outside, all cases": "Where the air comes from outside the radar's reach; all cases",
}


def lines_of(found: dict[str, dict], about: dict) -> list[str]:
    """Write Markdown."""
    leads = " / ".join(map(str, SAMPLING.leads))
    lines = [
        "# Early or late fusion?",
        "",
        *_wrapped(
            "Made by `make early-or-late`. Model fields are **pseudo-NWP**, gauges are **pseudo-gauges**: both "
            f"are simulated from radar. {about['rows']} rows, {about['cases']} cases, {about['events']} events of "
            f"{about['regions']} regions; regions are left out in {about['folds']} groups, and all that is scored was "
            f"said of regions not trained on. The network has {about['parameters']} parameters; 'calibrated' is after "
            "a stretch and a constant fitted as the weights of the blend are, on the other groups. Of late fusion only "
            "the trees called 'fused' look at gauges, and those only where there is a model too. Scores are weighted "
            "means, lower is better; members alone, and the network as it is, are in `early_or_late.json`."
        ),
    ]
    for name, one in found.items():
        n = one["support"]
        counts = "; ".join(f"{word} {' / '.join(map(str, n[word]))}" for word in ("rows", "cases", "events"))
        columns = [f"{score} {t:g}" for score in ("Brier", "log loss") for t in SHOWN]
        lines += ["", f"## {TITLES[name]}", "", f"At {leads} min; {counts}. Pseudo-NWP and pseudo-gauges.", ""]
        lines += [f"| given | forecast | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
        for given, models in one["scores"].items():
            lines += [
                f"| {given} | {model} | {' | '.join(' / '.join(map(_short, models[model][c])) for c in columns)} |"
                for model in IN_TABLES
            ]
        lines += ["", "Change of the Brier score from the late blend, per cent [95 % over days of a region]:", ""]
        lines += ["| given | at | early, calibrated | late and early blended |", "|---|---|---|---|"]
        for given in one["scores"]:
            for score in (f"Brier {t:g}" for t in SHOWN):
                early, both = (_changes(one[f"{what} against late, per cent"][given][score]) for what in AGAINST)
                lines.append(f"| {given} | {score.removeprefix('Brier ')} mm/h | {early} | {both} |")
    return lines


def _changes(changes: list[list[float]]) -> str:
    return " / ".join(f"{v:+.1f} [{low:+.0f}, {high:+.0f}]" for v, low, high in changes)


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def _wrapped(text: str, width: int = 120) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)


def main() -> None:
    """Draw, train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("scratch/early_or_late"), help="folder for what is drawn")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--group", type=int, help="only train without this group, and end: several can run at once")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    whole, made = gathered(load_events(), options.work, options.folds)
    settings = TrainingSettings(sampling=SAMPLING, folds=options.folds)
    for group in range(options.folds) if options.group is None else [options.group]:
        for name, said in asked(whole, made, settings, group, options.work).items():
            keep(whole, name, whole.group == group, said)
    if options.group is not None:
        return
    found = compared(whole)
    about = {
        "rows": int(whole.weight.size),
        "cases": int(whole.samples.case.max()) + 1,
        "events": len(whole.events),
        "regions": len({event.region for event in whole.events}),
        "folds": options.folds,
        "groups": {event.name: int(whole.group[whole.event == k][0]) for k, event in enumerate(whole.events)},
        "parameters": {name: size(one) for name, one in NETWORKS.items()},
        "sampling": asdict(SAMPLING),
        "networks": {name: asdict(one) for name, one in NETWORKS.items()},
        "lead_times_min": SAMPLING.leads,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps({"about": about, **found}, indent=1) + "\n")
    lines = lines_of(found, {**about, "parameters": about["parameters"]["early"]})
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
