r"""Exact posteriors of tiny mixtures in which entries are missing, by quadrature over these.

The posterior is the average of those of the completed rows over what the missing entries may be,

    p(theta | x_o) = int p(theta | x_o, x_m) p(x_m | x_o) dx_m,    p(x_m | x_o) ~ p(x_o, x_m),

and every completion is enumerated as in `exact_enumeration`. The trapezoidal rule in t, where an
entry is its column's mean + sd sinh(t), reaches far into the tails, which are those of Student's t.

Where all incomplete rows lack the same features, the evidence has a closed form: of each component
the other features have a normal-inverse-Wishart prior of their own, and what is lacking depends on
them by a regression whose parameters are independent of theirs,

    p_k(x_o of its rows) = p_k(complete rows) p_k(the other features of all)
                           / p_k(the other features of complete rows).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from exact_enumeration import Exact, normal_density, points_of
from scipy.special import logsumexp
from structured_enumeration import StructuredExact

from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior

REACH = 6.5  # of t: 330 standard deviations
MEANS = ("n_occupied", "occupied", "co_clustering", "weights", "sum_of_squared_weights")


class MissingExact:
    """Posterior expectations of rows (N, D), nan where missing; see `Exact` for what they are."""

    def __init__(self, x: np.ndarray, prior: ConjugatePrior, n_points: int):
        self.x, self.prior = x, prior
        self.exacts, self.share, self.log_evidence = over_completions(
            x, lambda rows: Exact(rows, prior), n_points
        )
        for name in MEANS:
            setattr(self, name, self._mean([getattr(exact, name) for exact in self.exacts]))

    def _mean(self, values: list[np.ndarray]) -> np.ndarray:
        return np.tensordot(self.share, np.array(values), 1)

    def predictive(self, points: np.ndarray) -> np.ndarray:
        """Posterior predictive density of a new row at points (M, D)."""
        return self._mean([exact.predictive(points) for exact in self.exacts])

    @property
    def inverse_evidence(self) -> np.ndarray:
        """p(theta | x_o, z) / p(theta | x_o) of each labelling, at a theta of high density."""
        theta = self.exacts[int(np.argmax(self.share))].theta
        joint = self.share[:, None] * [exact.probability for exact in self.exacts]
        given = np.exp([exact.log_density_given_labels(theta) for exact in self.exacts])
        log_joint = log_likelihood(self.x, theta) + self.prior.log_density(theta)
        of_labelling = (joint * given).sum(axis=0) / joint.sum(axis=0)
        return of_labelling * np.exp(self.log_evidence - log_joint)


class StructuredMissing(StructuredExact):
    """The same of the six structures that Gibbs draws; see `StructuredExact`."""

    def __init__(self, x: np.ndarray, prior: ConjugatePrior, code: str, n_points: int):
        self.x, self.prior, self.code = x, prior, code
        points = points_of(x)
        exacts, share, self.log_evidence = over_completions(
            x, lambda rows: StructuredExact(rows, prior, code, points), n_points
        )
        for name in ("co_clustering", "weights", "predictive", "within"):
            values = np.array([getattr(exact, name) for exact in exacts])
            setattr(self, name, np.tensordot(share, values, 1))


def over_completions(
    x: np.ndarray, kind: Callable[[np.ndarray], Any], n_points: int
) -> tuple[list[Any], np.ndarray, float]:
    """Enumerate every completion: the results, their shares of the posterior, log p(x_o)."""
    rows, log_weights = completed(x, n_points)
    exacts = [kind(one) for one in rows]
    log_joint = np.array([exact.log_evidence for exact in exacts]) + log_weights
    log_evidence = float(logsumexp(log_joint))
    return exacts, np.exp(log_joint - log_evidence), log_evidence


def log_likelihood(x: np.ndarray, theta: Parameters) -> float:
    """log p(x_o | theta) of rows (N, D), nan where missing."""
    density = normal_density(x, theta.means[None, None], theta.covariances[None, None])[0, 0]
    return float(np.log(density @ theta.weights).sum())


def completed(x: np.ndarray, n_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, D) with their one or two missing entries on a grid, (G, N, D), and log weights."""
    t = np.linspace(-REACH, REACH, n_points)
    places = np.argwhere(np.isnan(x))
    center, spread = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    grid = np.meshgrid(*[t] * len(places), indexing="ij")
    rows = np.repeat(x[None], n_points ** len(places), axis=0)
    log_weights = np.zeros(len(rows))
    for (row, column), axis in zip(places, grid, strict=True):
        own = axis.ravel()
        rows[:, row, column] = center[column] + spread[column] * np.sinh(own)
        log_weights += np.log(spread[column] * np.cosh(own) * (t[1] - t[0]))
    return rows, log_weights
