import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.pivot import divergence, match, typical
from tests.helpers import random_covariances, random_parameters


def random_draws(rng, n_components, n_features, shape=(2, 30)):
    """Draws of mixtures that overlap."""
    size = (*shape, n_components)
    covariances = random_covariances(rng, int(np.prod(size)), n_features)
    return Draws(
        rng.dirichlet(np.full(n_components, 2.0), size=shape),
        rng.normal(size=(*size, n_features)),
        covariances.reshape(*size, n_features, n_features),
    )


def shuffled(rng, draws):
    order = rng.permuted(
        np.broadcast_to(np.arange(draws.weights.shape[2]), draws.weights.shape), axis=2
    )
    assert (order != np.arange(draws.weights.shape[2])).any()
    return draws.reorder(order)


def joint_divergence(pivot, theta):
    """KL( p*(x, z) || p(x, z) ), by the closed form of each component, one at a time."""
    total = 0.0
    for k in range(pivot.n_components):
        precision = np.linalg.inv(theta.covariances[k])
        gap = theta.means[k] - pivot.means[k]
        normal = 0.5 * (
            np.trace(precision @ pivot.covariances[k])
            - pivot.n_features
            + gap @ precision @ gap
            + np.log(np.linalg.det(theta.covariances[k]) / np.linalg.det(pivot.covariances[k]))
        )
        total += pivot.weights[k] * (np.log(pivot.weights[k] / theta.weights[k]) + normal)
    return total


@pytest.mark.parametrize(("n_components", "n_features"), [(1, 2), (2, 1), (3, 2), (4, 3), (5, 1)])
def test_the_permutation_is_the_best_of_all(n_components, n_features):
    rng = np.random.default_rng([n_components, n_features])
    draws = random_draws(rng, n_components, n_features)
    pivot = random_parameters(rng, n_components, n_features, spread=1.0)
    permutation = match(*draws, pivot).permutation
    assert permutation.shape == draws.weights.shape
    chosen = set()
    for place in np.ndindex(draws.weights.shape[:2]):
        theta = Parameters(*(array[place] for array in draws))
        best = min(
            itertools.permutations(range(n_components)),
            key=lambda order: joint_divergence(pivot, theta.reorder(order)),
        )
        assert tuple(permutation[place]) == best
        chosen.add(best)
    assert n_components == 1 or len(chosen) > 1


def test_the_cost_is_the_divergence_of_the_joint_distribution_of_row_and_label():
    rng = np.random.default_rng(0)
    pivot, theta = random_parameters(rng, 2, 1), random_parameters(rng, 2, 1)
    cost = divergence(theta.weights[None], theta.means[None], theta.covariances[None], pivot)[0]

    def integrand(x, k):
        star, other = (mixture.joint_log_density(np.array([[x]]), p)[0, k] for p in (pivot, theta))
        return np.exp(star) * (star - other)

    integral = sum(integrate.quad(integrand, -40, 40, args=(k,), limit=200)[0] for k in (0, 1))
    assert np.trace(cost) == pytest.approx(integral, rel=1e-6)
    itself = divergence(pivot.weights[None], pivot.means[None], pivot.covariances[None], pivot)[0]
    np.testing.assert_allclose(np.diag(itself), 0, atol=1e-12)


def test_the_order_in_which_draws_come_makes_no_difference():
    rng = np.random.default_rng(1)
    draws = random_draws(rng, 4, 2)
    pivot = random_parameters(rng, 4, 2, spread=1.0)
    relabelled = draws.reorder(match(*draws, pivot).permutation)
    other = shuffled(rng, draws)
    for ours, theirs in zip(
        relabelled, other.reorder(match(*other, pivot).permutation), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_the_inverse_permutation_brings_the_draws_back():
    rng = np.random.default_rng(2)
    draws = random_draws(rng, 4, 2)
    permutation = match(*draws, random_parameters(rng, 4, 2)).permutation
    assert (permutation != np.arange(4)).any()
    back = draws.reorder(permutation).reorder(np.argsort(permutation, axis=2))
    for ours, theirs in zip(draws, back, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_draws_near_the_pivot_are_named_after_it_whatever_the_units():
    rng = np.random.default_rng(3)
    pivot = random_parameters(rng, 3, 2, spread=5.0)
    repeated = [
        np.broadcast_to(array, (1, 40, *array.shape)).copy()
        for array in (pivot.weights, pivot.means, pivot.covariances)
    ]
    repeated[1] += 0.1 * rng.normal(size=repeated[1].shape)
    draws = shuffled(rng, Draws(*repeated))
    shift, scale = np.array([1e8, -5.0]), np.array([1e-7, 1e9])
    moved = Draws(
        draws.weights, shift + scale * draws.means, draws.covariances * np.outer(scale, scale)
    )
    for given, named_after in ((draws, pivot), (moved, pivot.rescale(shift, scale))):
        found = given.reorder(match(*given, named_after).permutation)
        np.testing.assert_allclose(
            found.weights, np.broadcast_to(pivot.weights, found.weights.shape)
        )


def test_overlapping_components_are_told_apart_by_weight_and_width():
    pivot = Parameters([0.9, 0.1], np.zeros((2, 1)), [[[1.0]], [[9.0]]])
    weights = np.array([[[0.15, 0.85], [0.88, 0.12]]])
    covariances = np.array([[[8.0, 1.1], [0.9, 11.0]]])[..., None, None]
    assert match(weights, np.zeros((1, 2, 2, 1)), covariances, pivot).permutation.tolist() == [
        [[1, 0], [0, 1]]
    ]


def test_a_component_that_has_no_weight_left_is_no_obstacle():
    pivot = Parameters([0.6, 0.4, 0.0], [[0.0], [5.0], [9.0]], np.ones((3, 1, 1)))
    weights = np.array([[[0.0, 0.5, 0.5]]])
    means = np.array([[[100.0], [5.1], [0.1]]])[None]
    permutation = match(weights, means, np.ones((1, 1, 3, 1, 1)), pivot).permutation
    assert permutation.tolist() == [[[2, 1, 0]]]


def test_blocks_of_draws_are_put_together_in_order(monkeypatch):
    rng = np.random.default_rng(4)
    draws = random_draws(rng, 3, 2)
    pivot = random_parameters(rng, 3, 2)
    whole = match(*draws, pivot).permutation
    monkeypatch.setattr("bayes_gmm.posterior.pivot.BLOCK_NUMBERS", 7 * 3 * 2 * 3)
    np.testing.assert_array_equal(match(*draws, pivot).permutation, whole)
    assert stats.entropy(np.unique(whole[..., 0], return_counts=True)[1]) > 0


def about(rng, theta, spread):
    """Draws close to a mixture, their components in random order."""
    factors = np.exp(spread * rng.normal(size=(3, 40, theta.n_components)))
    weights = theta.weights * factors
    means = theta.means + spread * rng.normal(size=(3, 40, *theta.means.shape))
    covariances = theta.covariances * factors[..., None, None]
    draws = Draws(weights / weights.sum(axis=-1, keepdims=True), means, covariances)
    return shuffled(rng, draws)


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_the_pivot_is_the_optimum_that_the_draws_are_about(unit):
    rng = np.random.default_rng(4)
    theirs, other = (random_parameters(rng, 3, 2, spread=4.0) for _ in range(2))
    empty = Parameters([0.0, 0.4, 0.6], other.means, other.covariances)
    draws = about(rng, theirs, 0.05)
    draws = Draws(draws.weights, unit * draws.means, unit**2 * draws.covariances)
    optima = [one.rescale(np.zeros(2), np.full(2, unit)) for one in (empty, other, theirs)]
    assert typical(draws, optima) is optima[2]


def test_where_no_optimum_is_near_the_draws_one_of_them_is_the_pivot():
    rng = np.random.default_rng(5)
    theirs, other = (random_parameters(rng, 3, 2, spread=4.0) for _ in range(2))
    draws = about(rng, theirs, 0.05)
    pivot = typical(draws, [other])
    assert any(np.array_equal(pivot.means, draws.means[chain, -1]) for chain in range(3))
    own = Draws(
        *(array[None, None] for array in (theirs.weights, theirs.means, theirs.covariances))
    )
    assert match(*own, pivot).distance[0, 0] < 0.1 < match(*own, other).distance[0, 0]
