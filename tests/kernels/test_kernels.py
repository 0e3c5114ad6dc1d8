"""The compiled pass gives the statistics of the readable one: any K, D, N, type and location."""

import numpy as np
import pytest
from helpers import random_covariances, random_parameters

from bayes_gmm.kernels import reference, rows
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.statistics import SufficientStatistics

FEATURES = [1, 2, 3, 11, 12, 13, 20]  # written-out loops end at 12
ROWS = [1, 2, 511, 512, 513, 1500]  # a chunk is 512 rows


def identity(n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin and scale of rows that are in the coordinates of the pass already."""
    return np.zeros(n_features), np.ones(n_features)


def assert_agree(
    x: np.ndarray,
    origin: np.ndarray,
    scale: np.ndarray,
    log_quadratic: LogQuadratic,
    rtol: float = 1e-12,
) -> SufficientStatistics:
    """Hold the compiled pass to the reference, relative to the sum of the terms' sizes."""
    found = rows.accumulate(x, origin, scale, log_quadratic)
    expected = reference.accumulate(x, origin, scale, log_quadratic)
    log_rho = log_quadratic((x - origin) / scale)
    residual = np.abs((x - origin) / scale - log_quadratic.center[:, None])
    size = {
        "log_normalizer": np.abs(log_rho.max(axis=1)).sum() + len(x),
        "count": len(x),
        "first": residual.sum(axis=1).max(),
        "second": (residual**2).sum(axis=1).max(),
    }
    np.testing.assert_array_equal(found.center, log_quadratic.center)
    for name, largest in size.items():
        a, b = np.asarray(getattr(found, name)), np.asarray(getattr(expected, name))
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= rtol * largest, name
    return found


@pytest.mark.parametrize("n_rows", ROWS)
@pytest.mark.parametrize("n_features", FEATURES)
@pytest.mark.parametrize("n_components", [1, 2, 7])
def test_the_compiled_pass_is_the_reference(n_components, n_features, n_rows):
    rng = np.random.default_rng([n_components, n_features, n_rows])
    theta = random_parameters(rng, n_components, n_features, spread=1.0)
    x = 2 * rng.normal(size=(n_rows, n_features))
    origin, scale = rng.normal(size=n_features), rng.uniform(0.5, 2.0, n_features)
    found = assert_agree(x, origin, scale, theta.log_quadratic())
    assert found.count.sum() == pytest.approx(n_rows, rel=1e-12)
    expected = mixture.log_likelihood((x - origin) / scale, theta)
    assert found.log_normalizer == pytest.approx(expected, rel=1e-11)
    size = np.abs(found.second).max()
    np.testing.assert_allclose(found.second, found.second.swapaxes(1, 2), atol=1e-14 * size)


@pytest.mark.parametrize("n_features", [2, 13])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_read_only_rows_of_either_precision_are_summed_in_double_precision(dtype, n_features):
    """As they come from a memory-mapped file."""
    rng = np.random.default_rng([1, n_features])
    theta = random_parameters(rng, 3, n_features)
    x = rng.normal(size=(1500, n_features)).astype(dtype)
    x.setflags(write=False)
    origin, scale = rng.normal(size=n_features), rng.uniform(0.5, 2.0, n_features)
    found = assert_agree(x, origin, scale, theta.log_quadratic())
    assert found.first.dtype == np.float64
    same = rows.accumulate(x.astype(np.float64), origin, scale, theta.log_quadratic())
    np.testing.assert_array_equal(found.second, same.second)


@pytest.mark.parametrize("accumulate", [rows.accumulate, reference.accumulate])
@pytest.mark.parametrize("n_features", [2, 13])
def test_a_row_of_weight_three_counts_as_three_rows_and_one_of_weight_zero_as_none(
    n_features, accumulate
):
    rng = np.random.default_rng([12, n_features])
    functions = random_parameters(rng, 3, n_features, spread=1.0).log_quadratic()
    x, times = rng.normal(size=(700, n_features)), rng.integers(0, 4, size=700)
    found = accumulate(x, *identity(n_features), functions, times.astype(float))
    expected = accumulate(np.repeat(x, times, axis=0), *identity(n_features), functions)
    assert found.count.sum() == pytest.approx(times.sum(), rel=1e-13)
    for name in ("log_normalizer", "count", "first", "second"):
        a, b = np.asarray(getattr(found, name)), np.asarray(getattr(expected, name))
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * np.abs(b).max(), err_msg=name)


@pytest.mark.parametrize("n_features", [2, 13])
def test_weights_that_are_no_counts_are_those_of_the_reference(n_features):
    rng = np.random.default_rng([13, n_features])
    functions = random_parameters(rng, 3, n_features, spread=1.0).log_quadratic()
    x, weights = rng.normal(size=(1100, n_features)), rng.uniform(0, 3, size=1100)
    found, expected = (
        accumulate(x, *identity(n_features), functions, weights)
        for accumulate in (rows.accumulate, reference.accumulate)
    )
    for name in ("log_normalizer", "count", "first", "second"):
        a, b = np.asarray(getattr(found, name)), np.asarray(getattr(expected, name))
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * np.abs(b).max(), err_msg=name)


@pytest.mark.parametrize("n_features", [1, 3, 12, 13, 20])
def test_a_component_of_weight_zero_takes_nothing(n_features):
    rng = np.random.default_rng([2, n_features])
    theta = Parameters(
        [0.5, 0.0, 0.5], rng.normal(size=(3, n_features)), random_covariances(rng, 3, n_features)
    )
    x = rng.normal(size=(600, n_features))
    found = assert_agree(x, *identity(n_features), theta.log_quadratic())
    assert found.count[1] < 1e-290
    assert np.isfinite(found.log_normalizer)
    assert found.count[[0, 2]].sum() == pytest.approx(600, rel=1e-13)


@pytest.mark.parametrize("n_features", [1, 3, 12, 13, 20])
def test_rows_a_million_standard_deviations_away_are_counted(n_features):
    rng = np.random.default_rng([3, n_features])
    theta = random_parameters(rng, 3, n_features)
    x = rng.normal(size=(700, n_features))
    x[::7] *= 1e6
    found = assert_agree(x, *identity(n_features), theta.log_quadratic())
    assert found.count.sum() == pytest.approx(700, rel=1e-13)
    assert found.log_normalizer < -1e12


@pytest.mark.parametrize("n_features", [2, 12, 13])
def test_rows_alone_on_the_far_side_of_exp_belong_to_somebody(n_features):
    """No density of any component is a number of float64 there; responsibilities still are."""
    theta = Parameters(
        [0.5, 0.5], [[-1.0] * n_features, [1.0] * n_features], [np.eye(n_features)] * 2
    )
    x = np.array([[1e3] * n_features, [-1e3] * n_features, [2e3] * n_features])
    found = assert_agree(x, *identity(n_features), theta.log_quadratic())
    np.testing.assert_allclose(found.count, [1, 2], rtol=1e-14)


@pytest.mark.parametrize("n_features", [2, 12, 13])
def test_a_large_offset_costs_no_digit(n_features):
    """Rows on a grid of 2^-20 are moved by 2^30, 1e9 of their standard deviations, exactly."""
    rng = np.random.default_rng([4, n_features])
    theta = random_parameters(rng, 2, n_features)
    x = np.round(rng.normal(size=(800, n_features)) * 2**20) / 2**20
    here = assert_agree(x, *identity(n_features), theta.log_quadratic())
    there = rows.accumulate(
        x + 2**30, np.full(n_features, 2.0**30), np.ones(n_features), theta.log_quadratic()
    )
    for name in ("log_normalizer", "count", "first", "second"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name), err_msg=name)


@pytest.mark.parametrize("n_features", [1, 4, 12, 13])
def test_whiteners_need_not_be_those_of_a_density(n_features):
    """Variational Bayes and a noise component pass other triangles: scaled ones, and zero."""
    rng = np.random.default_rng([5, n_features])
    whitener = np.tril(rng.normal(size=(3, n_features, n_features)))
    whitener[1] = 0.0
    offset = np.array([0.0, -0.5 * n_features, 0.3])
    functions = LogQuadratic(offset, 0.3 * rng.normal(size=(3, n_features)), whitener)
    x = rng.normal(size=(600, n_features))
    found = assert_agree(x, *identity(n_features), functions)
    assert found.count.min() > 1


def test_offsets_far_from_zero_are_no_densities_but_still_sum():
    functions = LogQuadratic(
        np.array([900.0, 901.0]), np.zeros((2, 2)), np.tile(np.eye(2), (2, 1, 1))
    )
    x = np.random.default_rng(6).normal(size=(50, 2))
    found = assert_agree(x, *identity(2), functions)
    assert found.log_normalizer > 40_000
    share = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(found.count, [50 * (1 - share), 50 * share], rtol=1e-13)


def test_many_components_do_not_overflow_the_product_of_sums():
    theta = random_parameters(np.random.default_rng(7), 1, 2)
    n = 1000
    functions = LogQuadratic(
        np.zeros(n), np.tile(theta.means, (n, 1)), np.tile(np.eye(2), (n, 1, 1))
    )
    x = np.random.default_rng(8).normal(size=(700, 2))
    found = assert_agree(x, *identity(2), functions)
    np.testing.assert_allclose(found.count, 0.7, rtol=1e-12)


@pytest.mark.parametrize("accumulate", [rows.accumulate, reference.accumulate])
def test_a_pass_leaves_its_arguments_alone(accumulate):
    rng = np.random.default_rng(9)
    theta = random_parameters(rng, 3, 2)
    functions = theta.log_quadratic()
    x, origin, scale = rng.normal(size=(600, 2)), rng.normal(size=2), np.array([0.5, 2.0])
    before = [part.copy() for part in (x, origin, scale, *functions)]
    accumulate(x, origin, scale, functions)
    for part, copy in zip((x, origin, scale, *functions), before, strict=True):
        np.testing.assert_array_equal(part, copy)


@pytest.mark.parametrize("n_features", [2, 13])
def test_a_function_that_is_not_a_number_does_not_pass_unseen(n_features):
    theta = random_parameters(np.random.default_rng(10), 2, n_features)
    offset, center, whitener = theta.log_quadratic()
    x = np.random.default_rng(11).normal(size=(100, n_features))
    broken = LogQuadratic(np.array([np.nan, offset[1]]), center, whitener)
    found = rows.accumulate(x, *identity(n_features), broken)
    assert np.isnan(found.log_normalizer)
    assert np.isnan(found.count).any()
