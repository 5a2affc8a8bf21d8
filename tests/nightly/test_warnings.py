"""Warnings at places in the nightly run: forecast case by case, scored over the day, stored, and in the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from helpers import nightly_radar as small
from hybridcast.core.parallel import WorkerPool
from hybridcast.errors import InputError
from hybridcast.nightly.config import load_config
from hybridcast.nightly.query import query_store
from hybridcast.nightly.report.tables import tabulate_warning_reliability, tabulate_warnings
from hybridcast.nightly.store import read_day
from hybridcast.nightly.verify_day import Costs, Job, verify_day
from hybridcast.places import observe_radar, read_places
from hybridcast.radar import open_radar

COUNTS = ["hits", "misses", "false_alarms", "undecided"]


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """Return the region, its verified day, and the folder of the store."""
    folder = tmp_path_factory.mktemp("night")
    small.write_frames(folder, small.rain())
    frames = open_radar(str(folder / "*.pgm"))
    middle = frames.isel(y=frames.sizes["y"] // 2, x=frames.sizes["x"] // 2)
    x, y = float(middle.x), float(middle.y)
    corners = [(x + 12_000 * i, y + 12_000 * k) for i in (-1, 0, 1) for k in (-1, 0, 1)]
    entries = [f'[[place]]\nname = "P{k}"\nx = {a}\ny = {b}\ncrs = "grid"' for k, (a, b) in enumerate(corners)]
    square = [[x - 9e3, y - 9e3], [x + 9e3, y - 9e3], [x + 9e3, y + 9e3], [x - 9e3, y + 9e3]]
    entries.append(f'[[place]]\nname = "square"\npolygon = {square}\ncrs = "grid"\nlevels = ["1 mm/h"]')
    text = 'levels = ["1 mm/h", "0.5 mm in 30min"]\n' + "\n".join(entries)
    (folder / "places.toml").write_text(text)
    (folder / "gauges.csv").write_text(write_gauges(frames, corners[0]))
    region = small.region(folder, places=str(folder / "places.toml"), gauges=str(folder / "gauges.csv"))
    night = verify_day(Job(region, small.DATE, folder / "store"), WorkerPool(), Costs(), lambda line: None)
    return region, night, folder


def write_gauges(frames: xr.DataArray, corner) -> str:
    """Return a table of one gauge, named as the first place, that measures what the radar sees there."""
    rates = frames.sel(x=corner[0], y=corner[1], method="nearest").fillna(0.0)
    step = (frames.time.values[1] - frames.time.values[0]) / np.timedelta64(1, "h")
    rows = [
        f"P0,{np.datetime_as_string(time, unit='s')},60.0,25.0,{rate * step:.3f}"
        for time, rate in zip(rates.time.values, rates.values, strict=True)
    ]
    return "\n".join(["station,time,lat,lon,rain_mm", *rows])


def test_warnings_of_a_day_are_scored_against_radar_and_gauges(verified):
    _, night, _ = verified
    found = night.warnings
    assert found.nowcaster.values.tolist() == ["scale-filter", "advection", "persistence"]
    assert found.observer.values.tolist() == ["radar", "gauges"]
    assert found.sizes["place"] == 10
    by_radar = found.sel(observer="radar")
    assert by_radar[COUNTS].sum().to_array().sum() > 0
    assert (by_radar.level_pairs.sum(("probability_bin", "place")).sel(level="1 mm/h") <= 4 * 10).all()
    assert (by_radar.rate_pairs.sel(nowcaster="persistence") == 0).all()  # it has no probabilities
    by_gauges = found.sel(observer="gauges")
    assert float(by_gauges.level_pairs.sum()) > 0
    assert float(by_gauges.level_pairs.drop_sel(place="P0").sum()) == 0


def test_events_are_those_of_the_radar(verified):
    """Each nowcaster has the same events, hit or missed."""
    region, night, _ = verified
    events = (night.warnings.hits + night.warnings.misses).sel(observer="radar")
    np.testing.assert_array_equal(events.sel(nowcaster="advection"), events.sel(nowcaster="persistence"))
    observed = observe_radar(open_radar(region.radar).load(), read_places(region.places))
    assert (observed.level_reached == 1).any()


def test_they_are_stored_and_read_again(verified):
    _, night, folder = verified
    stored = read_day(folder / "store", "here", small.DATE).night.warnings
    for name in (*COUNTS, "lead_sum", "hits_by_lead", "level_pairs", "level_pair_error", "rate_pair_events"):
        expected = night.warnings[name]
        if "probability_bin" in expected.dims:
            expected, found = expected.sum("probability_bin"), stored[name].sum("probability_bin")
        else:
            found = stored[name]
        found, expected = xr.align(found, expected, join="outer", fill_value=0.0)
        xr.testing.assert_allclose(found.transpose(*expected.dims), expected)
    rows = query_store(
        folder / "store",
        "select nowcaster, sum(hits + misses) as events from warnings where observer = 'radar' group by all",
    )
    assert len(rows) == 3


def test_the_report_has_tables_of_them(verified):
    _, night, _ = verified
    table = tabulate_warnings(night.warnings)
    assert len(table.rows) == 2 * 3 * 2
    assert table.heads[:4] == ["warning level", "nowcaster", "observer", "hits"]
    reliability = tabulate_warning_reliability(night.warnings)
    assert sum(row[-1].order for row in reliability.rows) == float(night.warnings.level_pairs.sum())
    assert tabulate_warnings(None) is None
    assert tabulate_warning_reliability(None) is None


def test_other_places_do_the_day_again_and_the_same_do_not(verified, tmp_path):
    region, _, _ = verified
    assert replace(region, places=None, gauges=None).fingerprint != region.fingerprint
    text = Path(region.places).read_text(encoding="utf-8")
    for name, content in (("same.toml", text), ("other.toml", text.replace("0.5 mm in 30min", "0.6 mm in 30min"))):
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert replace(region, places=str(tmp_path / "same.toml")).fingerprint == region.fingerprint
    assert replace(region, places=str(tmp_path / "other.toml")).fingerprint != region.fingerprint


def test_places_start_at_the_folder_of_the_configuration(tmp_path):
    (tmp_path / "regions.toml").write_text(
        '[[region]]\nname = "A"\nradar = "*.h5"\nplaces = "places.toml"\ngauges = "g.csv"\n'
    )
    (region,) = load_config(tmp_path / "regions.toml").region
    assert region.places == str(tmp_path / "places.toml")
    assert region.gauges == str(tmp_path / "g.csv")
    (tmp_path / "regions.toml").write_text('[[region]]\nname = "A"\nradar = "*.h5"\ngauges = "g.csv"\n')
    with pytest.raises(InputError, match="no places"):
        load_config(tmp_path / "regions.toml")
