"""Seconds of variational Bayes to its optimum, ours against scikit-learn's, in the same run.

    python benchmarks/variational.py [rows features components]

Both begin with the labels of one k-means, under one prior, and end by one tolerance: scikit-learn
where a step gains less than 1e-3 nats, ours where less than that is left to gain. From where each
has ended our loop goes on to the optimum: printed are how far the means and the bound are from it.
"""

import sys
import time
import warnings
from typing import NamedTuple

import numpy as np
from registry import simulated
from sklearn.cluster import KMeans
from sklearn.mixture import BayesianGaussianMixture

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em
from bayes_gmm.inference.settings import standardized
from bayes_gmm.inference.variational.rule import VariationalRule
from bayes_gmm.kernels.chunks import Expect, expectation
from bayes_gmm.kernels.runs import State
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import UNCONSTRAINED
from bayes_gmm.model.structures.prior import StructuredPrior

TOLERANCE, MAX_ITER = 1e-3, 5000


class Problem:
    """Rows, a prior and labels to begin with; and the pass and the update."""

    def __init__(self, n_rows: int, n_features: int, n_components: int) -> None:
        self.x = simulated("round", n_rows, n_features, n_components, 1.0, 1)
        self.prior = bg.ConjugatePrior.default(self.x, n_components)
        model = KMeans(n_components, n_init=1, random_state=0)
        self.shares = np.eye(n_components)[model.fit(self.x).labels_]

    def close(self) -> tuple[Expect, VariationalRule, Observations]:
        """Close over the data, which is part of what is timed."""
        view = Observations.of(self.x)
        own = StructuredPrior.of(standardized(self.prior, view), UNCONSTRAINED)
        return expectation(view), VariationalRule(own), view


class Ended(NamedTuple):
    """Where an engine came to."""

    name: str
    seconds: float
    n_iterations: int
    state: State


class FromShares(BayesianGaussianMixture):
    """scikit-learn's, begun with given responsibilities."""

    def _initialize_parameters(self, X, *more, **others):
        self._initialize(X, self.shares)


def theirs(problem: Problem) -> Ended:
    prior = problem.prior
    model = FromShares(
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
    model.shares = problem.shares
    began = time.perf_counter()
    model.fit(problem.x)
    seconds = time.perf_counter() - began
    degrees = model.degrees_of_freedom_
    q = bg.ConjugatePrior(
        model.weight_concentration_,
        model.means_,
        model.mean_precision_,
        degrees,
        model.covariances_ * degrees[:, None, None],
    )
    expect, rule, view = problem.close()
    own = rule.at(StructuredPrior.of(standardized(q, view), UNCONSTRAINED))
    return Ended("scikit-learn", seconds, model.n_iter_, em.evaluate(expect, own))


def ours(problem: Problem) -> Ended:
    began = time.perf_counter()
    expect, rule, view = problem.close()
    rows, center = (problem.x - view.origin) / view.scale, np.zeros(problem.prior.mean.shape)
    start = rule.maximize(SufficientStatistics.of(rows, problem.shares, center, 0.0))
    run = em.run(expect, rule, start, max_iter=MAX_ITER, tol=TOLERANCE)
    seconds = time.perf_counter() - began
    return Ended("ours", seconds, len(run.objectives) - 1, run.state)


def main(n_rows: int, n_features: int, n_components: int) -> None:
    problem = Problem(n_rows, n_features, n_components)
    expect, rule, _ = problem.close()
    em.evaluate(expect, rule.maximize(expect(rule.at(rule.prior).log_quadratic)))  # compiled
    print(f"{n_rows:,} rows, {n_features} features, {n_components} components")
    ended = [ours(problem), theirs(problem)]
    for one in ended:
        rest = em.run(expect, rule, one.state, max_iter=MAX_ITER, tol=1e-9)
        best = em.polish(expect, rule, rest.state)
        # in standard deviations of the data, the coordinates of the pass
        away = np.abs(one.state.parameters.means - best.parameters.means).max()
        left = best.objective - one.state.objective
        print(
            f"  {one.name:13} {one.seconds:8.3f} s {one.n_iterations:5} iterations; "
            f"{left:.1e} nats and {away:.1e} sds left to the optimum at {best.objective:.4f}"
        )
    mine, other = ended
    per_step = other.seconds / other.n_iterations / (mine.seconds / mine.n_iterations)
    print(f"  ratio {other.seconds / mine.seconds:.1f}, per iteration {per_step:.1f}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*(map(int, sys.argv[1:]) if sys.argv[1:] else (200_000, 16, 16)))
