from itertools import product

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import beta

from bayes_gmm.model import mixture
from bayes_gmm.model.marginal_likelihood import complete_data
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.posterior.dispensable import borne_out, log_empty
from bayes_gmm.posterior.draws import Draws

ALLOWANCE = 1.2  # for the noise of 2000 draws, several standard errors


def prior_of(n_components, concentration):
    return ConjugatePrior(
        concentration=np.full(n_components, concentration),
        mean=[0.5],
        mean_precision=0.1,
        degrees_of_freedom=3.0,
        scale=[[1.0]],
    )


def labellings(x, prior):
    """Log p(x, z) of every labelling, and its statistics."""
    k = prior.n_components
    found = [
        SufficientStatistics.of(x, np.eye(k)[list(z)], np.zeros((k, 1)), 0.0)
        for z in product(range(k), repeat=len(x))
    ]
    return np.array([complete_data(prior, one) for one in found]), found


def exact_posterior(x, prior, rng, n):
    """Independent draws of the mixture's posterior: a labelling, then parameters given it."""
    log_joint, found = labellings(x, prior)
    chance = np.exp(log_joint - logsumexp(log_joint))
    drawn = [prior.posterior(found[i]).sample(rng) for i in rng.choice(len(found), n, p=chance)]
    draws = Draws(
        *(
            np.stack([getattr(one, name) for one in drawn]).reshape(4, n // 4, *shape)
            for name, shape in (
                ("weights", (prior.n_components,)),
                ("means", (prior.n_components, 1)),
                ("covariances", (prior.n_components, 1, 1)),
            )
        )
    )
    heights = [mixture.log_likelihood(x, one) for one in drawn]
    return draws, np.reshape(heights, (4, n // 4))


@pytest.mark.parametrize(("k", "concentration"), [(2, 1.0), (2, 3.0), (3, 0.7)])
def test_the_odds_are_those_of_the_exact_evidence(k, concentration):
    rng = np.random.default_rng(k)
    x = np.array([[-2.1], [-1.6], [0.2], [1.9], [2.6]])
    prior = prior_of(k, concentration)
    more, fewer = (
        logsumexp(labellings(x, one)[0]) for one in (prior, prior_of(k - 1, concentration))
    )
    draws, heights = exact_posterior(x, prior, rng, 2000)
    odds = np.exp(more - fewer)
    assert borne_out(draws, heights, concentration, x, odds / ALLOWANCE)
    assert not borne_out(draws, heights, concentration, x, odds * ALLOWANCE)
    # Whatever the components are called, and in whatever units.
    order = rng.permuted(np.broadcast_to(np.arange(k), draws.weights.shape), axis=2)
    moved = draws.reorder(order)
    moved = Draws(moved.weights, 7 - 1e4 * moved.means, 1e8 * moved.covariances)
    heights = heights - len(x) * np.log(1e4)
    assert borne_out(moved, heights, concentration, 7 - 1e4 * x, odds / ALLOWANCE)
    assert not borne_out(moved, heights, concentration, 7 - 1e4 * x, odds * ALLOWANCE)


@pytest.mark.parametrize(("concentration", "k", "n"), [(1.0, 2, 5), (0.4, 4, 30), (5.0, 3, 200)])
def test_the_prior_chance_of_an_empty_component(concentration, k, n):
    weight = beta(concentration, (k - 1) * concentration)
    chance = weight.expect(lambda w: (1 - w) ** n)
    assert np.exp(log_empty(concentration, k, n)) == pytest.approx(chance, rel=1e-6)


def test_two_clusters_far_apart_are_borne_out_by_draws_that_could_have_shown_otherwise():
    rng = np.random.default_rng(0)
    theta = Parameters([0.5, 0.5], [[0.0], [20.0]], np.ones((2, 1, 1)))
    x, _ = mixture.sample(theta, 80, rng)
    height = mixture.log_likelihood(x, theta)

    def found(n, concentration):
        fields = (theta.weights, theta.means, theta.covariances)
        draws = Draws(*(np.broadcast_to(a, (4, n, *a.shape)) for a in fields))
        return borne_out(draws, np.full((4, n), height), concentration, x, odds=20.0)

    # At odds of 20 a component is empty in one draw of 1620.
    assert found(210, 1.0)
    assert not found(195, 1.0)
    # Under this prior it is in one of millions.
    assert not found(1000, 5.0)
