"""The categorical distribution of the label: its checks, its frequencies, its estimate."""

import numpy as np
import pytest
from helpers import refuses, z_scores
from scipy import stats

from bayes_gmm.model import categorical

WEIGHTS = np.array([0.5, 0.2, 0.3])


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([0.5, -0.1, 0.6], ["weights[1]", "-0.1", ">= 0"]),
        ([0.5, np.nan, 0.5], ["weights[1]", "nan"]),
        ([0.5, 0.5, np.inf], ["weights[2]", "inf"]),
        ([0.5, 0.4], ["weights", "0.9", "not 1"]),
        ([0.5, 0.6], ["weights", "1.1", "not 1"]),
        ([0.5, 0.5 + 1e-6], ["weights", "not 1"]),
        ([[0.5, 0.5]], ["weights", "(K,)", "(1, 2)"]),
        (1.0, ["weights", "(K,)", "()"]),
        ([], ["weights", "(K,)", "(0,)"]),
        (["half", "half"], ["weights"]),
    ],
    ids=["negative", "nan", "inf", "short", "long", "nearly", "2-D", "scalar", "empty", "text"],
)
def test_weights_that_are_no_distribution_are_refused(weights, words):
    with refuses(*words):
        categorical.check_weights(weights)


def test_good_weights_come_back_as_a_copy():
    for weights in ([1.0], [0.0, 1.0], [1 / 3] * 3, [1], np.float32([0.25, 0.75])):
        checked = categorical.check_weights(weights)
        assert checked.dtype == np.float64
        np.testing.assert_array_equal(checked, weights)
    mine = WEIGHTS.copy()
    categorical.check_weights(mine)[0] = 9
    assert mine[0] == 0.5


def test_log_density_is_the_log_weight_of_the_label():
    z = np.array([2, 0, 0, 1])
    np.testing.assert_allclose(np.exp(categorical.log_density(z, WEIGHTS)), [0.3, 0.5, 0.5, 0.2])
    assert categorical.log_density(np.array([1]), np.array([1.0, 0.0]))[0] == -np.inf


def test_labels_are_drawn_with_the_frequencies_of_the_weights():
    z = categorical.sample(WEIGHTS, 30_000, np.random.default_rng(1))
    assert z.shape == (30_000,)
    counts = np.bincount(z, minlength=3)
    assert counts.size == 3
    assert stats.chisquare(counts, 30_000 * WEIGHTS).pvalue > 1e-4
    follows = (z[:-1, None] == np.arange(3)) & (
        z[1:, None] == 0
    )  # draws do not know the one before
    assert np.abs(z_scores(follows.astype(float), WEIGHTS * WEIGHTS[0])).max() < 5


def test_a_label_of_weight_zero_is_never_drawn():
    z = categorical.sample(np.array([0.5, 0.0, 0.5]), 1000, np.random.default_rng(2))
    assert set(z) == {0, 2}


def test_maximum_likelihood_is_the_observed_proportions_and_nothing_does_better():
    z = np.array([0, 2, 2, 2, 0, 2, 2, 2])
    estimate = categorical.maximum_likelihood(z, 4)
    np.testing.assert_array_equal(estimate, [0.25, 0.0, 0.75, 0.0])
    best = categorical.log_density(z, estimate).sum()
    for other in np.random.default_rng(3).dirichlet(np.ones(4), 200):
        assert categorical.log_density(z, other).sum() < best
