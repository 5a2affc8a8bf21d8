"""A forecast from real files: radar analyses of 13:00 and 13:05 UTC, and the ICON-D2 run of 12 UTC on its triangles.

Both are read as DWD publishes them: archives of analyses and forecasts, of which only the analyses (lead time 000) are
opened, and GRIB with the places of the cells in files of their own.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hybridcast import forecast, open_nwp, open_radar
from hybridcast.nwp import regrid_to_radar

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

FOLDER = "nwp_real/dwd_20221214"


@pytest.fixture(scope="module")
def case(real):
    """Return the radar (every third cell), ICON on its grid at the lead times, and the forecast."""
    radar = open_radar([f"{path}::*_000" for path in real(f"{FOLDER}/DE1200_RV22121413*.tar.bz2")])
    few = radar.isel(y=slice(1, None, 3), x=slice(1, None, 3))
    nwp = open_nwp([*real(f"{FOLDER}/icon*_tot_prec.grib2.bz2"), *real(f"{FOLDER}/icon*_cl??.grib2")])
    made = forecast(few, nwp=nwp, nwp_delay="1h", lead_time="1h", step="30min")
    return few, regrid_to_radar(nwp, few, made.time.values).precipitation_rate.values[0], made


def smooth(field, cells=5):
    return ndimage.gaussian_filter(np.nan_to_num(field), cells)


def test_only_the_analyses_are_radar_and_the_run_was_there(case):
    radar, _, made = case
    assert (radar.time.values == np.array(["2022-12-14T13:00", "2022-12-14T13:05"], "M8[ns]")).all()
    assert made.reference_time.values == np.datetime64("2022-12-14T13:05")
    assert "nwp run 2022-12-14T12:00:00Z (1.08 h old)" in made.attrs["sources_used"]
    assert made.attrs["status"] == "ok"


def test_radar_and_model_lie_at_one_place(case):
    """Rain of the radar is where ICON has it, and not where ICON turned upside down has it."""
    radar, icon, made = case
    covered = np.isfinite(radar.values[-1])
    for turn, low, high in ((slice(None), 0.6, 1.0), (slice(None, None, -1), -0.5, 0.2)):
        pair = smooth(radar.values[-1])[covered], smooth(icon[0][turn])[covered]
        assert low < np.corrcoef(*pair)[0, 1] < high
    inside = np.isfinite(made.precipitation_rate_advected.values[0])
    pair = smooth(made.precipitation_rate.values[0])[inside], smooth(made.precipitation_rate_advected.values[0])[inside]
    assert np.corrcoef(*pair)[0, 1] > 0.9


def test_outside_the_coverage_it_rains_where_icon_has_rain(case):
    _, icon, made = case
    for lead in range(2):
        rate = made.precipitation_rate.values[lead]
        outside = ndimage.distance_transform_edt(np.isnan(made.precipitation_rate_advected.values[lead])) > 22  # 66 km
        assert np.isfinite(rate[outside]).all()
        assert np.corrcoef(smooth(rate)[outside], smooth(icon[lead])[outside])[0, 1] > 0.9
        assert (rate[outside] >= 0.1).mean() == pytest.approx((icon[lead][outside] >= 0.1).mean(), rel=0.5)


def test_there_is_no_seam_at_the_edge_of_the_coverage(case):
    """The edge is not seen as a step of the rain, nor as a gap of unknown cells."""
    _, icon, made = case
    assert (made.unknown_fraction.values < 1e-3).all()
    for lead in range(2):
        rate = made.precipitation_rate.values[lead]
        known = np.isfinite(made.precipitation_rate_advected.values[lead])
        within = known & (ndimage.distance_transform_edt(known) <= 5)
        beyond = ~known & (ndimage.distance_transform_edt(~known) <= 5)
        wet = [
            float((np.nan_to_num(field)[band] >= 0.1).mean())
            for field in (rate, icon[lead])
            for band in (within, beyond)
        ]
        assert wet[1] / wet[0] == pytest.approx(wet[3] / wet[2], abs=1.0), wet
