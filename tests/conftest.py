"""What several tests need and takes time to make: posteriors of the Old Faithful data."""

import pytest

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.point import default_prior
from bayes_gmm.inference.pymc_model import pymc_model
from bayes_gmm.inference.sampling import SAMPLER, sample
from bayes_gmm.results.posterior_tree import posterior_tree


def sample_faithful(seed):
    """Sample the posterior of two components as `bg.sample` does, from the MAP estimate."""
    observations = Observations.of(bg.datasets.load("faithful"))
    prior = default_prior(observations, 2)
    start = bg.parameters(bg.fit(observations, 2, prior=prior, seed=1))
    run = {"draws": 1000, "tune": 1000, "chains": 4, "seed": seed}
    sampled = sample(pymc_model(observations, prior), start, cores=2, progressbar=False, **run)
    return posterior_tree(
        sampled, start, observations, prior, engine="pymc", sampler=SAMPLER, **run
    )


@pytest.fixture(scope="session")
def faithful_posterior():
    """Four chains of a thousand draws, K = 2."""
    return sample_faithful(seed=1)


@pytest.fixture(scope="session")
def faithful_posterior_other_seed():
    """The same from other random numbers."""
    return sample_faithful(seed=2)
