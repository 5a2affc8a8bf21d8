"""The tables [watch]: what they mean, and what is refused, by name."""

from __future__ import annotations

import tomllib
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from hybridcast.datasets.registry import packaged_path
from hybridcast.errors import InputError, InputWarning
from hybridcast.nightly.config import load_config
from hybridcast.watch.config import HookSettings, WatchSettings, check_commands, load_watch

TEXT = '[[region]]\nname = "north"\nradar = "rain/*.nc"\n'


@pytest.fixture
def load(tmp_path):
    def written(text: str, names=()):
        path = tmp_path / "regions.toml"
        path.write_text(text, encoding="utf-8")
        return load_watch(path, names)

    return written


def test_a_region_overrides_what_all_share(load, tmp_path):
    text = '[watch]\nmembers = 5\nout = "w"\nnwp = ["n/*.nc", "https://example.org/n.nc"]\n' + TEXT
    text += "[region.watch]\nmembers = 7\n" + TEXT.replace("north", "south")
    north, south = load(text)
    assert (north.watch.members, south.watch.members) == (7, 5)
    assert north.folder == tmp_path / "w" / "north"
    assert south.watch.nwp == (f"{tmp_path}/n/*.nc", "https://example.org/n.nc")
    assert [one.name for one in load(text, ["south"])] == ["south"]
    assert [one.name for one in load_config(tmp_path / "regions.toml").region] == ["north", "south"]


def test_durations(load):
    (north,) = load("[watch]\nwait = '90s'\n" + TEXT)
    assert north.duration("wait") == np.timedelta64(90, "s")
    assert north.optional_duration("radar_step") is None


def test_the_example_is_one_with_every_key(load):
    text = packaged_path("regions.toml").read_text(encoding="utf-8")
    regions = load(text)
    assert [one.name for one in regions] == ["dwd", "brisbane", "fmi"]
    keys = {key for key in tomllib.loads(text)["watch"]}
    shown = {
        field.name for field in fields(WatchSettings) if f"\n{field.name} = " in text or f"# {field.name} = " in text
    }
    named = {field.name for field in fields(WatchSettings) if field.name in text}
    assert named == {field.name for field in fields(WatchSettings)}
    assert keys <= shown
    for key, value in tomllib.loads(text)["watch"].items():
        default = getattr(WatchSettings(), key)
        assert (tuple(value) if isinstance(value, list) else value) == default, key


def test_the_table_is_none_of_the_nightly_run(load):
    load("[watch]\nmembers = 3\n[watch.on_forecast]\ncommand = ['true']\n" + TEXT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[watch]\nmembres = 3\n" + TEXT, "watch, region north: unknown key 'membres'.*Did you mean 'members'"),
        ("watch = 3\n" + TEXT, "watch = 3; it is a table"),
        (TEXT + "watch = 3\n", "region north: watch = 3"),
        (TEXT + "[region.watch]\nwait = '5'\n", "wait = '5'; it is a duration"),
        ("[watch]\npoll = '1ms'\n" + TEXT, "100ms at least"),
        ("[watch]\nmembers = -1\n" + TEXT, "members = -1"),
        ("[watch]\nnowcaster = 'hybrid'\n" + TEXT, "Did you mean 'hybridcast'"),
        ("[watch]\nfile = 'a.nc'\n" + TEXT, "file 'a.nc'"),
        ("[watch]\npacking = 'float61'\n" + TEXT, "Did you mean 'float16'"),
        ("[watch]\npictures = ['map']\n" + TEXT, "Did you mean 'maps'"),
        ("[watch]\nmembers = 0\npictures = ['members']\n" + TEXT, "there are members to draw"),
        ("[watch]\nthresholds = []\n" + TEXT, "one at least"),
        ("[watch]\nthresholds = [0.0, 1.0]\n" + TEXT, "they are above zero"),
        ("[watch]\nthresholds = [1.0, 1.0]\n" + TEXT, "and increase"),
        ("[watch]\nthresholds = [nan]\n" + TEXT, "they are above zero"),
        (TEXT.replace("rain/*.nc", ""), "radar = ''; it is a glob"),
        ("[watch.on_forecast]\n" + TEXT, "a hook has"),
        ("[watch.on_forecast]\nurl = 'https://a'\ntimeout = '1'\n" + TEXT, "timeout = '1'"),
        (TEXT.replace("rain/*.nc", "https://example.org/%Y%m%d%H%M.h5"), "Give radar_step"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(load, text, message):
    with pytest.raises(InputError, match=message):
        load(text)


def test_a_file_that_begins_with_a_byte_order_mark_is_read(load):
    assert load("\ufeff" + TEXT)[0].name == "north"


def test_two_regions_do_not_write_one_file_of_metrics(load, tmp_path):
    text = '[watch]\nmetrics = "m.prom"\n' + TEXT
    (north,) = load(text)
    assert north.watch.metrics == f"{tmp_path}/m.prom"
    assert north.in_replay().watch.metrics is None
    with pytest.raises(InputError, match=r"m\.prom' of 2 regions.*\[region\.watch\]"):
        load(text + TEXT.replace("north", "south"), ["south"])


def test_a_region_is_not_named_as_the_replays_of_another(load):
    with pytest.raises(InputError, match=r"'north' and 'north-replay'.*Rename"):
        load(TEXT + TEXT.replace("north", "north-replay"))


def test_a_hook(load):
    text = "[watch.on_forecast]\ncommand = ['a', 'b']\ntimeout = '2min'\n" + TEXT
    assert load(text)[0].watch.on_forecast == HookSettings(command=("a", "b"), timeout="2min")


def test_the_command_of_a_hook_starts_at_the_folder_of_the_file_and_can_be_run(load, tmp_path):
    text = "[watch.on_forecast]\ncommand = ['./tell.sh', 'x']\n" + TEXT
    script = tmp_path / "tell.sh"
    watch = load(text)[0].watch
    for write in (lambda: None, lambda: script.write_text("#!/bin/sh\n")):
        write()
        with pytest.raises(InputError, match=r"on_forecast: command '.*tell\.sh'.*chmod \+x"):
            check_commands(watch)
    script.chmod(0o755)
    check_commands(watch)
    name, argument = watch.on_forecast.command
    assert (Path(name).resolve(), argument) == (script, "x")


def test_keys_of_the_nightly_run_are_noted(load):
    with pytest.warns(
        InputWarning, match=r"region 'north': members, lead_time of \[\[region\]\] are for the nightly run"
    ):
        (north,) = load(TEXT + 'members = 5\nlead_time = "30min"\n')
    assert north.watch.members != 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(TEXT + "members = 5\n[region.watch]\nmembers = 7\n")


def test_warnings_that_nobody_would_get_are_refused(load):
    hook = '[watch.on_warning]\ncommand = ["true"]\n'
    with pytest.raises(InputError, match="on_warning is set, and none of its regions has places"):
        load(hook + TEXT + TEXT.replace("north", "south"))
    some = hook + TEXT + TEXT.replace("north", "south") + 'places = "places.toml"\n'
    assert [region.name for region in load(some, ["north"])] == ["north"]


def test_an_unknown_region_is_refused(load):
    with pytest.raises(InputError, match="Did you mean 'north'"):
        load(TEXT, ["nort"])
