"""Fields of a fused forecast in one pass, against advection, carried planes and rank transforms one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast_kernels.advection_cpu import advect
from hybridcast_kernels.fused_cpu import Fields, Latest, Planes, Ranked, fuse
from hybridcast_kernels.planes_cpu import carry
from hybridcast_kernels.scales_cpu import add_squared_rates, apply_rank_transforms, rank_transforms

LEADS = np.array([5.0, 10.0, 30.0], np.float32)
FACTOR, OFFSET = 4, 1.5


def scene(fine=(70, 150), seed=0):
    generator = np.random.default_rng(seed)
    frame = np.where(generator.random(fine) < 0.3, generator.gamma(1.0, 3.0, fine), 0).astype(np.float32)
    frame[:20, 30:60] = np.nan
    y, x = np.mgrid[: fine[0], : fine[1]] / max(fine)
    flow = 0.4 * np.stack([1 - y, 0.5 + x]).astype(np.float32)
    coarse = -(-fine[0] // FACTOR), -(-fine[1] // FACTOR)
    planes = generator.random((3, LEADS.size, *coarse)).astype(np.float32) + np.float32(0.1)
    fields = np.log2(generator.random((LEADS.size, *fine)).astype(np.float32) + np.float32(0.1))
    wet = [np.sort(generator.gamma(1.0, 3.0, 400).astype(np.float32))[::-1] for _ in LEADS]
    transforms = rank_transforms(fields, frame, wet)
    latest = Latest(frame, flow, LEADS, 15.0)
    return latest, Planes(planes, FACTOR, OFFSET), Ranked(np.full(LEADS.size, 0.01, np.float32), transforms)


def empty(latest, planes, rows):
    shape = LEADS.size, rows.stop - rows.start, latest.frame.shape[1]
    return Fields(*(np.full(of, -1, np.float32) for of in (shape, shape, (len(planes.values) - 1, *shape))))


def made(latest, planes, ranked, rows, **options):
    return fuse(latest, planes, ranked, rows, empty(latest, planes, rows), **options)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_what_the_separate_steps_give(set_threads, threads):
    set_threads(threads)
    latest, planes, ranked = scene()
    found = made(latest, planes, ranked, slice(0, 70))
    advected = advect(latest.frame[None], latest.flow, LEADS, longest_step=15.0)[0]
    carried = carry(planes.values, FACTOR, OFFSET, latest.flow, LEADS, advected, longest_step=15.0)
    rate = apply_rank_transforms(add_squared_rates(carried[0], advected, ranked.factors), ranked.transforms)
    np.testing.assert_allclose(found.advected, advected, atol=1e-5)
    np.testing.assert_allclose(found.planes, carried[1:], atol=1e-5)
    np.testing.assert_allclose(found.rate, rate, atol=5e-3)
    assert np.isnan(found.rate).any()
    assert (found.rate > 0).any()


def test_bands_are_parts_of_the_whole():
    latest, planes, ranked = scene()
    whole = made(latest, planes, ranked, slice(0, 70))
    for rows in (slice(0, 1), slice(13, 40), slice(40, 70)):
        for part, field in zip(made(latest, planes, ranked, rows), whole, strict=True):
            np.testing.assert_array_equal(part, field[..., rows, :])


def test_a_frame_that_is_advected_already_is_used():
    latest, planes, ranked = scene()
    rows = slice(0, 70)
    out = empty(latest, planes, rows)._replace(advected=np.full((3, 70, 150), np.nan, np.float32))
    out.advected[:, 5] = 100.0
    fuse(latest, planes, ranked, rows, out, sampled=False)
    assert np.isfinite(out.rate[:, 5]).all()
    assert np.isnan(np.delete(out.rate, 5, axis=1)).all()
    assert np.isnan(np.delete(out.planes, 5, axis=2)).all()


@pytest.mark.parametrize("rows", [slice(0, 71), slice(-1, 3), slice(3, 3)])
def test_rows_outside_of_the_grid_are_refused(rows):
    latest, planes, ranked = scene()
    with pytest.raises(ValueError, match="rows"):
        made(latest, planes, ranked, rows)


def test_shapes_that_do_not_fit_are_refused():
    latest, planes, ranked = scene()
    rows = slice(0, 70)
    with pytest.raises(ValueError, match="one for each"):
        made(latest, planes._replace(values=planes.values[:, :2]), ranked, rows)
    with pytest.raises(ValueError, match="increase"):
        made(latest._replace(leads=LEADS[::-1].copy()), planes, ranked, rows)
    with pytest.raises(ValueError, match="out is"):
        fuse(latest, planes, ranked, rows, empty(latest, planes, slice(0, 69)))
