"""Rows that were seen several times: how many of their copies take which label."""

import numpy as np
import pytest
from helpers import random_parameters
from scipy import stats

from bayes_gmm.kernels.label_counts import allot, binomial, counted_rows
from bayes_gmm.model.statistics import SufficientStatistics

KEY = np.uint64(0xFEDCBA9876543210)
DRAWS = 20_000


@pytest.mark.parametrize(
    ("n", "p"),
    [
        (1, 0.3),
        (7, 0.5),
        (9, 0.93),
        (40, 0.2),
        (40, 0.3),
        (25, 0.6),
        (1000, 0.4),
        (1000, 1e-3),
        (1000, 0.997),
        (2**31, 3e-9),
        (2**31, 1e-7),
        (2**31, 0.7),
    ],
)
def test_binomials_are_binomial(n, p):
    stream = np.array([n], np.uint64)
    drawn = np.array([binomial(stream, float(n), p, 1 - p) for _ in range(DRAWS)])
    assert (drawn == np.rint(drawn)).all()
    assert 0 <= drawn.min() <= drawn.max() <= n
    law = stats.binom(n, p)
    edges = np.unique(law.ppf(np.linspace(0, 1, 31)[1:-1]))
    expected = np.diff(law.cdf(np.concatenate([[-1], edges, [n]])))
    counted = np.bincount(np.searchsorted(edges, drawn), minlength=len(expected))
    kept = expected * DRAWS > 5
    assert kept.sum() > 1
    rest = np.array([(~kept) @ expected, (~kept) @ counted / DRAWS])
    chi2 = ((counted - DRAWS * expected)[kept] ** 2 / (DRAWS * expected[kept])).sum()
    assert stats.chi2(kept.sum()).sf(chi2) > 1e-6
    np.testing.assert_allclose(*rest, atol=5 * np.sqrt(max(rest[0], 1e-4) / DRAWS))


def test_what_is_certain_is_not_drawn():
    stream = np.array([5], np.uint64)
    assert binomial(stream, 0.0, 0.4, 0.6) == 0
    assert binomial(stream, 9.0, 0.0, 1.0) == 0
    assert binomial(stream, 9.0, 1.0, 0.0) == 9
    assert binomial(stream, 1e9, 1e-300, 1.0) == 0


@pytest.mark.parametrize("times", [1, 3, 500])
def test_copies_are_multinomial(times):
    share = np.array([0.1, 0.25, 0.05, 0.6])
    n = 512 * 40
    found = np.empty((4, n))
    for start in range(0, n, 512):
        part = np.repeat(7.0 * share[:, None], 512, axis=1)  # up to a factor
        allot(KEY, start, np.full(512, float(times)), part)
        found[:, start : start + 512] = part
    assert (found.sum(axis=0) == times).all()
    covariance = times * (np.diag(share) - np.outer(share, share))
    error = np.sqrt(np.diagonal(covariance) / n)
    assert (np.abs(found.mean(axis=1) - times * share) < 5 * error).all()
    spread = np.sqrt(np.diagonal(covariance))
    gap = (np.cov(found) - covariance) / np.outer(spread, spread)
    assert np.abs(gap).max() < 5 * np.sqrt((2 + 1 / (times * 0.05)) / n)


def test_a_share_below_rounding_is_kept_in_proportion():
    """The labels after one that takes nearly all still share what is left as they should."""
    share = np.repeat(np.array([[1.0], [3e-17], [1e-17]]), 512, axis=1)
    allot(KEY, 0, np.full(512, 2.0**31), share)
    assert (share.sum(axis=0) == 2.0**31).all()
    share = np.repeat(np.array([[0.0], [3e-300], [1e-300]]), 512, axis=1)
    allot(KEY, 0, np.full(512, 100.0), share)
    assert share[1].mean() == pytest.approx(75, abs=5 * np.sqrt(18.75 / 512))


class Case:
    def __init__(self, n_components, n_features, n_rows):
        rng = np.random.default_rng([n_components, n_features, n_rows])
        self.origin = rng.normal(size=n_features)
        self.scale = rng.uniform(0.5, 3.0, n_features)
        self.functions = random_parameters(rng, n_components, n_features).log_quadratic()
        nearby = self.functions.center[rng.integers(n_components, size=n_rows)]
        self.x = self.origin + self.scale * (nearby + rng.normal(size=(n_rows, n_features)))
        self.times = rng.choice([0.0, 1.0, 2.0, 30.0], n_rows)

    def run(self, cuts=()):
        n_components, n_features = self.functions.center.shape
        functions = tuple(part.copy() for part in self.functions)
        count, first = np.zeros(n_components), np.zeros((n_components, n_features))
        second = np.zeros((n_components, n_features, n_features))
        log_normalizer = 0.0
        for low, high in zip((0, *cuts), (*cuts, len(self.x)), strict=True):
            log_normalizer = counted_rows(
                self.x[low:high],
                self.times[low:high],
                low,
                KEY,
                self.origin,
                1 / self.scale,
                *functions,
                count,
                first,
                second,
                np.empty(0, np.int64),
                log_normalizer,
            )
        second = np.tril(second) + np.tril(second, -1).swapaxes(1, 2)
        return SufficientStatistics(log_normalizer, count, first, second, functions[1])

    def reference(self):
        rows = (self.x - self.origin) / self.scale
        log_rho = self.functions(rows)
        log_density = np.logaddexp.reduce(log_rho, axis=1)
        counts = np.ascontiguousarray(np.exp(log_rho - log_density[:, None]).T)
        allot(KEY, 0, self.times, counts)
        height = float(self.times @ log_density)
        return SufficientStatistics.of(rows, counts.T, self.functions.center, height)


def assert_same_statistics(found, expected, tolerance):
    for name in ("log_normalizer", "count", "first", "second"):
        value = getattr(expected, name)
        largest = max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(
            getattr(found, name), value, rtol=0, atol=tolerance * largest, err_msg=name
        )


@pytest.mark.parametrize("n_rows", [1, 512, 1300])
@pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (3, 2), (2, 14), (3, 33)])
def test_statistics_are_those_of_numpy_with_the_same_counts(n_components, n_features, n_rows):
    case = Case(n_components, n_features, n_rows)
    assert_same_statistics(case.run(), case.reference(), 1e-10)


@pytest.mark.parametrize("n_features", [2, 16])
def test_blocks_of_whole_chunks_change_nothing_to_the_last_bit(n_features):
    case = Case(3, n_features, 2000)
    assert_same_statistics(case.run(cuts=(512, 1536)), case.run(), 0.0)
