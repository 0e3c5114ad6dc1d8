"""The score, held to finite differences of a log-likelihood that SciPy computes."""

from typing import NamedTuple

import numpy as np
import pytest
from helpers import gradient, random_parameters
from scipy import stats
from scipy.special import logsumexp

from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.score import Score, score
from bayes_gmm.model.statistics import from_log_quadratic


class Free(NamedTuple):
    """Coordinates of the score; the weights need not sum to one, the factors not be triangular."""

    log_weights: np.ndarray
    means: np.ndarray
    choleskys: np.ndarray

    def log_likelihood(self, x: np.ndarray) -> float:
        factors = np.tril(self.choleskys)
        log_joint = [
            weight
            + np.reshape(stats.multivariate_normal(mean, factor @ factor.T).logpdf(x), len(x))
            for weight, mean, factor in zip(self.log_weights, self.means, factors, strict=True)
        ]
        return float(logsumexp(log_joint, axis=0).sum())


def problem(n_components: int, n_features: int) -> tuple[np.ndarray, Parameters]:
    rng = np.random.default_rng(10 * n_components + n_features)
    theta = random_parameters(rng, n_components, n_features, spread=1.0)
    return 2 * rng.normal(size=(15, n_features)), theta


@pytest.mark.parametrize("coordinate", Score._fields)
@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (2, 1), (3, 2), (2, 4)])
def test_the_score_is_the_gradient(sizes, coordinate):
    x, theta = problem(*sizes)
    free = Free(np.log(theta.weights), theta.means, theta.choleskys)
    found = score(theta, from_log_quadratic(x, theta.log_quadratic()))

    def along(value):
        return free._replace(**{coordinate: value}).log_likelihood(x)

    expected = gradient(along, getattr(free, coordinate))
    assert np.abs(expected).max() > 0.1
    size = np.abs(expected).max()
    np.testing.assert_allclose(
        getattr(found, coordinate), expected, rtol=1e-7, atol=1e-8 * size, err_msg=coordinate
    )


def test_the_score_with_respect_to_a_factor_is_triangular():
    x, theta = problem(3, 3)
    found = score(theta, from_log_quadratic(x, theta.log_quadratic())).choleskys
    assert (np.triu(found, 1) == 0).all()
    assert (np.abs(found[:, 2, 0]) > 0).all()


def test_moving_along_the_score_raises_the_likelihood():
    x, theta = problem(3, 2)
    free = Free(np.log(theta.weights), theta.means, theta.choleskys)
    found = score(theta, from_log_quadratic(x, theta.log_quadratic()))
    squared = sum((part**2).sum() for part in (found.means, found.choleskys))
    step = 1e-6
    moved = free._replace(
        means=free.means + step * found.means, choleskys=free.choleskys + step * found.choleskys
    )
    gain = moved.log_likelihood(x) - free.log_likelihood(x)
    assert gain == pytest.approx(step * squared, rel=1e-2)
