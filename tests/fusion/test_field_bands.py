"""Fields on the fine grid, band by band."""

import numpy as np

from helpers import synthetic
from hybridcast.core.grid import coarsen
from hybridcast.fusion.deterministic_field import NodeProbabilities, fields_from_radar
from hybridcast.fusion.field_bands import BAND_ROWS
from hybridcast.fusion.sampling_grid import LagrangianInterpolator, LatestFrame, SamplingGrid, node_lead_times

LEADS = np.array([10, 20, 30]) * np.timedelta64(60_000_000_000, "ns")
THRESHOLDS = (0.5, 2.0, 5.0)


def bands(rows=2 * BAND_ROWS + 20):
    rain = synthetic.rain((rows, 60))
    coarse = coarsen(rain, 2000.0)
    grid = SamplingGrid.over(rain, coarse, 2000.0, 2)
    nodes = np.random.default_rng(0).random((3, 3, *grid.shape)).astype(np.float32)
    values = np.sort(nodes, axis=0)[::-1].copy()
    flow = np.ones((2, rows, 60), np.float32)
    latest = LatestFrame(np.ascontiguousarray(rain.values[-1]), LEADS, flow)
    interpolator = LagrangianInterpolator(grid, node_lead_times(LEADS), latest)
    known = np.ones(grid.shape, bool)
    return fields_from_radar(NodeProbabilities(values, known, THRESHOLDS, [0, 2]), interpolator)


def test_lazy_bands_are_the_fields_in_memory():
    made = bands()
    whole, lazy = made.compute(), made.to_dask()
    for field, chunked in zip(whole, lazy, strict=True):
        assert chunked.shape == field.shape
        assert chunked.chunks[-2] == (BAND_ROWS, BAND_ROWS, 20)
        np.testing.assert_array_equal(chunked.compute(scheduler="synchronous"), field)
    assert whole.probabilities.shape[0] == 2
    assert np.isnan(whole.rate).any()
    assert (whole.rate > 0).any()
