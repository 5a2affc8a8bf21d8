"""The small network: starts as its base, learns, sees nothing of the future, and bears any input."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridcast import estimate_motion, precipitation
from hybridcast.errors import InputError
from hybridcast.learned import network as nw
from hybridcast.learned import network_inputs as ni
from hybridcast.learned.training import network as nt
from hybridcast.learned.training.optimisation import torch_threads
from hybridcast.learned.unet import apply_unet, parameter_shapes
from hybridcast.motion.estimate import motion_dataset

torch = pytest.importorskip("torch")

MINUTE = np.timedelta64(1, "m")
START = np.datetime64("2021-06-01T12:00")
SMALL = nw.NetworkSettings(widths=(4, 6), steps=12, batch=1, crop=20, check_every=4, dropout=0.0, seeds=(0,))


def rain(rows=40, columns=56, frames=31, step=5, seed=0, shift=(0.4, 0.2), spacing=2000.0):
    """Smooth rain that moves by `shift` cells in each frame, ``(frame, y, x)``; frame 6 is the issue time."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(seed)
    big = gaussian_filter(generator.standard_normal((rows * 3, columns * 3)), 4)
    big = np.maximum(big / big.std() * 4 - 2, 0).astype(np.float32)
    y, x = np.mgrid[:rows, :columns]
    values = np.empty((frames, rows, columns), np.float32)
    for k in range(frames):
        values[k] = big[np.rint(y + rows - k * shift[1]).astype(int), np.rint(x + columns - k * shift[0]).astype(int)]
    return field(values, step, spacing)


def field(values, step=5, spacing=2000.0):
    times = START + np.arange(len(values)) * step * MINUTE
    y, x = (np.arange(n) * spacing for n in values.shape[1:])
    return precipitation(np.asarray(values, np.float32), time=times, y=y, x=x, crs=None)


def case(radar, issue=6):
    recent = radar.isel(time=slice(None, issue + 1))
    motion = estimate_motion(recent)
    later = radar.reindex(time=recent["time"].values[-1] + np.array(ni.LEADS) * MINUTE).values
    return ni.FieldCase(ni.build_network_inputs(recent, motion), ni.observe_outcome(later, recent, motion))


@pytest.fixture(scope="module")
def wet():
    return rain()


@pytest.fixture(scope="module")
def one(wet):
    return case(wet)


@pytest.fixture(scope="module")
def trained(one):
    return nt.fit_network({"a": [one]}, {"b": [case(rain(seed=1))]}, SMALL)


def untrained(one, settings=SMALL):
    parameters = {"base": nw.fit_base({"a": [one]})}
    for seed in settings.seeds:
        parameters |= {f"{seed}.{k}": v.numpy() for k, v in nt.build_unet(settings, seed).state_dict().items()}
    return nw.Network(parameters, settings)


def noisy(one, settings=SMALL):
    """A network whose last layer does something."""
    network = untrained(one, settings)
    generator = np.random.default_rng(5)
    for name, value in network.parameters.items():
        if "last" in name or "film" in name:
            network.parameters[name] = (0.3 * generator.standard_normal(value.shape)).astype(np.float32)
    return network


def test_starts_as_its_base(one):
    network = untrained(one)
    odds, change = nw.compute_correction(one.inputs, network)
    np.testing.assert_array_equal(change, 0)
    np.testing.assert_array_equal(odds, nw.base_log_odds(one.inputs.smooth, network.parameters["base"]))


def test_at_most_400_thousand_parameters():
    widths = nw.NetworkSettings().widths
    shapes = parameter_shapes(nw.CHANNELS, ni.CONDITIONS, nw.OUTPUTS, widths)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) <= 400_000


@pytest.mark.parametrize("widths", [(4, 6), (24, 32, 48, 64)])
def test_parameters_are_those_that_are_trained(widths):
    made = nt.build_unet(nw.NetworkSettings(widths=widths)).state_dict()
    expected = parameter_shapes(nw.CHANNELS, ni.CONDITIONS, nw.OUTPUTS, widths)
    assert {name: tuple(value.shape) for name, value in made.items()} == expected


@pytest.mark.parametrize("shape", [(40, 56), (37, 51), (1, 1), (3, 200)])
def test_applied_as_it_was_trained(shape):
    """Without torch, on any size of the field."""
    settings = nw.NetworkSettings(widths=(6, 9, 12))
    generator = np.random.default_rng(3)
    unet = nt.build_unet(settings, 1).eval()
    with torch.no_grad():
        for name, value in unet.named_parameters():
            if "last" in name or "film" in name or "bias" in name:
                value.copy_(torch.from_numpy(generator.standard_normal(value.shape).astype(np.float32)) * 0.3)
    planes = generator.standard_normal((nw.CHANNELS, *shape)).astype(np.float32)
    conditions = generator.standard_normal(ni.CONDITIONS).astype(np.float32)
    with torch.inference_mode():
        expected = unet(torch.from_numpy(planes)[None], torch.from_numpy(conditions)[None])[0].numpy()
    parameters = {name: value.numpy() for name, value in unet.state_dict().items()}
    found = apply_unet(parameters, planes, conditions, len(settings.widths))
    assert abs(expected).max() > 0.3
    np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())


def test_the_same_bits_for_any_number_of_threads(one, set_threads):
    network, found = noisy(one), []
    for count in (1, 3):
        set_threads(count)
        found.append(nw.compute_correction(one.inputs, network)[1])
    np.testing.assert_array_equal(*found)


def test_learns_one_case(one):
    settings = nw.NetworkSettings(
        widths=(6, 8),
        steps=60,
        batch=1,
        crop=20,
        learning_rate=1e-2,
        averaging=0.5,
        dropout=0.0,
        check_every=60,
        augment=False,
        seeds=(0,),
    )
    log: list[dict[str, float]] = []
    nt.fit_network({"a": [one]}, {"b": [one]}, settings, log)
    assert log[-1]["loss"] < 0.7 * log[-1]["base"]


def test_same_seed_same_network(one, trained):
    again = nt.fit_network({"a": [one]}, {"b": [case(rain(seed=1))]}, SMALL)
    assert set(again.parameters) == set(trained.parameters)
    for name, value in again.parameters.items():
        np.testing.assert_array_equal(value, trained.parameters[name])
    one, other = (nt.build_unet(SMALL, seed).state_dict()["stem.weight"] for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_gives_its_base_where_nothing_is_gained(one):
    # what is learned from one case is wrong for one in which it stays dry
    dry = ni.FieldCase(one.inputs, one.outcome._replace(reached=np.zeros_like(one.outcome.reached)))
    soaked = ni.FieldCase(one.inputs, one.outcome._replace(reached=np.stack([one.outcome.known] * 6, axis=1)))
    log: list[dict[str, float]] = []
    network = nt.fit_network({"a": [one, soaked]}, {"b": [dry]}, SMALL, log)
    assert min(entry["loss"] for entry in log) > log[0]["base"]
    assert not nw.compute_correction(one.inputs, network)[1].any()


# --- turning --------------------------------------------------------------------------------------------------


RIGHT_ANGLES = [
    turn @ flip
    for turn in (np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), k) for k in range(4))
    for flip in (np.eye(2), np.diag([1.0, -1.0]))
]


def taken(fields, matrix):
    """Take a whole square field in another orientation."""
    side = fields.shape[-1]
    return nt.take(fields, nt.find_sources((side, side), np.full(2, (side - 1) / 2), matrix, side))


@pytest.mark.parametrize("matrix", RIGHT_ANGLES)
def test_turned_planes_are_those_of_the_turned_field(matrix):
    """Carried out twice: on the rain and its motion, and on the planes made from them."""
    values = rain(rows=32, columns=32).values[:7]
    generator = np.random.default_rng(0)
    flow = generator.uniform(-0.5, 0.5, (2, 1, 1)) * np.ones((2, 32, 32)) + 0.01 * np.mgrid[:32, :32]
    planes = planes_of(values, flow)
    u, v = taken(flow, matrix)
    v, u = np.tensordot(np.linalg.inv(matrix), np.stack([v, u]), axes=1)
    found = planes_of(taken(values, matrix), np.stack([u, v]))
    names = [k for k, name in enumerate(ni.PLANES) if not name.startswith("filter")]
    np.testing.assert_allclose(found[names], nt.turn_motion(taken(planes, matrix), matrix)[names], atol=2e-4)


def planes_of(values, flow):
    recent = field(np.ascontiguousarray(values))
    motion = motion_dataset(
        np.ascontiguousarray(flow, dtype=np.float32), recent, 5 * MINUTE, method="set", status="estimated"
    )
    return ni.build_network_inputs(recent, motion).planes


def test_right_angles_keep_every_value_and_are_all_different():
    values = np.arange(9.0).reshape(3, 3)
    made = [taken(values, matrix) for matrix in RIGHT_ANGLES]
    assert all(sorted(one.ravel()) == sorted(values.ravel()) for one in made)
    assert len({one.tobytes() for one in made}) == 8


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40), columns=st.integers(1, 40))
def test_turned_crops_hold_values_of_the_field_and_keep_speeds_but_for_the_zoom(seed, rows, columns):
    generator = np.random.default_rng(seed)
    settings = nw.NetworkSettings()
    matrix = nt.draw_orientation(settings, generator)
    scale = np.sqrt(abs(np.linalg.det(matrix)))
    assert 1 / settings.zoom <= scale <= settings.zoom
    planes = generator.random((len(ni.PLANES), rows, columns)).astype(np.float32)
    planes[nt._SPEED] = np.hypot(planes[nt._U], planes[nt._V])
    sources = nt.find_sources((rows, columns), np.array([rows / 2, columns / 2]), matrix, 16)
    made = nt.turn_motion(nt.take(planes, sources), matrix)
    beyond = sources < 0
    assert not made[:, beyond].any()
    assert np.isin(made[0][~beyond], planes[0]).all()
    np.testing.assert_allclose(made[nt._SPEED], nt.take(planes, sources)[nt._SPEED] / scale, rtol=1e-4, atol=1e-5)


def test_without_augmentation_nothing_is_turned():
    settings = nw.NetworkSettings(augment=False)
    assert (nt.draw_orientation(settings, np.random.default_rng(0)) == np.eye(2)).all()


# --- what it sees ---------------------------------------------------------------------------------------------


def test_later_frames_change_nothing(wet):
    changed = wet.copy(data=np.where(np.arange(wet.sizes["time"])[:, None, None] > 6, 50.0, wet.values))
    for a, b in zip(case(wet).inputs, case(changed).inputs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_outcome_follows_the_rain():
    """Rain that only moves is where it went: what was wet is wet at all lead times, as far as it stays inside."""
    radar = rain(rows=64, columns=64, frames=31, shift=(0.5, -0.25))
    recent = radar.isel(time=slice(None, 7))
    flow = np.ones((2, 64, 64), np.float32) * np.array([0.5, -0.25], np.float32)[:, None, None]
    motion = motion_dataset(flow, recent, 5 * MINUTE, method="set", status="estimated")
    later = radar.reindex(time=recent["time"].values[-1] + np.array(ni.LEADS) * MINUTE).values
    found = ni.observe_outcome(later, recent, motion)
    now = (recent.values[-1] >= 1).reshape(32, 2, 32, 2).sum(axis=(1, 3))
    for lead in range(len(ni.LEADS)):
        inside = found.known[lead] == 4
        assert 0.5 < inside.mean() < 1
        # the field is moved in whole cells: borders of rain may be off by one
        assert np.abs(found.reached[lead, 2] - now.astype(float))[inside].mean() < 0.3
    assert not found.known[-1][:, -1].any()  # it has left to the east


def test_unknown_is_not_dry(wet):
    values = wet.values.copy()
    values[:, :, :20] = np.nan
    made = case(field(values))
    assert np.isfinite(made.inputs.planes).all()
    known = made.inputs.planes[ni.PLANES.index("known")]
    assert not known[:, :10].any()
    assert known[:, 10:].all()
    assert (made.outcome.reached <= made.outcome.known[:, None]).all()
    assert not made.outcome.known[0, :, :8].any()  # in 15 min the rain moves by about a cell


def test_outcome_counts_only_what_is_seen(wet):
    recent = wet.isel(time=slice(None, 7))
    later = np.full((8, 40, 56), np.nan, np.float32)
    found = ni.observe_outcome(later, recent, estimate_motion(recent))
    assert not found.known.any()
    assert not found.reached.any()


# --- any input ------------------------------------------------------------------------------------------------


def odd_fields():
    generator = np.random.default_rng(0)
    plain = rain(rows=23, columns=37).values[:7]
    holes = np.where(generator.random(plain.shape) < 0.4, np.nan, plain)
    late = plain.copy()
    late[-1] = np.nan
    early = plain.copy()
    early[1:4] = np.nan
    return {
        "odd size": field(plain),
        "8 x 8": field(plain[:, :8, :8]),
        "9 x 30": field(plain[:, :9, :30]),
        "dry": field(plain * 0),
        "unknown": field(plain * np.nan),
        "holes": field(holes),
        "newest missing": field(late),
        "some missing": field(early),
        "one frame": field(plain[-1:]),
        "two frames": field(plain[-2:]),
        "15 min": field(plain[-3:], step=15),
        "1 min": field(plain, step=1),
        "1 km": field(plain, spacing=1000.0),
        "10 km": field(plain, spacing=10_000.0),
    }


@pytest.mark.parametrize("name", odd_fields())
def test_any_field(one, name):
    recent = odd_fields()[name]
    inputs = ni.build_network_inputs(recent, estimate_motion(recent))
    assert np.isfinite(inputs.planes).all()
    odds = nw.apply_network(inputs, noisy(one)).log_odds
    assert odds.shape == (8, 6, *inputs.planes.shape[1:])
    assert np.isfinite(odds).all()
    assert (np.diff(odds, axis=1) <= 0).all()


# --- at places ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said(one):
    return nw.apply_network(one.inputs, noisy(one))


def test_in_the_middle_of_a_block_it_says_what_the_block_says(said):
    """A block of 2 x 2 cells has its middle half a cell beyond its first."""
    assert said.block == 2
    rows, columns = said.log_odds.shape[2:]
    y, x = np.mgrid[:rows, :columns].reshape(2, -1)
    found = said.at(np.column_stack([y, x]) * 2 + 0.5, 45.0)
    np.testing.assert_allclose(found, said.log_odds[2].reshape(6, -1), atol=1e-5)


def test_between_lead_times_it_is_between_and_beyond_them_held(said):
    places = np.array([[3.2, 7.9], [20.0, 11.5]])
    half = (said.at(places, 30.0) + said.at(places, 45.0)) / 2
    np.testing.assert_allclose(said.at(places, 37.5), half, atol=1e-5)
    np.testing.assert_array_equal(said.at(places, 1.0), said.at(places, 15.0))
    np.testing.assert_array_equal(said.at(places, 500.0), said.at(places, 120.0))


def test_beyond_the_edge_the_edge_holds(said):
    inside, outside = said.at(np.array([[0.0, 0.0]]), 60.0), said.at(np.array([[-40.0, -3.0]]), 60.0)
    np.testing.assert_array_equal(inside, outside)


def test_shifted_rain_has_shifted_odds(wet, one):
    """By whole blocks; the edges are not the same, so nearly."""
    recent = wet.isel(time=slice(None, 7))
    flow = np.zeros((2, 40, 56), np.float32)
    still = motion_dataset(flow, recent, 5 * MINUTE, method="set", status="estimated")
    moved = recent.copy(data=np.roll(recent.values, 4, axis=2))
    a = nw.apply_network(ni.build_network_inputs(recent, still), noisy(one)).at(np.array([[20.5, 24.5]]), 60.0)
    b = nw.apply_network(ni.build_network_inputs(moved, still), noisy(one)).at(np.array([[20.5, 28.5]]), 60.0)
    np.testing.assert_allclose(a, b, atol=0.15)


# --- training -------------------------------------------------------------------------------------------------


def test_a_window_of_a_large_field_is_one_of_its_wetter_ones(one):
    cut = nt.cut_window(one, 12, np.random.default_rng(0))
    assert cut.inputs.planes.shape == (len(ni.PLANES), 12, 12)
    assert cut.outcome.reached.shape == (8, 6, 12, 12)
    wet = ni.PLANES.index("wet")
    assert cut.inputs.planes[wet].mean() >= one.inputs.planes[wet].mean()
    assert nt.cut_window(one, 100, np.random.default_rng(0)) is one


def test_events_are_not_in_both(one):
    with pytest.raises(InputError, match="in both"):
        nt.fit_network({"a": [one]}, {"a": [one]}, SMALL)
    with pytest.raises(InputError, match="in both"):
        nt.fit_network({"a": [one]}, {"b": []}, SMALL)


def test_settings_make_a_network():
    with pytest.raises(InputError, match="seed"):
        nw.NetworkSettings(seeds=())


@pytest.mark.parametrize("change", ["missing", "shape", "more"])
def test_parameters_that_are_not_those_of_the_settings(trained, change):
    parameters = dict(trained.parameters)
    if change == "missing":
        del parameters["0.last.bias"]
    elif change == "shape":
        parameters["0.last.bias"] = parameters["0.last.bias"][:-1]
    else:
        parameters["1.last.bias"] = parameters["0.last.bias"]
    with pytest.raises(InputError, match=r"last\.bias"):
        nw.Network(parameters, SMALL)


def test_base_is_calibrated(one):
    """Mean probability of the base and the observed share agree on what it was fitted to: it has an intercept."""
    base = nw.fit_base({"a": [one]}, cells=10_000)
    chance = 1 / (1 + np.exp(-nw.base_log_odds(one.inputs.smooth, base).astype(np.float64)))
    for lead in range(len(ni.LEADS)):
        known = one.outcome.known[lead].astype(float)
        for t in (0, 2):
            expected = one.outcome.reached[lead, t].sum() / known.sum()
            assert (chance[lead, t] * known).sum() / known.sum() == pytest.approx(expected, abs=0.02)


def test_torch_is_imported_late():
    code = (
        "import sys, hybridcast.learned.network, hybridcast.learned.training.network; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_contexts_of_several_threads_leave_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()

    def limit(count):
        with torch_threads(count):
            time.sleep(0.002 * count)
            return torch.get_num_threads()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(limit, [1, 2, 3, 1])) == [1, 2, 3, 1]
    with ThreadPoolExecutor(1) as another:  # a new thread starts with the number of the process
        assert another.submit(torch.get_num_threads).result() == before
