import numpy as np
import pytest

from hybridcast.core.field import precipitation
from hybridcast.datasets.events import Event, issue_times, load_event_radar, load_events
from hybridcast.errors import InputError, InputWarning

START = np.datetime64("2020-01-01T20:00", "ns")
TEXT = '[[event]]\nname = "a"\nregion = "r"\nradar = "rain.nc"\n'


def rain(frames=60, rate=2.0):
    values = np.full((frames, 12, 12), rate, dtype=np.float32)
    times = START + np.arange(frames) * np.timedelta64(5, "m")
    return precipitation(values, time=times, y=np.arange(12) * 1e3, x=np.arange(12) * 1e3, crs=None)


@pytest.fixture
def archive(tmp_path):
    rain(120).to_netcdf(tmp_path / "rain.nc", engine="h5netcdf")
    (tmp_path / "events.toml").write_text(TEXT)
    return tmp_path / "events.toml"


def test_the_list_that_comes_with_the_package_is_of_known_data_sets():
    import tomllib

    from hybridcast.datasets.registry import load_registry, packaged_path

    entries = tomllib.loads(packaged_path("events.toml").read_text())["event"]
    assert len(entries) > 10
    assert all(entry["dataset"] in load_registry() for entry in entries)
    assert not any("non-commercial" in load_registry()[entry["dataset"]].licence.lower() for entry in entries)


def test_an_archive_of_files_beside_the_list(archive):
    (event,) = load_events(archive)
    radar = load_event_radar(event)
    assert radar.shape == (120, 6, 6)
    assert event.licence == "not stated"


def test_days_are_events(archive):
    archive.write_text(TEXT + 'split = "day"\n')
    first, second = load_events(archive)
    assert (first.name, second.name) == ("a-01-01", "a-01-02")
    assert load_event_radar(first).sizes["time"] == 48
    assert load_event_radar(second)["time"].values[0] == np.datetime64("2020-01-02")


def files_named_by_time(folder, starts, frames=12, late=0):
    """Write files of an hour each, named by their first frame less `late` min."""
    for start in map(np.datetime64, starts):
        part = rain(frames)
        part = part.assign_coords(time=start + (part.time.values - part.time.values[0]) + np.timedelta64(late, "m"))
        name = np.datetime_as_string(start, unit="m").replace("-", "").replace(":", "").replace("T", "")
        part.to_netcdf(folder / f"radar_{name}.nc", engine="h5netcdf")
    (folder / "events.toml").write_text(TEXT.replace("rain.nc", "radar_*.nc") + 'split = "day"\n')
    return folder / "events.toml"


def test_listed_days_are_events_without_opening_a_file(archive):
    archive.write_text(TEXT.replace("rain.nc", "gone.nc") + 'days = ["2020-01-01", "2021-01-02"]\n')
    assert [event.name for event in load_events(archive)] == ["a-2020-01-01", "a-2021-01-02"]
    archive.write_text(TEXT.replace('"a"', '"a-2020-01"') + 'days = ["2020-01-01", "2020-01-02"]\n')
    first, second = load_events(archive)
    assert (first.name, second.name) == ("a-2020-01-01", "a-2020-01-02")
    assert load_event_radar(second)["time"].values[0] == np.datetime64("2020-01-02")


def test_a_listed_day_is_a_date(archive):
    archive.write_text(TEXT + 'days = ["2020-1-1"]\n')
    with pytest.raises(InputError, match="2016-05-14"):
        load_events(archive)


@pytest.mark.parametrize(
    ("dataset", "verified"), [("fmi-20160928", True), ("taasrad-2016-05", False), ("mch-20150515", False)]
)
def test_it_is_known_how_a_licence_is_known(dataset, verified):
    assert bool(Event("a", "r", dataset=dataset).licence_source) is verified


def test_events_that_cannot_be_had_here_are_left_out_and_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRIDCAST_DATA_MIRROR", str(tmp_path))
    monkeypatch.setenv("HYBRIDCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("hybridcast.datasets.events._split_days", lambda event: [event])
    with pytest.warns(InputWarning, match=r"left out: taasrad-2015-10, .*mrms-squall; put .*HYBRIDCAST_DATA_MIRROR"):
        names = [event.name for event in load_events()]
    assert "fmi-20160928" in names
    assert not [name for name in names if name.startswith("taasrad")]
    there = tmp_path / "mrms_squall" / "event_017"
    there.mkdir(parents=True)
    for number in range(1, 30):
        (there / f"gt{number}.png").touch()
    with pytest.warns(InputWarning, match="taasrad-2015-10"):
        assert "mrms-squall" in [event.name for event in load_events()]


HOURS = ("2020-03-01T22:00", "2020-03-01T23:00", "2020-03-02T00:00", "2020-07-30T12:00", "2020-07-30T13:00")


def test_days_far_apart_are_events_of_their_own_files(tmp_path):
    events = load_events(files_named_by_time(tmp_path, HOURS))
    assert [event.name for event in events] == ["a-03-01", "a-03-02", "a-07-30"]
    loaded = [load_event_radar(event)["time"].values for event in events]
    assert [times.size for times in loaded] == [24, 12, 24]
    assert loaded[1][0] == np.datetime64("2020-03-02")


def test_days_are_those_of_the_frames_where_names_are_of_another_time(tmp_path):
    events = load_events(files_named_by_time(tmp_path, HOURS, late=90))
    assert [event.name for event in events] == ["a-03-01", "a-03-02", "a-07-30"]
    assert [load_event_radar(event).sizes["time"] for event in events] == [6, 30, 24]


def test_days_of_several_years_have_names_of_their_own(tmp_path):
    events = load_events(files_named_by_time(tmp_path, ("2019-05-10T12:00", "2020-05-10T12:00")))
    assert [event.name for event in events] == ["a-2019-05-10", "a-2020-05-10"]


def test_a_damaged_file_does_not_hide_the_days(tmp_path):
    path = files_named_by_time(tmp_path, HOURS)
    (tmp_path / "radar_202003012200.nc").write_bytes(b"damaged")
    events = load_events(path)
    assert [event.name for event in events] == ["a-03-01", "a-03-02", "a-07-30"]
    with pytest.warns(InputWarning, match="202003012200"):
        assert load_event_radar(events[0])["time"].values[-1] == np.datetime64("2020-03-01T23:55")


def test_a_part_of_the_grid(archive):
    archive.write_text(TEXT + "x = [0, 5000]\n")
    assert load_event_radar(load_events(archive)[0]).shape == (120, 6, 3)


def test_issue_times_have_frames_before_and_after_them():
    event = Event("a", "r", radar="x", longest="1h")
    radar = rain(48)
    times = issue_times(radar, event)
    assert times[0] == START + np.timedelta64(30, "m")
    assert times[-1] + np.timedelta64(60, "m") <= radar["time"].values[-1]
    assert (np.diff(times) >= np.timedelta64(30, "m")).all()
    assert issue_times(radar, event, max_count=2).size == 2


@pytest.mark.parametrize("radar", [rain(4), rain(48, 0.0), rain(48) * np.nan, rain(1)])
def test_no_issue_time_where_there_is_nothing_to_score(radar):
    assert issue_times(radar, Event("a", "r", radar="x")).size == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds the events"),
        (TEXT + TEXT, "each name comes once"),
        (TEXT.replace("radar", "radr"), "Did you mean 'radar'"),
        (TEXT + 'dataset = "fmi-20160928"\n', "one source"),
        (TEXT.replace('region = "r"\n', ""), "has no 'region'"),
        (TEXT + 'split = "week"\n', "it is 'day'"),
        (TEXT + 'day = "2020-01-01"\n', "unknown key 'day'"),
        (TEXT + "x = [1]\n", "x = \\[1\\]; it is an array of 2"),
        (TEXT + "x = [1, 'b']\n", "x\\[1\\] = 'b'; it is of type float"),
        ("[[event", "events are TOML"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, text, message):
    (tmp_path / "events.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_events(tmp_path / "events.toml")


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(InputError, match="Check the path"):
        load_events(tmp_path / "none.toml")
