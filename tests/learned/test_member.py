"""Members: what they are evaluated on, and a new kind that is trained, stored and loaded with the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from hybridcast.learned import members as module
from hybridcast.learned.blend import Blend
from hybridcast.learned.member import FieldMember, Member, MemberInputs, evaluate_members, uses_nwp
from hybridcast.learned.members import BUILDERS, KINDS, NWP_MEMBERS, OPTIONAL_MEMBERS, RADAR_MEMBERS
from hybridcast.learned.trained_model import TrainedModel, load_model, save_model
from hybridcast.predictors.registry import ALL_PREDICTORS, RADAR_PREDICTORS, index_of

THRESHOLDS = (0.5, 1.0)


@dataclass(frozen=True)
class OnePredictor:
    """A member whose log odds are one predictor, less the lead time in hours."""

    name: str
    predictor: str
    thresholds: tuple[float, ...] = THRESHOLDS

    @property
    def predictors(self):
        return (self.predictor,)

    def log_odds(self, inputs, lead_minutes):
        value = inputs.predictors[:, index_of(self.predictor)] - np.float32(lead_minutes / 60)
        return np.stack([value - k for k in range(len(self.thresholds))])

    def to_parts(self):
        return {"kind": "one predictor"}, {f"{self.name}.txt": self.predictor.encode()}

    @classmethod
    def from_parts(cls, entry, stored):
        return cls(entry["name"], stored.text(entry["parts"][0]), stored.thresholds)


class Output:
    """Output of a field member: the row of each point."""

    def at(self, points, lead_minutes):
        return np.stack([points[:, 0], points[:, 0] - 1]).astype(np.float32)


class WholeField(OnePredictor):
    """A member that works on the whole field."""

    @property
    def predictors(self):
        return ()

    def apply(self, inputs):
        return Output()

    def log_odds(self, inputs, lead_minutes):
        return inputs.field_outputs[self.name].at(inputs.departure_points, lead_minutes)


@pytest.fixture
def inputs():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(50, len(ALL_PREDICTORS))).astype(np.float32)
    rows[:20, index_of("nwp_rate")] = np.nan
    return MemberInputs(rows, np.arange(100.0).reshape(50, 2), {"field": Output()})


def test_members_are_evaluated_by_name_and_those_with_nwp_where_it_is_known(inputs):
    made = [OnePredictor("nwp", "nwp_rate"), OnePredictor("radar", "rate"), WholeField("field", "")]
    found = evaluate_members(made, inputs, 30.0)
    assert list(found) == ["nwp", "radar", "field"]
    assert all(values.shape == (2, 50) for values in found.values())
    np.testing.assert_array_equal(found["radar"][0], inputs.predictors[:, index_of("rate")] - np.float32(0.5))
    assert np.isnan(found["nwp"][:, :20]).all()
    np.testing.assert_array_equal(found["nwp"][:, 20:], made[0].log_odds(inputs, 30.0)[:, 20:])
    np.testing.assert_array_equal(found["field"][0], inputs.departure_points[:, 0])


def test_without_any_nwp_members_with_nwp_give_nan(inputs):
    of_radar = inputs._replace(predictors=inputs.predictors[:, : len(RADAR_PREDICTORS)])
    assert np.isnan(evaluate_members([OnePredictor("nwp", "nwp_rate")], of_radar, 30.0)["nwp"]).all()


def test_rows_are_selected_by_numbers_or_by_a_mask(inputs):
    by_mask = inputs.select(np.arange(50) < 3)
    by_number = inputs.select(np.arange(3))
    for one in (by_mask, by_number):
        np.testing.assert_array_equal(one.predictors, inputs.predictors[:3])
        np.testing.assert_array_equal(one.departure_points, inputs.departure_points[:3])
        assert one.field_outputs is inputs.field_outputs


def test_a_member_that_works_on_the_whole_field_is_told_from_others():
    assert isinstance(WholeField("field", ""), FieldMember)
    assert not isinstance(OnePredictor("radar", "rate"), FieldMember)


def test_a_new_kind_is_stored_and_loaded_by_its_entry_in_the_list(tmp_path, monkeypatch, inputs):
    members: dict[str, Member] = {name: OnePredictor(name, "rate") for name in ("a", "b")}
    weights = np.array([[[0.25, 0.75, 0.0]] * 2], np.float32)
    model = TrainedModel(members, (Blend(("b", "a"), THRESHOLDS, (30.0,), weights),), 2000.0)
    monkeypatch.setitem(module.KINDS, "one predictor", OnePredictor.from_parts)
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert loaded.members == members
    log_odds = evaluate_members(reversed(loaded.members.values()), inputs, 30.0)
    np.testing.assert_array_equal(
        loaded.blend.log_odds(log_odds, 30.0),
        model.blend.log_odds(evaluate_members(members.values(), inputs, 30.0), 30.0),
    )
    assert loaded.fingerprint == model.fingerprint


def test_every_builder_has_a_name_of_its_own_and_known_predictors():
    names = [builder.name for builder in BUILDERS]
    assert len(set(names)) == len(names)
    assert {*RADAR_MEMBERS, *NWP_MEMBERS, *OPTIONAL_MEMBERS} == set(names)
    assert all(set(builder.predictors) <= set(ALL_PREDICTORS) for builder in BUILDERS)
    assert {"nwp", "fused"} <= set(NWP_MEMBERS)
    assert {"logistic", "trees", "network"} <= set(KINDS)


def test_builders_keep_the_rules_of_the_blend():
    """Without NWP rain there are radar predictors only; blends are compared with and without a member of the radar."""
    for builder in BUILDERS:
        assert uses_nwp(builder) or set(builder.predictors) <= set(RADAR_PREDICTORS), builder.name
        assert not (uses_nwp(builder) and builder.optional), builder.name
