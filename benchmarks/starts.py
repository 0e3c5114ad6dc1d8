"""How often a default fit reaches the best optimum known, and what that takes; scikit-learn beside.

    python benchmarks/starts.py [seeds]

The best known value of a problem is the best one that any fit of this run reached, ours with ten
times the starts included. A fit counts as a hit when it ends within 0.1 nat of it. scikit-learn
runs at its defaults (one k-means start, tol 1e-3), then with its tolerance small, so that its
misses are of the optimum and not of convergence; it has no such covariance for some problems.

Two times are compared: of one default fit, wherever it ends, and to the best optimum known, which
is the time of a fit over the share of fits that reach it, as if one tried until one did.
"""

import sys
import time
import warnings

import numpy as np
from registry import PROBLEMS, Problem
from sklearn.mixture import GaussianMixture

import bayes_gmm as bg
from bayes_gmm.errors import CollapseError

HIT = 0.1
TYPES = {"VVV": "full", "EEE": "tied", "VVI": "diag", "VII": "spherical"}
warnings.simplefilter("ignore")


def ours(problem: Problem, x: np.ndarray, seed: int, n_starts: int) -> float:
    try:
        fit = bg.fit(
            x,
            problem.n_components,
            covariance=problem.covariance,
            seed=seed,
            n_starts=n_starts,
            tol=1e-6,
        )
    except CollapseError:
        return -np.inf
    return float(fit["optimizer_result"]["log_likelihood"])


def theirs(problem: Problem, x: np.ndarray, seed: int, tol: float) -> float:
    kind = TYPES.get(problem.covariance, "full" if problem.covariance == "V" else None)
    if problem.covariance == "E":
        kind = "tied"
    if kind is None:
        return np.nan
    model = GaussianMixture(
        problem.n_components, covariance_type=kind, random_state=seed, tol=tol, max_iter=5000
    )
    try:
        return float(model.fit(x).score(x) * len(x))
    except ValueError:
        return -np.inf


ENGINES = {
    "ours": (ours, 30),
    "sklearn": (theirs, 1e-3),
    "sklearn, small tol": (theirs, 1e-9),
}


def main(n_seeds: int) -> None:
    hits, seconds, below = [], [], []
    for problem in PROBLEMS:
        x = problem.rows
        thorough = ours(problem, x, 1000, 300)
        found = {name: [] for name in ENGINES}
        spent = {name: [] for name in ENGINES}
        for seed in range(n_seeds):
            for name, (run, setting) in ENGINES.items():
                started = time.perf_counter()
                found[name].append(run(problem, x, seed, setting))
                spent[name].append(time.perf_counter() - started)
        # Only our values: theirs may be a spurious optimum that ours has ranked lower on purpose.
        best = max(thorough, *found["ours"])
        share = {name: float(np.mean(np.array(v) > best - HIT)) for name, v in found.items()}
        missing = np.isnan(found["sklearn"][0])
        careful = np.array(found["sklearn, small tol"])
        if (np.array(found["ours"]) < careful - HIT).any() and problem.covariance != "EII":
            below.append(str(problem))
        hits.append([share["ours"], *(np.nan if missing else share[n] for n in list(found)[1:])])
        seconds.append([np.median(v) for v in spent.values()])
        print(
            f"{problem!s:40} best {best:14.3f}  hits: "
            + "  ".join(f"{name} {rate:4.0%}" for name, rate in zip(found, hits[-1], strict=True))
            + f"  seconds: {seconds[-1][0]:.3f} / {seconds[-1][1]:.3f}",
            flush=True,
        )
    rates, times = np.array(hits), np.array(seconds)
    both = ~np.isnan(rates[:, 1])
    ratio, careful = (np.exp(np.mean(np.log(times[both, 0] / times[both, i]))) for i in (1, 2))
    reached = both & (rates[:, 0] > 0) & (rates[:, 2] > 0)
    until = times[reached][:, [0, 2]] / rates[reached][:, [0, 2]]
    same = np.exp(np.mean(np.log(until[:, 0] / until[:, 1])))
    print(f"\n{len(PROBLEMS)} problems x {n_seeds} seeds, within {HIT} nat of the best known:")
    print(f"  ours {rates[:, 0].mean():.1%}, {np.sum(rates[:, 0] < 0.8)} problems under 80%")
    print(f"  scikit-learn {rates[both, 1].mean():.1%} as it comes, {rates[both, 2].mean():.1%} ")
    print("    at a small tolerance, over the problems that it has a covariance type for")
    print(f"  time of a whole default fit, ours / scikit-learn's, geometric mean: {ratio:.2f},")
    print(f"    theirs at a small tolerance: {careful:.2f}")
    print(f"  problems where a fit of ours ends below one of theirs: {below or 'none'}")
    print(f"  time to the same optimum, the best known, theirs at a small tolerance: {same:.2f}")
    print(
        f"    over {reached.sum()} problems; "
        f"scikit-learn never found it in {(both & ~reached).sum()}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
