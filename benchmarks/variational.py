"""Seconds of variational Bayes to its optimum, ours against scikit-learn's, in the same run.

    python benchmarks/variational.py [rows features components]

Both begin with the labels of one k-means, under one prior, and end by one tolerance: scikit-learn
where a step gains less than 1e-3 nats, ours where less than that is left to gain. Printed are
seconds, iterations, and how far the means and the bound are from those of the polished optimum.
"""

import sys
import time
import warnings

import numpy as np
from registry import simulated
from sklearn.cluster import KMeans
from sklearn.mixture import BayesianGaussianMixture

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em
from bayes_gmm.inference.settings import standardized
from bayes_gmm.inference.variational.rule import VariationalRule
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import UNCONSTRAINED
from bayes_gmm.model.structures.prior import StructuredPrior

TOLERANCE, MAX_ITER, REPEATS = 1e-3, 5000, 1


class FromLabels(BayesianGaussianMixture):
    """scikit-learn's, begun with given labels."""

    def _initialize_parameters(self, X, random_state, xp=None):
        self._initialize(X, np.eye(self.n_components)[self.labels])


def theirs(x: np.ndarray, labels: np.ndarray, prior: bg.ConjugatePrior) -> tuple:
    model = FromLabels(
        n_components=prior.n_components,
        tol=TOLERANCE,
        max_iter=MAX_ITER,
        reg_covar=0.0,
        weight_concentration_prior_type="dirichlet_distribution",
        weight_concentration_prior=prior.concentration[0],
        mean_prior=prior.mean[0],
        mean_precision_prior=prior.mean_precision[0],
        degrees_of_freedom_prior=prior.degrees_of_freedom[0],
        covariance_prior=prior.scale[0],
    )
    model.labels = labels
    began = time.perf_counter()
    model.fit(x)
    return time.perf_counter() - began, model.n_iter_, model.means_


def ours(x: np.ndarray, labels: np.ndarray, prior: bg.ConjugatePrior) -> tuple:
    began = time.perf_counter()
    observations = Observations.of(x)
    rule = VariationalRule(StructuredPrior.of(standardized(prior, observations), UNCONSTRAINED))
    expect = expectation(observations)
    rows = (x - observations.origin) / observations.scale
    center = np.zeros(prior.mean.shape)
    shares = np.eye(prior.n_components)[labels]
    start = rule.maximize(SufficientStatistics.of(rows, shares, center, 0.0))
    run = em.run(expect, rule, start, max_iter=MAX_ITER, tol=TOLERANCE)
    seconds = time.perf_counter() - began
    best = em.polish(expect, rule, em.run(expect, rule, run.state, max_iter=5000, tol=1e-9).state)
    means, polished = (
        observations.origin + observations.scale * state.parameters.means
        for state in (run.state, best)
    )
    return seconds, len(run.objectives) - 1, means, polished, best.objective - run.state.objective


def main(n_rows: int, n_features: int, n_components: int) -> None:
    x = simulated("round", n_rows, n_features, n_components, 1.0, 1)
    prior = bg.ConjugatePrior.default(x, n_components)
    labels = KMeans(n_components, n_init=1, random_state=0).fit(x).labels_
    sds = x.std(axis=0)
    ours(x[:1000], labels[:1000], prior)  # compiled, or read from the cache
    print(f"{n_rows:,} rows, {n_features} features, {n_components} components")
    for _ in range(REPEATS):
        seconds, steps, means, polished, left = ours(x, labels, prior)
        their_seconds, their_steps, their_means = theirs(x, labels, prior)
        for name, took, n, found in (
            ("ours", seconds, steps, means),
            ("scikit-learn", their_seconds, their_steps, their_means),
        ):
            away = np.abs((found - polished) / sds).max()
            print(f"  {name:13} {took:8.3f} s {n:5} iterations, means within {away:.1e} sd")
        per_step = their_seconds / their_steps / (seconds / steps)
        print(f"  ratio {their_seconds / seconds:.1f}, per iteration {per_step:.1f}; ours has "
              f"{left:.1e} nats left")  # fmt: skip


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*(map(int, sys.argv[1:]) if sys.argv[1:] else (200_000, 16, 16)))
