"""The mass of a mode: exact with one component, and where the labels are beyond doubt."""

from math import factorial

import numpy as np
import pytest
from helpers import refuses

import bayes_gmm as bg
from bayes_gmm.model.marginal_likelihood import cheeseman_stutz, complete_data
from bayes_gmm.model.statistics import SufficientStatistics, from_log_quadratic
from tests.exact_enumeration import enumerate_posterior


def labelled(x: np.ndarray, labels: list[int], n_components: int) -> SufficientStatistics:
    share = np.eye(n_components)[labels]
    return SufficientStatistics.of(x, share, np.zeros((n_components, x.shape[1])), 0.0)


@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_one_component_has_its_evidence_by_the_chain_rule(n_features):
    """p(x) is a product of predictive densities, each the ratio of two evidences of fewer rows."""
    rng = np.random.default_rng(n_features)
    x = rng.normal(size=(6, n_features))
    prior = bg.Prior.default(x, 1)
    exact = enumerate_posterior(x, prior).log_evidence
    assert complete_data(prior, labelled(x, [0] * 6, 1)) == pytest.approx(exact, rel=1e-10)


def test_it_is_the_sum_of_all_labellings_over_one_of_them():
    """Far apart, one labelling and its renamings are all that counts."""
    x = np.array([[-20.0], [-19.5], [-20.4], [20.0], [20.3]])
    prior = bg.Prior([1.0, 1.0], [0.0], 0.01, 3.0, [[1.0]])
    theta = bg.Parameters([0.6, 0.4], [[-20.0], [20.0]], [[[0.5]], [[0.5]]])
    functions = theta.log_quadratic()
    mass = cheeseman_stutz(prior, functions, from_log_quadratic(x, functions))
    evidence = enumerate_posterior(x, prior).log_evidence
    assert mass + np.log(factorial(2)) == pytest.approx(evidence, abs=1e-6)


def test_doubt_about_the_labels_adds_their_entropy():
    x = np.random.default_rng(1).normal(size=(8, 1))
    prior = bg.Prior([1.0, 1.0], [0.0], 0.5, 4.0, [[1.0]])
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
        complete_data(bg.Prior.flat(1, 2), labelled(x, [0] * 20, 1))
    with refuses("scale", "rounding"):
        tiny = bg.Prior([1.0], [0.0, 0.0], 1.0, 3.0, 1e-30 * np.eye(2))
        complete_data(tiny, labelled(x, [0] * 20, 1))
