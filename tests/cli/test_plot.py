"""`hybridcast plot`: forecasts and radar, and one line with a remedy for what cannot be drawn."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from helpers.synthetic import moving_block
from hybridcast import Advection, forecast, load_forecast, save_forecast
from hybridcast.core.forecast_schema import add_ensemble


@pytest.fixture
def made(tmp_path):
    """A forecast with chances and three members, the radar before it, and that after it."""
    rain = moving_block(12)
    rain.isel(time=slice(0, 6)).to_netcdf(tmp_path / "before.nc")
    rain.isel(time=slice(6, None)).to_netcdf(tmp_path / "after.nc")
    result = forecast(rain.isel(time=slice(0, 6)), lead_time="30min", nowcaster=Advection())
    rate = result.precipitation_rate
    chance = xr.concat([(rate >= level).where(rate.notnull()) for level in (0.1, 1.0)], "threshold")
    result["probability_of_exceedance"] = chance.assign_coords(threshold=[0.1, 1.0]).astype(np.float32)
    members = np.stack([0 * rate.values, rate.values, 2 * rate.values])
    save_forecast(add_ensemble(result, members, rate_is_mean=False), tmp_path / "forecast.nc")
    save_forecast(result, tmp_path / "field.nc")
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--observed", "after.nc"),
        ("--kind", "probabilities", "--lead-times", "10,20"),
        ("--kind", "members", "--lead-times", "20", "--members", "2", "--observed", "after.nc"),
        ("--realization", "2"),
        ("--kind", "motion"),
        ("--kind", "meteogram", "--xy", "20000,25000", "--observed", "after.nc"),
    ],
)
def test_pictures_of_a_forecast(run, made, monkeypatch, options):
    monkeypatch.chdir(made)
    code, said, _ = run("plot", "forecast.nc", "-o", "p.png", "--no-coast", *options)
    assert code == 0
    assert "wrote p.png" in said
    with Image.open("p.png") as image:
        assert len(image.convert("RGB").getcolors(10**6)) > 5


def test_a_film_and_radar(run, made, monkeypatch):
    monkeypatch.chdir(made)
    assert run("plot", "forecast.nc", "-o", "f.gif", "--observed", "after.nc", "--realization", "1")[0] == 0
    with Image.open("f.gif") as film:
        assert film.n_frames == 6
    assert run("plot", "before.nc", "-o", "r.png", "--kind", "motion")[0] == 0
    code, _, err = run("plot", "before.nc", "-o", "r.png", "--time", "2024-06-01T12:11")
    assert code == 0
    assert "12:10" in err


def test_what_was_saved_is_loaded_as_it_was(made):
    loaded = load_forecast(made / "forecast.nc")
    assert loaded.lead_time.dtype.kind == "m"
    assert "spatial_ref" in loaded.coords
    assert loaded.precipitation_rate.dims == ("lead_time", "y", "x")
    with pytest.raises(ValueError, match="save_forecast"):
        load_forecast(made / "before.nc")
    with pytest.raises(ValueError, match="cannot be read"):
        load_forecast(made / "nothing.nc")


def test_bad_input_gives_one_line_with_a_remedy(run, made, monkeypatch):
    monkeypatch.chdir(made)
    cases = {
        ("forecast.nc", "-o", "p.doc"): "p.png",
        ("forecast.nc", "--kind", "pies"): "probabilities",
        ("forecast.nc", "--kind", "meteogram"): "--at 60.17,24.94",
        ("forecast.nc", "--kind", "meteogram", "--at", "here"): "60.17,24.94",
        ("forecast.nc", "--kind", "meteogram", "--at", "0,0"): "place inside",
        ("forecast.nc", "--kind", "probabilities", "--threshold", "7"): "0.1, 1",
        ("forecast.nc", "--lead-times", "7"): "lead times",
        ("forecast.nc", "--lead-times", "soon"): "30,60,90,120",
        ("forecast.nc", "--kind", "probabilities", "-o", "p.gif"): ".png",
        ("forecast.nc", "--kind", "members", "--lead-times", "10,20"): "--lead-times 60",
        ("forecast.nc", "--realization", "3"): "0 to 2",
        ("field.nc", "--kind", "members"): "--members 20",
        ("before.nc", "-o", "p.gif"): "hybridcast forecast",
        ("before.nc", "--time", "2020-01-01"): "--time",
        ("nothing.nc",): "no file matches",
    }
    for arguments, expected in cases.items():
        code, _, err = run("plot", *arguments)
        line = err.strip().splitlines()[-1]
        assert code == 1, arguments
        assert line.startswith("error:"), line
        assert expected in line, f"{arguments}: {line}"


def test_help_teaches(run):
    code, said, _ = run("plot", "--help")
    assert code == 0
    assert "hybridcast plot forecast.nc" in said
    assert "unknown" in said
    assert "coastlines" in said
