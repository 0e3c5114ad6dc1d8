"""Time to a posterior, and effective draws per second: ours against a hand-written PyMC program.

    python benchmarks/posterior.py [problem ...]

The rival is what a careful person writes today: `pm.Mixture` of `pm.MvNormal` with LKJ priors,
sampled by `pm.sample` (nutpie) from scikit-learn's solution, and its draws relabelled by us. Each
run is a fresh process with warm caches, timed from its start to a relabelled, diagnosed posterior
of 4 chains x 1000 draws. The effective sample size is the least bulk ESS over all relabelled
weights, means and covariances. A run that takes more than `LIMIT` seconds, or as many as the
variable BENCH_LIMIT says, is given up.

With `--cold` the caches of compiled code are empty.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np

LIMIT = int(os.environ.get("BENCH_LIMIT", "600"))
SETTINGS = {"draws": 1000, "tune": 1000, "chains": 4}
ENGINES = ("nuts", "gibbs", "pymc", "by hand")
PROBLEMS = {
    "faithful 2": ("faithful", 2),
    "faithful 3": ("faithful", 3),
    "iris 3": ("iris", 3),
    "2e3 x 2, K 3, apart": ((2_000, 2, 3, 4.0), 3),
    "2e3 x 2, K 3, close": ((2_000, 2, 3, 1.2), 3),
    "5e3 x 8, K 5, apart": ((5_000, 8, 5, 4.0), 5),
    "5e3 x 8, K 5, close": ((5_000, 8, 5, 1.0), 5),
    "1e5 x 2, K 3, apart": ((100_000, 2, 3, 4.0), 3),
    "1e5 x 2, K 3, close": ((100_000, 2, 3, 1.5), 3),
    "1e6 x 4, K 4, apart": ((1_000_000, 4, 4, 4.0), 4),
}
# What only some engines are tried on; the others would not end within the limit.
GIBBS_ONLY = ("1e6",)


def rows_of(data) -> np.ndarray:
    import bayes_gmm as bg

    if isinstance(data, str):
        return bg.datasets.load(data).to_numpy(float)
    n_rows, n_features, n_components, separation = data
    rng = np.random.default_rng(5)
    means = separation * rng.normal(size=(n_components, n_features))
    root = rng.normal(size=(n_components, n_features, 2 * n_features)) / np.sqrt(2 * n_features)
    labels = rng.integers(n_components, size=n_rows)
    noise = rng.normal(size=(n_rows, 2 * n_features))
    return means[labels] + np.einsum("nij,nj->ni", root[labels], noise)


def least_ess(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> float:
    import arviz as az

    n_features = means.shape[-1]
    lower = covariances[..., *np.tril_indices(n_features)]
    parts = (weights, means, lower)
    return float(
        min(
            az.ess(np.ascontiguousarray(column), method="bulk")
            for part in parts
            for column in np.moveaxis(part.reshape(*part.shape[:2], -1), -1, 0)
        )
    )


def ours(x: np.ndarray, n_components: int, engine: str) -> tuple:
    import bayes_gmm as bg

    posterior = bg.sample(x, n_components, engine=engine, seed=1, progressbar=False, **SETTINGS)
    converged = bg.diagnose(posterior).converged
    group = posterior["posterior"]
    names = ("weights", "means", "covariances")
    return tuple(group[name].to_numpy() for name in names), bool(converged)


def by_hand(x: np.ndarray, n_components: int) -> tuple:
    import pymc as pm
    from sklearn.mixture import GaussianMixture

    import bayes_gmm as bg
    from bayes_gmm.results.draws import Draws
    from bayes_gmm.results.relabel.pivot import match

    n_features = x.shape[1]
    start = GaussianMixture(n_components, random_state=1).fit(x)
    lower = np.tril_indices(n_features)
    with pm.Model():
        weights = pm.Dirichlet("weights", np.ones(n_components))
        means = pm.Normal("means", x.mean(0), 3 * x.std(0), shape=(n_components, n_features))
        factors = [
            pm.LKJCholeskyCov(
                f"factor_{k}",
                n=n_features,
                eta=2.0,
                sd_dist=pm.HalfNormal.dist(x.std(0), shape=n_features),
            )[0]
            for k in range(n_components)
        ]
        components = [pm.MvNormal.dist(means[k], chol=factors[k]) for k in range(n_components)]
        pm.Mixture("x", weights, components, observed=x)
        initial = {
            "weights": start.weights_,
            "means": start.means_,
            **{
                f"factor_{k}": np.linalg.cholesky(start.covariances_[k])[lower]
                for k in range(n_components)
            },
        }
        trace = pm.sample(
            random_seed=1, initvals=initial, progressbar=False, quiet=True, **SETTINGS
        )
    group = trace["posterior"]
    chol = np.zeros((*group["weights"].shape, n_features, n_features))
    for k in range(n_components):
        chol[:, :, k][..., *lower] = group[f"factor_{k}"].to_numpy()
    draws = Draws(
        group["weights"].to_numpy(), group["means"].to_numpy(), chol @ chol.swapaxes(-1, -2)
    )
    pivot = bg.Parameters(start.weights_, start.means_, start.covariances_)
    return tuple(draws.reorder(match(*draws, pivot).permutation)), True


def worker(problem: str, engine: str, began: str) -> None:
    warnings.simplefilter("ignore")
    data, n_components = PROBLEMS[problem]
    x = rows_of(data)
    if engine == "by hand":
        draws, converged = by_hand(x, n_components)
    else:
        draws, converged = ours(x, n_components, engine)
    spent = time.time() - float(began)
    print(json.dumps({"seconds": spent, "ess": least_ess(*draws), "converged": converged}))


def run(problem: str, engine: str, environment: dict) -> dict:
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--worker", problem, engine, str(time.time())],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}
    if done.returncode:
        print(done.stderr[-500:], file=sys.stderr)
        return {}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(names: list[str], cold: bool) -> None:
    print(
        f"{'problem':22} {'engine':8} {'seconds':>8} {'ESS':>7} {'ESS/s':>8} {'against hand':>13}"
    )
    for problem in names:
        rows = {}
        for engine in ENGINES[::-1]:
            if problem.startswith(GIBBS_ONLY) and engine != "gibbs":
                continue
            with tempfile.TemporaryDirectory() as empty:
                environment = dict(os.environ)
                if cold:
                    environment |= {
                        "NUMBA_CACHE_DIR": empty,
                        "PYTENSOR_FLAGS": f"base_compiledir={empty}",
                    }
                    found = run(problem, engine, environment)
                elif found := run(problem, engine, environment):  # the first fills the caches
                    found = run(problem, engine, environment)
            rows[engine] = found
            if not found:
                print(f"{problem:22} {engine:8} not within {LIMIT} s", flush=True)
                continue
            rate = found["ess"] / found["seconds"]
            hand = rows.get("by hand") or {}
            ratio = ""
            if hand and engine != "by hand":
                faster = hand["seconds"] / found["seconds"]
                denser = rate / (hand["ess"] / hand["seconds"])
                ratio = f"{faster:5.1f} {denser:7.1f}"
            note = "" if found["converged"] else "  not converged"
            print(
                f"{problem:22} {engine:8} {found['seconds']:8.1f} {found['ess']:7.0f} {rate:8.1f} "
                f"{ratio:>13}{note}",
                flush=True,
            )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--worker"]:
        worker(*arguments[1:])
    else:
        chosen = [name for name in arguments if name != "--cold"]
        main(chosen or list(PROBLEMS), "--cold" in arguments)
