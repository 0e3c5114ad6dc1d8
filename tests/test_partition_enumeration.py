"""The truth for an unknown K is true: labellings, quadrature, the chain rule, draws from priors."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from exact_enumeration import enumerate_posterior, points_of
from partition_enumeration import (
    FixedScale,
    SharedVariance,
    exact,
    fixed_scale_marginals,
    log_normal,
    partitions,
    problems,
)
from scipy import stats
from scipy.integrate import quad
from scipy.special import logsumexp

import bayes_gmm as bg

PROBLEMS = problems()
NAMES = [problem.name for problem in PROBLEMS]
LINE = PROBLEMS[0].x[:6]
PLANE = next(problem.x for problem in PROBLEMS if problem.x.shape[1] == 2)
OF_LINE, OF_PLANE = (
    next(p.prior for p in PROBLEMS if p.x.shape[1] == d and isinstance(p.prior, bg.ConjugatePrior))
    for d in (1, 2)
)


def of_components(prior, concentration):
    """The conjugate prior of one component as that of several."""
    one = [prior.mean[0], prior.mean_precision[0], prior.degrees_of_freedom[0], prior.scale[0]]
    return bg.ConjugatePrior(concentration, *one)


def test_the_problems_are_varied():
    assert len(set(NAMES)) == len(PROBLEMS) >= 12
    families = Counter(type(problem.prior) for problem in PROBLEMS)
    assert set(families) == {bg.ConjugatePrior, bg.HierarchicalPrior, FixedScale, SharedVariance}
    assert {problem.x.shape[1] for problem in PROBLEMS} == {1, 2}
    assert {problem.number.alpha_kind for problem in PROBLEMS} == {"fixed", "F", "gamma"}


def test_there_are_as_many_partitions_as_bell_says():
    assert [len(set(partitions(n))) for n in range(1, 9)] == [1, 2, 5, 15, 52, 203, 877, 4140]


@pytest.mark.parametrize(("x", "prior"), [(LINE, OF_LINE), (PLANE, OF_PLANE)], ids=["1", "2"])
@pytest.mark.parametrize("concentration", ["static", "dynamic"])
@pytest.mark.parametrize("size", [1, 3])
def test_of_a_fixed_k_it_is_the_sum_over_labellings(x, prior, concentration, size):
    number = bg.NumberOfComponents("fixed", size, concentration=concentration, alpha=0.8)
    gamma = 0.8 / size if concentration == "dynamic" else 0.8
    found = exact(x, number, prior)
    truth = enumerate_posterior(x, of_components(prior, [gamma] * size))
    assert found.log_evidence == pytest.approx(truth.log_evidence)
    assert found.p_k[-1] == pytest.approx(1)
    np.testing.assert_allclose(found.p_clusters[:size], truth.n_occupied[1:], atol=1e-12)
    np.testing.assert_allclose(found.co_clustering, truth.co_clustering)
    assert found.sum_of_squared_weights == pytest.approx(truth.sum_of_squared_weights)
    points = points_of(x)
    np.testing.assert_allclose(np.exp(found.log_density(points)), truth.predictive(points))


def test_over_k_it_is_the_average_by_evidence():
    number = bg.NumberOfComponents([0.4, 0.3, 0.1, 0.2], alpha=1.4)
    truths = [
        enumerate_posterior(LINE, of_components(OF_LINE, [1.4 / size] * size))
        for size in (1, 2, 3, 4)
    ]
    log_joint = number.log_probabilities + [truth.log_evidence for truth in truths]
    p = np.exp(log_joint - logsumexp(log_joint))
    found = exact(LINE, number, OF_LINE)
    assert found.log_evidence == pytest.approx(logsumexp(log_joint))
    np.testing.assert_allclose(found.p_k, p)
    clusters = np.zeros(len(LINE))
    for chance, truth in zip(p, truths, strict=True):
        clusters[: len(truth.n_occupied) - 1] += chance * truth.n_occupied[1:]
    np.testing.assert_allclose(found.p_clusters, clusters, atol=1e-13)
    points = points_of(LINE)
    density = sum(q * truth.predictive(points) for q, truth in zip(p, truths, strict=True))
    np.testing.assert_allclose(np.exp(found.log_density(points)), density)


@pytest.mark.parametrize("kind", [("F", 6, 3), ("gamma", 2, 4)])
def test_alpha_is_integrated_as_by_scipy(kind):
    x = LINE[2:]
    number = bg.NumberOfComponents("uniform", maximum=3, alpha=kind)
    law = stats.f(*kind[1:]) if kind[0] == "F" else stats.gamma(kind[1], scale=1 / kind[2])

    def at(alpha):
        return np.exp(exact(x, replace(number, alpha=alpha), OF_LINE).log_evidence)

    def integral(of):
        def integrand(t):
            return at(np.exp(t)) * law.pdf(np.exp(t)) * np.exp(t) * of(t)

        return quad(integrand, -12, 25, limit=60, epsabs=0, epsrel=1e-6, points=[-1, 0, 2])[0]

    found, evidence = exact(x, number, OF_LINE), integral(lambda t: 1)
    assert np.exp(found.log_evidence) == pytest.approx(evidence, rel=1e-5)
    assert found.mean_log_alpha == pytest.approx(integral(lambda t: t) / evidence, abs=1e-4)
    inverse = exact(x, replace(number, alpha=1.0), OF_LINE)
    assert inverse.mean_alpha == pytest.approx(1)
    assert inverse.mean_log_alpha == pytest.approx(0)


@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
def test_everything_is_a_probability_and_the_density_is_a_ratio_of_evidences(problem):
    """p(y | x) = p(x, y) / p(x)."""
    _, x, number, prior = problem
    found = exact(x[:4], number, prior)
    assert found.p_clusters.sum() == pytest.approx(1)
    assert found.p_k.sum() == pytest.approx(0 if number.is_dirichlet_process else 1)
    assert np.diagonal(found.co_clustering) == pytest.approx(1)
    for point in points_of(x)[1:3]:
        longer = exact(np.vstack([x[:4], point]), number, prior)
        assert found.log_density(point)[0] == pytest.approx(
            longer.log_evidence - found.log_evidence, abs=1e-8
        )


def test_two_quadratures_of_independent_means_agree():
    """Over the mean on a grid, with the variance in closed form, and the other way round."""
    x, nu, psi, sd = LINE[:4], 4.0, 0.7, 1.3
    by_mean = fixed_scale_marginals(
        x, FixedScale(np.array([0.4]), np.array([sd]), nu, np.array([[psi]]))
    )
    t = np.arange(-12, 40, 0.1)
    variance = np.exp(t)[:, None]
    log_law = stats.invgamma(nu / 2, scale=psi / 2).logpdf(np.exp(t)) + t + np.log(0.1)
    by_variance = logsumexp(log_law[:, None] + log_normal(x, variance, [0.4], sd**2), axis=0)
    np.testing.assert_allclose(by_mean, by_variance, atol=1e-9)


def test_blocks_in_a_plane_have_the_marginal_of_simulated_components():
    prior = next(problem.prior for problem in PROBLEMS if isinstance(problem.prior, FixedScale))
    x, draws, rng = PLANE[:2], 40_000, np.random.default_rng(0)
    mean = prior.mean + prior.mean_sd * rng.standard_normal((draws, 2))
    law = stats.invwishart(prior.degrees_of_freedom, prior.scale)
    covariance = law.rvs(draws, random_state=rng)
    density = np.ones(draws)
    for row in x:
        d = row - mean
        squared = np.einsum("si,sij,sj->s", d, np.linalg.inv(covariance), d)
        density *= np.exp(-0.5 * squared) / np.sqrt(np.linalg.det(2 * np.pi * covariance))
    error = density.std() / np.sqrt(draws)
    assert abs(density.mean() - np.exp(fixed_scale_marginals(x, prior)[3])) < 5 * error


def simulated(number, prior, n, rng):
    """Mixtures from the prior, padded by weights zero: K, alpha, weights, means and variances."""
    law = {"F": rng.f, "gamma": lambda a, b, n: rng.gamma(a, 1 / b, n)}
    alpha = law[number.alpha[0]](*number.alpha[1:], n)
    most = number.maximum
    size = 1 + rng.choice(most, n, p=np.exp(number.log_probabilities))
    gamma = alpha / size if number.concentration == "dynamic" else alpha
    weights = np.zeros((n, most))
    for k in range(1, most + 1):
        mine = size == k
        drawn = rng.gamma(np.repeat(gamma[mine, None], k, axis=1)) + 1e-300
        weights[mine, :k] = drawn / drawn.sum(axis=1, keepdims=True)
    if isinstance(prior, SharedVariance):
        one = prior.prior
        half, psi = one.degrees_of_freedom[0] / 2, one.scale[0, 0, 0]
        variances = np.repeat(psi / 2 / rng.gamma(half, 1.0, (n, 1)), most, axis=1)
        noise = rng.standard_normal((n, most))
        means = one.mean[0, 0] + noise * np.sqrt(variances / one.mean_precision[0])
    else:
        q, nu = prior.scale_degrees_of_freedom, prior.degrees_of_freedom
        psi = rng.gamma(q / 2, 2 * prior.scale[0, 0], (n, 1))
        variances = psi / 2 / rng.gamma(nu / 2, 1.0, (n, most))
        means = prior.mean[0] + prior.mean_sd[0] * rng.standard_normal((n, most))
    return size, alpha, weights, means, np.maximum(variances, 1e-300)


@pytest.mark.parametrize("concentration", ["static", "dynamic"])
@pytest.mark.parametrize("family", [bg.HierarchicalPrior, SharedVariance])
def test_prior_draws_weighted_by_their_likelihood_have_the_same_posterior(family, concentration):
    """Nothing here knows of partitions: K, alpha, weights and components are drawn."""
    prior = {
        bg.HierarchicalPrior: bg.HierarchicalPrior([1.0], [0.2], [1.5], 5.0, 3.0, [[0.3]]),
        SharedVariance: SharedVariance(OF_LINE),
    }[family]
    x, point, draws = np.array([[-1.1], [-0.8], [0.9]]), 0.1, 200_000
    number = bg.NumberOfComponents(
        [0.3, 0.2, 0.1, 0.4], concentration=concentration, alpha=("gamma", 2, 3)
    )
    rng = np.random.default_rng(3)
    size, alpha, weights, means, variances = simulated(number, prior, draws, rng)
    sd = np.sqrt(variances)
    rows = [(weights * stats.norm.pdf(value, means, sd)).sum(axis=1) for value in x[:, 0]]
    likelihood = np.prod(rows, axis=0)
    found = exact(x, number, prior)
    evidence = np.exp(found.log_evidence)
    functions = {
        "evidence": (np.ones(draws), 1.0),
        "log alpha": (np.log(alpha), found.mean_log_alpha),
        "alpha": (alpha, found.mean_alpha),
        "squares": ((weights**2).sum(axis=1), found.sum_of_squared_weights),
        "density": (
            (weights * stats.norm.pdf(point, means, sd)).sum(axis=1),
            np.exp(found.log_density(np.array([[point]]))[0]),
        ),
        **{f"K = {k}": (size == k, found.p_k[k - 1]) for k in (1, 2, 3, 4)},
    }
    for name, (values, expected) in functions.items():
        weighted = likelihood * values / evidence
        z = (weighted.mean() - expected) / (weighted.std() / np.sqrt(draws))
        assert abs(z) < 5, name
