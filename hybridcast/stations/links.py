"""Commercial microwave links as sensors of rain: signal levels become path-averaged rain rates by published steps.

1. Loss is the level sent minus the level received (dB).
2. Wet is where the standard deviation of the loss over the last hour exceeds a threshold (Schleiss and Berne 2010,
   IEEE Geosci. Remote Sens. Lett. 7). The window ends at the value, so that nothing later is used.
3. The baseline is the median loss of the dry times of the last hours; it stays as it is in rain.
4. Of what exceeds it, the water on the antennas takes a part that grows while it rains (Schleiss, Rieckermann and
   Berne 2013, IEEE Geosci. Remote Sens. Lett. 10).
5. The rest is rain along the path by the power law of Recommendation ITU-R P.838-3.

Beside the gauges of Gothenburg (27 August 2015, links within 3 km, 15 min) these settings correlate .89 with a bias of
.95; with pycomlink's sample against the radar along each path (5 min) .73 and .61. So trust links less than gauges.

The result are station reports like any others: ``sensor`` is ``"link"``, the place is the middle of the path, the
ends are coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hybridcast.errors import InputError

#: ITU-R P.838-3 (2005), tables 1 to 4: a, b, c of the terms, then the slope m and the constant c of the line.
_P838: Mapping[str, tuple[NDArray[np.float64], float, float]] = {
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
    """Settings of the way from signal levels to rain."""

    window: str = "60min"
    """The standard deviation that tells wet from dry is over so long, up to the value."""
    wet: float = 0.5
    """Wet above this standard deviation, dB."""
    baseline: str = "6h"
    """The median of the dry loss is over so long."""
    antenna: float = 2.3
    """Loss by wet antennas after long rain, dB."""
    antenna_minutes: float = 15.0
    """Time in which most of it builds up."""
    shortest: float = 0.5
    """Shorter links (km) see too little rain for the steps of their levels, and are left out."""


def specific_attenuation(frequency: ArrayLike, vertical: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return k and alpha of Recommendation ITU-R P.838-3: rain of R mm/h takes k R^alpha dB per kilometre.

    Parameters
    ----------
    frequency
        GHz, 1 to 1000.
    vertical
        Whether the polarization is vertical, else horizontal.

    Examples
    --------
    >>> k, alpha = specific_attenuation([10.0, 30.0], [False, True])
    >>> k.round(4).tolist(), alpha.round(4).tolist()
    ([0.0122, 0.2291], [1.2571, 0.9129])
    """
    log = np.log10(np.asarray(frequency, np.float64))
    if not ((log >= 0) & (log <= 3)).all():
        raise InputError(
            f"frequencies are {np.round(10**log, 3)}", "P.838-3 holds from 1 to 1000 GHz", "Give them in GHz"
        )
    values = {name: _curve(log, name) for name in _P838}
    v = np.asarray(vertical, bool)
    return 10 ** np.where(v, values["k_v"], values["k_h"]), np.where(v, values["alpha_v"], values["alpha_h"])


def _curve(log: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    terms, slope, constant = _P838[name]
    a, b, c = terms.T
    bells = np.sum(a * np.exp(-(((log[..., None] - b) / c) ** 2)), axis=-1)
    return cast(NDArray[np.float64], bells + slope * log + constant)


def rates_from_signal_levels(
    loss: NDArray[Any],
    time: NDArray[np.datetime64],
    *,
    frequency: NDArray[Any],
    length: NDArray[Any],
    vertical: NDArray[Any],
    settings: LinkSettings = LinkSettings(),
) -> NDArray[np.float32]:
    """Return the rain rate along links (mm h-1).

    Parameters
    ----------
    loss
        Level sent minus level received, dB, shape ``(link, time)``; NaN where one is missing.
    time
        UTC, shape ``(time,)``, in order.
    frequency, length, vertical
        GHz, km, and whether the polarization is vertical, shape ``(link,)``.

    Returns
    -------
    ndarray
        float32, shape ``(link, time)``; NaN where the loss is, where the past is too short to tell, and for short
        links.
    """
    table = pd.DataFrame(np.asarray(loss, np.float64).T, index=pd.DatetimeIndex(time))
    step = pd.Timedelta(np.median(np.diff(time)) if len(time) > 1 else 0).total_seconds() / 60
    least = max(2, int(0.5 * pd.Timedelta(settings.window).total_seconds() / 60 / max(step, 1e-3)))
    spread = table.rolling(settings.window, min_periods=least).std()
    wet = (spread > settings.wet).to_numpy().T
    dry_loss = table.where(~wet.T & spread.notna().to_numpy())
    baseline = dry_loss.rolling(settings.baseline, min_periods=1).median().ffill().to_numpy().T
    excess = np.where(wet, np.maximum(loss - baseline, 0), 0.0)
    path = np.maximum(excess - _wet_antennas(excess, step, settings), 0)
    k, alpha = specific_attenuation(frequency, vertical)
    rate = (path / (k * length)[:, None]) ** (1 / alpha)[:, None]
    known = np.isfinite(loss) & np.isfinite(spread.to_numpy().T) & np.isfinite(baseline)
    return np.where(known & (length >= settings.shortest)[:, None], rate, np.nan).astype(np.float32)


def _wet_antennas(excess: NDArray[np.float64], minutes: float, settings: LinkSettings) -> NDArray[np.float64]:
    """Return the loss by wet antennas: it nears its limit while it rains, and is never more than the whole excess."""
    share = min(1.0, 3.0 * minutes / settings.antenna_minutes)
    water = np.zeros_like(excess)
    before = np.zeros(len(excess))
    for now in range(excess.shape[1]):
        grown = before + share * (settings.antenna - before)
        before = np.fmin(np.nan_to_num(excess[:, now]), grown)
        water[:, now] = before
    return water
