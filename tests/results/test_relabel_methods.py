"""Relabelling as a user calls it: each method against brute force, and the names that it gives."""

import itertools

import numpy as np
import pytest
from results.synthetic import sampled_tree, shuffled

from bayes_gmm.data import Observations
from bayes_gmm.errors import ConvergenceWarning, InputError
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior import relabel_by_rows as by_rows
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.pivot import best, runner_up
from bayes_gmm.results.reading import VARIABLES, draws_of, permutation, point_parameters, raw_draws
from bayes_gmm.results.relabel import METHODS, relabel
from bayes_gmm.results.tree import posterior_tree
from tests.helpers import random_parameters

BY_ROWS = ["ecr", "ecr-iterative", "stephens", "data"]
CLOSE, WIDE = 0.05, 1.0


def by_of(method):
    return {"by": "means[x0]"} if method == "ordering" else {}


def about(rng, theta, spread, shape=(2, 30)):
    """Draws that scatter about a mixture."""
    size = (*shape, theta.n_components)
    square = (theta.n_features, theta.n_features)
    noise = spread * rng.normal(size=size + square)
    factors = theta.choleskys @ (np.eye(theta.n_features) + noise)
    weights = theta.weights * np.exp(spread * rng.normal(size=size))
    return Draws(
        weights / weights.sum(axis=2, keepdims=True),
        theta.means + 2 * spread * rng.normal(size=(*size, theta.n_features)),
        factors @ factors.swapaxes(3, 4) + 0.05 * np.eye(theta.n_features),
    )


def problem(seed, n_components, spread, n=40):
    """A mixture, rows of it, and draws about it in random order, labelled by the pivot."""
    rng = np.random.default_rng([seed, n_components])
    theta = random_parameters(rng, n_components, 2, spread=4.0)
    x = mixture.sample(theta, n, rng)[0]
    draws = about(rng, theta, spread)
    raw, order = shuffled(rng, draws)
    observations, prior = Observations.of(x), ConjugatePrior.default(x, n_components)
    result = posterior_tree(sampled_tree(raw), theta, observations, prior)
    return theta, x, draws, order, result


def log_joint(x, draws):
    """log p(x_n, z_n = k) of every draw in turn, (S, N, K)."""
    return np.array(
        [
            mixture.joint_log_density(x, Parameters(*(array[place] for array in draws)))
            for place in np.ndindex(draws.weights.shape[:2])
        ]
    )


def criterion(method, x, relabelled, pivot):
    """What a method minimizes, by its definition, of memberships (N, K) in a given order."""
    table = log_joint(x, relabelled)
    hard = table.argmax(axis=2)
    n_components = table.shape[2]
    if method == "ecr":
        star = mixture.joint_log_density(x, pivot).argmax(axis=1)
        return lambda labels, shares: -float((labels == star).sum())
    if method == "ecr-iterative":
        votes = np.stack([(hard == k).mean(axis=0) for k in range(n_components)], axis=1)
        return lambda labels, shares: -float((labels == votes.argmax(axis=1)).sum())
    if method == "stephens":
        shares = np.exp(table - np.logaddexp.reduce(table, axis=2, keepdims=True))
        mean = shares.mean(axis=0)

        def divergence(labels, p):
            with np.errstate(divide="ignore", invalid="ignore"):
                return float(np.where(p > 0, p * (np.log(p) - np.log(mean)), 0.0).sum())

        return divergence
    pooled = [[x[draw == k] for draw in hard] for k in range(n_components)]
    groups = [np.concatenate(rows) for rows in pooled]
    center = np.array([group.mean(axis=0) for group in groups])
    spread = np.array([group.std(axis=0) for group in groups])

    def distance(labels, shares):
        return float((((x - center[labels]) / spread[labels]) ** 2).sum())

    return distance


@pytest.mark.parametrize("n_components", [2, 3, 4])
@pytest.mark.parametrize("method", BY_ROWS)
def test_every_draw_has_the_best_of_all_permutations(method, n_components):
    theta, x, _, _, result = problem(1, n_components, spread=0.5)
    found = draws_of(relabel(result, method))
    value = criterion(method, x, found, theta)
    tables = log_joint(x, found)
    renamed = 0
    for table in tables:
        shares = np.exp(table - np.logaddexp.reduce(table, axis=1, keepdims=True))
        values = {}
        for order in itertools.permutations(range(n_components)):
            place = np.argsort(order)  # component order[k] is called k
            values[order] = value(place[table.argmax(axis=1)], shares[:, order])
        identity = values.pop(tuple(range(n_components)))
        assert identity <= min(values.values()) + 1e-9 * abs(identity)
        renamed += max(values.values()) > identity
    assert renamed == len(tables)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_in_which_draws_come_makes_no_difference(method):
    theta, x, _, _, result = problem(2, 4, spread=WIDE)
    raw, _ = shuffled(np.random.default_rng(0), raw_draws(result))
    other = posterior_tree(
        sampled_tree(raw), theta, Observations.of(x), ConjugatePrior.default(x, 4)
    )
    assert (permutation(other) != permutation(result)).any()
    ours, theirs = (relabel(tree, method, **by_of(method)) for tree in (result, other))
    for name in VARIABLES:
        np.testing.assert_array_equal(ours["posterior"][name], theirs["posterior"][name])
        np.testing.assert_array_equal(ours["point_estimate"][name], theirs["point_estimate"][name])
    for tree, came in ((ours, raw_draws(result)), (theirs, raw)):
        for back, given in zip(raw_draws(tree), came, strict=True):
            np.testing.assert_array_equal(back, given)


@pytest.mark.parametrize("method", METHODS)
def test_draws_that_are_clear_get_their_true_names_back(method):
    theta, _, draws, order, result = problem(3, 3, spread=CLOSE, n=200)
    found = relabel(result, method, **by_of(method))
    sort = np.argsort(theta.means[:, 0]) if method == "ordering" else np.arange(3)
    for ours, truth in zip(draws_of(found), draws, strict=True):
        np.testing.assert_array_equal(ours, truth[:, :, sort])
    np.testing.assert_array_equal(permutation(found), np.argsort(order, axis=2)[..., sort])
    np.testing.assert_array_equal(point_parameters(found).means, theta.means[sort])


@pytest.mark.parametrize("method", BY_ROWS)
def test_the_pivot_goes_by_the_names_of_the_draws(method):
    theta, x, draws, _, _ = problem(4, 3, spread=CLOSE, n=100)
    cycle = np.array([1, 2, 0])
    permutation, order = by_rows.by_rows(method, draws, x, theta.reorder(cycle))
    # Counting agreement with the pivot renames the draws; forming groups leaves them as they are.
    if method == "ecr":
        assert order.tolist() == [0, 1, 2]
        assert (permutation == cycle).all()
    else:
        assert order.tolist() == np.argsort(cycle).tolist()
        assert (permutation == np.arange(3)).all()


@pytest.mark.parametrize("method", METHODS)
def test_everything_that_belongs_to_components_follows(method):
    theta, x, _, _, _ = problem(5, 3, spread=WIDE)
    rng = np.random.default_rng(5)
    raw, _ = shuffled(rng, about(rng, theta, WIDE))
    sampled = sampled_tree(raw, component_counts=1e3 * raw.weights, energy=raw.weights[..., 0])
    result = posterior_tree(sampled, theta, Observations.of(x), ConjugatePrior.default(x, 3))
    before = result.copy(deep=True)
    found = relabel(result, method, **by_of(method))
    stats = found["sample_stats"].dataset
    np.testing.assert_array_equal(
        stats["component_counts"].transpose("chain", "draw", "cluster"),
        1e3 * found["posterior"]["weights"],
    )
    np.testing.assert_array_equal(stats["energy"], raw.weights[..., 0])
    assert found.attrs["relabelling"] == {"ordering": "ordering by means[x0]"}.get(method, method)
    assert found["invariants"].dataset.identical(result["invariants"].dataset)
    assert result.identical(before)
    again = relabel(found, "pivot")
    if method in ("pivot", "ecr"):
        for name in VARIABLES:
            np.testing.assert_array_equal(again["posterior"][name], result["posterior"][name])


def test_components_are_sorted_by_what_the_user_names():
    _, _, _, _, result = problem(6, 4, spread=WIDE)
    for by, read in (
        ("weights", lambda draws: draws.weights),
        ("means[x1]", lambda draws: draws.means[..., 1]),
        ("covariances[x0]", lambda draws: draws.covariances[..., 0, 0]),
        ("covariances[x1, x0]", lambda draws: draws.covariances[..., 1, 0]),
        (lambda draws: -draws.weights, lambda draws: -draws.weights),
    ):
        found = relabel(result, "ordering", by=by)
        values = read(draws_of(found))
        assert (np.diff(values, axis=2) >= 0).all()
        point = point_parameters(found)
        own = Draws(*(a[None, None] for a in (point.weights, point.means, point.covariances)))
        assert (np.diff(read(own), axis=2) >= 0).all()


@pytest.mark.parametrize(
    ("method", "by", "message"),
    [
        ("kl", None, "choose one of pivot, ecr"),
        ("ordering", None, "needs by="),
        ("pivot", "weights", "needs by="),
        ("ordering", "sizes", "by is 'sizes'"),
        ("ordering", 3, "by is 3"),
        ("ordering", "means", "not one number per component"),
        ("ordering", "weights[x0]", "not one number per component"),
        ("ordering", "means[width]", "no feature of this result: it has x0, x1"),
        ("ordering", lambda draws: draws.means, "one number per chain, draw and component"),
        ("ordering", lambda draws: draws.weights * np.nan, "not numbers"),
    ],
)
def test_what_cannot_be_done_is_said(method, by, message):
    result = problem(7, 2, spread=CLOSE)[-1]
    with pytest.raises(InputError, match=message):
        relabel(result, method, by=by)
    with pytest.raises(InputError, match=r"result of bg.sample"):
        relabel("posterior")


@pytest.mark.parametrize("n_components", [1, 2, 3, 5])
def test_the_second_best_permutation_is_found_exactly(n_components):
    rng = np.random.default_rng(n_components)
    costs = rng.normal(size=(60, n_components, n_components))
    permutation = best(costs)
    gaps = runner_up(costs, permutation)
    assert gaps.shape == (60, n_components)
    for cost, chosen, gap in zip(costs, permutation, gaps, strict=True):
        totals = {
            order: cost[range(n_components), order].sum()
            for order in itertools.permutations(range(n_components))
        }
        least = totals.pop(tuple(chosen))
        assert all(least <= total for total in totals.values())
        for k in range(n_components):
            others = [total for order, total in totals.items() if order[k] != chosen[k]]
            expected = min(others) - least if others else np.inf
            assert gap[k] == pytest.approx(expected, abs=1e-12)


def test_of_equals_the_one_that_renames_least_is_taken():
    costs = np.zeros((1, 4, 4))
    assert best(costs).tolist() == [[0, 1, 2, 3]]
    costs[0, 0, 1] = costs[0, 1, 0] = -1.0
    assert best(costs).tolist() == [[1, 0, 2, 3]]


@pytest.mark.parametrize("method", BY_ROWS)
def test_of_many_rows_a_part_stands_for_all(method, monkeypatch):
    _, x, draws, _, result = problem(8, 3, spread=CLOSE, n=3000)
    monkeypatch.setattr(by_rows, "NUMBERS", draws.weights.size * 50)
    chosen = by_rows.choose_rows(x, point_parameters(result), 50)
    assert 40 <= len(chosen.x) <= 50
    assert chosen.times.sum() == pytest.approx(3000)
    other = by_rows.choose_rows(x[::-1], point_parameters(result), 50)
    np.testing.assert_array_equal(chosen.x, other.x)
    for ours, truth in zip(draws_of(relabel(result, method)), draws, strict=True):
        np.testing.assert_array_equal(ours, truth)


def test_labels_that_do_not_settle_are_announced(monkeypatch):
    result = problem(1, 4, spread=WIDE)[-1]
    monkeypatch.setattr(by_rows, "ITERATIONS", 1)
    with pytest.warns(ConvergenceWarning, match="did not converge in 1 iterations"):
        relabel(result, "stephens")
