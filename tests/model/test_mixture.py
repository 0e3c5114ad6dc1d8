"""The mixture, held to the sum over all K^N labellings and to the frequencies of its own draws."""

import itertools

import numpy as np
import pytest
from helpers import (
    enumerate_labellings,
    joint_by_scipy,
    random_covariances,
    random_parameters,
    z_scores,
)
from scipy import stats
from scipy.special import logsumexp

from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters

# (K, D, N) with K^N labellings
PROBLEMS = [(1, 1, 6), (2, 1, 6), (2, 3, 6), (3, 2, 6), (4, 2, 5), (5, 1, 4)]


def problem(n_components: int, n_features: int, n_rows: int) -> tuple[np.ndarray, Parameters]:
    rng = np.random.default_rng(100 * n_components + 10 * n_features + n_rows)
    theta = random_parameters(rng, n_components, n_features, spread=1.0)
    return 2 * rng.normal(size=(n_rows, n_features)), theta


@pytest.mark.parametrize("sizes", PROBLEMS)
def test_the_joint_is_that_of_every_labelling(sizes):
    x, theta = problem(*sizes)
    labellings, expected = enumerate_labellings(x, theta)
    assert len(labellings) == sizes[0] ** sizes[2]
    log_joint = mixture.joint_log_density(x, theta)
    found = log_joint[np.arange(len(x)), labellings].sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("sizes", PROBLEMS)
def test_the_log_likelihood_is_the_log_of_the_sum_over_labellings(sizes):
    x, theta = problem(*sizes)
    expected = logsumexp(enumerate_labellings(x, theta).log_joint)
    assert mixture.log_likelihood(x, theta) == pytest.approx(expected, rel=1e-12)
    assert isinstance(mixture.log_likelihood(x, theta), float)
    assert mixture.marginal_log_density(x, theta).shape == (len(x),)
    assert mixture.marginal_log_density(x, theta).sum() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("sizes", PROBLEMS)
def test_the_marginal_of_a_row_is_the_sum_over_labellings_of_that_row_alone(sizes):
    x, theta = problem(*sizes)
    for row in x:
        expected = logsumexp(enumerate_labellings(row[None], theta).log_joint)
        assert mixture.marginal_log_density(row[None], theta)[0] == pytest.approx(
            expected, rel=1e-12
        )


@pytest.mark.parametrize("sizes", PROBLEMS)
def test_responsibilities_are_the_share_of_the_labellings_that_hold_a_label(sizes):
    x, theta = problem(*sizes)
    labellings, log_joint = enumerate_labellings(x, theta)
    probability = np.exp(log_joint - logsumexp(log_joint))
    found = mixture.responsibilities(x, theta)
    assert found.shape == (sizes[2], sizes[0])
    for n, k in itertools.product(range(sizes[2]), range(sizes[0])):
        expected = probability[labellings[:, n] == k].sum()
        assert found[n, k] == pytest.approx(expected, rel=1e-11)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-14)


def test_rows_too_far_for_exp_still_have_a_density_and_responsibilities():
    theta = Parameters([0.25, 0.75], [[0.0], [1.0]], [[[1.0]], [[1.0]]])
    x = np.array([[1e6], [-1e6], [1e3]])
    log_density = mixture.marginal_log_density(x, theta)
    near = np.array([1, 0, 1])
    expected = joint_by_scipy(x, theta)[np.arange(3), near]
    np.testing.assert_allclose(log_density, expected, rtol=1e-14)
    np.testing.assert_array_equal(mixture.responsibilities(x, theta), np.eye(2)[near])


def test_the_density_integrates_to_one():
    theta = Parameters([0.3, 0.7], [[-2.0], [1.5]], [[[0.3]], [[2.0]]])
    grid = np.linspace(-20, 20, 40_001)
    density = np.exp(mixture.marginal_log_density(grid[:, None], theta))
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-10)


def test_ancestral_sampling_draws_the_label_and_then_the_row():
    rng = np.random.default_rng(1)
    theta = Parameters([0.2, 0.5, 0.3], 3 * rng.normal(size=(3, 2)), random_covariances(rng, 3, 2))
    x, z = mixture.sample(theta, 30_000, rng)
    assert x.shape == (30_000, 2)
    assert z.shape == (30_000,)
    assert stats.chisquare(np.bincount(z, minlength=3), 30_000 * theta.weights).pvalue > 1e-4
    for k in range(3):
        rows = x[z == k]
        assert np.abs(z_scores(rows, theta.means[k])).max() < 5
        residual = rows - theta.means[k]
        products = residual[:, :, None] * residual[:, None, :]
        assert np.abs(z_scores(products, theta.covariances[k])).max() < 5
    assert abs(z_scores((z[1:] == z[:-1]).astype(float), (theta.weights**2).sum())) < 5


def test_draws_follow_the_marginal_density():
    theta = Parameters([0.3, 0.7], [[-2.0], [1.5]], [[[0.3]], [[2.0]]])
    x, _ = mixture.sample(theta, 5000, np.random.default_rng(2))

    def distribution(value):
        return 0.3 * stats.norm(-2, np.sqrt(0.3)).cdf(value) + 0.7 * stats.norm(
            1.5, np.sqrt(2)
        ).cdf(value)

    assert stats.kstest(x[:, 0], distribution).pvalue > 1e-4


def test_labels_given_rows_are_drawn_as_the_responsibilities_say():
    rng = np.random.default_rng(3)
    theta = random_parameters(rng, 3, 2, spread=1.0)
    x, z = mixture.sample(theta, 20_000, rng)
    shares = mixture.responsibilities(x, theta)
    assert 0.05 < (shares.max(axis=1) < 0.9).mean()  # the components do overlap
    surplus = (z[:, None] == np.arange(3)) - shares
    assert np.abs(z_scores(surplus, 0.0)).max() < 5
    assert np.abs(z_scores(surplus * x[:, :1], 0.0)).max() < 5


def test_a_component_of_weight_zero_is_never_drawn_and_never_responsible():
    theta = Parameters([0.6, 0.0, 0.4], [[0.0], [5.0], [9.0]], [[[1.0]]] * 3)
    x, z = mixture.sample(theta, 500, np.random.default_rng(4))
    assert set(z) == {0, 2}
    assert (mixture.responsibilities(np.array([[5.0], [7.0]]), theta)[:, 1] == 0).all()
    assert np.isfinite(mixture.log_likelihood(x, theta))
