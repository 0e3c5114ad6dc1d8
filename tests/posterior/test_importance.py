"""How far a distribution is from the posterior: orders by enumeration, gaps by closed forms."""

from itertools import permutations

import numpy as np
import pytest
from helpers import random_prior

from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior import importance
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.importance import gap, log_densities

ONE = np.zeros(1)  # the only optimum


def drawn(q, n, rng):
    draws = [q.sample(rng) for _ in range(n)]
    return Draws(*(np.array([getattr(one, name) for one in draws])[None] for name in Draws._fields))


@pytest.mark.parametrize("code", ["VVV", "EEE", "VII"])
def test_the_density_is_the_average_over_all_orders(code):
    rng = np.random.default_rng(1)
    q = StructuredPrior.of(random_prior(rng, 3, 2), Structure.of(code, 2))
    draws = drawn(q, 20, rng)
    orders = [np.broadcast_to(order, (1, 20, 3)) for order in permutations(range(3))]
    expected = np.logaddexp.reduce(
        [
            q.log_densities(one.weights, one.means, np.linalg.cholesky(one.covariances))
            for one in (draws.reorder(order) for order in orders)
        ]
    ) - np.log(len(orders))
    np.testing.assert_allclose(log_densities(q, draws), expected, rtol=1e-10)


def test_components_that_the_prior_tells_apart_have_one_order():
    rng = np.random.default_rng(7)
    q = StructuredPrior.of(random_prior(rng, 3, 2), Structure.of("VVV", 2))
    draws = drawn(q, 20, rng)
    expected = q.log_densities(draws.weights, draws.means, np.linalg.cholesky(draws.covariances))
    np.testing.assert_allclose(log_densities(q, draws, exchangeable=False), expected, rtol=1e-12)


def test_of_many_components_the_order_of_the_draws_counts(monkeypatch):
    rng = np.random.default_rng(2)
    prior = random_prior(rng, 3, 2)
    apart = prior.rescale(np.zeros(2), np.full(2, 1e-3))
    means = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    q = StructuredPrior.of(
        type(prior)(
            prior.concentration, means, prior.mean_precision, prior.degrees_of_freedom, apart.scale
        ),
        Structure.of("VVV", 2),
    )
    draws = drawn(q, 20, rng)
    exact = log_densities(q, draws)
    monkeypatch.setattr(importance, "MOST", 2)
    np.testing.assert_allclose(log_densities(q, draws), exact, rtol=1e-9)


@pytest.mark.parametrize("sd", [0.8, 1.2])
def test_the_gap_between_two_normals_is_their_divergence(sd):
    draws = np.random.default_rng(3).normal(size=(4, 5000))
    log_ratio = 7.0 - np.log(sd) - 0.5 * draws**2 * (sd**-2 - 1)
    found = gap(log_ratio, ONE)
    assert found.divergence == pytest.approx(np.log(sd) + 0.5 * (sd**-2 - 1), abs=0.01)
    assert found.k < found.limit == 0.7
    assert found.left_out == 0


def test_a_distribution_that_is_much_too_narrow_has_a_large_k():
    """The ratios of N(0, s^2) to N(0, 1) have a tail of index k = 1 - 1 / s^2."""
    draws = np.random.default_rng(4).normal(size=20_000)
    for sd in (3.0, 10.0):
        assert gap(-0.5 * draws**2 * (sd**-2 - 1), ONE).k > 0.7


def test_equal_ratios_are_no_gap_and_infinite_ones_are_the_largest():
    assert gap(np.full((2, 100), 3.0), ONE)[:1] == (0.0,)
    assert gap(np.array([[0.0, np.inf] * 50]), ONE).k == np.inf


def test_very_few_draws_have_no_tail():
    assert np.isnan(gap(np.array([0.0]), ONE).k)
    assert np.isnan(gap(np.arange(24.0), ONE).k)


def test_few_draws_are_held_to_a_lower_limit():
    assert gap(np.random.default_rng(5).normal(size=100), ONE).limit == pytest.approx(0.5)


def test_other_optima_hold_a_share_of_the_posterior():
    ratio = np.random.default_rng(6).normal(size=100)
    assert gap(ratio, np.log([0.6, 0.3, 0.1])).left_out == pytest.approx(0.4)
