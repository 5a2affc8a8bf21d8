"""Times in names: those of services, and names that can be read in two ways, which have no time."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast.core.times_in_names import parse_time_in_name

SERVICES = [
    ("201705091045_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz", "2017-05-09T10:45"),
    ("66_20201031_131000.prcp-c10.nc", "2020-10-31T13:10"),
    ("T_PAAH21_C_EUOC_20180824180000.hdf", "2018-08-24T18:00"),
    ("MRMS_PrecipRate_00.00_20190610-000200.grib2.gz", "2019-06-10T00:02"),
    ("raa01-ry_10000-2108230850-dwd---bin.gz", "2021-08-23T08:50"),
    ("raa01-rw_10000-2212140950-dwd---bin", "2022-12-14T09:50"),
    ("DE1200_RV2212141300_000", "2022-12-14T13:00"),
    ("RQ2212141300_060.gz", "2022-12-14T13:00"),
    ("WN2212141300_005", "2022-12-14T13:00"),
    ("RW_20200101-0050.asc", "2020-01-01T00:50"),
    ("YW_2017.002_20160529_1205.asc", "2016-05-29T12:05"),
    ("RAD_NL25_RAP_5min_201008260235.h5", "2010-08-26T02:35"),
    ("AQC161932050V_00005.801.gif", "2016-07-11T20:50"),
    ("CPC2016612507_00060.801.gif", "2020-06-14T12:50"),  # with a digit for the quality
    ("rzc241531205vl.001.h5", "2024-06-01T12:05"),
    ("metoffice-c-band-rain-radar_uk_202002070000_1km-composite.dat.gz", "2020-02-07T00:00"),
    ("Z__C_RJTD_20240101060000_RDR_JMAGPV_Ggis1km_Prr10lv_ANAL_grib2.bin", "2024-01-01T06:00"),
    ("composite_rv_20250601_1200.tar", "2025-06-01T12:00"),
    ("ST4.2024010106.01h.grb2", "2024-01-01T06:00"),
    ("dk.com.202401020000.500_max.h5", "2024-01-02T00:00"),
]
FORMS = [
    ("radar_20240601T1205Z.nc", "2024-06-01T12:05"),
    ("radar_20240601T120500Z.nc", "2024-06-01T12:05"),
    ("radar_2024-06-01T12:05:00Z.nc", "2024-06-01T12:05"),
    ("radar_2024-06-01_12-05.tif", "2024-06-01T12:05"),
    ("radar_2024_06_01_12_05.tif", "2024-06-01T12:05"),
    ("radar_20240601120500123.nc", "2024-06-01T12:05"),
    ("radar_202406011205_UTC.nc", "2024-06-01T12:05"),
    ("radar_202406011205_202406011205.nc", "2024-06-01T12:05"),
    ("202406011205_AT_composite.nc", "2024-06-01T12:05"),
    ("local_composite_202406011205.nc", "2024-06-01T12:05"),
    ("radar_2024-06-01T12:05:00+00:00.nc", "2024-06-01T12:05"),
    ("radar_2024-06-01T12:05:00+0000.nc", "2024-06-01T12:05"),
    ("radar_202406011205_UTC+0.nc", "2024-06-01T12:05"),
    ("radar_202406011205+000.nc", "2024-06-01T12:05"),
    ("202406011205_estimate.nc", "2024-06-01T12:05"),
    ("SRI_25-06-2024-12-05.tif", "2024-06-25T12:05"),
    ("SRI_06-25-2024-12-05.tif", "2024-06-25T12:05"),
    ("SRI_06-06-2024-12-05.tif", "2024-06-06T12:05"),
]
#: Names without a time, or whose time can be read in two ways.
NONE = [
    "rain_2020-01-01.nc",
    "20201399.nc",
    "202013991200.nc",  # no such month
    "202406012505.nc",  # no such hour
    "",
    "radar_1710061200.tif",  # seconds since 1970 (2024-03-10 09:00), or 2017-10-06 12:00
    "radar_1717243200.tif",  # seconds that are no date
    "radar_1710061200000.tif",  # milliseconds
    "radar_2212141300.tif",  # 2022-12-14, or the 22nd of December 2014
    "SRI_01-06-2024-12-05.tif",  # the first of June, or the sixth of January
    "radar_202406011200_202406011300.nc",  # reference and valid time
    "OR_ABI-L2-RRQPEF-M6_G16_s20241531200207_e20241531209515_c20241531210003.nc",
    "3B-HHR.MS.MRG.3IMERG.20240601-S120000-E122959.0720.V07B.HDF5",
    "radar_202406011205_CEST.nc",
    "radar_202406011205JST.nc",
    "radar_202406011205+0200.nc",
    "radar_20240601_1205_EST.nc",
    "radar_CET_202406011205.nc",
    "radar_202406011205_UTC+2.nc",
    "radar_2024-06-01T12:05:00-05:00.nc",
    "radar_2024-06-01T12:05+0530.nc",
    "nowcast_202406011205+030.nc",
    "orbit_99999999.nc",
    "product_v20240601.nc",
    "gfs_2010010112.grb",  # 2010-01-01 12, or 2020-10-01 01:12
    "run_123456789.nc",
    "frame_161932050.png",
]


@pytest.mark.parametrize(("name", "time"), SERVICES + FORMS)
def test_times_are_found(name, time):
    assert parse_time_in_name(name) == np.datetime64(time)


@pytest.mark.parametrize("name", NONE)
def test_what_can_be_read_in_two_ways_is_no_time(name):
    assert parse_time_in_name(name) is None


def test_names_of_the_real_files_have_their_times(real):
    """Radar files of every service at hand."""
    for pattern in (
        "fmi/*/*.gz",
        "mch/*/*.gif",
        "bom/*/*.nc",
        "knmi*/*/*.h5",
        "opera/*/*.hdf",
        "mrms/2*/*",
        "radolan/binary/*/*.gz",
    ):
        for path in real(pattern):
            assert parse_time_in_name(path.name) is not None, path.name
