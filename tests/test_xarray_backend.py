"""``xarray.open_dataset(file, engine="hybridcast")``; the wheel registers the engine (tests/test_wheel.py)."""

from __future__ import annotations

import io
import tomllib

import numpy as np
import pytest
import xarray as xr

from helpers import rates
from helpers.paths import ROOT
from hybridcast.errors import InputError, ReadError
from hybridcast.radar import cf, open_radar
from hybridcast.xarray_backend import NAME, HybridcastBackend


def test_the_engine_is_registered():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"]["xarray.backends"]["hybridcast"].partition(":")
    assert (module, name) == (HybridcastBackend.__module__, HybridcastBackend.__name__)


@pytest.mark.parametrize(
    "files",
    [
        "fmi/20170509/*.gz",
        "mch/20160711/*.gif",
        "knmi/20100826/*.h5",
        "bom/66_20201031/*.nc",
        "radolan/binary/ry/*",
        "openmrg/20150827/*rad*.nc",
        "openrainer/openrainer_RAD.nc",
        "nwp_real/dwd_20221214/*RV2212141300.tar.bz2",
    ],
)
@pytest.mark.filterwarnings("ignore::hybridcast.errors.InputWarning")
def test_every_format_is_opened(real, files):
    path = real(files)[0]
    data = xr.open_dataset(path, engine=HybridcastBackend)
    expected = open_radar(path)
    assert data[NAME].attrs["units"] == "mm h-1"
    assert data["spatial_ref"].attrs["crs_wkt"] if "spatial_ref" in data.variables else True
    np.testing.assert_array_equal(data[NAME], expected)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("hybridcast.radar.formats", lambda: {"rate": rates})
    for name, content in rates.files(0, 5, 10).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_options_of_xarray(folder):
    path = folder / rates.name(5)
    data = xr.open_dataset(path, engine=HybridcastBackend, chunks={}, drop_variables=["spatial_ref", "none"])
    assert data[NAME].chunks is not None
    assert "spatial_ref" not in data.variables
    data = xr.open_dataset(path, engine=HybridcastBackend, drop_variables=NAME, backend_kwargs={"format": "rate"})
    assert not data.data_vars
    assert rates.rates(xr.open_dataset(str(folder / "*.txt"), engine=HybridcastBackend)[NAME]) == [0, 5, 10]
    assert rates.rates(xr.load_dataarray(path, engine=HybridcastBackend)) == [5]


def test_several_files_by_open_mfdataset(folder):
    data = xr.open_mfdataset(sorted(folder.glob("*.txt")), engine=HybridcastBackend)
    assert rates.rates(data[NAME]) == [0, 5, 10]


def test_the_dataset_is_saved_and_read_again(folder, tmp_path):
    data = xr.open_dataset(folder / rates.name(5), engine=HybridcastBackend)
    data.to_netcdf(tmp_path / "again.nc")
    np.testing.assert_array_equal(open_radar(tmp_path / "again.nc", cf), data[NAME])


def test_errors_are_those_of_open_radar(folder):
    (folder / "bad_202406011200.txt").write_bytes(b"rate")
    with pytest.raises(ReadError, match=r"bad_202406011200\.txt: it is cut"):
        xr.open_dataset(folder / "bad_202406011200.txt", engine=HybridcastBackend)
    with pytest.raises(InputError, match=r"BytesIO given to the engine 'hybridcast'.*open_mfdataset"):
        HybridcastBackend().open_dataset(io.BytesIO(b"rate 1;"))
    with pytest.raises(InputError, match="list given to the engine"):
        HybridcastBackend().open_dataset(["a", "b"])


@pytest.mark.parametrize("name", ["a.nc", "a.h5", "a.zarr", "a.tif", "a.grib2", "a.pgm.gz"])
def test_files_are_left_to_the_engines_of_others(name):
    assert not HybridcastBackend().guess_can_open(name)
