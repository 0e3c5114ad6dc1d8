"""What several tests need and takes time to make: posteriors of the Old Faithful data."""

import signal

import pytest

import bayes_gmm as bg

# A shell starts what runs in the background with Ctrl-C ignored, and what it starts inherits that;
# tests that interrupt need Python's own answer to it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def sample_faithful(seed, engine="auto"):
    """Four chains of a thousand draws, two components."""
    data = bg.datasets.load("faithful")
    return bg.sample(data, 2, engine=engine, cores=2, seed=seed, progressbar=False)


@pytest.fixture(scope="session")
def faithful_posterior():
    """By the engine that is chosen when none is named: Gibbs."""
    return sample_faithful(seed=1)


@pytest.fixture(scope="session")
def faithful_posterior_other_seed():
    """The same from other random numbers."""
    return sample_faithful(seed=2)


@pytest.fixture(scope="session")
def faithful_by_nuts():
    """By NUTS on the gradient written by hand, whose statistics some tests need."""
    return sample_faithful(seed=3, engine="nuts")


@pytest.fixture(scope="session")
def faithful_by_pymc():
    """By NUTS on the PyMC model, which has to be compiled."""
    return sample_faithful(seed=4, engine="pymc")
