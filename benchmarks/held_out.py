"""What the estimates predict: log density of new rows, per row, beside one start of scikit-learn's.

    python benchmarks/held_out.py [problems] [without-posterior]

Forty simulated mixtures with 2 to 20 features, with 40 to 80 rows for each component and feature;
each is fitted by maximum likelihood, MAP and the posterior, at their defaults, and by
scikit-learn's EM from its one k-means start with a small tolerance. Larger is better. With fewer
rows the MAP falls behind: a component's covariance is divided by n + nu + D + 2, at the mode of its
joint density with the mean, and predicts worse by about D/4 (s / n)^2 a row, with s about 2 D.
"""

import sys
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.mixture import GaussianMixture

import bayes_gmm as bg

NEW_ROWS = 4000
SHAPES = ("round", "long", "alike", "axes")
warnings.simplefilter("ignore")


class Problem(NamedTuple):
    """A mixture of random components, and how many rows of it are seen."""

    n_features: int
    n_components: int
    n_rows: int
    separation: float
    shape: str
    seed: int

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows to fit and rows to predict."""
        truth = self.truth
        n = self.n_rows + NEW_ROWS
        x = np.asarray(bg.simulate(truth, n, seed=self.seed)["x"])
        return x[: self.n_rows], x[self.n_rows :]

    @property
    def truth(self) -> bg.Parameters:
        """Means `separation` sds apart from each other, on average over pairs."""
        rng = np.random.default_rng(self.seed)
        k, d = self.n_components, self.n_features
        means = rng.normal(size=(k, d)) * self.separation / np.sqrt(2 * d)
        width = {"round": 4 * d, "long": d + 2, "alike": d + 2, "axes": 1}[self.shape]
        if self.shape == "axes":
            covariances = np.array([np.diag(rng.gamma(2, 0.5, d) + 0.05) for _ in range(k)])
        else:
            roots = rng.normal(size=(1 if self.shape == "alike" else k, d, width)) / np.sqrt(width)
            covariances = np.broadcast_to(roots @ roots.swapaxes(1, 2), (k, d, d))
        return bg.Parameters(rng.dirichlet(np.full(k, 10.0)), means, covariances)

    def __str__(self) -> str:
        return (
            f"D = {self.n_features:2}, K = {self.n_components}, N = {self.n_rows:4}, "
            f"{self.separation:g} sd, {self.shape}"
        )


def problems() -> list[Problem]:
    """Forty of them, the same every time."""
    rng = np.random.default_rng(40)
    chosen = []
    for seed in range(40):
        d = (2, 3, 4, 6, 8, 10, 14, 20)[seed % 8]
        k = int(rng.integers(2, 6 if d < 8 else 4))
        n = int(k * (d + 3) * rng.choice([40, 60, 80]))
        separation = float(rng.choice([2, 3, 4, 6]))
        chosen.append(Problem(d, k, n, separation, SHAPES[seed // 2 % 4], seed))
    return chosen


def per_row(log_density) -> float:
    return float(np.mean(np.asarray(log_density)))


def mle(problem: Problem, x: np.ndarray, new: np.ndarray) -> float:
    return per_row(bg.log_density(bg.fit(x, problem.n_components, seed=1), new))


def mode(problem: Problem, x: np.ndarray, new: np.ndarray) -> float:
    fit = bg.fit(x, problem.n_components, prior="default", seed=1)
    return per_row(bg.log_density(fit, new))


def posterior(problem: Problem, x: np.ndarray, new: np.ndarray) -> float:
    draws = bg.sample(x, problem.n_components, seed=1, progressbar=False)
    return per_row(bg.log_density(draws, new))


def theirs(problem: Problem, x: np.ndarray, new: np.ndarray) -> float:
    model = GaussianMixture(problem.n_components, random_state=1, tol=1e-8, max_iter=5000)
    return float(model.fit(x).score(new))


METHODS = {"sklearn": theirs, "MLE": mle, "MAP": mode, "posterior": posterior}


def compared(problem: Problem, methods: dict) -> dict[str, float]:
    """What each method predicts of the same new rows."""
    x, new = problem.rows
    return {name: method(problem, x, new) for name, method in methods.items()}


def main(n_problems: int, methods: dict) -> None:
    print(f"{'problem':44}" + "".join(f"{name:>12}" for name in methods))
    found = []
    for problem in problems()[:n_problems]:
        values = compared(problem, methods)
        found.append(values)
        print(f"{problem!s:44}" + "".join(f"{v:12.4f}" for v in values.values()), flush=True)
    table = {name: np.array([values[name] for values in found]) for name in methods}
    print(f"\nnats a row over {len(found)} problems: mean, and the worst of them")
    for name, other in (("MLE", "sklearn"), ("MAP", "MLE"), ("posterior", "MLE")):
        if name in table:
            gap = table[name] - table[other]
            print(f"  {name} less {other}: {gap.mean():+.4f}, {gap.min():+.4f}")
    if "posterior" in table:
        others = np.max([v for name, v in table.items() if name != "posterior"], axis=0)
        print(f"  the posterior is best in {np.sum(table['posterior'] >= others)}")


if __name__ == "__main__":
    chosen = METHODS
    if "without-posterior" in sys.argv:
        chosen = {name: METHODS[name] for name in METHODS if name != "posterior"}
    counts = [int(word) for word in sys.argv[1:] if word.isdigit()]
    main(counts[0] if counts else 40, chosen)
