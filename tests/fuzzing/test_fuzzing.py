"""A few damaged copies of made files; ``make fuzz`` reads a thousand of each real file."""

from __future__ import annotations

import numpy as np
import pytest

from fuzzing.campaign import is_read, run
from fuzzing.reading import READ, Outcome, _read
from helpers.cf_files import dataset, saved
from helpers.mutations import BYTES, mutate

TABLE = "station,time,latitude,longitude,precipitation_amount\n" + "\n".join(
    f"A,2024-06-01T12:{minute:02d},46.99,7.46,0.5" for minute in range(0, 60, 10)
)


@pytest.fixture
def samples(tmp_path):
    table = tmp_path / "gauges.csv"
    table.write_text(TABLE)
    return {"radar": saved(dataset(), tmp_path / "rates_202406011200.nc"), "stations": table}


@pytest.mark.parametrize("kind", ["radar", "stations"])
def test_damaged_copies_are_read_or_refused(kind, samples, tmp_path):
    assert is_read(kind, samples[kind])
    (tmp_path / "damaged").mkdir()
    result = run(kind, kind, samples[kind], tmp_path / "damaged", range(30))
    assert not result.defects
    assert result.counts["refused"] > 5


def test_damage_is_the_same_for_the_same_seed(samples, tmp_path):
    copies = []
    for name in ("a", "b"):
        mutate(samples["stations"], tmp_path / name, seed=3)
        copies.append((tmp_path / name).read_bytes())
    assert copies[0] == copies[1] != samples["stations"].read_bytes()


@pytest.mark.parametrize("mutation", BYTES)
def test_every_damage_changes_something(mutation):
    data = np.random.default_rng(0).bytes(5000)
    assert mutation(data, np.random.default_rng(1)) != data


def test_other_errors_than_those_of_the_package_are_defects(tmp_path, monkeypatch):
    def fail(path):
        raise KeyError(path)

    monkeypatch.setitem(READ, "radar", fail)
    assert _read(READ["radar"], tmp_path).is_defect
    assert Outcome("hang").is_defect
    assert not Outcome("refused").is_defect
