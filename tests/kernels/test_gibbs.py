"""The compiled draw of the conjugate posterior, against the book and against exact moments."""

import numpy as np
import pytest
from helpers import random_parameters, random_prior, z_scores

from bayes_gmm.kernels.gibbs import Prior, State, Sums, draw_conjugate
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics


class Case:
    """Statistics of labelled rows about some centers, and a prior."""

    def __init__(self, n_components, n_features):
        rng = np.random.default_rng([n_components, n_features])
        self.prior = random_prior(rng, n_components, n_features)
        self.theta = random_parameters(rng, n_components, n_features)
        x = rng.normal(size=(30, n_features))
        z = rng.integers(max(n_components - 1, 1), size=30)  # the last component is empty
        shares = np.eye(n_components)[z]
        self.statistics = SufficientStatistics.of(x, shares, self.theta.means, 0.0)
        self.posterior = self.prior.posterior(self.statistics)

    def draw(self, rng):
        state = State.of(self.theta)
        sums = Sums(
            self.statistics.count.copy(),
            self.statistics.first.copy(),
            np.tril(self.statistics.second),  # what is above the diagonal is not made
        )
        assert draw_conjugate(rng, Prior.conjugate(self.prior), state, sums) == -1
        return state


def reference_draw(posterior: ConjugatePrior, rng: np.random.Generator) -> Parameters:
    """Bartlett's decomposition with the random numbers taken in the order of the kernel."""
    n_components, n_features = posterior.mean.shape
    gammas = np.array([rng.standard_gamma(alpha) for alpha in posterior.concentration])
    means, covariances = [], []
    for k in range(n_components):
        triangle = np.zeros((n_features, n_features))
        for i in range(n_features):
            triangle[i, :i] = [rng.standard_normal() for _ in range(i)]
            half = 0.5 * (posterior.degrees_of_freedom[k] - n_features + 1 + i)
            triangle[i, i] = np.sqrt(2 * rng.standard_gamma(half))
        root = np.linalg.cholesky(posterior.scale[k]) @ np.linalg.inv(triangle)
        noise = np.array([rng.standard_normal() for _ in range(n_features)])
        covariances.append(root @ root.T)
        means.append(posterior.mean[k] + root @ noise / np.sqrt(posterior.mean_precision[k]))
    return Parameters(gammas / gammas.sum(), np.array(means), np.array(covariances))


@pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (2, 2), (3, 5)])
def test_a_draw_is_the_books_given_the_same_random_numbers(n_components, n_features):
    case = Case(n_components, n_features)
    state = case.draw(np.random.default_rng(5))
    expected = reference_draw(case.posterior, np.random.default_rng(5))
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(getattr(state, name), getattr(expected, name), rtol=1e-10)
    offset, _, whitener = expected.log_quadratic()
    np.testing.assert_allclose(state.offset, offset, rtol=1e-10)
    precision = state.whitener.swapaxes(1, 2) @ state.whitener
    np.testing.assert_allclose(precision, whitener.swapaxes(1, 2) @ whitener, rtol=1e-9)
    assert not np.triu(state.whitener, 1).any()


def test_draws_have_the_moments_of_the_posterior_and_of_its_own_sample():
    case = Case(2, 2)
    rng, posterior = np.random.default_rng(6), case.posterior
    drawn = [case.draw(rng) for _ in range(4000)]
    books = [posterior.sample(rng) for _ in range(2000)]

    def quantities(thetas):
        weights, means = (np.array([getattr(t, n) for t in thetas]) for n in ("weights", "means"))
        covariances = np.array([t.covariances for t in thetas])
        gap = means - posterior.mean
        return {
            "log weights": np.log(weights),
            "means": means,
            "means squared": gap[..., :, None] * gap[..., None, :],
            "precisions": np.linalg.inv(covariances),
            "log determinants": np.linalg.slogdet(covariances)[1],
            "weights": weights,
        }

    exact = {
        "weights": posterior.concentration / posterior.concentration.sum(),
        "means": posterior.mean,
        "precisions": posterior.degrees_of_freedom[:, None, None] * np.linalg.inv(posterior.scale),
    }
    ours, theirs = quantities(drawn), quantities(books)
    for name, expected in exact.items():
        assert np.abs(z_scores(ours[name], expected)).max() < 5, name
    for name, values in ours.items():
        gap = values.mean(axis=0) - theirs[name].mean(axis=0)
        error = np.hypot(
            values.std(axis=0) / np.sqrt(len(drawn)), theirs[name].std(axis=0) / np.sqrt(len(books))
        )
        assert np.abs(gap / error).max() < 5, name


def test_a_component_whose_scale_is_lost_to_rounding_is_named():
    case = Case(2, 2)
    prior = Prior.conjugate(case.prior)
    prior.scale[1] = 0.0
    sums = Sums.zeros(2, 2)
    assert draw_conjugate(np.random.default_rng(0), prior, State.of(case.theta), sums) == 1
