"""What a move leaves behind: labels, and the statistics of each cluster and of nothing else."""

import numpy as np
import pytest

import bayes_gmm as bg
from bayes_gmm.kernels.gibbs import Prior, State, Sums
from bayes_gmm.kernels.kernel import twin
from bayes_gmm.kernels.partition import Number
from bayes_gmm.kernels.split_merge import (
    ACCEPTED_MERGERS,
    ACCEPTED_SPLITS,
    INTEGRATE,
    split_or_merge,
)
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import UNCONSTRAINED

ROOM = 8


@pytest.mark.parametrize("n_clusters", [2, 3, 4])
def test_statistics_after_a_move_are_those_of_its_clusters_and_zero_elsewhere(n_clusters):
    rng = np.random.default_rng(3)
    x = np.ascontiguousarray(rng.normal(size=(24, 2)))
    labels = np.arange(24) % n_clusters
    prior = Prior.conjugate(
        bg.ConjugatePrior(np.ones(ROOM), [0.0, 0.0], 0.3, 5.0, 3 * np.eye(2)), UNCONSTRAINED
    )
    number = Number.of(bg.NumberOfComponents("uniform", maximum=ROOM))
    theta = Parameters(
        np.full(ROOM, 1 / ROOM), np.zeros((ROOM, 2)), np.repeat(np.eye(2)[None], ROOM, axis=0)
    )
    state, sums = State.of(theta), Sums.zeros(ROOM, 2)
    for k in range(n_clusters):
        own = x[labels == k]
        sums.counts[k], sums.first[k] = len(own), own.sum(axis=0)
        sums.second[k] = own.T @ own
    moves, origin, scale = np.zeros(4, np.int64), np.zeros(2), np.ones(2)
    generator = np.random.Generator(np.random.PCG64(5))
    for _ in range(400):
        n_clusters = split_or_merge(
            generator, x, origin, scale, twin(UNCONSTRAINED.integrate_one, INTEGRATE).address,
            prior, number, 1.0, state, sums, n_clusters, labels, moves, np.empty(ROOM),
        )  # fmt: skip
        assert sorted(set(labels)) == list(range(n_clusters))
        for k in range(ROOM):
            about = x[labels == k] - state.means[k]
            assert sums.counts[k] == len(about)
            np.testing.assert_allclose(sums.first[k], about.sum(axis=0), atol=1e-12)
            lower = np.tril(about.T @ about)
            np.testing.assert_allclose(np.tril(sums.second[k]), lower, atol=1e-12)
    assert moves[ACCEPTED_SPLITS] > 3
    assert moves[ACCEPTED_MERGERS] > 3
