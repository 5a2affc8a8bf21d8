"""Inflow from outside the coverage: where it is forecast, and where it stays unknown."""

import numpy as np
import pytest

from helpers import synthetic
from hybridcast.fusion.inflow import compute_inflow
from hybridcast.fusion.sampling_grid import SamplingGrid
from hybridcast.motion.estimate import DenseFlow
from hybridcast.predictors.registry import ALL_PREDICTORS, SOURCE_PREDICTORS
from hybridcast.predictors.state import build_predictor_state, departure_points

SHAPE = (48, 60)
LEADS = (np.array([15, 30, 60]) * 60e9).astype("timedelta64[ns]")


@pytest.fixture(scope="module")
def rain():
    """Rain on cells of 2 km that moves by 1.5 cells in 5 min towards growing columns."""
    return synthetic.rain(SHAPE, synthetic.translation(1.5, 0.0), frames=8, spacing=2000.0)


def state(rain, model):
    motion = DenseFlow().estimate(rain)
    return build_predictor_state(rain, motion, LEADS, sources={"nwp_rate": model})


def inflow_of(rain, model):
    """Return the inflow with probabilities that depend on the lead time only."""
    grid = SamplingGrid(SHAPE, 1, 2)

    def probabilities(inputs, lead):
        assert np.isfinite(inputs.predictors[:, ALL_PREDICTORS.index("nwp_rate")]).all()
        assert inputs.departure_points.shape == (len(inputs.predictors), 2)
        return np.stack([np.full(len(inputs.predictors), value, np.float32) for value in (0.6, lead / 1000)])

    here = state(rain, model)
    return compute_inflow(here, grid.nodes, grid.shape, probabilities), here, grid


def test_the_inflow_comes_from_beyond_the_edge(rain):
    model = np.full((3, *SHAPE), 10.0, np.float32)
    found, here, grid = inflow_of(rain, model)
    origins = departure_points(here, grid.nodes).reshape(3, *grid.shape, 2)
    beyond = ((origins < 0) | (origins > np.array(SHAPE) - 1)).any(axis=-1)
    np.testing.assert_array_equal(found.unknown, beyond)
    assert beyond[2, :, :8].all()  # 18 cells an hour
    assert found.unknown[2].sum() > found.unknown[0].sum() > 0
    assert found.unknown.any()
    np.testing.assert_allclose(found.rate[found.unknown], 1.0, rtol=1e-5)  # 10 dB above 0.1 mm/h
    np.testing.assert_allclose(found.probabilities[0][found.unknown], 0.6)
    np.testing.assert_allclose(found.probabilities[1, 2][found.unknown[2]], 0.06)


def test_cells_beside_and_of_the_neighbouring_lead_times_have_values_too(rain):
    found, _, _ = inflow_of(rain, np.full((3, *SHAPE), 10.0, np.float32))
    later = found.unknown[1] | found.unknown[2]
    assert np.isfinite(found.probabilities[0, 1][later]).all()
    assert np.isfinite(found.probabilities[0]).sum() > found.unknown.sum()
    assert np.isnan(found.probabilities[0]).any()  # far from the unknown no member is evaluated


def test_without_nwp_it_stays_unknown(rain):
    model = np.full((3, *SHAPE), 10.0, np.float32)
    model[:, 24:] = np.nan
    found, _, grid = inflow_of(rain, model)
    lower = np.arange(grid.shape[0]) * 2 >= 24
    assert not found.unknown[:, lower].any()
    assert np.isnan(found.probabilities[:, :, lower]).all()
    nothing, _, _ = inflow_of(rain, np.full((3, *SHAPE), np.nan, np.float32))
    assert not nothing.unknown.any()


def test_names_of_sources_are_those_of_the_planes():
    assert "nwp_rate" in SOURCE_PREDICTORS
