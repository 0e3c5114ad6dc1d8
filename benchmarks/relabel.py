"""How long it takes to relabel draws by each method, to label a posterior, and to diagnose it.

    python benchmarks/relabel.py [rows]

4000 draws of a mixture of 10 components in 8 dimensions, their components in random order, of 1000
rows. CPU seconds, best of three.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.relabel import METHODS, relabel
from bayes_gmm.results.tree import posterior_tree
from bayes_gmm.simulation import random_mixture

CHAINS, DRAWS, K, D = 4, 1000, 10, 8


def seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(3):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def sampled(theta: Parameters, rng: np.random.Generator, known: bool) -> xr.DataTree:
    """Draws about a mixture, as a sampler might return them."""
    size = (CHAINS, DRAWS, K)
    noise = 0.1 * rng.normal(size=(*size, D, D))
    factors = theta.choleskys @ (np.eye(D) + noise)
    draws = Draws(
        rng.dirichlet(200 * theta.weights, size=size[:2]),
        theta.means + 0.3 * rng.normal(size=(*size, D)),
        factors @ factors.swapaxes(-1, -2),
    ).reorder(rng.permuted(np.broadcast_to(np.arange(K), size), axis=2))
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros(size[:2], bool))})
    if known:
        stats["log_likelihood"] = (("chain", "draw"), np.zeros(size[:2]))
        stats["component_counts"] = (("chain", "draw", "cluster"), 100 * draws.weights)
    names = [f"x{j}" for j in range(D)]
    return xr.DataTree.from_dict(
        {
            "/posterior": labelled(draws._asdict(), feature_names=names, leading=("chain", "draw")),
            "/sample_stats": stats,
        }
    )


def main() -> None:
    n_rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rng = np.random.default_rng(0)
    theta = random_mixture(K, D, 2.0, seed=0)
    x = mixture.sample(theta, n_rows, rng)[0]
    observations, prior = Observations.of(x), ConjugatePrior.default(x, K)
    print(f"{CHAINS} x {DRAWS} draws, {K} components, {D} features, {n_rows} rows: CPU seconds")
    for name, known in (("with the passes", False), ("statistics known", True)):
        tree = sampled(theta, rng, known)
        taken = seconds(lambda tree=tree: posterior_tree(tree, theta, observations, prior))
        print(f"{'posterior_tree, ' + name:36}{taken:8.2f}")
    posterior = posterior_tree(tree, theta, observations, prior)
    for method in METHODS:
        by = "weights" if method == "ordering" else None
        taken = seconds(lambda method=method, by=by: relabel(posterior, method, by=by))
        print(f"{'relabel, ' + method:36}{taken:8.2f}")
    print(f"{'diagnose':36}{seconds(lambda: diagnose(posterior)):8.2f}")


if __name__ == "__main__":
    main()
