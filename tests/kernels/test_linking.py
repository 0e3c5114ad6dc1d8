"""The last bit of a result depends neither on a cold cache nor on what was loaded before."""

import os
import subprocess
import sys

import pytest

PREPARE = """
import numpy as np
from bayes_gmm.data import Observations
from bayes_gmm.inference.settings import standardized
from bayes_gmm.model.priors import Prior

rng = np.random.default_rng(0)
x = rng.normal(size=(1300, {n_features})) + 2 * rng.integers(3, size=1300)[:, None]
observations, prior = Observations.of(x), Prior.default(x, 3)
theta = prior.sample(rng)

def show(*arrays):
    print(*(np.ascontiguousarray(array).tobytes().hex() for array in arrays))
"""
OTHERS = """
from bayes_gmm.kernels import cpu, membership
cpu.accumulate(x, np.zeros(x.shape[1]), np.ones(x.shape[1]), theta.log_quadratic())
membership.Ensemble.of([theta]).membership(x)
"""
RESULTS = {
    "gibbs": """
from bayes_gmm.inference import gibbs
tree = gibbs.sample(
    observations, prior, [theta], draws=20, tune=1, cores=1, seed=3, progressbar=False
)
show(tree["posterior"]["means"], tree["sample_stats"]["log_likelihood"])
""",
    "nuts": """
from bayes_gmm.kernels.log_posterior import LogPosterior
from bayes_gmm.model.free_coordinates import FreeCoordinates
coordinates = FreeCoordinates(standardized(prior, observations))
density = LogPosterior(observations, coordinates)
show(*density(coordinates.of(standardized(theta, observations))))
""",
    "fused": """
from bayes_gmm.inference import fused_op
from bayes_gmm.kernels import pointwise
fused_op._both_by_numba(None)
show(*pointwise.log_density_and_gradient(x, *theta.log_quadratic(), rng.normal(size=len(x))))
""",
}


def printed(cache, *parts):
    finished = subprocess.run(
        [sys.executable, "-c", "".join(parts)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout


@pytest.mark.validate
@pytest.mark.parametrize("n_features", [2, 16])
@pytest.mark.parametrize("what", RESULTS)
def test_a_cold_cache_and_what_ran_before_change_no_bit(what, n_features, tmp_path):
    prepare = PREPARE.format(n_features=n_features)
    cold, warm = (printed(tmp_path, prepare, RESULTS[what]) for _ in range(2))
    assert cold.strip()
    assert warm == cold
    assert printed(tmp_path, prepare, OTHERS, RESULTS[what]) == cold
