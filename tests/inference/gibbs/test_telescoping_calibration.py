"""Simulation-based calibration of the sampler of an unknown number of components.

Parameters are drawn from the prior and rows given them; the rank of each quantity among draws of
the posterior is then uniform (Talts et al. 2018, arXiv:1804.06788, theorem 1). Ranks of 1000 runs
are counted in 20 bins; a true sampler fails the test of a quantity with probability 1e-4.
"""

import numpy as np
import pytest
from scipy.stats import chisquare

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs import gibbs
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import UNCONSTRAINED

RUNS, DRAWS, BINS, ROWS = 1000, 99, 20, 12
NUMBER = bg.NumberOfComponents([0.3, 0.3, 0.2, 0.1, 0.1], alpha=("gamma", 2, 2))
PRIORS = {
    "conjugate": lambda k: bg.ConjugatePrior(np.ones(k), [0.0, 0.0], 0.2, 5.0, 2 * np.eye(2)),
    "semiconjugate": lambda k: bg.SemiconjugatePrior(
        np.ones(k), [0.0, 0.0], [3.0, 2.0], 5.0, 2 * np.eye(2)
    ),
    "hierarchical": lambda k: bg.HierarchicalPrior(
        np.ones(k), [0.0, 0.0], [3.0, 2.0], 6.0, 4.0, 0.5 * np.eye(2)
    ),
}


def simulated(prior, rng):
    """Draw K, alpha, parameters, labels and rows."""
    k = 1 + rng.choice(5, p=np.exp(NUMBER.log_probabilities))
    alpha = rng.gamma(2) / 2
    drawn = prior(k).sample(rng)
    theta = Parameters(rng.dirichlet(np.full(k, alpha / k)), drawn.means, drawn.covariances)
    labels = rng.choice(k, ROWS, p=theta.weights)
    rows = np.array([rng.multivariate_normal(theta.means[z], theta.covariances[z]) for z in labels])
    return k, alpha, theta, labels, rows


def quantities(n_components, n_clusters, alpha, weights, means, covariances):
    """Label-invariant quantities of one draw or of many, the last axis."""
    mean = np.einsum("...k,...kd->...d", weights, means)
    spread = np.einsum("...k,...kdd->...", weights, covariances)
    parts = [n_components, n_clusters, alpha, (weights**2).sum(axis=-1), mean[..., 0], spread]
    return np.stack([np.asarray(part, float) for part in parts], axis=-1)


@pytest.mark.validate
@pytest.mark.parametrize("name", PRIORS)
def test_ranks_of_what_was_simulated_are_uniform(name):
    prior, rng = PRIORS[name], np.random.default_rng(11)
    ranks = []
    for run in range(RUNS):
        k, alpha, theta, labels, rows = simulated(prior, rng)
        truth = quantities(k, len(np.unique(labels)), alpha, *theta_arrays(theta))
        tree = next(
            gibbs.longer_runs(
                Observations.of(rows),
                prior(1),
                [Parameters([1.0], rows[:1], np.eye(2)[None])],
                structure=UNCONSTRAINED,
                number=NUMBER,
                draws=DRAWS,
                tune=100,
                cores=1,
                seed=run,
                thin=20,
                progressbar=False,
            )
        )
        drawn = tree["posterior"]
        names = ("n_components", "n_clusters", "alpha", "weights", "means", "covariances")
        found = quantities(*(drawn[name].to_numpy()[0] for name in names))
        below = (found < truth).sum(axis=0)
        ties = (found == truth).sum(axis=0)
        ranks.append(below + rng.integers(0, ties + 1))
    for place, rank in enumerate(np.transpose(ranks)):
        counts = np.bincount(rank * BINS // (DRAWS + 1), minlength=BINS)
        assert chisquare(counts).pvalue > 1e-4, (place, counts)


def theta_arrays(theta):
    """Weights, means and covariances."""
    return theta.weights, theta.means, theta.covariances
