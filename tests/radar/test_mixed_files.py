"""Files of any origin in one sequence: of one variable and quantity, with notes on titles and names."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.cf_files import TIMES, dataset, saved
from hybridcast.errors import InputError, InputWarning
from hybridcast.radar import open_radar


def two(tmp_path, first, second):
    paths = (saved(data.isel(time=[k]), tmp_path / f"{k}.nc") for k, data in enumerate((first, second)))
    return list(paths)


def test_two_variables_are_refused(tmp_path):
    paths = two(tmp_path, dataset(), dataset().rename(rr="rr_adjusted"))
    with pytest.raises(InputError, match=r"0\.nc holds the variable 'rr', 1\.nc the variable 'rr_adjusted'"):
        open_radar(paths)


def test_reflectivity_among_rates_is_refused(tmp_path):
    paths = two(tmp_path, dataset(), dataset("dBZ", "equivalent_reflectivity_factor"))
    with pytest.raises(InputError, match=r"rain rates, .* rates from reflectivity"):
        open_radar(paths)


def test_two_titles_are_noted_but_for_numbers_and_dates(tmp_path, recwarn):
    titles = [dataset().assign_attrs(title=f"Radar De Bilt, {day} 2020 00:{day[:2]}Z") for day in ("01 Jan", "02 Feb")]
    open_radar(two(tmp_path, *titles))
    assert not [note for note in recwarn if note.category is InputWarning]
    with pytest.warns(InputWarning, match="differ in their title, 'Radar De Bilt' and 'Radar Den Helder'"):
        open_radar(
            two(tmp_path, *(dataset().assign_attrs(title=f"Radar {name}") for name in ("De Bilt", "Den Helder")))
        )


def test_names_that_speak_of_forecasts_are_noted_once(tmp_path):
    paths = [saved(dataset().isel(time=[k]), tmp_path / f"forecast_20200101000{k}.nc") for k in (0, 1)]
    with pytest.warns(InputWarning, match=r"forecast_202001010000\.nc and 1 more: called a forecast"):
        field = open_radar(paths)
    np.testing.assert_array_equal(field.time, TIMES[:2])
