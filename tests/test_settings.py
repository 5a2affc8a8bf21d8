"""Settings: read from TOML, refused by name where they do not fit."""

from __future__ import annotations

import dataclasses

import pytest

from hybridcast.errors import InputError
from hybridcast.settings import AdvectionSettings, MotionSettings, Settings, load_settings


@pytest.fixture
def load(tmp_path):
    def written(text: str) -> Settings:
        path = tmp_path / "forecast.toml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path)

    return written


def as_toml(settings: Settings) -> str:
    lines = []
    for name, table in dataclasses.asdict(settings).items():
        lines += [f"[{name}]", *(f"{key} = {value!r}" for key, value in table.items())]
    return "\n".join(lines)


def test_an_empty_file_gives_the_defaults(load):
    assert load("") == Settings()


def test_what_is_written_is_read_again(load):
    settings = Settings(
        motion=MotionSettings(frames=3, iterations=5, window=4.5, ridge=0.1, highest_rate=200.0),
        advection=AdvectionSettings(interpolation="cubic"),
    )
    assert load(as_toml(settings)) == settings
    assert load(as_toml(settings)) != Settings()


def test_absent_keys_keep_their_defaults(load):
    settings = load("[motion]\nwindow = 4")
    assert settings == Settings(motion=MotionSettings(window=4.0))
    assert isinstance(settings.motion.window, float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[motion]\nwindwo = 4", r"forecast\.toml, motion: unknown key 'windwo'.*Did you mean 'window'"),
        ("[advektion]\ninterpolation = 'linear'", r"unknown key 'advektion'.*Did you mean 'advection'"),
        ("[motion]\nqqq = 1", r"unknown key 'qqq'.*Known keys are frames, iterations, window"),
        ("[motion]\nframes = 2.5", r"motion, frames = 2.5; it is of type int"),
        ("[motion]\nframes = '4'", r"frames = '4'; it is of type int"),
        ("[motion]\nframes = true", r"frames = True; it is of type int"),
        ("[motion]\nwindow = true", r"window = True; it is of type float"),
        ("[motion]\nwindow = [1]", r"window = \[1\]; it is of type float"),
        ("motion = 3", r"motion = 3"),
        ("[advection]\ninterpolation = 1", r"interpolation = 1; it is of type str"),
        ("[advection]\ninterpolation = 'spline'", r"'spline'.*Choose one of \('nearest', 'linear', 'cubic'\)"),
        ("[motion]\nframes = 1", r"frames = 1; frames is at least 2"),
        ("[motion]\niterations = 0", r"iterations is at least 1"),
        ("[motion]\nwindow = inf", r"window = inf"),
        ("[motion]\nwindow = nan", r"window = nan"),
        ("[motion]\nridge = -1.0", r"ridge = -1"),
        ("[motion]\nlowest_rate = 1.0\nhighest_rate = 2.0", r"highest_rate is at least 10"),
        ("[motion\n", r"settings are TOML"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(load, text, message):
    with pytest.raises(InputError, match=message):
        load(text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.toml: No such file.*Check the path"):
        load_settings(tmp_path / "absent.toml")


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "radar.toml"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")
    with pytest.raises(InputError, match=r"radar\.toml"):
        load_settings(path)


@pytest.mark.parametrize("kind", [MotionSettings, AdvectionSettings, Settings])
def test_settings_are_frozen(kind):
    settings = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, dataclasses.fields(settings)[0].name, 1)
