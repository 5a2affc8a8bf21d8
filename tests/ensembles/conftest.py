"""An ensemble of random rain."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.small_ensembles import build_ensemble


@pytest.fixture
def ensemble():
    """Five members of random rain at six lead times on 12 x 9 cells; the first two rows are unknown."""
    members = np.random.default_rng(1).gamma(0.4, 4.0, (5, 6, 12, 9))
    members[:, :, :2] = np.nan
    return build_ensemble(members)
