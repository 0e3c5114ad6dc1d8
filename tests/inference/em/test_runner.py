"""Runs of EM in a search: what a component adds, and what becomes of one that collapses."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em, initialize, ranking
from bayes_gmm.inference.em.runner import RESEEDS, Runner
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.kernels.runs import State
from bayes_gmm.kernels.short_runs import short_runs
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED


def runner_on(rows: np.ndarray, n_components: int) -> Runner:
    """Maximum likelihood of unconstrained components on standardized rows."""
    observations = Observations.of(rows)
    data = initialize.sketch(observations)
    n_features = rows.shape[1]
    prior = ConjugatePrior.flat(n_components, n_features)
    covariance = np.cov(data.rows.T).reshape(n_features, n_features)
    rule = Rule(prior, UNCONSTRAINED, np.ones(n_features))
    score = ranking.predicted(prior, UNCONSTRAINED, covariance, len(rows))
    run_all = short_runs(rule, data.as_rows())
    rng = np.random.default_rng(0)
    return Runner(expectation(observations), rule, run_all, score, data, rng, 1000)


def state_at(runner: Runner, theta: bg.Parameters) -> State:
    return em.evaluate(runner.expect, runner.rule.at(theta))


@pytest.fixture
def two_groups() -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.concatenate([rng.normal(0, 1, (60, 2)), rng.normal(6, 1, (40, 2))])


def test_what_a_component_adds_is_the_log_likelihood_less_that_of_the_others(two_groups):
    runner = runner_on(two_groups, 3)
    weights, means = np.array([0.5, 0.3, 0.2]), np.array([[-0.8, -0.8], [1.0, 1.2], [0.3, 0.0]])
    covariances = np.array([0.3 * np.eye(2), 0.2 * np.eye(2), [[1.0, 0.4], [0.4, 0.8]]])
    state = state_at(runner, bg.Parameters(weights, means, covariances))
    joint = np.stack(
        [
            np.log(w) + multivariate_normal(m, s).logpdf(runner.data.rows)
            for w, m, s in zip(weights, means, covariances, strict=True)
        ]
    )
    whole = logsumexp(joint, axis=0).sum()
    expected = [whole - logsumexp(np.delete(joint, k, axis=0), axis=0).sum() for k in range(3)]
    np.testing.assert_allclose(runner.losses(state), expected, rtol=1e-9)


def test_a_component_that_collapses_is_seeded_anew_and_its_run_goes_on(two_groups):
    runner = runner_on(two_groups, 2)
    row = runner.data.rows[0]
    theta = bg.Parameters([0.98, 0.02], [[0.0, 0.0], row], [np.eye(2), 1e-6 * np.eye(2)])
    (lost,) = runner.look([runner.rule.at(theta)], 20)
    assert lost.collapsed == 1
    (again,) = runner.reseeded([lost], 50)
    assert again.collapsed is None
    assert 1 <= len(again.collapses) <= RESEEDS
    np.testing.assert_allclose(again.collapses[0].mean, row, atol=1e-3)
    assert again.collapses[0].n_rows < 3
    assert (np.diff(again.objectives) > -1e-9 * abs(again.objectives[-1])).all()


def test_a_single_component_that_collapses_stays_collapsed():
    runner = runner_on(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]), 1)
    (lost,) = runner.look([runner.rule.at(bg.Parameters([1.0], [[0.0, 0.0]], [np.eye(2)]))], 5)
    assert lost.collapsed == 0
    (same,) = runner.reseeded([lost], 5)
    assert same is lost
    assert len(same.all_collapses) == 1
