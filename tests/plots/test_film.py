"""Films: a frame for each lead time, whole files or none, and a clear word where there is no ffmpeg."""

from __future__ import annotations

import subprocess
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from hybridcast.errors import DependencyError, InputError
from hybridcast.plots import animate_forecast, film, plot_forecast, save_figure


@pytest.mark.parametrize("with_observed", [True, False])
def test_film_has_a_frame_for_each_lead_time(forecast, observed, tmp_path, with_observed):
    path = animate_forecast(forecast, tmp_path / "film.gif", observed if with_observed else None)
    with Image.open(path) as film:
        assert film.n_frames == 6
        assert film.info["duration"] == 250
        frames = []
        for i in range(6):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")))
    assert all((one != other).any() for one, other in pairwise(frames))
    assert [file.name for file in tmp_path.iterdir()] == ["film.gif"]


def test_failed_write_leaves_what_was_there(forecast, tmp_path, monkeypatch):
    def fail(self, path, *args, **options):
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    film, picture = tmp_path / "film.gif", tmp_path / "new.png"
    film.write_bytes(b"the old film")
    figure = plot_forecast(forecast)
    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="full"):
        animate_forecast(forecast, film)
    monkeypatch.setattr(type(figure), "savefig", fail)
    with pytest.raises(OSError, match="full"):
        save_figure(figure, picture)
    assert film.read_bytes() == b"the old film"
    assert [file.name for file in tmp_path.iterdir()] == ["film.gif"]


def test_mp4_has_a_frame_for_each_lead_time(forecast, observed, tmp_path):
    try:
        ffmpeg = film.ffmpeg_path()
    except DependencyError as error:
        pytest.skip(str(error))
    path = animate_forecast(forecast, tmp_path / "film.mp4", observed, frames_per_second=2)
    command = [ffmpeg, "-loglevel", "error", "-i", path, "-f", "framemd5", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    frames = [line for line in said.splitlines() if not line.startswith("#")]
    assert len(frames) == 6
    assert len({line.split(",")[-1] for line in frames}) == 6
    assert path.read_bytes()[4:8] == b"ftyp"


def test_without_ffmpeg_an_mp4_is_refused_before_anything_is_drawn(forecast, tmp_path, monkeypatch):
    monkeypatch.setattr(film.shutil, "which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(DependencyError, match=r"hybridcast\[film\]"):
        animate_forecast(forecast, tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


def test_what_ffmpeg_says_when_it_fails(forecast, tmp_path, monkeypatch):
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\ncat > /dev/null\necho 'no such codec' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(film, "ffmpeg_path", lambda: str(fake))
    with pytest.raises(DependencyError, match="no such codec"):
        animate_forecast(forecast, tmp_path / "film.mp4")
    assert [file.name for file in tmp_path.iterdir()] == ["ffmpeg"]


def test_another_suffix_is_refused(forecast, tmp_path):
    with pytest.raises(InputError, match=r"\.gif or \.mp4"):
        animate_forecast(forecast, tmp_path / "film.avi")
