"""Early fusion: tokens as they lie, a network that falls along the thresholds and bears what is missing, training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from early_fusion import tokens as tk
from early_fusion.token_samples import draw_token_samples, load_token_samples, save_token_samples

from helpers import synthetic
from hybridcast.datasets.events import load_events
from hybridcast.errors import InputError
from hybridcast.learned.training.samples import Samples, Sampling, build_view
from hybridcast.motion.estimate import DenseFlow
from hybridcast.nwp.schema import nwp_fields
from hybridcast.predictors.registry import ALL_PREDICTORS, RADAR_PREDICTORS
from hybridcast.predictors.sources import Sources
from hybridcast.predictors.state import departure_points
from hybridcast.stations import station_reports

torch = pytest.importorskip("torch")

from early_fusion import attention as at  # noqa: E402
from early_fusion import attention_training as att  # noqa: E402

MINUTE = np.timedelta64(1, "m")
LEADS = (np.array([30, 60]) * 60e9).astype("timedelta64[ns]")
SMALL = at.AttentionSettings(width=8, steps=60, batch=256, check_every=20, seeds=(0, 1))
CELLS = np.array([[30, 34], [20, 40], [40, 22]], np.int32)


@pytest.fixture(scope="module")
def recent():
    """Rain that moves along the columns, two cells of 2 km in a step of 5 min."""
    return synthetic.rain((60, 66), synthetic.translation(2.0, 0.0), frames=7, spacing=2000.0, cell=5.0)


@pytest.fixture(scope="module")
def flow(recent):
    """The motion itself: tokens are looked at where it says exactly."""
    motion = DenseFlow().estimate(recent)
    u, v = np.full(recent.shape[1:], 4000 / 300, np.float32), np.zeros(recent.shape[1:], np.float32)
    return motion.assign(u=motion.u.copy(data=u), v=motion.v.copy(data=v))


class Fixed:
    """A motion that is known."""

    name = "known"

    def __init__(self, flow):
        self.flow = flow

    def estimate(self, recent):
        return self.flow


def heard(recent, flow, sources):
    view = build_view(recent, LEADS, Fixed(flow), sources)
    return view, tk.build_token_sources(recent, view.state, sources)


def gauges(recent, at):
    at = np.asarray(at)
    rates = np.full((len(at), recent.sizes["time"]), 4.0)
    places = {"y": recent.y.values[at[:, 0]], "x": recent.x.values[at[:, 1]]}
    names = [f"g{k}" for k in range(len(at))]
    return station_reports(rates, station=names, time=recent["time"].values, interval=5 * MINUTE, coords=places)


def model(recent, rate):
    """One run whose rain is `rate`, shape ``(y, x)``, at all times."""
    leads = np.arange(0, 361, 15) * MINUTE
    start = recent["time"].values[-1] - 180 * MINUTE
    values = np.broadcast_to(rate, (1, leads.size, *rate.shape))
    return nwp_fields(
        {"precipitation_rate": values},
        reference_time=[start],
        lead_time=leads,
        y=recent.y.values,
        x=recent.x.values,
        crs=None,
    )


# --- tokens ---------------------------------------------------------------------------------------------------


def test_stations_lie_along_and_across_the_track_from_where_the_air_comes(recent, flow):
    """At 30 min the air is 12 cells further along the columns: a gauge there lies 24 km behind where it will be."""
    view, known = heard(recent, flow, Sources(stations=gauges(recent, [[30, 22], [30, 32], [40, 22]])))
    places = departure_points(view.state, CELLS[:1])[0]
    found = tk.build_tokens(known, 0, places, CELLS[:1]).stations[0]
    column = {name: found[:3, k] for k, name in enumerate(tk.STATION)}
    np.testing.assert_allclose(places, [[30, 22]], atol=0.05)
    np.testing.assert_allclose(column["distance"], [0, 20, 20], atol=0.2)
    np.testing.assert_allclose(sorted(column["along"]), [0, 0, 20], atol=0.2)
    np.testing.assert_allclose(sorted(np.abs(column["across"])), [0, 0, 20], atol=0.2)
    np.testing.assert_allclose(column["rate"], 10 * np.log10(4), atol=1e-3)
    assert np.isnan(found[3:]).all()


def test_model_tokens_are_around_the_target_then_and_around_the_origin_now(recent, flow):
    rate = np.zeros(recent.shape[1:], np.float32)
    rate[26:35, 30:39] = 10.0  # 9 cells wide: all of the mean within 8 km around the first target
    view, known = heard(recent, flow, Sources(nwp=model(recent, rate)))
    places = departure_points(view.state, CELLS)[0]
    found = tk.build_tokens(known, 0, places, CELLS).nwp[0]
    middle = tk.OFFSETS.tolist().index([0, 0])
    ahead = tk.OFFSETS.tolist().index([16, 0])
    ahead_far = tk.OFFSETS.tolist().index([32, 0])
    valid, issue, radar = (found[:, tk.NWP.index(name)] for name in tk.NWP)
    assert valid[middle] == pytest.approx(20, abs=0.1)
    assert valid[ahead] < 5
    # the block lies 24 km ahead of the origin: half of it in the token 16 km ahead, half in that of 32 km
    assert issue[middle] < 1
    assert issue[ahead] == pytest.approx(10, abs=2)
    assert issue[ahead_far] == pytest.approx(10, abs=2)
    level = 10 * np.log10(np.maximum(recent.values[-1], 0.1) / 0.1)
    assert radar[middle] == pytest.approx(level[26:35, 18:27].mean(), abs=0.5)


def test_without_sources_there_are_no_tokens_and_beyond_the_grid_neither(recent, flow):
    view, known = heard(recent, flow, Sources())
    places = departure_points(view.state, CELLS)[1]
    assert all(np.isnan(part).all() for part in tk.build_tokens(known, 1, places, CELLS))
    corner = np.array([[0, 0]], np.int32)
    _, known = heard(recent, flow, Sources(nwp=model(recent, np.ones(recent.shape[1:], np.float32))))
    found = tk.build_tokens(known, 0, corner.astype(np.float32), corner).nwp[0, :, 0]
    assert 0 < np.isfinite(found).sum() < len(found)


def test_tokens_see_nothing_after_the_issue_time(recent, flow):
    """Reports that are later than the last frame change nothing."""
    reports = gauges(recent, [[30, 22]])
    later = reports.assign_coords(time=reports["time"] + 60 * MINUTE)
    later = later.assign(precipitation_rate=later.precipitation_rate.copy(data=9 * later.precipitation_rate.values))
    both = xr.concat([reports, later], "time", combine_attrs="override")
    made = [
        tk.build_tokens(known, 0, departure_points(view.state, CELLS)[0], CELLS).stations
        for view, known in (heard(recent, flow, Sources(stations=one)) for one in (reports, both))
    ]
    np.testing.assert_array_equal(*made)


# --- the network ----------------------------------------------------------------------------------------------


def untrained(settings=SMALL, seed=0):
    """A network at random, its last layer too."""
    generator = np.random.default_rng(seed)
    parameters = {"scaling": np.stack([np.zeros(len(at.PREDICTORS)), np.ones(len(at.PREDICTORS))]).astype(np.float32)}
    for own in settings.seeds:
        made = {
            k: v.numpy() for k, v in at.build_network(settings, own, np.geomspace(0.3, 0.01, 6)).state_dict().items()
        }
        made["last.weight"] = generator.normal(0, 0.3, made["last.weight"].shape).astype(np.float32)
        parameters |= {f"{own}.{name}": value for name, value in made.items()}
    return at.CrossAttention(parameters, settings)


def rows_and_tokens(count=200, seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.normal(0, 1, (count, len(ALL_PREDICTORS))).astype(np.float32)
    rows[generator.random(rows.shape) < 0.1] = np.nan
    stations = generator.normal(0, 5, (count, tk.NEAREST, len(tk.STATION))).astype(np.float32)
    nwp = generator.normal(0, 5, (count, tk.SIDE**2, len(tk.NWP))).astype(np.float32)
    return rows, tk.Tokens(stations, nwp)


def test_the_network_is_small_and_no_larger_one_is_made():
    assert at.count_parameters(at.AttentionSettings()) <= at.MAX_PARAMETERS == 500_000
    network = at.build_network(SMALL, 0, np.full(6, 0.1))
    assert sum(value.numel() for value in network.state_dict().values()) == at.count_parameters(SMALL)
    with pytest.raises(InputError, match="500000 at most"):
        at.AttentionSettings(width=160, layers=4)


@pytest.mark.parametrize("wrong", [{"width": 9}, {"heads": 0}, {"seeds": ()}])
def test_settings_that_make_no_network_are_refused(wrong):
    with pytest.raises(InputError):
        replace(SMALL, **wrong)


def test_attention_is_that_of_the_textbook():
    """A layer without its feed-forward part adds the attention to each kind of tokens in turn, without absent ones."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 8, generator=generator)
    tokens = {kind: torch.randn(5, 4, 8, generator=generator) for kind in at.KINDS}
    there = torch.tensor([[1, 0, 1], [1, 1, 1], [0, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=torch.bool)
    present = torch.cat([there, torch.ones(5, 1, dtype=torch.bool)], 1)
    layer = at.AttentionLayer(width=8, heads=2, dropout=0.0).eval()
    torch.nn.init.zeros_(layer.feed_forward[-1].weight)
    torch.nn.init.zeros_(layer.feed_forward[-1].bias)
    found = layer(x, tokens, dict.fromkeys(at.KINDS, ~present))
    wanted, asking = x, layer.norm(x)[:, None]
    for kind in at.KINDS:
        own = layer.attention[kind]
        weights, biases = own.in_proj_weight.chunk(3), own.in_proj_bias.chunk(3)
        q, k, v = (
            (part @ weight.T + bias).reshape(5, -1, 2, 4).transpose(1, 2)
            for part, weight, bias in zip((asking, tokens[kind], tokens[kind]), weights, biases, strict=True)
        )
        alike = (q @ k.transpose(-1, -2) / 2).masked_fill(~present[:, None, None], -torch.inf)
        mean = (alike.softmax(dim=-1) @ v).transpose(1, 2).reshape(5, 8)
        wanted = wanted + mean @ own.out_proj.weight.T + own.out_proj.bias
    torch.testing.assert_close(found, wanted)


def test_odds_fall_along_the_thresholds_and_are_finite_whatever_is_missing():
    network = untrained()
    rows, tokens = rows_and_tokens()
    for stations in (False, True):
        for nwp in (False, True):
            odds = network.scores(rows, tk.drop_sources(tokens, stations=stations, nwp=nwp))
            assert odds.shape == (6, 200)
            assert np.isfinite(odds).all()
            assert (np.diff(odds, axis=0) < 0).all()
    nothing = np.full_like(rows, np.nan)
    assert np.isfinite(network.scores(nothing, tk.drop_sources(tokens, stations=True, nwp=True))).all()


def test_each_source_has_a_say_and_an_absent_one_has_none():
    network = untrained()
    rows, tokens = rows_and_tokens()
    whole = network.scores(rows, tokens)
    assert np.abs(network.scores(rows, tk.drop_sources(tokens, stations=True)) - whole).max() > 1e-3
    assert np.abs(network.scores(rows, tk.drop_sources(tokens, nwp=True)) - whole).max() > 1e-3
    # a token that is not there may hold anything
    absent = tokens.stations.copy()
    absent[:, 2:] = np.nan
    other = absent.copy()
    other[:, 2:, :-1] = 77.0  # its distance, by which it is there, stays NaN
    first, second = (network.scores(rows, tokens._replace(stations=values)) for values in (absent, other))
    np.testing.assert_array_equal(first, second)


def test_order_of_stations_does_not_matter():
    network = untrained()
    rows, tokens = rows_and_tokens()
    turned = tokens._replace(stations=np.ascontiguousarray(tokens.stations[:, ::-1]))
    np.testing.assert_allclose(network.scores(rows, turned), network.scores(rows, tokens), atol=1e-4)


def test_rows_of_the_radar_alone_are_like_rows_whose_sources_are_missing():
    network = untrained()
    rows, tokens = rows_and_tokens()
    nothing = tk.drop_sources(tokens, stations=True, nwp=True)
    missing = rows.copy()
    missing[:, len(RADAR_PREDICTORS) :] = np.nan
    np.testing.assert_array_equal(
        network.scores(rows[:, : len(RADAR_PREDICTORS)], nothing), network.scores(missing, nothing)
    )


def test_a_network_comes_back_from_disk_without_pickle(tmp_path):
    network = untrained()
    path = at.save_attention(network, tmp_path / "early.safetensors")
    again = at.load_attention(path)
    rows, tokens = rows_and_tokens(20)
    np.testing.assert_array_equal(again.scores(rows, tokens), network.scores(rows, tokens))
    assert again.settings == network.settings
    assert b"pickle" not in path.read_bytes()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="save_attention"):
        at.load_attention(path)
    with pytest.raises(InputError, match="save_attention"):
        at.load_attention(tmp_path / "none.safetensors")


def test_parameters_of_another_network_are_refused():
    network = untrained()
    with pytest.raises(InputError, match="has the shape"):
        at.CrossAttention(network.parameters, replace(SMALL, width=10))


# --- training -------------------------------------------------------------------------------------------------


def told(seed, count=1500):
    """Rows whose outcome depends on one predictor and on what the stations around say together."""
    rows, tokens = rows_and_tokens(count, seed)
    generator = np.random.default_rng(seed)
    level = np.nan_to_num(rows[:, RADAR_PREDICTORS.index("mean_8")]) + tokens.stations[..., 0].mean(axis=1) / 2
    observed = (10 ** ((level + generator.normal(0, 0.3, count)) / 2 - 0.5)).astype(np.float32)
    ones = np.ones(count, np.float32)
    case = np.zeros(count, np.int32)
    samples = Samples(rows, observed, ones, 30 * ones, case, np.zeros((count, 2), np.float32))
    return att.EventTokens(samples, tokens, ones)


@pytest.fixture(scope="module")
def trained():
    log = []
    settings = replace(SMALL, steps=240, learning_rate=5e-3, dropout=0.0, seeds=(0,))
    return att.fit_attention([told(0), told(1)], [told(2)], settings, log), log


def cross_entropy(network, of, tokens):
    odds = network.scores(of.samples.predictors, tokens)
    reached = of.samples.observed >= np.array(at.THRESHOLDS, np.float32)[:, None]
    return float((np.logaddexp(0, odds) - reached * odds).sum(axis=0).mean())


def test_training_learns_from_radar_and_stations(trained):
    network, log = trained
    new = told(3)
    reached = (new.samples.observed >= np.array(at.THRESHOLDS, np.float32)[:, None]).mean(axis=1)
    usual = -(reached * np.log(reached) + (1 - reached) * np.log(1 - reached)).sum()
    bare = cross_entropy(network, new, tk.drop_sources(new.tokens, stations=True, nwp=True))
    assert log[-1]["loss"] < log[0]["loss"]
    assert bare < 0.97 * usual
    assert cross_entropy(network, new, new.tokens) < 0.9 * bare


def test_training_is_the_same_each_time():
    made = [att.fit_attention([told(0, 300)], [told(2, 200)], replace(SMALL, steps=10)) for _ in range(2)]
    for name, value in made[0].parameters.items():
        np.testing.assert_array_equal(value, made[1].parameters[name])


def test_training_needs_something_to_stop_by():
    with pytest.raises(InputError, match="Keep an event out"):
        att.fit_attention([told(0, 100)], [], SMALL)


# --- samples --------------------------------------------------------------------------------------------------


def test_samples_have_tokens_row_by_row_and_come_back_from_disk(archive, tmp_path):
    event = load_events(archive)[0]
    sampling = Sampling(leads=(15, 30, 60), cells=40, cases=2)
    drawn = draw_token_samples(event, sampling)
    rows = drawn.samples.lead.size
    assert rows == drawn.tokens.stations.shape[0] == drawn.tokens.nwp.shape[0] == drawn.biased.size > 200
    # the middle model token at the valid time is the plane that late fusion has, at the same row
    middle = tk.OFFSETS.tolist().index([0, 0])
    plane = drawn.samples.predictors[:, ALL_PREDICTORS.index("nwp_mean_8")]
    np.testing.assert_allclose(drawn.tokens.nwp[:, middle, 0], plane, atol=1e-3)
    assert np.isfinite(drawn.tokens.stations[..., -1]).any()
    assert set(np.unique(drawn.samples.case[drawn.biased])) == {1}
    save_token_samples(drawn, tmp_path / "a.npz")
    again = load_token_samples(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.samples.predictors, drawn.samples.predictors)
    np.testing.assert_allclose(again.tokens.nwp, drawn.tokens.nwp, rtol=1e-3, atol=1e-3)


def test_a_simulated_bias_changes_what_is_seen_and_not_what_is_compared_with_it(archive):
    """The second case is biased: its observations are those of the archive."""
    from hybridcast.datasets.events import issue_times, load_event_radar

    event = load_events(archive)[0]
    sampling = Sampling(leads=(15, 30), cells=40, cases=2)
    drawn = draw_token_samples(event, sampling)
    radar = load_event_radar(event)
    issue = issue_times(radar, event, min_interval=np.timedelta64(sampling.min_interval, "m"), max_count=2)[1]
    then = radar.sel(time=issue + 15 * MINUTE).values
    mine = drawn.biased & (drawn.samples.lead == 15)
    assert mine.any()
    assert np.isin(drawn.samples.observed[mine], then).all()
