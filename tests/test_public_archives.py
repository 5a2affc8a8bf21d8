"""The page on public archives: its code runs on stand-ins of the same layout, served from this computer."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping

import h5py
import numpy as np
import pyproj
import pytest
import xarray as xr

from helpers.paths import ROOT
from helpers.serving import serve
from hybridcast.core.field import crs_of
from hybridcast.errors import InputWarning
from hybridcast.radar import open_radar

PAGE = (ROOT / "notebooks/guide/public_archives.md").read_text(encoding="utf-8")
MLCAST, SWISS, GERMAN = re.findall(r"```python\n(.*?)```", PAGE, re.S)
(COMMAND,) = re.findall(r"hybridcast forecast '(.*?)' -o forecast.nc", PAGE)
FIVE = np.timedelta64(5, "m")


def run(code: str, replaced: Mapping[str, str]) -> xr.DataArray:
    """Run a block of the page with the hosts of the stand-ins, and return its radar."""
    for old, new in replaced.items():
        assert old in code
        code = code.replace(old, new)
    scope: dict[str, xr.DataArray] = {}
    exec(compile(code, "public_archives.md", "exec"), scope)
    return scope["radar"]


def odim(quantity: str, rain: float, start: np.datetime64, end: np.datetime64, issued: np.datetime64) -> bytes:
    """Return a composite of 4 x 5 cells (ODIM_H5 2.3), 1 km, with its upper left corner at 10 E 47 N."""
    projection = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +ellps=WGS84"
    place = pyproj.Proj(projection)
    west, north = place(10.0, 47.0)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["Conventions"] = np.bytes_("ODIM_H5/V2_3")
        date, time = (np.datetime_as_string(issued, "s").translate({45: "", 58: ""})).split("T")
        what = {"object": "COMP", "source": "ORG:78", "date": date, "time": time}
        file.create_group("what").attrs.update({name: np.bytes_(text) for name, text in what.items()})
        where = file.create_group("where").attrs
        where.update({"projdef": np.bytes_(projection), "xsize": 5, "ysize": 4, "xscale": 1000.0, "yscale": 1000.0})
        for name, x, y in (("UL", 0, 0), ("UR", 5e3, 0), ("LL", 0, -4e3), ("LR", 5e3, -4e3)):
            where[f"{name}_lon"], where[f"{name}_lat"] = place(west + x, north + y, inverse=True)
        data = file.create_group("dataset1/data1")
        data["data"] = np.full((4, 5), rain)
        attrs = {"quantity": np.bytes_(quantity), "gain": 1.0, "offset": 0.0, "nodata": -1.0, "undetect": 0.0}
        for name, moment in (("start", start), ("end", end)):
            date, time = (np.datetime_as_string(moment, "s").translate({45: "", 58: ""})).split("T")
            attrs |= {f"{name}date": np.bytes_(date), f"{name}time": np.bytes_(time)}
        data.create_group("what").attrs.update(attrs)
    return stream.getvalue()


def test_frames_of_an_archive_of_mlcast(tmp_path):
    """Layout of mlcast-datasets' IT-DPC-SRI: RR in kg m-2 h-1, a chunk a frame, 2-D latitude and longitude."""
    times = np.concatenate(
        [
            np.arange("2020-10-03T00:00", "2020-10-03T03:00", 15, "M8[m]"),
            np.arange("2020-10-03T03:00", "2020-10-03T07:00", 5, "M8[m]"),
        ]
    ).astype("M8[ns]")
    x, y = -600_000.0 + 1000 * np.arange(6), 650_000.0 - 1000 * np.arange(4)
    rates = np.broadcast_to(np.arange(times.size, dtype=np.float32)[:, None, None] / 10, (times.size, 4, 6)).copy()
    rates[:, 0, 0] = np.nan
    crs = pyproj.CRS("+proj=tmerc +lat_0=42 +lon_0=12.5 +ellps=WGS84")
    longitude, latitude = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(*np.meshgrid(x, y))
    attrs = {"standard_name": "rainfall_flux", "units": "kg m-2 h-1", "grid_mapping": "crs"}
    data = xr.Dataset(
        {"RR": (("time", "y", "x"), rates, attrs), "crs": ((), 0, crs.to_cf())},
        {
            "time": ("time", times, {"standard_name": "time"}),
            "y": ("y", y, {"standard_name": "projection_y_coordinate", "units": "m"}),
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": "m"}),
            "lat": (("y", "x"), latitude, {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": (("y", "x"), longitude, {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )
    data.chunk(time=1).to_zarr(tmp_path / "store", zarr_format=2)
    root = "mlcast-source-datasets/IT-DPC-SRI/v0.1.0/italian-radar-dpc-sri.zarr"
    files = {f"{root}/{p.relative_to(tmp_path / 'store')}": p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with serve(files) as site:
        radar = run(MLCAST, {"https://object-store.os-api.cci2.ecmwf.int": site.url})
        chunks = [request for request in site.requests if re.search(r"/RR/\d+\.0\.0", request)]
        assert not chunks
        assert radar.sizes["time"] == 25
        assert float(radar[-1, 1, 1]) == pytest.approx(rates[times == np.datetime64("2020-10-03T06:00"), 1, 1][0])
        assert np.isnan(radar[:, 0, 0]).all()
        assert crs_of(radar).coordinate_operation.params[1].value == 12.5


def test_the_latest_hour_of_meteoswiss():
    """Layout of the collection ch.meteoschweiz.ogd-radar-precip: names such as rzc262811700vl.001.h5."""
    start = np.datetime64("2026-11-28T12:00", "s")
    files, assets = {}, {}
    for k in range(20):
        end = start + k * FIVE
        day = (end.astype("M8[D]") - np.datetime64("2026-01-01")).astype(int) + 1
        clock = np.datetime_as_string(end, "m")[-5:].replace(":", "")
        for name, rain in ((f"rzc26{day:03d}{clock}vl.001.h5", k), (f"cpc26{day:03d}{clock}0_00060.001.h5", 99)):
            files[f"ch.meteoschweiz.ogd-radar-precip/20261128-ch/{name}"] = odim("RATE", rain, end - FIVE, end, end)
            assets[name] = {"href": f"/ch.meteoschweiz.ogd-radar-precip/20261128-ch/{name}"}
    with serve(files) as site:
        for asset in assets.values():
            asset["href"] = site.url + asset["href"]
        item = "/api/stac/v1/collections/ch.meteoschweiz.ogd-radar-precip/items/20261128-ch"
        site.files[item] = json.dumps({"type": "Feature", "assets": assets}).encode()
        radar = run(SWISS, {"https://data.geo.admin.ch": site.url})
    assert radar.sizes["time"] == 13
    assert radar.time.values[-1] == start + 19 * FIVE
    assert radar[:, 0, 0].values.tolist() == list(range(7, 20))


def test_two_hours_of_analyses_of_dwd():
    """Layout of the server since 2025: tar files with members such as composite_rv_20261128_1000_005-hd5."""
    first = np.datetime64("2026-11-28T09:50", "s")
    files = {}
    for k in range(28):
        issued = first + k * FIVE
        stamp = np.datetime_as_string(issued, "m").translate({45: "", 58: "", 84: "_"})
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for lead in range(0, 20, 5):
                end = issued + np.timedelta64(lead, "m")
                content = odim("ACRR", 1.0 if lead == 0 else 9.0, end - FIVE, end, issued)
                info = tarfile.TarInfo(f"composite_rv_{stamp}_{lead:03d}-hd5")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        files[f"weather/radar/composite/rv/composite_rv_{stamp}.tar"] = stream.getvalue()
    files["weather/radar/composite/rv/composite_rv_LATEST.tar"] = stream.getvalue()
    with serve(files) as site:
        with pytest.warns(InputWarning, match="forecasts are no observations"):
            radar = run(GERMAN, {"https://opendata.dwd.de": site.url})
        assert not any("LATEST" in request for request in site.requests)
        site.requests.clear()
        with pytest.warns(InputWarning, match="forecasts are no observations"):
            recent = open_radar(COMMAND.replace("https://opendata.dwd.de", site.url), history="15min")
        assert recent.time.values[-1] == first + 27 * FIVE
        assert sum(request.endswith(".tar") for request in site.requests) == (15 + 60) / 5 + 1
    assert radar.sizes["time"] == 24
    assert radar.time.values[0] == np.datetime64("2026-11-28T10:00")
    assert np.unique(radar).tolist() == [12.0]  # 1 mm in 5 minutes; a forecast would be 108 mm/h
    assert radar.attrs["forecasts_left_out"].count(": 3 files, composite_rv_20261128_1") == 24
    assert radar.attrs["forecasts_left_out"].count("(+5 min) to") == 24
    x, y = pyproj.Transformer.from_crs(4326, crs_of(radar), always_xy=True).transform(10.0, 47.0)
    assert (radar.x.min() - 500, radar.y.max() + 500) == pytest.approx((x, y), abs=1)
