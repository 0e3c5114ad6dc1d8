"""How often EM from one start ends at the best optimum, by kind of start.

    python benchmarks/strategies.py [starts]

Every kind labels the rows, and EM runs from these labels to convergence. It is a hit if its score
(see `inference/em/ranking.py`) is within 0.1 nat of the best that any kind reached. Shown are hits
in percent and, in the last lines, hits per second of EM, beside those of swaps: from the best
optimum of five k-means++ starts, one component is repeatedly moved elsewhere.
"""

import sys
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from registry import PROBLEMS, Problem
from scipy.cluster.hierarchy import fcluster, linkage

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em import initialize, kmeans, ranking, runner
from bayes_gmm.kernels import short_runs as compiled
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.kernels.runs import Run
from bayes_gmm.kernels.short_runs import ShortRuns
from bayes_gmm.model.structures import Structure

HIT = 0.1
NEARLY = 1e-2
warnings.simplefilter("ignore")

Labels = np.ndarray | None
Kind = Callable[[initialize.Sketch, np.ndarray, int, np.random.Generator], Labels]


class Setting(NamedTuple):
    """A problem prepared for EM runs."""

    data: initialize.Sketch
    rule: Rule
    run_all: ShortRuns
    runner: runner.Runner

    @classmethod
    def of(cls, problem: Problem) -> "Setting":
        observations = Observations.of(problem.rows)
        n_features = observations.n_features
        structure = Structure.of(problem.covariance, n_features)
        view = structure.standardized(observations)
        data = initialize.sketch(view)
        sample = data.observations(view)
        covariance = np.cov(data.rows.T, aweights=data.counts, ddof=0)
        covariance = covariance.reshape(n_features, n_features)
        prior = bg.ConjugatePrior.flat(problem.n_components, n_features)
        rule = Rule(prior, structure, np.diagonal(np.linalg.cholesky(covariance)) ** 2)
        score = ranking.predicted(prior, structure, covariance, data.counts.sum())
        run_all = compiled.short_runs(rule, data.as_rows())
        own = runner.Runner(
            expectation(sample), rule, run_all, score, data, np.random.default_rng(0), 3000
        )
        return cls(data, rule, run_all, own)

    def end(self, labels: Labels) -> Run | None:
        """Climb from labelled rows; None where a component is lost."""
        n_components = self.rule.n_components
        if labels is None or len(np.unique(labels)) < n_components:
            return None
        seed = initialize.labelled_statistics(self.data, labels, n_components)
        (run,) = self.runner.look([self.rule.maximize(seed, seed.second)], 1)
        run = self.runner.follow(run) if run.collapsed is None else run
        return run if run.collapsed is None else None


def plus_plus(data, space, n_components, rng) -> Labels:
    return kmeans.nearest(space, kmeans.spread_out(space, data.counts, n_components, rng))


def random_rows(data, space, n_components, rng) -> Labels:
    chosen = rng.choice(len(space), n_components, replace=False, p=data.counts / data.counts.sum())
    return kmeans.nearest(space, space[chosen])


def k_means(data, space, n_components, rng) -> Labels:
    labels = plus_plus(data, space, n_components, rng)
    for _ in range(5):
        if len(np.unique(labels)) < n_components:
            return None
        means = [
            np.average(space[labels == k], axis=0, weights=data.counts[labels == k])
            for k in range(n_components)
        ]
        labels = kmeans.nearest(space, np.array(means))
    return labels


def agglomeration(data, space, n_components, rng) -> Labels:
    """Ward's: the classification likelihood of equal spheres; of a part of the rows, to differ."""
    part = space[rng.choice(len(space), min(len(space), 20 * n_components), replace=False)]
    tree = fcluster(linkage(part, "ward"), n_components, "maxclust")
    means = [part[tree == k].mean(axis=0) for k in np.unique(tree)]
    return kmeans.nearest(space, np.array(means))


def quantile_cuts(data, space, n_components, rng) -> Labels:
    """Cuts at random quantiles along a random direction."""
    along = space @ rng.normal(size=space.shape[1])
    cuts = np.quantile(along, np.sort(rng.random(n_components - 1)))
    return np.searchsorted(cuts, along)


KINDS: dict[str, Kind] = {
    "k-means++": plus_plus,
    "random rows": random_rows,
    "k-means": k_means,
    "Ward": agglomeration,
    "cuts": quantile_cuts,
}


def decorrelated(data: initialize.Sketch) -> np.ndarray:
    covariance = np.cov(data.rows.T, aweights=data.counts, ddof=0)
    n_features = data.rows.shape[1]
    variances, axes = np.linalg.eigh(covariance.reshape(n_features, n_features))
    return data.rows @ axes / np.sqrt(variances)


def swaps(setting: Setting, n: int, rng: np.random.Generator) -> list[Run | None]:
    """Ends of swaps, each from the best of the ends before it."""
    ends = [
        setting.end(plus_plus(setting.data, setting.data.rows, setting.rule.n_components, rng))
        for _ in range(5)
    ]
    alive = [end for end in ends if end is not None]
    if not alive:
        return ends
    best = max(alive, key=setting.runner.score_of)
    for _ in range(n - 5):
        (run,) = setting.runner.look(
            [setting.runner.swapped(best.state, int(rng.integers(setting.n_components)))],
            runner.SWAP_LOOK,
        )
        run = setting.runner.follow(run) if run.collapsed is None else run
        end = run if run.collapsed is None else None
        ends.append(end)
        best = max(best, end or best, key=setting.runner.score_of)
    return ends


def main(n_starts: int) -> None:
    shares, rates = [], []
    names = [*KINDS, "swaps"]
    print(f"{'problem':38}" + "".join(f"{name:>13}" for name in names))
    for problem in PROBLEMS:
        setting = Setting.of(problem)
        spaces = setting.data.rows, decorrelated(setting.data)
        heights, seconds = {}, {}
        for name in names:
            rng = np.random.default_rng(7)
            began = time.process_time()
            if name == "swaps":
                ends = swaps(setting, n_starts, rng)
            else:
                ends = [
                    setting.end(KINDS[name](setting.data, spaces[i % 2], problem.n_components, rng))
                    for i in range(n_starts)
                ]
            seconds[name] = time.process_time() - began
            heights[name] = np.array(
                [-np.inf if end is None else setting.runner.score_of(end) for end in ends]
            )
        best = max(values.max() for values in heights.values())
        hits = [float(np.mean(heights[name] > best - HIT)) for name in names]
        shares.append(hits)
        rates.append([h * n_starts / seconds[name] for h, name in zip(hits, names, strict=True)])
        print(f"{problem!s:38}" + "".join(f"{hit:13.0%}" for hit in hits), flush=True)
    found, hard = np.array(shares), np.array(shares).min(axis=1) < HIT
    rows = {
        "mean": found.mean(axis=0),
        "problems never solved": (found == 0).sum(axis=0),
        "hits per second, median": np.median(rates, axis=0),
        "the same, hard problems": np.mean(np.array(rates)[hard], axis=0),
    }
    for name, values in rows.items():
        print(f"{name:38}" + "".join(f"{value:13.2f}" for value in values))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
