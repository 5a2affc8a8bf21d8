"""README and site keep their word: Python runs, commands are understood, files load, links lead somewhere."""

from __future__ import annotations

import configparser
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyproj
import pytest
import typer
import xarray as xr

from helpers.paths import ROOT
from helpers.synthetic import moving_block
from hybridcast.cli import app as cli
from hybridcast.datasets.registry import fetch
from hybridcast.errors import FetchError

README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS = ROOT / "notebooks"
#: Pages whose code is run here; that of architecture.md and guide/public_archives.md is run by tests of their own.
WITH_CODE = [
    ROOT / "README.md",
    NOTEBOOKS / "getting_started.md",
    NOTEBOOKS / "coming_from_pysteps.md",
    NOTEBOOKS / "troubleshooting.md",
    *sorted((NOTEBOOKS / "guide").glob("*.md")),
]
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in WITH_CODE}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
BLOCKS = [(page, kind, code) for page, text in PAGES.items() for kind, code in FENCE.findall(text)]
PYTHON = [(page, code) for page, kind, code in BLOCKS if kind == "python" and "public_archives" not in page]


def blocks_of(page: str, kind: str) -> list[str]:
    """Return the code blocks of a kind of a page."""
    return [code for name, found, code in BLOCKS if (name, found) == (page, kind)]


def commands() -> list[list[str]]:
    """Give the words of each command of ours in a console block."""
    text = "\n".join(code for _, kind, code in BLOCKS if kind == "console")
    lines = dict.fromkeys(re.findall(r"^hybridcast (?:[^\n\"]|\"[^\"]*\")*$", text, re.M))
    return [shlex.split(line, comments=True)[1:] for line in lines]


COMMANDS = commands()
#: Pages whose links are followed: all but the copies of notebooks, which have none to files.
LINKED = [*ROOT.glob("*.md"), *(path for path in NOTEBOOKS.rglob("*.md") if path.parent.name != "cases")]


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[f"{Path(page).stem}-{len(code)}" for page, code in PYTHON])
def test_python_runs(page, code, tmp_path, monkeypatch):
    for name in re.findall(r'fetch\("(.*?)"\)', code):
        try:
            fetch(name, progress=False)
        except FetchError as error:
            pytest.skip(f"real data missing: {error}")
    if "import pysteps" in code:
        pytest.importorskip("pysteps")
    monkeypatch.chdir(tmp_path)
    if "odd.nc" in code:
        files_of_ones_own(tmp_path)
    if "gauges.csv" in code:
        sources_of_ones_own(tmp_path)
    scope: dict[str, Any] = {}
    exec(compile(code, page, "exec"), scope)
    if "save_forecast" in code:
        assert Path("forecast.nc").stat().st_size > 10_000
    if "gauges.csv" in code:
        assert re.fullmatch(r"radar; nwp run .*; 1 stations? \(.*\)", scope["result"].sources_used)
    for name in re.findall(r'"(\w+\.png)"', code):
        assert Path(name).stat().st_size > 10_000


def files_of_ones_own(folder: Path) -> None:
    """Write the files that the guide calls odd.nc and mine/*.pgm."""
    from PIL import Image

    rain = moving_block(4)
    rain.drop_attrs().rename("rain").to_netcdf(folder / "odd.nc")
    (folder / "mine").mkdir()
    for k, frame in enumerate(rain.values):
        Image.fromarray((frame * 10).astype("uint8")).save(folder / "mine" / f"{k}.pgm")


def sources_of_ones_own(folder: Path) -> None:
    """Write the files that the guide calls radar.nc, nwp.nc and gauges.csv."""
    radar = moving_block(12)
    radar.to_netcdf(folder / "radar.nc")
    south, west = pyproj.Transformer.from_crs("EPSG:3035", "EPSG:4326").transform(24e3, 28e3)
    start = radar.time.values[0].astype("datetime64[h]") - np.timedelta64(5, "h")
    steps = (start + np.arange(12) * np.timedelta64(1, "h")).astype("datetime64[ns]")
    latitude, longitude = south + np.arange(-5, 5.1, 0.25), west + np.arange(-5, 5.1, 0.25)
    total = np.arange(12.0)[:, None, None] * np.full((latitude.size, longitude.size), 1e-3)
    axes = {
        "time": steps,
        "latitude": ("latitude", latitude, {"units": "degrees_north"}),
        "longitude": ("longitude", longitude, {"units": "degrees_east"}),
    }
    xr.Dataset({"tp": (("time", "latitude", "longitude"), total)}, axes).to_netcdf(folder / "nwp.nc")
    rows = [f"A,{time},{south},{west},0.5" for time in np.datetime_as_string(radar.time.values[1::2], unit="s")]
    (folder / "gauges.csv").write_text("\n".join(["station,time,lat,lon,rain_mm", *rows]))


def test_a_file_named_as_the_guide_says_is_read(tmp_path, monkeypatch):
    from hybridcast import open_radar

    files_of_ones_own(tmp_path)
    with pytest.raises(OSError, match="standard_name"):
        open_radar(tmp_path / "odd.nc")
    monkeypatch.chdir(tmp_path)
    code = next(code for _, code in PYTHON if "odd.nc" in code).partition("grey =")[0]
    exec(compile(code, "radar.md", "exec"), {})
    assert float(open_radar("named.nc").max()) == pytest.approx(5.0)


def test_every_block_is_of_a_kind_that_is_tested():
    # blocks without a kind are texts, such as messages and folders
    assert {kind for _, kind, _ in BLOCKS} <= {"python", "console", "toml", "ini", "dockerfile", ""}
    assert len(COMMANDS) >= 24
    assert len(PYTHON) >= 11


@pytest.mark.parametrize("words", COMMANDS, ids=[" ".join(words)[:50] for words in COMMANDS])
def test_commands_are_understood(words):
    """Every option and argument is known to the command (nothing runs)."""
    group = typer.main.get_command(cli.app)
    command = group.get_command(click.Context(group), words[0])
    assert command is not None, words
    command.make_context(words[0], words[1:])


def test_the_first_commands_run_one_after_the_other(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_radar").mkdir()
    for k, frame in enumerate(moving_block(6)):
        frame.expand_dims("time").to_netcdf(
            tmp_path / "my_radar" / f"radar_20240601_12{5 * k:02d}.h5", engine="h5netcdf"
        )
    (block,) = (text for text in blocks_of("README.md", "console") if "--plot" in text)
    for line in block.strip().splitlines():
        words = shlex.split(line, comments=True)[1:]
        code, _, err = run(*words)
        assert code == 0, (words, err)
    assert Path("forecast.gif").stat().st_size > 1000
    assert Path("probabilities.png").stat().st_size > 1000


def test_toml_blocks_load(tmp_path):
    from hybridcast.datasets.events import load_events
    from hybridcast.nightly.config import load_config
    from hybridcast.watch.config import load_watch

    (events,) = blocks_of("notebooks/guide/training.md", "toml")
    (watched,) = blocks_of("notebooks/guide/operation.md", "toml")
    (regions,) = blocks_of("notebooks/guide/nightly.md", "toml")
    (tmp_path / "north" / "2023").mkdir(parents=True)
    for day in ("01", "02"):
        hours = np.datetime64(f"2023-06-{day}T06:00", "ns") + np.arange(12) * np.timedelta64(1, "h")
        moving_block(12, time=hours).to_netcdf(tmp_path / "north" / "2023" / f"{day}.h5", engine="h5netcdf")
    (tmp_path / "events.toml").write_text(events)
    assert [event.region for event in load_events(tmp_path / "events.toml")] == ["north", "north"]
    (tmp_path / "regions.toml").write_text(regions)
    (tmp_path / "watched.toml").write_text(watched)
    (north,) = load_watch(tmp_path / "watched.toml")
    assert (north.name, north.watch.members, north.watch.on_warning is not None) == ("north", 20, True)
    (region,) = load_config(tmp_path / "regions.toml").region
    assert region.name == tomllib.loads(regions)["region"][0]["name"]


def test_the_timer_and_the_cron_line_call_a_command_that_exists():
    (unit,) = blocks_of("notebooks/guide/nightly.md", "ini")
    parser = configparser.ConfigParser(comment_prefixes=("#",), strict=False)
    parser.read_string(unit)
    assert parser["Service"]["ExecStart"].endswith("hybridcast nightly")
    assert parser["Timer"]["OnCalendar"]
    assert re.search(r"^\d+ \d+ \* \* \* .*hybridcast nightly", PAGES["notebooks/guide/nightly.md"], re.M)


def test_commands_of_the_readme_exist():
    named = set(re.findall(r"hybridcast (fetch|forecast|demo|info|[a-z]+) ", README))
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    assert {"fetch", "forecast", "info", "plot"} <= named & known
    for target in set(re.findall(r"(?:`|^)make ([a-z-]+)", "\n".join(PAGES.values()), re.M)):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M), target


@pytest.mark.parametrize("path", LINKED, ids=[path.relative_to(ROOT).as_posix() for path in LINKED])
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_readme_is_a_page_with_a_small_picture():
    assert 100 <= len(README.splitlines()) <= 130
    assert (NOTEBOOKS / "forecast.gif").stat().st_size < 1_500_000


def test_functions_of_the_page_on_pictures_exist():
    from hybridcast import plots

    for name in re.findall(r"`(plot_\w+|animate_\w+)`", PAGES["notebooks/guide/pictures.md"]):
        assert callable(getattr(plots, name)), name
