"""exp of a buffer is numpy's exp, from zero down to where nothing is left."""

import numpy as np
import pytest

from bayes_gmm.kernels.fast_exp import exp_in_place


def fast_exp(t) -> np.ndarray:
    buffer = np.array(t, dtype=float)
    exp_in_place(buffer, np.empty_like(buffer))
    return buffer


@pytest.mark.parametrize(
    "t",
    [
        -np.linspace(0, 700, 300_001),
        -np.logspace(-320, np.log10(700), 100_001),
        -np.log(2) * (np.arange(1000) + 0.5),  # where the rounding to a power of two turns
        np.nextafter(-np.log(2) * (np.arange(1000) + 0.5), 0),
        -np.log(2) * np.arange(1000),
        -np.arange(700.0),
    ],
    ids=["even", "logarithmic", "half powers", "next to them", "powers", "integers"],
)
def test_exp_is_numpys_to_the_last_bits(t):
    t = t[t >= -700]
    assert len(t) > 500
    expected = np.exp(t)
    error = np.abs(fast_exp(t) - expected) / expected
    # With or without fused multiply-adds: where exp(u) = 0.7 its sum rounds by at most 1/4 eps, the
    # product before by 1/8, and u and the terms within by less than 1/4 together: 0.9 eps of the
    # result. NumPy may be off by a unit, 1 eps.
    assert error.max() < 2 * np.finfo(float).eps


def test_exp_of_zero_is_one_and_nothing_exceeds_it():
    assert (fast_exp([0.0, -0.0, -5e-324]) == 1.0).all()
    assert fast_exp(-np.logspace(-300, -10, 10_001)).max() <= 1.0


def test_what_lies_below_the_range_is_nothing_beside_one():
    t = np.array([-700.1, -745.0, -1e4, -1e15, -1e300, -np.inf])
    found = fast_exp(t)
    assert (found >= 0).all()
    assert (found < 1e-300).all()
    assert (1.0 + found == 1.0).all()


def test_nan_stays_nan():
    assert np.isnan(fast_exp([-1.0, np.nan, -2.0])).tolist() == [False, True, False]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 511, 512])
def test_every_entry_is_replaced_whatever_the_size(size):
    t = -np.random.default_rng(size).uniform(0, 30, size)
    np.testing.assert_allclose(fast_exp(t), np.exp(t), rtol=5e-16)


def test_neighbours_in_the_buffer_are_left_alone():
    buffer = np.full(10, -1.0)
    exp_in_place(buffer[3:6], np.empty(10))
    np.testing.assert_allclose(buffer, np.where((np.arange(10) // 3) == 1, np.exp(-1.0), -1.0))
