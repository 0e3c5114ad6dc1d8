"""The moments behind a default prior: those of clean data, and nothing that a wild row decides."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from bayes_gmm import datasets
from bayes_gmm.data import Observations
from bayes_gmm.model import quantiles
from bayes_gmm.model.default_moments import WIDTH, DefaultMoments
from bayes_gmm.model.priors import ConjugatePrior


def moments(x) -> DefaultMoments:
    return DefaultMoments.of(Observations.of(x))


def groups(n_rows=400, n_features=3, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, n_features)) + 4.0 * rng.integers(0, 2, n_rows)[:, None]


@pytest.mark.parametrize("name", datasets.names())
def test_clean_data_have_their_plain_moments(name):
    x = datasets.load(name).select_dtypes("number").dropna().to_numpy(dtype=float)
    found = moments(x)
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-12)
    plain = np.cov(x.T).reshape(found.covariance.shape)
    unit = np.sqrt(np.diagonal(plain))
    np.testing.assert_allclose(
        found.covariance / np.outer(unit, unit), plain / np.outer(unit, unit), atol=1e-12
    )
    assert (found.n_winsorized.sum(), found.shrunk) == (0, 0.0)


@pytest.mark.parametrize("far", [1e2, 1e6, 1e12])
@pytest.mark.parametrize("direction", [[1.0, 0.0, 0.0], [-1.0, -1.0, -1.0], [1.0, -1.0, 0.5]])
def test_one_row_in_a_hundred_moves_little_wherever_it_lies(far, direction):
    x = groups()
    wild = x.copy()
    wild[::100] = far * np.array(direction)
    clean, found = moments(x), moments(wild)
    wider = np.diagonal(found.covariance) / np.diagonal(clean.covariance)
    # A hundredth of the rows, WIDTH robust sds away; the robust sd is at most 1.3 plain ones here.
    assert (wider < 1 + 1.3**2 * WIDTH**2 / 100).all()
    assert (wider > 0.9).all()
    assert (found.n_winsorized[np.array(direction) != 0] == 4).all()
    # How far no longer matters.
    again = x.copy()
    again[::100] = 10 * far * np.array(direction)
    np.testing.assert_allclose(moments(again).covariance, found.covariance, rtol=1e-12)


def test_winsorized_moments_are_those_of_the_clipped_columns():
    x = groups()
    x[7, 1], x[90, 0] = 1e4, -3e3
    found = moments(x)
    clipped = x.copy()
    for j in range(3):
        median = np.quantile(x[:, j], 0.5, method="inverted_cdf")
        distance = np.abs(x[:, j] - median)
        away = np.mean(distance > 0)
        sd = np.quantile(distance, 0.95, method="inverted_cdf") / norm.ppf(1 - 0.05 / away / 2)
        clipped[:, j] = np.clip(x[:, j], median - WIDTH * sd, median + WIDTH * sd)
    np.testing.assert_allclose(found.mean, clipped.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(clipped.T), rtol=1e-10, atol=1e-12)
    assert found.n_winsorized.tolist() == [1, 1, 0]


@pytest.mark.parametrize("equal", [0.6, 0.93, 0.97])
def test_a_column_that_is_mostly_one_value_has_the_spread_of_the_others(equal):
    rng = np.random.default_rng(5)
    column = np.where(np.arange(1000) < 1000 * equal, 2.0, 2.0 + rng.exponential(size=1000))
    x = np.column_stack([column, rng.normal(size=1000)])
    assert moments(x).n_winsorized.sum() == 0
    x[0, 0] = 1e9
    found = moments(x)
    assert found.n_winsorized.tolist() == [1, 0]
    assert found.covariance[0, 0] < 10


def test_order_storage_and_units_change_nothing(monkeypatch):
    monkeypatch.setattr(quantiles, "MOST_SORTED", 50)
    x = groups()
    x[3] = [1e5, -1e5, 3.0]
    found = moments(x)
    shift, scale = np.array([1e3, -5.0, 0.0]), np.array([1e-6, 1e6, 3.0])
    for other, units in (
        (np.random.default_rng(1).permutation(x), np.ones(3)),
        (lambda: iter(np.array_split(x, 7)), np.ones(3)),
        (x * scale + shift * scale, scale),
    ):
        there = moments(other)
        np.testing.assert_allclose(
            there.covariance / np.outer(units, units), found.covariance, rtol=1e-9, atol=1e-9
        )
        np.testing.assert_array_equal(there.n_winsorized, found.n_winsorized)


def test_row_weights_count_as_repeats():
    x = groups(100)
    x[3, 0] = 1e5
    times = np.random.default_rng(2).integers(0, 4, 100)
    times[3] = 1
    weighted = DefaultMoments.of(Observations.of(x).weighted(times))
    repeated = moments(np.repeat(x, times, axis=0))
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(weighted.covariance, repeated.covariance, rtol=1e-10)


@pytest.mark.parametrize("n_rows", [2, 5, 10, 11, 20, 21, 40])
def test_the_prior_is_proper_for_any_number_of_rows(n_rows):
    x = np.random.default_rng(n_rows).normal(size=(n_rows, 10))
    found = moments(x)
    assert found.shrunk == pytest.approx(max(0.0, 1 - (n_rows - 1) / 20))
    np.testing.assert_allclose(np.diagonal(found.covariance), x.var(axis=0, ddof=1), rtol=1e-10)
    prior = ConjugatePrior.default(x, 3)
    assert prior.is_proper
    assert ("rows are few" in prior.note) == (n_rows < 21)


def test_the_prior_is_proper_where_columns_determine_each_other_and_names_them():
    x = np.random.default_rng(0).normal(size=(50, 4))
    table = pd.DataFrame(x, columns=["a", "b", "c", "d"]).assign(sum=x[:, 0] + x[:, 2])
    prior = ConjugatePrior.default(table, 2)
    assert prior.is_proper
    assert "(a, c, sum)" in prior.note


def test_rounding_is_no_worse_far_from_zero():
    x = groups() * 1e-4
    near, far = moments(x), moments(1e4 + x)
    np.testing.assert_allclose(far.covariance, near.covariance, rtol=1e-6, atol=1e-13)
