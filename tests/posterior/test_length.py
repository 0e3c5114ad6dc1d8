"""Whether chains are long enough: the same as the verdict says."""

import numpy as np
import pytest
from results.synthetic import (
    FAR_APART,
    conjugate_posterior,
    exact_draws,
    posterior_result,
)
from scipy.signal import lfilter

from bayes_gmm.model import mixture
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior.length import long_enough
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.reading import invariants


def sticky(n_draws, rho):
    """Return a posterior whose label-invariant quantities have this autocorrelation."""
    rng = np.random.default_rng(4)
    x, z = mixture.sample(FAR_APART, 80, rng)
    draws = exact_draws(conjugate_posterior(x, z, 2), 4, n_draws, rng)
    posterior = posterior_result(draws, x, ConjugatePrior.default(x, 2))
    for array in posterior["invariants"].data_vars.values():
        noise = rng.normal(size=(4, n_draws + 300, *array.shape[2:]))
        array[:] = lfilter([1], [1, -rho], noise, axis=1)[:, 300:]
    return posterior


@pytest.mark.parametrize(("rho", "enough"), [(0.0, True), (0.9, False)])
def test_chains_are_long_enough_unless_the_verdict_calls_them_too_short(rho, enough):
    posterior = sticky(600, rho)
    assert long_enough(invariants(posterior)[1]) == enough
    assert diagnose(posterior).converged == enough


def test_chains_that_are_stuck_or_apart_are_not_made_longer_in_vain():
    for draw in (slice(1), slice(None)):  # chain 3 stands still, or has settled elsewhere
        posterior = sticky(600, 0.0)
        for array in posterior["invariants"].data_vars.values():
            values = array.to_numpy()
            values[3] = values[3, draw] + 100 * values.std(axis=(0, 1))
        assert not diagnose(posterior).converged
        assert long_enough(invariants(posterior)[1])


def test_chains_of_few_draws_are_not_made_longer_in_vain():
    assert long_enough(invariants(sticky(150, 0.9))[1])
