"""Student t and the predictive density of a conjugate distribution, against SciPy and draws."""

import numpy as np
from exact_enumeration import enumerate_posterior, problems
from helpers import joint_by_scipy, random_covariances, random_prior, z_scores
from scipy import integrate, stats
from scipy.special import logsumexp

from bayes_gmm.model.student_t import log_density, log_predictive


def test_the_density_is_scipys():
    rng = np.random.default_rng(1)
    x, mean, scale = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), random_covariances(rng, 2, 3)
    degrees = np.array([1.5, 7.0])
    expected = [
        stats.multivariate_t(m, s, d).logpdf(x)
        for m, s, d in zip(mean, scale, degrees, strict=True)
    ]
    np.testing.assert_allclose(log_density(x, mean, scale, degrees).T, expected, rtol=1e-12)


def test_the_predictive_density_is_the_mean_density_of_draws():
    rng = np.random.default_rng(2)
    q, x = random_prior(rng, 3, 2), rng.normal(size=(4, 2))
    draws = [np.exp(logsumexp(joint_by_scipy(x, q.sample(rng)), axis=1)) for _ in range(1500)]
    assert np.abs(z_scores(np.array(draws), np.exp(log_predictive(q, x)))).max() < 5


def test_the_predictive_density_integrates_to_one():
    q = random_prior(np.random.default_rng(3), 2, 1)
    total, _ = integrate.quad(
        lambda y: np.exp(log_predictive(q, np.array([[y]])))[0], -np.inf, np.inf
    )
    assert abs(total - 1) < 1e-6


def test_with_one_component_it_is_the_exact_predictive_density():
    for problem in problems()[:2]:
        exact = enumerate_posterior(problem.x, problem.prior)
        points = problem.x[:3] + 0.1
        np.testing.assert_allclose(
            np.exp(log_predictive(exact.conjugate(0), points)), exact.predictive(points), rtol=1e-10
        )
