"""Archives for training: years of radar, stations and NWP runs, stored so that a single day can be read quickly.

`archive_meteonet` converts a MeteoNet download, `archive_radar` any files that hybridcast can read. Both write

    OUT/events.toml                           events for `hybridcast train --archive`, one for each day with rain
    OUT/manifest.json                         files read, periods, missing data, licence, versions
    OUT/REGION/radar/2016-08-28.zarr          CF precipitation fields in chunks of an hour
    OUT/REGION/stations/2016-08-28/*.parquet  station reports
    OUT/REGION/nwp/2016-08-28/*.nc            NWP runs that cover the day, CF
    OUT/REGION/terrain.*                      terrain heights
    OUT/REGION/records/                       records of finished tasks, so that an interrupted run continues
"""

from __future__ import annotations

from hybridcast.datasets.archives.generic import archive_radar
from hybridcast.datasets.archives.meteonet import archive_meteonet

__all__ = ["archive_meteonet", "archive_radar"]
