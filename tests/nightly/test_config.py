"""The configuration of the nightly run: what is refused, by name, and what it means."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from hybridcast.datasets.registry import load_registry, packaged_path
from hybridcast.errors import InputError
from hybridcast.nightly.alarm import AlarmSettings
from hybridcast.nightly.config import NightlySettings, RegionSettings, load_config, make_nowcasters
from hybridcast.nightly.days import parse_dates

TEXT = '[[region]]\nname = "north"\nradar = "rain/*.nc"\n'


@pytest.fixture
def load(tmp_path):
    def written(text: str) -> NightlySettings:
        path = tmp_path / "regions.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return written


def test_paths_start_at_the_folder_of_the_file(load, tmp_path):
    settings = load('store = "s"\nreport = "/abs/r"\n' + TEXT + 'model = "m"\n')
    assert settings.store == str(tmp_path / "s")
    assert settings.report == "/abs/r"
    assert settings.region[0].radar == str(tmp_path / "rain/*.nc")
    assert settings.region[0].model == str(tmp_path / "m")


def test_defaults_are_shared_and_overridden(load):
    text = '[defaults]\nevery = "10min"\nfrom = "06:00"\n' + TEXT + TEXT.replace("north", "south") + 'every = "1h"\n'
    north, south = load(text).region
    assert (north.every, north.first, south.every, south.first) == ("10min", "06:00", "1h", "06:00")


def test_the_alarm_has_a_table(load):
    assert load("[alarm]\nnights = 20\n" + TEXT).alarm == AlarmSettings(nights=20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[region]\n", "regions are TOML"),
        ("", "has no 'region'|each comes once, one at least"),
        (TEXT + TEXT, "each comes once"),
        ("stroe = 'a'\n" + TEXT, r"regions\.toml: unknown key 'stroe'.*Did you mean 'store'"),
        (TEXT + "evry = '1h'\n", r"region north: unknown key 'evry'.*Did you mean 'every'"),
        ("[defaults]\nnowcastrs = []\n" + TEXT, "Did you mean 'nowcasters'"),
        ("[alarm]\nnigths = 3\n" + TEXT, r"alarm: unknown key 'nigths'.*Did you mean 'nights'"),
        ("[alarm]\nnights = 0\n" + TEXT, "nights is from 1"),
        ("defaults = 3\n" + TEXT, "defaults = 3"),
        ("region = 3\n", "region = 3"),
        ("region = [3]\n", "region.*= 3"),
        ("workers = 0\n" + TEXT, "workers = 0"),
        ("workers = '2'\n" + TEXT, "it is of type int"),
        ("baseline = 's-prog'\n" + TEXT, "baseline of region 'north' 's-prog'"),
        ("[alarm]\nnowcaster = 'steps'\n" + TEXT, "alarm, nowcaster"),
        ('[[region]]\nradar = "a"\n', "has no 'name'"),
        ('[[region]]\nname = "a"\n', "a region has one source"),
        ('[[region]]\nname = "a/b"\nradar = "a"\n', "a name has letters"),
        ('[[region]]\nname = "a"\ndataset = "fmi-20170508"\n', "Did you mean 'fmi-20170509'"),
        (TEXT + "format = 'odim-hdf'\n", "Did you mean 'odim-hdf5'"),
        (TEXT.replace("rain/", "{day}/"), r"radar has \{day\}"),
        (TEXT + "nowcasters = ['hybrid']\n", "Did you mean 'hybridcast'"),
        (TEXT + "nowcasters = 'scale-filter'\n", "it is an array"),
        (TEXT + "every = 30\n", "it is of type str"),
        (TEXT + "every = '30'\n", "it is a duration"),
        (TEXT + "every = '1s'\n", "1min at least"),
        (TEXT + "every = '25h'\n", "it is a day at most"),
        (TEXT + "step = '3h'\n", "there is one lead time at least"),
        (TEXT + "from = '24:00'\n", "it is a time of the day"),
        (TEXT + "from = '12:00'\nto = '11:00'\n", "the first comes first"),
        (TEXT + "first = '12:00'\n", "unknown key 'first'"),
        (TEXT + "members = -1\n", "members = -1; it is 0 or more"),
        (TEXT + "members = '20'\n", "it is of type int"),
        (TEXT + "spacing = -1\n", "it is in metres, or 0"),
        (TEXT + "x = [1, 2, 3]\n", "an array of 2"),
        (TEXT + "dates = '2018-05-20..2018-05-10'\n", "the first comes first"),
        (TEXT + "dates = 'May'\n", "it is a day"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(load, text, message):
    with pytest.raises(InputError, match=message):
        load(text)


def test_issue_times_of_a_day():
    region = RegionSettings(name="a", radar="a", every="6h", first="05:00", last="23:00")
    expected = [np.datetime64(f"2020-02-29T{hour}:00") for hour in ("05", "11", "17", "23")]
    assert region.issue_times("2020-02-29").tolist() == np.array(expected, "datetime64[ns]").tolist()
    assert RegionSettings(name="a", radar="a").issue_times("2020-02-29").size == 48


def test_dates():
    assert parse_dates("2020-02-28..2020-03-01") == ["2020-02-28", "2020-02-29", "2020-03-01"]
    assert parse_dates("2020-02-28") == ["2020-02-28"]
    for wrong in ("2020-02-30", "2020", "20200228", "yesterday", "..2020-01-01"):
        with pytest.raises(InputError):
            parse_dates(wrong)


def test_advection_and_persistence_are_always_compared():
    region = RegionSettings(name="a", radar="a", nowcasters=("scale-filter", "persistence"))
    assert region.all_nowcasters == ("scale-filter", "persistence", "advection")
    assert list(make_nowcasters(region)) == ["scale-filter", "persistence", "advection"]


def test_the_fingerprint_is_of_what_numbers_depend_on():
    region = RegionSettings(name="a", radar="a", nowcasters=("scale-filter",))
    assert replace(region, name="b", radar="c", dates="2020-01-01").fingerprint == region.fingerprint
    for change in (
        *({"spacing": 1000.0}, {"step": "30min"}, {"first": "01:00"}, {"nowcasters": ()}, {"x": (0.0, 1.0)}),
        {"members": 20},
    ):
        assert replace(region, **change).fingerprint != region.fingerprint


def test_the_configuration_that_comes_with_the_package_is_of_known_archives():
    settings = load_config("shipped")
    assert len(settings.region) == 3
    assert all(region.dataset in load_registry() and region.dates for region in settings.region)
    table = tomllib.loads(packaged_path("regions.toml").read_text())
    assert settings.alarm == AlarmSettings(**table["alarm"])  # the values shown are the defaults
    assert settings.alarm == AlarmSettings()
    defaults = table["defaults"]
    plain = RegionSettings(name="a", radar="a")
    assert defaults == {**defaults, "every": plain.every, "from": plain.first, "to": plain.last, "step": plain.step,
                        "lead_time": plain.lead_time, "spacing": plain.spacing, "model": plain.model}  # fmt: skip
