"""Missing entries: the pass over groups against the book and SciPy."""

import numpy as np
import pytest
from helpers import random_parameters
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from bayes_gmm.kernels import reference
from bayes_gmm.kernels.rows import accumulate
from bayes_gmm.model.missing import by_pattern, completed, filled, marginal, patterns, regression
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.statistics import from_log_quadratic
from bayes_gmm.model.structures import UNCONSTRAINED, Structure

FIELDS = ("log_normalizer", "count", "first", "second")


def with_holes(rng, n_rows, n_features, share=0.3):
    """Rows with entries missing, but not all of a row."""
    x = 2 * rng.normal(size=(n_rows, n_features))
    x[rng.random(x.shape) < share] = np.nan
    empty = np.isnan(x).all(axis=1)
    x[empty, rng.integers(n_features, size=empty.sum())] = 1.0
    return x


def passed(x, origin, scale, functions, weights=None, structure=UNCONSTRAINED):
    """Statistics of rows with missing entries, by the compiled pass."""
    order = by_pattern(x)
    weights = None if weights is None else weights[order]
    return accumulate(x[order], origin, scale, functions, weights, structure, complete=False)


def assert_same(found, expected, rtol=1e-11):
    for name in FIELDS:
        mine, theirs = getattr(found, name), getattr(expected, name)
        size = np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * size, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_features", [2, 3, 5, 16])
def test_the_compiled_pass_is_that_of_the_book(n_features, weighted):
    rng = np.random.default_rng([n_features, weighted])
    x = with_holes(rng, 300, n_features)
    weights = rng.integers(0, 4, len(x)).astype(float) if weighted else None
    origin, scale = rng.normal(size=n_features), rng.uniform(0.5, 2, n_features)
    functions = random_parameters(rng, 3, n_features).log_quadratic()
    found = passed(x, origin, scale, functions, weights)
    assert_same(found, reference.accumulate(x, origin, scale, functions, weights))
    # after the pass symmetric, as an M-step reads either triangle
    np.testing.assert_array_equal(found.second, found.second.swapaxes(1, 2))


def test_the_log_normalizer_is_the_marginal_log_likelihood_of_scipy():
    rng = np.random.default_rng(1)
    x, theta = with_holes(rng, 200, 4), random_parameters(rng, 3, 4)
    log_likelihood = 0.0
    for row in x:
        o = ~np.isnan(row)
        log_likelihood += logsumexp(
            [
                np.log(theta.weights[k])
                + multivariate_normal.logpdf(
                    row[o], theta.means[k][o], theta.covariances[k][np.ix_(o, o)]
                )
                for k in range(3)
            ]
        )
    found = passed(x, np.zeros(4), np.ones(4), theta.log_quadratic())
    assert found.log_normalizer == pytest.approx(log_likelihood, rel=1e-12)


def test_the_statistics_are_those_of_many_completions():
    """Rows completed by draws from their conditional distributions, with the labels weighted."""
    rng = np.random.default_rng(2)
    theta, n_draws = random_parameters(rng, 2, 3), 200_000
    observed, row = np.array([True, False, False]), np.array([[0.7, np.nan, np.nan]])
    functions = theta.log_quadratic()
    joint = marginal(functions, observed)(row[:, observed])
    share = np.exp(joint - logsumexp(joint))[0]
    found = passed(row, np.zeros(3), np.ones(3), functions)
    for k in range(2):
        slope, left = regression(theta.covariances[k], observed)
        at = theta.means[k][~observed] + slope @ (row[0, observed] - theta.means[k][observed])
        drawn = np.column_stack([np.full(n_draws, 0.7), rng.multivariate_normal(at, left, n_draws)])
        d = drawn - theta.means[k]
        products = d[:, :, None] * d[:, None, :]
        for values, mine in ((d, found.first[k]), (products, found.second[k])):
            error = values.std(axis=0) / np.sqrt(n_draws)
            gap = np.abs(share[k] * values.mean(axis=0) - mine)
            assert (gap <= 5 * share[k] * error + 1e-9).all()


def test_near_singular_covariances_cost_no_digits():
    """A missing entry that the others all but determine; rotations keep what is left of it."""
    rng = np.random.default_rng(3)
    root = np.tril(rng.normal(size=(3, 3)))
    root[np.diag_indices(3)] = 1.0, 1e-6, 1.0
    theta = Parameters([1.0], np.zeros((1, 3)), (root @ root.T)[None])
    x = np.array([[1.0, np.nan, 0.3], [np.nan, 0.2, 0.4]])
    found = passed(x[:1], np.zeros(3), np.ones(3), theta.log_quadratic())
    # x1 | x0 has slope root_10 and variance root_11^2; x2 tells something more about it
    slope = root[2, 0], root[2, 1] / root[1, 1]
    precision = 1 / root[1, 1] ** 2 + slope[1] ** 2
    mean = root[1, 0] * 1.0
    residual = 0.3 - slope[0] * 1.0
    at = mean + slope[1] * residual / precision
    assert found.second[0, 1, 1] - found.first[0, 1] ** 2 == pytest.approx(1 / precision, rel=1e-3)
    assert found.first[0, 1] == pytest.approx(at, rel=1e-9)


@pytest.mark.parametrize("n_features", [3, 17])
def test_with_nothing_missing_it_is_the_pass_over_complete_rows(n_features):
    rng = np.random.default_rng(4)
    x, functions = rng.normal(size=(700, n_features)), random_parameters(rng, 2, n_features)
    functions = functions.log_quadratic()
    assert_same(
        passed(x, np.zeros(n_features), np.ones(n_features), functions),
        accumulate(x, np.zeros(n_features), np.ones(n_features), functions),
        rtol=1e-12,
    )


@pytest.mark.parametrize("code", ["VVI", "EEI", "EII", "EEE"])
@pytest.mark.parametrize("n_features", [3, 17])
def test_passes_for_fewer_parameters_complete_what_their_m_step_reads(code, n_features):
    rng = np.random.default_rng([5, n_features])
    x, structure = with_holes(rng, 200, n_features), Structure.of(code, n_features)
    one = np.diag(rng.uniform(0.5, 2, n_features))
    if code == "EEE":
        one = one + 0.3
    theta = Parameters([0.4, 0.6], rng.normal(size=(2, n_features)), np.stack([one] * 2))
    origin, scale = np.zeros(n_features), np.ones(n_features)
    found = passed(x, origin, scale, theta.log_quadratic(), structure=structure)
    expected = reference.accumulate(x, origin, scale, theta.log_quadratic())
    for name in ("log_normalizer", "count", "first"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-11, atol=1e-10
        )
    if code == "EEE" and n_features > 14:  # it makes the sum over components only
        mine, theirs = found.scatter.sum(axis=0), expected.scatter.sum(axis=0)
    else:
        mine, theirs = (np.einsum("kjj->kj", s.second) for s in (found, expected))
    np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-9)


def test_rows_of_one_pattern_stand_together_complete_ones_first():
    nan = np.nan
    x = np.array([[1, nan], [2, 3], [nan, 4], [5, nan], [6, 7.0]])
    found = [(observed.tolist(), places.tolist()) for observed, places in patterns(x)]
    assert found[0] == ([True, True], [1, 4])
    assert sorted(found[1:]) == [([False, True], [2]), ([True, False], [0, 3])]


def test_filled_entries_are_the_regression_on_what_is_observed():
    rng = np.random.default_rng(6)
    theta = random_parameters(rng, 1, 3)
    x = with_holes(rng, 20, 3)
    full = filled(x, theta.means[0], theta.covariances[0])
    assert (full[~np.isnan(x)] == x[~np.isnan(x)]).all()
    row = np.flatnonzero(np.isnan(x[:, 1]) & ~np.isnan(x[:, [0, 2]]).any(axis=1))[0]
    precision = np.linalg.inv(theta.covariances[0])
    gap = x[row, [0, 2]] - theta.means[0][[0, 2]]
    expected = theta.means[0][1] - precision[1, [0, 2]] @ gap / precision[1, 1]
    assert full[row, 1] == pytest.approx(expected)


def test_completed_statistics_of_complete_rows_are_the_same():
    rng = np.random.default_rng(7)
    x, functions = rng.normal(size=(30, 3)), random_parameters(rng, 2, 3).log_quadratic()
    whole = from_log_quadratic(x, functions)
    same = completed(whole, functions, np.ones(3, bool))
    np.testing.assert_allclose(same.second, whole.second, rtol=1e-13)
