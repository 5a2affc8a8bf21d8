"""Zarr stores behind URLs and in zip files are read in place: only the chunks that are needed."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import fsspec
import numpy as np
import pytest

from helpers.serving import list_bucket, refuse, serve
from hybridcast.core.field import precipitation
from hybridcast.errors import ReadError
from hybridcast.nwp import open_nwp
from hybridcast.radar import open_radar

START = np.datetime64("2024-06-01T12:00", "ns")


def make_field():
    times = START + np.arange(6) * np.timedelta64(5, "m")
    rates = np.random.default_rng(0).gamma(0.2, 2.0, (6, 40, 50))
    return precipitation(rates, time=times, y=np.arange(40) * 1000.0, x=np.arange(50) * 1000.0, crs="EPSG:3035")


@pytest.fixture(scope="module")
def field():
    return make_field()


@pytest.fixture(scope="module", params=[2, 3])
def store(request, field, tmp_path_factory):
    """Return the files of a Zarr store by name, with a chunk for each frame."""
    folder = tmp_path_factory.mktemp("store") / f"v{request.param}.zarr"
    data = field.to_dataset(name="precipitation_rate").chunk(time=1)
    data.to_zarr(folder, zarr_format=request.param, consolidated=request.param == 2)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def below(prefix, store):
    return {f"{prefix}/{name}": content for name, content in store.items()}


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def data_requests(site):
    return [
        r for r in site.requests if "/precipitation_rate/" in r and r.startswith("GET") and ".z" not in r.split("/")[-1]
    ]


def test_only_the_chunks_that_are_needed_are_requested(store, field):
    with serve(below("archive/rain.zarr", store)) as site:
        radar = open_radar(f"{site.url}/archive/rain.zarr")
        assert radar.sizes == field.sizes
        before = [r for r in data_requests(site) if not r.endswith("zarr.json")]
        assert not before
        last = radar.isel(time=-1).compute()
        assert len([r for r in data_requests(site) if not r.endswith("zarr.json")]) == 1
        np.testing.assert_allclose(last, field[-1], rtol=1e-6)
        with pytest.raises(ReadError, match=r"precipitation|standard_name|variable"):
            open_nwp(f"{site.url}/archive/rain.zarr")  # a Zarr of radar has no model fields


@pytest.mark.parametrize("address", ["{}/store/", "{}/store", "simplecache::{}/rain.zarr", "{}/rain.zarr/"])
def test_addresses_of_stores(store, field, address):
    with serve({**below("store", store), **below("rain.zarr", store)}) as site:
        radar = open_radar(address.format(site.url))
        np.testing.assert_allclose(radar, field, rtol=1e-6)


def test_stores_in_memory_and_in_buckets(store, field, monkeypatch):
    memory = fsspec.filesystem("memory")
    for name, content in below("x/rain.zarr", store).items():
        memory.pipe(f"/{name}", content)
    np.testing.assert_allclose(open_radar("memory://x/rain.zarr"), field, rtol=1e-6)
    memory.rm("/x", recursive=True)
    pytest.importorskip("s3fs")
    from fsspec.config import conf

    with serve(below("bucket/rain.zarr", store)) as site:
        site.answers["/bucket"] = list_bucket("bucket")
        monkeypatch.setitem(conf, "s3", {"anon": True, "endpoint_url": site.url})
        np.testing.assert_allclose(open_radar("s3://bucket/rain.zarr"), field, rtol=1e-6)


def test_references_to_chunks_in_other_files(store, field):
    if "zarr.json" in store:
        pytest.skip("kerchunk's references are of Zarr 2")
    with serve(below("chunks", store)) as site:
        references = {
            name: content.decode() if name.rpartition("/")[2].startswith(".z") else [f"{site.url}/chunks/{name}"]
            for name, content in store.items()
        }
        site.files["/rain.json"] = json.dumps({"version": 1, "refs": references}).encode()
        np.testing.assert_allclose(open_radar(f"reference::{site.url}/rain.json"), field, rtol=1e-6)


@pytest.mark.parametrize("folder", ["", "rain.zarr/"])
@pytest.mark.parametrize("ranges", [True, False])
def test_zipped_stores_on_the_disk_and_behind_addresses(store, field, folder, ranges, tmp_path):
    content = zipped({f"{folder}{name}": body for name, body in store.items()})
    path = tmp_path / "rain.zarr.zip"
    path.write_bytes(content)
    np.testing.assert_allclose(open_radar(path), field, rtol=1e-6)
    path.rename(tmp_path / "rain.zip")  # the content counts
    np.testing.assert_allclose(open_radar(tmp_path / "rain.zip"), field, rtol=1e-6)
    with serve({"rain.zarr.zip": content}, ranges=ranges) as site:
        np.testing.assert_allclose(open_radar(f"{site.url}/rain.zarr.zip"), field, rtol=1e-6)
        np.testing.assert_allclose(open_radar(f"zip::{site.url}/rain.zarr.zip"), field, rtol=1e-6)


def test_stores_that_are_not_there_and_damaged_ones(store):
    with serve(below("rain.zarr", store)) as site:
        with pytest.raises(ReadError, match=rf"{site.url}/none\.zarr: damaged, or no Zarr store"):
            open_radar(f"{site.url}/none.zarr")
        for name in ("/rain.zarr/.zmetadata", "/rain.zarr/zarr.json"):
            site.answers[name] = refuse(403)
        with pytest.raises(ReadError, match=rf"{site.url}/rain\.zarr: (the server refuses it|damaged)"):
            open_radar(f"{site.url}/rain.zarr")


def test_a_store_whose_members_cannot_be_found_says_why(store):
    files = {name: body for name, body in store.items() if name != ".zmetadata"}
    with serve({f"a/rain.zarr/{name}": body for name, body in files.items()}) as site:
        folders = {"/".join(name.split("/")[:-1]) for name in files}
        for folder in folders:  # the server does not list its folders
            for end in ("", "/"):
                site.answers[f"/a/rain.zarr/{folder}".rstrip("/") + end] = refuse(404)
        with pytest.raises(
            ReadError, match=r"rain\.zarr: a Zarr store without consolidated metadata.*consolidate_metadata"
        ):
            open_radar(f"{site.url}/a/rain.zarr")


def test_a_damaged_zip_of_a_store_is_refused(store, tmp_path):
    path = tmp_path / "rain.zarr.zip"
    path.write_bytes(zipped(store)[:-30])
    with pytest.raises(ReadError, match=r"rain\.zarr\.zip: the zip is truncated or damaged"):
        open_radar(path)


@pytest.mark.parametrize("name", ["italian-radar.zarr.tar.gz", "store.tar"])
def test_a_store_in_a_tar_is_refused_with_the_way_out(store, tmp_path, name):
    """As the copy of IT-DPC-SRI on Zenodo, a tar of 50 GB."""
    with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
        for member, content in list(store.items())[:20]:
            info = tarfile.TarInfo(f"a.zarr/{member}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    with pytest.raises(ReadError, match=rf"{name}: a Zarr store in a tar, which cannot be read in place\. Unpack it"):
        open_radar(tmp_path / name)


def test_a_store_and_files_beside_each_other(store, field, tmp_path):
    later = field.assign_coords(time=field.time.values + np.timedelta64(30, "m"))
    later.to_dataset(name="precipitation_rate").to_netcdf(tmp_path / "later.nc")
    with serve(below("rain.zarr", store)) as site:
        both = open_radar([f"{site.url}/rain.zarr", tmp_path / "later.nc"])
        assert both.sizes["time"] == 12
        np.testing.assert_allclose(both[:6], field, rtol=1e-6)


def test_lazy_files_from_containers_outlive_their_copies(field, tmp_path):
    for k, time in enumerate(field.time.values):
        name = f"rain_20240601_12{5 * k:02d}.nc"
        field.sel(time=[time]).to_dataset(name="precipitation_rate").to_netcdf(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in tmp_path.glob("*.nc"):
            archive.write(path, path.name)
            path.unlink()
    radar = open_radar(tmp_path / "all.zip")
    assert radar.chunks is not None
    np.testing.assert_allclose(radar, field, rtol=1e-6)
