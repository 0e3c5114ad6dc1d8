"""Bridge sampling finds known constants, and its standard error is the spread of its estimates."""

import numpy as np
import pytest
from scipy.stats import norm

from bayes_gmm.posterior.bridge import bridge

CONSTANT, PROPOSAL = 3.7, norm(0.6, 1.3)


def estimate(rng, correlation=0.0, n=400):
    """Bridge from N(0.6, 1.3^2) to exp(3.7) N(0, 1), whose four chains are autoregressions."""
    draws = np.empty((4, n))
    state = rng.normal(size=4)
    for i in range(n):
        noise = rng.normal(size=4)
        state = correlation * state + np.sqrt(1 - correlation**2) * noise
        draws[:, i] = state
    proposed = PROPOSAL.rvs(4 * n, random_state=rng)
    return bridge(*(CONSTANT + norm.logpdf(x) - PROPOSAL.logpdf(x) for x in (draws, proposed)))


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_the_standard_error_is_the_spread_of_the_estimates(correlation):
    rng = np.random.default_rng(int(10 * correlation))
    found = [estimate(rng, correlation) for _ in range(150)]
    z = np.array([(one.log_integral - CONSTANT) / one.standard_error for one in found])
    assert abs(z.mean()) < 5 / np.sqrt(150)
    assert 0.8 < z.std() < 1.25
    worth = np.mean([one.effective_draws for one in found]) / 1600
    # An autoregression is worth (1 - rho) / (1 + rho) of its draws.
    assert worth > 0.9 if correlation == 0 else 0.03 < worth < 0.3


def test_a_proposal_in_proportion_leaves_no_error():
    found = bridge(np.full((4, 50), 2.5), np.full(100, 2.5))
    assert found.log_integral == pytest.approx(2.5)
    assert found.standard_error == pytest.approx(0, abs=1e-12)
    assert (found.effective_draws, found.effective_proposals) == (200, pytest.approx(100))


def test_densities_far_beyond_float64_are_no_trouble():
    rng = np.random.default_rng(1)
    draws, proposed = rng.normal(size=(2, 300)), PROPOSAL.rvs(600, random_state=rng)
    low, high = (
        bridge(*(shift + norm.logpdf(x) - PROPOSAL.logpdf(x) for x in (draws, proposed)))
        for shift in (0.0, -1e6)
    )
    assert high.log_integral + 1e6 == pytest.approx(low.log_integral, abs=1e-6)
    assert high.standard_error == pytest.approx(low.standard_error, rel=1e-6)


def test_a_proposal_that_misses_everything_gives_no_estimate():
    found = bridge(np.zeros((2, 50)), np.full(100, -np.inf))
    assert np.isnan(found.log_integral)
    assert np.isinf(found.standard_error)
    assert found.effective_proposals == 0
