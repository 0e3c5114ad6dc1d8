"""The log-likelihood of draws near q, exact or estimated from a sample of the rows."""

import numpy as np
import pytest
from compound_symmetry import CompoundSymmetry

from bayes_gmm.data import Observations
from bayes_gmm.inference.variational import approximation
from bayes_gmm.inference.variational.approximation import Approximation
from bayes_gmm.inference.variational.variational import Sampler
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure

THETA = Parameters([0.3, 0.7], [[-1.0, 0.0], [1.5, 1.0]], [[[1, 0.3], [0.3, 0.5]], np.eye(2)])
ROWS = mixture.sample(THETA, 20_000, np.random.default_rng(1))[0]


def draws_of(found, n=20):
    sampler, rng = Sampler(found.q), np.random.default_rng(2)
    for _ in range(n):
        state = sampler.draw(rng)
        yield LogQuadratic(*(field.copy() for field in (state.offset, state.means, state.whitener)))


@pytest.mark.parametrize("structure", ["VVV", "EEE", "VVI", "VII", "CS"])
@pytest.mark.parametrize("holes", [False, True])
def test_a_sample_of_the_rows_tells_the_log_likelihood_of_draws(structure, holes, monkeypatch):
    own = CompoundSymmetry() if structure == "CS" else Structure.of(structure, 2)
    x = ROWS.copy()
    if holes:
        x[::7, 0] = np.nan
    observations = Observations.of(x, missing="mar")
    prior = ConjugatePrior.default(observations, 2)
    monkeypatch.setattr(approximation, "affordable_rows", lambda prior: 4000)
    found = Approximation.of(observations, prior, [THETA], own)
    assert found.some is not found.expect
    look = found.log_likelihood()
    exact = [found.expect(functions) for functions in draws_of(found)]
    estimated = [look(functions) for functions in draws_of(found)]
    truth = np.array([one.log_normalizer for one in exact])
    # The draws differ by nats, the estimates from the truth by hundredths.
    assert np.ptp(truth) > 3
    assert np.abs(truth - [value for value, _ in estimated]).max() < 0.25
    for one, (_, count) in zip(exact, estimated, strict=True):
        np.testing.assert_allclose(count, one.count, atol=12)


def test_few_rows_are_all_looked_at():
    observations = Observations.of(ROWS[:500])
    prior = ConjugatePrior.default(observations, 2)
    found = Approximation.of(observations, prior, [THETA])
    assert found.some is found.expect
    look = found.log_likelihood()
    for functions in draws_of(found, 3):
        assert look(functions)[0] == found.expect(functions).log_normalizer


def test_more_rows_are_affordable_where_a_row_takes_less():
    few, many = (
        approximation.affordable_rows(ConjugatePrior.flat(k, d)) for k, d in ((20, 20), (2, 2))
    )
    assert few == 4096
    assert many > 100_000
