"""Sufficient statistics: what they are, that they add, and that they lose nothing."""

import numpy as np
import pytest
from helpers import enumerate_labellings, random_parameters
from scipy.special import logsumexp

from bayes_gmm.model import mixture
from bayes_gmm.model.statistics import SufficientStatistics, from_log_quadratic


@pytest.fixture
def problem():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 3)) + 5
    shares = rng.dirichlet(np.ones(4), size=30)
    return x, shares, rng.normal(size=(4, 3))


def assert_equal(a: SufficientStatistics, b: SufficientStatistics, rtol: float) -> None:
    assert a.log_normalizer == pytest.approx(b.log_normalizer, rel=rtol)
    for name in ("count", "first", "second", "center"):
        found, expected = getattr(a, name), getattr(b, name)
        size = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * size, err_msg=name)


def test_they_are_the_weighted_sums_about_the_centers(problem):
    x, shares, center = problem
    found = SufficientStatistics.of(x, shares, center, -7.0)
    assert found.log_normalizer == -7.0
    for k in range(4):
        residual = x - center[k]
        assert found.count[k] == pytest.approx(shares[:, k].sum(), rel=1e-14)
        np.testing.assert_allclose(found.first[k], shares[:, k] @ residual, rtol=1e-12)
        expected = sum(r * np.outer(d, d) for r, d in zip(shares[:, k], residual, strict=True))
        np.testing.assert_allclose(found.second[k], expected, rtol=1e-12)


def test_mean_and_scatter_are_those_of_weighted_rows_whatever_the_centers(problem):
    x, shares, center = problem
    for about in (center, np.zeros((4, 3)), center + 100):
        found = SufficientStatistics.of(x, shares, about, 0.0)
        for k in range(4):
            expected = np.average(x, axis=0, weights=shares[:, k])
            np.testing.assert_allclose(found.mean[k], expected, rtol=1e-12)
            scatter = np.cov(x.T, aweights=shares[:, k], ddof=0) * shares[:, k].sum()
            np.testing.assert_allclose(found.scatter[k], scatter, rtol=1e-8)


def test_a_component_without_rows_has_its_center_as_mean_and_no_scatter(problem):
    x, shares, center = problem
    shares = shares * np.array([1.0, 0.0, 1.0, 1.0])
    found = SufficientStatistics.of(x, shares, center, 0.0)
    np.testing.assert_array_equal(found.mean[1], center[1])
    np.testing.assert_array_equal(found.scatter[1], np.zeros((3, 3)))
    assert np.abs(found.scatter[0]).min() > 0


def test_statistics_of_parts_add_to_those_of_the_whole(problem):
    x, shares, center = problem
    parts = [
        SufficientStatistics.of(x[rows], shares[rows], center, value)
        for rows, value in ((slice(0, 7), 1.0), (slice(7, 8), 2.0), (slice(8, 30), 3.5))
    ]
    whole = SufficientStatistics.of(x, shares, center, 6.5)
    assert_equal(parts[0] + parts[1] + parts[2], whole, 1e-12)
    assert_equal(sum(parts), whole, 1e-12)  # the built-in, which starts at 0


def test_statistics_about_different_centers_do_not_add(problem):
    x, shares, center = problem
    moved = center.copy()
    moved[3, 2] += 1e-12
    parts = [SufficientStatistics.of(x, shares, about, 0.0) for about in (center, moved)]
    with pytest.raises(ValueError, match="center"):
        parts[0] + parts[1]
    with pytest.raises(TypeError):
        1 + parts[0]


def test_reordered_statistics_are_those_of_the_reordered_components(problem):
    x, shares, center = problem
    order = np.array([3, 0, 2, 1])
    found = SufficientStatistics.of(x, shares, center, 2.0).reorder(order)
    expected = SufficientStatistics.of(x, shares[:, order], center[order], 2.0)
    assert_equal(found, expected, 1e-13)


@pytest.mark.parametrize(("n_components", "n_features"), [(1, 2), (2, 1), (3, 2)])
def test_the_e_step_is_the_expectation_over_all_labellings(n_components, n_features):
    rng = np.random.default_rng(10 * n_components + n_features)
    theta = random_parameters(rng, n_components, n_features, spread=1.0)
    x = 2 * rng.normal(size=(6, n_features))
    labellings, log_joint = enumerate_labellings(x, theta)
    log_likelihood = logsumexp(log_joint)
    expected = [np.zeros(n_components), 0, 0]
    for z, probability in zip(labellings, np.exp(log_joint - log_likelihood), strict=True):
        complete = SufficientStatistics.of(x, np.eye(n_components)[z], theta.means, 0.0)
        for i, part in enumerate((complete.count, complete.first, complete.second)):
            expected[i] = expected[i] + probability * part
    found = from_log_quadratic(x, theta.log_quadratic())
    assert found.log_normalizer == pytest.approx(log_likelihood, rel=1e-12)
    np.testing.assert_array_equal(found.center, theta.means)
    for part, value in zip((found.count, found.first, found.second), expected, strict=True):
        np.testing.assert_allclose(part, value, rtol=1e-10, atol=1e-12)


def test_the_e_step_holds_where_every_density_underflows():
    theta = random_parameters(np.random.default_rng(5), 3, 2)
    x = np.array([[1e6, -1e6], [3e5, 2e5], [0.0, 0.0]])
    found = from_log_quadratic(x, theta.log_quadratic())
    assert found.log_normalizer == pytest.approx(mixture.log_likelihood(x, theta), rel=1e-13)
    assert found.count.sum() == pytest.approx(3, rel=1e-14)
