"""EM of one page takes the same way as the fast one."""

import numpy as np
import pytest
from helpers import assert_same_mixture, from_labels, run_em

import bayes_gmm as bg
from bayes_gmm.model.em import em
from bayes_gmm.model.priors import ConjugatePrior

RNG = np.random.default_rng(1)
DATA = {
    "faithful": (bg.datasets.load("faithful"), 2),
    "iris": (bg.datasets.load("iris").select_dtypes("number"), 3),
    "one feature": (np.concatenate([RNG.normal(size=40), RNG.normal(4, 2, 60)])[:, None], 2),
    "overlapping": (RNG.normal(size=(150, 3)) * [1.0, 1e3, 1e-2] + [0.0, 1e4, 7.0], 2),
}


@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize("name", DATA)
def test_it_takes_the_same_steps_as_the_fast_one(name, with_prior):
    x, k = np.asarray(DATA[name][0], float), DATA[name][1]
    start = from_labels(x, np.arange(len(x)) * k // len(x))
    prior = ConjugatePrior.default(x, k) if with_prior else ConjugatePrior.flat(k, x.shape[1])
    fast = run_em(x, start, prior, max_iter=40, tol=0.0, accelerate=False)
    theta, objective = em(x, start, prior, len(fast.objectives) - 1)
    assert len(objective) > 20
    np.testing.assert_allclose(objective, fast.objectives, rtol=1e-10)
    assert_same_mixture(theta, fast.parameters, rtol=1e-7)
    assert (np.diff(objective) > -1e-9 * np.abs(objective[0])).all()
    assert objective[-1] > objective[0] + 1e-3
