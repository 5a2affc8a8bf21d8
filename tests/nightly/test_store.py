"""The store: what is written is read again, whole; what SQL finds in it is what the statistics say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr

from hybridcast.core.field import precipitation
from hybridcast.core.forecast_schema import ENSEMBLE, forecast_dataset
from hybridcast.errors import InputError
from hybridcast.nightly.query import compute_score_table, query_store
from hybridcast.nightly.records import RegionNight, WorstCase
from hybridcast.nightly.store import SCHEMA, Provenance, day_folder, read_day, read_history, write_day
from hybridcast.verification import scores
from hybridcast.verification.comparison import compute_nowcaster_statistics
from hybridcast.verification.members import BLOCKS
from hybridcast.verification.statistics import FSS_SCALES, common_mask

MADE = Provenance("settings", "data", "quick")
START = np.datetime64("2020-06-01T00:00", "ns")


def make_statistics(seed: int, members: bool = False) -> xr.Dataset:
    """Sums of two nowcasters at two lead times, of noise."""
    draw = np.random.default_rng(seed)
    times = START + np.arange(3) * np.timedelta64(30, "m")
    radar = precipitation(
        draw.gamma(0.3, 3.0, (3, 24, 24)), time=times, y=np.arange(24) * 2e3, x=np.arange(24) * 2e3, crs=None
    )
    leads = np.array([30, 60]) * np.timedelta64(60_000_000_000, "ns")
    made = {}
    for name in ("zeta", "advection"):
        rate = draw.gamma(0.3, 3.0, (2, 24, 24)).astype(np.float32)
        made[name] = forecast_dataset(rate, radar.isel(time=[0]), leads)
    if members:
        made["zeta"][ENSEMBLE] = (("realization", "lead_time", "y", "x"), draw.gamma(0.3, 3.0, (4, 2, 24, 24)))
    mask = common_mask(made.values(), radar)
    return compute_nowcaster_statistics(
        made, radar, valid=mask, scales=FSS_SCALES, blocks=BLOCKS, spectra=True
    ).drop_attrs()


def night(date: str = "2020-06-01", region: str = "here", **changes) -> RegionNight:
    given = {
        "region": region,
        "date": date,
        "state": "good",
        "notes": (),
        "expected": 2,
        "done": 2,
        "seconds": 1.5,
        "nowcasters": ("zeta", "advection"),
        "statistics": make_statistics(1) + make_statistics(2),
        "hourly": None,
        "worst": (),
    }
    return RegionNight(**(given | changes))


def stored(root, one: RegionNight, cases=None):
    write_day(
        root, one, MADE, cases or {START: make_statistics(1), START + np.timedelta64(30, "m"): make_statistics(2)}
    )
    return read_day(root, one.region, one.date)


def assert_same(one: xr.Dataset, other: xr.Dataset) -> None:
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.data_vars:
        a, b = one[name].transpose(*sorted(one[name].dims)), other[name].transpose(*sorted(other[name].dims))
        xr.testing.assert_equal(a.sel(nowcaster=b["nowcaster"]), b)


@pytest.mark.parametrize("members", [False, True])
def test_what_is_written_is_read_again(tmp_path, members):
    total = make_statistics(1, members) + make_statistics(2, members)
    hours = make_statistics(3, members).isel(lead_time=[1])
    one = night(notes=("one", "two"), state="partial", statistics=total, hourly=hours)
    found = stored(tmp_path, one)
    assert_same(found.night.statistics, total)
    assert_same(found.night.hourly, hours)
    assert found.night.statistics["nowcaster"].values.tolist() == ["zeta", "advection"]
    assert replace(found.night, statistics=None, hourly=None) == replace(one, statistics=None, hourly=None)
    assert found.provenance.settings_hash == "settings"
    assert found.provenance.made.startswith("20")
    assert ("rank_count" in found.night.statistics) is members
    if members:
        assert_same(*(scores.fair_crps(each).to_dataset(name="score") for each in (found.night.statistics, total)))


def test_worst_cases_are_kept_with_their_maps(tmp_path):
    field = precipitation(np.full((1, 4, 5), 3.14), time=[START], y=np.arange(4.0) * 1e3, x=np.arange(5.0) * 1e3,
                          crs="EPSG:3035")  # fmt: skip
    shown = field[0].where(field[0].x > 0).drop_vars("time")
    case = WorstCase(START, np.timedelta64(3600, "s").astype("timedelta64[ns]"), "zeta", 0.25, shown, shown * 2)
    (found,) = stored(tmp_path, night(worst=(case,))).night.worst
    assert (found.issue_time, found.lead_time, found.nowcaster, found.score) == (START, case.lead_time, "zeta", 0.25)
    np.testing.assert_allclose(found.forecast, shown, atol=0.0501)
    np.testing.assert_allclose(found.observed, shown * 2, atol=0.0501)
    assert "spatial_ref" in found.forecast.coords


def test_every_file_says_what_it_was_made_from(tmp_path):
    stored(tmp_path, night())
    files = sorted(day_folder(tmp_path, "here", "2020-06-01").glob("*.parquet"))
    assert [file.stem for file in files] == [
        "case_contingency", "case_fss", "case_moments", "contingency", "fss", "moments", "nights", "reliability",
        "spectra", "windows",
    ]  # fmt: skip
    for file in files:
        metadata = pq.read_schema(file).metadata
        assert metadata[b"schema_version"] == str(SCHEMA).encode()
        assert metadata[b"data_hash"] == b"data"
        assert metadata[b"settings_hash"] == b"settings"
        assert b"package_version" in metadata


def test_another_version_of_the_schema_is_not_there(tmp_path):
    write_day(tmp_path, night(), replace(MADE, schema_version=0), {})
    assert read_day(tmp_path, "here", "2020-06-01") is None
    assert read_day(tmp_path, "here", "2020-06-02") is None


def test_history_leaves_out_days_of_another_version_of_the_schema(tmp_path):
    """A statistic that such a day lacks would count as zero, beside the number of its points."""
    stored(tmp_path, night("2020-06-01", "a"))
    write_day(tmp_path, night("2020-06-02", "a"), replace(MADE, schema_version=SCHEMA - 1), {})
    assert read_history(tmp_path)["date"].values.tolist() == ["2020-06-01"]


def test_history_has_every_day_and_region(tmp_path):
    for region, date, seed in (("a", "2020-06-01", 1), ("a", "2020-06-03", 2), ("b", "2020-06-02", 3)):
        stored(tmp_path, night(date, region, statistics=make_statistics(seed)))
    stored(tmp_path, night("2020-06-02", "a", statistics=None, state="no data", done=0), {})
    found = read_history(tmp_path, until="2020-06-03", days=30)
    assert found["region"].values.tolist() == ["a", "b"]
    assert found["date"].values.tolist() == ["2020-06-01", "2020-06-02", "2020-06-03"]
    assert found["count"].dims[:3] == ("region", "date", "nowcaster")
    assert_same(found.sel(region="b", date="2020-06-02", drop=True), make_statistics(3))
    assert (found.sel(region="a", date="2020-06-02")["cases"] == 0).all()
    assert not found.isnull().any().to_array().any()
    assert read_history(tmp_path, ["b"])["date"].values.tolist() == ["2020-06-02"]
    assert read_history(tmp_path, until="2020-06-02", days=1)["region"].values.tolist() == ["b"]
    assert not read_history(tmp_path / "none").dims


def test_sql_finds_what_the_statistics_say(tmp_path):
    for region, date, seed in (("a", "2020-06-01", 1), ("a", "2020-06-03", 2), ("b", "2020-06-02", 3)):
        stored(tmp_path, night(date, region, statistics=make_statistics(seed), hourly=make_statistics(9)))
    both = make_statistics(1) + make_statistics(2)
    text = (
        "select nowcaster, lead_time, sum(hits) / sum(hits + misses + false_alarms) as csi from contingency "
        "where period = 0 and threshold = 1 and region = 'a' group by all order by all"
    )
    rows = query_store(tmp_path, text)
    expected = scores.csi(both).sel(threshold=1.0)
    assert rows["nowcaster"].tolist() == ["advection", "advection", "zeta", "zeta"]
    wanted = [float(expected.sel(nowcaster=m)[k]) for m in ("advection", "zeta") for k in (0, 1)]
    assert rows["csi"].tolist() == pytest.approx(wanted, rel=1e-12)
    assert query_store(tmp_path, "select count(*) as n from nights", since="2020-06-02")["n"].tolist() == [2]
    assert query_store(tmp_path, "select region from nights", regions=["b"])["region"].tolist() == ["b"]
    assert (
        query_store(tmp_path, "select min(date) as d from nights", until="2020-06-02")["d"].astype(str)[0][:10]
        == "2020-06-01"
    )
    per_case = query_store(
        tmp_path,
        "select issue_time, count from case_moments where date = '2020-06-01' and lead_time = 30 "
        "and nowcaster = 'zeta' order by all",
    )
    assert per_case["issue_time"].dt.strftime("%H:%M").tolist() == ["00:00", "00:30"]
    assert set(query_store(tmp_path, "select distinct scale from case_fss")["scale"]) == {20.0}


def test_the_table_of_scores_adds_up_days(tmp_path):
    for date, seed in (("2020-06-01", 1), ("2020-06-03", 2)):
        stored(tmp_path, night(date, statistics=make_statistics(seed), hourly=make_statistics(9)))
    rows = compute_score_table(tmp_path).set_index(["nowcaster", "lead (min)"])
    both = make_statistics(1) + make_statistics(2)
    row = rows.loc[("zeta", 60)]
    at = both.sel(nowcaster="zeta").isel(lead_time=1)
    assert (row["days"], row["cases"]) == (2, 2)
    assert row["CSI 1"] == pytest.approx(float(scores.csi(at.sel(threshold=1.0))), rel=1e-12)
    assert row["bias 5"] == pytest.approx(float(scores.frequency_bias(at.sel(threshold=5.0))), rel=1e-12)
    fss = float(scores.fractions_skill_score(at.sel(threshold=1.0, scale=20.0)))
    assert row["FSS 20 km"] == pytest.approx(fss, rel=1e-12)
    assert row["MAE"] == pytest.approx(float(scores.mean_absolute_error(at)), rel=1e-12)


def test_questions_that_cannot_be_answered(tmp_path):
    with pytest.raises(InputError, match="holds no night"):
        query_store(tmp_path, "select 1")
    stored(tmp_path, night())
    with pytest.raises(InputError, match="Views are nights, moments"):
        query_store(tmp_path, "select * from rain")
    with pytest.raises(InputError, match="it is a day"):
        query_store(tmp_path, "select 1", since="May")
    assert query_store(tmp_path, "select * from nights", regions=["it's"]).empty
