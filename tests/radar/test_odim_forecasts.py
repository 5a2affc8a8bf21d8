"""ODIM data that are forecasts, and observations that look like them.

The attributes are those that users of the services list: DWD's RV and WN of 5 August 2026 (start, end, simulated), the
nowcasts of FMI-PPN (fmidev/fmippn-oper, utils.store_odim_dset_attrs), OPERA's composites of 2018, of which the real
ones are read in test_odim_hdf5.
"""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.errors import ForecastFileError, InputWarning, ReadError
from hybridcast.radar import open_radar
from hybridcast.radar.odim_hdf5 import read_times
from tests.helpers.odim import span, write_odim

RAIN = np.full((4, 6), 2.0)
RATE = {"quantity": "RATE", "gain": 1.0, "offset": 0.0, "nodata": -1.0, "undetect": -2.0}
SUM = RATE | {"quantity": "ACRR"}
DBZ = {"quantity": "DBZH", "gain": 0.5, "offset": -32.0, "nodata": 255.0, "undetect": 0.0}


def write(tmp_path, quantity, *times, name="a.h5", simulated=None, **attrs):
    raw = np.full((4, 6), 100, np.uint8) if quantity is DBZ else RAIN
    how = {} if simulated is None else {"simulated": simulated}
    layers = [(raw, quantity | span(*time) | attrs, how) for time in times]
    return write_odim(tmp_path / name, layers)


@pytest.mark.parametrize(
    ("quantity", "time", "end"),
    [
        (SUM, ("115500", "120000"), "12:00"),  # DWD RV, lead 0
        (DBZ, ("120003", "120034"), "12:00"),  # DWD WN, lead 0
        (RATE, ("115000", "120500"), "12:00"),  # OPERA: the scans of a quarter of an hour
        (RATE, ("120000", "120000"), "12:00"),
        (RATE, ("120000", "120500"), "12:00"),  # named after its first minute
        (SUM, ("120000", "120500"), "12:05"),
        (SUM, ("120012", "120458"), "12:04"),
        (SUM, ("120000", "130000"), "13:00"),
        (SUM, ("110000", "120500"), "12:05"),
        (SUM, ("090000", "120000"), "12:00"),  # DMI
        (DBZ, ("115530", "120230"), "12:00"),
    ],
)
def test_observations(tmp_path, quantity, time, end):
    path = write(tmp_path, quantity, time)
    field = open_radar(path)
    assert str(field.time.values[0])[11:16] == end
    np.testing.assert_array_equal(read_times(path), field.time.values)


@pytest.mark.parametrize(
    ("quantity", "time", "options", "lead"),
    [
        (SUM, ("125500", "130000"), {}, r"\+60 min"),
        (DBZ, ("130003", "130034"), {}, r"\+61 min"),
        (RATE, ("120500", "120500"), {}, r"\+5 min"),
        (RATE, ("130000", "131500"), {}, r"\+75 min"),
        (SUM, ("113000", "123000"), {}, r"\+30 min"),  # an hourly sum half of which is to come
        (SUM, ("120000", "120500"), {"simulated": "True"}, r"\+5 min"),
        (SUM, ("120000", "120500"), {"simulated": np.bool_(True)}, r"\+5 min"),
        (SUM, ("120000", "120500"), {"name": "composite_rv_20240601_1200_005-hd5"}, r"\+5 min"),
        (SUM, ("120000", "120500"), {"prodname": "RV_top_view"}, r"\+5 min"),
        (SUM, ("120000", "120500"), {"prodname": "Nowcast of rain"}, r"\+5 min"),
        (SUM, ("120000", "120500"), {"leadtime": 5}, r"\+5 min"),
        (RATE, ("120000", "120000"), {"simulated": "true"}, "simulated"),
    ],
)
def test_forecasts_are_refused_with_their_lead_time(tmp_path, quantity, time, options, lead):
    path = write(tmp_path, quantity, time, **options)
    for read in (open_radar, read_times):
        with pytest.raises(ForecastFileError, match=rf"{path.name}: a forecast \({lead}"):
            read(path)


def test_not_simulated_is_an_observation_also_when_named_after_its_first_minute(tmp_path):
    path = write(tmp_path, SUM, ("120000", "120500"), simulated="False", prodname="RV")
    assert str(open_radar(path).time.values[0])[11:16] == "12:05"


def test_a_run_of_members_keeps_its_analysis_and_makes_no_gaps(tmp_path):
    for lead in (0, 5, 60):
        start, end = (f"{12 + minute // 60:02d}{minute % 60:02d}00" for minute in (lead - 5, lead))
        name = f"composite_rv_20240601_1200_{lead:03d}-hd5"
        write(tmp_path, SUM, ("115500" if lead == 0 else start, end), name=name, simulated=str(lead > 0))
    with pytest.warns(InputWarning, match="forecasts are no observations"):
        field = open_radar(tmp_path / "composite_rv_*-hd5")
    assert field.sizes["time"] == 1
    assert "+60 min" in field.attrs["forecasts_left_out"]


def test_a_file_with_all_lead_times_gives_its_analysis(tmp_path):
    """FMI-PPN writes dates as numbers, which lose the leading zeros of 00:05."""
    path = tmp_path / "nc.h5"
    midnight = {"startdate": 20240602, "enddate": 20240602, "starttime": 0, "endtime": 0}
    later = midnight | {"starttime": 500, "endtime": 500}
    layers = [(RAIN, RATE | midnight, {"simulated": "False"}), (3 * RAIN, RATE | later, {"simulated": "True"})]
    write_odim(path, layers, what={"date": "20240602", "time": "000000"})
    with pytest.warns(InputWarning, match=r"nc\.h5: forecasts \(\+5 min\) left out"):
        field = open_radar(path)
    assert str(field.time.values[0])[:16] == "2024-06-02T00:00"
    assert float(field.max()) == 2


def test_the_first_step_after_an_analysis_is_a_forecast(tmp_path):
    path = write(tmp_path, SUM, ("115500", "120000"), ("120000", "120500"), ("120500", "121000"))
    with pytest.warns(InputWarning, match=r"\+5 to \+10 min"):
        assert open_radar(path).sizes["time"] == 1


def test_a_nowcast_of_several_steps_without_an_analysis(tmp_path):
    path = write(tmp_path, SUM, ("120000", "120500"), ("120500", "121000"))
    with pytest.raises(ForecastFileError, match=r"\+5 to \+10 min"):
        open_radar(path)


def test_the_past_hour_in_one_file(tmp_path):
    path = write(tmp_path, SUM, ("114500", "115000"), ("115000", "115500"), ("115500", "120000"))
    assert [str(time)[11:16] for time in open_radar(path).time.values] == ["11:50", "11:55", "12:00"]


def test_without_a_start_it_is_not_known_whether_it_is_a_forecast(tmp_path):
    attrs = {key: value for key, value in span("130000").items() if key.startswith("end")}
    path = write_odim(tmp_path / "a.h5", [(RAIN, RATE | attrs)])
    with pytest.raises(ReadError, match=r"a\.h5.*starttime is missing.*may be a forecast"):
        open_radar(path)
    assert open_radar(write_odim(tmp_path / "b.h5", [(RAIN, RATE)])).sizes["time"] == 1  # of the nominal time alone


@pytest.mark.parametrize("how", [{"forecast_lead_time": 30}, {"leadtime": "30 min"}, {"forecast_period": "PT30M"}])
def test_lead_times_under_other_names_beside_the_valid_time(tmp_path, how):
    path = write_odim(tmp_path / "a.h5", [(RAIN, RATE | span("120000"))], how=how)
    with pytest.raises(ForecastFileError):
        open_radar(path)


@pytest.mark.parametrize("name", ["20240601120000_pysteps_+{}.h5", "T_PANV23_C_OKPR_20240601120000.ft{}.hdf"])
def test_lead_times_in_names_beside_the_valid_time(tmp_path, name):
    assert open_radar(write(tmp_path, RATE, ("120000",), name=name.format("000"))).sizes["time"] == 1
    path = write(tmp_path, RATE, ("120000",), name=name.format("030"))
    with pytest.raises(ForecastFileError):
        open_radar(path)


def test_a_task_that_speaks_of_nowcasts_is_noted(tmp_path):
    path = write_odim(tmp_path / "a.h5", [(RAIN, RATE | span("120000"))], how={"task": "be.rmi.pysteps.nowcast"})
    with pytest.warns(InputWarning, match=r"how/task is 'be\.rmi\.pysteps\.nowcast', but its times"):
        open_radar(path)
