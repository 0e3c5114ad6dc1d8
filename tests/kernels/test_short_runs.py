"""Short compiled runs are plain EM from each start, whatever runs beside them."""

import numpy as np
import pytest

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em, initialize
from bayes_gmm.kernels import short_runs as compiled
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.rows import Rows
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.kernels.short_runs import short_runs
from bayes_gmm.model.structures import CODES, Structure

IRIS = Observations.of(bg.datasets.load("iris"))
DATA = initialize.sketch(IRIS)


def a_rule(code="VVV", prior=None, **options):
    prior = bg.ConjugatePrior.flat(3, 4) if prior is None else prior
    return Rule(prior, Structure.of(code, 4), np.ones(4), **options)


def starts_for(rule, n):
    seeds = initialize.seeds(DATA, 3, n, np.random.default_rng(0))
    return [rule.maximize(seed, seed.second) for seed in seeds]


def assert_is_a_run(found, run):
    np.testing.assert_allclose(found.objectives, run.objectives, rtol=1e-12)
    assert found.converged == run.converged
    assert found.collapsed == run.collapsed
    for name in ("weights", "means", "covariances"):
        mine, expected = getattr(found.parameters, name), getattr(run.parameters, name)
        np.testing.assert_allclose(mine, expected, rtol=1e-7, atol=1e-9)
    for name in ("log_normalizer", "count", "second"):
        mine, expected = getattr(found.state.statistics, name), getattr(run.state.statistics, name)
        np.testing.assert_allclose(mine, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("code", CODES)
def test_a_short_run_is_a_run_of_plain_em(code):
    rule = a_rule(code)
    starts = starts_for(rule, 3)
    expect = expectation(IRIS, Structure.of(code, 4))
    for found, start in zip(
        short_runs(rule, DATA.as_rows())(starts, 12, 1e-2), starts, strict=True
    ):
        run = em.run(expect, rule, start, max_iter=12, tol=1e-2, accelerate=False)
        assert_is_a_run(found, run)


@pytest.mark.parametrize("options", [{"equal_weights": True}, {"prior": "default"}])
def test_the_prior_and_held_weights_are_kept_to(options):
    if "prior" in options:
        options = {"prior": bg.ConjugatePrior.default((IRIS.values - IRIS.origin) / IRIS.scale, 3)}
    rule = a_rule(**options)
    (start,) = starts_for(rule, 1)
    (found,) = short_runs(rule, DATA.as_rows())([start], 20, 1e-2)
    run = em.run(expectation(IRIS), rule, start, max_iter=20, tol=1e-2, accelerate=False)
    assert_is_a_run(found, run)


def test_rows_with_a_spread_are_fitted_as_the_loop_fits_them():
    rule, variances = a_rule(), np.array([0.1, 0.0, 0.02, 0.3])
    (start,) = starts_for(rule, 1)
    (found,) = short_runs(rule, DATA.as_rows(1.0, variances))([start], 20, 1e-2)
    expect = expectation(IRIS, spread=variances)
    assert_is_a_run(found, em.run(expect, rule, start, max_iter=20, tol=1e-2, accelerate=False))


def test_starts_do_not_disturb_each_other_on_any_number_of_threads(monkeypatch):
    rule = a_rule()
    starts = starts_for(rule, 7)
    run_all = short_runs(rule, DATA.as_rows())
    alone = [run_all([start], 10, 1e-2)[0] for start in starts]
    monkeypatch.setattr(compiled, "WORTH_A_THREAD", 0)
    for one, together in zip(alone, run_all(starts, 10, 1e-2), strict=True):
        assert one.objectives == together.objectives
        np.testing.assert_array_equal(one.state.statistics.second, together.state.statistics.second)
    assert run_all([], 10, 1e-2) == []


@pytest.mark.parametrize("code", ["VVV", "EEE", "VEV", "EVE"])
def test_a_lost_component_ends_its_own_run_only(code):
    """Three equal rows far away are a component without spread."""
    rows = np.concatenate([DATA.rows, np.full((3, 4), 9.0)])
    rule = Rule(bg.ConjugatePrior.flat(2, 4), Structure.of(code, 4), np.ones(4))
    tight = np.stack([np.eye(4), 1e-3 * np.eye(4)])
    theta = bg.Parameters([0.98, 0.02], [DATA.rows.mean(axis=0), np.full(4, 9.0)], tight)
    even = bg.Parameters([0.5, 0.5], DATA.rows[[0, 100]], np.stack([np.eye(4)] * 2))
    run_all = short_runs(rule, Rows.of(rows))
    starts = [rule.at(theta), rule.at(even)]
    doomed, fine = run_all(starts, 30, 1e-2)
    (expected,) = run_all(starts[1:], 30, 1e-2)
    if code[0] == "V":
        assert doomed.collapsed == 1
        assert np.isfinite(doomed.objectives).all()
    assert fine.objectives == expected.objectives
    (never,) = run_all([starts[0]._replace(lost=0)], 30, 1e-2)
    assert never.collapsed == 0
    assert never.objectives == [-np.inf]
