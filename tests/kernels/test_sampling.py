"""Statistics of sampled labels, and of sampled missing entries, have the means of expected ones."""

import numpy as np
import pytest

from bayes_gmm.data import Observations
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.sampling import sampled_statistics
from bayes_gmm.model.parameters import Parameters

THETA = Parameters([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], [np.eye(2), [[1.5, 0.4], [0.4, 0.8]]])
NAMES = "count", "first", "second"


def rows(n=60):
    return np.random.default_rng(0).normal(size=(n, 2)) * 1.5


def observed(kind):
    x, spread = rows(), np.ones(2)
    if kind == "missing":
        x[::3, 0] = x[1::5, 1] = np.nan
        x = x[~np.isnan(x).all(axis=1)]
    observations = Observations.of(x, spread=spread, missing="mar")
    if kind == "row weights":
        observations = observations.weighted(np.arange(60.0) % 4, spread=spread)
    return observations


def flat(statistics):
    return np.concatenate([getattr(statistics, name).ravel() for name in NAMES])


@pytest.mark.parametrize("kind", ["complete", "row weights", "missing"])
def test_the_mean_over_draws_is_the_expected_statistic(kind):
    observations = observed(kind)
    inside = THETA.rescale(-observations.origin / observations.scale, 1 / observations.scale)
    functions, draw = inside.log_quadratic(), sampled_statistics(observations)
    expected = flat(expectation(observations)(functions))
    draws = np.stack([flat(draw(functions, key)) for key in range(2000)])
    error = draws.std(axis=0) / np.sqrt(len(draws))
    assert (error > 0).all()
    assert np.abs((draws.mean(axis=0) - expected) / error).max() < 5


def test_rows_far_apart_take_the_label_of_their_component():
    z = np.arange(40) % 2
    x = rows(40) + 100 * z[:, None]
    theta = Parameters([0.5, 0.5], [[0.0, 0.0], [100.0, 100.0]], np.stack([4 * np.eye(2)] * 2))
    observations = Observations.of(x)
    inside = theta.rescale(-observations.origin / observations.scale, 1 / observations.scale)
    found = sampled_statistics(observations)(inside.log_quadratic(), 3)
    own = (x - observations.origin) / observations.scale
    for k in range(2):
        residual = own[z == k] - inside.means[k]
        np.testing.assert_allclose(found.count[k], 20)
        np.testing.assert_allclose(found.first[k], residual.sum(axis=0), atol=1e-10)
        np.testing.assert_allclose(found.second[k], residual.T @ residual, atol=1e-10)


def test_the_key_decides_the_labels():
    observations = observed("complete")
    functions, draw = THETA.log_quadratic(), sampled_statistics(observations)
    one, same, other = (draw(functions, key).count for key in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_weights_that_are_no_whole_numbers_are_rounded_to_copies():
    observations = observed("complete").weighted(np.full(60, 1.3), spread=np.ones(2))
    count = sampled_statistics(observations)(THETA.log_quadratic(), 0).count
    np.testing.assert_allclose(count, np.rint(count))
    assert count.sum() == 78
