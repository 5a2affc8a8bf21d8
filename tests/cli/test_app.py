"""The command line: what it writes, and one line with a remedy for each kind of bad input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from helpers.synthetic import moving_block
from hybridcast.cli import getting_started


def test_forecast_says_which_sources_it_used_and_why_not(run, rain, tmp_path):
    rows = [f"A,2024-06-01T{time},{{place}},0.5" for time in ("12:05", "12:10", "12:15")]
    for name, place in (("near", "13.32,-28.91"), ("far", "60.0,25.0")):
        (tmp_path / f"{name}.csv").write_text(
            "\n".join(["station,time,lat,lon,rain_mm", *rows]).replace("{place}", place)
        )
    table = tmp_path / "forecast.nc"
    code, out, _ = run("forecast", str(rain), "-o", str(table), "--stations", str(tmp_path / "near.csv"))
    assert code == 0
    assert "sources: radar; 1 station" in out
    assert "radar adjusted by" in out or "radar not adjusted" in out
    code, out, _ = run("forecast", str(rain), "-o", str(table), "--stations", str(tmp_path / "far.csv"))
    assert code == 0
    assert "left out: stations (1, none of them on the radar's grid)" in out
    code, out, _ = run("forecast", str(rain), "-o", str(table))
    assert "sources:" not in out
    assert "left out:" not in out


@pytest.fixture
def rain(tmp_path) -> Path:
    path = tmp_path / "rain.nc"
    moving_block().to_netcdf(path)
    return path


def test_forecast_writes_a_file_and_says_so(run, rain, tmp_path):
    code, out, _ = run("forecast", rain, "-o", tmp_path / "f.nc", "--lead-time", "30min")
    assert code == 0
    assert "6 lead times to +30 min" in out
    with xr.open_dataset(tmp_path / "f.nc") as result:
        assert result.sizes["lead_time"] == 6
        assert float(result.precipitation_rate.max()) == pytest.approx(5.0, rel=0.02)


def test_a_file_that_is_written_at_the_end_is_refused_before_anything_is_made(run, rain, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridcast.core.memory.measure_available_memory", lambda: 0.001)
    monkeypatch.setattr("hybridcast.forecasting.screen_frames", None)
    monkeypatch.setattr("hybridcast.core.zarr_folders.LARGE_GRID", 100)
    code, _, message = run("forecast", rain, "-o", tmp_path / "f.nc", "--lead-time", "32min")
    assert code == 1
    assert "-o forecast.zarr, which is made in parts" in " ".join(message.split())


@pytest.mark.parametrize("name", ["p.png", "p.gif"])
def test_forecast_draws_a_picture_or_a_film(run, rain, tmp_path, name):
    code, _, _ = run("forecast", rain, "-o", tmp_path / "f.nc", "--plot", tmp_path / name, "--lead-time", "15min")
    assert code == 0
    assert (tmp_path / name).stat().st_size > 1000


def test_forecast_takes_settings_from_toml(run, rain, tmp_path):
    (tmp_path / "s.toml").write_text('[motion]\nframes = 3\n[advection]\ninterpolation = "nearest"\n')
    code, out, _ = run(
        "forecast", rain, "-o", tmp_path / "f.nc", "--settings", tmp_path / "s.toml", "--nowcaster", "advection"
    )
    assert code == 0
    assert "nearest" in out


def test_a_nowcaster_that_fell_back_says_so(run, tmp_path):
    moving_block(1).to_netcdf(tmp_path / "rain.nc")
    arguments = ("-o", tmp_path / "f.nc", "--nowcaster", "s-prog", "--lead-time", "10min")
    code, _, err = run("forecast", tmp_path / "rain.nc", *arguments)
    assert code == 0
    assert "note: extrapolated: 1 consecutive frames" in err


def test_persistence_by_name_stays_where_it_is(run, rain, tmp_path):
    assert run("forecast", rain, "-o", tmp_path / "f.nc", "--nowcaster", "persistence")[0] == 0
    with xr.open_dataset(tmp_path / "f.nc") as result:
        np.testing.assert_array_equal(result.precipitation_rate[-1], moving_block()[-1])


def test_an_unreadable_file_among_good_ones_is_a_note_and_a_missing_frame(run, tmp_path):
    for k, frame in enumerate(moving_block(5)):
        frame.expand_dims("time").to_netcdf(tmp_path / f"rain_20240601_12{5 * k:02d}.nc")
    (tmp_path / "rain_20240601_1210.nc").write_bytes(b"CDF\x01 nonsense")
    code, _, err = run("forecast", tmp_path / "rain_*.nc", "-o", tmp_path / "f.nc")
    assert code == 0
    assert "rain_20240601_1210.nc" in err
    with xr.open_dataset(tmp_path / "f.nc") as result:
        assert "rain_20240601_1210.nc" in result.attrs["sources_left_out"]
        assert "12:10" not in result.attrs["frames_used"]


def bad_inputs(folder: Path) -> dict[str, tuple[list[object], str]]:
    """Kinds of bad input: arguments, and what the one line has to say."""

    def write(name: str, data: xr.DataArray) -> Path:
        data.to_netcdf(folder / name)
        return folder / name

    good = write("good.nc", moving_block())
    kelvin = moving_block().rename("t").assign_attrs(units="K", standard_name="air_temperature", long_name="")
    km = moving_block()
    km = km.assign_coords(x=("x", km.x.values / 1000, {**km.x.attrs, "units": "m"}))
    twice = [write("a.nc", moving_block(2)), write("b.nc", moving_block(2).copy(data=moving_block(2).values + 1))]
    negative = moving_block() - 1.0
    negative.attrs = moving_block().attrs
    empty = folder / "empty.h5"
    empty.write_bytes(b"")
    foreign = folder / "notes.txt"
    foreign.write_text("it will rain")
    truncated = folder / "cut.nc"
    truncated.write_bytes(good.read_bytes()[:3000])
    shifted = write(
        "shifted.nc",
        moving_block(y=np.arange(48) * 1000.0 + 500, time=moving_block().time.values + np.timedelta64(20, "m")),
    )
    toml = folder / "bad.toml"
    toml.write_text("[motion]\niteratons = 3\n")
    other_place = folder / "no" / "such" / "folder.nc"
    return {
        "a path that matches nothing": (["forecast", folder / "*.pgm"], "no file matches"),
        "an empty file": (["forecast", empty], "empty (0 bytes)"),
        "a foreign file": (["forecast", foreign], "no known radar format"),
        "a truncated file": (["forecast", truncated], "cut.nc"),
        "no rain in the file": (["forecast", write("kelvin.nc", kelvin)], "kelvin.nc"),
        "kilometres called metres": (["forecast", write("km.nc", km)], "spacing"),
        "doubled times": (["forecast", *twice], "Leave out one of the two files"),
        "negative codes": (["forecast", write("neg.nc", negative)], "_FillValue"),
        "grids that differ": (["forecast", good, shifted], "'y'"),
        "an unknown format": (["forecast", good, "--format", "odim"], "odim-hdf5"),
        "an unknown setting": (["forecast", good, "--settings", toml], "Did you mean 'iterations'"),
        "a lead time that is none": (["forecast", good, "--lead-time", "soon"], "'2h'"),
        "a step longer than the lead time": (["forecast", good, "--step", "3h"], "shorter --step"),
        "an issue time without frames": (["forecast", good, "--issue-time", "2030-01-01"], "(--issue-time, or"),
        "an unknown nowcaster": (["forecast", good, "--nowcaster", "crystal-ball"], "persistence"),
        "a folder that does not exist": (["forecast", good, "-o", other_place], "Create"),
        "an output that is no NetCDF": (["forecast", good, "-o", folder / "f.xlsx"], ".nc"),
        "a folder as output": (["forecast", good, "-o", "."], "Write forecast.nc"),
        "a lead time without a unit": (["forecast", good, "--lead-time", "120"], "it is a duration with a unit"),
        "an unknown data set": (["fetch", "fmi-20170508"], "fmi-20170509"),
    }


def test_bad_input_gives_one_line_with_a_remedy_and_exit_1(run, tmp_path):
    for kind, (arguments, expected) in bad_inputs(tmp_path).items():
        if "-o" not in arguments and arguments[0] == "forecast":
            arguments = [*arguments, "-o", tmp_path / "out.nc"]
        code, _, err = run(*arguments)
        line = err.strip().splitlines()[-1]
        assert code == 1, kind
        assert line.startswith("error:"), kind
        assert expected in line, f"{kind}: {line}"
        assert "Traceback" not in err, kind
        assert not (tmp_path / "out.nc").exists(), kind


def test_debug_shows_the_traceback(tmp_path):
    command = [sys.executable, "-m", "hybridcast", "--debug", "forecast", str(tmp_path / "none.nc")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_info_keeps_what_is_in_brackets(run, monkeypatch):
    rows = [("device", "cpu: pip install 'hybridcast[cuda]'")]
    monkeypatch.setattr(getting_started, "_describe_installation", lambda: rows)
    assert "hybridcast[cuda]" in run("info")[1]


def test_info_names_formats_and_versions(run):
    code, out, _ = run("info")
    assert code == 0
    assert "odim-hdf5" in out
    assert "numba" in out


def test_fetch_list_shows_name_size_and_licence(run):
    code, out, _ = run("fetch", "--list")
    assert code == 0
    assert "fmi-20170509" in out
    assert "MB" in out
    assert "CC BY 4.0" in out


def test_fetch_list_gives_other_programs_a_line_each(run):
    _, out, _ = run("fetch", "--list")
    name, what, size, licence = out.splitlines()[0].split("\t")
    assert (name, size) == ("fmi-20160928", "9.8 MB")
    assert "Finland" in what
    assert "CC BY" in licence


def test_help_teaches_with_an_example(run):
    code, out, _ = run("forecast", "--help")
    assert code == 0
    assert "Example" in out
