"""Noise on the lattice: distribution, correlation, and values that depend on place, time, member and seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from hybridcast_kernels.lattice_noise_cpu import LatticeTime, LatticeWindow, lattice_noise, octave_variances

OCTAVES = 5
WINDOW = LatticeWindow(-37, 12, 150, 130)


def amplitudes(octave):
    """Return amplitudes of one octave alone; the last number is that of the constant."""
    found = np.zeros(OCTAVES + 1, np.float32)
    found[octave] = 1
    return found


def at(minutes, spacing=10.0):
    return LatticeTime.at(minutes, np.full(OCTAVES + 1, spacing))


@pytest.mark.parametrize("octave", range(OCTAVES))
def test_the_variance_of_an_octave_is_the_one_declared(octave):
    noise = lattice_noise(WINDOW, 60, 0, amplitudes(octave), at(13.0))
    down = octave_variances(WINDOW.first_row, WINDOW.rows, OCTAVES)[octave]
    across = octave_variances(WINDOW.first_column, WINDOW.columns, OCTAVES)[octave]
    ratio = (noise**2).mean(axis=0) / (down[:, None] * across)
    independent = 60 * 150 * 130 / 4**octave
    assert abs(ratio.mean() - 1) < 8 * np.sqrt(2 / independent)
    assert abs(noise.mean()) < 8 * np.sqrt(1 / independent)


def test_the_constant_is_the_same_everywhere_and_standard():
    noise = lattice_noise(LatticeWindow(0, 0, 3, 4), 4000, 0, amplitudes(OCTAVES), at(13.0))
    assert (noise == noise[:, :1, :1]).all()
    assert abs(noise[:, 0, 0].mean()) < 0.08
    assert abs(noise[:, 0, 0].std() - 1) < 0.06


def test_it_is_nearly_gaussian():
    every = np.full(OCTAVES + 1, 0.5, np.float32)
    noise = lattice_noise(LatticeWindow(0, 0, 64, 64), 1500, 3, every, at(4.0))[:, ::16, ::16]
    standard = noise / noise.std(axis=0)
    assert abs((standard**4).mean() - 3) < 0.2
    assert abs((standard > 2.3263).mean() - 0.01) < 0.002


@pytest.mark.parametrize("distance", [1, 2, 4, 8, 16, 32])
def test_octaves_are_correlated_over_their_spacing(distance):
    for octave in range(OCTAVES):
        noise = lattice_noise(LatticeWindow(0, 0, 96, 96), 60, 1, amplitudes(octave), at(0.0))
        product = (noise[:, :, distance:] * noise[:, :, :-distance]).mean() / (noise**2).mean()
        if distance <= 2**octave / 4:
            assert product > 0.9
        if distance >= 4 * 2**octave:
            assert abs(product) < 0.1


@pytest.mark.parametrize("lag", [0.0, 5.0, 10.0, 15.0, 20.0, 35.0])
def test_memory_ends_after_two_knots(lag):
    """The correlation is that of the kernel cos(pi x / 2), averaged over the phase between knots."""
    found = []
    for start in np.arange(0.0, 10.0, 1.0):
        times = (at(start), at(start + lag))
        one, other = (lattice_noise(LatticeWindow(0, 0, 64, 64), 4, 5, amplitudes(0), time) for time in times)
        found.append((one * other).mean())
    x = min(lag / 10, 2.0)
    expected = (1 - x / 2) * np.cos(np.pi * x / 2) + np.sin(np.pi * x / 2) / np.pi
    assert abs(np.mean(found) - expected) < 0.03


def test_a_value_depends_on_place_and_member_alone(set_threads):
    every = np.full(OCTAVES + 1, 0.4, np.float32)
    set_threads(2)
    whole = lattice_noise(WINDOW, 7, 11, every, at(42.0))
    set_threads(1)
    part = lattice_noise(LatticeWindow(-20, 40, 33, 1), 3, 11, every, at(42.0))
    np.testing.assert_array_equal(part, whole[:3, 17:50, 28:29])


def test_seeds_members_and_times_differ():
    every = np.full(OCTAVES + 1, 0.4, np.float32)
    noise = lattice_noise(WINDOW, 2, 0, every, at(0.0))
    others = [noise[1], lattice_noise(WINDOW, 1, 1, every, at(0.0))[0], lattice_noise(WINDOW, 1, 0, every, at(50.0))[0]]
    for other in others:
        assert abs(np.corrcoef(noise[0].ravel(), other.ravel())[0, 1]) < 0.3


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_any_window(shape):
    every = np.full(13, 0.3, np.float32)
    window = LatticeWindow(10**6, -(10**6), *shape)
    noise = lattice_noise(window, 2, 0, every, LatticeTime.at(1e4, np.full(13, 3.0)))
    assert noise.shape == (2, *shape)
    assert np.isfinite(noise).all()
