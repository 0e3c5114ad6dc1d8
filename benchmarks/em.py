"""Seconds per iteration of EM, ours against scikit-learn's, from the same start in the same run.

    python benchmarks/em.py

Each size runs both engines alternately, five times, on the same rows from the same parameters, and
prints the medians and their ratio. scikit-learn's time is the difference between a long and a
short run, so that its initialization doesn't count.

With many features, structures are compared one by one with scikit-learn's; it has none with equal
spheres, so that EII is compared with its `spherical`, which is VII.
"""

import time
import warnings
from collections.abc import Callable

import numpy as np
from registry import simulated
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.model.structures import CODES, Structure

SIZES = [
    (1_000_000, 2, 5),
    (200_000, 16, 16),
    (100_000, 64, 16),
    (20_000, 8, 5),
    (272, 2, 2),
]
MANY_FEATURES = [(400, 100, 2), (10_000, 50, 10)]
TWINS = {"EII": "spherical", "VVI": "diag", "EEE": "tied", "VVV": "full"}
REPEATS = 5
warnings.simplefilter("ignore")


def start(x: np.ndarray, n_components: int) -> bg.Parameters:
    rng = np.random.default_rng(1)
    means = x[rng.choice(len(x), n_components, replace=False)]
    covariance = np.cov(x.T).reshape(x.shape[1], x.shape[1])
    return bg.Parameters(
        np.full(n_components, 1 / n_components), means, np.tile(covariance, (n_components, 1, 1))
    )


def clustered(x: np.ndarray, n_components: int) -> bg.Parameters:
    """A start from which no component is lost, however many features there are."""
    model = KMeans(n_components, n_init=1, random_state=0).fit(x)
    within = np.cov((x - model.cluster_centers_[model.labels_]).T)
    weights = np.bincount(model.labels_) / len(x)
    return bg.Parameters(weights, model.cluster_centers_, np.tile(within, (n_components, 1, 1)))


def ours(x: np.ndarray, theta: bg.Parameters, code: str) -> Callable[[int], float]:
    observations = Observations.of(x)
    structure = Structure.of(code, x.shape[1])
    prior = bg.ConjugatePrior.flat(theta.n_components, theta.n_features)
    rule = Rule(prior, structure, np.ones(theta.n_features))
    expect = expectation(observations, structure)
    origin, scale = observations.origin, observations.scale
    first = em.evaluate(expect, rule.at(theta.rescale(-origin / scale, 1 / scale)))

    def run(iterations: int) -> float:
        state = first
        began = time.perf_counter()
        for _ in range(iterations):
            after = em.step(expect, rule, state)
            assert after is not state, "a component is lost"
            state = after
        return (time.perf_counter() - began) / iterations

    return run


def theirs(x: np.ndarray, theta: bg.Parameters, kind: str = "full") -> Callable[[int], float]:
    full = np.linalg.inv(theta.covariances)
    diagonal = 1 / np.einsum("kjj->kj", theta.covariances)
    precisions = {
        "full": full, "tied": full[0], "diag": diagonal, "spherical": diagonal.mean(axis=1)
    }  # fmt: skip

    def fit(iterations: int) -> float:
        model = GaussianMixture(
            theta.n_components,
            covariance_type=kind,
            tol=0.0,
            max_iter=iterations,
            weights_init=theta.weights,
            means_init=theta.means,
            precisions_init=precisions[kind],
            init_params="random_from_data",
            random_state=0,
        )
        began = time.perf_counter()
        model.fit(x)
        return time.perf_counter() - began

    def run(iterations: int) -> float:
        return (fit(iterations + 1) - fit(1)) / iterations

    return run


def main() -> None:
    print("seconds per iteration, medians of", REPEATS)
    print(f"{'N':>9} {'D':>3} {'K':>3}  {'ours':>10} {'scikit-learn':>13} {'ratio':>7}")
    for n_rows, n_features, n_components in SIZES:
        x = simulated("round", n_rows, n_features, n_components, 2.0, seed=1)
        theta = start(x, n_components)
        mine, rival = ours(x, theta, "VVV"), theirs(x, theta)
        iterations = max(3, min(100, int(2e8 / (n_rows * n_features**2 * n_components))))
        mine(1)
        a = [mine(iterations) for _ in range(REPEATS)]
        b = [rival(iterations) for _ in range(REPEATS)]
        print(
            f"{n_rows:9} {n_features:3} {n_components:3}  {np.median(a):10.6f} "
            f"{np.median(b):13.6f} {np.median(b) / np.median(a):7.1f}",
            flush=True,
        )
    print("\nmany features, by structure")
    for n_rows, n_features, n_components in MANY_FEATURES:
        x = simulated("round", n_rows, n_features, n_components, 2.0, seed=1)
        theta = clustered(x, n_components)
        for code, kind in TWINS.items():
            mine, rival = ours(x, theta, code), theirs(x, theta, kind)
            a, b = ([run(10) for _ in range(REPEATS)] for run in (mine, rival))
            print(
                f"{n_rows:9} {n_features:3} {n_components:3}  {np.median(a):10.6f} "
                f"{np.median(b):13.6f} {np.median(b) / np.median(a):7.1f}  {code}, {kind}",
                flush=True,
            )
    print("\nall structures at (20000, 8, 5), seconds per iteration")
    x = simulated("round", 20_000, 8, 5, 2.0, seed=1)
    theta = start(x, 5)
    for code in CODES:
        run = ours(x, theta, code)
        run(1)
        print(f"  {code} {np.median([run(20) for _ in range(REPEATS)]):.6f}")


if __name__ == "__main__":
    main()
