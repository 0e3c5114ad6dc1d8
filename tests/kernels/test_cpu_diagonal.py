"""Where covariances are diagonal, the short pass and M-step are the long ones."""

import numpy as np
import pytest
from helpers import random_parameters, random_prior

from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em
from bayes_gmm.kernels import reference
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.moments import flatten, restore
from bayes_gmm.kernels.rows import accumulate
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics, entropy
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.prior import StructuredPrior

DIAGONAL = ("EII", "VII", "EEI", "VEI", "EVI", "VVI")
FEATURES = [1, 2, 3, 4, 5, 14, 15, 40]  # four features at a time, and what is left
ROWS = [1, 7, 8, 511, 512, 513, 1500]  # a chunk is 512 rows, turned eight at a time
VVI = Structure.of("VVI", 2)


def functions(
    rng: np.random.Generator, n_components: int, n_features: int, spread: float = 1.0
) -> LogQuadratic:
    """Log densities of a mixture with diagonal covariances."""
    theta = random_parameters(rng, n_components, n_features, spread)
    diagonal = theta.covariances * np.eye(n_features)
    return Parameters(theta.weights, theta.means, diagonal).log_quadratic()


def assert_agree(x, log_quadratic, weights=None, origin=None, scale=None, rtol=1e-12):
    """Hold the short pass to the reference, relative to the sum of the terms' sizes."""
    n_features = x.shape[1]
    origin = np.zeros(n_features) if origin is None else origin
    scale = np.ones(n_features) if scale is None else scale
    found = accumulate(x, origin, scale, log_quadratic, weights, VVI)
    expected = reference.accumulate(x, origin, scale, log_quadratic, weights)
    times = np.ones(len(x)) if weights is None else weights
    rows = (x - origin) / scale
    residual = np.abs(rows - log_quadratic.center[:, None])
    diagonals = [np.einsum("kjj->kj", s.second) for s in (found, expected)]
    for mine, theirs, size in (
        (found.log_normalizer, expected.log_normalizer, np.abs(log_quadratic(rows)).max(axis=1)),
        (found.count, expected.count, 1.0),
        (found.first, expected.first, residual.max(axis=(0, 2))),
        (*diagonals, (residual**2).max(axis=(0, 2))),
    ):
        assert np.abs(mine - theirs).max() <= rtol * (times * (1 + size)).sum()
    np.testing.assert_array_equal(found.second, found.second * np.eye(n_features))
    return found


@pytest.mark.parametrize("n_rows", ROWS)
@pytest.mark.parametrize("n_features", FEATURES)
@pytest.mark.parametrize("n_components", [1, 2, 7])
def test_the_short_pass_is_the_reference(n_components, n_features, n_rows):
    rng = np.random.default_rng([n_components, n_features, n_rows])
    x = 2 * rng.normal(size=(n_rows, n_features))
    origin, scale = rng.normal(size=n_features), rng.uniform(0.5, 2.0, n_features)
    found = assert_agree(x, functions(rng, n_components, n_features), origin=origin, scale=scale)
    assert found.count.sum() == pytest.approx(n_rows, rel=1e-12)


@pytest.mark.parametrize("n_features", [2, 15])
def test_row_weights_of_any_kind_are_those_of_the_reference(n_features):
    rng = np.random.default_rng([1, n_features])
    weights = rng.uniform(0, 3, size=1100) * (rng.random(1100) < 0.7)
    assert_agree(rng.normal(size=(1100, n_features)), functions(rng, 3, n_features), weights)


@pytest.mark.parametrize("n_features", [2, 15])
def test_rows_a_million_standard_deviations_away_are_counted(n_features):
    rng = np.random.default_rng([2, n_features])
    x = rng.normal(size=(700, n_features))
    x[::7] *= 1e6
    assert_agree(x, functions(rng, 3, n_features))


@pytest.mark.parametrize("n_features", [2, 15])
def test_a_large_offset_costs_no_digit(n_features):
    """Rows on a grid of 2^-20 are moved by 2^30, 1e9 of their standard deviations, exactly."""
    rng = np.random.default_rng([3, n_features])
    log_quadratic = functions(rng, 2, n_features)
    x = np.round(rng.normal(size=(800, n_features)) * 2**20) / 2**20
    here = assert_agree(x, log_quadratic)
    there = assert_agree(x + 2.0**30, log_quadratic, origin=np.full(n_features, 2.0**30))
    for name in ("log_normalizer", "count", "first", "second"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name), err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_read_only_rows_of_either_precision_are_summed_in_double_precision(dtype):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1300, 5)).astype(dtype)
    x.setflags(write=False)
    log_quadratic = functions(rng, 3, 5)
    found = assert_agree(x, log_quadratic)
    same = assert_agree(x.astype(np.float64), log_quadratic)
    np.testing.assert_array_equal(found.second, same.second)


@pytest.mark.parametrize("n_features", [2, 3, 14, 15, 40])
@pytest.mark.parametrize("kind", ["flat", "proper"])
@pytest.mark.parametrize("code", DIAGONAL)
def test_an_m_step_from_diagonals_is_the_posterior_mode_of_whole_moments(code, kind, n_features):
    """That is in the book, which knows of no short way."""
    rng = np.random.default_rng([DIAGONAL.index(code), n_features])
    x = rng.normal(size=(300, n_features))
    log_quadratic = functions(rng, 3, n_features, spread=0.3)
    structure = Structure.of(code, n_features)
    flat = ConjugatePrior.flat(3, n_features)
    prior = flat if kind == "flat" else random_prior(rng, 3, n_features)
    whole = reference.accumulate(x, np.zeros(n_features), np.ones(n_features), log_quadratic)
    short = accumulate(x, np.zeros(n_features), np.ones(n_features), log_quadratic, None, structure)
    previous = np.tile(np.eye(n_features), (3, 1, 1))
    found = Rule(prior, structure, np.ones(n_features)).maximize(short, previous)
    own = StructuredPrior.of(prior, structure)
    expected = own.posterior(whole).mode(previous)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            getattr(found.parameters, name), getattr(expected, name), rtol=1e-9, atol=1e-11
        )
    for ours, theirs in zip(found.log_quadratic, expected.log_quadratic(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
    assert found.log_prior == pytest.approx(own.log_density(expected), rel=1e-10, abs=1e-9)
    assert found.lost == -1


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_variance_at_the_floor_is_no_spread(lost):
    variances = np.ones((3, 2))
    rule = Rule(ConjugatePrior.flat(3, 2), VVI, np.array([1.0, 1e-6]))
    variances[lost, 1] = 1.1e-18
    theta = Parameters(np.full(3, 1 / 3), np.zeros((3, 2)), variances[:, :, None] * np.eye(2))
    assert rule.at(theta).lost == -1
    variances[lost, 1] = 0.9e-18
    theta = Parameters(np.full(3, 1 / 3), np.zeros((3, 2)), variances[:, :, None] * np.eye(2))
    assert rule.at(theta).lost == lost


@pytest.mark.parametrize("n_features", [2, 15])
@pytest.mark.parametrize("code", DIAGONAL)
def test_em_goes_the_same_way_with_either_pass_and_never_falls(code, n_features):
    rng = np.random.default_rng([DIAGONAL.index(code), n_features, 5])
    x = rng.normal(size=(400, n_features)) + rng.integers(3, size=400)[:, None]
    observations, structure = Observations.of(x), Structure.of(code, n_features)
    rule = Rule(ConjugatePrior.flat(3, n_features), structure, np.ones(n_features))
    means = rng.normal(size=(3, n_features))
    start = rule.at(Parameters(np.full(3, 1 / 3), means, np.tile(np.eye(n_features), (3, 1, 1))))
    short, long = (
        em.run(expect, rule, start, max_iter=20, tol=0.0, accelerate=False)
        for expect in (
            expectation(observations, structure),
            expectation(observations),
        )
    )
    np.testing.assert_allclose(short.objectives, long.objectives, rtol=1e-11)
    np.testing.assert_allclose(short.parameters.means, long.parameters.means, atol=1e-8)
    gains = np.diff(short.objectives)
    assert (gains >= -1e-13 * np.abs(short.objectives[1:])).all()


def test_what_reads_the_statistics_of_a_pass_finds_in_diagonals_what_it_needs():
    """Entropy; moments about another center; rows that are spread."""
    rng = np.random.default_rng(6)
    x, log_quadratic = rng.normal(size=(300, 4)), functions(rng, 3, 4)
    observations = Observations.of(x)
    short, long = expectation(observations, VVI), expectation(observations)
    diagonal, whole = short(log_quadratic), long(log_quadratic)
    assert entropy(log_quadratic, diagonal) == pytest.approx(entropy(log_quadratic, whole))
    back = restore(flatten(diagonal, diagonal=True), rng.normal(size=(3, 4)), diagonal=True)
    assert flatten(diagonal, diagonal=True).shape == (3 * (1 + 4 + 4),)
    np.testing.assert_allclose(
        np.einsum("kjj->kj", back.scatter), np.einsum("kjj->kj", whole.scatter), atol=1e-11
    )
    variances = np.array([0.1, 0.0, 0.02, 0.3])
    spread = {"spread": variances}
    mine = expectation(observations, VVI, **spread)(log_quadratic)
    theirs = expectation(observations, **spread)(log_quadratic)
    assert mine.log_normalizer == pytest.approx(theirs.log_normalizer, rel=1e-13)
    np.testing.assert_allclose(mine.second, theirs.second * np.eye(4), atol=1e-11)


@pytest.mark.parametrize("code", ["VVI", "EVI"])
def test_extrapolated_moments_lead_to_the_same_maximum(code):
    """Where plain steps creep: two components that overlap."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(500, 3)) + 1.3 * rng.integers(2, size=500)[:, None]
    observations, structure = Observations.of(x), Structure.of(code, 3)
    rule = Rule(ConjugatePrior.flat(2, 3), structure, np.ones(3))
    start = rule.at(Parameters([0.5, 0.5], [[-0.3] * 3, [0.3] * 3], [np.eye(3)] * 2))
    expect = expectation(observations, structure)
    fast, plain = (
        em.run(expect, rule, start, max_iter=5000, tol=1e-9, accelerate=accelerate)
        for accelerate in (True, False)
    )
    assert len(fast.objectives) < len(plain.objectives)
    polished = em.polish(expect, rule, fast.state)
    assert polished.objective == pytest.approx(plain.objectives[-1], abs=1e-8)
    again: SufficientStatistics = polished.statistics
    after = rule.maximize(again, polished.candidate.parameters.covariances).parameters
    np.testing.assert_allclose(after.means, polished.candidate.parameters.means, atol=1e-9)
