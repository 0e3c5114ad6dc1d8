import numpy as np
import pandas as pd
import pytest

from bayes_gmm.data import Observations
from bayes_gmm.model import mixture
from bayes_gmm.model.mixture import mixture_moments
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.invariants import invariants, monitor
from bayes_gmm.results.tree import labelled_invariants
from tests.helpers import random_parameters, random_prior

SHIFT, SCALE = np.array([1e4, -3.0]), np.array([1e-3, 1e5])
N_COMPONENTS, CHAINS, N_DRAWS = 3, 2, 4


def invariants_of(draws, observations, *more, **known):
    return labelled_invariants(invariants(draws, observations, *more, **known), observations)


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
    found = invariants_of(draws, observations, prior, pivot)
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
        shares = mixture.responsibilities(observations.values, theta)
        assert int(at["occupied_components"]) == (shares.sum(axis=0) >= 0.5).sum()
        pairs = [str(pair).split(" & ") for pair in found["pair"].to_numpy()]
        together = [shares[int(a)] @ shares[int(b)] for a, b in pairs]
        np.testing.assert_allclose(at["co_clustering"], together, rtol=1e-6, atol=1e-12)
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
    before = invariants_of(draws, observations, prior, pivot)
    after = invariants_of(draws.reorder(order), observations, prior, pivot)
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-12, err_msg=str(name))
        assert np.ptp(values.to_numpy()) > 0 or name == "occupied_components"


def test_names_and_coordinates_are_the_users(problem):
    _, draws, observations, prior, pivot = problem
    named = Observations(
        observations.values,
        ("width", "height"),
        pd.Index([f"row {n}" for n in range(60)]),
        observations.origin,
        observations.scale,
    )
    found = invariants_of(draws, named, prior, pivot)
    assert list(found["feature"].values) == ["width", "height"]
    assert all(str(label).startswith("row ") for label in found["point"].values)
    assert found["mixture_mean"].dims == ("chain", "draw", "feature")
    assert found["log_density_at"].dims == ("chain", "draw", "point")
    assert found["co_clustering"].dims == ("chain", "draw", "pair")
    assert all(str(label).count("row ") == 2 for label in found["pair"].values)


def standard(observations, pivot):
    return pivot.rescale(-observations.origin / observations.scale, 1 / observations.scale)


def test_the_density_is_watched_from_the_edge_of_the_data_to_their_thick(problem):
    _, _, observations, _, pivot = problem
    rows = monitor(observations, standard(observations, pivot)).points
    density = mixture.marginal_log_density(observations.values, pivot)
    rank = np.argsort(np.argsort(density))[rows]
    np.testing.assert_array_equal(rank, np.rint(np.array([0.1, 0.3, 0.5, 0.7, 0.9]) * 59))


def test_pairs_of_rows_lie_near_boundaries_and_within_components(problem):
    _, _, observations, _, pivot = problem
    monitored = monitor(observations, standard(observations, pivot))
    shares = mixture.responsibilities(observations.values, pivot)
    joint = mixture.joint_log_density(observations.values, pivot)
    core = joint.argmax(axis=0)
    doubtful = shares.max(axis=1).argmin()
    first, second = np.argsort(shares[doubtful])[[-1, -2]]
    pairs = [tuple(pair) for pair in monitored.pairs]
    assert pairs[:2] == [(doubtful, core[first]), (doubtful, core[second])]
    assert pairs[-1] == (core[first], core[second])
    for row, other in pairs[2:-1]:
        assert other == core[shares[row].argmax()]
    assert len(pairs) == 5


@pytest.mark.parametrize("change", ["order of the rows", "names", "units"])
def test_the_same_rows_are_watched_whatever_the_order_names_and_units(problem, change):
    _, _, observations, _, pivot = problem
    here = monitor(observations, standard(observations, pivot))
    x, order, shift, scale = observations.values, np.arange(60), np.zeros(2), np.ones(2)
    if change == "order of the rows":
        order = np.random.default_rng(0).permutation(60)
    elif change == "names":
        pivot = pivot.reorder([2, 0, 1])
    else:
        shift, scale = np.array([5.0, -1e9]), np.array([1e6, 1e-6])
    moved = Observations.of(shift + scale * x[order])
    there = monitor(moved, standard(moved, pivot.rescale(shift, scale)))
    np.testing.assert_array_equal(order[there.points], here.points)
    np.testing.assert_array_equal(order[there.pairs], here.pairs)


@pytest.mark.parametrize("n_components", [1, 2])
def test_two_rows_are_enough(n_components):
    observations = Observations.of(np.array([[0.0], [1.0]]))
    weights = np.full(n_components, 1 / n_components)
    means = np.linspace(0.4, 0.7, n_components)[:, None]
    monitored = monitor(observations, Parameters(weights, means, np.ones((n_components, 1, 1))))
    assert sorted(monitored.points) == [0, 1]
    assert (monitored.pairs[:, 0] != monitored.pairs[:, 1]).all()
    assert len(monitored.rows) == 2 + 2 * len(monitored.pairs)


def test_what_the_sampler_knows_is_taken_from_it(problem):
    _, draws, observations, prior, pivot = problem
    full = invariants_of(draws, observations, prior, pivot)
    counts = np.zeros(draws.weights.shape)
    counts[..., 0] = 60
    known = {
        "log_likelihood": full["log_likelihood"].to_numpy() + 1.0,
        "component_counts": counts,
        "log_prior": np.full((CHAINS, N_DRAWS), 7.0),
    }
    told = invariants_of(draws, observations, object(), pivot, **known)
    np.testing.assert_array_equal(told["log_likelihood"], known["log_likelihood"])
    np.testing.assert_array_equal(told["log_posterior"], known["log_likelihood"] + 7.0)
    np.testing.assert_array_equal(told["occupied_components"], 1)
    silent = invariants_of(draws, observations, object(), pivot)
    assert "log_posterior" not in silent
    assert set(silent) == set(full) - {"log_posterior"}
    for name in silent:
        np.testing.assert_array_equal(silent[name], full[name])


def test_a_prior_that_tells_components_apart_meets_them_in_the_samplers_order(problem):
    mixtures, draws, observations, prior, pivot = problem
    assert not prior.is_exchangeable
    found = invariants_of(draws, observations, prior, pivot)
    log_prior = (found["log_posterior"] - found["log_likelihood"]).to_numpy().ravel()
    np.testing.assert_allclose(log_prior, [prior.log_density(theta) for theta in mixtures])
