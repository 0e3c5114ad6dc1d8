"""Trees of components against the definitions, computed by hand, and against SciPy."""

from itertools import combinations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, is_monotonic, is_valid_linkage
from scipy.special import xlogy

from bayes_gmm.model.density_modes import density_modes
from bayes_gmm.model.mixture import marginal_log_density
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.component_tree import by_entropy, by_modes, elbow, entropies

# Rows that are surely of one component but for pairs: 0 and 2 are mixed up in two rows, 1 and 3 in
# one.
SHARES = np.array(
    [
        [1.0, 0.0, 0.0, 0.0],
        [0.5, 0.0, 0.5, 0.0],
        [0.4, 0.0, 0.6, 0.0],
        [0.0, 0.7, 0.0, 0.3],
        [0.0, 0.9, 0.1, 0.0],
    ]
)


def entropy(shares):
    return -xlogy(shares, shares).sum()


def test_the_pair_that_removes_most_entropy_is_joined_first():
    tree = by_entropy(SHARES, None)
    left = entropies(tree, SHARES, None)
    whole = entropy(SHARES)
    of_pairs = {
        (0, 2): entropy(np.array([[0.5, 0.5], [0.4, 0.6]])),
        (1, 3): entropy(np.array([[0.7, 0.3]])),
    }
    assert of_pairs[0, 2] > of_pairs[1, 3] > entropy(np.array([[0.9, 0.1]]))
    assert tree.joined.tolist() == [[0, 2], [1, 3], [4, 5]]
    removed = np.cumsum([*of_pairs.values(), entropy(np.array([[0.9, 0.1]]))])
    np.testing.assert_allclose(tree.height, removed, rtol=1e-12)
    np.testing.assert_allclose(left, [0, *(whole - removed[1::-1]), whole], atol=1e-12)


def test_each_merger_is_the_best_of_all_pairs_by_the_definition_of_mclust():
    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.full(6, 0.3), 40)
    times = rng.integers(1, 4, 40).astype(float)
    tree = by_entropy(shares, times)
    left = entropies(tree, shares, times)
    np.testing.assert_allclose(tree.height, left[-1] - left[-2::-1])
    repeated = np.repeat(shares, times.astype(int), axis=0)
    for n_clusters in range(6, 1, -1):
        label = tree.labels(n_clusters)
        merged = np.stack([repeated[:, label == c].sum(axis=1) for c in range(n_clusters)], axis=1)
        assert left[n_clusters - 1] == pytest.approx(entropy(merged))
        after = [
            entropy(np.column_stack([np.delete(merged, pair, axis=1), merged[:, pair].sum(axis=1)]))
            for pair in map(list, combinations(range(n_clusters), 2))
        ]
        assert left[n_clusters - 2] == pytest.approx(min(after))


def test_a_tree_is_a_linkage_of_scipy_and_cuts_alike():
    shares = np.random.default_rng(2).dirichlet(np.full(7, 0.3), 60)
    tree = by_entropy(shares, None)
    linkage = tree.linkage()
    assert is_valid_linkage(linkage)
    assert is_monotonic(linkage)
    for n_clusters in range(1, 8):
        label = tree.labels(n_clusters)
        other = fcluster(linkage, n_clusters, "maxclust")
        pairs = np.unique(np.column_stack([label, other]), axis=0)
        assert len(pairs) == len(np.unique(label)) == len(np.unique(other)) == n_clusters
        # Numbered in the order of their first components.
        assert np.unique(label, return_index=True)[1].tolist() == sorted(
            np.unique(label, return_index=True)[1]
        )


def test_the_order_of_components_does_not_matter():
    shares = np.random.default_rng(3).dirichlet(np.full(5, 0.4), 50)
    order = np.array([3, 0, 4, 1, 2])
    tree, other = by_entropy(shares, None), by_entropy(shares[:, order], None)
    left, same = entropies(tree, shares, None), entropies(other, shares[:, order], None)
    np.testing.assert_allclose(same, left, atol=1e-12)
    for n_clusters in range(1, 6):
        together = np.equal.outer(tree.labels(n_clusters), tree.labels(n_clusters))
        again = np.equal.outer(other.labels(n_clusters), other.labels(n_clusters))
        np.testing.assert_array_equal(again, together[np.ix_(order, order)])


def test_by_modes_the_height_is_the_depth_of_the_valley():
    # Two components of one peak, a third one nearby and a fourth one far away, on a line.
    theta = Parameters(
        [0.3, 0.3, 0.3, 0.1], [[0.0], [1.0], [4.0], [12.0]], np.ones((4, 1, 1)) * 0.8
    )
    modes = density_modes(theta)
    tree = by_modes(theta, modes)
    assert len(modes.points) == 3
    assert tree.joined.tolist() == [[0, 1], [2, 4], [3, 5]]
    grid = np.linspace(-3, 15, 200_001)
    height = np.exp(marginal_log_density(grid[:, None], theta))

    def peak(low, high):
        return height[(grid > low) & (grid < high)].max()

    def valley(low, high):
        return height[(grid > low) & (grid < high)].min()

    expected = [
        0,
        1 - valley(0.5, 4) / min(peak(-1, 2), peak(3, 5)),
        1 - valley(4, 12) / peak(11, 13),
    ]
    np.testing.assert_allclose(tree.height, expected, atol=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_by_modes_heights_rise_and_the_cut_at_zero_has_a_cluster_for_each_mode(seed):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(6, 2, 2))
    theta = Parameters(
        rng.dirichlet(np.ones(6)),
        2 * rng.normal(size=(6, 2)),
        roots @ roots.swapaxes(1, 2) + 0.2 * np.eye(2),
    )
    modes = density_modes(theta)
    tree = by_modes(theta, modes)
    assert (np.diff(tree.height) >= 0).all()
    n_owned = len(np.unique(modes.of_component))
    assert np.count_nonzero(tree.height == 0) >= 6 - n_owned
    label = tree.labels(n_owned)
    np.testing.assert_array_equal(
        np.equal.outer(label, label), np.equal.outer(modes.of_component, modes.of_component)
    )


def test_the_elbow_is_where_two_lines_meet():
    assert elbow(np.array([0.0, 1.0, 2.0, 3.0, 13.0, 23.0, 33.0])) == 4
    assert elbow(np.array([0.0, 5.0, 10.0, 100.0, 190.0])) == 3
    assert elbow(np.array([0.0, 1.0, 9.0])) is None


def test_one_component_is_one_cluster():
    tree = by_entropy(np.ones((4, 1)), None)
    left = entropies(tree, np.ones((4, 1)), None)
    assert tree.labels(1).tolist() == [0]
    assert left.tolist() == [0.0]
    assert tree.linkage().shape == (0, 4)
