"""The pass with sampled labels, against NumPy given the same uniform numbers."""

import numpy as np
import pytest
from helpers import random_parameters
from scipy import stats

from bayes_gmm.kernels.labels import loop, sweep_key, uniforms
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.statistics import SufficientStatistics

MASK = (1 << 64) - 1
KEY = np.uint64(0xFEDCBA9876543210)


def splitmix64(state: int) -> int:
    """The published generator: its state after one step, hashed."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def reference_uniforms(key: int, n: int) -> np.ndarray:
    return np.array(
        [(splitmix64((int(key) + i * 0x9E3779B97F4A7C15) & MASK) >> 12) / 2**52 for i in range(n)]
    )


def reference(x, uniform, origin, scale, log_quadratic):
    rows = (x - origin) / scale
    log_rho = log_quadratic(rows)
    peak = log_rho.max(axis=1, keepdims=True)
    rho = np.exp(log_rho - peak)
    total = rho.sum(axis=1, keepdims=True)
    cumulative = (rho / total).cumsum(axis=1)[:, :-1]
    labels = (cumulative <= uniform[:, None]).sum(axis=1)
    log_normalizer = float((peak + np.log(total)).sum())
    shares = np.eye(len(log_quadratic.offset))[labels]
    return labels, SufficientStatistics.of(rows, shares, log_quadratic.center, log_normalizer)


def run(x, origin, scale, log_quadratic, cuts=()):
    """Labels and statistics of the kernel, over blocks that are cut at these rows."""
    n_components, n_features = log_quadratic.center.shape
    parts = tuple(part.copy() for part in log_quadratic)
    count, first = np.zeros(n_components), np.zeros((n_components, n_features))
    second = np.zeros((n_components, n_features, n_features))
    labels, log_normalizer = np.full(len(x), -1), 0.0
    for low, high in zip((0, *cuts), (*cuts, len(x)), strict=True):
        log_normalizer = loop(x.shape[1])(
            x[low:high],
            np.empty(0),
            low,
            KEY,
            origin,
            1 / scale,
            *parts,
            count,
            first,
            second,
            labels[low:high],
            log_normalizer,
        )
    second = np.tril(second) + np.tril(second, -1).swapaxes(1, 2)
    return labels, SufficientStatistics(log_normalizer, count, first, second, parts[1])


class Case:
    def __init__(self, n_components, n_features, n_rows, shift=0.0):
        rng = np.random.default_rng([n_components, n_features, n_rows])
        self.origin = shift + rng.normal(size=n_features)
        self.scale = rng.uniform(0.5, 3.0, n_features)
        self.theta = random_parameters(rng, n_components, n_features)
        self.log_quadratic = self.theta.log_quadratic()
        nearby = self.theta.means[rng.integers(n_components, size=n_rows)]
        self.x = self.origin + self.scale * (nearby + rng.normal(size=(n_rows, n_features)))

    def run(self, cuts=()):
        return run(self.x, self.origin, self.scale, self.log_quadratic, cuts)

    def reference(self):
        uniform = reference_uniforms(KEY, len(self.x))
        return reference(self.x, uniform, self.origin, self.scale, self.log_quadratic)


def assert_same_statistics(found, expected, tolerance):
    for name in ("log_normalizer", "count", "first", "second"):
        value = getattr(expected, name)
        largest = max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(
            getattr(found, name), value, rtol=0, atol=tolerance * largest, err_msg=name
        )


@pytest.mark.parametrize("n_rows", [1, 511, 512, 1300])
@pytest.mark.parametrize(
    ("n_components", "n_features"), [(1, 1), (2, 1), (3, 2), (7, 4), (2, 14), (3, 15), (4, 33)]
)
def test_labels_and_statistics_are_those_of_numpy(n_components, n_features, n_rows):
    case = Case(n_components, n_features, n_rows)
    labels, found = case.run()
    expected_labels, expected = case.reference()
    np.testing.assert_array_equal(labels, expected_labels)
    assert_same_statistics(found, expected, 1e-10)


def test_data_far_from_zero_have_the_same_labels():
    case = Case(3, 2, 900, shift=1e6)
    labels, found = case.run()
    expected_labels, expected = case.reference()
    np.testing.assert_array_equal(labels, expected_labels)
    assert_same_statistics(found, expected, 1e-10)


@pytest.mark.parametrize("n_features", [2, 16])
def test_blocks_of_whole_chunks_change_nothing_to_the_last_bit(n_features):
    case = Case(3, n_features, 2000)
    labels, found = case.run()
    labels_of_blocks, found_of_blocks = case.run(cuts=(512, 1536))
    np.testing.assert_array_equal(labels_of_blocks, labels)
    assert_same_statistics(found_of_blocks, found, 0.0)


def test_blocks_of_any_size_give_the_same_labels():
    case = Case(3, 2, 2000)
    labels, found = case.run()
    labels_of_blocks, found_of_blocks = case.run(cuts=(1, 700, 701, 1999))
    np.testing.assert_array_equal(labels_of_blocks, labels)
    assert_same_statistics(found_of_blocks, found, 1e-10)


def test_a_component_without_weight_takes_no_row():
    case = Case(3, 2, 3000)
    weights = np.array([0.5, 0.0, 0.5])
    theta = Parameters(weights, case.theta.means, case.theta.covariances)
    labels, found = run(case.x, case.origin, case.scale, theta.log_quadratic())
    assert set(labels) == {0, 2}
    assert np.isfinite(found.log_normalizer)
    assert not found.second[1].any()


def test_rows_take_labels_as_often_as_their_responsibilities_say():
    case = Case(3, 1, 1)
    middle = case.origin + case.scale * case.theta.means.mean(axis=0)
    case.x = np.repeat(middle[None], 40_000, axis=0)
    labels, _ = case.run()
    log_rho = case.log_quadratic((case.x[:1] - case.origin) / case.scale)[0]
    probability = np.exp(log_rho) / np.exp(log_rho).sum()
    assert probability.min() > 1e-3
    assert stats.chisquare(np.bincount(labels), 40_000 * probability).pvalue > 1e-6


def test_uniform_numbers_are_the_published_generator():
    out = np.empty(100)
    uniforms(KEY, 0, out)
    np.testing.assert_array_equal(out, reference_uniforms(KEY, 100))
    later = np.empty(40)
    uniforms(KEY, 60, later)
    np.testing.assert_array_equal(later, out[60:])


def test_uniform_numbers_of_rows_and_of_sweeps_are_uniform_and_unrelated():
    table = np.empty((1000, 300))
    for sweep in range(len(table)):
        uniforms(np.uint64(sweep_key(KEY, sweep)), 0, table[sweep])
    assert 0 <= table.min() < table.max() < 1
    assert stats.kstest(table.ravel(), "uniform").pvalue > 1e-6
    centered = (table - 0.5) * np.sqrt(12)
    error = 1 / np.sqrt(table.size)
    assert abs((centered[1:] * centered[:-1]).mean()) < 5 * error
    assert abs((centered[:, 1:] * centered[:, :-1]).mean()) < 5 * error
    # The first row's number over sweeps, as a chain with few rows sees it.
    assert stats.kstest(table[:, 0], "uniform").pvalue > 1e-6
