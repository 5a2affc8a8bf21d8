"""`hybridcast forecast --members`: scenarios beside the forecast, in NetCDF and Zarr, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.ensembles import SimulatedEnsemble
from helpers.synthetic import moving_block
from hybridcast import load_forecast
from hybridcast.cli.options import say_written
from hybridcast.core.forecast_schema import ENSEMBLE


@pytest.fixture
def forecast(run, tmp_path, monkeypatch):
    """Return a function that forecasts by simulated members, and returns exit status, output and errors."""
    moving_block().to_netcdf(tmp_path / "rain.nc")
    monkeypatch.setattr("hybridcast.registry.nowcasters_along", lambda *_: {"simulated": SimulatedEnsemble})

    def call(*options, nowcaster="simulated"):
        return run("forecast", tmp_path / "rain.nc", "--nowcaster", nowcaster, "--lead-time", "15min", *options)

    return call


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("packing", [(), ("--packing", "packed")])
def test_members_are_written_and_counted(forecast, tmp_path, suffix, packing):
    output = tmp_path / f"forecast{suffix}"
    code, out, err = forecast("--members", 3, "--seed", 7, "-o", output, *packing)
    assert code == 0, err
    assert "3 lead times to +15 min, 3 members, 0% of the grid unknown" in out
    assert f"wrote {output} (" in out
    members = load_forecast(output)[ENSEMBLE]
    assert members.sizes["realization"] == 3
    wet = members.values[:, :, 25, 20]
    assert (wet > 0).all()
    assert np.unique(wet).size == wet.size
    forecast("--members", 2, "--seed", 7, "-o", output, *packing)
    np.testing.assert_array_equal(load_forecast(output)[ENSEMBLE], members[:2])


def test_without_members_there_are_none(forecast, tmp_path):
    code, out, _ = forecast("-o", tmp_path / "forecast.zarr")
    assert code == 0
    assert "+15 min, 0% of the grid unknown" in out
    assert ENSEMBLE not in load_forecast(tmp_path / "forecast.zarr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--members", "-1"), "members = -1; it is a whole number from 0 to 10000. Write --members 20."),
        (("--members", "2", "--seed", "4294967296"), "seed = 4294967296; it is a whole number from 0 to 4294967295"),
        (("--members", "2", "--packing", "zip"), "--packing"),
        (("--members", "2", "-o", "a.txt"), "a.nc"),
    ],
)
def test_options_that_do_not_fit_are_named(forecast, tmp_path, options, message):
    code, _, err = forecast(*options)
    assert code != 0
    assert message in err


def test_a_nowcaster_without_members_is_refused_before_anything_is_read(run, tmp_path):
    code, _, err = run("forecast", tmp_path / "absent.nc", "--nowcaster", "persistence", "--members", 5)
    assert code != 0
    assert "members = 5 of persistence; it makes no members of an ensemble. Leave out --members, or choose" in err


def test_a_folder_that_holds_something_else_stays(forecast, tmp_path):
    (tmp_path / "work.zarr").mkdir()
    (tmp_path / "work.zarr" / "thesis.txt").write_text("years of work")
    code, _, err = forecast("--members", 2, "-o", tmp_path / "work.zarr")
    assert code != 0
    assert "holds something else" in err
    assert (tmp_path / "work.zarr" / "thesis.txt").exists()


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path, capsys):
    for name in ("a.zarr/0", "a.zarr/1/2"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(bytes(1_300_000))
    say_written(tmp_path / "a.zarr")
    assert "a.zarr (2.6 MB)" in capsys.readouterr().out


def test_a_folder_is_drawn_like_a_file(forecast, run, tmp_path):
    forecast("--members", 2, "-o", tmp_path / "forecast.zarr")
    code, _, err = run("plot", tmp_path / "forecast.zarr", "-o", tmp_path / "p.png", "--no-coast")
    assert code == 0, err
    with Image.open(tmp_path / "p.png") as image:
        assert len(image.convert("RGB").getcolors(10**6)) > 5
