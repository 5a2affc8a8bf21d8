"""The commands nightly and scores: exit statuses, what they print, the configuration they write."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from helpers import nightly_radar as small
from hybridcast.cli import app as cli
from hybridcast.nightly.config import load_config


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process; give exit status, output and errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hybridcast", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def config(tmp_path):
    """A configuration of one region with radar."""
    small.write_frames(tmp_path / "radar", small.rain())
    path = tmp_path / "regions.toml"
    path.write_text(
        small.as_toml(
            replace(small.region(tmp_path / "radar", nowcasters=()), radar="radar/*.pgm"), store="s", report="r"
        )
    )
    return path


def test_a_night_and_its_scores(run, config, tmp_path):
    code, out, err = run("nightly", "--config", config, "--date", small.DATE)
    assert code == 0, err
    assert out.splitlines()[1].split("\t") == ["here", small.DATE, "good", "4", "4"]
    assert f"report: {tmp_path / 'r' / small.DATE}.html" in out
    assert "seconds for each issue time and nowcaster: advection" in err
    assert "seconds by stage: radar" in err
    assert "peak memory of a process" in err
    code, _, err = run("nightly", "--config", config, "--date", small.DATE)
    assert (code, "done already (good)" in err) == (0, True)
    code, out, _ = run("scores", "--store", tmp_path / "s")
    assert code == 0
    assert out.splitlines()[0].split("\t")[:6] == ["region", "days", "nowcaster", "lead (min)", "cases", "CSI 0.1"]
    assert len(out.splitlines()) == 1 + 2 * 2
    code, out, _ = run("scores", "--store", tmp_path / "s", "--query", "select state from nights")
    assert (code, out) == (0, "state\ngood\n")
    code, _, err = run("scores", "--store", tmp_path / "s", "--query", "selct")
    assert (code, "SQL for DuckDB" in err) == (1, True)


def test_a_region_that_fails_is_exit_1(run, config, tmp_path):
    good = load_config(config).region[0]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "202006011200.pgm").write_bytes(b"no radar")
    bad = small.region(tmp_path / "bad", "bad", nowcasters=())
    config.write_text(small.as_toml(bad, good, store="s2", report="r"))
    code, out, err = run("nightly", "--config", config, "--date", small.DATE)
    assert code == 1
    assert [line.split("\t")[2] for line in out.splitlines()[1:3]] == ["failed", "good"]
    assert "bad 2020-06-01: failed:" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "none.toml"), "hybridcast nightly --init"),
        (("--date", "tomorrow"), "it is a day"),
        (("--region", "ther"), "Did you mean 'here'"),
        (("--workers", "0"), "workers"),
        (("--scheduler", "nonsense://x"), "a dask scheduler answers there"),
    ],
)
def test_wrong_options_are_exit_2(run, config, arguments, message):
    code, _, err = run("nightly", "--config", config, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_wrong_configuration_is_exit_2(run, config):
    config.write_text(config.read_text().replace("every", "evry"))
    code, _, err = run("nightly", "--config", config)
    assert code == 2
    assert "region here: unknown key 'evry'" in err
    assert "Did you mean 'every'" in err


def test_init_writes_a_configuration_that_is_one_and_overwrites_nothing(run, tmp_path):
    path = tmp_path / "mine.toml"
    code, _, err = run("nightly", "--init", "--config", path)
    assert (code, "wrote" in err) == (0, True)
    assert [region.name for region in load_config(path).region] == ["dwd", "brisbane", "fmi"]
    path.write_text("mine")
    code, _, err = run("nightly", "--init", "--config", path)
    assert (code, path.read_text()) == (2, "mine")
    assert "nothing is overwritten" in err


def test_a_real_night_of_the_shipped_configuration(run, real, tmp_path, monkeypatch):
    """The FMI archive, one issue time: the whole way with the nowcasters that are shipped."""
    real("fmi/20170509/*.pgm.gz")
    text = load_config("shipped")
    fmi = next(region for region in text.region if region.name == "fmi")
    assert fmi.issue_times("2017-05-09").size == 10
    assert np.datetime64("2017-05-09T11:15") in fmi.issue_times("2017-05-09")
    monkeypatch.chdir(tmp_path)
    code, _, err = run("nightly", "--config", "shipped", "--date", "2000-01-01")
    assert code == 2
    assert "a region has that day" in err


def test_help_teaches(run):
    code, out, _ = run("nightly", "--help")
    assert code == 0
    for word in ("Example", "--init", "--config shipped", "Exit status", "--scheduler"):
        assert word in out
    assert "Example" in run("scores", "--help")[1]
