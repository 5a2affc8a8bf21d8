"""Endurance of `hybridcast watch`: killed at random moments, its memory over many cycles, and archives replayed whole.

Each part replays real radar through the command, with members, places, warnings, messages, pictures and the map, and
writes what it found into ``watch_endurance.json`` beside this file and into the table of ``results/operation.md``:

    python notebooks/watch_endurance.py kills --count 100 --work scratch/endurance
    python notebooks/watch_endurance.py memory --cycles 300 --work scratch/endurance
    python notebooks/watch_endurance.py replay --work scratch/endurance

*kills* runs a small archive without disturbance, and again with SIGKILL at random moments: after each kill, what is on
the disk is examined; at the end all products, the log of warnings and the messages are compared with those of the
undisturbed run, byte by byte where no clock enters. *memory* reads memory, open files and the number of files after
each forecast. *replay* runs the eleven days of German radar and compares frames with forecasts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import dask
import numpy as np

from hybridcast import fetch, open_radar
from hybridcast.core.files import atomic_write
from hybridcast.places import audit_events, read_events
from hybridcast.watch.config import load_watch
from hybridcast.watch.forecasts import warm_up
from hybridcast.watch.run import run_replay

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "watch_endurance.json", HERE / "results" / "operation.md"
CLOCK = ("made", "age_minutes_when_made", "seconds", "memory_mb", "peak_memory_mb")
"""Keys of a description of a forecast into which a clock or the memory enters."""
SAVE = (
    "import os, sys; got = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT);"
    "os.write(got, sys.stdin.buffer.read() + b'\\n')"
)
"""Appends a message to a file in one step."""
HOURS = slice("2015-08-27T04:45", "2015-08-27T11:55")
"""Hours that are replayed with kills; it rains in all of them."""
GOTHENBURG = """
levels = ["0.5 mm/h", "2 mm/h", "1 mm in 30min"]
[[place]]
name = "city"
latitude = 57.70
longitude = 11.97
[[place]]
name = "coast"
latitude = 57.55
longitude = 12.0
[[place]]
name = "valley"
latitude = 57.85
longitude = 12.1
buffer = 5000.0
"""
GERMANY = """
levels = ["2 mm/h", "5 mm/h", "5 mm in 30min"]
""" + "".join(
    f'[[place]]\nname = "place {number}"\ncrs = "grid"\nx = {x}\ny = {y}\n'
    for number, (x, y) in enumerate(
        (x, y) for x in (40_500, 90_500, 140_500, 190_500) for y in (30_500, 80_500, 130_500)
    )
)


INTRODUCTION = """\
# Operation under faults

`hybridcast watch` as a whole, over many cycles of real radar, with members, places, warnings, messages and the map;
killed, and looked at for what grows. The commands are those of `notebooks/watch_endurance.py`; single faults, such as
full disks, damaged files, clocks and servers, are tests (`tests/watch`), and what happens in each case is in the
[guide](../guide/operation.md#what-happens-if)."""
EXPLANATION = """\
A kill is a SIGKILL of the process of the loop, at a random moment of its start or of a cycle; its worker process ends
by itself. *Command* is `hybridcast watch`, whose start takes seconds; *forked* is the same loop in a process that is
forked from one in which everything is loaded, so that kills come in quick succession. After each kill the folder is
examined as a reader would find it: every forecast has all its products, every JSON file is whole, `latest.json` names
a forecast that is there. At the end every file is compared byte by byte with the run without kills, without the keys
of `about.json` and `latest.json` into which the clock or the memory enters. Messages of a command that was killed
just after a delivery may come again with their `id`; they are counted."""
SETTLED = 60
"""Cycles of 5 min after which two hours of history and three hours of forecasts are there."""


class Place:
    """A folder with a configuration, and the replay of it.

    Parameters
    ----------
    root
        The folder, which is emptied.
    source
        Line of the region that says where its radar is.
    dates
        Days that are replayed.
    places
        Content of places.toml.
    watch
        Lines of the table [watch].
    """

    def __init__(self, root: Path, source: str, dates: str, places: str, watch: str) -> None:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        self.root, self.out, self.got = root.resolve(), root.resolve() / "out" / "here-replay", root.resolve() / "got"
        hook = f"command = {json.dumps([sys.executable, '-S', '-E', '-c', SAVE, str(self.got)])}\n"
        region = f'[[region]]\nname = "here"\n{source}\ndates = "{dates}"\nplaces = "places.toml"\n'
        text = f'[watch]\nout = "out"\npoll = "60s"\n{watch}\n'
        text += f"[watch.on_forecast]\n{hook}[watch.on_warning]\n{hook}{region}"
        (root / "regions.toml").write_text(text, encoding="utf-8")
        (root / "places.toml").write_text(places, encoding="utf-8")
        assert tomllib.loads(text)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command, which goes on where it was."""
        command = [sys.executable, "-m", "hybridcast", "watch", "regions.toml", "--replay", "max"]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with (self.root / "said").open("ab") as said:
            return subprocess.Popen(command, cwd=self.root, env=env, stderr=said)

    def finish(self, start: Start) -> None:
        """Run the replay to its end, and until no message waits."""
        for _ in range(20):
            process = start(self)
            if process.wait():
                raise SystemExit(f"{self.root}: status {process.returncode}, see {self.root / 'said'}")
            if not list((self.out / "state" / "queue").iterdir()):
                return
        raise SystemExit(f"{self.root}: messages are not delivered")

    def forecasts(self) -> list[Path]:
        """Return the folders of the forecasts that are there."""
        folder = self.out / "forecasts"
        return sorted(folder.glob("*Z")) if folder.is_dir() else []

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages that were delivered."""
        return [json.loads(line) for line in self.got.read_text().splitlines()]


class Forked:
    """The loop in a process that is forked from this one, in which everything is loaded: its start takes no time."""

    def __init__(self, place: Place) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._run(place)

    def _run(self, place: Place) -> NoReturn:
        os.chdir(place.root)
        own = multiprocessing.get_context("fork")
        multiprocessing.get_context = lambda method=None: own  # type: ignore[assignment,misc,return-value]
        with (place.root / "said").open("a", buffering=1) as said:
            try:
                run_replay(
                    *load_watch("regions.toml"), "max", [], threading.Event(), lambda text: print(text, file=said)
                )
            except BaseException:
                traceback.print_exc(file=said)
                os._exit(1)
        os._exit(0)

    def poll(self) -> int | None:
        """Return the status of the process; None as long as it runs."""
        if self.returncode is None and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.returncode = 0
        return self.returncode

    def wait(self) -> int:
        """Wait for the end of the process and return its status."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def kill(self) -> None:
        """Kill the process, and wait for that of its worker, which holds the lock that it has inherited."""
        if self.poll() is not None:
            return
        workers = read_children(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        while any(Path(f"/proc/{one}").exists() for one in workers):
            time.sleep(0.001)


Process = subprocess.Popen[bytes] | Forked
Start = Callable[[Place], Process]


# --- kills ----------------------------------------------------------------------------------------------------


def run_kills(options: argparse.Namespace) -> dict[str, Any]:
    """Replay a morning in Gothenburg with and without kills, and compare."""
    watch = 'members = 5\nlead_time = "30min"\npictures = ["maps"]\nmap = true\nkeep = "100h"'
    if options.quick:
        watch = watch.replace('["maps"]', "[]") + '\nnowcaster = "scale-filter-ensemble"'
    archive = write_hours(options.work)
    calm, killed = (
        Place(options.work / name, f'radar = "{archive}"', "2015-08-27", GOTHENBURG, watch)
        for name in ("calm", "killed")
    )
    with dask.config.set(scheduler="synchronous"):  # threads of dask would not be there after a fork
        warm_up(*load_watch(calm.root / "regions.toml"))
    starts: dict[str, Start] = {"command": Place.start, "forked": Forked}
    durations = {name: time_start(calm, start) for name, start in starts.items()}
    calm.finish(Forked)
    chance = random.Random(options.seed)
    faults: list[str] = []
    when: Counter[str] = Counter()
    started = time.monotonic()
    for number in range(options.count):
        if time.monotonic() - started > 60 * options.minutes:
            break
        kind = "forked" if chance.random() < options.forked else "command"
        moment = kill_once(killed, starts[kind], chance, durations[kind], time_cycle(killed, calm))
        if moment == "ended":
            print("the replay has ended before all kills", flush=True)
            break
        when[f"{kind}, {moment}"] += 1
        faults += [f"kill {number}: {fault}" for fault in find_halves(killed)]
        print(f"kill {number}, {kind}, {moment}: {len(killed.forecasts())} forecasts, {len(faults)} faults", flush=True)
    killed.finish(Forked)
    return {
        "settings": watch,
        "kills": when.total(),
        "seed": options.seed,
        "when": dict(sorted(when.items())),
        "faults_after_a_kill": faults,
        **compare(calm, killed),
    }


def write_hours(folder: Path) -> Path:
    """Write the frames of the hours that are replayed with kills into one file; return it."""
    field = open_radar(fetch("openmrg-20150827", radar_only=True)).sel(time=HOURS)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / "hours.nc"
    kept = {name: field.attrs[name] for name in ("units", "standard_name", "cell_methods") if name in field.attrs}
    field.drop_attrs(deep=False).assign_attrs(kept).to_netcdf(path, engine="h5netcdf")
    return path


def kill_once(place: Place, start: Start, chance: random.Random, duration: float, cycle: float) -> str:
    """Start the replay and kill its process, while it starts or in a cycle; return when.

    Parameters
    ----------
    place
        Where it runs.
    start
        Starts it.
    chance
        Draws the moment.
    duration, cycle
        Duration of a start and of a cycle without kills, s.
    """
    released = place.out / "state" / "replay.json"
    before = released.read_text() if released.exists() else ""
    process = start(place)
    moment = "starting" if chance.random() < 0.4 else "cycle"
    if moment == "cycle":
        while process.poll() is None and (not released.exists() or released.read_text() == before):
            time.sleep(0.003)
    until = time.monotonic() + chance.uniform(0, duration if moment == "starting" else cycle)
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.003)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    return "ended" if ended else moment


def time_cycle(*places: Place) -> float:
    """Return the duration of the newest forecast of the first of places that has one, s."""
    newest = next(place.forecasts()[-1] for place in places if place.forecasts())
    return float(json.loads((newest / "about.json").read_text())["seconds"]["from_frame_to_products"])


def time_start(place: Place, start: Start) -> float:
    """Start a replay, end it when it has released a frame, and return how long that took, s."""
    started = time.monotonic()
    process = start(place)
    before = len(list(place.out.glob("state/arrived/*")))
    while len(list(place.out.glob("state/arrived/*"))) == before and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    return time.monotonic() - started


def find_halves(place: Place) -> list[str]:
    """Return what a reader would find half written after a kill."""
    found = []
    for folder in place.forecasts():
        about = json.loads((folder / "about.json").read_text())
        found += [f"{folder.name}: no {name}" for name in about["products"] if not (folder / name).exists()]
    for path in (*place.out.glob("[!.]*.json"), *(place.out / "state").glob("[!.]*.json")):
        try:
            content = json.loads(path.read_text())
        except ValueError:
            found.append(f"{path.name} is half")
            continue
        if path.name == "latest.json" and not (place.out / content["folder"] / "about.json").is_file():
            found.append(f"latest.json names {content['folder']}, which is not there")
    log = place.out / "warnings.jsonl"
    if log.exists():
        found += [f"{log.name}: half a line" for line in log.read_text().splitlines() if not line.endswith("}")]
    return found


def compare(calm: Place, killed: Place) -> dict[str, Any]:
    """Return how the products, the log and the messages of two runs differ."""
    files = [{path.relative_to(one.out): path for path in list_products(one.out)} for one in (calm, killed)]
    both = files[0].keys() & files[1].keys()
    logs = [read_events(one.out / "warnings.jsonl") for one in (calm, killed)]
    audits = [audit_events(log) for log in logs]
    told = [Counter(one["id"] for one in place.messages()) for place in (calm, killed)]
    contents = [{one["id"]: drop_clock(one, place) for one in place.messages()} for place in (calm, killed)]
    return {
        "forecasts": len(calm.forecasts()),
        "files": len(files[0]),
        "bytes": sum(path.stat().st_size for path in files[0].values()),
        "files_lost": sorted(str(name) for name in files[0].keys() - files[1].keys()),
        "files_too_many": sorted(str(name) for name in files[1].keys() - files[0].keys()),
        "files_that_differ": sorted(
            str(name) for name in both if read_product(files[0][name]) != read_product(files[1][name])
        ),
        "remains": sorted(str(path.relative_to(killed.out)) for path in killed.out.rglob("*.part*")),
        "warning_events": len(logs[0]),
        "warnings_raised": sum(event.kind == "raised" for event in logs[0]),
        "log_is_the_same": logs[0] == logs[1],
        "audit_faults": [*audits[0].faults, *audits[1].faults],
        "messages": len(told[0]),
        "messages_lost": len(told[0].keys() - told[1].keys()),
        "messages_too_many": len(told[1].keys() - told[0].keys()),
        "messages_that_differ": sum(contents[0][one] != contents[1].get(one, contents[0][one]) for one in contents[0]),
        "messages_delivered_again_with_their_id": sum(told[1].values()) - len(told[1]),
    }


def list_products(out: Path) -> Iterator[Path]:
    """Yield the files that a run leaves, but for the state and the counters since its start."""
    for path in sorted(out.rglob("*")):
        own = path.relative_to(out).parts[0] in {"state", "status.json", "metrics.prom"}
        if path.is_file() and not own:
            yield path


def read_product(path: Path) -> Any:
    """Return the content of a file, without what depends on the clock."""
    if path.name in {"about.json", "latest.json"}:
        about = json.loads(path.read_text())
        return {key: value for key, value in about.items() if key not in CLOCK}
    if path.name in {".zattrs", ".zmetadata"}:  # the history of a forecast begins with the time of its writing
        return drop_history(json.loads(path.read_text()))
    return path.read_bytes()


def drop_history(content: Any) -> Any:
    """Return an object of JSON without the keys ``history``."""
    if not isinstance(content, dict):
        return content
    return {key: drop_history(value) for key, value in content.items() if key != "history"}


def drop_clock(message: dict[str, Any], place: Place) -> dict[str, Any]:
    """Return a message without what depends on the clock and the folder."""
    text = json.dumps({key: value for key, value in message.items() if key not in CLOCK})
    return dict(json.loads(text.replace(str(place.root), "")))


# --- memory ---------------------------------------------------------------------------------------------------


def run_memory(options: argparse.Namespace) -> dict[str, Any]:
    """Replay days in Gothenburg with the oldest forecasts removed, and read memory and numbers of files."""
    watch = 'members = 5\nlead_time = "30min"\npictures = ["maps", "probabilities"]\nmap = true\nkeep = "3h"'
    place = Place(options.work / "memory", 'dataset = "openmrg-20150722"', "2015-07-25..2015-07-26", GOTHENBURG, watch)
    process = place.start()
    samples: list[dict[str, float]] = []
    last: Path | None = None
    try:
        while len(samples) < options.cycles and process.poll() is None:
            newest = next(reversed(place.forecasts()), None)
            if newest is not None and newest != last:
                last = newest
                samples.append(take_sample(place, process.pid))
                if len(samples) % 20 == 0:
                    print(len(samples), samples[-1], flush=True)
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait()
    settled = samples[SETTLED:]
    return {"cycles": len(samples), **{name: describe_trend(settled, name) for name in samples[0]}}


def take_sample(place: Place, pid: int) -> dict[str, float]:
    """Return memory and open files of the loop and of its worker process, and the files on the disk."""
    (worker,) = [one for one in read_children(pid) if "spawn_main" in Path(f"/proc/{one}/cmdline").read_text()]
    sizes = list(read_sizes(place.out))
    log = place.out / "warnings.jsonl"
    return {
        "loop_mb": read_memory(pid),
        "worker_mb": read_memory(worker),
        "loop_open_files": count_entries(pid, "fd"),
        "worker_open_files": count_entries(worker, "fd"),
        "loop_threads": count_entries(pid, "task"),
        "files": float(len(sizes)),
        "files_mb_without_the_log": (sum(sizes) - log.stat().st_size) / 1e6,
        "log_kb": log.stat().st_size / 1e3,
    }


def read_sizes(folder: Path) -> Iterator[int]:
    """Yield the sizes of all files of a folder, in which files come and go meanwhile."""
    for parent, _, names in os.walk(folder):  # which bears folders that go, as Path.rglob does not
        for name in names:
            with suppress(FileNotFoundError):
                yield (Path(parent) / name).stat().st_size


def count_entries(pid: int, what: str) -> float:
    """Return the number of open files (``fd``) or threads (``task``) of a process."""
    return float(len(list(Path(f"/proc/{pid}/{what}").iterdir())))


def read_children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def read_memory(pid: int) -> float:
    """Return the resident memory of a process, MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def describe_trend(samples: Sequence[dict[str, float]], name: str) -> dict[str, float]:
    """Return the mean of the first and of the last fifth of samples, their ratio, and the largest."""
    values = np.array([one[name] for one in samples])
    part = max(1, len(values) // 5)
    first, last = float(values[:part].mean()), float(values[-part:].mean())
    return {
        "first_fifth": round(first, 2),
        "last_fifth": round(last, 2),
        "ratio": round(last / first, 4),
        "largest": round(float(values.max()), 2),
    }


# --- replay ---------------------------------------------------------------------------------------------------


def replay_days(options: argparse.Namespace) -> dict[str, Any]:
    """Replay German radar: all days in brief, and some in full; compare frames with forecasts."""
    brief = 'nowcaster = "advection"\nmembers = 0\nlead_time = "1h"\nstep = "15min"\npictures = []\nkeep = "400h"'
    full = 'members = 20\nlead_time = "2h"\npictures = []\nkeep = "400h"'
    watch = full if options.full else brief
    place = Place(
        options.work / f"replay-{options.dates}", 'dataset = "pycomlink-dwd-2018"', options.dates, GERMANY, watch
    )
    started = time.monotonic()
    process = place.start()
    while process.poll() is None and time.monotonic() - started < options.minutes * 60:
        time.sleep(1)
    process.terminate()
    process.wait()
    return {"settings": watch, "minutes": round((time.monotonic() - started) / 60, 1), **count_replay(place)}


def count_replay(place: Place) -> dict[str, Any]:
    """Return the numbers of frames released and of forecasts, and what was lost or doubled."""
    last = np.datetime64(json.loads((place.out / "state" / "replay.json").read_text())["released"])
    names = [path.name for path in place.forecasts()]
    first = np.datetime64(f"{names[0][:4]}-{names[0][4:6]}-{names[0][6:11]}:{names[0][11:13]}:{names[0][13:15]}")
    abouts = [json.loads((path / "about.json").read_text()) for path in place.forecasts()]
    times = [np.datetime64(one["issue_time"].removesuffix("Z")) for one in abouts]
    due = set(np.arange(first, last + 1, np.timedelta64(5, "m")).astype("datetime64[s]"))
    told = Counter(one["id"] for one in place.messages())
    log = read_events(place.out / "warnings.jsonl")
    checked = Counter(event.time for event in log if event.kind == "checked")
    seconds = np.array([one["seconds"]["from_frame_to_products"] for one in abouts])
    return {
        "first": str(first),
        "last": str(last),
        "frames": len(due),
        "forecasts": len(names),
        "lost": len(due - set(times)),
        "doubled": len(times) - len(set(times)),
        "revised": sum(one["revision"] > 0 for one in abouts),
        "left_out": sorted({note for one in abouts for note in one["left_out"]}),
        "decisions": len(checked),
        "decisions_doubled": sum(checked.values()) - len(checked),
        "warnings_raised": sum(event.kind == "raised" for event in log),
        "audit_faults": list(audit_events(log).faults),
        "messages": len(told),
        "messages_repeated": sum(told.values()) - len(told),
        "median_s": round(float(np.median(seconds)), 2),
        "p95_s": round(float(np.percentile(seconds, 95)), 2),
    }


# --- the page -------------------------------------------------------------------------------------------------


def format_page(found: dict[str, Any]) -> str:
    """Return the tables of the page."""
    makers = {"kills": format_kills, "memory": format_memory, "replay": format_replay, "replay in full": format_replay}
    return "\n\n".join(makers[name](found[name]) for name in makers if name in found)


def format_kills(found: dict[str, Any]) -> str:
    """Return the table of the kills."""
    when = "; ".join(f"{moment} {count}" for moment, count in found["when"].items())
    rows = [
        ("kills (seed)", f"{found['kills']} ({found['seed']}): {when}"),
        ("found half after a kill", len(found["faults_after_a_kill"])),
        (
            "forecasts; files; MB, with and without kills",
            f"{found['forecasts']}; {found['files']}; {found['bytes'] / 1e6:.1f}",
        ),
        ("files lost, too many, that differ", count_lists(found, "files_lost", "files_too_many", "files_that_differ")),
        ("unfinished files left", len(found["remains"])),
        ("events in the log of warnings; raised", f"{found['warning_events']}; {found['warnings_raised']}"),
        (
            "the log is the same; faults of its audit",
            f"{'yes' if found['log_is_the_same'] else 'no'}; {len(found['audit_faults'])}",
        ),
        (
            "messages; lost, too many, that differ",
            f"{found['messages']}; "
            + ", ".join(str(found[f"messages_{what}"]) for what in ("lost", "too_many", "that_differ")),
        ),
        ("delivered again with their id", found["messages_delivered_again_with_their_id"]),
    ]
    return format_rows("kills at random moments", rows)


def count_lists(found: dict[str, Any], *names: str) -> str:
    """Return the lengths of lists, with commas."""
    return ", ".join(str(len(found[name])) for name in names)


def format_memory(found: dict[str, Any]) -> str:
    """Return the table of memory and files."""
    head = f"| {found['cycles']} cycles, after the first {SETTLED} | first fifth | last fifth | ratio | largest |"
    lines = [head, "|---|---|---|---|---|"]
    for name, values in found.items():
        if isinstance(values, dict):
            title = name.replace("_mb", ", MB").replace("_kb", ", kB").replace("_", " ")
            lines.append(f"| {title} | {' | '.join(f'{value:g}' for value in values.values())} |")
    return "\n".join(lines)


def format_replay(found: dict[str, Any]) -> str:
    """Return the table of a replay."""
    rows = [
        ("settings", f"`{'; '.join(found['settings'].splitlines())}`"),
        ("from; to", f"{found['first']}; {found['last']}"),
        ("frames; forecasts", f"{found['frames']}; {found['forecasts']}"),
        ("lost; doubled; made again", f"{found['lost']}; {found['doubled']}; {found['revised']}"),
        (
            "decisions on warnings; doubled; raised",
            f"{found['decisions']}; {found['decisions_doubled']}; {found['warnings_raised']}",
        ),
        ("faults of the audit of the log", len(found["audit_faults"])),
        ("messages; repeated", f"{found['messages']}; {found['messages_repeated']}"),
        ("from frame to products, s: median; 95 %", f"{found['median_s']}; {found['p95_s']} (a shared machine)"),
    ]
    return format_rows("replay of German radar", rows)


def format_rows(title: str, rows: Sequence[tuple[str, Any]]) -> str:
    """Return a table of names and values."""
    return "\n".join([f"| {title} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def write_page(found: dict[str, Any]) -> None:
    """Write the page of results."""
    tables = f"<!-- endurance -->\n{format_page(found)}\n<!-- /endurance -->"
    PAGE.write_text("\n\n".join([INTRODUCTION, tables, EXPLANATION]) + "\n", encoding="utf-8")


def main() -> None:
    """Run a part, and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["kills", "memory", "replay"])
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs, which are made anew")
    parser.add_argument("--count", type=int, default=100, help="number of kills")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--cycles", type=int, default=300, help="number of forecasts whose memory is read")
    parser.add_argument(
        "--forked", type=float, default=0.0, help="share of kills of a loop that is forked, not started"
    )
    parser.add_argument("--quick", action="store_true", help="kills without the trained model and without pictures")
    parser.add_argument("--dates", default="2018-05-10..2018-05-20", help="days of the replay")
    parser.add_argument(
        "--full", action="store_true", help="replay with 20 members to 2 h, instead of advection to 1 h"
    )
    parser.add_argument(
        "--minutes", type=float, default=600.0, help="time after which the replay, or killing, is ended"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    run = {"kills": run_kills, "memory": run_memory, "replay": replay_days}[options.part]
    found = run(options)
    print(json.dumps(found, indent=1))
    stored = json.loads(options.out.read_text()) if options.out.exists() else {}
    name = options.part + (" in full" if options.part == "replay" and options.full else "")
    with atomic_write(options.out) as part:
        part.write_text(json.dumps(stored | {name: found}, indent=1) + "\n", encoding="utf-8")
    if options.out == RESULTS:
        write_page(stored | {name: found})


if __name__ == "__main__":
    main()
