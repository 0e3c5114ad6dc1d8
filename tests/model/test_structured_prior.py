"""The prior of shared covariances: SciPy's densities, once, and the mode of a general optimizer."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import covariances_from_free, random_covariances, random_prior
from scipy import stats
from scipy.optimize import minimize

from bayes_gmm.model.marginal_likelihood import complete_data
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import CODES, DRAWN, Structure
from bayes_gmm.model.structures.prior import StructuredPrior, within

K, D = 2, 3


def mixture_of(code: str, rng: np.random.Generator) -> Parameters:
    structure = Structure.of(code, D)
    scatter = random_covariances(rng, K, D)
    covariances = structure.covariances(scatter, np.array([1.0, 2.0]), scatter)
    return Parameters([0.3, 0.7], rng.normal(size=(K, D)), covariances)


def rows_with_labels(rng: np.random.Generator) -> SufficientStatistics:
    x, labels = rng.normal(size=(40, D)) * [1.0, 2.0, 0.5], np.arange(40) % 3 == 0
    return SufficientStatistics.of(x, np.eye(K)[labels.astype(int)], np.zeros((K, D)), 0.0)


def by_scipy(code: str, prior: ConjugatePrior, theta: Parameters) -> float:
    """The densities as the page of equations has them; nu and Psi are means over components."""
    nu, psi = prior.degrees_of_freedom, prior.scale
    freedom, half = (nu - D + 1) / 2, np.einsum("kjj->kj", psi) / 2
    variances = np.einsum("kjj->kj", theta.covariances)
    gamma, wishart = stats.invgamma.logpdf, stats.invwishart.logpdf
    matrices = theta.covariances
    of_covariances = {
        "VVV": lambda: sum(wishart(s, n, p) for s, n, p in zip(matrices, nu, psi, strict=True)),
        "EEE": lambda: wishart(matrices[0], nu.mean(), psi.mean(axis=0)),
        "VVI": lambda: gamma(variances, freedom[:, None], scale=half).sum(),
        "EEI": lambda: gamma(variances[0], freedom.mean(), scale=half.mean(axis=0)).sum(),
        "VII": lambda: gamma(variances[:, 0], freedom, scale=half.mean(axis=1)).sum(),
        "EII": lambda: gamma(variances[0, 0], freedom.mean(), scale=half.mean()),
    }[code]()
    of_means = sum(
        stats.multivariate_normal(m, s / kappa).logpdf(mean)
        for mean, s, m, kappa in zip(
            theta.means, matrices, prior.mean, prior.mean_precision, strict=True
        )
    )
    return stats.dirichlet(prior.concentration).logpdf(theta.weights) + of_means + of_covariances


@pytest.mark.parametrize("code", DRAWN)
def test_the_density_is_that_of_scipy(code):
    rng = np.random.default_rng(DRAWN.index(code))
    prior, theta = random_prior(rng, K, D), mixture_of(code, rng)
    own = StructuredPrior.of(prior, Structure.of(code, D))
    assert own.log_density(theta) == pytest.approx(by_scipy(code, prior, theta), rel=1e-11)
    parts = own.log_density_by_part(theta.weights, theta.means, theta.choleskys)
    assert np.shape(parts.covariances) == (() if code[0] == "E" else (K,))


def log_posterior(own: StructuredPrior, rows: SufficientStatistics, theta: Parameters) -> float:
    """Log of prior times density of the rows with their labels."""
    precision = np.linalg.inv(theta.covariances)
    gap = rows.mean - theta.means
    spread = rows.scatter + rows.count[:, None, None] * gap[:, :, None] * gap[:, None, :]
    log_rows = rows.count @ (np.log(theta.weights) - np.linalg.slogdet(theta.covariances)[1] / 2)
    return own.log_density(theta) + log_rows - 0.5 * np.einsum("kij,kji->", spread, precision)


@pytest.mark.parametrize("code", CODES)
def test_the_mode_is_the_maximum_that_a_general_optimizer_finds(code):
    rng = np.random.default_rng(20 + CODES.index(code))
    structure = Structure.of(code, D)
    own = StructuredPrior.of(random_prior(rng, K, D), structure)
    rows = rows_with_labels(rng)
    mode = own.posterior(rows).mode()

    def cost(free: np.ndarray) -> float:
        covariances = covariances_from_free(structure, free, K, D)
        return -log_posterior(own, rows, Parameters.trusted(mode.weights, mode.means, covariances))

    size = structure.n_parameters(K, D)
    found = min(minimize(cost, 0.5 * rng.normal(size=size)).fun for _ in range(4))
    assert -log_posterior(own, rows, mode) == pytest.approx(found, rel=1e-8)
    for move in 1e-3 * rng.normal(size=(5, K, D)):
        moved = Parameters.trusted(mode.weights, mode.means + move, mode.covariances)
        assert log_posterior(own, rows, moved) < log_posterior(own, rows, mode)


def test_one_covariance_has_its_prior_once_as_in_mclust():
    """Fraley & Raftery (2007), Table 1: (Psi + sum_k W_k + pulls) / (nu + N + D + K + 1)."""
    rng = np.random.default_rng(1)
    rows, psi = rows_with_labels(rng), random_covariances(rng, 1, D)[0]
    prior = ConjugatePrior(np.ones(K), np.zeros(D), 0.1, D + 2.0, psi)
    pull = rows.count * 0.1 / (rows.count + 0.1)
    total = psi + rows.scatter.sum(axis=0)
    total += np.einsum("k,ki,kj->ij", pull, rows.mean, rows.mean)
    mode = StructuredPrior.of(prior, Structure.of("EEE", D)).posterior(rows).mode()
    expected = total / (D + 2 + 40 + D + K + 1)
    np.testing.assert_allclose(mode.covariances, [expected] * K, rtol=1e-12)


@pytest.mark.parametrize("code", CODES)
def test_a_flat_prior_is_flat_over_any_structure(code):
    rng = np.random.default_rng(2)
    structure, flat = Structure.of(code, D), ConjugatePrior.flat(K, D)
    own = StructuredPrior.of(flat, structure)
    assert own.log_density(mixture_of(code, rng)) == 0.0
    ridge = StructuredPrior.of(replace(flat, scale=1e-9 * np.eye(D)), structure)
    rows = rows_with_labels(rng)
    np.testing.assert_allclose(
        ridge.posterior(rows).mode().covariances, own.posterior(rows).mode().covariances, rtol=1e-6
    )


@pytest.mark.parametrize("code", DRAWN)
def test_draws_have_the_mean_and_the_spread_of_the_density(code):
    rng = np.random.default_rng(3)
    prior = random_prior(rng, K, D)
    own = StructuredPrior.of(prior, Structure.of(code, D))
    drawn = [own.sample(rng) for _ in range(3000)]
    inverse = np.array([1 / np.einsum("kjj->kj", one.covariances) for one in drawn])
    nu, psi = prior.degrees_of_freedom[:, None], np.einsum("kjj->kj", prior.scale)
    axes = {"VVV": (), "VVI": (), "EEE": (0,), "EEI": (0,), "VII": (1,), "EII": (0, 1)}[code]
    shape, half = (nu - D + 1) / 2 + 0 * psi, psi / 2
    expected = shape.mean(axis=axes, keepdims=True) / half.mean(axis=axes, keepdims=True)
    whitened = np.array(
        [
            np.linalg.solve(c, (m - p)[..., None])[..., 0] * np.sqrt(q)[:, None]
            for one in drawn
            for c, m, p, q in [
                (one.choleskys, one.means, prior.mean, prior.mean_precision),
            ]
        ]
    )
    error = inverse.std(axis=0) / np.sqrt(len(drawn))
    assert (np.abs(inverse.mean(axis=0) - expected) < 5 * error).all()
    assert (np.abs(whitened.mean(axis=0)) < 5 / np.sqrt(len(drawn))).all()
    assert (np.abs((whitened**2).mean(axis=0) - 1) < 5 * np.sqrt(2 / len(drawn))).all()


@pytest.mark.parametrize("code", DRAWN)
def test_the_evidence_of_labelled_rows_is_prior_times_rows_over_posterior(code):
    rng = np.random.default_rng(4)
    prior, rows, structure = random_prior(rng, K, D), rows_with_labels(rng), Structure.of(code, D)
    own, theta = StructuredPrior.of(prior, structure), mixture_of(code, rng)
    evidence = complete_data(prior, rows, structure)
    constant = 20 * D * np.log(2 * np.pi)
    by_bayes = log_posterior(own, rows, theta) - own.posterior(rows).log_density(theta) - constant
    assert evidence == pytest.approx(by_bayes, rel=1e-10)


def test_unconstrained_covariances_have_the_conjugate_prior_itself():
    prior = random_prior(np.random.default_rng(5), K, D)
    assert within(prior, Structure.of("VVV", D)) is prior
    one = random_prior(np.random.default_rng(5), K, 1)
    assert within(one, Structure.of("V", 1)) is one
    spheres = StructuredPrior.of(one, Structure.of("V", 1))._replace(
        structure=Structure.of("VII", 2)
    )
    theta = Parameters([0.2, 0.8], [[0.0], [1.0]], [[[0.5]], [[2.0]]])
    assert spheres.log_density(theta) == pytest.approx(one.log_density(theta), rel=1e-12)


@pytest.mark.parametrize("code", CODES)
def test_the_prior_counts_as_often_as_there_are_parameters(code):
    structure = Structure.of(code, D)
    every = {"VVI": D, "VVV": D * (D + 1) / 2}["VVI" if code[2] == "I" else "VVV"] * K
    expected = structure.n_parameters(K, D) / every
    if code in DRAWN:  # one covariance instead of K, one variance instead of D
        assert expected == (1 / K if code[0] == "E" else 1) * (1 / D if code[1] == "I" else 1)
    prior = random_prior(np.random.default_rng(6), K, D)
    counted = StructuredPrior.of(prior, structure).counted
    np.testing.assert_allclose(counted.scale, expected * prior.scale, rtol=1e-12)


@pytest.mark.parametrize("code", ["VEI", "EVI"])
def test_a_prior_of_covariances_that_share_parts_is_proper(code):
    """Its integral over log volumes and contrasts does not grow with the box."""
    structure, rng = Structure.of(code, 2), np.random.default_rng(7)
    prior = ConjugatePrior(
        [1.0] * K, [0.0, 0.0], 1.0, 1.5, random_covariances(rng, K, 2)
    )  # above D - 1
    own = StructuredPrior.of(prior, structure)
    found = []
    for reach in (36.0, 54.0):
        axis = np.arange(-reach / 3, reach, 1.0)
        free = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        free[:, (2 if code == "VEI" else 1) :] -= reach / 3  # contrasts have both signs
        log_variances = structure.entries(structure.covariances_at(free, K, 2))
        terms = own.power[:, None] * log_variances + np.einsum(
            "kjj,nkj->nkj", own.counted.scale, np.exp(np.minimum(-log_variances, 300))
        )
        terms -= structure.share(K, 2) * 2.0 * log_variances
        found.append(np.exp(-0.5 * terms.sum(axis=(1, 2))).sum())
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0], rel=1e-4)
