"""Archives for training: years of radar, stations and model runs, laid out so that a day is read in no time.

`archive_meteonet` takes a MeteoNet download, `archive_radar` any files that can be read. Both make

    OUT/events.toml                           what `hybridcast train --archive` takes: an entry for each day with rain
    OUT/manifest.json                         what was read, from when to when, what was missing, licence, versions
    OUT/REGION/radar/2016-08-28.zarr          CF precipitation fields, chunked by the hour
    OUT/REGION/stations/2016-08-28/*.parquet  station reports
    OUT/REGION/nwp/2016-08-28/*.nc            runs of a model that tell of that day, CF
    OUT/REGION/terrain.*                      heights
    OUT/REGION/records/                       what is done, so that a run that was stopped goes on
"""

from __future__ import annotations

from hybridcast.datasets.archives.generic import archive_radar
from hybridcast.datasets.archives.meteonet import archive_meteonet

__all__ = ["archive_meteonet", "archive_radar"]
