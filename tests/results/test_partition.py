from itertools import product

import numpy as np
import pytest
import xarray as xr
from results.synthetic import FAR_APART, point_result, posterior_result, two_components
from sklearn.metrics import mutual_info_score, rand_score

from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.partition import (
    LOSSES,
    best_partition,
    confidence,
    distances,
    ordered,
    refine,
)
from bayes_gmm.results.clustering import co_clustering, partition, sample_labels


def set_partitions(n):
    """Every partition of n rows: each row joins a cluster of the rows before it, or a new one."""
    found = [[0]]
    for _ in range(n - 1):
        found = [[*labels, c] for labels in found for c in range(max(labels) + 2)]
    return [np.array(labels) for labels in found]


def random_draws(rng, n_rows, n_components=3, n_draws=12):
    """Responsibilities (draw, row, component) that are unsure, and their co-clustering matrix."""
    usual = rng.dirichlet(np.full(n_components, 0.4), size=n_rows)
    certainty = rng.choice([1.0, 4.0, 20.0])
    shares = rng.gamma(certainty * usual + 0.05, size=(n_draws, n_rows, n_components))
    shares /= shares.sum(axis=2, keepdims=True)
    matrix = np.einsum("snk,smk->nm", shares, shares) / n_draws
    np.fill_diagonal(matrix, 1)
    return shares, matrix


def binder(labels, matrix):
    """Expected loss by its definition, pair by pair."""
    n = len(labels)
    lost = [abs((labels[i] == labels[j]) - matrix[i, j]) for i in range(n) for j in range(i)]
    return np.mean(lost)


def bound(labels, matrix):
    """Wade & Ghahramani's bound without its constant, row by row."""
    terms = [
        np.log((labels == c).sum()) - 2 * np.log(matrix[i, labels == c].sum())
        for i, c in enumerate(labels)
    ]
    return np.mean(terms)


def variation(one, two):
    """Variation of information, from scikit-learn's mutual information."""
    own = mutual_info_score(one, one) + mutual_info_score(two, two)
    return own - 2 * mutual_info_score(one, two)


def test_there_are_as_many_set_partitions_as_bell_s_numbers():
    assert [len(set_partitions(n)) for n in range(1, 9)] == [1, 2, 5, 15, 52, 203, 877, 4140]


@pytest.mark.parametrize(("loss", "definition"), [("binder", binder), ("vi", bound)])
def test_expected_losses_are_their_definitions(loss, definition):
    _, matrix = random_draws(np.random.default_rng(0), 6)
    for labels in set_partitions(6):
        assert LOSSES[loss].value(matrix, labels) == pytest.approx(definition(labels, matrix))


def test_the_bound_lies_below_the_expected_variation_of_information():
    shares, matrix = random_draws(np.random.default_rng(1), 4, n_draws=3)
    labellings = np.array(list(product(range(3), repeat=4)))
    probability = shares[:, np.arange(4), labellings].prod(axis=2).mean(axis=0)
    assert probability.sum() == pytest.approx(1)
    sizes = (labellings[:, :, None] == labellings[:, None, :]).sum(axis=2)
    constant = probability @ np.log(sizes).mean(axis=1)
    for labels in set_partitions(4):
        exact = probability @ distances(labels, labellings, "vi")
        assert LOSSES["vi"].value(matrix, labels) + constant <= exact + 1e-12


@pytest.mark.parametrize("loss", ["binder", "vi"])
@pytest.mark.parametrize("n_rows", [2, 4, 6, 8])
def test_the_search_finds_what_trying_all_partitions_finds(loss, n_rows):
    everything = set_partitions(n_rows)
    for seed in range(6):
        shares, matrix = random_draws(np.random.default_rng(seed), n_rows)
        best = min(LOSSES[loss].value(matrix, labels) for labels in everything)
        found = best_partition(matrix, LOSSES[loss], shares.argmax(axis=2), 14)
        assert LOSSES[loss].value(matrix, found) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("loss", ["binder", "vi"])
def test_no_single_move_improves_a_refined_partition(loss):
    rng = np.random.default_rng(2)
    _, matrix = random_draws(rng, 25)
    start = rng.integers(0, 4, 25)
    found = refine(matrix, LOSSES[loss], start)
    value = LOSSES[loss].value(matrix, found)
    assert value < LOSSES[loss].value(matrix, start)
    for i in range(25):
        for c in range(found.max() + 2):
            moved = found.copy()
            moved[i] = c
            assert LOSSES[loss].value(matrix, ordered(moved)) > value - 1e-9


def test_distances_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 30)
    others = np.stack([rng.integers(0, k, 30) for k in (1, 2, 4, 5)] + [2 - labels])
    rand = [1 - rand_score(labels, other) for other in others]
    np.testing.assert_allclose(distances(labels, others, "binder"), rand, atol=1e-12)
    information = [variation(labels, other) for other in others]
    np.testing.assert_allclose(distances(labels, others, "vi"), information, atol=1e-12)


def test_clusters_are_numbered_by_size_and_then_by_their_first_row():
    assert ordered(np.array([7, 3, 3, 9, 1, 9])).tolist() == [2, 0, 0, 1, 3, 1]


@pytest.mark.parametrize("loss", ["binder", "vi"])
def test_separate_clusters_are_found_and_nothing_is_in_doubt(loss):
    x, z, _, posterior = two_components(2, n_draws=50)
    found = partition(posterior, loss=loss, seed=0)
    np.testing.assert_array_equal(found["label"], ordered(z))
    np.testing.assert_allclose(found["confidence"], 1, atol=1e-6)
    assert found["n_clusters"] == 2
    assert found["expected_loss"] < 1e-6
    assert found["ball_radius"] == 0
    for edge in ("lower_bound", "upper_bound", "horizontal_bound"):
        np.testing.assert_array_equal(found[edge], found["label"])
    np.testing.assert_array_equal(found["obs_id"], np.arange(len(x)))


@pytest.fixture(scope="module")
def unsure():
    """Two overlapping components, draws of which scatter."""
    theta = Parameters([0.5, 0.5], [[-1.2], [1.2]], [[[1.0]], [[1.0]]])
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(-1.5, 1, 15), rng.normal(1.5, 1, 10)])[:, None]
    shape = (2, 50)
    weights = rng.dirichlet([10, 10], size=shape)
    weights[0, :10] = [1 - 1e-6, 1e-6]  # now and then everything is one cluster
    means = theta.means + 0.4 * rng.normal(size=(*shape, 2, 1))
    draws = Draws(weights, means, np.ones((*shape, 2, 1, 1)))
    return x, draws, posterior_result(draws, x, ConjugatePrior.default(x, 2))


@pytest.mark.parametrize("loss", ["binder", "vi"])
def test_the_ball_holds_its_share_and_no_smaller_ball_does(unsure, loss):
    posterior = unsure[2]
    found = partition(posterior, loss=loss, ci_prob=0.8, seed=1)
    again = partition(posterior, loss=loss, ci_prob=0.5, seed=1)
    np.testing.assert_array_equal(found["label"], again["label"])
    assert 0 < again["ball_radius"] < found["ball_radius"]
    assert again["n_clusters"] == 2
    label = found["label"].to_numpy()
    for edge in ("lower_bound", "upper_bound", "horizontal_bound"):
        distance = distances(label, found[edge].to_numpy()[None], loss)[0]
        assert distance <= found["ball_radius"] + 1e-12
    sizes = [int(found[name].max()) for name in ("upper_bound", "horizontal_bound", "lower_bound")]
    assert sizes == sorted(sizes)
    farthest = distances(label, found["horizontal_bound"].to_numpy()[None], loss)[0]
    assert farthest == pytest.approx(found["ball_radius"].item())


@pytest.mark.parametrize("ci_prob", [0.5, 0.805, 0.999])
def test_the_radius_is_the_least_that_holds_so_many_draws(unsure, ci_prob):
    posterior = unsure[2]
    found = partition(posterior, ci_prob=ci_prob, seed=1)
    drawn = sample_labels(posterior, seed=1).to_numpy()
    distance = distances(found["label"].to_numpy(), drawn, "vi")
    assert (distance <= found["ball_radius"].item()).mean() >= ci_prob
    assert (distance < found["ball_radius"].item()).mean() < ci_prob
    assert found["expected_loss"].item() == pytest.approx(distance.mean())


def test_the_edges_of_the_ball_have_the_fewest_and_the_most_clusters(unsure):
    found = partition(unsure[2], ci_prob=0.999, seed=1)
    sizes = {name: len(np.unique(found[name])) for name in ("upper_bound", "lower_bound")}
    assert sizes == {"upper_bound": 1, "lower_bound": 2}


@pytest.mark.parametrize("loss", ["binder", "vi"])
def test_the_search_does_not_depend_on_the_order_of_the_rows(loss):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        _, matrix = random_draws(rng, 25)
        order = rng.permutation(25)
        start = np.zeros(25, dtype=int)
        found = refine(matrix, LOSSES[loss], start)
        moved = refine(matrix[np.ix_(order, order)], LOSSES[loss], start)
        np.testing.assert_array_equal(ordered(moved), ordered(found[order]))


def test_the_partition_has_nothing_random_and_knows_no_names(unsure):
    x, draws, posterior = unsure
    found = partition(posterior, seed=1)
    np.testing.assert_array_equal(found["label"], partition(posterior, seed=2)["label"])
    xr.testing.assert_identical(found, partition(posterior, seed=1))
    order = np.random.default_rng(0).permuted(np.broadcast_to([0, 1], (2, 50, 2)), axis=2)
    renamed = posterior_result(draws.reorder(order), x, ConjugatePrior.default(x, 2))
    np.testing.assert_array_equal(partition(renamed, seed=1)["label"], found["label"])


@pytest.mark.parametrize("loss", ["binder", "vi"])
def test_the_order_of_the_rows_does_not_matter(unsure, loss):
    x, draws, posterior = unsure
    order = np.random.default_rng(5).permutation(len(x))
    shuffled = posterior_result(draws, x[order], ConjugatePrior.default(x, 2))
    label = partition(posterior, loss=loss, seed=0)["label"].to_numpy()
    moved = partition(shuffled, loss=loss, seed=0)["label"].to_numpy()
    np.testing.assert_array_equal(ordered(moved), ordered(label[order]))


def test_confidence_is_that_of_sharing_with_the_own_cluster():
    matrix = np.array([[1, 0.9, 0.2], [0.9, 1, 0.1], [0.2, 0.1, 1]])
    drawn = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 0]])
    found = confidence(matrix, np.array([0, 0, 1]), drawn)
    np.testing.assert_allclose(found, [0.9, 0.9, 0.5])


def test_the_expected_binder_loss_is_that_of_the_matrix(unsure):
    posterior = unsure[2]
    found = partition(posterior, loss="binder", seed=0)
    matrix = co_clustering(posterior).to_numpy()
    expected = binder(found["label"].to_numpy(), matrix)
    assert found["expected_loss"].item() == pytest.approx(expected)


def test_points_and_chosen_rows_are_partitioned_too():
    x, z, _, _ = two_components(2)
    for result in (FAR_APART, point_result(FAR_APART, x)):
        found = partition(result, x, rows=20, seed=0)
        assert found.sizes["obs_id"] == 20
        np.testing.assert_array_equal(found["label"], ordered(z[found["obs_id"]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "rand"}, "loss must be 'vi' or 'binder'; got 'rand'"),
        ({"rows": 1}, "needs at least two rows"),
        ({"ci_prob": 95}, "ci_prob must lie between 0 and 1"),
        ({"memory": 1e-6}, "the co-clustering matrix of 25 rows needs 1.4e-05 GiB"),
    ],
)
def test_what_cannot_be_is_refused(unsure, options, message):
    with pytest.raises(InputError, match=message):
        partition(unsure[2], **options)
