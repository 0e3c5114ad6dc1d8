"""Rows that stand for a normal each: a pass equals one over points with the same moments."""

import numpy as np
from helpers import complete_statistics, random_parameters
from scipy.special import logsumexp

from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED

VARIANCES = np.array([0.3, 0.1, 0.02])


def problem(seed, n_rows=40, n_features=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, n_features))
    observations = Observations.of(x)
    standard = (x - observations.origin) / observations.scale
    return rng, standard, expectation(observations, spread=VARIANCES)


def test_the_pass_averages_over_the_spread_of_each_row():
    rng, x, expect = problem(0)
    log_quadratic = random_parameters(rng, 2, 3).log_quadratic()
    # 2 D points a row with mean x and covariance R: exact for functions of the second degree.
    shifts = np.concatenate([np.eye(3), -np.eye(3)]) * np.sqrt(3 * VARIANCES)
    points = x[:, None, :] + shifts
    log_rho = log_quadratic(points.reshape(-1, 3)).reshape(40, 6, 2).mean(axis=1)
    normalizer = logsumexp(log_rho, axis=1, keepdims=True)
    share = np.exp(log_rho - normalizer)
    residual = points[:, :, None, :] - log_quadratic.center
    second = np.einsum("nk,npki,npkj->kij", share, residual, residual) / 6
    found = expect(log_quadratic)
    np.testing.assert_allclose(found.log_normalizer, normalizer.sum(), rtol=1e-12)
    np.testing.assert_allclose(found.count, share.sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found.second, second, rtol=1e-9, atol=1e-9)


def test_em_adds_the_spread_to_covariances_and_never_falls():
    _, x, expect = problem(1)
    rule = Rule(ConjugatePrior.flat(3, 3), UNCONSTRAINED, np.ones(3))
    start = rule.maximize(complete_statistics(x, np.arange(40) % 3, 3), np.ones((3, 3, 3)))
    run = em.run(expect, rule, start, max_iter=2000, tol=1e-8)
    assert run.converged
    objectives = np.array(run.objectives)
    assert (np.diff(objectives) >= -1e-9 * abs(objectives[-1])).all()
    parameters = run.parameters
    found = expect(parameters.log_quadratic())
    plain = found.scatter / found.count[:, None, None] - np.diag(VARIANCES)
    assert (np.linalg.eigvalsh(plain) > -1e-12).all()
    np.testing.assert_allclose(parameters.covariances, plain + np.diag(VARIANCES), atol=1e-4)
