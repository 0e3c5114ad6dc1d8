"""Permanents are sums over all permutations."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from scipy.special import logsumexp

from bayes_gmm.kernels.permanents import log_permanents


def by_definition(log_entries):
    size = len(log_entries)
    return logsumexp([log_entries[range(size), order].sum() for order in permutations(range(size))])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_a_permanent_is_the_sum_over_all_permutations(size, spread):
    log_entries = spread * np.random.default_rng(size).normal(size=(20, size, size))
    expected = [by_definition(one) for one in log_entries]
    np.testing.assert_allclose(log_permanents(log_entries), expected, rtol=1e-12)


def test_the_size_of_rows_and_columns_cancels_nothing():
    """Densities may be beyond the range of float64, by a factor of each row and column."""
    rng = np.random.default_rng(0)
    log_entries, of_rows, of_columns = rng.normal(size=(4, 4)), *rng.normal(scale=1e5, size=(2, 4))
    moved = log_entries + of_rows[:, None] + of_columns
    expected = by_definition(log_entries) + of_rows.sum() + of_columns.sum()
    assert log_permanents(moved[None])[0] == pytest.approx(expected, rel=1e-12)


def test_the_permanent_of_ones_counts_the_permutations():
    assert log_permanents(np.zeros((1, 10, 10)))[0] == pytest.approx(np.log(factorial(10)))


def test_a_permanent_below_the_smallest_number_is_zero():
    """All rows want the first column; that the others are scaled is no help, as one is wanted."""
    apart = np.array([[[0.0, -9e3, -9e3], [0.0, -9e3, -9e3], [0.0, 0.0, 0.0]]])
    assert np.isneginf(log_permanents(apart)[0])
