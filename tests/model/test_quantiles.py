"""Quantiles of columns are those of sorting, however the rows come."""

import numpy as np
import pytest

from bayes_gmm.model import quantiles
from bayes_gmm.model.quantiles import quantile

rng = np.random.default_rng(3)
COLUMNS = {
    "normal": rng.normal(size=500),
    "far from zero": 1e8 + rng.normal(size=500),
    "integers": rng.integers(0, 6, 500).astype(float),
    "mostly zero": np.where(rng.random(500) < 0.96, 0.0, rng.random(500)),
    "heavy tail": rng.standard_cauchy(500) ** 3,
    "wild": np.r_[rng.normal(size=495), 1e12 * rng.normal(size=5)],
    "two values": rng.integers(0, 2, 500) * 1e-3 + 5.0,
}
TABLE = np.column_stack(list(COLUMNS.values()))
SHARES = (0.001, 0.25, 0.5, 0.95, 1.0)


def blocks_of(table, weights=None, size=77):
    weights = np.ones(len(table)) if weights is None else weights

    def read():
        for start in range(0, len(table), size):
            part = slice(start, start + size)
            yield table[part], weights[part]

    return read


@pytest.mark.parametrize("most_sorted", [1, 20, 1 << 17])
@pytest.mark.parametrize("share", SHARES)
def test_a_quantile_is_that_of_the_sorted_column(share, most_sorted, monkeypatch):
    monkeypatch.setattr(quantiles, "MOST_SORTED", most_sorted)
    found = quantile(blocks_of(TABLE), np.full(len(COLUMNS), share))
    expected = np.quantile(TABLE, share, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("most_sorted", [5, 1 << 17])
def test_weights_count_as_repeats_and_their_scale_changes_nothing(most_sorted, monkeypatch):
    monkeypatch.setattr(quantiles, "MOST_SORTED", most_sorted)
    times = np.random.default_rng(1).integers(1, 5, len(TABLE))
    share = np.linspace(0.05, 0.95, len(COLUMNS))
    expected = quantile(blocks_of(np.repeat(TABLE, times, axis=0)), share)
    for scale in (1.0, 0.1, 1e-9):
        found = quantile(blocks_of(TABLE, scale * times), share)
        np.testing.assert_array_equal(found, expected)


def test_neither_order_nor_blocks_change_a_quantile(monkeypatch):
    monkeypatch.setattr(quantiles, "MOST_SORTED", 10)
    share = np.full(len(COLUMNS), 0.7)
    expected = quantile(blocks_of(TABLE), share)
    shuffled = np.random.default_rng(2).permutation(TABLE)
    for size in (50, 1000):
        np.testing.assert_array_equal(quantile(blocks_of(shuffled, size=size), share), expected)
