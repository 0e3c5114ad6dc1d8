"""The log density of every row and its gradient: those of the book, wherever the rows lie."""

import numpy as np
import pytest
from helpers import random_parameters

from bayes_gmm.kernels.kernel import c_order
from bayes_gmm.kernels.pointwise import NO_COTANGENT, add_log, sweep
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import LogQuadratic

FEATURES = [1, 2, 3, 12, 13, 20]  # written-out loops end at 12
ROWS = [1, 2, 511, 512, 513, 1500]  # a chunk is 512 rows


def log_density_and_gradient(*arrays):
    return sweep(*c_order(*arrays))


def by_the_definition(x, log_quadratic, cotangent):
    """Values and gradient from arrays of N x K x D numbers, differentiated by hand."""
    log_rho = log_quadratic(x)
    values = np.logaddexp.reduce(log_rho, axis=1)
    share = cotangent[:, None] * np.exp(log_rho - values[:, None])
    residual = x[:, None, :] - log_quadratic.center
    whitened = np.einsum("kij,nkj->nki", log_quadratic.whitener, residual)
    d_center = np.einsum("nk,nki,kij->kj", share, whitened, log_quadratic.whitener)
    d_whitener = -np.tril(np.einsum("nk,nki,nkj->kij", share, whitened, residual))
    return values, share.sum(axis=0), d_center, d_whitener


@pytest.mark.parametrize("n_rows", ROWS)
@pytest.mark.parametrize("n_features", FEATURES)
@pytest.mark.parametrize("n_components", [1, 2, 7])
def test_values_and_gradient_are_those_of_the_definition(n_components, n_features, n_rows):
    rng = np.random.default_rng([n_components, n_features, n_rows])
    theta = random_parameters(rng, n_components, n_features, spread=1.0)
    x = 2 * rng.normal(size=(n_rows, n_features))
    cotangent = rng.normal(size=n_rows)  # of both signs
    found = log_density_and_gradient(x, *theta.log_quadratic(), cotangent)
    np.testing.assert_allclose(found[0], mixture.marginal_log_density(x, theta), rtol=1e-12)
    sizes = by_the_definition(np.abs(x), theta.log_quadratic(), np.abs(cotangent))
    expected = by_the_definition(x, theta.log_quadratic(), cotangent)
    for ours, exact, size in zip(found, expected, sizes, strict=True):
        assert ours.shape == exact.shape
        assert np.abs(ours - exact).max() <= 1e-12 * max(np.abs(size).max(), np.abs(exact).max())
    np.testing.assert_array_equal(
        log_density_and_gradient(x, *theta.log_quadratic(), NO_COTANGENT)[0], found[0]
    )


@pytest.mark.parametrize("n_features", [2, 14])
def test_what_is_above_the_diagonal_is_not_read(n_features):
    rng = np.random.default_rng(0)
    offset, center, whitener = random_parameters(rng, 3, n_features).log_quadratic()
    x, cotangent = rng.normal(size=(30, n_features)), rng.normal(size=30)
    filled = whitener + np.triu(np.full((n_features, n_features), 7.0), 1)
    for a, b in zip(
        log_density_and_gradient(x, offset, center, whitener, cotangent),
        log_density_and_gradient(x, offset, center, filled, cotangent),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_rows_far_from_zero_and_in_small_units_lose_no_digits():
    rng = np.random.default_rng(1)
    theta = random_parameters(rng, 3, 2)
    x = np.round(rng.normal(size=(100, 2)) * 2**10) / 2**10
    # Powers of two, so that the shifted problem is the same problem exactly.
    shift, scale = np.array([2.0**20, 0.0]), np.array([1.0, 2.0**-30])
    theta = theta.rescale(np.round(theta.means[0] * 0), np.ones(2))
    means = np.round(theta.means * 2**10) / 2**10
    offset, _, whitener = theta.log_quadratic()
    cotangent = np.ones(100)
    near = log_density_and_gradient(x, offset, means, whitener, cotangent)
    far = log_density_and_gradient(
        shift + scale * x, offset, shift + scale * means, whitener / scale, cotangent
    )
    units = [1.0, 1.0, 1 / scale, scale]
    for a, b, unit in zip(near, far, units, strict=True):
        np.testing.assert_array_equal(a * unit, b)


def test_an_empty_component_changes_nothing():
    rng = np.random.default_rng(2)
    offset, center, whitener = random_parameters(rng, 3, 2).log_quadratic()
    offset = np.array([offset[0], -np.inf, offset[2]])
    x, cotangent = rng.normal(size=(40, 2)), rng.normal(size=40)
    full = log_density_and_gradient(x, offset, center, whitener, cotangent)
    kept = [0, 2]
    fewer = log_density_and_gradient(x, offset[kept], center[kept], whitener[kept], cotangent)
    np.testing.assert_allclose(full[0], fewer[0], rtol=1e-14)
    for a, b in zip(full[1:], fewer[1:], strict=True):
        np.testing.assert_allclose(a[kept], b, rtol=1e-12)
        assert np.abs(a[1]).max() < 1e-290


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["offset", "center", "whitener"])
def test_parameters_that_are_no_numbers_give_no_numbers(place, bad):
    rng = np.random.default_rng(3)
    parts = {n: a.copy() for n, a in random_parameters(rng, 3, 2).log_quadratic()._asdict().items()}
    parts[place][(2, *(0 for _ in range(parts[place].ndim - 1)))] = bad
    x = rng.normal(size=(600, 2))
    for found in log_density_and_gradient(x, *LogQuadratic(**parts), np.ones(600)):
        lower = found[..., *np.tril_indices(2)] if found.ndim == 3 else found
        assert np.isnan(lower).all()


def test_the_fast_log_is_the_log():
    t = np.concatenate([np.linspace(1, 40, 400), 2.0 ** np.arange(60), np.nextafter(2, [1, 3])])
    values = np.full(t.size, 3.0)
    add_log(values, t, np.empty(t.size))
    np.testing.assert_allclose(values - 3, np.log(t), atol=1e-14)
    near_zero = np.zeros(t.size)
    add_log(near_zero, t, np.empty(t.size))
    np.testing.assert_allclose(near_zero, np.log(t), rtol=1e-15)
