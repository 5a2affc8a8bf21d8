"""A U-Net as a torch module. This module imports torch, so it is imported only where a network is trained.

The design is a U-Net (Ronneberger and others 2015, doi:10.1007/978-3-319-24574-4_28) of residual blocks, with features
scaled and shifted by conditions (Perez and others 2018, arXiv 1709.07871). Features are normalised over the channels of
each cell instead of over the domain, because crops and whole fields have different statistics over the domain.
`hybridcast.learned.unet` applies a trained network.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hybridcast.learned.unet import LEAST_SQUARE, NEGATIVE_SLOPE


class UNet(nn.Module):
    """A U-Net whose output has the size of its input.

    Parameters
    ----------
    channels
        Number of channels of the input.
    conditions
        Number of conditions.
    outputs
        Number of channels of the output.
    widths
        Number of channels at each resolution, from the finest to the coarsest; each halves the resolution.
    dropout
        Fraction of the channels at the coarsest resolution that are dropped in training.
    """

    def __init__(
        self, channels: int, conditions: int, outputs: int, widths: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.stem = _convolution(channels, widths[0], 3)
        self.film = nn.Linear(conditions, 2 * widths[0])
        self.down = nn.ModuleList(_ResidualBlock(width, gains=(1.0, 0.3)) for width in widths)
        self.coarsen = nn.ModuleList(
            nn.Sequential(nn.AvgPool2d(2), _convolution(fine, coarse)) for fine, coarse in pairwise(widths)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.refine = nn.ModuleList(
            nn.Sequential(_convolution(coarse, fine, gain=0.7), nn.Upsample(scale_factor=2))
            for coarse, fine in pairwise(reversed(widths))
        )
        self.up = nn.ModuleList(_ResidualBlock(width, gains=(0.3,)) for width in reversed(widths[:-1]))
        self.activation = nn.Sequential(ChannelNorm(), nn.LeakyReLU(NEGATIVE_SLOPE))
        self.last = _convolution(widths[0], outputs, gain=0.0)
        for parameter in self.film.parameters():
            nn.init.zeros_(parameter)

    def forward(self, planes: Tensor, conditions: Tensor) -> Tensor:
        """Apply the network.

        Parameters
        ----------
        planes
            Input of any size, shape ``(batch, channel, y, x)``.
        conditions
            Conditions of each field, shape ``(batch, condition)``.

        Returns
        -------
        Tensor
            Shape ``(batch, output, y, x)``.
        """
        rows, columns = planes.shape[-2:]
        unit = 2 ** len(self.coarsen)
        x = self.stem(functional.pad(planes, (0, -columns % unit, 0, -rows % unit)))
        scale, shift = self.film(conditions)[..., None, None].chunk(2, dim=1)
        x = self.down[0](x * (1 + scale) + shift)
        skipped = []
        for coarsen, block in zip(self.coarsen, self.down[1:], strict=True):
            skipped.append(x)
            x = block(coarsen(x))
        x = self.dropout(x)
        for refine, block in zip(self.refine, self.up, strict=True):
            x = block(skipped.pop() + refine(x))
        result: Tensor = self.last(self.activation(x))[..., :rows, :columns]
        return result


class ChannelNorm(nn.Module):
    """Division by the root mean square over one dimension (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x`."""
        return x * (x.square().mean(dim=self.dim, keepdim=True) + LEAST_SQUARE).rsqrt()


class _ResidualBlock(nn.Sequential):
    """Normalisation, then a rectifier and a convolution for each of `gains`; the input is added to the result."""

    def __init__(self, width: int, gains: Sequence[float]) -> None:
        layers: list[nn.Module] = [ChannelNorm()]
        for gain in gains:
            layers += [nn.LeakyReLU(NEGATIVE_SLOPE), _convolution(width, width, 3, gain)]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        result: Tensor = x + super().forward(x)  # type: ignore[no-untyped-call]
        return result


def _convolution(inputs: int, outputs: int, side: int = 1, gain: float = 1.0) -> nn.Conv2d:
    """Return a convolution with random weights; with a gain of 1 a rectified input keeps its variance."""
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2)
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        layer.weight.mul_(gain)
    return layer
