"""The compiled M-step is the book's M-step."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import log_prior_by_scipy, random_covariances, random_parameters, random_prior
from scipy.linalg import solve_triangular
from scipy.stats import invwishart, multivariate_normal

from bayes_gmm.kernels.moments import flatten, restore
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics, from_log_quadratic
from bayes_gmm.model.structures import CODES, Structure
from bayes_gmm.model.structures.prior import StructuredPrior

K, D = 3, 4


def statistics(rng: np.random.Generator) -> SufficientStatistics:
    theta = random_parameters(rng, K, D)
    return from_log_quadratic(rng.normal(size=(200, D)), theta.log_quadratic())


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("kind", ["flat", "proper"])
def test_the_compiled_m_step_is_the_posterior_mode(code, kind):
    rng = np.random.default_rng(CODES.index(code))
    prior = ConjugatePrior.flat(K, D) if kind == "flat" else random_prior(rng, K, D)
    structure, totals = Structure.of(code, D), statistics(rng)
    previous = structure.covariances(random_covariances(rng, K, D), np.ones(K), np.ones((K, D, D)))
    found = Rule(prior, structure, np.ones(D)).maximize(totals, previous)
    own = StructuredPrior.of(prior, structure)
    expected = own.posterior(totals).mode(previous)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            getattr(found.parameters, name), getattr(expected, name), rtol=1e-10, atol=1e-12
        )
    for ours, theirs in zip(found.log_quadratic, expected.log_quadratic(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
    assert found.log_prior == pytest.approx(own.log_density(expected), rel=1e-10, abs=1e-10)
    assert found.lost == -1


@pytest.mark.parametrize("n_features", [2, 14, 15, 40])
@pytest.mark.parametrize("code", ["EEE", "VVV"])
@pytest.mark.parametrize("kind", ["flat", "proper", "one for all"])
def test_factors_and_log_prior_are_those_of_scipy_in_any_dimension(kind, code, n_features):
    """Also where covariances, or scales of the prior, are one for all and factored once."""
    rng = np.random.default_rng([n_features, len(kind)])
    theta = random_parameters(rng, K, n_features)
    if code == "EEE":
        one = np.tile(theta.covariances[0], (K, 1, 1))
        theta = Parameters(theta.weights, theta.means, one)
    prior = (
        ConjugatePrior.flat(K, n_features) if kind == "flat" else random_prior(rng, K, n_features)
    )
    if kind == "one for all":
        prior = replace(prior, scale=np.tile(prior.scale[0], (K, 1, 1)))
    structure = Structure.of(code, n_features)
    found = Rule(prior, structure, np.ones(n_features)).at(theta)
    assert found.lost == -1
    lower = np.linalg.cholesky(theta.covariances)
    expected = [solve_triangular(root, np.eye(n_features), lower=True) for root in lower]
    np.testing.assert_allclose(found.log_quadratic.whitener, expected, rtol=1e-9, atol=1e-10)
    log_density = [
        np.log(weight) + multivariate_normal(mean, covariance).logpdf(mean)
        for weight, mean, covariance in zip(
            theta.weights, theta.means, theta.covariances, strict=True
        )
    ]
    np.testing.assert_allclose(found.log_quadratic.offset, log_density, rtol=1e-10)
    if kind != "flat":
        log_prior = log_prior_by_scipy(prior, theta)
        if code == "EEE":  # one covariance has its prior once, with the means of both fields
            nu, psi = prior.degrees_of_freedom, prior.scale
            each = zip(theta.covariances, nu, psi, strict=True)
            log_prior -= sum(invwishart.logpdf(*one) for one in each)
            log_prior += invwishart.logpdf(theta.covariances[0], nu.mean(), psi.mean(axis=0))
        assert found.log_prior == pytest.approx(log_prior, rel=1e-9)


def test_equal_weights_are_held():
    rng = np.random.default_rng(3)
    rule = Rule(ConjugatePrior.flat(K, D), Structure.of("VVV", D), np.ones(D), equal_weights=True)
    totals = statistics(rng)
    np.testing.assert_allclose(rule.maximize(totals, totals.second).parameters.weights, 1 / K)


@pytest.mark.parametrize("lost", range(K))
def test_an_empty_or_singular_component_is_named(lost):
    rng = np.random.default_rng(4)
    rule = Rule(ConjugatePrior.flat(K, D), Structure.of("VVV", D), np.ones(D))
    totals = statistics(rng)
    count = totals.count.copy()
    count[lost] = 1e-9
    empty = SufficientStatistics(0.0, count, totals.first, totals.second, totals.center)
    assert rule.maximize(empty, totals.second).lost == lost
    second = totals.second.copy()
    second[lost] = np.outer(totals.first[lost], totals.first[lost]) / totals.count[lost]
    flat = SufficientStatistics(0.0, totals.count, totals.first, second, totals.center)
    assert rule.maximize(flat, totals.second).lost == lost


@pytest.mark.parametrize("lost", range(K))
@pytest.mark.parametrize("code", ["EVE", "VVE", "VVV"])
def test_a_component_on_a_plane_is_named_whatever_it_shares(code, lost):
    rng = np.random.default_rng(6)
    structure, totals = Structure.of(code, D), statistics(rng)
    rule = Rule(ConjugatePrior.flat(K, D), structure, np.ones(D))
    second = totals.scatter
    second[lost] -= second[lost, :, :1] * second[lost, :1] / second[lost, 0, 0]
    flat = SufficientStatistics(0.0, totals.count, 0 * totals.first, second, totals.center)
    assert rule.maximize(flat, totals.second).lost == lost


@pytest.mark.parametrize(("rest", "lost"), [(1e-15, 1), (1e-14, 1), (1e-11, -1)])
def test_what_rounding_leaves_of_a_variance_is_no_spread(rest, lost):
    """However narrow the data are in some direction: fewer than three digits say nothing."""
    rule = Rule(ConjugatePrior.flat(2, 2), Structure.of("VVV", 2), np.array([1.0, 1e-10]))
    narrow = [[1.0, 1.0 - rest], [1.0 - rest, 1.0]]
    theta = Parameters([0.5, 0.5], np.zeros((2, 2)), [[[1.0, 0.5], [0.5, 1.0]], narrow])
    assert rule.at(theta).lost == lost


def test_raw_moments_there_and_back():
    rng = np.random.default_rng(5)
    totals = statistics(rng)
    back = restore(flatten(totals), totals.center)
    np.testing.assert_allclose(back.count, totals.count)
    np.testing.assert_allclose(back.first, totals.first, atol=1e-12)
    np.testing.assert_allclose(back.second, totals.second, atol=1e-12)
    x, shares = rng.normal(size=(50, D)), rng.dirichlet(np.ones(K), size=50)
    raw = SufficientStatistics.of(x, shares, np.zeros((K, D)), 0.0)
    moved = SufficientStatistics.of(x, shares, rng.normal(size=(K, D)), 0.0)
    np.testing.assert_allclose(flatten(raw), flatten(moved), atol=1e-12)
