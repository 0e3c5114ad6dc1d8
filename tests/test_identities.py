"""The identities that the whole package rests on, one test each, named as the theorem."""

import numpy as np
import pytest
from helpers import (
    assert_same_mixture,
    complete_statistics,
    enumerate_labellings,
    random_parameters,
    random_prior,
    run_em,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.kernels import reference, rows
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model import mixture, normal
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.score import score

KERNELS = pytest.mark.parametrize("accumulate", [rows.accumulate, reference.accumulate])
FIELDS = ("log_normalizer", "count", "first", "second")

few_examples = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def as_given(accumulate, x, log_quadratic):
    """Run the pass over rows that are in its coordinates already."""
    return accumulate(x, np.zeros(x.shape[1]), np.ones(x.shape[1]), log_quadratic)


@given(seed=st.integers(0, 2**32 - 1), sizes=st.sampled_from([(1, 2, 4), (2, 1, 6), (3, 2, 5)]))
@few_examples
def test_marginal_is_the_sum_of_the_joint_over_labels(seed, sizes):
    n_components, n_features, n_rows = sizes
    rng = np.random.default_rng(seed)
    theta = random_parameters(rng, n_components, n_features)
    x = 2 * rng.normal(size=(n_rows, n_features))
    expected = logsumexp(enumerate_labellings(x, theta).log_joint)
    assert mixture.log_likelihood(x, theta) == pytest.approx(expected, rel=1e-11)
    for accumulate in (rows.accumulate, reference.accumulate):
        statistics = as_given(accumulate, x, theta.log_quadratic())
        assert statistics.log_normalizer == pytest.approx(expected, rel=1e-11)


@KERNELS
@pytest.mark.parametrize("n_features", [2, 13])
def test_statistics_add_over_chunks(n_features, accumulate):
    rng = np.random.default_rng(1)
    functions = random_parameters(rng, 3, n_features).log_quadratic()
    x = rng.normal(size=(1300, n_features))
    whole = as_given(accumulate, x, functions)
    parts = [
        as_given(accumulate, x[rows], functions)
        for rows in (slice(0, 1), slice(1, 600), slice(600, 1300))
    ]
    for total in (sum(parts), sum(parts[::-1])):
        for name in FIELDS:
            a, b = np.asarray(getattr(total, name)), np.asarray(getattr(whole, name))
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


@KERNELS
@pytest.mark.parametrize("n_features", [2, 13])
def test_statistics_follow_a_permutation_of_components(n_features, accumulate):
    rng = np.random.default_rng(2)
    functions = random_parameters(rng, 4, n_features).log_quadratic()
    x = rng.normal(size=(700, n_features))
    order = np.array([2, 0, 3, 1])
    turned = LogQuadratic(*(part[order] for part in functions))
    found = as_given(accumulate, x, turned)
    expected = as_given(accumulate, x, functions).reorder(order)
    assert np.ptp(expected.count) > 1
    for name in (*FIELDS, "center"):
        a, b = np.asarray(getattr(found, name)), np.asarray(getattr(expected, name))
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


@KERNELS
def test_fishers_identity(accumulate):
    """The score of the rows is the mean, over labellings given the rows, of the complete score."""
    rng = np.random.default_rng(3)
    theta = random_parameters(rng, 3, 2, spread=1.0)
    x = 2 * rng.normal(size=(5, 2))
    labellings, log_joint = enumerate_labellings(x, theta)
    probability = np.exp(log_joint - logsumexp(log_joint))
    found = score(theta, as_given(accumulate, x, theta.log_quadratic()))
    complete = [score(theta, complete_statistics(x, z, 3, theta.means)) for z in labellings]
    for name in found._fields:
        expected = sum(p * getattr(one, name) for p, one in zip(probability, complete, strict=True))
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-9, atol=1e-11)


# What they draw: rows that fill space, and rows on a coarse grid, where components collapse.
EM_PROBLEMS = {
    "seed": st.integers(0, 2**32 - 1),
    "n_components": st.integers(1, 4),
    "n_features": st.integers(1, 3),
    "n_rows": st.integers(8, 60),
    "on_a_grid": st.booleans(),
    "with_prior": st.booleans(),
    "accelerate": st.booleans(),
}


@given(**EM_PROBLEMS)
@few_examples
def test_em_never_decreases_the_log_posterior(
    seed, n_components, n_features, n_rows, on_a_grid, with_prior, accelerate
):
    rng = np.random.default_rng(seed)
    truth = random_parameters(rng, 3, n_features)
    x, _ = mixture.sample(truth, n_rows, rng)
    if on_a_grid:
        x = np.round(x)
    assume(np.linalg.matrix_rank(x - x.mean(axis=0)) == n_features)
    start = random_parameters(rng, n_components, n_features)
    prior = random_prior(rng, n_components, n_features) if with_prior else None
    found = run_em(x, start, prior, max_iter=60, accelerate=accelerate)
    assert np.isfinite(found.objectives).all()
    assert len(found.objectives) > 1 or found.collapsed is not None
    assert np.diff(found.objectives).min(initial=0) >= -1e-11 * np.abs(found.objectives).max()
    if with_prior:
        assert found.collapsed is None
        log_prior = prior.log_density(found.parameters)
    else:
        log_prior = 0.0
    expected = mixture.log_likelihood(x, found.parameters) + log_prior
    # rounding counts for more where a component is about to collapse
    thinnest = (np.einsum("kii->ki", found.parameters.choleskys) / x.std(axis=0)).min() ** 2
    tolerance = 1e-9 + 1e-13 * n_rows / thinnest
    assert found.objectives[-1] == pytest.approx(expected, rel=1e-11, abs=tolerance)


@pytest.mark.parametrize(("name", "n_components"), [("faithful", 2), ("iris", 2)])
def test_flat_prior_map_is_maximum_likelihood(name, n_components):
    x = bg.datasets.load(name)
    flat = ConjugatePrior.flat(n_components, x.shape[1])
    estimate = bg.fit(x, n_components, n_starts=2, seed=1)
    mode = bg.fit(x, n_components, prior=flat, n_starts=2, seed=1)
    assert_same_mixture(bg.point_estimate(mode), bg.point_estimate(estimate), rtol=1e-9)
    for field in ("log_likelihood", "objective_final"):
        found, expected = (float(tree["optimizer_result"][field]) for tree in (mode, estimate))
        assert found == pytest.approx(expected, rel=1e-12)
    other = bg.fit(x, n_components, prior="default", n_starts=2, seed=1)
    with pytest.raises(AssertionError):
        assert_same_mixture(bg.point_estimate(other), bg.point_estimate(estimate), rtol=1e-9)


@pytest.mark.parametrize("name", ["faithful", "iris", "galaxies"])
def test_one_component_em_is_maximum_likelihood_in_one_step(name):
    x = bg.datasets.load(name).to_numpy()
    mean, covariance = normal.maximum_likelihood(x)
    expected = Parameters([1.0], mean[None], covariance[None])
    rng = np.random.default_rng(4)
    for _ in range(3):
        start = random_parameters(rng, 1, x.shape[1]).rescale(mean, 3 * x.std(axis=0))
        assert_same_mixture(run_em(x, start, max_iter=1).parameters, expected, rtol=1e-11)
    assert_same_mixture(bg.point_estimate(bg.fit(x, 1)), expected, rtol=1e-12)


@KERNELS
@pytest.mark.parametrize("n_features", [2, 13])
def test_statistics_survive_a_large_offset(n_features, accumulate):
    """Rows on a grid of 2^-20 move by 2^30, a billion standard deviations, without rounding."""
    rng = np.random.default_rng(5)
    x = np.round(rng.normal(size=(400, n_features)) * 2**20) / 2**20
    offset, center, whitener = random_parameters(rng, 3, n_features, spread=1.0).log_quadratic()
    center = np.round(center * 2**20) / 2**20
    here = as_given(accumulate, x, LogQuadratic(offset, center, whitener))
    there = as_given(accumulate, x + 2.0**30, LogQuadratic(offset, center + 2.0**30, whitener))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name), err_msg=name)
    np.testing.assert_array_equal(there.scatter, here.scatter)


def test_raw_moments_would_not_survive_a_large_offset():
    """What the centered moments are for: the textbook's sum x x' - N m m' has no digit left."""
    x = np.round(np.random.default_rng(6).normal(size=(400, 1)) * 2**20) / 2**20
    moved = x + 2.0**30
    raw = (moved**2).mean() - moved.mean() ** 2
    observations = Observations.of(moved)
    one = Parameters([1.0], [[0.0]], [[[1.0]]])
    statistics = expectation(observations)(one.log_quadratic())
    centered = float(statistics.scatter[0, 0, 0] / 400 * observations.scale[0] ** 2)
    assert centered == pytest.approx(x.var(), rel=1e-11)
    assert abs(raw - x.var()) > 0.1
