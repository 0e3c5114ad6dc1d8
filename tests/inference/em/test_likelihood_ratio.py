"""The bootstrap likelihood-ratio test, against fits by hand, and how often it errs."""

import numpy as np
import pytest
from scipy import stats

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em.likelihood_ratio import likelihood_ratio, sampled_like
from bayes_gmm.inference.em.point import estimate
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import Structure


def fits(observations, structure, sizes, n_starts=3, seed=0):
    """Log-likelihoods, and the estimate of the smallest size."""
    found = [
        estimate(observations, k, None, structure, n_starts=n_starts, seed=seed) for k in sizes
    ]
    return [one.optimizer["log_likelihood"] for one in found], found[0].parameters


def outcome(observations, sizes=(1, 2), structure="VVV", **settings):
    own = Structure.named(structure, observations.n_features)
    heights, theta = fits(observations, own, sizes)
    usual = {"with_prior": False, "n_bootstrap": 19, "n_starts": 3, "seed": 0, "cores": 2}
    return likelihood_ratio(
        theta,
        sizes[1],
        2 * (heights[1] - heights[0]),
        observations,
        own,
        done=lambda: None,
        **usual | settings,
    )


def two_groups(gap, n=60, seed=0):
    rng = np.random.default_rng(seed)
    return Observations.of(np.append(rng.normal(size=n), gap + rng.normal(size=n))[:, None])


def test_two_groups_apart_are_more_than_one_normal_and_no_more_than_two():
    apart = two_groups(8.0)
    assert outcome(apart).p_value == 1 / 20
    assert outcome(apart, (2, 3)).p_value > 0.05


@pytest.mark.filterwarnings("ignore::bayes_gmm.errors.ConvergenceWarning")
def test_a_p_value_counts_the_samples_that_are_as_far_apart():
    x = Observations.of(np.random.default_rng(3).normal(size=(50, 1)))
    structure = Structure.named("VVV", 1)
    heights, theta = fits(x, structure, (1, 2))
    statistic = 2 * (heights[1] - heights[0])
    by_hand = []
    for index in range(19):
        own = np.random.SeedSequence(7, spawn_key=(1, index))
        rows, _ = mixture.sample(theta, 50, np.random.default_rng(own))
        seed = int(own.generate_state(1)[0])
        low, high = (
            float(bg.fit(rows, k, n_starts=3, seed=seed)["optimizer_result"]["log_likelihood"])
            for k in (1, 2)
        )
        by_hand.append(2 * (high - low))
    found = outcome(x, seed=7)
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == (1 + np.sum(np.array(by_hand) >= statistic)) / 20
    assert found.n_made == 19


def test_the_number_of_threads_does_not_matter_and_the_seed_does():
    x = two_groups(2.5, n=30)
    found = [outcome(x, seed=seed, cores=cores) for seed, cores in ((1, 1), (1, 3), (2, 1))]
    assert found[0] == found[1]
    assert len({outcome(x, seed=seed).p_value for seed in (1, 2, 3)}) > 1


def test_a_sample_has_as_many_rows_as_were_seen_with_the_same_entries_missing():
    values = np.random.default_rng(0).normal(size=(30, 2))
    values[[3, 8], 1] = np.nan
    values[5, 0] = np.nan
    times = np.arange(30) % 3
    theta = Parameters([1.0], [[0.0, 5.0]], [np.eye(2)])
    observations = Observations.of(values, missing="mar").weighted(times)
    sampled = sampled_like(observations, theta, np.random.default_rng(1))
    assert sampled.n_rows == times.sum()
    assert sampled.weights is None
    np.testing.assert_array_equal(
        np.isnan(sampled.values), np.repeat(np.isnan(values), times, axis=0)
    )
    assert np.nanmean(sampled.values[:, 1]) == pytest.approx(5, abs=1)
    with pytest.raises(bg.InputError, match="row_weights has entries that are no whole numbers"):
        sampled_like(observations.weighted(times / 2), theta, np.random.default_rng(1))


def test_samples_that_cannot_be_fitted_are_left_out_and_counted():
    # Three rows are too few for two components of their own spread, whatever the sample is.
    x = Observations.of([[0.0], [1.0], [2.5]])
    theta = Parameters([1.0], [[1.0]], [[[1.0]]])
    found = likelihood_ratio(
        theta,
        2,
        1.0,
        x,
        Structure.named("VVV", 1),
        with_prior=False,
        n_bootstrap=3,
        n_starts=3,
        seed=0,
        cores=1,
        done=lambda: None,
    )
    assert found.n_made < 3
    assert np.isnan(found.p_value) == (found.n_made == 0)


@pytest.mark.validate
@pytest.mark.parametrize("sizes", [(1, 2), (2, 3)])
def test_a_true_number_is_rejected_as_often_as_the_level_says(sizes):
    means = np.array([[0.0], [6.0]])[: sizes[0]]
    theta = Parameters(np.full(sizes[0], 1 / sizes[0]), means, np.ones((sizes[0], 1, 1)))
    n, rejected = 150, 0
    for seed in range(n):
        x = mixture.sample(theta, 80, np.random.default_rng(seed))[0]
        rejected += outcome(Observations.of(x), sizes, structure="E", seed=seed).p_value <= 0.05
    # Exactly 1 in 20 if the fitted mixture were the true one.
    assert stats.binomtest(int(rejected), n, 0.05).pvalue > 1e-3
