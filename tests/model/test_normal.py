"""The multivariate normal, held to SciPy, to moments, and to other values of its parameters."""

import numpy as np
import pytest
from helpers import gradient, random_covariances, refuses, z_scores
from scipy import stats

from bayes_gmm.model import normal

FEATURES = [1, 2, 3, 4, 5]


@pytest.mark.parametrize("n_features", FEATURES)
def test_log_density_is_scipys(n_features):
    rng = np.random.default_rng(n_features)
    mean = rng.normal(size=n_features)
    covariance = random_covariances(rng, 1, n_features)[0]
    x = mean + 3 * rng.normal(size=(50, n_features))
    expected = stats.multivariate_normal(mean, covariance).logpdf(x)
    found = normal.log_density(x, mean, covariance)
    assert found.shape == (50,)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("n_features", FEATURES)
def test_units_change_the_log_density_by_the_jacobian(n_features):
    """SciPy calls such covariances singular, so its value in good units is the truth."""
    rng = np.random.default_rng(10 + n_features)
    mean = rng.normal(size=n_features)
    covariance = random_covariances(rng, 1, n_features)[0]
    x = rng.normal(size=(20, n_features))
    expected = stats.multivariate_normal(mean, covariance).logpdf(x)
    for unit in (
        np.full(n_features, 1e-8),
        np.full(n_features, 1e8),
        np.logspace(-8, 8, n_features),
    ):
        found = normal.log_density(unit * x, unit * mean, covariance * np.outer(unit, unit))
        np.testing.assert_allclose(found, expected - np.log(unit).sum(), rtol=1e-11)


def on_a_grid(values: np.ndarray) -> np.ndarray:
    """Multiples of 2^-10: adding 1e8 to them is exact in float64."""
    return np.round(values * 1024) / 1024


@pytest.mark.parametrize("n_features", FEATURES)
def test_an_offset_of_1e8_standard_deviations_costs_no_digit(n_features):
    rng = np.random.default_rng(20 + n_features)
    mean = on_a_grid(rng.normal(size=n_features))
    covariance = random_covariances(rng, 1, n_features)[0]
    x = on_a_grid(rng.normal(size=(30, n_features)))
    assert ((x + 1e8) - 1e8 == x).all()
    expected = normal.log_density(x, mean, covariance)
    np.testing.assert_array_equal(normal.log_density(x + 1e8, mean + 1e8, covariance), expected)
    estimate, far_estimate = normal.maximum_likelihood(x), normal.maximum_likelihood(x + 1e8)
    np.testing.assert_allclose(far_estimate[0] - 1e8, estimate[0], rtol=0, atol=1e-7)
    np.testing.assert_allclose(far_estimate[1], estimate[1], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n_features", FEATURES)
def test_draws_have_the_mean_and_the_covariance(n_features):
    rng = np.random.default_rng(30 + n_features)
    mean = 5 * rng.normal(size=n_features)
    covariance = random_covariances(rng, 1, n_features)[0]
    draws = normal.sample(mean, covariance, 20_000, rng)
    assert draws.shape == (20_000, n_features)
    assert np.abs(z_scores(draws, mean)).max() < 5
    residual = draws - mean
    products = residual[:, :, None] * residual[:, None, :]
    assert np.abs(z_scores(products, covariance)).max() < 5


def test_draws_are_normal_along_every_direction():
    rng = np.random.default_rng(40)
    covariance = random_covariances(rng, 1, 3)[0]
    draws = normal.sample(np.zeros(3), covariance, 4000, rng)
    for direction in np.eye(3) + 0.5:
        sd = np.sqrt(direction @ covariance @ direction)
        assert stats.kstest(draws @ direction / sd, "norm").pvalue > 1e-4


@pytest.mark.parametrize("n_features", FEATURES)
def test_maximum_likelihood_is_the_sample_mean_and_the_1_over_n_covariance(n_features):
    x = np.random.default_rng(50 + n_features).normal(size=(40, n_features))
    mean, covariance = normal.maximum_likelihood(x)
    np.testing.assert_allclose(mean, np.mean(x, axis=0), rtol=1e-14)
    expected = np.cov(x.T, ddof=0).reshape(n_features, n_features)
    np.testing.assert_allclose(covariance, expected, rtol=1e-12)


@pytest.mark.parametrize("n_features", FEATURES)
def test_no_other_parameters_are_more_likely(n_features):
    rng = np.random.default_rng(60 + n_features)
    x = rng.normal(size=(40, n_features)) @ rng.normal(size=(n_features, n_features))
    mean, covariance = normal.maximum_likelihood(x)
    factor = np.linalg.cholesky(covariance)
    best = normal.log_density(x, mean, covariance).sum()
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(20):
            other_mean = mean + size * factor @ rng.normal(size=n_features)
            other = factor @ (np.eye(n_features) + size * rng.normal(size=factor.shape))
            assert normal.log_density(x, other_mean, other @ other.T).sum() < best


def test_the_likelihood_is_flat_at_its_maximum():
    rng = np.random.default_rng(70)
    x = rng.normal(size=(30, 2)) + 3
    mean, covariance = normal.maximum_likelihood(x)
    factor = np.linalg.cholesky(covariance)

    def along_mean(value):
        return normal.log_density(x, value, covariance).sum()

    def along_factor(value):
        return normal.log_density(x, mean, np.tril(value) @ np.tril(value).T).sum()

    np.testing.assert_allclose(gradient(along_mean, mean), 0, atol=1e-7)
    np.testing.assert_allclose(gradient(along_factor, factor), 0, atol=1e-7)
    assert np.abs(gradient(along_mean, mean + 0.1)).max() > 0.1  # elsewhere it is not


def test_cholesky_factors_a_stack_whatever_the_units():
    rng = np.random.default_rng(80)
    covariances = random_covariances(rng, 4, 3)
    unit = np.array([1e-8, 1.0, 1e8])
    stack = covariances * np.outer(unit, unit)
    factors = normal.cholesky(stack)
    assert (np.triu(factors, 1) == 0).all()
    assert (np.einsum("kii->ki", factors) > 0).all()
    product = factors @ factors.swapaxes(1, 2)
    np.testing.assert_allclose(product / np.outer(unit, unit), covariances, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(factors[2], normal.cholesky(stack[2]), rtol=1e-15)
    identity = normal.inverse_factors(factors) @ factors
    np.testing.assert_allclose(
        identity * (unit / unit[:, None]), np.tile(np.eye(3), (4, 1, 1)), atol=1e-12
    )


@pytest.mark.parametrize(
    "matrix",
    [
        [[1.0, 2.0], [2.0, 1.0]],
        [[-1.0, 0.0], [0.0, 1.0]],
        [[0.0, 0.0], [0.0, 1.0]],
        [[1.0, 1.0], [1.0, 1.0]],
    ],
    ids=["indefinite", "negative variance", "zero variance", "singular"],
)
def test_what_is_not_positive_definite_is_refused_by_name(matrix):
    stack = np.array([np.eye(2), matrix, np.eye(2)])
    with refuses("sigma[1]", "not positive definite"):
        normal.cholesky(stack, "sigma")
    with refuses("sigma is not positive definite"):
        normal.cholesky(np.array(matrix), "sigma")
