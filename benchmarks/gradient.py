"""Seconds per gradient of the log posterior in PyMC: the fused likelihood against `pymc.Mixture`.

    python benchmarks/gradient.py

For each size both models get the same data, prior and point, and PyMC's own function of log density
and gradient is compiled for numba and called on one thread, alternately, nine times. Printed are
the medians and their ratio, after a check that the gradients agree.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import time
from collections.abc import Callable

import numpy as np
import pytensor
from pymc.initial_point import make_initial_point_fn
from registry import simulated

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.pymc.model import LIKELIHOODS, pymc_model

SIZES = [(2_000, 2, 3), (5_000, 8, 5), (100_000, 2, 3)]
REPEATS = 9


def gradient(x: np.ndarray, n_components: int, likelihood: str) -> Callable[[], np.ndarray]:
    """Compile the gradient at a point near the optimum."""
    prior = bg.ConjugatePrior.default(x, n_components)
    model = pymc_model(Observations.of(x), prior, likelihood=likelihood)
    theta = bg.point_estimate(bg.fit(x, n_components, seed=0, n_starts=3))
    values = {name: getattr(theta, name) for name in ("weights", "means", "covariances")}
    point = make_initial_point_fn(model=model, overrides=values)(0)
    function = model.logp_dlogp_function(ravel_inputs=True, mode="NUMBA")
    function.set_extra_values({})
    free = np.concatenate([point[v.name].ravel() for v in model.value_vars]) + 1e-3
    return lambda: function._pytensor_function(free)[1]


def seconds(call: Callable[[], np.ndarray]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    pytensor.config.cxx = ""
    names = "features", "components", "fused, ms", "mixture, ms"
    print(f"{'rows':>8}", *(f"{name:>11}" for name in names), "ratio")
    for n_rows, n_features, n_components in SIZES:
        x = simulated("round", n_rows, n_features, n_components, 3.0, 0)
        calls = [gradient(x, n_components, likelihood) for likelihood in LIKELIHOODS]
        fused, written_out = (call() for call in calls)
        np.testing.assert_allclose(fused, written_out, rtol=1e-8, atol=1e-8 * abs(fused).max())
        times = np.array([[seconds(call) for call in calls] for _ in range(REPEATS)])
        ours, theirs = 1e3 * np.median(times, axis=0)
        print(
            f"{n_rows:8} {n_features:11} {n_components:11} {ours:11.3f} {theirs:11.3f} "
            f"{theirs / ours:5.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
