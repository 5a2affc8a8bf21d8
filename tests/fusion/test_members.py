"""Inputs of the members for an issue time, and their blend."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import synthetic
from hybridcast.fusion.members import blend_members, prepare_inputs, select_members
from hybridcast.learned.member import evaluate_members
from hybridcast.learned.network_member import NetworkMember
from hybridcast.predictors.registry import RADAR_PREDICTORS

SHAPE = (40, 48)
LEADS = (np.array([15, 60]) * 60e9).astype("timedelta64[ns]")
CELLS = np.array([[20, 24], [10, 30], [0, 47]], np.int32)


@pytest.fixture(scope="module")
def rain():
    """Rain on cells of 2 km that moves by 1.5 cells in 5 min towards growing columns."""
    return synthetic.rain(SHAPE, synthetic.translation(1.5, 0.0), frames=8, spacing=2000.0)


@pytest.fixture(scope="module")
def members(small_model):
    return select_members(small_model.members, small_model.blend, None)


def test_lagrangian_inputs_are_those_of_the_air_over_the_cells(rain, members):
    state, inputs = prepare_inputs(members, rain, LEADS, CELLS, lagrangian=True)
    assert len(inputs) == 2
    assert state.minutes.tolist() == [15, 60]
    for one, minutes in zip(inputs, (15, 60), strict=True):
        assert one.predictors.shape == (3, len(RADAR_PREDICTORS))
        np.testing.assert_array_equal(one.departure_points, CELLS)
        np.testing.assert_array_equal(one.predictors[:, RADAR_PREDICTORS.index("lead_time")], minutes)
        assert one.field_outputs == {}
    rate = RADAR_PREDICTORS.index("rate")
    np.testing.assert_array_equal(inputs[0].predictors[:, rate], inputs[1].predictors[:, rate])


def test_eulerian_inputs_are_those_of_the_air_that_arrives(rain, members):
    _, inputs = prepare_inputs(members, rain, LEADS, CELLS, lagrangian=False)
    for one, cells in zip(inputs, (4.5, 18), strict=True):
        np.testing.assert_allclose(one.departure_points[:, 1], CELLS[:, 1] - cells, atol=2)


def test_members_of_whole_fields_are_applied_once_for_all_lead_times(rain, with_network, monkeypatch):
    applied = []
    apply = NetworkMember.apply
    monkeypatch.setattr(NetworkMember, "apply", lambda self, inputs: applied.append(self.name) or apply(self, inputs))
    members = select_members(with_network.members, with_network.blend, None)
    assert "network" in [member.name for member in members]
    _, inputs = prepare_inputs(members, rain, LEADS, CELLS, lagrangian=True)
    assert applied == ["network"]
    probabilities, weights, _ = blend_members(members, with_network.blend, None, inputs, [15.0, 60.0])
    assert probabilities.shape == (len(with_network.thresholds), 2, 3)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert (np.diff(probabilities, axis=0) <= 0).all()
    assert np.isnan(weights).all()


@pytest.mark.parametrize("block", [7, 64, 470])
def test_the_size_of_blocks_does_not_matter(rain, with_network, monkeypatch, block):
    members = select_members(with_network.members, with_network.blend, None)
    cells = np.indices((20, 24)).reshape(2, -1).T.astype(np.int32) * 2
    _, inputs = prepare_inputs(members, rain, LEADS, cells, lagrangian=True)
    whole = blend_members(members, with_network.blend, None, inputs, [15.0, 60.0]).probabilities
    monkeypatch.setattr("hybridcast.fusion.members.BLOCK_ROWS", block)
    in_blocks = blend_members(members, with_network.blend, None, inputs, [15.0, 60.0]).probabilities
    # the last bits of a product of matrices may depend on its number of rows
    np.testing.assert_allclose(whole, in_blocks, rtol=1e-5)
    assert whole[0].std() > 0.1


def test_few_rows_are_in_memory_at_a_time(rain, small_model, members, monkeypatch):
    cells = np.indices(SHAPE).reshape(2, -1).T.astype(np.int32)
    _, inputs = prepare_inputs(members, rain, LEADS, cells, lagrangian=True)
    rows = []
    monkeypatch.setattr("hybridcast.fusion.members.BLOCK_ROWS", 100)
    monkeypatch.setattr(
        "hybridcast.fusion.members.evaluate_members",
        lambda members, of_block, lead_minutes: (
            rows.append(len(of_block.predictors)) or evaluate_members(members, of_block, lead_minutes)
        ),
    )
    blend_members(members, small_model.blend, None, inputs, [15.0, 60.0])
    assert max(rows) == 100
    assert sum(rows) == 2 * len(cells)


def test_the_order_of_members_does_not_matter(rain, small_model, members):
    _, inputs = prepare_inputs(members, rain, LEADS, CELLS, lagrangian=True)
    one = blend_members(members, small_model.blend, None, inputs, [15.0, 60.0])
    other = blend_members(members[::-1], small_model.blend, None, inputs, [15.0, 60.0])
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
