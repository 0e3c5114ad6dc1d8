"""Whether the components of a posterior are identified, and if not, why.

A component is identified if it is the same in every chain, can be distinguished from every other
one, is not empty, and if no other labelling of the draws is nearly as good as the chosen one.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.posterior.convergence import too_large
from bayes_gmm.posterior.draws import Draws, Scalar, flatten
from bayes_gmm.posterior.pivot import match

LABELLED_RHAT = 1.05  # of a relabelled parameter, from which its component lacks an identity
EMPTY = 0.05  # share of the draws in which a component holds fewer rows than describe it
TOLD_APART = 2  # posterior sds of the difference between two components
ODDS = 19  # to one, for a draw's naming against the next best one; below it is ambiguous
AMBIGUOUS = 0.05  # share of ambiguous draws from which a component lacks an identity


class Identification(NamedTuple):
    """Why components are identified or not, component by component."""

    rhat: np.ndarray  # (K,), largest R-hat of a component's relabelled parameters
    # (K,), the limit that an R-hat of the component exceeds; nan if none does
    rhat_limit: np.ndarray
    # (K, K), how far components are apart, in posterior sds of what tells them best; infinite from
    # themselves
    distances: np.ndarray
    # (K,), share of the draws in which a component holds fewer rows than it has coordinates, plus
    # one
    empty: np.ndarray
    # (K,), share of the draws in which the component could as well have another name
    ambiguous: np.ndarray
    ambiguous_draws: float  # Share of the draws in which some component could

    @property
    def reasons(self) -> list[str]:
        """Why each component is not identified; empty for one that is."""
        return [self._reason(k) for k in range(len(self.rhat))]

    def _reason(self, k: int) -> str:
        if not np.isnan(self.rhat_limit[k]):
            return "differs between chains"
        if self.distances[k].min() < TOLD_APART:
            return f"indistinguishable from component {self.distances[k].argmin()}"
        if self.empty[k] > EMPTY:
            return "nearly empty"
        if self.ambiguous[k] > AMBIGUOUS:
            return "ambiguous labels"
        return ""


def identify(
    draws: Draws,
    scalars: list[Scalar],
    rhat: np.ndarray,
    n_rows: float,
    pivot: Parameters,
    structure: Structure = UNCONSTRAINED,
) -> Identification:
    r"""Measure how well each component is identified.

    A draw is ambiguous if its second best labelling, found exactly, is nearly as close to the pivot
    as the best one. The scale is estimated from the draws: if their density decreases with the
    divergence as exp(-beta KL), then 2 beta KL is about chi-squared with d degrees of freedom, the
    number of free parameters, and its median gives beta. A draw is ambiguous if the odds for its
    best labelling are below 19 to 1:

    .. math:: \beta \{ \mathrm{KL}_{(2)} - \mathrm{KL}_{(1)} \} < \log 19, \qquad
        \beta = \tfrac12 \mathrm{median}(\chi^2_d) / \mathrm{median}(\mathrm{KL}_{(1)})

    Shapes: rhat (P,).
    """
    n_components, n_features = draws.means.shape[2:]
    clusters = np.array([scalar.cluster for scalar in scalars])
    exceeded = too_large(flatten(*draws), rhat, LABELLED_RHAT)
    distances = np.full((n_components, n_components), np.inf)
    for one, other in combinations(range(n_components), 2):
        distances[one, other] = distances[other, one] = separation(draws, one, other)
    matched = match(*draws, pivot)
    free = structure.n_free(n_components, n_features)
    typical = float(np.median(matched.distance))
    unsure = matched.gaps * chi2.median(free) / 2 < np.log(ODDS) * typical
    worst, limit = (
        np.array([largest(values[clusters == k]) for k in range(n_components)])
        for values in (rhat, exceeded)
    )
    return Identification(
        worst,
        limit,
        distances,
        (n_rows * draws.weights < n_features + 1).mean(axis=(0, 1)),
        unsure.mean(axis=(0, 1)),
        float(unsure.any(axis=2).mean()),
    )


def separation(draws: Draws, one: int, other: int) -> float:
    """How far two components are apart, in posterior sds of the parameter that tells them best."""
    described = [
        flatten(np.ones((*draws.means.shape[:2], 1)), draws.means[:, :, [k]], covariance)
        for k, covariance in ((k, draws.covariances[:, :, [k]]) for k in (one, other))
    ]
    difference = np.concatenate(
        [
            described[0] - described[1],
            draws.weights[..., [one]] - draws.weights[..., [other]],
        ],
        axis=-1,
    ).reshape(-1, described[0].shape[-1] + 1)
    mean, sd = difference.mean(axis=0), difference.std(axis=0)
    return float(np.max(np.abs(mean[sd > 0]) / sd[sd > 0], initial=0.0))


def largest(values: np.ndarray) -> float:
    """Return the largest value that is defined."""
    return float(np.nanmax(values)) if not np.isnan(values).all() else float("nan")
