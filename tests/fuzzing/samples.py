"""One file of each format, of real data where they are at hand, else made after the specification of the format."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from helpers.paths import REAL_DATA


class Sample(NamedTuple):
    """A file that a reader reads."""

    kind: str
    """"radar", "stations" or "nwp"."""
    pattern: str
    """Where it is below the real data; the first match counts."""

    def find(self) -> Path | None:
        """Return the file, or None if it is not here."""
        return next(iter(sorted(REAL_DATA.glob(self.pattern))), None)


REAL = {
    "fmi-pgm": Sample("radar", "fmi/20160928/*.pgm.gz"),
    "mch-gif": Sample("radar", "mch/20150515/*.gif"),
    "knmi-hdf5": Sample("radar", "knmi/20100826/*.h5"),
    "odim-hdf5": Sample("radar", "opera/20180824/*.hdf"),
    "odim-hdf5-dmi": Sample("radar", "nwp_real/dk_2024/radar/*.h5"),
    "radolan": Sample("radar", "radolan/binary/ry/*"),
    "mrms-grib2": Sample("radar", "mrms/20190610/*"),
    "meteonet-npz": Sample("radar", "meteonet/radar/rainfall_NW*.npz"),
    "taasrad-npz": Sample("radar", "taasrad/taasrad19_2016-11.npz"),
    "bom-netcdf": Sample("radar", "bom/66_20201031/*.nc"),
    "opensense-netcdf": Sample("radar", "openmrg/20150827/openMRG_example_rad.nc"),
    "radolan-rv": Sample("radar", "nwp_real/dwd_20221214/*1300.tar.bz2"),
    "grib": Sample("radar", "nwp_real/fmi_20200709/obs*.grib2"),
    "opensense-gauges": Sample("stations", "openrainer/openrainer_AWS.nc"),
    "radolan-csv": Sample("stations", "radolan/*.csv"),
    "grib-ifs": Sample("nwp", "nwp_real/dk_2024/ifs*/*_01_TP.grib"),
    "grib-harmonie": Sample("nwp", "nwp_real/dk_2024/harmonie*/*.grb"),
    "grib-icon": Sample("nwp", "nwp_real/dwd_20221214/*_001_2d_tot_prec.grib2.bz2"),
    "grib-meps": Sample("nwp", "nwp_real/fmi_20200709/fcst*.grib2"),
    "grib-meteonet": Sample("nwp", "meteonet/weather_models/**/*.grib*"),
}


def find_samples(names: list[str] | None = None) -> dict[str, tuple[str, Path]]:
    """Return kind and file of each sample that is here, by name; a name may be of the form KIND:FILE."""
    given = {Path(name.partition(":")[2]).name: name.partition(":")[::2] for name in names or () if ":" in name}
    found = {name: (sample.kind, sample.find()) for name, sample in REAL.items() if not names or name in names}
    here = {name: (kind, path) for name, (kind, path) in found.items() if path is not None}
    return here | {name: (kind, Path(path)) for name, (kind, path) in given.items()}
