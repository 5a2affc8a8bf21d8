"""The page on operation: its unit, its commands and the keys that it names are there."""

from __future__ import annotations

import configparser
import re
import shlex
from dataclasses import fields

import click
import pytest
import typer

from helpers.paths import ROOT
from hybridcast.cli import app as cli
from hybridcast.core.patterns import expand_pattern
from hybridcast.watch.config import WatchSettings
from hybridcast.watch.status import METRICS, STATUS, Counters, Snapshot, render_metrics

PAGE = (ROOT / "notebooks" / "guide" / "operation.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:hybridcast ([^#\n]*))", PAGE, re.M)


def understand(line: str) -> None:
    words = shlex.split(line)
    group = typer.main.get_command(cli.app)
    command = group.get_command(click.Context(group), words[0])
    assert command is not None, words
    command.make_context(words[0], words[1:])


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line):
    understand(line)


def test_the_unit_starts_a_command_that_exists():
    (unit,) = re.findall(r"```ini\n(.*?)```", PAGE, re.S)
    parser = configparser.RawConfigParser(comment_prefixes=("#",), strict=False)
    parser.optionxform = str
    parser.read_string(unit)
    service = parser["Service"]
    understand(service["ExecStart"].partition("bin/hybridcast ")[2].replace("%i", "north"))
    assert service["RestartPreventExitStatus"].split() == ["2", "3"]
    assert service["OOMPolicy"] == "continue"


def test_the_container_starts_a_command_that_exists():
    entry = re.search(r'^ENTRYPOINT \["hybridcast", (.*)\]$', PAGE, re.M)[1]
    understand(" ".join(re.findall(r'"(.*?)"', entry)) + " --region north")
    understand(re.search(r"CMD hybridcast (.*?);", PAGE)[1])
    assert "-c constraints.txt" in PAGE


def test_the_keys_that_it_names_are_keys():
    known = {field.name for field in fields(WatchSettings)}
    named = {"wait", "longest_outage", "catch_up", "keep", "alert_age", "poll", "metrics", "timeout", "on_forecast"}
    assert named <= known
    assert all(f"`{name}`" in PAGE for name in named)


def test_the_metric_that_it_names_is_one():
    import numpy as np

    now = np.datetime64("2024-06-01", "ns")
    text = render_metrics(Snapshot("a", now, 1, False, Counters(), now, now, [], [], 0, [], [], 0, 0))
    for name in re.findall(r"hybridcast_\w+", PAGE):
        assert name in text
    assert STATUS in PAGE
    assert METRICS in PAGE


def test_the_patterns_that_it_shows_are_patterns():
    import numpy as np

    day = np.datetime64("2024-06-01T00:00"), np.datetime64("2024-06-01T03:00")
    shown = re.findall(r'^\| `"(.*?)"` \|', PAGE, re.M)
    assert len(shown) == 5
    for pattern in shown:
        assert expand_pattern(pattern, *day, np.timedelta64(5, "m"))
