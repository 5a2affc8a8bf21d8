"""A forecast on a map in a browser: rain, probabilities, members, meteograms and places, without a network.

`write_map` writes a page that opens from the disk and from any web server. The flow: `canvas` finds the cell of each
pixel in Web Mercator, `frames` lists what is shown, `pictures` and `members` draw it, `samples` packs the meteograms,
`shapes` has coastlines and places; `forecast_folder` puts that into a folder, `page_folder` adds the page, and `latest`
names the forecast that it shows. `server` and `api` are `hybridcast serve`. Parts by others are listed in
``page/THIRD_PARTY.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridcast.core.lazy import load_lazily

if TYPE_CHECKING:
    from hybridcast.webmap.page_folder import PageSettings as PageSettings
    from hybridcast.webmap.writing import write_map as write_map

_CONTENTS = {"PageSettings": "hybridcast.webmap.page_folder", "write_map": "hybridcast.webmap.writing"}
__all__ = ["PageSettings", "write_map"]

__getattr__ = load_lazily(__name__, _CONTENTS)
