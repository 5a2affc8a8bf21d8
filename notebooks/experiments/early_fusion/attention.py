"""Early fusion for comparison: one network uses radar, stations and NWP at once, by attention.

For a cell and a lead time the predictors of the radar form a query. It attends to the tokens of the nearest stations
and to those of the NWP rain around (`early_fusion.tokens`), to each kind separately, with a learned token beside them
that stands for missing data (Vaswani et al. 2017, arXiv 1706.03762; tokens at arbitrary positions as in MetNet-3,
Andrychowicz et al. 2023, arXiv 2306.06079). The output are log odds of the thresholds, decreasing by construction.
Sources are dropped at random in training, so that one network serves every combination of them.

Forecasts of the package use late fusion (`hybridcast.learned.nwp_stage`);
``notebooks/experiments/early_fusion/early_or_late.md`` compares both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.nn import functional

from early_fusion.attention_inputs import PREDICTORS, AttentionInputs, prepare_inputs
from early_fusion.tokens import NWP, STATION, Tokens, select_rows
from hybridcast.core.files import atomic_write
from hybridcast.core.types import Array
from hybridcast.errors import InputError
from hybridcast.learned.boosting import THRESHOLDS
from hybridcast.learned.network import check_shapes
from hybridcast.learned.training.optimisation import OptimisationSettings, seeded
from hybridcast.learned.unet import NEGATIVE_SLOPE
from hybridcast.predictors.registry import NWP_PREDICTORS, RADAR_PREDICTORS

#: Maximum number of parameters of a network.
MAX_PARAMETERS = 500_000
#: Kinds of tokens.
KINDS = ("station", "nwp")
#: Number of rows to which the network is applied at once.
_ROWS = 16_384


@dataclass(frozen=True)
class AttentionSettings(OptimisationSettings):
    """Settings of the network and its training."""

    width: int = 48
    """Number of channels of queries and tokens."""
    heads: int = 2
    """Number of heads of each attention."""
    layers: int = 2
    """Number of layers; in each a query attends to both kinds of tokens."""
    summary: bool = True
    """Whether the NWP predictors of late fusion form another token, so that both use the same information."""
    steps: int = 600
    batch: int = 2048
    """Number of rows in a step."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    dropout: float = 0.1
    """Fraction of the channels of a query that are dropped in training."""
    without_stations: float = 0.3
    """Fraction of the rows in training whose stations are dropped."""
    without_nwp: float = 0.3
    """Fraction of the rows in training whose NWP fields are dropped."""
    averaging: float = 0.98
    seeds: tuple[int, ...] = (0,)
    """Random seeds; a network is trained for each, and the mean of their log odds is used."""

    def __post_init__(self) -> None:
        """Check that the settings describe a network that is not too large."""
        if min(self.width, self.heads, self.layers, self.steps, self.batch) < 1 or not self.seeds:
            raise InputError(f"{self}", "a network has a width, a head, a layer and a seed", "Correct the settings")
        if self.width % self.heads:
            raise InputError(f"width {self.width}, {self.heads} heads", "heads share the width evenly", "Correct them")
        count = count_parameters(self)
        if count > MAX_PARAMETERS:
            raise InputError(
                f"{count} parameters",
                f"a network has {MAX_PARAMETERS} at most",
                "Make it narrower, or of fewer layers",
            )


# --- the network ----------------------------------------------------------------------------------------------


class AttentionNetwork(nn.Module):
    """Network of one seed.

    Parameters
    ----------
    settings
        Settings of the network.
    fractions
        Observed fraction of rows that reach each threshold, shape ``(threshold,)``: the initial output.
    """

    def __init__(self, settings: AttentionSettings, fractions: Array | None = None) -> None:
        super().__init__()
        width = settings.width
        self.query = _encoder(2 * len(RADAR_PREDICTORS), width)
        self.station = _encoder(2 * len(STATION), width)
        self.nwp = _encoder(2 * len(NWP) + 2, width)
        self.summary = _encoder(2 * len(NWP_PREDICTORS), width) if settings.summary else None
        self.missing = nn.ParameterDict({kind: nn.Parameter(torch.randn(width) / width**0.5) for kind in KINDS})
        self.layers = nn.ModuleList(
            AttentionLayer(width, settings.heads, settings.dropout) for _ in range(settings.layers)
        )
        self.norm = _norm(width)
        self.last = nn.Linear(width, len(THRESHOLDS))
        nn.init.zeros_(self.last.weight)
        if fractions is not None:
            self.last.bias.data = _invert_decreasing(fractions)

    def forward(self, inputs: AttentionInputs) -> Tensor:
        """Return log odds, ``(row, threshold)``, decreasing along the thresholds."""
        query, station, nwp, summary, has_station, has_nwp = (torch.from_numpy(array) for array in inputs)
        nwp = self.nwp(nwp)
        if self.summary is None:
            has_nwp = has_nwp[:, :-1]
        else:
            nwp = torch.cat([nwp, self.summary(summary)[:, None]], dim=1)
        tokens = {"station": self.station(station), "nwp": nwp}
        absent = {"station": ~has_station, "nwp": ~has_nwp}
        for kind in KINDS:
            tokens[kind] = torch.cat([tokens[kind], self.missing[kind].expand(len(query), 1, -1)], dim=1)
            absent[kind] = functional.pad(absent[kind], (0, 1), value=False)
        x = self.query(query)
        for layer in self.layers:
            x = layer(x, tokens, absent)
        return _decrease(self.last(self.norm(x)))


class AttentionLayer(nn.Module):
    """Attention of queries to each kind of tokens, followed by a layer of each query alone."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.attention = nn.ModuleDict({kind: nn.MultiheadAttention(width, heads, batch_first=True) for kind in KINDS})
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = nn.Sequential(
            _norm(width), nn.Linear(width, 2 * width), nn.LeakyReLU(NEGATIVE_SLOPE), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, tokens: Mapping[str, Tensor], absent: Mapping[str, Tensor]) -> Tensor:
        """Apply the layer to queries ``(row, width)`` and tokens ``(row, token, width)``."""
        query = self.norm(x)[:, None]
        for kind, attention in self.attention.items():
            found, _ = attention(query, tokens[kind], tokens[kind], key_padding_mask=absent[kind], need_weights=False)
            x = x + found[:, 0]
        x = self.dropout(x)
        out: Tensor = x + self.feed_forward(x)
        return out


def _norm(width: int) -> nn.Module:
    return nn.RMSNorm(width, eps=1e-3, elementwise_affine=False)


def _encoder(channels: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(channels, width), nn.LeakyReLU(NEGATIVE_SLOPE), nn.Linear(width, width), _norm(width)
    )


def _decrease(x: Tensor) -> Tensor:
    """Return log odds: the first channel for the lowest threshold, the others as positive steps down from it."""
    return torch.cat([x[:, :1], x[:, :1] - functional.softplus(x[:, 1:]).cumsum(dim=1)], dim=1)


def _invert_decreasing(fractions: Array) -> Tensor:
    """Return the channels from which `_decrease` makes the log odds of `fractions`."""
    log_odds = torch.logit(torch.from_numpy(np.asarray(fractions, np.float32)), eps=1e-4)
    steps = (log_odds[:-1] - log_odds[1:]).clamp(min=0.05)
    return torch.cat([log_odds[:1], steps.expm1().log()])


def build_network(settings: AttentionSettings, seed: int = 0, fractions: Array | None = None) -> AttentionNetwork:
    """Build a network with random parameters; its last layer returns the log odds of `fractions`."""
    with seeded(seed):
        return AttentionNetwork(settings, fractions)


def count_parameters(settings: AttentionSettings) -> int:
    """Return the number of parameters of one seed."""
    return sum(parameter.numel() for parameter in build_network(settings).parameters())


# --- trained networks -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CrossAttention:
    """A trained network: its parameters as they are stored, and its settings."""

    parameters: dict[str, Array]
    """Parameters of `AttentionNetwork` for each seed, named ``"<seed>.<parameter>"``, and the result of
    `early_fusion.attention_inputs.fit_scaling`, named ``"scaling"``."""
    settings: AttentionSettings

    def __post_init__(self) -> None:
        """Check that the parameters belong to the settings."""
        own = {name: tuple(value.shape) for name, value in build_network(self.settings).state_dict().items()}
        expected = {f"{seed}.{name}": shape for seed in self.settings.seeds for name, shape in own.items()}
        check_shapes(self.parameters, {"scaling": (2, len(PREDICTORS))} | expected)

    def build(self) -> list[AttentionNetwork]:
        """Return the network of each seed, ready to be applied."""
        networks = []
        for seed in self.settings.seeds:
            prefix = f"{seed}."
            own = {name.removeprefix(prefix): a for name, a in self.parameters.items() if name.startswith(prefix)}
            network = build_network(self.settings)
            network.load_state_dict({name: torch.from_numpy(array) for name, array in own.items()})
            networks.append(network.eval())
        return networks

    def scores(self, rows: Array, tokens: Tokens) -> Array:
        """Return log odds that each threshold is reached.

        Parameters
        ----------
        rows
            Predictors, shape ``(row, predictor)``, in the order of `hybridcast.predictors.registry.ALL_PREDICTORS`, or
            `RADAR_PREDICTORS` without other sources.
        tokens
            Tokens of the same rows.

        Returns
        -------
        ndarray
            float32, shape ``(threshold, row)``, decreasing along the thresholds.
        """
        out = np.empty((len(THRESHOLDS), len(rows)), np.float32)
        networks = self.build()
        with torch.inference_mode():
            for first in range(0, len(rows), _ROWS):
                part = slice(first, first + _ROWS)
                inputs = prepare_inputs(rows[part], select_rows(tokens, part), self.parameters["scaling"])
                out[:, part] = torch.stack([network(inputs) for network in networks]).mean(dim=0).numpy().T
        return out


def save_attention(network: CrossAttention, path: str | Path) -> Path:
    """Write a network as one safetensors file with its settings and predictors in the header; no pickle."""
    header = {"settings": json.dumps(asdict(network.settings)), "predictors": json.dumps(PREDICTORS)}
    arrays = {name: np.ascontiguousarray(value) for name, value in network.parameters.items()}
    with atomic_write(path) as part:
        save_file(arrays, part, metadata=header)
    return Path(path).expanduser()


def load_attention(path: str | Path) -> CrossAttention:
    """Read a network written by `save_attention`.

    Raises
    ------
    InputError
        If it is no such file, or was trained with other predictors than those of this version.
    """
    file = Path(path).expanduser()
    remedy = "Train it again, or get the file again"
    try:
        with safe_open(file, framework="numpy") as stored:
            header = stored.metadata() or {}
            parameters = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        settings: dict[str, Any] = json.loads(header["settings"])
        predictors = json.loads(header["predictors"])
        settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
        made = AttentionSettings(**settings)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: {error}", "it is a file written by save_attention", remedy) from error
    if tuple(predictors) != PREDICTORS:
        raise InputError(f"{file} needs other predictors", "they are those of this version", remedy)
    return CrossAttention(parameters, made)


__all__ = ["AttentionSettings", "CrossAttention", "load_attention", "save_attention"]
