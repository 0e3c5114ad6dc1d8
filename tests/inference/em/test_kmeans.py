"""k-means with swaps: the inertia is what it says, only falls, and ends where the groups are."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from bayes_gmm.inference.em import kmeans


def groups(n_groups, n_rows, n_features, seed):
    """Groups of equal size about points of a wide lattice, one after the other."""
    rng = np.random.default_rng(seed)
    points = rng.choice(20**2, n_groups, replace=False)
    means = np.zeros((n_groups, n_features))
    means[:, 0], means[:, 1] = 12.0 * (points // 20), 12.0 * (points % 20)
    return means.repeat(n_rows, axis=0) + rng.normal(size=(n_groups * n_rows, n_features))


def test_the_inertia_is_the_sum_of_squared_distances_to_the_nearest_mean():
    rng = np.random.default_rng(1)
    rows, counts = rng.normal(size=(80, 3)), rng.integers(1, 4, 80).astype(float)
    found = kmeans.kmeans(rows, counts, 5, rng)
    squares = cdist(rows, found.means, "sqeuclidean")
    assert (found.labels == squares.argmin(axis=1)).all()
    assert found.inertia == pytest.approx(counts @ squares.min(axis=1), rel=1e-10)


def test_lloyds_iteration_lowers_the_inertia_and_swaps_lower_it_further():
    rows = groups(12, 20, 2, seed=2)
    counts = np.ones(len(rows))
    start = kmeans.spread_out(rows, counts, 12, np.random.default_rng(3))
    heights = [kmeans.lloyd(rows, counts, start, steps).inertia for steps in range(8)]
    assert (np.diff(heights) <= 1e-9 * heights[0]).all()
    with_swaps = kmeans.kmeans(rows, counts, 12, np.random.default_rng(3)).inertia
    assert with_swaps < heights[-1] * (1 + 1e-9)


@pytest.mark.parametrize(("n_groups", "n_features"), [(10, 2), (40, 4), (10, 40)])
def test_every_seed_finds_groups_that_lie_apart(n_groups, n_features):
    for seed in range(5):
        rows = groups(n_groups, 30, n_features, seed)
        labels = kmeans.kmeans(
            rows, np.ones(len(rows)), n_groups, np.random.default_rng(seed)
        ).labels
        own = labels.reshape(n_groups, 30)
        assert (own == own[:, :1]).all()
        assert len(set(own[:, 0])) == n_groups


def test_more_means_than_distinct_rows_leave_some_means_without_rows():
    rows = np.array([[0.0], [0.0], [1.0]])
    found = kmeans.kmeans(rows, np.ones(3), 3, np.random.default_rng(0))
    assert found.inertia == pytest.approx(0.0, abs=1e-12)
    assert np.isfinite(found.means).all()


def test_a_large_group_is_not_split_in_the_place_of_two_small_ones():
    """The large group has the largest error, two small ones in one the largest error per row."""
    rng = np.random.default_rng(8)
    sizes = [600, 40, 40, 60]
    means = np.repeat(7.0 * np.eye(4, 30), sizes, axis=0)
    rows = means + rng.normal(size=(sum(sizes), 30))
    for seed in range(10):
        found = kmeans.kmeans(rows, np.ones(len(rows)), 4, np.random.default_rng(seed))
        assert sorted(np.bincount(found.labels)) == sorted(sizes)
