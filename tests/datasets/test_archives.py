"""Archives: what is laid out is what was read, whatever was damaged or stopped, and a training learns from it."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from helpers import archives_synthetic as made
from helpers import synthetic
from helpers.serving import serve
from hybridcast.datasets.archives import archive_meteonet, archive_radar
from hybridcast.datasets.archives import frames as frames_module
from hybridcast.datasets.archives import records as records_module
from hybridcast.datasets.archives.station_files import split_months
from hybridcast.datasets.events import load_event_radar, load_events
from hybridcast.errors import InputError, ReadError
from hybridcast.learned.boosting import BoostingSettings
from hybridcast.learned.training import samples as samples_module
from hybridcast.learned.training.samples import Sampling, sample_event
from hybridcast.learned.training.settings import TrainingSettings
from hybridcast.learned.training.train import train
from hybridcast.nwp import open_nwp
from hybridcast.predictors.registry import ALL_PREDICTORS
from hybridcast.radar import meteonet_npz, open_radar
from hybridcast.stations import open_stations

HOUR = np.timedelta64(1, "h")


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    return made.write_download(tmp_path_factory.mktemp("download"))


@pytest.fixture(scope="module")
def laid_out(download, tmp_path_factory):
    out = tmp_path_factory.mktemp("laid") / "archive"
    lines = []
    return archive_meteonet(download, out, report=lines.append), lines


def manifest(events):
    return json.loads((events.parent / "manifest.json").read_text())


def rain_file(download, zone="NW"):
    (path,) = download.rglob(f"rainfall_{zone}_*.npz")
    return path


# --- MeteoNet -------------------------------------------------------------------------------------------------


def test_each_day_with_rain_is_an_event_with_all_that_there_is(laid_out):
    events = load_events(laid_out[0])
    assert [event.name for event in events] == [
        f"meteonet-{zone}-2018-05-{day}" for zone in ("NW", "SE") for day in ("01", "02")
    ]
    assert {event.region for event in events} == {"meteonet-NW", "meteonet-SE"}
    assert all(event.stations and event.nwp and event.terrain is None for event in events)


def test_radar_is_the_same_to_the_last_hundredth_and_lazy(laid_out, download):
    event = load_events(laid_out[0])[0]
    field = open_radar(event.radar)
    assert field.chunks is not None
    assert field.chunks[0][0] <= 12
    hundredths, dates = made.radar_file("2018-05-01", 0)
    assert (field["time"].values == dates.astype("datetime64[ns]")).all()
    counts = np.where(np.isnan(field.values), -1, np.round(field.values / 0.12))
    assert (counts == hundredths).all()
    whole = meteonet_npz.read(rain_file(download))
    assert np.allclose(field.values, whole.values[:40], equal_nan=True, rtol=1e-6)
    assert (field["y"].values == whole["y"].values).all()
    assert (field["x"].values == whole["x"].values).all()
    assert field.attrs["license"] == "Etalab Open Licence 2.0"


def test_stations_and_runs_of_a_day_are_those_of_the_files(laid_out, download):
    event = load_events(laid_out[0])[0]
    reports = open_stations(event.stations)
    (table,) = download.rglob("NW2018.csv")
    whole = open_stations(table)
    of_day = whole.sel(time="2018-05-01")
    assert reports.sizes == of_day.sizes
    assert np.array_equal(reports.precipitation_rate.values, of_day.precipitation_rate.values)
    assert np.array_equal(reports.air_temperature.values, of_day.air_temperature.values)
    nwp = open_nwp(event.nwp)
    assert nwp["reference_time"].values == np.datetime64("2018-05-01")
    assert nwp.sizes["lead_time"] == 24
    assert float(nwp.precipitation_rate.mean()) == pytest.approx(1.5)


def test_the_manifest_says_what_was_read(laid_out):
    about = manifest(laid_out[0])
    assert about["versions"]["zarr"]
    north = about["regions"]["NW"]
    assert north["licence"] == "Etalab Open Licence 2.0"
    assert north["from"] == "2018-05-01T10:00:00Z"
    assert north["to"] == "2018-05-02T13:15:00Z"
    assert [(day["day"], day["frames"], day["missing"]) for day in north["radar_days"]] == [
        ("2018-05-01", 40, 0),
        ("2018-05-02", 40, 0),
    ]
    assert north["unreadable"] == []
    assert north["radar"][0]["inputs"][0]["file"] == "rainfall_NW_2018_05.1.npz"
    assert north["stations"][0]["days"] == ["2018-05-01", "2018-05-02", "2018-06-01"]
    assert any("NW radar 1/1 rainfall_NW_2018_05.1: 2 days" in line for line in laid_out[1])


def test_what_is_done_is_not_done_again_and_what_changed_is(download, tmp_path, monkeypatch):
    root = tmp_path / "download"
    shutil.copytree(download, root)
    archive_meteonet(root, tmp_path / "out", zones=["NW"])
    before = manifest(tmp_path / "out" / "events.toml")["regions"]["NW"]

    def refuse(*_):
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(meteonet_npz, "read_blocks", refuse)
        patch.setattr("hybridcast.datasets.archives.meteonet.read_blocks", refuse)
        patch.setattr("hybridcast.datasets.archives.meteonet.write_station_table", refuse)
        patch.setattr("hybridcast.datasets.archives.meteonet.write_runs", refuse)
        lines = []
        events = archive_meteonet(root, tmp_path / "out", zones=["NW"], report=lines.append)
    assert manifest(events)["regions"]["NW"] == before
    assert all("was there" in line for line in lines)
    made.write_rain(rain_file(root).parent, "NW", "2018_05.1", {"2018-05-01": 5, "2018-05-03": 6, "2018-05-04": 7})
    events = archive_meteonet(root, tmp_path / "out", zones=["NW"])
    assert [day["day"][-2:] for day in manifest(events)["regions"]["NW"]["radar_days"]] == ["01", "03", "04"]


def test_a_run_that_is_killed_goes_on_to_the_same_archive(download, tmp_path, laid_out, monkeypatch):
    written = frames_module._Store._append
    calls = []

    def killed(self, frames):
        calls.append(frames)
        if len(calls) == 3:
            raise KeyboardInterrupt
        written(self, frames)

    with monkeypatch.context() as patch:
        patch.setattr(frames_module._Store, "_append", killed)
        with pytest.raises(KeyboardInterrupt):
            archive_meteonet(download, tmp_path)
    assert not (tmp_path / "events.toml").exists()
    assert list((tmp_path / "NW" / "radar").iterdir()) == []  # nothing by halves has its name
    (tmp_path / "NW" / "radar" / ".rainfall_NW_2018_05.1.part" / "x.zarr").mkdir(parents=True)  # of a harder death
    events = archive_meteonet(download, tmp_path)
    assert events.read_text() == laid_out[0].read_text()
    ours, theirs = (open_radar(load_events(path)[3].radar) for path in (events, laid_out[0]))
    assert ours.identical(theirs)
    assert [path.name for path in (tmp_path / "NW" / "radar").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("damage", ["cut", "turned", "empty"])
def test_an_unreadable_file_in_the_middle_is_named_and_the_others_are_there(download, tmp_path, damage):
    root = tmp_path / "download"
    shutil.copytree(download / "data" / "NW", root)
    folder = rain_file(root).parent
    bad = made.write_rain(folder, "NW", "2018_05.2", {"2018-05-10": 3})
    made.write_rain(folder, "NW", "2018_05.3", {"2018-05-21": 4})
    content = bytearray(bad.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "turned":
        with zipfile.ZipFile(bad) as archive:
            middle = archive.getinfo("data.npy").compress_size // 2
        content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
    else:
        content = bytearray()
    bad.write_bytes(content)
    lines = []
    events = archive_meteonet(root, tmp_path / "out", report=lines.append)
    about = manifest(events)["regions"]["NW"]
    assert [lost["file"] for lost in about["unreadable"]] == ["rainfall_NW_2018_05.2.npz"]
    assert [event.name[-5:] for event in load_events(events)] == ["05-01", "05-02", "05-21"]
    assert about["days_without_radar"][:2] == ["2018-05-03", "2018-05-04"]
    assert not (tmp_path / "out" / "NW" / "radar" / "2018-05-10.zarr").exists()
    assert sum("unreadable, left out" in line for line in lines) == 1
    made.write_rain(folder, "NW", "2018_05.2", {"2018-05-10": 3})  # it is brought again
    assert len(load_events(archive_meteonet(root, tmp_path / "out"))) == 4


def test_damaged_tables_and_runs_cost_themselves_only(download, tmp_path):
    root = tmp_path / "download"
    shutil.copytree(download / "data" / "NW", root)
    (run, _) = sorted(root.rglob("arome_PRECIP_*.nc"))
    run.write_bytes(run.read_bytes()[:1000])
    (table,) = root.rglob("NW2018.csv")
    table.write_text("number_sta,lat,lon,when\n1,2,3,4\n")
    events = archive_meteonet(root, tmp_path / "out")
    lost = {bad["file"]: bad["reason"] for bad in manifest(events)["regions"]["NW"]["unreadable"]}
    assert set(lost) == {"NW2018.csv", "arome_PRECIP_NW_20180501000000.nc"}
    assert "no column is called date" in lost["NW2018.csv"]
    first, second = load_events(events)
    assert first.nwp is None
    assert second.nwp is not None
    assert first.stations is second.stations is None
    assert manifest(events)["regions"]["NW"]["nwp_smaller_than_most"] == ["arome_PRECIP_NW_20180501000000.nc"]


def test_dry_days_are_no_events(download, tmp_path):
    root = tmp_path / "NW"
    shutil.copytree(download / "data" / "NW" / "radar", root)
    path = rain_file(root)
    with np.load(path, allow_pickle=True) as file:
        data, dates = file["data"], file["dates"]
    data[:40] = np.minimum(data[:40], 5)
    np.savez_compressed(path, data=data, dates=dates)
    events = archive_meteonet(root, tmp_path / "out")
    assert [event.name for event in load_events(events)] == ["meteonet-NW-2018-05-02"]
    assert "dry" in manifest(events)["regions"]["NW"]["days_that_are_no_event"]["2018-05-01"]


def test_what_is_not_there_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="no radar of NW"):
        archive_meteonet(tmp_path, tmp_path / "out")
    (tmp_path / "NW_rainfall_2016.tar.gz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"Extract NW_rainfall_2016.tar.gz"):
        archive_meteonet(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="model 'icon'"):
        archive_meteonet(tmp_path, tmp_path / "out", nwp="icon")
    with pytest.raises(InputError, match="is no folder"):
        archive_meteonet(tmp_path / "none", tmp_path / "out")


def test_tables_are_parted_by_month_in_both_forms_of_dates(tmp_path):
    table = tmp_path / "NW2016.csv"
    table.write_text("number_sta,date,precip\n1,20160201 00:00,0\n1,2016-01-31 23:54:00,0\n2,20160201 00:06,\n")
    months = split_months(table, tmp_path)
    assert [path.name for path in months] == ["201601.csv", "201602.csv"]
    assert months[1].read_text() == "number_sta,date,precip\n1,20160201 00:00,0\n2,20160201 00:06,\n"
    table.write_text("number_sta,date,precip\n1,20160201 00:00,0\n1")
    with pytest.raises(ReadError, match="a row has 1 columns"):
        split_months(table, tmp_path)


def test_blocks_of_a_composite_are_the_whole(download):
    path = rain_file(download)
    whole = meteonet_npz.read(path)
    blocks = list(meteonet_npz.read_blocks(path, 7))
    assert [block.sizes["time"] for block in blocks] == [7] * 11 + [3]
    assert np.array_equal(np.concatenate([block.values for block in blocks]), whole.values, equal_nan=True)


# --- any files ------------------------------------------------------------------------------------------------


def test_any_radar_with_stations_runs_and_heights(tmp_path):
    field = synthetic.rain((48, 48), frames=30, spacing=2000.0, crs="EPSG:3035", seed=2)
    for k in range(30):
        time = np.datetime_as_string(field["time"].values[k], unit="m").replace("-", "").replace(":", "")
        field[k : k + 1].to_netcdf(tmp_path / f"radar_{time.replace('T', '')}.nc", engine="h5netcdf")
    (tmp_path / "radar_202006011300.nc").write_bytes(b"\x89HDF\r\n\x1a\nno more")
    shifted = field[:1].assign_coords(x=field["x"] + 500.0, time=field["time"][:1] + 10 * HOUR)
    shifted.to_netcdf(tmp_path / "radar_202006012200.nc", engine="h5netcdf")
    heights = tmp_path / "heights.nc"
    heights.write_bytes(b"copied as it is")
    out = tmp_path / "out"
    events = archive_radar(tmp_path / "radar_*.nc", out, region="my north", terrain=heights, licence="CC BY 4.0")
    (event,) = load_events(events)
    assert event.name == "my-north-2020-06-01"
    assert event.region == "my north"
    assert event.terrain == str(out / "my-north" / "terrain.nc")
    about = manifest(events)["regions"]["my-north"]
    assert about["licence"] == "CC BY 4.0"
    assert [bad["file"] for bad in about["unreadable"]] == ["radar_202006011300.nc", "radar_202006012200.nc"]
    laid = open_radar(event.radar)
    lost = laid["time"].values == np.datetime64("2020-06-01T13:00")
    assert lost.sum() == 1
    assert np.isnan(laid.values[lost]).all()
    assert np.array_equal(laid.values[~lost], field.values[~lost])


def test_stations_of_an_archive_have_places_and_statements(tmp_path):
    field = synthetic.rain((24, 24), frames=3, spacing=2000.0, crs="EPSG:3035", seed=2)
    field.to_netcdf(tmp_path / "radar.nc", engine="h5netcdf")
    rows = "".join(f"7,2020-06-01T12:{m:02d},0.5\n" for m in (1, 8, 20))
    (tmp_path / "gauges.csv").write_text("station,time,rain_mm\n" + rows)
    (tmp_path / "places.csv").write_text("station,lat,lon\n7,47.0,7.0\n")
    archive_radar(
        tmp_path / "radar.nc", tmp_path / "out", stations=tmp_path / "*.csv", station_options={"interval": "5min"}
    )
    reports = open_stations(tmp_path / "out" / "region" / "stations" / "2020-06-01" / "gauges.parquet")
    assert reports.attrs["interval_minutes"] == 5
    assert float(reports.latitude[0]) == 47.0
    np.testing.assert_allclose(reports.precipitation_rate.values, 6.0)


def test_files_of_many_days_are_parted_and_regions_are_added(tmp_path):
    field = synthetic.rain((32, 32), frames=40, minutes=60, spacing=2000.0)
    field.to_netcdf(tmp_path / "long.nc", engine="h5netcdf")
    archive_radar(tmp_path / "long.nc", tmp_path / "out", region="a")
    events = load_events(archive_radar(tmp_path / "long.nc", tmp_path / "out", region="b"))
    assert [event.name for event in events] == [f"{r}-long-2020-06-0{d}" for r in "ab" for d in (1, 2, 3)]
    parts = [open_radar(event.radar) for event in events[:3]]
    assert np.array_equal(np.concatenate([part.values for part in parts]), field.values)


def test_an_archive_is_made_of_a_container_and_of_a_server(tmp_path):
    files = {}
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for k, frame in enumerate(synthetic.moving_block(3)):
            name = f"rain_20240601_12{5 * k:02d}.nc"
            frame.expand_dims("time").to_netcdf(tmp_path / name)
            packed.write(tmp_path / name, name)
            files[name] = (tmp_path / name).read_bytes()
    with serve(files) as site:
        for radar in (tmp_path / "all.zip", f"{site.url}/*.nc"):
            lines: list[str] = []
            out = tmp_path / f"out{len(str(radar))}"
            for _ in range(2):
                events = archive_radar(radar, out, report=lines.append)
            assert len(lines) == 2
            assert lines[1].endswith("1 days (was there)")
            region = json.loads((events.parent / "manifest.json").read_text())["regions"]["region"]
            assert region["radar_days"][0]["frames"] == 3
        assert sum(request.endswith(".nc") for request in site.requests) == 3  # and not again the second time


def test_runs_that_go_into_the_next_day_are_there_for_it(tmp_path):
    from hybridcast.datasets.archives.nwp_files import group_by_run_day, write_runs

    for day, rate in (("2020-05-31", 1.0), ("2020-06-01", 2.0)):
        path = made.write_run(tmp_path, "NW", day, rate)
        run = open_nwp(path)
        run["reference_time"] = run["reference_time"] + 12 * HOUR
        from hybridcast.nwp.writing import save_nwp

        save_nwp(run, path)
    groups = group_by_run_day(sorted(tmp_path.glob("*.nc")))
    assert list(groups) == ["2020-05-31", "2020-06-01"]
    for day, paths in groups.items():
        write_runs(paths, tmp_path / "nwp", f"run-{day}")
    both = open_nwp(tmp_path / "nwp" / "2020-06-01" / "*.nc")
    assert both.sizes["reference_time"] == 2
    late = both.isel(reference_time=0).dropna("lead_time", how="all")["lead_time"].values
    assert late[0] == 9 * HOUR  # three hours before the day
    assert late[-1] == 24 * HOUR


def test_frames_that_come_twice_or_late_are_counted(tmp_path):
    field = synthetic.rain((16, 16), frames=6, spacing=2000.0)
    blocks = [frames_module.StoreFrames("day", field[:4]), frames_module.StoreFrames("day", field[2:5])]
    (told,) = frames_module.write_stores(iter(blocks), tmp_path, "part")
    assert told["frames"] == 5
    assert told["left_out"].startswith("2 frames")
    assert np.array_equal(open_radar(tmp_path / "day.zarr").values, field.values[:5])


def test_memory_holds_an_hour_of_frames_whatever_the_file_holds(download):
    assert frames_module.frames_per_chunk((565, 784)) == 12
    assert frames_module.frames_per_chunk((3500, 7000)) == 1


# --- learning from it -----------------------------------------------------------------------------------------


SMALL = Sampling(leads=(15, 30, 60), cells=120, cases=3)


def test_samples_take_the_model_and_the_stations_of_the_archive(laid_out, monkeypatch):
    def refuse(*_):
        raise AssertionError("pseudo-NWP beside a real model")

    monkeypatch.setattr(samples_module, "simulate_random_runs", refuse)
    event = replace(load_events(laid_out[0])[0], longest="1h")
    rows = sample_event(event, SMALL).predictors
    # 1.5 mm/h everywhere in the model, in decibels over 0.1 mm/h
    rain = rows[:, ALL_PREDICTORS.index("nwp_rate")]
    assert np.isfinite(rain).all()
    assert np.allclose(rain, 10 * np.log10(15.0), atol=0.01)
    stations = [ALL_PREDICTORS.index(name) for name in ALL_PREDICTORS if name.startswith("station")]
    assert np.isfinite(rows[:, stations]).any(axis=0).any()
    without = sample_event(replace(event, stations=None), SMALL).predictors
    assert np.isnan(without[:, stations]).all()


def test_a_training_learns_from_an_archive(laid_out, tmp_path):
    events = [replace(event, longest="1h") for event in load_events(laid_out[0])]
    settings = TrainingSettings(
        sampling=SMALL, boosting=BoostingSettings(trees=8, leaves=8, min_rows=50, threads=1), folds=2
    )
    model = train(events, tmp_path / "work", settings=settings)
    assert [one["event"] if "event" in one else one["name"] for one in model.about["events"]]
    assert len(model.about["events"]) == 4
    assert model.blend.members


def test_the_commands_lay_out_and_say_so(run, download, tmp_path):
    code, out, err = run("archive", "meteonet", download, tmp_path / "archive", "--zone", "nw")
    assert code == 0, err
    assert "NW: 2 days of radar, 2 with rain, of these 2 with stations, 2 with NWP runs" in out
    assert "NW radar 1/1" in err
    code, out, _ = run("archive", "generic", tmp_path / "archive", "--radar", rain_file(download, "SE"))
    assert code == 0
    assert "region: 2 days of radar" in out
    assert len(load_events(tmp_path / "archive" / "events.toml")) == 4
    code, _, err = run("archive", "meteonet", tmp_path / "none", tmp_path / "archive")
    assert code == 1
    assert "is no folder" in err


def test_a_record_that_is_damaged_counts_as_none(tmp_path):
    source = tmp_path / "source"
    source.write_text("x")
    calls = []

    def make():
        calls.append(1)
        return {"days": ["2020-01-01"]}

    work = records_module.Task("radar", "one", (source,), make)
    for _ in range(2):
        records_module.run_tasks([work], tmp_path / "a", lambda line: None)
    assert len(calls) == 1
    (tmp_path / "a" / "records" / "radar" / "one.json").write_text("{")
    records_module.run_tasks([work], tmp_path / "a", lambda line: None)
    assert len(calls) == 2


# --- the real samples -----------------------------------------------------------------------------------------


def test_the_real_samples_are_laid_out(real, tmp_path):
    root = real("meteonet/radar/rainfall_NW_2016_08.3.npz")[0].parent.parent
    real("meteonet/weather_models/arome_PRECIP*.grib")
    events = archive_meteonet(root, tmp_path)
    about = manifest(events)["regions"]["NW"]
    assert [(day["day"], day["frames"]) for day in about["radar_days"]] == [
        ("2016-08-21", 7),
        ("2016-08-28", 30),
        ("2016-08-30", 3),
        ("2016-08-31", 5),
    ]
    assert about["unreadable"] == []
    whole = meteonet_npz.read(root / "radar" / "rainfall_NW_2016_08.3.npz")
    for day in about["radar_days"]:
        laid = open_radar(tmp_path / "NW" / "radar" / f"{day['day']}.zarr")
        there = laid.sel(time=whole["time"].values[whole["time"].values.astype("M8[D]") == np.datetime64(day["day"])])
        assert np.allclose(there.values, whole.sel(time=there["time"]).values, rtol=1e-6, equal_nan=True)
        assert (there["y"].values == whole["y"].values).all()
    (event,) = load_events(events)
    assert event.nwp is None  # the model run is of another year
    assert load_event_radar(event).shape[1:] == (282, 392)
    run = open_nwp(tmp_path / "NW" / "nwp" / "2018-05-01" / "arome-*.nc")
    of_file = open_nwp(root / "weather_models" / "arome_PRECIP_NW_20180501000000.grib")
    assert np.array_equal(run.precipitation_rate.values, of_file.precipitation_rate.values, equal_nan=True)


def test_the_real_relief_is_put_on_the_grid_of_an_event(real, tmp_path):
    from hybridcast.terrain import open_terrain

    root = real("meteonet/masks/NW_masks.grib")[0].parent.parent
    (event,) = load_events(archive_meteonet(root, tmp_path))
    assert np.isfinite(open_terrain(event.terrain, load_event_radar(event))["surface_altitude"].values).any()


def test_the_real_arpege_has_rain_wind_and_what_is_at_two_metres(real, tmp_path):
    root = real("meteonet/weather_models/arpege_2m*.grib")[0].parent.parent
    archive_meteonet(root, tmp_path, nwp="arpege")
    run = open_nwp(tmp_path / "NW" / "nwp" / "2018-05-01" / "arpege-*.nc")
    assert {"precipitation_rate", "x_wind", "y_wind", "air_temperature", "relative_humidity"} <= set(run.data_vars)
