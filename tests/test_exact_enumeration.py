"""The truth that engines are held to is true: Bayes' rule, the chain rule, draws from the prior."""

import numpy as np
import pytest
from exact_enumeration import (
    enumerate_posterior,
    normal_density,
    points_of,
    problems,
    sampled_quantities,
    worst,
    z_scores,
)
from helpers import log_prior_by_scipy
from helpers import z_scores as z_scores_of_independent_draws

from bayes_gmm.model import mixture

PROBLEMS = problems()
NAMES = [problem.name for problem in PROBLEMS]


def test_the_problems_are_varied():
    assert len(set(NAMES)) == len(PROBLEMS) >= 15
    shapes = {(len(p.x) < p.prior.n_components, p.x.shape[1]) for p in PROBLEMS}
    assert {(True, 1), (False, 1), (False, 2)} <= shapes
    assert {p.prior.n_components for p in PROBLEMS} == {1, 2, 3}
    assert not all(p.prior.is_exchangeable for p in PROBLEMS)


@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
def test_bayes_rule_holds_at_any_parameters(problem):
    """sum_z p(z | x) p(theta | x, z) = p(x | theta) p(theta) / p(x)."""
    x, prior = problem.x, problem.prior
    exact = enumerate_posterior(x, prior)
    rng = np.random.default_rng(0)
    for theta in (exact.theta, prior.sample(rng), prior.sample(rng)):
        density = exact.probability @ np.exp(exact.log_density_given_labels(theta))
        log_joint = mixture.log_likelihood(x, theta) + log_prior_by_scipy(prior, theta)
        assert np.log(density) == pytest.approx(log_joint - exact.log_evidence, abs=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
def test_the_predictive_density_is_a_ratio_of_evidences(problem):
    """p(x* | x) = p(x, x*) / p(x)."""
    x, prior = problem.x[:6], problem.prior
    exact, point = enumerate_posterior(x, prior), points_of(x)[1:2]
    longer = enumerate_posterior(np.vstack([x, point]), prior)
    assert np.log(exact.predictive(point)[0]) == pytest.approx(
        longer.log_evidence - exact.log_evidence, abs=1e-9
    )


def draws(priors, rng):
    """One draw of each prior: weights, means and covariances (1, n, K, ...)."""
    found = [prior.sample(rng) for prior in priors]
    parts = ("weights", "means", "covariances")
    return [np.array([getattr(theta, part) for theta in found])[None] for part in parts]


@pytest.mark.parametrize("name", ["two rows, K = 3", "three rows in a plane, K = 3"])
def test_draws_from_the_prior_weighted_by_their_likelihood_agree(name):
    (problem,) = (p for p in PROBLEMS if p.name == name)
    x, prior = problem.x, problem.prior
    exact = enumerate_posterior(x, prior)
    rng = np.random.default_rng(1)
    weights, means, covariances = draws([prior] * 2000, rng)
    joint = weights[0][:, None] * normal_density(x, means, covariances)[0]
    marginal = joint.sum(axis=2, keepdims=True)
    importance = np.exp(np.log(marginal).sum(axis=(1, 2)) - exact.log_evidence)
    shares, weights = joint / marginal, weights[0]
    together = np.einsum("sik,sjk->sij", shares, shares)
    together[:, range(len(x)), range(len(x))] = 1
    holds = 1 - (1 - shares).prod(axis=1)
    gaps = {
        "evidence": importance - 1,
        "co-clustering": (importance[:, None, None] * (together - exact.co_clustering))[
            :, *np.triu_indices(len(x), 1)
        ],
        "occupied": importance[:, None] * (holds - exact.occupied),
        "weights": importance[:, None] * (weights - exact.weights),
        "squares": importance * ((weights**2).sum(axis=1) - exact.sum_of_squared_weights),
    }
    for what, gap in gaps.items():
        assert np.abs(z_scores_of_independent_draws(gap, 0.0)).max() < 5, what
    at_least = exact.n_occupied @ np.arange(len(exact.n_occupied))
    assert at_least == pytest.approx(exact.occupied.sum(), abs=1e-12)


def test_z_scores_accept_the_posterior_and_refuse_another():
    (problem,) = (p for p in PROBLEMS if p.name == "components told apart, K = 2")
    exact = enumerate_posterior(problem.x, problem.prior)
    rng = np.random.default_rng(2)
    labellings = rng.choice(len(exact.probability), size=2000, p=exact.probability)
    weights, means, covariances = draws([exact.conjugate(z) for z in labellings], rng)
    right = z_scores(sampled_quantities(exact, weights, means, covariances), exact)
    assert worst(right)[0] < 5
    turned = z_scores(sampled_quantities(exact, weights[..., ::-1], means, covariances), exact)
    assert all(np.abs(turned[name]).max() > 5 for name in ("occupied", "weights", "predictive"))
    wide = z_scores(sampled_quantities(exact, weights, means, 1.5 * covariances), exact)
    assert worst(wide)[0] > 5
