"""Complete-data densities: those of SciPy, over all orders of the components, and their draws."""

from itertools import permutations

import numpy as np
import pytest
from helpers import random_covariances, random_parameters
from scipy import integrate, stats
from scipy.special import logsumexp

from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.independent_prior import IndependentPrior
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import DRAWN, Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.complete_data import CompleteData
from bayes_gmm.posterior.conditionals import Conditionals, inverse_wishart

K, D = 3, 2


def labelled_rows(seed, centers):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(15, D)), rng.integers(0, K, 15)
    return x, z, SufficientStatistics.of(x, np.eye(K)[z], centers, 0.0)


def semiconjugate():
    return SemiconjugatePrior(
        [1.0, 1.0, 1.0], [0.5, -0.5], [2.0, 3.0], 5.0, [[1.0, 0.2], [0.2, 2.0]]
    )


def mixtures(n, code="VVV"):
    """Mixtures of a structure, stacked."""
    rng = np.random.default_rng(7)
    some = [random_parameters(rng, K, D) for _ in range(n)]
    structure = Structure.named(code, D)
    return [
        Parameters(
            one.weights,
            one.means,
            structure.covariances(one.covariances, np.ones(K), one.covariances),
        )
        for one in some
    ]


def stacked(some):
    return (
        np.stack([one.weights for one in some]),
        np.stack([one.means for one in some]),
        np.stack([one.choleskys for one in some]),
    )


def mean_over_orders(log_density, theta):
    orders = [list(order) for order in permutations(range(K))]
    return logsumexp([log_density(theta.reorder(order)) for order in orders]) - np.log(len(orders))


@pytest.mark.parametrize("code", DRAWN)
def test_the_mean_of_conjugate_posteriors_is_over_all_labellings_and_orders(code):
    prior = ConjugatePrior([1.5] * K, [0.0, 1.0], 0.3, 5.0, [[2.0, 0.5], [0.5, 1.0]])
    own = StructuredPrior.of(prior, Structure.named(code, D))
    products = [own.posterior(labelled_rows(s, np.zeros((K, D)))[2]) for s in range(4)]
    some = mixtures(5, code)

    def log_density(theta):
        return logsumexp([one.log_density(theta) for one in products]) - np.log(4)

    proposal = CompleteData.of_conjugate(products)
    for symmetric in (True, False):
        found = proposal.log_densities(*stacked(some), symmetric=symmetric)
        expected = [
            mean_over_orders(log_density, one) if symmetric else log_density(one) for one in some
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_conditional_densities_are_those_of_scipy():
    prior, rng = semiconjugate(), np.random.default_rng(0)
    draw = random_parameters(rng, K, D)
    x, z, statistics = labelled_rows(0, draw.means)
    product = Conditionals.of(prior, draw, statistics, rng)
    [theta] = mixtures(1)
    count = np.bincount(z, minlength=K)
    expected = stats.dirichlet(1 + count).logpdf(theta.weights)
    for k in range(K):
        residual = x[z == k] - draw.means[k]
        wishart = stats.invwishart(5 + count[k], prior.scale + residual.T @ residual)
        precision = np.linalg.inv(draw.covariances[k])
        total = np.diag(prior.mean_sd**-2.0) + count[k] * precision
        pull = prior.mean / prior.mean_sd**2 + precision @ x[z == k].sum(axis=0)
        center = np.linalg.solve(total, pull)
        normal = stats.multivariate_normal(center, np.linalg.inv(total))
        expected += wishart.logpdf(theta.covariances[k]) + normal.logpdf(theta.means[k])
    proposal = CompleteData.of_conditionals([product])
    found = proposal.log_densities(*stacked([theta]), symmetric=False)
    assert found[0] == pytest.approx(expected, rel=1e-10)


def test_draws_of_conditionals_have_their_density():
    """Margins: standardized means, traces of scale and precision, single weights."""
    prior, rng = semiconjugate(), np.random.default_rng(1)
    draw = random_parameters(rng, K, D)
    statistics = labelled_rows(1, draw.means)[2]
    product = Conditionals.of(prior, draw, statistics, rng)
    draws = [product.sample(rng) for _ in range(2000)]
    means = np.stack([one.means for one in draws])
    precisions = product.mean_whitener.swapaxes(1, 2) @ product.mean_whitener
    z = np.einsum("nki,kij->nkj", means - product.mean, np.linalg.cholesky(precisions))
    for k in range(K):
        assert stats.kstest(z[:, k].ravel(), stats.norm.cdf).pvalue > 1e-3
        # tr(Psi Sigma^-1) ~ chi2(nu D)
        inverse = np.linalg.inv(np.stack([one.covariances[k] for one in draws]))
        trace = np.einsum("ij,nji->n", product.scale[k], inverse)
        exact = stats.chi2(product.degrees_of_freedom[k] * D)
        assert stats.kstest(trace, exact.cdf).pvalue > 1e-3
        share = np.array([one.weights[k] for one in draws])
        own = product.concentration
        assert stats.kstest(share, stats.beta(own[k], own.sum() - own[k]).cdf).pvalue > 1e-3


def test_the_scale_of_the_hierarchical_prior_is_drawn_given_the_covariances():
    rng = np.random.default_rng(2)
    prior = HierarchicalPrior(
        [1.0] * K, [0.0, 0.0], 1.0, 4.5, 3.2, random_covariances(rng, 1, D)[0]
    )
    draw = random_parameters(rng, K, D)
    scale = np.linalg.inv(np.linalg.inv(prior.scale) + np.linalg.inv(draw.covariances).sum(axis=0))
    drawn = np.stack([inverse_wishart(prior, draw, rng)[1] for _ in range(3000)])
    v = np.array([0.7, -1.1])
    ratio = np.einsum("i,nij,j->n", v, drawn, v) / (v @ scale @ v)
    assert stats.kstest(ratio, stats.chi2(3.2 + K * 4.5).cdf).pvalue > 1e-3
    assert inverse_wishart(prior, draw, rng)[0] == 4.5


def test_log_normal_sds_have_an_inverse_wishart_of_the_same_median_and_spread():
    prior = IndependentPrior([1.0], [0.0, 0.0], 1.0, [0.5, 2.0], 0.6)
    degrees, scale = inverse_wishart(prior, None, None)
    for j, sd in enumerate(prior.sd):
        log_sd = np.linspace(-8, 12, 40_001)
        variance = stats.invgamma(0.5 * (degrees - 1), scale=0.5 * scale[j, j])
        density = 2 * np.exp(2 * log_sd) * variance.pdf(np.exp(2 * log_sd))
        mean, square = (integrate.trapezoid(log_sd**power * density, log_sd) for power in (1, 2))
        assert mean == pytest.approx(np.log(sd), abs=1e-6)
        assert np.sqrt(square - mean**2) == pytest.approx(0.6, rel=1e-5)
