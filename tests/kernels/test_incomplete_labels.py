"""Labels and missing entries drawn together: the sums have the distribution of completed rows."""

import numpy as np
import pytest
from helpers import random_parameters

from bayes_gmm.kernels.incomplete_labels import incomplete_labels
from bayes_gmm.kernels.kernel import c_order
from bayes_gmm.kernels.labels import loop
from bayes_gmm.kernels.rows import accumulate
from bayes_gmm.model.missing import by_pattern, regression
from bayes_gmm.model.parameters import Parameters

N_SWEEPS = 4000


def with_holes(rng, n_rows, n_features):
    x = rng.normal(size=(n_rows, n_features))
    x[rng.random(x.shape) < 0.4] = np.nan
    x[np.isnan(x).all(axis=1), 0] = 0.3
    return x[by_pattern(x)]


def drawn(x, theta, key, weights=None, start=0, looks=incomplete_labels):
    """Count, first and second moments (lower triangles) of one sweep, and the log normalizer."""
    n_components, n_features = theta.means.shape
    sums = (
        np.zeros(n_components),
        np.zeros((n_components, n_features)),
        np.zeros((n_components, n_features, n_features)),
    )
    kept = np.empty(0 if weights is not None else len(x), np.int64)
    times = np.empty(0) if weights is None else weights
    normalizer = looks(
        np.ascontiguousarray(x), times, start, np.uint64(key), np.zeros(n_features),
        np.ones(n_features), *c_order(*theta.log_quadratic()), *sums, kept, 0.0,
    )  # fmt: skip
    return *sums, normalizer, kept


def sweeps(x, theta, weights=None):
    """Sums of many sweeps as vectors, (S, ...)."""
    keys = np.random.default_rng(0).integers(1 << 63, size=N_SWEEPS, dtype=np.uint64)
    lower = np.tril_indices(x.shape[1])
    found = [drawn(x, theta, key, weights)[:3] for key in keys]
    return np.array(
        [np.concatenate([n, f.ravel(), s[:, lower[0], lower[1]].ravel()]) for n, f, s in found]
    )


def completed_by_rows(x, theta, rng):
    """The same for one component, every row completed by itself."""
    lower, rows = np.tril_indices(x.shape[1]), np.repeat(x[None], N_SWEEPS, axis=0)
    for n, row in enumerate(x):
        observed = ~np.isnan(row)
        if observed.all():
            continue
        slope, left = regression(theta.covariances[0], observed)
        at = theta.means[0][~observed] + slope @ (row[observed] - theta.means[0][observed])
        rows[:, n, ~observed] = rng.multivariate_normal(at, left, N_SWEEPS)
    d = rows - theta.means[0]
    second = np.einsum("sni,snj->sij", d, d)[:, lower[0], lower[1]]
    return np.concatenate([np.full((N_SWEEPS, 1), len(x)), d.sum(axis=1), second], axis=1)


def assert_same_distribution(mine, theirs):
    """Means, variances and covariances of sums of independent sweeps, |z| < 5 each."""
    for power in ("mean", "products"):
        a, b = mine, theirs
        if power == "products":
            centre = theirs.mean(axis=0)
            a, b = ((one - centre)[:, :, None] * (one - centre)[:, None, :] for one in (a, b))
        gap = a.mean(axis=0) - b.mean(axis=0)
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / N_SWEEPS)
        size = 1e-9 * (1 + np.abs(b).max(axis=0))
        assert (np.abs(gap) <= 5 * error + size).all(), power


@pytest.mark.parametrize(("n_rows", "n_features"), [(1, 3), (2, 3), (9, 2), (6, 4)])
def test_one_component_completes_rows_as_if_each_were_drawn(n_rows, n_features):
    rng = np.random.default_rng([n_rows, n_features])
    x, theta = with_holes(rng, n_rows, n_features), random_parameters(rng, 1, n_features)
    x[0, -1] = np.nan
    x = x[by_pattern(x)]
    assert_same_distribution(sweeps(x, theta), completed_by_rows(x, theta, rng))


@pytest.mark.parametrize("copies", [1.0, 2.0, 3.0, 7.0])
def test_copies_of_a_row_are_completed_each_by_itself(copies):
    rng = np.random.default_rng(int(copies))
    x = np.array([[0.5, np.nan, np.nan, 0.2], [np.nan, 1.0, 0.3, -0.4]])
    theta = random_parameters(rng, 1, 4)
    weights = np.array([copies, 1.0])
    repeated = np.repeat(x, weights.astype(int), axis=0)
    assert_same_distribution(sweeps(x, theta, weights), completed_by_rows(repeated, theta, rng))


@pytest.mark.parametrize("n_features", [3, 16])
def test_labels_have_the_responsibilities_of_the_marginals(n_features):
    rng = np.random.default_rng([5, n_features])
    theta = random_parameters(rng, 3, n_features, spread=0.5)
    x = with_holes(rng, 40, n_features)
    expected = accumulate(
        x, np.zeros(n_features), np.ones(n_features), theta.log_quadratic(), complete=False
    )
    mine = sweeps(x, theta)
    lower = np.tril_indices(n_features)
    truth = np.concatenate(
        [expected.count, expected.first.ravel(), expected.second[:, lower[0], lower[1]].ravel()]
    )
    error = mine.std(axis=0) / np.sqrt(N_SWEEPS)
    assert (np.abs(mine.mean(axis=0) - truth) <= 5 * error + 1e-9).all()
    assert drawn(x, theta, 1)[3] == pytest.approx(expected.log_normalizer, rel=1e-12)


def test_complete_rows_have_the_labels_of_the_pass_over_complete_rows():
    rng = np.random.default_rng(6)
    x, theta = rng.normal(size=(700, 3)), random_parameters(rng, 3, 3)
    found, expected = drawn(x, theta, 3), drawn(x, theta, 3, looks=loop(3))
    np.testing.assert_array_equal(found[4], expected[4])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)
    np.testing.assert_allclose(np.tril(found[2]), np.tril(expected[2]), rtol=1e-12)
    assert found[3] == pytest.approx(expected[3], rel=1e-13)


def test_where_rows_are_cut_changes_no_draw():
    rng = np.random.default_rng(7)
    x, theta = with_holes(rng, 1500, 4), random_parameters(rng, 2, 4)
    whole = drawn(x, theta, 9)
    first, second = drawn(x[:1024], theta, 9), drawn(x[1024:], theta, 9, start=1024)
    np.testing.assert_array_equal(whole[4], np.concatenate([first[4], second[4]]))
    np.testing.assert_allclose(whole[2], first[2] + second[2], rtol=1e-12)


def test_normals_are_normal_whatever_the_precision():
    """All of a row's own variance is what its missing entry adds."""
    theta = Parameters([1.0], [[0.0, 0.0]], [[[1.0, 0.9999], [0.9999, 1.0]]])
    x = np.array([[1.0, np.nan]])
    entries = sweeps(x, theta)[:, 2]
    sd = np.sqrt(1 - 0.9999**2)
    z = (entries - 0.9999) / sd
    assert abs(z.mean()) < 5 / np.sqrt(N_SWEEPS)
    assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / N_SWEEPS)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / N_SWEEPS)
