"""What several tests need and takes time to make: posteriors of the Old Faithful data."""

import pytest

import bayes_gmm as bg


def sample_faithful(seed):
    data = bg.datasets.load("faithful")
    return bg.sample(data, 2, draws=1000, chains=4, cores=2, seed=seed, progressbar=False)


@pytest.fixture(scope="session")
def faithful_posterior():
    """Four chains of a thousand draws, two components."""
    return sample_faithful(seed=1)


@pytest.fixture(scope="session")
def faithful_posterior_other_seed():
    """The same from other random numbers."""
    return sample_faithful(seed=2)
