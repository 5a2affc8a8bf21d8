"""Ensembles: scenarios of the rain, and products made of them.

A forecast with members (``forecast(radar, members=20)``) has the variable ``precipitation_rate_ensemble``, dims
``(realization, lead_time, y, x)``. The functions here turn members into products: amounts in windows
(`accumulate`), probabilities (`exceedance`) and `quantiles`, each of cells, of regions or of blocks.
"""

from __future__ import annotations

from hybridcast.ensembles.products import accumulate, exceedance, quantiles, to_cf

__all__ = ["accumulate", "exceedance", "quantiles", "to_cf"]
