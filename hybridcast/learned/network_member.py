"""The small convolutional network of `hybridcast.learned.network` as a member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save as save_tensors

from hybridcast.core.types import Array
from hybridcast.learned.member import MemberInputs, StoredParts
from hybridcast.learned.network import Network, NetworkOutput, NetworkSettings, apply_network
from hybridcast.learned.network_inputs import THRESHOLDS, NetworkInputs

if TYPE_CHECKING:
    from hybridcast.learned.training.event_samples import TrainingData

#: Name of the member.
NETWORK = "network"
#: One of this number of events ends the training and is not learned from.
HELD_OUT = 6


@dataclass(frozen=True)
class NetworkMember:
    """A trained network."""

    network: Network
    name: str = NETWORK

    @property
    def predictors(self) -> tuple[str, ...]:
        """Predictors that it needs: none, for it works on the whole field."""
        return ()

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Rain rates (mm h-1) of its log odds, increasing."""
        return THRESHOLDS

    def apply(self, inputs: NetworkInputs) -> NetworkOutput:
        """Apply the network to an issue time."""
        return apply_network(inputs, self.network)

    def log_odds(self, inputs: MemberInputs, lead_minutes: float) -> Array:
        """Return the log odds that each threshold is reached, shape ``(threshold, row)``."""
        return inputs.field_outputs[self.name].at(inputs.departure_points, lead_minutes)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return the entry in the manifest of a model and the parts, see `hybridcast.learned.member.Member`."""
        tensors = {name: np.ascontiguousarray(value) for name, value in self.network.parameters.items()}
        entry = {"kind": "network", "settings": asdict(self.network.settings)}
        return entry, {f"{self.name}.safetensors": save_tensors(tensors)}

    @classmethod
    def from_parts(cls, entry: Mapping[str, Any], stored: StoredParts) -> NetworkMember:
        """Return the member of an entry in the manifest."""
        settings: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry["settings"].items()
        }
        network = Network(stored.tensors(entry["parts"][0]), NetworkSettings(**settings))
        return cls(network, entry["name"])


@dataclass(frozen=True)
class NetworkBuilder:
    """Training of the network."""

    name: str = NETWORK
    predictors: tuple[str, ...] = ()
    optional: bool = True

    def train(self, data: TrainingData) -> NetworkMember | None:
        """Train the network; None if the settings have none, or the events are fewer than two.

        Training is ended by some of the events, from every region in turn; their varied copies are not learned from.
        """
        settings = data.settings.network
        originals = sorted((one.event.region, one.event.name) for one in data.events if not one.varied)
        if settings is None or len(originals) < 2:
            return None
        from hybridcast.learned.training.network import cut_window, fit_network
        from hybridcast.learned.training.sample_store import load_field_cases

        generator = np.random.default_rng(data.settings.sampling.seed)
        stop = {name for _, name in originals[min(2, len(originals) - 1) :: HELD_OUT]}
        events = [one for one in data.events if not (one.varied and one.event.name in stop)]
        every = -(-sum(int(one.samples.case.max()) + 1 for one in events) // data.settings.fields)
        cases = {
            one.name: [cut_window(case, 2 * settings.crop, generator) for case in load_field_cases(one.store, every)]
            for one in events
        }
        weights = {one.name: float(one.weight.sum()) for one in events}
        learn, held_out = ({name: cases[name] for name in cases if (name in stop) == out} for out in (False, True))
        return NetworkMember(fit_network(learn, held_out, settings, weights=weights), self.name)
