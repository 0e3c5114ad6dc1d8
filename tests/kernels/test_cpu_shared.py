"""Where all components share a whitener, second moments come as their sum, and EM is the same."""

import numpy as np
import pytest
from helpers import random_covariances, random_parameters, random_prior

from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em
from bayes_gmm.kernels import reference
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.rows import Rows, accumulate
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.kernels.short_runs import short_runs
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import entropy
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.prior import StructuredPrior

FEATURES = [15, 16, 40]  # fewer are summed by the pass for whiteners of any kind
EEE = Structure.of("EEE", 15)


def functions(
    rng: np.random.Generator, n_components: int, n_features: int, spread: float = 0.7
) -> LogQuadratic:
    """Log densities of a mixture with one covariance."""
    theta = random_parameters(rng, n_components, n_features, spread)
    one = np.tile(theta.covariances[0], (n_components, 1, 1))
    return Parameters(theta.weights, theta.means, one).log_quadratic()


def assert_agree(x, log_quadratic, weights=None, origin=None, scale=None, rtol=1e-12):
    """Hold the pass to the reference, relative to the sum of the terms' sizes."""
    n_features = x.shape[1]
    origin = np.zeros(n_features) if origin is None else origin
    scale = np.ones(n_features) if scale is None else scale
    found = accumulate(x, origin, scale, log_quadratic, weights, EEE)
    expected = reference.accumulate(x, origin, scale, log_quadratic, weights)
    times = np.ones(len(x)) if weights is None else weights
    rows = (x - origin) / scale
    residual = np.abs(rows - log_quadratic.center[:, None])
    for mine, theirs, size in (
        (found.log_normalizer, expected.log_normalizer, np.abs(log_quadratic(rows)).max(axis=1)),
        (found.count, expected.count, 1.0),
        (found.first, expected.first, residual.max(axis=(0, 2))),
        (found.second.sum(axis=0), expected.second.sum(axis=0), (residual**2).max(axis=(0, 2))),
    ):
        assert np.abs(mine - theirs).max() <= rtol * (times * (1 + size)).sum()
    share = found.count / found.count.sum()
    whole = found.second.sum(axis=0)
    np.testing.assert_allclose(
        found.second, share[:, None, None] * whole, rtol=1e-12, atol=1e-13 * np.abs(whole).max()
    )
    return found


@pytest.mark.parametrize("n_rows", [1, 2, 511, 512, 513, 1500])
@pytest.mark.parametrize("n_features", FEATURES)
@pytest.mark.parametrize("n_components", [1, 2, 7])
def test_the_pass_is_the_reference_with_second_moments_summed(n_components, n_features, n_rows):
    rng = np.random.default_rng([n_components, n_features, n_rows])
    x = 2 * rng.normal(size=(n_rows, n_features))
    origin, scale = rng.normal(size=n_features), rng.uniform(0.5, 2.0, n_features)
    assert_agree(x, functions(rng, n_components, n_features), origin=origin, scale=scale)


def test_row_weights_of_any_kind_are_those_of_the_reference():
    rng = np.random.default_rng(1)
    weights = rng.uniform(0, 3, size=1100) * (rng.random(1100) < 0.7)
    assert_agree(rng.normal(size=(1100, 16)), functions(rng, 3, 16), weights)


def test_components_that_overlap_and_such_that_do_not_are_summed_alike():
    rng = np.random.default_rng(2)
    theta = functions(rng, 4, 16, spread=0.0)
    center = theta.center + np.array([0.0, 0.1, 30.0, 30.1])[:, None]
    x = rng.normal(size=(700, 16)) + 30 * rng.integers(2, size=700)[:, None]
    found = assert_agree(x, theta._replace(center=center))
    assert found.count.min() > 10


def test_clusters_far_apart_leave_the_digits_of_a_small_covariance():
    """A difference of moments about one center would have lost them all."""
    rng = np.random.default_rng(3)
    z = rng.integers(3, size=900)
    center = np.array([-1.0, 0.0, 1.0])[:, None] * np.ones(16)
    deviation = 1e-7 * rng.normal(size=(900, 16))
    x = center[z] + deviation
    whitener = np.tile(1e7 * np.eye(16), (3, 1, 1))
    log_quadratic = LogQuadratic(np.zeros(3), center, whitener)
    found = accumulate(x, np.zeros(16), np.ones(16), log_quadratic, None, EEE)
    exact = x - center[z]
    np.testing.assert_allclose(
        found.second.sum(axis=0), exact.T @ exact, rtol=1e-12, atol=1e-12 * 900 * 1e-14
    )


def test_a_large_offset_costs_no_digit():
    """Rows on a grid of 2^-20 are moved by 2^30, 1e9 of their standard deviations, exactly."""
    rng = np.random.default_rng(4)
    log_quadratic = functions(rng, 2, 16)
    x = np.round(rng.normal(size=(800, 16)) * 2**20) / 2**20
    here = assert_agree(x, log_quadratic)
    there = assert_agree(x + 2.0**30, log_quadratic, origin=np.full(16, 2.0**30))
    for name in ("log_normalizer", "count", "first", "second"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name), err_msg=name)


@pytest.mark.parametrize("kind", ["flat", "proper"])
def test_an_m_step_from_the_sum_is_the_posterior_mode_of_whole_moments(kind):
    rng = np.random.default_rng(5)
    x, log_quadratic = rng.normal(size=(300, 16)), functions(rng, 3, 16)
    prior = ConjugatePrior.flat(3, 16) if kind == "flat" else random_prior(rng, 3, 16)
    zeros, ones = np.zeros(16), np.ones(16)
    previous = np.tile(np.eye(16), (3, 1, 1))
    found = Rule(prior, EEE, ones).maximize(
        accumulate(x, zeros, ones, log_quadratic, None, EEE), previous
    )
    whole = reference.accumulate(x, zeros, ones, log_quadratic)
    own = StructuredPrior.of(prior, EEE)
    expected = own.posterior(whole).mode(previous)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            getattr(found.parameters, name), getattr(expected, name), rtol=1e-9, atol=1e-11
        )
    for ours, theirs in zip(found.log_quadratic, expected.log_quadratic(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
    assert found.log_prior == pytest.approx(own.log_density(expected), rel=1e-10)


def test_em_goes_the_same_way_with_either_pass_compiled_or_not_and_never_falls():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(600, 16)) @ rng.normal(size=(16, 16)) + rng.integers(3, size=600)[:, None]
    observations = Observations.of(x)
    rows = (x - observations.origin) / observations.scale
    rule = Rule(ConjugatePrior.flat(3, 16), EEE, np.ones(16))
    start = rule.at(
        Parameters(np.full(3, 1 / 3), rows[:3], np.tile(random_covariances(rng, 1, 16), (3, 1, 1)))
    )
    short, long = (
        em.run(expect, rule, start, max_iter=20, tol=0.0, accelerate=False)
        for expect in (expectation(observations, EEE), expectation(observations))
    )
    (found,) = short_runs(rule, Rows.of(rows))([start], 20, 0.0)
    np.testing.assert_allclose(short.objectives, long.objectives, rtol=1e-11)
    np.testing.assert_allclose(found.objectives, long.objectives, rtol=1e-11)
    np.testing.assert_allclose(short.parameters.covariances, long.parameters.covariances, atol=1e-8)
    gains = np.diff(short.objectives)
    assert (gains >= -1e-13 * np.abs(short.objectives[1:])).all()
    log_quadratic = short.state.candidate.log_quadratic
    expected = entropy(log_quadratic, expectation(observations)(log_quadratic))
    assert entropy(log_quadratic, short.state.statistics) == pytest.approx(expected, abs=1e-8)
