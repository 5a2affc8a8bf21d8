"""Real and simulated data: named data sets, events to train on and to score, archives, pseudo-NWP and pseudo-gauges.

Importing this package is light: each name below is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridcast.core.lazy import load_lazily

#: Public names, and the modules that define them.
_CONTENTS = {
    "fetch": "hybridcast.datasets.registry",
    "load_registry": "hybridcast.datasets.registry",
    "scene_path": "hybridcast.datasets.registry",
    "Event": "hybridcast.datasets.events",
    "load_events": "hybridcast.datasets.events",
    "load_event_radar": "hybridcast.datasets.events",
    "issue_times": "hybridcast.datasets.events",
    "archive_meteonet": "hybridcast.datasets.archives",
    "archive_radar": "hybridcast.datasets.archives",
    "PRESETS": "hybridcast.datasets.pseudo_nwp",
    "PseudoNwpSettings": "hybridcast.datasets.pseudo_nwp",
    "simulate_pseudo_nwp": "hybridcast.datasets.pseudo_nwp",
    "simulate_runs_before": "hybridcast.datasets.pseudo_nwp",
    "PseudoGaugeSettings": "hybridcast.datasets.pseudo_gauges",
    "simulate_pseudo_gauges": "hybridcast.datasets.pseudo_gauges",
    "simulate_radar_bias": "hybridcast.datasets.pseudo_gauges",
}

if TYPE_CHECKING:
    from hybridcast.datasets.archives import archive_meteonet as archive_meteonet
    from hybridcast.datasets.archives import archive_radar as archive_radar
    from hybridcast.datasets.events import Event as Event
    from hybridcast.datasets.events import issue_times as issue_times
    from hybridcast.datasets.events import load_event_radar as load_event_radar
    from hybridcast.datasets.events import load_events as load_events
    from hybridcast.datasets.pseudo_gauges import PseudoGaugeSettings as PseudoGaugeSettings
    from hybridcast.datasets.pseudo_gauges import simulate_pseudo_gauges as simulate_pseudo_gauges
    from hybridcast.datasets.pseudo_gauges import simulate_radar_bias as simulate_radar_bias
    from hybridcast.datasets.pseudo_nwp import PRESETS as PRESETS
    from hybridcast.datasets.pseudo_nwp import PseudoNwpSettings as PseudoNwpSettings
    from hybridcast.datasets.pseudo_nwp import simulate_pseudo_nwp as simulate_pseudo_nwp
    from hybridcast.datasets.pseudo_nwp import simulate_runs_before as simulate_runs_before
    from hybridcast.datasets.registry import fetch as fetch
    from hybridcast.datasets.registry import load_registry as load_registry
    from hybridcast.datasets.registry import scene_path as scene_path

__all__ = [*_CONTENTS]

__getattr__ = load_lazily(__name__, _CONTENTS)


def __dir__() -> list[str]:
    return sorted(__all__)
