"""Commercial microwave links as rain sensors: path-averaged rain rates from signal levels by published methods.

1. The loss is the level sent minus the level received (dB).
2. A time is wet if the standard deviation of the loss over the last hour exceeds a threshold (Schleiss and Berne 2010,
   IEEE Geosci. Remote Sens. Lett. 7). The window ends at the value, so that no later value is used.
3. The baseline is the median loss of the dry times of the last hours; it is kept constant during rain.
4. Part of the loss above the baseline is due to water on the antennas, which grows while it rains (Schleiss,
   Rieckermann and Berne 2013, IEEE Geosci. Remote Sens. Lett. 10).
5. The remaining loss is converted to a rain rate along the path by the power law of Recommendation ITU-R P.838-3.

Compared with the gauges of Gothenburg (27 August 2015, links within 3 km, 15 min) these settings give a correlation of
.89 and a bias of .95; compared with the radar along each path for pycomlink's sample (5 min), .73 and .61. Links are
therefore less reliable than gauges.

The result is ordinary station reports: ``sensor`` is ``"link"``, the position is the middle of the path, and the ends
of the path are coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hybridcast.core.types import Array, Doubles
from hybridcast.errors import InputError

#: ITU-R P.838-3 (2005), tables 1 to 4: a, b, c of the terms, then the slope m and the constant c of the line.
_P838: Mapping[str, tuple[Doubles, float, float]] = {
    "k_h": (
        np.array(
            [
                [-5.33980, -0.10008, 1.13098],
                [-0.35351, 1.26970, 0.45400],
                [-0.23789, 0.86036, 0.15354],
                [-0.94158, 0.64552, 0.16817],
            ]
        ),
        -0.18961,
        0.71147,
    ),
    "k_v": (
        np.array(
            [
                [-3.80595, 0.56934, 0.81061],
                [-3.44965, -0.22911, 0.51059],
                [-0.39902, 0.73042, 0.11899],
                [0.50167, 1.07319, 0.27195],
            ]
        ),
        -0.16398,
        0.63297,
    ),
    "alpha_h": (
        np.array(
            [
                [-0.14318, 1.82442, -0.55187],
                [0.29591, 0.77564, 0.19822],
                [0.32177, 0.63773, 0.13164],
                [-5.37610, -0.96230, 1.47828],
                [16.1721, -3.29980, 3.43990],
            ]
        ),
        0.67849,
        -1.95537,
    ),
    "alpha_v": (
        np.array(
            [
                [-0.07771, 2.33840, -0.76284],
                [0.56727, 0.95545, 0.54039],
                [-0.20238, 1.14520, 0.26809],
                [-48.2991, 0.791669, 0.116226],
                [48.5833, 0.791459, 0.116479],
            ]
        ),
        -0.053739,
        0.83433,
    ),
}


@dataclass(frozen=True)
class LinkSettings:
    """Settings of the conversion from signal levels to rain rates."""

    window: str = "60min"
    """Length of the window, up to the value, of the standard deviation that separates wet from dry times."""
    wet: float = 0.5
    """Standard deviation of the loss above which a time is wet, dB."""
    baseline: str = "6h"
    """Length of the window of the median of the dry loss."""
    antenna: float = 2.3
    """Limit of the loss by wet antennas after long rain, dB."""
    antenna_minutes: float = 15.0
    """Time in which most of the loss by wet antennas builds up, min."""
    min_length: float = 0.5
    """Minimum length of a link, km; the rain on shorter links is too little for the resolution of their levels."""


def specific_attenuation(frequency: ArrayLike, vertical: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return k and alpha of Recommendation ITU-R P.838-3: rain of R mm/h attenuates by k R^alpha dB per kilometre.

    Parameters
    ----------
    frequency
        GHz, 1 to 1000.
    vertical
        Whether the polarization is vertical; otherwise it is horizontal.

    Examples
    --------
    >>> k, alpha = specific_attenuation([10.0, 30.0], [False, True])
    >>> np.allclose(k, [0.0122, 0.2291], atol=5e-5), np.allclose(alpha, [1.2571, 0.9129], atol=5e-5)
    (True, True)
    """
    log = np.log10(np.asarray(frequency, np.float64))
    if not ((log >= 0) & (log <= 3)).all():
        raise InputError(
            f"frequencies are {np.round(10**log, 3)}", "P.838-3 holds from 1 to 1000 GHz", "Give them in GHz"
        )
    values = {name: _evaluate_curve(log, name) for name in _P838}
    v = np.asarray(vertical, bool)
    return 10 ** np.where(v, values["k_v"], values["k_h"]), np.where(v, values["alpha_v"], values["alpha_h"])


def _evaluate_curve(log: Doubles, name: str) -> Doubles:
    terms, slope, constant = _P838[name]
    a, b, c = terms.T
    bells = np.sum(a * np.exp(-(((log[..., None] - b) / c) ** 2)), axis=-1)
    return cast(Doubles, bells + slope * log + constant)


def rates_from_signal_levels(
    loss: NDArray[Any],
    time: NDArray[np.datetime64],
    *,
    frequency: NDArray[Any],
    length: NDArray[Any],
    vertical: NDArray[Any],
    settings: LinkSettings = LinkSettings(),
) -> Array:
    """Compute the rain rate along links (mm h-1) from their signal levels.

    Parameters
    ----------
    loss
        Level sent minus level received, dB, shape ``(link, time)``; NaN where either is missing.
    time
        UTC, shape ``(time,)``, in order.
    frequency
        GHz, shape ``(link,)``.
    length
        Length of the path, km, shape ``(link,)``.
    vertical
        Whether the polarization is vertical, shape ``(link,)``.
    settings
        Settings of the conversion.

    Returns
    -------
    ndarray
        float32, shape ``(link, time)``; NaN where the loss is unknown, where the record before is too short, and for
        links shorter than `LinkSettings.min_length`.
    """
    table = pd.DataFrame(np.asarray(loss, np.float64).T, index=pd.DatetimeIndex(time))
    step = pd.Timedelta(np.median(np.diff(time)) if len(time) > 1 else 0).total_seconds() / 60
    min_periods = max(2, int(0.5 * pd.Timedelta(settings.window).total_seconds() / 60 / max(step, 1e-3)))
    spread = table.rolling(settings.window, min_periods=min_periods).std()
    wet = (spread > settings.wet).to_numpy().T
    dry_loss = table.where(~wet.T & spread.notna().to_numpy())
    baseline = dry_loss.rolling(settings.baseline, min_periods=1).median().ffill().to_numpy().T
    excess = np.where(wet, np.maximum(loss - baseline, 0), 0.0)
    path = np.maximum(excess - _antenna_loss(excess, step, settings), 0)
    k, alpha = specific_attenuation(frequency, vertical)
    rate = (path / (k * length)[:, None]) ** (1 / alpha)[:, None]
    known = np.isfinite(loss) & np.isfinite(spread.to_numpy().T) & np.isfinite(baseline)
    return np.where(known & (length >= settings.min_length)[:, None], rate, np.nan).astype(np.float32)


def _antenna_loss(excess: Doubles, minutes: float, settings: LinkSettings) -> Doubles:
    """Return the loss by wet antennas: it approaches its limit while it rains, and never exceeds the whole excess."""
    fraction = min(1.0, 3.0 * minutes / settings.antenna_minutes)
    water = np.zeros_like(excess)
    before = np.zeros(len(excess))
    for now in range(excess.shape[1]):
        grown = before + fraction * (settings.antenna - before)
        before = np.fmin(np.nan_to_num(excess[:, now]), grown)
        water[:, now] = before
    return water
