"""Whether the search missed a better maximum of the likelihood, by EM from a given point.

A point with a higher likelihood than an optimum proves that there is a higher maximum. It does not
prove that the search missed it: the maximum may have been found and rejected, because it is
expected to predict new rows worse, or the likelihood may be unbounded there. EM from that point
decides which.
"""

from typing import Literal, NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError
from bayes_gmm.inference.em import point, ranking
from bayes_gmm.inference.em.problem import Problem
from bayes_gmm.inference.em.runner import BETTER, NEARLY
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import UNCONSTRAINED, Structure

Meaning = Literal["unconverged", "collapsed", "set aside", "missed"]


class Reached(NamedTuple):
    """Where EM ended: its log-likelihood in the user's units, and the score that ranks optima."""

    log_likelihood: float
    score: float


def reached(
    observations: Observations, start: Parameters, structure: Structure = UNCONSTRAINED
) -> Reached | None:
    """Run EM from one point.

    None if a component collapses on the way.
    """
    problem = Problem.of(observations, start.n_components, None, structure)
    at = problem.standardized(start)
    try:
        found = point.estimate(
            observations,
            start.n_components,
            None,
            structure,
            tol=NEARLY,
            seed=0,
            starts=lambda rule, data, rng: [rule.at(at)],
        )
    except CollapseError:
        return None
    score = ranking.predicted(problem.prior, structure, problem.covariance, observations.n_seen)
    return Reached(float(found.optimizer["log_likelihood"]), score(found.optima[0]))


def judge(found: Reached | None, own: Reached | None, height: float, known: np.ndarray) -> Meaning:
    """Say what the optimum that EM ended in means for an estimate.

    Returned: "unconverged" if EM goes on from the estimate itself; "collapsed"; "missed" if the
    optimum is better and the search did not know of it; else "set aside".
    """
    if own is not None and own.log_likelihood >= height + BETTER:
        return "unconverged"
    if found is None or own is None:
        return "collapsed"
    new = bool((np.abs(known - found.log_likelihood) >= BETTER).all())
    return "missed" if new and found.score > own.score + BETTER else "set aside"
