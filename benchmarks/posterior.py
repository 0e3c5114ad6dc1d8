"""Time to a posterior, and effective draws per second: ours against programs written by hand.

    python benchmarks/posterior.py [--cold] [problem ...]

The rivals (`rivals.py`) are a PyMC program sampled by `pm.sample` (nutpie) and, where NumPyro is
installed, the same in NumPyro. Each run is a fresh process, timed from its start to a relabelled
posterior, ours diagnosed too, of 4 chains x 1000 draws. The effective sample size is the least bulk
ESS over all relabelled weights, means and covariances. A run that takes more than `LIMIT` seconds,
or as many as the variable BENCH_LIMIT says, is given up.

Every cache of compiled code is warm, Python's own included: a short run goes before. With `--cold`
only Python's is.
"""

import importlib.util
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
SHORT = {"draws": 10, "tune": 10, "chains": 4}
RIVALS = ("by hand", *(["numpyro"] if importlib.util.find_spec("numpyro") else []))
ENGINES = ("gibbs", "nuts", "pymc")
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
    "1e6 x 4, K 4, close": ((1_000_000, 4, 4, 1.5), 4),
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


def ours(x: np.ndarray, n_components: int, engine: str, settings: dict) -> tuple:
    import bayes_gmm as bg

    posterior = bg.sample(x, n_components, engine=engine, seed=1, progressbar=False, **settings)
    converged = bg.diagnose(posterior).converged
    group = posterior["posterior"]
    names = ("weights", "means", "covariances")
    return tuple(group[name].to_numpy() for name in names), bool(converged)


def theirs(x: np.ndarray, n_components: int, rival: str, settings: dict) -> tuple:
    import rivals

    program = rivals.numpyro if rival == "numpyro" else rivals.pymc
    return program(x, n_components, settings), True


def worker(problem: str, engine: str, settings: str, began: str) -> None:
    warnings.simplefilter("ignore")
    data, n_components = PROBLEMS[problem]
    program = theirs if engine in RIVALS else ours
    draws, converged = program(rows_of(data), n_components, engine, json.loads(settings))
    spent = time.time() - float(began)
    print(json.dumps({"seconds": spent, "ess": least_ess(*draws), "converged": converged}))


def run(problem: str, engine: str, settings: dict, environment: dict) -> dict:
    arguments = ["--worker", problem, engine, json.dumps(settings), str(time.time())]
    try:
        done = subprocess.run(
            [sys.executable, __file__, *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}
    if done.returncode:
        sys.exit(f"{engine} on {problem} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def caches(folder: str, cold: bool) -> dict:
    """The environment of a run: with caches in this folder if they are to be empty."""
    environment = dict(os.environ) | {"JAX_COMPILATION_CACHE_DIR": folder}
    # An environment that forbids Python's own cache would have every run compile every import.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if cold:
        environment |= {
            "NUMBA_CACHE_DIR": folder,
            "PYTENSOR_FLAGS": f"base_compiledir={folder}",
        }
    else:
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return environment


def measure(problem: str, engine: str, cold: bool) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        environment = caches(folder, cold)
        if not cold and not run(problem, engine, SHORT, environment):
            return {}
        return run(problem, engine, SETTINGS, environment)


def main(names: list[str], cold: bool) -> None:
    print(f"{'problem':19} {'engine':7} {'seconds':>7} {'ESS':>5} {'ESS/s':>7}", end="")
    print("".join(f"{f'against {rival}':>17}" for rival in RIVALS))
    for problem in names:
        rows: dict[str, dict] = {}
        for engine in (*RIVALS, *ENGINES):
            if problem.startswith(GIBBS_ONLY) and engine != "gibbs":
                continue
            found = rows[engine] = measure(problem, engine, cold)
            print(f"{problem:19} {engine:7} ", end="")
            if not found:
                print(f"not within {LIMIT} s", flush=True)
                continue
            rate = found["ess"] / found["seconds"]
            print(f"{found['seconds']:7.1f} {found['ess']:5.0f} {rate:7.1f}", end="")
            for rival in RIVALS if engine in ENGINES else ():
                print(f"{ratios(found, rows.get(rival)):>17}", end="")
            print("" if found["converged"] else "  not converged", flush=True)


def ratios(found: dict, rival: dict | None) -> str:
    """Their time over ours, and our effective draws per second over theirs."""
    if not rival:
        return "-"
    faster = rival["seconds"] / found["seconds"]
    return f"{faster:.1f} {faster * found['ess'] / rival['ess']:8.1f}"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--worker"]:
        worker(*arguments[1:])
    else:
        chosen = [name for name in arguments if name != "--cold"]
        main(chosen or list(PROBLEMS), "--cold" in arguments)
