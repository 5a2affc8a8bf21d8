"""Early fusion, for comparison: one network looks at radar, stations and model fields at once, by attention.

For a cell and a lead time the predictors of the radar make a query; it attends to the tokens of the nearest stations
and to those of the model's rain around (`early_fusion.tokens`), to each kind on its own, with a learned token
beside them for "nothing there" (Vaswani et al. 2017, arXiv 1706.03762; tokens at any place as in MetNet-3, Andrychowicz
et al. 2023, arXiv 2306.06079). Out come log odds of the thresholds, falling by construction. Sources are left out at
random in training, so that one network serves every combination of them.

Late fusion (`hybridcast.learned.nwp_stage`) is what forecasts use;
``notebooks/experiments/early_fusion/early_or_late.md`` compares both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from early_fusion.attention_inputs import PREDICTORS, prepared
from early_fusion.tokens import NWP, STATION, Tokens
from hybridcast.core.files import atomic_write
from hybridcast.core.types import Array
from hybridcast.errors import InputError
from hybridcast.learned.boosting import THRESHOLDS
from hybridcast.learned.network import require_torch
from hybridcast.predictors.registry import NWP_PREDICTORS, RADAR_PREDICTORS

if TYPE_CHECKING:
    from torch import Tensor


#: No network may have more parameters.
MOST_PARAMETERS = 500_000
#: What the sets of tokens are called.
SETS = ("station", "nwp")
#: Rows asked at once.
_ROWS = 16_384


@dataclass(frozen=True)
class AttentionSettings:
    """Settings of the network and its training."""

    width: int = 48
    """Of queries and tokens."""
    heads: int = 2
    layers: int = 2
    """How often a query attends to both kinds of tokens."""
    summary: bool = True
    """Whether the planes that late fusion has of the model are a token too, so that both know the same."""
    steps: int = 600
    """Steps of training, at most."""
    batch: int = 2048
    """Rows in a step."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    dropout: float = 0.1
    """Share of the channels of a query that are left out in training."""
    without_stations: float = 0.3
    """Share of the rows in training whose stations are left out,"""
    without_nwp: float = 0.3
    """and whose model fields are."""
    averaging: float = 0.98
    """What is kept of the running mean of the parameters in each step; the mean is what is used."""
    check_every: int = 50
    """Steps from one look at the events kept out to the next."""
    patience: int = 4
    """Looks without gain before training ends."""
    seeds: tuple[int, ...] = (0,)
    """A network is trained for each; the mean of their log odds is used."""

    def __post_init__(self) -> None:
        """Refuse what makes no network, or too large a one."""
        if min(self.width, self.heads, self.layers, self.steps, self.batch) < 1 or not self.seeds:
            raise InputError(f"{self}", "a network has a width, a head, a layer and a seed", "Correct the settings")
        if self.width % self.heads:
            raise InputError(f"width {self.width}, {self.heads} heads", "heads share the width evenly", "Correct them")
        count = size(self)
        if count > MOST_PARAMETERS:
            raise InputError(
                f"{count} parameters",
                f"a network has {MOST_PARAMETERS} at most",
                "Make it narrower, or of fewer layers",
            )


@dataclass(frozen=True)
class CrossAttention:
    """What was trained: arrays by name, as they are stored."""

    parameters: dict[str, Array]
    """Of all seeds, ``"<seed>.<layer>.weight"`` and the like, and ``"scaling"``, see `scaling_of`."""
    settings: AttentionSettings

    def __post_init__(self) -> None:
        """Refuse arrays that are not those of the settings."""
        wanted: dict[str, tuple[int, ...]] = {"scaling": (2, len(PREDICTORS))}
        for seed in self.settings.seeds:
            wanted |= {f"{seed}.{name}": shape for name, shape in shapes(self.settings).items()}
        found = {name: np.shape(value) for name, value in self.parameters.items()}
        for name in sorted(set(wanted) | set(found)):
            if wanted.get(name) != found.get(name):
                raise InputError(
                    f"parameter {name!r} has the shape {found.get(name)}",
                    f"the network of these settings has {wanted.get(name)}",
                    "Take parameters and settings from the same training",
                )

    def scores(self, rows: Array, tokens: Tokens) -> Array:
        """Return log odds that each threshold is reached.

        Parameters
        ----------
        rows
            Predictors, shape ``(row, predictor)``, in the order of `hybridcast.predictors.registry.ALL_PREDICTORS`, or
            `RADAR_PREDICTORS` without other sources.
        tokens
            Of the same rows.

        Returns
        -------
        ndarray
            float32, shape ``(threshold, row)``, falling along the thresholds.
        """
        require_torch()
        import torch

        out = np.zeros((len(THRESHOLDS), len(rows)), np.float32)
        networks = [
            {name: torch.from_numpy(self.parameters[f"{seed}.{name}"]) for name in shapes(self.settings)}
            for seed in self.settings.seeds
        ]
        with torch.inference_mode():
            for first in range(0, len(rows), _ROWS):
                part = slice(first, first + _ROWS)
                inputs = prepared(rows[part], Tokens(*(t[part] for t in tokens)), self.parameters["scaling"])
                asked = [torch.from_numpy(values) for values in inputs]
                for own in networks:
                    out[:, part] += odds_of(own, asked, self.settings).numpy().T / np.float32(len(networks))
        return out


# --- the network ----------------------------------------------------------------------------------------------


def shapes(settings: AttentionSettings) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of one seed."""
    width, heads = settings.width, settings.heads
    made: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inside: int, outside: int) -> None:
        made[f"{name}.weight"], made[f"{name}.bias"] = (outside, inside), (outside,)

    entering = {"query": 2 * len(RADAR_PREDICTORS), "station": 2 * len(STATION), "nwp": 2 * len(NWP) + 2}
    if settings.summary:
        entering["summary"] = 2 * len(NWP_PREDICTORS)
    for name, inside in entering.items():
        linear(f"{name}.a", inside, width)
        linear(f"{name}.b", width, width)
    made |= {f"{kind}.null": (width,) for kind in SETS}
    for layer in range(settings.layers):
        for kind in SETS:
            linear(f"{layer}.{kind}.query", width, width)
            made[f"{layer}.{kind}.key"] = (heads, width // heads, width)
            made[f"{layer}.{kind}.value"] = (heads, width, width // heads)
            linear(f"{layer}.{kind}.out", width, width)
        linear(f"{layer}.up", width, 2 * width)
        linear(f"{layer}.down", 2 * width, width)
    linear("last", width, len(THRESHOLDS))
    return made


def size(settings: AttentionSettings) -> int:
    """Count the parameters of one seed.

    Examples
    --------
    >>> size(AttentionSettings()), size(AttentionSettings(layers=1)) < size(AttentionSettings())
    (72966, True)
    """
    return sum(math.prod(shape) for shape in shapes(settings).values())


def odds_of(
    parameters: Mapping[str, Tensor], inputs: list[Tensor], settings: AttentionSettings, factors: Tensor | None = None
) -> Tensor:
    """Apply the network.

    Parameters
    ----------
    parameters
        Of one seed, named and shaped as `shapes` says.
    inputs
        As `early_fusion.attention_inputs.Prepared`.
    factors
        What the channels of the query are multiplied by, ``(layer, row, width)``: dropout, in training.

    Returns
    -------
    Tensor
        Log odds, ``(row, threshold)``, falling along the thresholds.
    """
    import torch

    query, station, nwp, summary, station_there, nwp_there = inputs
    x = _entered(parameters, "query", query)
    tokens = {kind: _entered(parameters, kind, own) for kind, own in (("station", station), ("nwp", nwp))}
    there = {"station": station_there, "nwp": nwp_there[:, :-1]}
    if settings.summary:
        tokens["nwp"] = torch.cat([tokens["nwp"], _entered(parameters, "summary", summary)[:, None]], dim=1)
        there["nwp"] = nwp_there
    for layer in range(settings.layers):
        asking = _of_order_one(x)
        for kind in SETS:
            null = parameters[f"{kind}.null"].expand(len(x), 1, -1)
            x = x + _attended(parameters, f"{layer}.{kind}", asking, torch.cat([tokens[kind], null], 1), there[kind])
        if factors is not None:
            x = x * factors[layer]
        x = x + _linear(parameters, f"{layer}.down", _bent(_linear(parameters, f"{layer}.up", _of_order_one(x))))
    return _falling(_linear(parameters, "last", _of_order_one(x)))


def _attended(parameters: Mapping[str, Tensor], name: str, asking: Tensor, tokens: Tensor, there: Tensor) -> Tensor:
    """Let a query look at its tokens, the last of which is always there.

    With one query to many tokens it is cheaper to take keys and values of the query than of the tokens:
    q . (K t) = (K' q) . t, and the values of a weighted mean are the weighted mean of the values.
    """
    import torch

    keys, values = parameters[f"{name}.key"], parameters[f"{name}.value"]
    heads, part, _ = keys.shape
    q = _linear(parameters, f"{name}.query", asking).reshape(len(asking), heads, part)
    wanted = torch.einsum("rhp,hpw->rhw", q, keys)
    alike = torch.bmm(wanted, tokens.transpose(1, 2)) / math.sqrt(part)
    alike[..., :-1] = alike[..., :-1].masked_fill(~there[:, None], -torch.inf)
    mean = torch.bmm(alike.softmax(dim=-1), tokens)
    found = torch.einsum("rhw,hwp->rhp", mean, values).reshape(len(asking), heads * part)
    return _linear(parameters, f"{name}.out", found)


def _entered(parameters: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    return _of_order_one(_linear(parameters, f"{name}.b", _bent(_linear(parameters, f"{name}.a", values))))


def _linear(parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.linear(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"])


def _bent(x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.leaky_relu(x, 0.1)


def _of_order_one(x: Tensor) -> Tensor:
    """Divide by the root mean square of the channels (Zhang and Sennrich 2019, arXiv 1910.07467)."""
    return x * (x.square().mean(dim=-1, keepdim=True) + 1e-3).rsqrt()


def _falling(x: Tensor) -> Tensor:
    """Take the first channel as log odds of the lowest threshold, the others as steps down from it, never up."""
    import torch
    from torch.nn import functional

    return torch.cat([x[:, :1], x[:, :1] - functional.softplus(x[:, 1:]).cumsum(dim=1)], dim=1)


# --- on disk --------------------------------------------------------------------------------------------------


def save_attention(network: CrossAttention, path: str | Path) -> Path:
    """Write a network as one file of safetensors, its settings and predictors in the header; no pickle."""
    told = {"settings": json.dumps(asdict(network.settings)), "predictors": json.dumps(PREDICTORS)}
    arrays = {name: np.ascontiguousarray(value) for name, value in network.parameters.items()}
    with atomic_write(path) as part:
        save_file(arrays, part, metadata=told)
    return Path(path).expanduser()


def load_attention(path: str | Path) -> CrossAttention:
    """Read what `save_attention` wrote.

    Raises
    ------
    InputError
        If it is no such file, or of other predictors than this version has.
    """
    file = Path(path).expanduser()
    remedy = "Train it again, or get the file again"
    try:
        with safe_open(file, framework="numpy") as stored:
            told = stored.metadata() or {}
            parameters = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        settings: dict[str, Any] = json.loads(told["settings"])
        predictors = json.loads(told["predictors"])
        settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
        made = AttentionSettings(**settings)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: {error}", "it is a file written by save_attention", remedy) from error
    if tuple(predictors) != PREDICTORS:
        raise InputError(f"{file} asks for other predictors", "they are those of this version", remedy)
    return CrossAttention(parameters, made)


__all__ = ["AttentionSettings", "CrossAttention", "load_attention", "save_attention"]
