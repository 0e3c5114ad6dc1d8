"""What variational Bayes expects, against draws, and the identities of its lower bound."""

import numpy as np
import pytest
from compound_symmetry import CompoundSymmetry
from helpers import joint_by_scipy, random_parameters, random_prior, z_scores

from bayes_gmm.model.marginal_likelihood import cheeseman_stutz
from bayes_gmm.model.statistics import SufficientStatistics, entropy, from_log_quadratic
from bayes_gmm.model.structures import DRAWN, Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.model.variational import Expected, divergence, expected_log_joint

STRUCTURES = [*(Structure.of(code, 2) for code in DRAWN), CompoundSymmetry()]
K, D, N_DRAWS = 3, 2, 800

for_all_structures = pytest.mark.parametrize("structure", STRUCTURES, ids=lambda one: one.name)


class Case:
    """Rows, a prior that differs in every component, and its posterior given some labels."""

    def __init__(self, structure, seed):
        rng = np.random.default_rng(seed)
        self.plain = random_prior(rng, K, D)
        self.prior = StructuredPrior.of(self.plain, structure)
        self.x = 2 * rng.normal(size=(12, D))
        functions = random_parameters(rng, K, D).log_quadratic()
        self.q = self.prior.posterior(from_log_quadratic(self.x, functions))
        self.draws = [self.q.sample(rng) for _ in range(N_DRAWS)]


def assert_means(draws, expected):
    found, expected = np.reshape(draws, (len(draws), -1)), np.ravel(expected)
    vary = np.ptp(found, axis=0) > 0
    assert np.abs(z_scores(found[:, vary], expected[vary])).max() < 5
    np.testing.assert_allclose(found[0, ~vary], expected[~vary], atol=1e-12)


@for_all_structures
def test_expectations_are_the_means_of_draws(structure):
    case = Case(structure, 1)
    expected = Expected.under(case.q)
    rows = case.x[:3]
    assert_means(
        [joint_by_scipy(rows, theta) for theta in case.draws], expected.log_quadratic(rows)
    )
    precisions = [np.linalg.inv(theta.covariances) for theta in case.draws]
    assert_means(precisions, np.linalg.inv(expected.parameters.covariances))
    assert_means([np.linalg.slogdet(one)[1] for one in precisions], expected.log_det)
    assert_means([np.log(theta.weights) for theta in case.draws], expected.log_weights)


@for_all_structures
def test_the_divergence_is_the_mean_of_log_q_less_the_log_prior(structure):
    case = Case(structure, 2)
    expected = Expected.under(case.q)
    found = [case.q.log_density(theta) - case.prior.log_density(theta) for theta in case.draws]
    assert_means(found, divergence(case.q, case.prior, expected))
    assert divergence(case.q, case.q, expected) == pytest.approx(0, abs=1e-10)


@for_all_structures
def test_an_update_raises_the_bound_to_that_of_the_complete_data(structure):
    """Given r the best q has the bound log p(x, r) + H(r), and then the best r has a higher one."""
    case = Case(structure, 3)
    q = case.q
    for _ in range(5):
        expected = Expected.under(q)
        statistics = from_log_quadratic(case.x, expected.log_quadratic)
        before = statistics.log_normalizer - divergence(q, case.prior, expected)
        given = cheeseman_stutz(case.plain, expected.log_quadratic, statistics, structure)
        q = case.prior.posterior(statistics)
        after = Expected.under(q)
        written_out = (
            expected_log_joint(after.log_quadratic, statistics)
            + entropy(expected.log_quadratic, statistics)
            - divergence(q, case.prior, after)
        )
        assert written_out == pytest.approx(given, abs=1e-9)
        assert given >= before - 1e-10


def test_the_expected_log_joint_density_is_a_sum_over_rows():
    rng = np.random.default_rng(4)
    x, one, other = rng.normal(size=(9, D)), *(random_parameters(rng, K, D) for _ in range(2))
    shares = rng.dirichlet(np.ones(K), size=9)
    statistics = SufficientStatistics.of(x, shares, one.means, 0.0)
    functions = other.log_quadratic()
    expected = (shares * functions(x)).sum()
    assert expected_log_joint(functions, statistics) == pytest.approx(expected, rel=1e-12)
