"""The command line takes URLs and containers wherever it takes files, and their errors name an option that helps."""

from __future__ import annotations

import io
import tarfile

import pytest
import xarray as xr

from helpers.serving import serve
from helpers.synthetic import moving_block


@pytest.fixture
def site(tmp_path):
    """Serve five frames of radar as files and in a tar, and a gauge."""
    files, stream = {}, io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for k, frame in enumerate(moving_block(5)):
            name = f"rain_20240601_12{5 * k:02d}.nc"
            frame.expand_dims("time").to_netcdf(tmp_path / name)
            files[f"radar/{name}"] = (tmp_path / name).read_bytes()
            archive.add(tmp_path / name, name)
    rows = [f"A,2024-06-01T{time},13.32,-28.91,0.5" for time in ("12:10", "12:15", "12:20")]
    files["gauges.csv"] = "\n".join(["station,time,lat,lon,rain_mm", *rows]).encode()
    files["radar.tar.gz"] = stream.getvalue()
    with serve(files) as site:
        yield site


def test_a_forecast_from_addresses(run, site, tmp_path):
    output = tmp_path / "f.nc"
    options = ("-o", output, "--nowcaster", "advection", "--lead-time", "10min")
    code, out, err = run("forecast", f"{site.url}/radar/*.nc", "--stations", f"{site.url}/gauges.csv", *options)
    assert code == 0, err
    assert "issued 2024-06-01 12:20" in out
    assert "1 station" in out
    code, out, err = run("forecast", f"{site.url}/radar.tar.gz", *options)
    assert code == 0, err
    assert "issued 2024-06-01 12:20" in out
    with xr.open_dataset(output) as result:
        assert float(result.precipitation_rate.max()) == pytest.approx(5.0, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/none.nc"], "none.nc: the server has no such file (404)"),
        (["http://nowhere.invalid/a.nc"], "the host is not found"),
        (["{}/radar/*.nc", "--stations", "{}/none.csv"], "none.csv: the server has no such file (404)"),
        (["{}/radar/*.nc", "--nwp", "{}/none.grib"], "none.grib: the server has no such file (404)"),
        (["gs://bucket/a.nc"], "pip install gcsfs"),
        (["{}/gauges.csv"], "tables of stations go to open_stations (--stations); name one with --format"),
    ],
)
def test_errors_are_one_line_that_helps(run, site, tmp_path, arguments, message):
    given = [argument.format(site.url) for argument in arguments]
    code, _, err = run("forecast", *given, "-o", tmp_path / "f.nc", "--nowcaster", "advection")
    assert code == 1
    assert message in " ".join(err.split()).replace(f"known are {err.split('known are ')[-1].split(';')[0]}; ", "")
    assert not (tmp_path / "f.nc").exists()
