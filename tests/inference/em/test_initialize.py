"""Starts do not depend on the order of rows, know every region of the data, and are mixtures."""

import numpy as np
import pytest
from scipy import stats

from bayes_gmm.data import Observations
from bayes_gmm.inference.em import initialize
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics


def clusters(n_rows: int, seed: int = 1) -> np.ndarray:
    truth = Parameters(
        [0.25, 0.5, 0.25], [[0.0, 0.0], [200.0, 1.0], [0.0, 2.0]], [np.diag([100.0, 0.01])] * 3
    )
    return mixture.sample(truth, n_rows, np.random.default_rng(seed))[0]


def starting_points(x: np.ndarray, n_components: int, n_starts: int, seed: int) -> list:
    data = initialize.sketch(Observations.of(x))
    return list(initialize.seeds(data, n_components, n_starts, np.random.default_rng(seed)))


def as_parameters(start: SufficientStatistics) -> Parameters:
    """The M-step from a start, checked to be a mixture."""
    mode = ConjugatePrior.flat(*start.center.shape).posterior(start).mode()
    return Parameters(mode.weights, mode.means, mode.covariances)


def test_a_sketch_of_few_rows_is_the_distinct_rows_and_how_often_each_occurs():
    x = np.array([[2.0, 1.0], [0.0, 5.0], [2.0, 1.0], [0.0, 4.0], [2.0, 1.0]])
    rows, counts, _ = initialize.sketch(Observations.of(x))
    expected = (np.array([[0, 4], [0, 5], [2, 1]]) - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(rows, expected, rtol=1e-12)
    np.testing.assert_array_equal(counts, [1, 1, 3])


@pytest.mark.parametrize("n_rows", [300, 20_000])
def test_a_sketch_does_not_know_the_order_of_the_rows(n_rows):
    x = clusters(n_rows)
    shuffled = np.random.default_rng(2).permutation(x)
    observations = Observations.of(x)
    a = initialize.sketch(observations)
    b = initialize.sketch(Observations.of(shuffled))
    np.testing.assert_array_equal(a.counts, b.counts)
    np.testing.assert_allclose(a.rows, b.rows, rtol=1e-9, atol=1e-11)
    assert len(a.rows) <= min(n_rows, initialize.SKETCH_ROWS + 1)


def test_a_sketch_of_many_rows_is_a_fair_sample_of_them():
    x = clusters(50_000)
    observations = Observations.of(x)
    rows, counts, _ = initialize.sketch(observations)
    assert 0.9 * initialize.SKETCH_ROWS < counts.sum() <= initialize.SKETCH_ROWS + 1
    standard = (x - observations.origin) / observations.scale
    for column in range(2):
        assert stats.ks_2samp(rows[:, column], standard[:, column]).pvalue > 1e-4


def test_a_sketch_of_many_rows_with_few_values_holds_all_the_values():
    """Ratings, ages, counts: a hundred thousand rows, a handful of different ones."""
    values, repeats = np.arange(5.0), [40_000, 30_000, 20_000, 9_990, 10]
    rows, counts, _ = initialize.sketch(Observations.of(np.repeat(values, repeats)))
    assert len(rows) == 5
    np.testing.assert_allclose(counts / counts.sum(), np.array(repeats) / 1e5, rtol=1e-12)


@pytest.mark.parametrize("n_components", [1, 2, 3, 7])
def test_every_start_is_a_mixture_of_so_many_components_about_the_data(n_components):
    x = clusters(400)
    found = starting_points(x, n_components, 6, seed=3)
    assert len(found) == (6 if n_components > 1 else 1)
    for start in found:
        assert start.center.shape == (n_components, 2)
        theta = as_parameters(start)
        assert (theta.weights > 1e-3).all()
        assert (np.abs(theta.means) < 6).all()  # standardized coordinates


def test_starts_differ_from_each_other_and_come_again_with_the_seed():
    x = np.random.default_rng(4).normal(size=(200, 2))
    first, again, other = (starting_points(x, 3, 6, seed) for seed in (4, 4, 5))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.second, b.second)
    assert any(not np.array_equal(a.center, b.center) for a, b in zip(first, other, strict=True))
    assert len({tuple(np.sort(start.center[:, 0]).round(6)) for start in first}) == 6


def test_some_start_sees_long_parallel_clusters_as_well_as_round_ones():
    """Two clusters that lie apart along the direction in which the data vary least."""
    rng = np.random.default_rng(6)
    along, gap = rng.normal(size=(300, 1)) * 30, np.repeat([0.0, 4.0], 150)[:, None]
    x = along * [1.0, 1.0] + gap * [1.0, -1.0] + 0.3 * rng.normal(size=(300, 2))
    parted = []
    for start in starting_points(x, 2, 10, seed=7):
        centers = as_parameters(start).rescale(x.mean(axis=0), x.std(axis=0)).means
        parted.append(abs(np.diff(centers @ [0.5, -0.5])[0]))
    assert max(parted) > 3.5  # of 4
    assert min(parted) < 1  # while others cut across both


def test_no_start_is_singular_even_when_every_row_may_have_its_own_component():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    for n_components in (2, 3, 4):
        for start in starting_points(x, n_components, 4, seed=8):
            assert as_parameters(start).n_components == n_components


@pytest.mark.parametrize("gap", [1e-6, 1e-9, 1e-12])
def test_rows_that_hardly_differ_can_still_be_started_from(gap):
    x = np.concatenate([np.random.default_rng(9).normal(size=10), 1 + gap * np.arange(3)])
    for start in starting_points(x, 13, 4, seed=10):
        assert np.isfinite(start.center).all()
        assert as_parameters(start).n_components == 13


@pytest.mark.parametrize("seed", range(5))
def test_features_that_differ_in_a_handful_of_many_rows_can_be_started_from(seed):
    """Collinear in most sketches, but not in the data."""
    rng = np.random.default_rng(seed)
    x = np.tile(rng.normal(size=(30_000, 1)), 2)
    x[:2, 1] += [1.0, 2.0]
    x = np.column_stack([x, rng.normal(size=30_000)])
    for start in starting_points(x, 2, 4, seed=12):
        assert as_parameters(start).n_components == 2
