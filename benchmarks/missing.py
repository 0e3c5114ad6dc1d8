"""What missing entries cost: CPU time with a fifth of them missing over that of complete rows.

    python benchmarks/missing.py [pairs]

Of a pass of EM, a sweep of Gibbs, a whole fit (MAP) and a whole sample, K = 3, rows of a mixture.
Both are timed in turn, so that a busy machine slows both; printed are medians over the pairs (5).
A fit with entries missing takes more steps as well, since less is known of the labels.
"""

import sys
import time
import warnings
from collections.abc import Callable
from statistics import median

import numpy as np
from registry import simulated

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs import gibbs
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.priors import ConjugatePrior

K, SHARE = 3, 0.2
SIZES = [(n, d) for n in (200, 2000, 20_000) for d in (2, 4, 8, 20)]
QUIET = {"progressbar": False}


def tables(n_rows: int, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """The same rows complete, and with entries missing, but not all of a row."""
    x = simulated("round", n_rows, n_features, K, 1.5, seed=n_features)
    rng = np.random.default_rng(0)
    lacking = rng.random(x.shape) < SHARE
    lacking[lacking.all(axis=1), 0] = False
    return x, np.where(lacking, np.nan, x)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of the whole process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def tasks(x: np.ndarray) -> dict[str, Callable[[], object]]:
    """What is timed, for one table."""
    observations = Observations.of(x, missing="mar")
    n_rows, n_features = x.shape
    prior = ConjugatePrior.default(observations, K)
    theta = prior.sample(np.random.default_rng(1))
    expect, functions = expectation(observations, threads=1), theta.log_quadratic()
    times = max(1, 1_000_000 // x.size)  # so that what is timed takes some milliseconds

    def passes() -> None:
        for _ in range(times):
            expect(functions)

    def sweeps() -> None:
        gibbs.sample(
            observations, prior, [theta], draws=times + 4, tune=0, cores=1, seed=0, thin=1, **QUIET
        )

    def sample() -> None:
        bg.sample(x, K, missing="mar", engine="gibbs", draws=250, tune=250, seed=0, **QUIET)

    found: dict[str, Callable[[], object]] = {
        "pass": passes,
        "sweep": sweeps,
        "fit": lambda: bg.fit(x, K, prior="default", missing="mar", seed=0),
    }
    return found | ({"sample": sample} if n_features <= 8 and n_rows <= 2000 else {})


def main(n_pairs: int) -> None:
    warnings.simplefilter("ignore")
    print(f"{'N':>6} {'D':>3}   times the CPU seconds of complete rows (and these)")
    for n_rows, n_features in SIZES:
        whole, lacking = map(tasks, tables(n_rows, n_features))
        said = []
        for name in whole:
            pairs = min(n_pairs, 2) if name == "sample" else n_pairs
            whole[name](), lacking[name]()  # compiled, and in the cache
            took = [(seconds(lacking[name]), seconds(whole[name])) for _ in range(pairs)]
            ratio = median(one / other for one, other in took)
            said.append(f"{name} {ratio:5.2f} ({median(other for _, other in took):.3f})")
        print(f"{n_rows:>6} {n_features:>3}   " + "   ".join(said), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
