import numpy as np
import pytest

from bayes_gmm.data import Observations
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.draws import Draws
from bayes_gmm.results.invariants import invariants, mixture_moments, watched_rows
from tests.helpers import random_parameters, random_prior

SHIFT, SCALE = np.array([1e4, -3.0]), np.array([1e-3, 1e5])
N_COMPONENTS, CHAINS, N_DRAWS = 3, 2, 4


@pytest.fixture(scope="module")
def problem():
    """Draws, data and prior in awkward units."""
    rng = np.random.default_rng(0)
    pivot = random_parameters(rng, N_COMPONENTS, 2)
    x, _ = mixture.sample(pivot, 60, rng)
    mixtures = [random_parameters(rng, N_COMPONENTS, 2) for _ in range(CHAINS * N_DRAWS)]
    mixtures = [theta.rescale(SHIFT, SCALE) for theta in mixtures]
    arrays = (
        np.stack([getattr(theta, name) for theta in mixtures])
        for name in ("weights", "means", "covariances")
    )
    draws = Draws(*(array.reshape(CHAINS, N_DRAWS, *array.shape[1:]) for array in arrays))
    prior = random_prior(rng, N_COMPONENTS, 2).rescale(SHIFT, SCALE)
    observations = Observations.of(SHIFT + SCALE * x)
    return mixtures, draws, observations, prior, pivot.rescale(SHIFT, SCALE)


def test_every_quantity_is_what_the_book_says_of_each_draw(problem):
    mixtures, draws, observations, prior, pivot = problem
    found = invariants(*draws, observations, prior, pivot)
    rows = observations.values[found["point"].to_numpy()]
    assert found["log_density_at"].shape == (CHAINS, N_DRAWS, 5)
    for (chain, draw), theta in zip(np.ndindex(CHAINS, N_DRAWS), mixtures, strict=True):
        at = found.isel(chain=chain, draw=draw)
        likelihood = mixture.log_likelihood(observations.values, theta)
        assert float(at["log_likelihood"]) == pytest.approx(likelihood, rel=1e-9)
        assert float(at["log_posterior"]) == pytest.approx(
            likelihood + prior.log_density(theta), rel=1e-9
        )
        assert float(at["sum_squared_weights"]) == pytest.approx((theta.weights**2).sum())
        np.testing.assert_allclose(
            at["log_density_at"], mixture.marginal_log_density(rows, theta), rtol=1e-9
        )
        means = (theta.means - SHIFT) / SCALE  # raw moments lose their digits far from zero
        mean = theta.weights @ means
        np.testing.assert_allclose(at["mixture_mean"], SHIFT + SCALE * mean, rtol=1e-11)
        second = np.einsum("k,ki,kj->ij", theta.weights, means, means)
        within = np.einsum("k,kij->ij", theta.weights, theta.covariances / np.outer(SCALE, SCALE))
        log_det = np.log(np.linalg.det(within + second - np.outer(mean, mean)))
        assert float(at["mixture_covariance_logdet"]) == pytest.approx(
            log_det + 2 * np.log(SCALE).sum(), rel=1e-8
        )


def test_moments_of_the_mixture_are_those_of_its_draws():
    rng = np.random.default_rng(1)
    theta = random_parameters(rng, 3, 2)
    x, _ = mixture.sample(theta, 200_000, rng)
    mean, covariance = mixture_moments(theta.weights, theta.means, theta.covariances)
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=5 * x.std() / np.sqrt(len(x)))
    np.testing.assert_allclose(covariance, np.cov(x.T), rtol=0.03, atol=0.05)


def test_no_renaming_changes_them(problem):
    _, draws, observations, prior, pivot = problem
    rng = np.random.default_rng(2)
    identical = np.broadcast_to(np.arange(N_COMPONENTS), draws.weights.shape)
    order = rng.permuted(identical, axis=2)
    assert (order != identical).any()
    shared = random_prior(rng, 1, 2).rescale(SHIFT, SCALE)
    prior = type(prior)(  # exchangeable, as a prior must be for names to mean nothing
        np.full(N_COMPONENTS, 1.5), shared.mean[0], 0.5, 7.0, shared.scale[0]
    )
    before = invariants(*draws, observations, prior, pivot)
    after = invariants(*draws.reorder(order), observations, prior, pivot)
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-12, err_msg=str(name))
        assert np.ptp(values.to_numpy()) > 0


def test_names_and_coordinates_are_the_users(problem):
    _, draws, observations, prior, pivot = problem
    named = Observations(
        observations.values,
        ("width", "height"),
        np.array([f"row {n}" for n in range(60)]),
        observations.origin,
        observations.scale,
    )
    found = invariants(*draws, named, prior, pivot)
    assert list(found["feature"].values) == ["width", "height"]
    assert all(str(label).startswith("row ") for label in found["point"].values)
    assert found["mixture_mean"].dims == ("chain", "draw", "feature")
    assert found["log_density_at"].dims == ("chain", "draw", "point")


def test_the_density_is_watched_from_the_edge_of_the_data_to_their_thick(problem):
    _, _, observations, _, pivot = problem
    standard = pivot.rescale(-observations.origin / observations.scale, 1 / observations.scale)
    rows = watched_rows(observations, standard)
    density = mixture.marginal_log_density(observations.values, pivot)
    rank = np.argsort(np.argsort(density))[rows]
    np.testing.assert_array_equal(rank, np.rint(np.array([0.1, 0.3, 0.5, 0.7, 0.9]) * 59))


def test_two_rows_are_enough():
    observations = Observations.of(np.array([[0.0], [1.0]]))
    standard = Parameters([1.0], [[0.5]], [[[1.0]]])
    assert sorted(watched_rows(observations, standard)) == [0, 1]
