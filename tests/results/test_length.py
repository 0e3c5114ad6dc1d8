"""Whether chains are long enough: the same as the verdict says."""

import numpy as np
import pytest
from results.synthetic import (
    FAR_APART,
    conjugate_posterior,
    exact_draws,
    posterior_result,
)

from bayes_gmm.model import mixture
from bayes_gmm.model.priors import Prior
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.length import long_enough


def sticky(n_draws, times):
    """Return a posterior whose every draw stays for so many."""
    rng = np.random.default_rng(4)
    x, z = mixture.sample(FAR_APART, 80, rng)
    draws = exact_draws(conjugate_posterior(x, z, 2), 4, n_draws // times, rng)
    repeated = tuple(np.repeat(array, times, axis=1) for array in draws)
    return posterior_result(repeated, x, Prior.default(x, 2))


@pytest.mark.parametrize(("times", "enough"), [(1, True), (10, False)])
def test_chains_are_long_enough_unless_the_verdict_calls_them_too_short(times, enough):
    posterior = sticky(600, times)
    assert long_enough(posterior) == enough
    assert diagnose(posterior).converged == enough


def test_chains_that_are_stuck_or_apart_are_not_made_longer_in_vain():
    posterior = sticky(600, 10)
    for draw in (slice(0, 1), slice(None)):  # chain 3 stands still, or has settled elsewhere
        moved = posterior.copy(deep=True)
        for array in moved["invariants"].data_vars.values():
            array[3] = array[3, draw] + 100 * array.std()
        assert long_enough(moved)


def test_chains_of_few_draws_are_not_made_longer_in_vain():
    assert long_enough(sticky(150, 10))
