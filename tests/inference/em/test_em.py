"""EM, held to scikit-learn, to textbook formulas, to known optima, and to the slope at its end."""

import numpy as np
import pytest
from helpers import (
    assert_same_mixture,
    em_steps,
    from_labels,
    gradient,
    joint_by_scipy,
    log_prior_by_scipy,
    pack,
    random_parameters,
    random_prior,
    run_em,
    sklearn_mixture,
    unpack,
)
from scipy.special import logsumexp

from bayes_gmm import datasets
from bayes_gmm.model import mixture, normal
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior

IRIS = datasets.load("iris", labels=True)
FLOWERS = IRIS.drop(columns="species").to_numpy()
SPECIES = IRIS["species"].astype("category").cat.codes.to_numpy().astype(int)
FAITHFUL = datasets.load("faithful").to_numpy()
LONG = (FAITHFUL[:, 0] > 3).astype(int)
GALAXIES = datasets.load("galaxies").to_numpy()
GALAXIES_IN_R = np.where(GALAXIES == 26.960, 26.690, GALAXIES)


def overlapping(n: int = 300) -> tuple[np.ndarray, Parameters]:
    """Three clusters that overlap, and a start some way off."""
    rng = np.random.default_rng(1)
    truth = Parameters(
        [0.3, 0.3, 0.4], [[0.0, 0.0], [3.0, 1.0], [0.0, 3.5]], np.tile(np.eye(2), (3, 1, 1))
    )
    x, _ = mixture.sample(truth, n, rng)
    start = Parameters(
        [1 / 3] * 3, [[0.5, -0.5], [2.0, 1.0], [1.0, 3.0]], np.tile(2 * np.eye(2), (3, 1, 1))
    )
    return x, start


@pytest.mark.parametrize("n_steps", [1, 2, 7])
@pytest.mark.parametrize("data", ["faithful", "overlapping"])
def test_so_many_steps_of_em_are_so_many_of_scikit_learn(data, n_steps):
    x, start = overlapping()
    if data == "faithful":
        x, start = (
            FAITHFUL,
            Parameters([0.5, 0.5], [[2.5, 60.0], [4.0, 75.0]], [np.diag([1, 90])] * 2),
        )
    theirs = sklearn_mixture(x, start, max_iter=n_steps, tol=0)
    assert theirs.n_iter_ == n_steps
    ours = em_steps(x, start, n_steps)
    np.testing.assert_allclose(ours.weights, theirs.weights_, rtol=1e-9)
    np.testing.assert_allclose(ours.means, theirs.means_, rtol=1e-9)
    np.testing.assert_allclose(ours.covariances, theirs.covariances_, rtol=1e-8, atol=1e-12)
    assert mixture.log_likelihood(x, ours) == pytest.approx(theirs.score(x) * len(x), rel=1e-11)
    looped = run_em(x, start, max_iter=n_steps, tol=1e-15, accelerate=False)
    assert len(looped.objectives) == n_steps + 1
    assert_same_mixture(looped.parameters, ours, rtol=1e-10)


@pytest.mark.parametrize("data", ["faithful", "overlapping", "flowers"])
def test_em_converges_where_scikit_learn_does(data):
    x, start = {
        "faithful": (FAITHFUL, from_labels(FAITHFUL, LONG)),
        "overlapping": overlapping(),
        "flowers": (FLOWERS, from_labels(FLOWERS, SPECIES)),
    }[data]
    theirs = sklearn_mixture(x, start, max_iter=5000, tol=1e-13)
    ours = run_em(x, start, tol=1e-12)
    assert ours.converged
    assert ours.objectives[-1] == pytest.approx(theirs.score(x) * len(x), abs=1e-7)
    found = Parameters(theirs.weights_, theirs.means_, theirs.covariances_)
    assert_same_mixture(ours.parameters, found, rtol=1e-4)


@pytest.mark.parametrize(
    ("x", "groups", "expected"),
    [
        (FAITHFUL, LONG, -1130.263960185),
        (FAITHFUL[:, 1:], (FAITHFUL[:, 1] > 68).astype(int), -1034.001749832),
        (FLOWERS, (SPECIES > 0).astype(int), -214.354704371),
        (FLOWERS, SPECIES, -180.185477131),
        (GALAXIES_IN_R, np.digitize(GALAXIES[:, 0], [12, 28]), -203.179227965),
        (GALAXIES_IN_R, np.digitize(GALAXIES[:, 0], [12, 19, 25]), -197.453763761),
        (GALAXIES, np.digitize(GALAXIES[:, 0], [12, 28]), -203.481980148),
    ],
    ids=[
        "faithful VVV,2",
        "waiting V,2",
        "iris VVV,2",
        "iris VVV,3",
        "galaxies V,3",
        "galaxies V,4",
        "corrected galaxies V,3",
    ],
)
def test_em_from_natural_groups_reaches_the_optimum_that_is_known(x, groups, expected):
    found = run_em(x, from_labels(x, groups), tol=1e-11)
    assert found.converged
    assert found.objectives[-1] == pytest.approx(expected, abs=1e-7)
    assert mixture.log_likelihood(x, found.parameters) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("x", "groups", "expected"),
    [
        (FAITHFUL, LONG, -1130.509263671),
        (FLOWERS, (SPECIES > 0).astype(int), -223.602198413),
        (FLOWERS, SPECIES, -192.695283865),
    ],
    ids=["faithful VVV,2", "iris VVV,2", "iris VVV,3"],
)
def test_map_from_the_maximum_likelihood_estimate_reaches_the_mode_that_is_known(
    x, groups, expected
):
    estimate = run_em(x, from_labels(x, groups)).parameters
    found = run_em(x, estimate, ConjugatePrior.default(x, groups.max() + 1), tol=1e-13)
    assert found.converged
    # the log-likelihood has a slope at the mode, so it is less sharp than the objective
    assert mixture.log_likelihood(x, found.parameters) == pytest.approx(expected, abs=2e-5)
    assert found.objectives[-1] > found.objectives[0] + 0.1


@pytest.mark.parametrize("with_prior", [False, True])
def test_em_ends_where_the_objective_is_flat(with_prior):
    x, start = overlapping()
    rng = np.random.default_rng(2)
    prior = random_prior(rng, 3, 2) if with_prior else None

    def objective(point):
        theta = unpack(point, 3, 2)
        log_prior = log_prior_by_scipy(prior, theta) if prior else 0.0
        return logsumexp(joint_by_scipy(x, theta), axis=1).sum() + log_prior

    found = run_em(x, start, prior, tol=1e-13)
    assert found.converged
    assert np.abs(gradient(objective, pack(start))).max() > 1
    np.testing.assert_allclose(gradient(objective, pack(found.parameters)), 0, atol=2e-4)
    assert found.objectives[-1] == pytest.approx(objective(pack(found.parameters)), rel=1e-11)


def map_step(x: np.ndarray, theta: Parameters, prior: ConjugatePrior) -> Parameters:
    """One step of Bishop (2006) sec. 9.2.2 with the conjugate prior, component by component."""
    log_joint = joint_by_scipy(x, theta)
    shares = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
    n_features = x.shape[1]
    means, covariances, counts = [], [], shares.sum(axis=0)
    for k in range(theta.n_components):
        n, m0, k0 = counts[k], prior.mean[k], prior.mean_precision[k]
        average = shares[:, k] @ x / n
        scatter = (shares[:, k, None] * (x - average)).T @ (x - average)
        d = average - m0
        means.append((n * average + k0 * m0) / (n + k0))
        numerator = prior.scale[k] + scatter + k0 * n / (k0 + n) * np.outer(d, d)
        covariances.append(numerator / (prior.degrees_of_freedom[k] + n + n_features + 2))
    excess = counts + prior.concentration - 1
    return Parameters(excess / excess.sum(), np.array(means), np.array(covariances))


def test_a_map_step_is_the_textbooks():
    x, theta = overlapping(100)
    prior = random_prior(np.random.default_rng(3), 3, 2)
    for _ in range(3):
        found = em_steps(x, theta, 1, prior)
        theta = map_step(x, theta, prior)
        assert_same_mixture(found, theta, rtol=1e-10)


@pytest.mark.parametrize("with_prior", [False, True])
def test_the_objective_is_log_likelihood_plus_log_prior_at_the_parameters(with_prior):
    x, start = overlapping()
    prior = random_prior(np.random.default_rng(4), 3, 2) if with_prior else None
    for max_iter in (0, 1, 4):
        found = run_em(x, start, prior, max_iter=max_iter, tol=1e-14)
        assert not found.converged
        log_prior = log_prior_by_scipy(prior, found.parameters) if prior else 0.0
        expected = mixture.log_likelihood(x, found.parameters) + log_prior
        assert found.objectives[-1] == pytest.approx(expected, rel=1e-11)
        log_prior = log_prior_by_scipy(prior, start) if prior else 0.0
        expected = mixture.log_likelihood(x, start) + log_prior
        assert found.objectives[0] == pytest.approx(expected, rel=1e-11)


def creeping() -> tuple[np.ndarray, Parameters]:
    """Two components on top of each other: plain EM gains a little for thousands of steps."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 1)) * np.where(rng.random((400, 1)) < 0.5, 1.0, 1.6)
    return x, Parameters([0.5, 0.5], [[-0.3], [0.3]], [[[1.0]], [[2.0]]])


@pytest.fixture(scope="module")
def creeping_limit():
    limit = run_em(*creeping(), tol=1e-13, max_iter=200_000, accelerate=False)
    assert limit.converged
    assert len(limit.objectives) > 500
    return limit


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-6, 1e-10])
def test_em_stops_within_tol_of_its_limit_even_where_it_creeps(tol, accelerate, creeping_limit):
    found = run_em(*creeping(), tol=tol, accelerate=accelerate)
    assert found.converged
    assert len(found.objectives) < len(creeping_limit.objectives)
    assert abs(creeping_limit.objectives[-1] - found.objectives[-1]) < 5 * tol


def test_acceleration_ends_where_plain_em_does_in_far_fewer_passes(creeping_limit):
    found = run_em(*creeping(), tol=1e-13)
    assert found.converged
    assert len(found.objectives) < 0.2 * len(creeping_limit.objectives)
    assert found.objectives[-1] == pytest.approx(creeping_limit.objectives[-1], abs=1e-9)
    assert_same_mixture(found.parameters, creeping_limit.parameters, rtol=1e-4)


def test_a_looser_tol_does_not_take_longer():
    x, start = creeping()
    passes = [len(run_em(x, start, tol=tol).objectives) for tol in (1e-2, 1e-3, 1e-6, 1e-10)]
    assert max(passes) < 2 * passes[-1]


def test_one_component_takes_one_step_from_anywhere():
    start = Parameters([1.0], [[9.0, 1.0]], [[[3.0, 1.0], [1.0, 40.0]]])
    found = run_em(FAITHFUL, start, max_iter=1)
    mean, covariance = normal.maximum_likelihood(FAITHFUL)
    assert_same_mixture(found.parameters, Parameters([1.0], mean[None], covariance[None]), 1e-12)
    more = run_em(FAITHFUL, start)
    assert more.converged
    assert more.objectives[-1] == pytest.approx(found.objectives[-1], rel=1e-13)


def crowd(n_features: int) -> np.ndarray:
    return np.random.default_rng(6).normal(size=(60, n_features))


def with_duplicates(n_features: int) -> np.ndarray:
    """Two identical rows, far from the others."""
    return np.vstack([crowd(n_features), np.full((2, n_features), 8.0)])


def with_constant_direction() -> np.ndarray:
    """Ten rows that differ in one feature only."""
    return np.vstack([crowd(2), np.column_stack([np.full(10, 8.0), np.arange(10.0)])])


def with_line() -> np.ndarray:
    """Ten rows on a line that is along no axis."""
    return np.vstack([crowd(2), 8 + np.arange(10.0)[:, None] * [1.0, -0.7]])


COLLAPSING = {
    "two identical rows": (with_duplicates(2), 2),
    "two identical rows, one feature": (with_duplicates(1), 2),
    "two identical rows, four features": (with_duplicates(4), 2),
    "a constant direction": (with_constant_direction(), 10),
    "a line": (with_line(), 10),
}


def start_upon(x: np.ndarray, n_last: int, order: list[int]) -> Parameters:
    """One component on the crowd, one on the last rows."""
    d = x.shape[1]
    means = np.array([x[:-n_last].mean(axis=0), x[-n_last:].mean(axis=0)])
    return Parameters([0.8, 0.2], means, [np.eye(d), np.eye(d)]).reorder(order)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("case", COLLAPSING)
def test_a_component_that_loses_its_spread_is_named(case, order):
    x, n_last = COLLAPSING[case]
    found = run_em(x, start_upon(x, n_last, order))
    assert found.collapsed == order.index(1)
    assert not found.converged
    assert np.isfinite(found.objectives).all()
    assert np.isfinite(found.parameters.covariances).all()


@pytest.mark.parametrize("case", COLLAPSING)
def test_a_prior_keeps_every_component(case):
    x, n_last = COLLAPSING[case]
    found = run_em(x, start_upon(x, n_last, [0, 1]), ConjugatePrior.default(x, 2))
    assert found.collapsed is None
    assert found.converged
    assert found.parameters.weights[1] == pytest.approx(n_last / len(x), abs=0.02)


@pytest.mark.parametrize("distance", [20.0, 1e3, 1e6])
def test_a_component_that_loses_its_rows_is_named(distance):
    x = crowd(2)
    start = Parameters([0.5, 0.5], [[0.0, 0.0], [distance, distance]], [np.eye(2)] * 2)
    found = run_em(x, start)
    assert found.collapsed == 1
    assert not found.converged


def test_a_prior_keeps_a_component_without_rows_at_its_own_mode():
    x = crowd(2)
    prior = ConjugatePrior([2.0, 2.0], [0.0, 0.0], 1.0, 5.0, np.eye(2))
    start = Parameters([0.5, 0.5], [[0.0, 0.0], [1e3, 1e3]], [np.eye(2)] * 2)
    found = em_steps(x, start, 1, prior)
    np.testing.assert_allclose(found.means[1], 0, atol=1e-9)
    np.testing.assert_allclose(found.covariances[1], np.eye(2) / 9, rtol=1e-9, atol=1e-200)
    assert found.weights[1] == pytest.approx(1 / 62, rel=1e-9)
    assert run_em(x, start, prior).collapsed is None


def test_a_tight_component_is_not_taken_for_a_lost_one():
    rng = np.random.default_rng(7)
    x = np.vstack([rng.normal(size=(100, 2)), 5 + 1e-4 * rng.normal(size=(50, 2))])
    found = run_em(x, from_labels(x, np.repeat([0, 1], [100, 50])))
    assert found.collapsed is None
    assert found.converged
    mean, covariance = normal.maximum_likelihood(x[100:])
    np.testing.assert_allclose(found.parameters.means[1], mean, rtol=1e-7)
    np.testing.assert_allclose(found.parameters.covariances[1], covariance, rtol=1e-4)


def test_em_follows_a_permutation_of_the_components():
    x, start = overlapping()
    here, there = run_em(x, start), run_em(x, start.reorder([2, 0, 1]))
    assert_same_mixture(there.parameters, here.parameters.reorder([2, 0, 1]), rtol=1e-5)
    np.testing.assert_allclose(there.objectives[:10], here.objectives[:10], rtol=1e-12)


def test_em_follows_a_change_of_units_and_origin():
    x, start = overlapping()
    shift, scale = np.array([5.0, -1e3]), np.array([1e-6, 1e5])
    here, there = run_em(x, start), run_em(shift + scale * x, start.rescale(shift, scale))
    assert_same_mixture(there.parameters, here.parameters.rescale(shift, scale), rtol=1e-5)
    jacobian = len(x) * np.log(scale).sum()
    np.testing.assert_allclose(there.objectives[:10], here.objectives[:10] - jacobian, rtol=1e-6)


def test_random_starts_never_fall_below_where_they_began():
    x, _ = overlapping()
    rng = np.random.default_rng(8)
    gains = []
    for _ in range(5):
        found = run_em(x, random_parameters(rng, 3, 2), max_iter=200)
        gains.append(found.objectives[-1] - found.objectives[0])
    assert min(gains) > 1
