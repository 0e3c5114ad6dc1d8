"""The families that are not conjugate: densities by SciPy and quadrature, draws by margins."""

import numpy as np
import pytest
from helpers import random_covariances, random_parameters, refuses
from scipy import integrate, stats
from scipy.special import gammaln

from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.independent_prior import IndependentPrior, lkj_log_constant
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior


def random_family(family, rng, n_components, n_features):
    """A prior with no two numbers alike."""
    shared = {
        "concentration": rng.uniform(1.5, 4.0, n_components),
        "mean": rng.normal(size=n_features),
        "mean_sd": rng.uniform(1.0, 3.0, n_features),
    }
    if family is IndependentPrior:
        own = {"sd": rng.uniform(0.5, 2.0, n_features), "sd_spread": 0.4, "eta": 1.7}
    else:
        own = {
            "degrees_of_freedom": n_features + 4.5,
            "scale": random_covariances(rng, 1, n_features)[0],
        }
    if family is HierarchicalPrior:
        own["scale_degrees_of_freedom"] = n_features + 2.2
    return family(**shared, **own)


FAMILIES = [IndependentPrior, HierarchicalPrior, SemiconjugatePrior]
SIZES = [(1, 1), (2, 1), (3, 2), (2, 3)]


def weights_and_means_by_scipy(prior, theta):
    total = stats.norm(prior.mean, prior.mean_sd).logpdf(theta.means).sum()
    if prior.n_components > 1:
        total += stats.dirichlet(prior.concentration).logpdf(theta.weights)
    return total


def independent_by_scipy(prior, theta):
    """Density of (sigma, R), and the Jacobian to Sigma from its definition."""
    n_features, total = theta.n_features, 0.0
    for covariance in theta.covariances:
        sd = np.sqrt(np.diagonal(covariance))
        correlation = covariance / np.outer(sd, sd)
        total += stats.lognorm(prior.sd_spread, scale=prior.sd).logpdf(sd).sum()
        total += (prior.eta - 1) * np.linalg.slogdet(correlation)[1]
        # Partial correlations on a vine are independent Betas: LKJ (2009), eq. 11 to 16.
        for k in range(1, n_features):
            b = prior.eta + (n_features - 1 - k) / 2
            total -= (n_features - k) * ((2 * b - 1) * np.log(2) + 2 * gammaln(b) - gammaln(2 * b))
        total -= np.log(2 * sd).sum()  # sigma_i to Sigma_ii
        total -= sum(np.log(sd[i] * sd[j]) for i in range(n_features) for j in range(i))
    return total


def hierarchical_by_quadrature(prior, theta):
    """One feature: the scale Psi integrated out numerically."""
    variances = theta.covariances.ravel()
    nu, q, v = prior.degrees_of_freedom, prior.scale_degrees_of_freedom, prior.scale[0, 0]

    def integrand(log_psi):
        psi = np.exp(log_psi)
        inner = stats.invgamma(0.5 * nu, scale=0.5 * psi).logpdf(variances).sum()
        return np.exp(inner + stats.gamma(0.5 * q, scale=2 * v).logpdf(psi) + log_psi)

    return np.log(integrate.quad(integrand, -25, 15, epsabs=0, limit=500)[0])


@pytest.mark.parametrize("size", SIZES)
def test_the_independent_prior_has_the_density_of_its_parts(size):
    rng = np.random.default_rng(size)
    prior = random_family(IndependentPrior, rng, *size)
    for _ in range(20):
        theta = random_parameters(rng, *size)
        expected = weights_and_means_by_scipy(prior, theta) + independent_by_scipy(prior, theta)
        assert prior.log_density(theta) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_the_semiconjugate_prior_has_the_density_of_its_parts(size):
    rng = np.random.default_rng(size)
    prior = random_family(SemiconjugatePrior, rng, *size)
    wishart = stats.invwishart(prior.degrees_of_freedom, prior.scale)
    for _ in range(20):
        theta = random_parameters(rng, *size)
        expected = weights_and_means_by_scipy(prior, theta)
        expected += sum(wishart.logpdf(covariance) for covariance in theta.covariances)
        assert prior.log_density(theta) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_the_hierarchical_prior_is_the_integral_over_its_scale(n_components):
    rng = np.random.default_rng(n_components)
    prior = random_family(HierarchicalPrior, rng, n_components, 1)
    for _ in range(5):
        theta = random_parameters(rng, n_components, 1)
        expected = weights_and_means_by_scipy(prior, theta)
        expected += hierarchical_by_quadrature(prior, theta)
        assert prior.log_density(theta) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("n_features", [2, 3])
def test_the_hierarchical_density_obeys_bayes_rule_at_every_scale(n_features):
    """p(Sigma) = p(Sigma | Psi) p(Psi) / p(Psi | Sigma), whatever Psi."""
    rng = np.random.default_rng(n_features)
    prior = random_family(HierarchicalPrior, rng, 3, n_features)
    nu, q = prior.degrees_of_freedom, prior.scale_degrees_of_freedom
    theta = random_parameters(rng, 3, n_features)
    precision = np.linalg.inv(theta.covariances).sum(axis=0)
    for psi in random_covariances(rng, 3, n_features):
        conditional = sum(stats.invwishart(nu, psi).logpdf(c) for c in theta.covariances)
        scale_given_all = np.linalg.inv(np.linalg.inv(prior.scale) + precision)
        expected = (
            conditional
            + stats.wishart(q, prior.scale).logpdf(psi)
            - stats.wishart(q + 3 * nu, scale_given_all).logpdf(psi)
        )
        assert prior.log_density_of_covariances(theta.choleskys) == pytest.approx(
            expected, rel=1e-9
        )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", SIZES)
def test_a_prior_in_other_units_is_the_same_prior(family, size):
    rng = np.random.default_rng(size)
    n_components, n_features = size
    prior = random_family(family, rng, *size)
    theta = random_parameters(rng, *size)
    shift, scale = rng.normal(size=n_features), 10.0 ** rng.uniform(-4, 4, n_features)
    log_jacobian = n_components * (n_features + 2) * np.log(scale).sum()
    moved = prior.rescale(shift, scale).log_density(theta.rescale(shift, scale))
    assert moved + log_jacobian == pytest.approx(prior.log_density(theta), rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_default_prior_follows_the_units_of_the_data(family):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2)) @ [[1.0, 0.5], [0.0, 2.0]]
    shift, scale = np.array([-3.0, 1e3]), np.array([1e-4, 1e4])
    here = family.default(x, 3).rescale(shift, scale)
    there = family.default(shift + scale * x, 3)
    for name in here.__dataclass_fields__:
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-9)


@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_draws_of_the_independent_prior_have_its_margins(n_features):
    rng = np.random.default_rng([7, n_features])
    prior = random_family(IndependentPrior, rng, 2, n_features)
    draws = [prior.sample(rng) for _ in range(1500)]
    covariances = np.stack([theta.covariances for theta in draws]).reshape(
        -1, n_features, n_features
    )
    sd = np.sqrt(np.einsum("nii->ni", covariances))
    for j in range(n_features):
        exact = stats.lognorm(prior.sd_spread, scale=prior.sd[j])
        assert stats.kstest(sd[:, j], exact.cdf).pvalue > 1e-3
        for i in range(j):
            # Every correlation of an LKJ matrix is 2 Beta(b, b) - 1, b = eta - 1 + D / 2.
            b = prior.eta - 1 + n_features / 2
            correlation = covariances[:, i, j] / (sd[:, i] * sd[:, j])
            assert stats.kstest(correlation, stats.beta(b, b, -1, 2).cdf).pvalue > 1e-3
    means = np.stack([theta.means for theta in draws]).reshape(-1, n_features)
    standard = (means - prior.mean) / prior.mean_sd
    assert stats.kstest(standard.ravel(), stats.norm.cdf).pvalue > 1e-3
    weights = np.stack([theta.weights for theta in draws])[:, 0]
    assert stats.kstest(weights, stats.beta(*prior.concentration).cdf).pvalue > 1e-3


def test_the_lkj_density_integrates_to_one():
    eta, c = 1.7, lkj_log_constant(1.7, 3)
    rng = np.random.default_rng(0)
    r = rng.uniform(-1, 1, size=(200_000, 3))
    determinant = 1 - (r**2).sum(axis=1) + 2 * r.prod(axis=1)
    density = np.where(determinant > 0, np.maximum(determinant, 0) ** (eta - 1), 0.0) * np.exp(c)
    mass, error = 8 * density.mean(), 8 * density.std() / np.sqrt(len(r))
    assert abs(mass - 1) < 5 * error < 0.02


@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_draws_of_the_hierarchical_prior_have_its_margins(n_features):
    rng = np.random.default_rng([8, n_features])
    prior = random_family(HierarchicalPrior, rng, 2, n_features)
    nu, q = prior.degrees_of_freedom, prior.scale_degrees_of_freedom
    draws = np.stack([prior.sample(rng).covariances for _ in range(1500)])
    whole = [np.linalg.slogdet(prior.scale)[1], np.linalg.slogdet(draws)[1]]
    v = rng.normal(size=n_features)
    # v'Psi v / v'Vv ~ chi2(q) and v'Psi v / v'Sigma v ~ chi2(nu - D + 1), independent.
    ratio = np.einsum("i,nkij,j->nk", v, draws, v) / (v @ prior.scale @ v)
    exact = stats.f(q, nu - n_features + 1)
    factor = q / (nu - n_features + 1)
    for k in range(2):
        assert stats.kstest(ratio[:, k] / factor, exact.cdf).pvalue > 1e-3
    # The components share one Psi: log ratios correlate as Var log chi2(q) says.
    shared = np.cov(np.log(ratio).T)[0, 1]
    expected = stats.loggamma(0.5 * q).var()
    assert shared == pytest.approx(expected, abs=5 * np.sqrt(2 / 1500) * np.log(ratio).var())
    assert np.isfinite(whole[0]) and np.isfinite(whole[1]).all()


@pytest.mark.parametrize("n_features", [1, 3])
def test_draws_of_the_semiconjugate_prior_have_its_margins(n_features):
    rng = np.random.default_rng([9, n_features])
    prior = random_family(SemiconjugatePrior, rng, 2, n_features)
    draws = np.stack([prior.sample(rng).covariances for _ in range(1500)])
    v = rng.normal(size=n_features)
    # v'Sigma^-1 v / v'Psi^-1 v ~ chi2(nu)
    inverse = np.einsum("i,nkij,j->nk", v, np.linalg.inv(draws), v)
    ratio = inverse / (v @ np.linalg.inv(prior.scale) @ v)
    for k in range(2):
        assert stats.kstest(ratio[:, k], stats.chi2(prior.degrees_of_freedom).cdf).pvalue > 1e-3


def test_the_default_semiconjugate_prior_has_the_covariances_of_the_conjugate_one():
    x = np.random.default_rng(0).normal(size=(30, 2)) * [1.0, 10.0]
    prior, conjugate = SemiconjugatePrior.default(x, 3), ConjugatePrior.default(x, 3)
    np.testing.assert_array_equal(prior.scale, conjugate.scale[0])
    assert prior.degrees_of_freedom == conjugate.degrees_of_freedom[0] == 4
    np.testing.assert_allclose(prior.mean, x.mean(axis=0))
    np.testing.assert_allclose(prior.mean_sd, 2 * x.std(axis=0, ddof=1))


def test_the_default_hierarchical_prior_of_one_feature_is_that_of_richardson_and_green():
    x = np.array([2.0, 3.0, 10.0])
    prior = HierarchicalPrior.default(x, 4)
    span = 8.0
    assert prior.mean == 6.0 and prior.mean_sd == span
    assert prior.degrees_of_freedom / 2 == 2  # alpha
    assert prior.scale_degrees_of_freedom / 2 == 0.2  # g
    assert 1 / prior.scale[0, 0] == pytest.approx(10 / span**2)  # h


def test_rows_that_coincide_are_too_many_where_the_integral_diverges():
    """One component on m rows that coincide, the other free: the mass below a size, as it falls."""
    prior = random_family(HierarchicalPrior, np.random.default_rng(0), 2, 1)

    def log_mass(m, log_precision):
        theta = Parameters([0.5, 0.5], [[0.0], [0.0]], [[[np.exp(-log_precision)]], [[1.0]]])
        # m rows at the mean; the mean within reach of them; d Sigma = Sigma^2 d precision.
        return (
            prior.log_density_of_covariances(theta.choleskys)
            + 0.5 * (m - 1) * log_precision
            - 2 * log_precision
            + log_precision
        )

    growth = {m: log_mass(m, 60.0) - log_mass(m, 50.0) for m in range(2, 30)}
    proper = [m for m, slope in growth.items() if slope < -1e-6]
    assert max(proper) == prior.most_tied_rows


@pytest.mark.parametrize("family", FAMILIES)
def test_bad_fields_are_refused(family):
    good = random_family(family, np.random.default_rng(0), 2, 2)
    fields = {name: getattr(good, name) for name in good.__dataclass_fields__}
    with refuses("concentration", "positive"):
        family(**fields | {"concentration": [1.0, 0.0]})
    with refuses("mean_sd", "(2,)"):
        family(**fields | {"mean_sd": [1.0, 2.0, 3.0]})
    with refuses("mean", "finite"):
        family(**fields | {"mean": [np.nan, 0.0]})
    with refuses("n_components", "whole number"):
        family.default(np.arange(6.0).reshape(3, 2) ** 2, 0)
    if family is IndependentPrior:
        with refuses("eta", "positive"):
            family(**fields | {"eta": 0.0})
    else:
        with refuses("degrees_of_freedom", "above 1"):
            family(**fields | {"degrees_of_freedom": 1.0})
        with refuses("scale", "positive definite"):
            family(**fields | {"scale": [[1.0, 1.0], [1.0, 1.0]]})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prior_says_whether_the_order_of_components_means_something(family):
    x = np.random.default_rng(0).normal(size=(20, 2))
    assert family.default(x, 3).is_exchangeable
    assert not random_family(family, np.random.default_rng(0), 2, 2).is_exchangeable
    assert random_family(family, np.random.default_rng(0), 2, 2).is_proper
