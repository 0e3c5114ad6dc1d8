"""The mass of a mode: exact with one component, and where the labels are beyond doubt."""

from math import factorial

import numpy as np
import pytest
from helpers import refuses
from scipy.integrate import quad
from scipy.special import gammaln

import bayes_gmm as bg
from bayes_gmm.model.marginal_likelihood import cheeseman_stutz, complete_data
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.statistics import SufficientStatistics, from_log_quadratic
from bayes_gmm.model.structures import CODES, Structure
from tests.exact_enumeration import enumerate_posterior


def labelled(x: np.ndarray, labels: list[int], n_components: int) -> SufficientStatistics:
    share = np.eye(n_components)[labels]
    return SufficientStatistics.of(x, share, np.zeros((n_components, x.shape[1])), 0.0)


@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_one_component_has_its_evidence_by_the_chain_rule(n_features):
    """p(x) is a product of predictive densities, each the ratio of two evidences of fewer rows."""
    rng = np.random.default_rng(n_features)
    x = rng.normal(size=(6, n_features))
    prior = bg.ConjugatePrior.default(x, 1)
    exact = enumerate_posterior(x, prior).log_evidence
    assert complete_data(prior, labelled(x, [0] * 6, 1)) == pytest.approx(exact, rel=1e-10)


def test_it_is_the_sum_of_all_labellings_over_one_of_them():
    """Far apart, one labelling and its renamings are all that counts."""
    x = np.array([[-20.0], [-19.5], [-20.4], [20.0], [20.3]])
    prior = bg.ConjugatePrior([1.0, 1.0], [0.0], 0.01, 3.0, [[1.0]])
    theta = bg.Parameters([0.6, 0.4], [[-20.0], [20.0]], [[[0.5]], [[0.5]]])
    functions = theta.log_quadratic()
    mass = cheeseman_stutz(prior, functions, from_log_quadratic(x, functions))
    evidence = enumerate_posterior(x, prior).log_evidence
    assert mass + np.log(factorial(2)) == pytest.approx(evidence, abs=1e-6)


def test_doubt_about_the_labels_adds_their_entropy():
    x = np.random.default_rng(1).normal(size=(8, 1))
    prior = bg.ConjugatePrior([1.0, 1.0], [0.0], 0.5, 4.0, [[1.0]])
    theta = bg.Parameters([0.5, 0.5], [[-0.5], [0.5]], [[[1.0]], [[1.0]]])
    functions = theta.log_quadratic()
    statistics = from_log_quadratic(x, functions)
    share = np.exp(functions(x))
    share /= share.sum(axis=1, keepdims=True)
    expected = complete_data(prior, statistics) - (share * np.log(share)).sum()
    assert cheeseman_stutz(prior, functions, statistics) == pytest.approx(expected, rel=1e-12)


def test_an_improper_prior_and_one_that_rounding_makes_so_are_refused():
    x = np.outer(np.linspace(-1, 1, 20), [1.0, 1.0])  # on a line
    with refuses("prior", "improper"):
        complete_data(bg.ConjugatePrior.flat(1, 2), labelled(x, [0] * 20, 1))
    with refuses("scale", "numerically singular"):
        tiny = bg.ConjugatePrior([1.0], [0.0, 0.0], 1.0, 3.0, 1e-30 * np.eye(2))
        complete_data(tiny, labelled(x, [0] * 20, 1))


@pytest.mark.parametrize("code", ["VII", "EII", "VVI", "EEI"])
def test_variances_are_integrated_out_over_the_structure(code):
    """By quadrature over log variances, given the labels; means and weights have closed forms."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(9, 2)) * [1.0, 3.0]
    statistics = labelled(x, [0, 0, 0, 0, 0, 1, 1, 1, 1], 2)
    prior = bg.ConjugatePrior([1.0, 2.0], [0.5, 0.0], [0.3, 0.6], [4.0, 5.0], np.diag([1.5, 4.0]))
    after = prior.posterior(statistics)
    shared = {"VII": (1,), "EII": (0, 1), "VVI": (), "EEI": (0,)}[code]
    # Marginals of the inverse-Wishart; one variance for several has their geometric mean.
    shape = np.repeat((prior.degrees_of_freedom[:, None] - 1) / 2, 2, axis=1)
    half = np.einsum("kjj->kj", prior.scale) / 2
    more = np.repeat(statistics.count[:, None] / 2, 2, axis=1)
    spread = np.einsum("kjj->kj", after.scale - prior.scale) / 2
    alone = shape.mean(axis=shared), half.mean(axis=shared)
    with_rows = alone[0] + more.sum(axis=shared), alone[1] + spread.sum(axis=shared)

    def log_variances(shape: np.ndarray, half: np.ndarray) -> float:
        """Log of the integral of prod v^(-a - 1) exp(-b / v)."""
        return sum(
            np.log(quad(lambda u, a=a: np.exp(-a * (u + np.exp(-u) - 1)), -15, 25, points=[0])[0])
            - a * (np.log(b / a) + 1)  # the peak of logarithms, at v = b / a
            for a, b in zip(np.ravel(shape), np.ravel(half), strict=True)
        )

    def log_rest(one: bg.ConjugatePrior) -> float:
        alpha, kappa = one.concentration, one.mean_precision
        return gammaln(alpha).sum() - gammaln(alpha.sum()) - np.log(kappa).sum()

    expected = (
        log_variances(*with_rows)
        - log_variances(*alone)
        + log_rest(after)
        - log_rest(prior)
        - 9 * np.log(2 * np.pi)
    )
    mass = complete_data(prior, statistics, Structure.of(code, 2))
    assert mass == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("code", CODES)
def test_the_mass_of_many_rows_is_their_peak_less_half_a_log_for_each_parameter(code):
    """Schwarz's approximation: what is left does not grow from 10^5 to 10^7 rows."""
    rng = np.random.default_rng(8)
    x = np.concatenate([rng.normal(size=(50, 3)), rng.normal(size=(50, 3)) * [1, 2, 3] + 9])
    structure = Structure.of(code, 3)
    prior = bg.ConjugatePrior.default(x, 2)
    left = []
    for times in (1e3, 1e5):
        one = labelled(x, [0] * 50 + [1] * 50, 2)
        statistics = SufficientStatistics(
            0.0, times * one.count, times * one.first, times * one.second, one.center
        )
        theta = bg.ConjugatePrior.flat(2, 3).posterior(statistics)
        covariances = structure.covariances(theta.scale, statistics.count, theta.scale)
        at = Parameters(statistics.count / statistics.count.sum(), statistics.mean, covariances)
        log_det = np.linalg.slogdet(2 * np.pi * covariances)[1]
        peak = statistics.count @ (np.log(at.weights) - 0.5 * (log_det + 3))
        n_parameters = 1 + 2 * 3 + structure.n_parameters(2, 3)
        schwarz = peak - 0.5 * n_parameters * np.log(statistics.count.sum())
        left.append(complete_data(prior, statistics, structure) - schwarz)
    assert left[1] == pytest.approx(left[0], abs=0.05)
    equal = complete_data(prior, one, structure, equal_weights=True)
    alpha = prior.concentration
    dirichlet = gammaln(alpha + one.count).sum() - gammaln(alpha.sum() + 100) + gammaln(alpha.sum())
    assert equal - 100 * np.log(1 / 2) == pytest.approx(
        complete_data(prior, one, structure) - dirichlet + gammaln(alpha).sum(), rel=1e-10
    )
