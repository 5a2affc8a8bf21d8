"""Paths, globs, containers and URLs, opened by `open_radar` with a format of a few bytes."""

from __future__ import annotations

import base64
import bz2
import errno
import gc
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import threading
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pyarrow
import pytest
import xarray as xr

from helpers import rates
from helpers.serving import break_off, list_bucket, refuse, serve
from hybridcast.core import compression, containers, remote
from hybridcast.core.field import precipitation
from hybridcast.core.paths import expand_paths, open_paths
from hybridcast.errors import DependencyError, ForecastFileError, InputError, InputWarning, ReadError
from hybridcast.radar import formats, open_radar

MINUTES = (0, 5, 10, 15)


@pytest.fixture(autouse=True)
def only_rates(monkeypatch, tmp_path):
    """Let radar files be those of the tests only, and look for copies that remain."""
    monkeypatch.setattr("hybridcast.radar.formats", lambda: {"rate": rates})
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.0)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield
    if list(temporary.glob("hybridcast-*")):
        gc.collect()  # errors that refer to each other keep their copies until then
    assert not list(temporary.glob("hybridcast-*")), "copies remain"


def make_tar(files, mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def make_zip(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


PACKS = {
    "tar.zip": make_tar,
    "zip.tar": make_zip,
    "a.tar": make_tar,
    "a.tar.gz": lambda files: make_tar(files, "w:gz"),
    "a.tgz": lambda files: make_tar(files, "w:gz"),
    "a.tar.bz2": lambda files: make_tar(files, "w:bz2"),
    "a.tar.xz": lambda files: make_tar(files, "w:xz"),
    "a.zip": make_zip,
    "a.whl": make_zip,
    "without_suffix": make_tar,
}


# --- containers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKS)
def test_a_container_stands_for_its_files(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PACKS[name](rates.files(*MINUTES)))
    assert rates.rates(open_radar(path)) == list(MINUTES)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_folders_are_searched_and_what_is_no_data_is_not_looked_at(tmp_path, name):
    others = {
        "2024/README.txt": b"text",
        "2024/.hidden_202406011220.txt": b"rate 20;",
        "__MACOSX/2024/._rain_20240601_1205.txt": b"rate 99;",
        "SHA256SUMS": b"0",
        "2024/rain_20240601_1205.txt.md5": b"0",
        "2024/licence.pdf": b"%PDF",
        "index.txt": b"rain",
    }
    path = tmp_path / name
    inside = {f"2024/06/{name}": content for name, content in rates.files(*MINUTES[:-1]).items()}
    inside["2024/index_202406011215.dat"] = b"rate 15;"  # data, whatever its first word
    path.write_bytes(PACKS[name]({**others, **inside}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rates.rates(open_radar(path)) == list(MINUTES)


def test_containers_lie_in_containers(tmp_path):
    days = {f"RW-{day}.tar.gz": make_tar(rates.files(day), "w:gz") for day in MINUTES}
    path = tmp_path / "month.tar"
    path.write_bytes(make_tar(days))
    assert rates.rates(open_radar(path)) == list(MINUTES)
    with open_paths(path) as files:
        assert str(files[1]) == f"{path}::RW-5.tar.gz::{rates.name(5)}"


def test_too_many_containers_in_each_other_are_refused(tmp_path):
    content = make_zip(rates.files(0))
    for _ in range(containers.MAX_DEPTH):
        content = make_zip({"inner.zip": content})
    path = tmp_path / "outer.zip"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"outer\.zip.*lies in 3 containers.*Unpack the outer ones"):
        open_radar(path)


def test_members_are_chosen_by_a_pattern_behind_two_colons(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(make_tar({f"x/{name}": content for name, content in rates.files(*MINUTES).items()}))
    assert rates.rates(open_radar(f"{path}::*_120[05].txt")) == [0, 5]
    assert rates.rates(open_radar(f"{path}::x/{rates.name(10)}")) == [10]
    with pytest.raises(
        InputError, match=r"no file in .*a\.tar matches '\*\.h5'; it holds 4: x/rain_20240601_1200\.txt"
    ):
        open_radar(f"{path}::*.h5")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_times_come_from_the_member_or_else_from_the_container(tmp_path, name):
    for minute in (0, 5):
        path = tmp_path / f"radar_20240601_12{minute:02d}_{name}"
        path.write_bytes(PACKS[name]({"rain.txt": rates.content(minute)}))
    field = open_radar(str(tmp_path / "radar*"))
    assert field.time.values.tolist() == (rates.START + np.array([0, 5]) * np.timedelta64(1, "m")).tolist()
    path.write_bytes(PACKS[name](rates.files(15)))  # the container was made at 12:05
    assert open_radar(path).time.values == rates.START + np.timedelta64(15, "m")


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_damaged_members_are_named_and_their_frames_are_missing(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PACKS[name]({**rates.files(*MINUTES), rates.name(10): b"rate 1"}))
    with pytest.warns(InputWarning, match=rf"{name}::rain_20240601_1210\.txt: it is cut"):
        field = open_radar(path)
    assert rates.rates(field)[:2] + rates.rates(field)[3:] == [0, 5, 15]
    assert np.isnan(rates.rates(field)[2])
    assert field.attrs["unreadable_files"] == f"{path}::{rates.name(10)}: it is cut"
    with pytest.raises(ReadError, match=r"1210\.txt: it is cut"):
        open_radar(path, strict=True)


def test_notes_about_a_member_name_it_and_not_its_copy(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip({rates.name(0): b"rate 1;"}))
    with pytest.warns(InputWarning) as caught:
        open_radar(path, Loud())
    assert [str(one.message) for one in caught] == [f"{path}::{rates.name(0)}: of little rain"]
    assert caught[0].message.for_command_line == f"{path}::{rates.name(0)}: of little rain"


class Loud:
    """The format of these tests, with a note about each file."""

    NAME = "loud"
    DESCRIPTION = "a number in a text file"

    def recognises(self, path, head):
        return True

    def read(self, path):
        warnings.warn(f"{path}: of little rain", InputWarning, stacklevel=2)
        return precipitation(np.ones((1, 2, 3)), time=[rates.START], y=[0, 1000], x=[0, 1000, 2000], crs="EPSG:3035")


def test_members_of_other_kinds_are_left_out_with_one_note(tmp_path):
    path = tmp_path / "package.whl"
    path.write_bytes(make_zip({**rates.files(*MINUTES), **{f"code_{k}.py": b"import os" for k in range(9)}}))
    with pytest.warns(InputWarning, match=r"code_0\.py.* and 6 more") as caught:
        field = open_radar(path, strict=True)
    assert len(caught) == 1
    assert rates.rates(field) == list(MINUTES)
    assert "unreadable_files" not in field.attrs


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_of_a_truncated_tar_the_intact_files_are_read_and_the_damage_is_told(tmp_path, name, kept):
    random = np.random.default_rng(0)
    noise = {f"noise_{k}.bin": random.bytes(3000) for k in range(3)}
    content = PACKS[name]({**rates.files(0, 5), **noise, **rates.files(10, 15)})
    path = tmp_path / name
    path.write_bytes(content[: int(kept * len(content.rstrip(b"\0")))])
    with pytest.raises(ReadError, match="truncated or damaged"):
        open_radar(path, strict=True)
    if name == "a.tar.bz2":  # one block holds all
        return
    with pytest.warns(InputWarning) as caught:
        field = open_radar(path)
    assert rates.rates(field) in ([0, 5], [0, 5, 10])
    assert any(f"{name}: truncated or damaged after" in str(one.message) for one in caught)


def test_a_damaged_header_in_a_tar_is_told(tmp_path):
    """tarfile ends there without a word (CPython #120740)."""
    content = bytearray(make_tar(rates.files(*MINUTES)))
    content[2 * 1024 + 148 : 2 * 1024 + 156] = b"\xff" * 8  # checksum of the third header
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(content))
    with pytest.warns(InputWarning, match=r"a\.tar: truncated or damaged after 2 members"):
        assert rates.rates(open_radar(path)) == [0, 5]


@pytest.mark.parametrize("harm", [lambda c: c[: len(c) // 2], lambda c: c[:60] + b"\xff" * 30 + c[90:]])
def test_a_damaged_zip_is_refused_by_name(tmp_path, harm):
    path = tmp_path / "a.zip"
    path.write_bytes(harm(make_zip(rates.files(0))))
    with pytest.raises(ReadError, match=r"a\.zip.*(truncated or damaged|it is cut)"):
        open_radar(path)


def test_a_zip_with_a_password_says_so(tmp_path):
    content = bytearray(make_zip(rates.files(0)))
    content[6] |= 1  # bit 0 of the flags of the entry, and of the directory below
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(content))
    with pytest.raises(ReadError, match=r"a\.zip::rain_20240601_1200\.txt: is encrypted with a password.*7z x"):
        open_radar(path)


def test_a_zip_of_an_unknown_compression_says_so(tmp_path):
    content = bytearray(make_zip(rates.files(0)))
    content[8] = 9  # Deflate64, which Windows writes for large files
    content[content.index(b"PK\x01\x02") + 10] = 9
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(content))
    with pytest.raises(ReadError, match=r"a\.zip::.*compressed by a method that Python cannot read.*7z x"):
        open_radar(path)


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
@pytest.mark.parametrize("folder", ["../../", "/etc/", "C:\\rain\\", "a/../../"])
def test_names_that_leave_the_container_cannot_write_elsewhere(tmp_path, name, folder):
    path = tmp_path / name
    path.write_bytes(PACKS[name]({f"{folder}{rates.name(0)}": b"rate 3;"}))
    before = sorted(tmp_path.rglob("*"))
    assert rates.rates(open_radar(path)) == [3]
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / rates.name(0)).exists()


def test_links_in_a_tar_are_not_followed_out_of_it(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for kind, target in (
            (tarfile.SYMTYPE, "/etc/hostname"),
            (tarfile.LNKTYPE, "nowhere.txt"),
            (tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(rates.name(int(kind)))
            info.type, info.linkname = kind, target
            archive.addfile(info)
        info = tarfile.TarInfo(rates.name(30))
        info.size = 8
        archive.addfile(info, io.BytesIO(b"rate 30;"))
    path = tmp_path / "a.tar"
    path.write_bytes(stream.getvalue())
    with pytest.warns(InputWarning, match=r"link to 'nowhere\.txt', which the tar does not hold"):
        field = open_radar(path)
    assert rates.rates(field)[-1] == 30
    assert np.isfinite(rates.rates(field)).sum() == 1


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.xz", "a.zip"])
def test_a_container_that_unfolds_to_an_absurd_size_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(containers, "MAX_UNFOLDED", 10_000)
    monkeypatch.setattr(containers, "MAX_RATIO", 5)
    path = tmp_path / name
    path.write_bytes(PACKS[name]({rates.name(0): bytes(1_000_000)}))
    with pytest.raises(ReadError, match=rf"{name}.*unfolds to .* GiB.*only damaged or malicious files do. Unpack it"):
        open_radar(path)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_single_file_that_unfolds_to_an_absurd_size_is_refused(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(compression, "MAX_UNCOMPRESSED", 100_000)
    path = tmp_path / rates.name(0)
    path.write_bytes(pack(b"rate 1;" + bytes(200_000)))
    with pytest.raises(ReadError, match=r"unfolds to more than .* GiB, as only damaged or malicious files do"):
        open_radar(path)


def test_a_container_without_data_is_refused(tmp_path):
    for name, content in {
        "a.zip": make_zip({"README.md": b"text"}),
        "a.tar": make_tar({}),
        "b.zip": make_zip({}),
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ReadError, match=rf"{name}: a container without any file that can be data"):
            open_radar(path)


def test_a_container_beside_files_and_damaged_ones(tmp_path):
    for name, content in rates.files(0, 5).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "b.tar").write_bytes(make_tar(rates.files(10)))
    (tmp_path / "c_202406011215.tar.gz").write_bytes(make_tar(rates.files(15), "w:gz")[:60])
    with pytest.warns(InputWarning, match=r"c_202406011215\.tar\.gz: the compressed file is truncated or damaged"):
        field = open_radar(sorted(tmp_path.glob("*.*")))
    assert rates.rates(field)[:3] == [0, 5, 10]
    assert np.isnan(rates.rates(field)[3])


def test_files_that_a_reader_looks_for_beside_another_are_there(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip({"sub/places.csv": b"1", **{f"sub/{n}": c for n, c in rates.files(0, 5).items()}}))
    with open_paths(f"{path}::*_1200.txt") as files:
        assert [file.name for file in files[0].local().parent.iterdir()] == [rates.name(0)]
    with open_paths(path) as files:
        local = next(file for file in files if file.name == rates.name(5)).local()
        assert sorted(file.name for file in local.parent.iterdir()) == ["places.csv", rates.name(5)]


def test_copies_live_as_long_as_their_locations(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip(rates.files(0, 5)))
    files = expand_paths(path)
    copy = files[1].local()
    assert copy.read_bytes() == b"rate 5;"
    assert stat.S_IMODE(copy.parents[2].stat().st_mode) == 0o700  # nobody else reads or replaces them
    del files
    gc.collect()
    assert not copy.exists()


# --- single compressed files ----------------------------------------------------------------------------------


def zstandard(content):
    return pyarrow.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard])
def test_single_files_may_be_compressed(tmp_path, pack):
    for minute in MINUTES:
        (tmp_path / rates.name(minute)).write_bytes(pack(rates.content(minute)))
    assert rates.rates(open_radar(str(tmp_path / "*.txt"))) == list(MINUTES)


def test_a_compressed_tar_whose_name_hides_it_is_told(tmp_path):
    path = tmp_path / "archive.gz"
    path.write_bytes(make_tar(rates.files(0), "w:gz"))
    with pytest.raises(ReadError, match=r"a compressed tar that its name hides. Rename it to end in \.tar\.gz"):
        open_radar(path)


# --- paths on the disk ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["with space", "überflutung", "a[1]", "b{2}", "percent%20", "hash#", "::colons"])
def test_odd_names_of_folders_work(tmp_path, folder):
    (tmp_path / folder).mkdir()
    for name, content in rates.files(0, 5).items():
        (tmp_path / folder / name).write_bytes(content)
    assert rates.rates(open_radar(str(tmp_path / folder / "*.txt"))) == [0, 5]
    assert rates.rates(open_radar(str(tmp_path / folder / rates.name(5)))) == [5]


def test_accents_match_however_they_are_composed(tmp_path):
    """File systems of macOS decompose them, keyboards compose them."""
    (tmp_path / "u\u0308ber").mkdir()
    (tmp_path / "u\u0308ber" / rates.name(0)).write_bytes(b"rate 1;")
    assert rates.rates(open_radar(str(tmp_path / "\u00fcber" / "*.txt"))) == [1]


def test_what_is_no_file_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe_202406011200")
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "gone.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"x")
    (tmp_path / f"{rates.name(0)}.part").write_bytes(b"rate 0;")
    for name, message in {
        "pipe_202406011200": "a pipe, a socket or a device, and no file. Write its content to a file first",
        "dangling.txt": r"a link to .*gone\.txt, which does not exist",
        "empty": "the folder is empty",
        "folder": r"a folder, and no Zarr store. Give the files in it, such as '.*/folder/\*'",
        f"{rates.name(0)}.part": r"an unfinished download \(\.part\)",
    }.items():
        with pytest.raises(ReadError, match=message):
            open_radar(tmp_path / name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "the path ''; a path names a file"),
        ("a\0b", "a path names a file"),
        ("C:\\data\\radar.h5", "This is a path of Windows"),
        ("\\\\server\\radar.h5", "This is a path of Windows"),
        ("/vsicurl/https://host/radar.h5", "a path of GDAL; give the path or the URL that it contains"),
        ("https:/host/radar.h5", "An address begins with a protocol and two slashes"),
        ("x" * 5000, "cannot be opened|content is not accepted"),
        ([], "no paths given"),
        (7, "int given as a path"),
        ([["a"]], "list given as a path"),
        (io.BytesIO(b""), "BytesIO given as a path"),
        (xr.DataArray([1]), "DataArray given as a path.*data in memory need no reader"),
        ("~nobody-of-this-name/a.h5", "no file matches"),
        ("nothing/here/*.h5", r"no file matches 'nothing/here/\*\.h5'"),
    ],
)
def test_what_names_no_file_is_told(given, message):
    with pytest.raises(InputError, match=message):
        open_radar(given)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_somebody_else_is_told(tmp_path):
    path = tmp_path / rates.name(0)
    path.write_bytes(b"rate 0;")
    path.chmod(0)
    with pytest.raises(ReadError, match="may not be read by you"):
        open_radar(path)


def test_permission_errors_of_the_system_are_explained(tmp_path, monkeypatch):
    path = tmp_path / rates.name(0)
    path.write_bytes(b"rate 0;")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ReadError, match=r"Permission denied: it may not be read by you. Change its permissions"):
        open_radar(path)


# --- URLs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def site():
    with serve({f"/r/{name}": content for name, content in rates.files(*MINUTES).items()}) as site:
        yield site


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    for name, content in rates.files(*MINUTES).items():
        filesystem.pipe(f"/r/{name}", content)
    yield filesystem
    filesystem.rm("/", recursive=True)


def test_files_of_a_web_server_by_address_and_by_glob(site):
    assert rates.rates(open_radar(f"{site.url}/r/{rates.name(5)}")) == [5]
    assert rates.rates(open_radar([f"{site.url}/r/{rates.name(k)}" for k in (0, 5)])) == [0, 5]
    assert rates.rates(open_radar(f"{site.url}/r/*.txt")) == list(MINUTES)
    assert rates.rates(open_radar(f"{site.url}/r/*_121[05].txt")) == [10, 15]
    assert rates.rates(open_radar(Path(f"{site.url}/r/{rates.name(5)}"))) == [5]  # pathlib takes a slash away
    with pytest.raises(ReadError, match=r"dodsC/a\.nc: .* an address of OPeNDAP: give that of the file"):
        open_radar(f"{site.url}/thredds/dodsC/a.nc")


def test_a_name_in_the_query_of_an_address_gives_the_time(site):
    site.files["/download"] = b"rate 7;"
    url = f"{site.url}/download?key=secret&file={rates.name(20)}"
    assert open_radar(url).time.values == rates.START + np.timedelta64(20, "m")
    site.files["/download"] = b"rate"
    with pytest.raises(ReadError, match=rf"^{site.url}/download: it is cut$"):
        open_radar(url)  # the key is not shown


def test_user_and_password_of_an_address_are_used_and_never_shown(site):
    """Such addresses are in public programs, with keys of their owners."""

    def ask(handler):
        if handler.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:secret").decode():
            handler.serve_file()
        else:
            refuse(401)(handler)

    path = f"/r/{rates.name(5)}"
    site.answers[path] = ask
    mine = site.url.replace("http://", "http://me:secret@")
    assert rates.rates(open_radar(mine + path)) == [5]
    site.files[path] = b"rate"
    with pytest.raises(ReadError, match=rf"^{site.url}{path}: it is cut$"):
        open_radar(mine + path)
    with pytest.raises(ReadError, match=rf"^{site.url}{path}: the server refuses it") as caught:
        open_radar(site.url.replace("http://", "http://me:wrong@") + path)
    assert "wrong" not in str(caught.value)


def test_an_address_that_moved_is_followed(site):
    def move(handler):
        handler.send_response(302)
        handler.send_header("Location", f"{site.url}/r/{rates.name(5)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    site.answers[f"/old/{rates.name(0)}"] = move
    assert rates.rates(open_radar(f"{site.url}/old/{rates.name(0)}")) == [5]


def test_containers_behind_addresses(site):
    site.files["/a.tar.gz"] = make_tar(rates.files(0, 5), "w:gz")
    site.files["/b.zip"] = make_zip(rates.files(10, 15))
    assert rates.rates(open_radar([f"{site.url}/a.tar.gz", f"{site.url}/b.zip"])) == list(MINUTES)
    assert rates.rates(open_radar(f"{site.url}/a.tar.gz::*_1205.txt")) == [5]
    assert rates.rates(open_radar(f"tar://*_1205.txt::{site.url}/a.tar.gz")) == [5]
    assert rates.rates(open_radar(f"zip::{site.url}/b.zip")) == [10, 15]
    site.files["/b.zip"] = make_zip({rates.name(10): b"rate"})
    with pytest.raises(ReadError, match=rf"^{site.url}/b\.zip::{rates.name(10)}: it is cut$"):
        open_radar(f"{site.url}/b.zip")


def test_memory_caches_and_chains(memory, site, tmp_path):
    assert rates.rates(open_radar("memory://r/*.txt")) == list(MINUTES)
    assert rates.rates(open_radar(f"memory://r/{rates.name(5)}")) == [5]
    assert rates.rates(open_radar("simplecache::memory://r/*.txt")) == list(MINUTES)
    assert rates.rates(open_radar(f"simplecache::{site.url}/r/*.txt")) == list(MINUTES)
    (tmp_path / "a.zip").write_bytes(make_zip(rates.files(0, 5)))
    assert rates.rates(open_radar(f"zip://*_1205.txt::{tmp_path}/a.zip")) == [5]
    assert rates.rates(open_radar(f"zip://*_1205.txt::file://{tmp_path}/a.zip")) == [5]
    memory.pipe("/a.zip", make_zip(rates.files(0, 5)))
    assert rates.rates(open_radar("memory://a.zip")) == [0, 5]
    (tmp_path / "with space.txt").write_bytes(b"rate")
    with pytest.raises(ReadError, match=r"with space\.txt: it is cut"):
        open_radar(f"file://{tmp_path}/with%20space.txt")


def test_a_bucket_of_s3_is_read_without_an_account(monkeypatch):
    pytest.importorskip("s3fs")
    from fsspec.config import conf

    with serve({f"/bucket/{n}": c for n, c in rates.files(*MINUTES).items()}) as site:
        site.answers["/bucket"] = list_bucket("bucket")
        monkeypatch.setitem(conf, "s3", {"anon": True, "endpoint_url": site.url})
        assert rates.rates(open_radar("s3://bucket/*_120[05].txt")) == [0, 5]
        assert rates.rates(open_radar(f"s3://bucket/{rates.name(15)}")) == [15]
        with pytest.raises(ReadError, match=r"s3://bucket/none\.txt: the server has no such file"):
            open_radar("s3://bucket/none.txt")


def test_s3_is_anonymous_only_where_nothing_is_configured(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in remote._AWS_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    assert remote._get_options("s3") == {"anon": True}
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert remote._get_options("s3") == {}


def test_the_package_of_a_protocol_is_named(monkeypatch):
    with pytest.raises(
        DependencyError, match=r"gs://bucket/a needs a package that is not installed: pip install gcsfs"
    ):
        open_radar("gs://bucket/a")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(DependencyError, match=r"pip install 'hybridcast\[s3\]'"):
        open_radar("s3://bucket/a.h5")
    with pytest.raises(InputError, match=r"'foo://a/b' cannot be opened"):
        open_radar("foo://a/b")


@pytest.mark.parametrize(
    ("status", "message", "attempts"),
    [
        (404, r"the server has no such file \(404\)", 1),
        (410, r"the server has no such file \(404\)", 1),
        (403, r"the server refuses it .*fsspec", 1),
        (401, r"the server refuses it .*fsspec", 1),
        (400, "the server answers 400 Bad Request. Try later", 1),
        (429, "the server answers 429 Too Many Requests. Try later", 3),
        (503, "the server answers 503 Service Unavailable. Try later", 3),
    ],
)
def test_the_answers_of_servers_are_explained(site, status, message, attempts):
    path = f"/r/{rates.name(0)}"
    site.answers[path] = refuse(status)
    with pytest.raises(ReadError, match=f"{site.url}{path}: {message}"):
        open_radar(site.url + path)
    assert site.gets(path) == attempts


def test_a_server_that_fails_now_and_then_is_asked_again(site):
    site.answers[f"/r/{rates.name(0)}"] = refuse(503, times=1)
    site.answers[f"/r/{rates.name(5)}"] = break_off(times=2)
    assert rates.rates(open_radar(f"{site.url}/r/*.txt")) == list(MINUTES)


def test_a_download_that_breaks_off_is_never_read(site):
    site.files[f"/r/{rates.name(5)}"] = b"rate 1;rate 5;"  # half of it would be a valid file
    site.answers[f"/r/{rates.name(5)}"] = break_off()
    with pytest.raises(ReadError, match=r"1205\.txt: the download broke off .*Try again"):
        open_radar(f"{site.url}/r/{rates.name(5)}")
    with pytest.warns(InputWarning, match=r"1205\.txt: the download broke off"):
        field = open_radar(f"{site.url}/r/*.txt")
    assert np.isnan(rates.rates(field)[1])
    assert rates.rates(field)[2:] == [10, 15]


def test_hosts_that_are_not_there(site):
    with pytest.raises(ReadError, match=r"the host is not found\. Check the address"):
        open_radar("http://nowhere.invalid/a.txt")
    with pytest.raises(
        ReadError, match=r"^http://127\.0\.0\.1:1/a\.txt: cannot be read from there.*Connect call failed"
    ):
        open_radar("http://me:secret@127.0.0.1:1/a.txt")
    with pytest.raises(ReadError, match=r"ftp://nowhere\.invalid/a\.txt: the host is not found"):
        open_radar("ftp://nowhere.invalid/a.txt")


def test_a_full_disk_is_told_with_the_way_out(site, tmp_path, monkeypatch):
    """As a server's /tmp of a few megabytes in memory."""
    full = "no space is left in .*temporary for a copy. Free some, or set TMPDIR to a larger folder"

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.tar.gz"
    path.write_bytes(make_tar(rates.files(0), "w:gz"))
    monkeypatch.setattr(containers, "copy_until", fail)
    with pytest.raises(ReadError, match=rf"a\.tar\.gz: {full}"):
        open_radar(path)
    monkeypatch.setattr(remote, "_be_patient", lambda filesystem: SimpleNamespace(get_file=fail))
    with pytest.raises(ReadError, match=rf"1200\.txt: {full}"):
        open_radar(f"{site.url}/r/{rates.name(0)}")


def test_members_that_do_not_fit_are_refused_before_they_are_written(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip(rates.files(0)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3))
    with pytest.raises(
        ReadError, match=r"1200\.txt: a copy of 0 MiB does not fit into .*set TMPDIR to a larger folder"
    ):
        open_radar(path)


def test_a_slow_server_is_given_up(site, monkeypatch):
    monkeypatch.setattr(remote, "READ_TIMEOUT", 0.1)
    monkeypatch.setattr(remote, "ATTEMPTS", 1)
    done = threading.Event()
    site.answers["/slow.txt"] = lambda handler: done.wait(5)
    try:
        with pytest.raises(ReadError, match=r"slow\.txt: no answer within"):
            open_radar(f"{site.url}/slow.txt")
    finally:
        done.set()


def test_only_files_whose_names_are_near_the_wanted_time_are_downloaded(site):
    for minute in range(20, 600, 5):
        site.files[f"/r/{rates.name(minute)}"] = rates.content(minute % 60)
    field = open_radar(f"{site.url}/r/*.txt", history="10min")
    assert rates.rates(field) == [45, 50, 55]
    assert sum(request.endswith(".txt") for request in site.requests) == (10 + 60) / 5 + 1
    with pytest.raises(InputError, match="no frame from"):
        open_radar(f"{site.url}/r/*.txt", times=("2024-06-03", "2024-06-04"))


def test_containers_whose_names_are_far_from_the_wanted_time_are_not_downloaded(site):
    for minute in range(0, 600, 5):
        packed = make_tar({rates.name(minute): rates.content(minute % 60)})
        site.files[f"/tars/{rates.name(minute)[:-4]}.tar"] = packed
    field = open_radar(f"{site.url}/tars/*.tar", history="5min")
    assert rates.rates(field) == [50, 55]
    assert field.attrs["files_outside_period"] == 118
    assert sum(request.endswith(".tar") for request in site.requests) == (5 + 60) / 5 + 1


def test_downloads_run_side_by_side(site):
    """The server answers only when several files have been asked for."""
    barrier = threading.Barrier(len(MINUTES))

    def wait_for_the_others(handler):
        barrier.wait(5)
        handler.serve_file()

    for minute in MINUTES:
        site.answers[f"/r/{rates.name(minute)}"] = wait_for_the_others
    assert rates.rates(open_radar([f"{site.url}/r/{rates.name(minute)}" for minute in MINUTES])) == list(MINUTES)


def test_a_login_page_in_place_of_a_file_is_told(site):
    site.files[f"/r/{rates.name(5)}"] = b"<!DOCTYPE html><html><title>Log in</title>"
    with pytest.raises(ReadError, match=r"1205\.txt: no known radar format: a web page, not the file.*login"):
        open_radar(f"{site.url}/r/{rates.name(5)}")


def test_globs_of_servers_that_match_nothing(site):
    site.answers["/closed/"] = refuse(403)
    with pytest.raises(InputError, match=r"no file matches '.*/r/\*\.h5'; the server lists such files"):
        open_radar(f"{site.url}/r/*.h5")
    with pytest.raises(InputError, match=r"no file matches '.*/closed/\*'; the server lists its files"):
        open_radar(f"{site.url}/closed/*")


def test_a_gzip_that_the_server_unpacks_on_the_way_is_read(site):
    """Servers send .gz files with Content-Encoding: gzip (fsspec #720, #1319, #1748: truncated or refused)"""
    body = gzip.compress(b"rate 4;")

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    site.answers["/rain_20240601_1200.txt.gz"] = answer
    assert rates.rates(open_radar(f"{site.url}/rain_20240601_1200.txt.gz")) == [4]


# --- real files -----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::hybridcast.errors.InputWarning")
class TestRealFiles:
    """Files of services, packed or behind an address, are read as the files themselves."""

    @pytest.fixture(autouse=True)
    def real_formats(self, monkeypatch, only_rates):
        monkeypatch.setattr("hybridcast.radar.formats", formats)

    @pytest.mark.parametrize(
        "files",
        [
            "fmi/20170509/*.gz",
            "mch/20160711/*.gif",
            "knmi/20100826/*.h5",
            "bom/66_20201031/*.nc",
            "radolan/binary/ry/*",
            "openrainer/openrainer_RAD.nc",
        ],
    )
    @pytest.mark.parametrize("pack", ["a.tar.gz", "a.zip"])
    def test_each_format_from_a_container(self, real, files, pack, tmp_path):
        paths = real(files)[:2]
        (tmp_path / pack).write_bytes(PACKS[pack]({f"sub/{path.name}": path.read_bytes() for path in paths}))
        xr.testing.assert_equal(open_radar(tmp_path / pack).load(), open_radar(paths).load())

    def test_analyses_of_dwd_come_from_their_tar_and_forecasts_are_left_out(self, real):
        """RV of 2022-12-14 13:00 and 13:05: 25 members each, of which lead 0 is the analysis."""
        tars = real("nwp_real/dwd_20221214/*RV*.tar.bz2")
        field = open_radar(tars)
        times = field.time.values.astype("datetime64[m]").astype(str).tolist()
        assert times == ["2022-12-14T13:00", "2022-12-14T13:05"]
        ends = r"DE1200_RV2212141300_005 \(\+5 min\) to DE1200_RV2212141300_120 \(\+120 min\)"
        text = rf"1300\.tar\.bz2: 24 files, {ends}; .*1305\.tar\.bz2: 24 files"
        assert re.search(text, field.attrs["forecasts_left_out"])
        assert field.shape == (2, 1200, 1100)
        with pytest.raises(ForecastFileError, match=r"tar\.bz2::DE1200_RV2212141305_010: a forecast \(\+10 min\)"):
            open_radar(f"{tars[1]}::*_010")
