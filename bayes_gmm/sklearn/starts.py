"""The starts of scikit-learn, and starts that the user gives in part or completely.

A start is the M-step for responsibilities computed in one of four ways; parameters given by the
user replace those of the M-step. Rows are those of the sketch, distinct and with counts, so that a
weight has the same effect as a repetition.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference.em.initialize import Sketch, labelled_statistics
from bayes_gmm.inference.em.kmeans import nearest, spread_out
from bayes_gmm.inference.em.point import Starts
from bayes_gmm.kernels.rule import Candidate, Rule
from bayes_gmm.model.categorical import check_weights
from bayes_gmm.model.normal import cholesky, inverse_factors
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.statistics import SufficientStatistics, from_log_quadratic
from bayes_gmm.model.structures import Structure
from bayes_gmm.sklearn.fitted import expand, expected_shape

KINDS = ("kmeans", "k-means++", "random", "random_from_data")
MAX_K_MEANS = 300
NORMALIZED = 1e-6  # float32 weights sum to one no better than this


class Given(NamedTuple):
    """The parameters of a start that the user gave; None for the others."""

    weights: np.ndarray | None = None
    means: np.ndarray | None = None
    covariances: np.ndarray | None = None

    @property
    def n_known(self) -> int:
        """How many of the three are known."""
        return sum(part is not None for part in self)

    def standardized(self, view: Observations) -> "Given":
        """Return the same in standardized coordinates, in which EM runs."""
        means, covariances = self.means, self.covariances
        return Given(
            self.weights,
            None if means is None else (means - view.origin) / view.scale,
            None if covariances is None else covariances / np.outer(view.scale, view.scale),
        )

    def completed(self, found: Parameters, structure: Structure) -> Parameters:
        """Fill in the missing parameters, and project the given ones onto the structure."""
        weights, means, covariances = self
        if covariances is not None:
            equal = np.ones(len(covariances))
            covariances = structure.covariances(covariances, equal, covariances)
        return Parameters.trusted(
            found.weights if weights is None else weights,
            found.means if means is None else means,
            found.covariances if covariances is None else covariances,
        )


def check_given(
    weights: Any, means: Any, precisions: Any, *, kind: str, n_components: int, n_features: int
) -> Given:
    """Check the parameters that the user gave for the start, in the user's units."""
    covariances = None
    if weights is not None:
        weights = _array("weights_init", weights, (n_components,))
        if abs(weights.sum() - 1) < NORMALIZED:
            weights = weights / weights.sum()
        weights = check_weights(weights)
    if means is not None:
        means = _array("means_init", means, (n_components, n_features))
    if precisions is not None:
        shape = expected_shape(kind, n_components, n_features)
        precisions = _array("precisions_init", precisions, shape)
        precisions = expand(precisions, kind, n_components, n_features)
        if not np.allclose(precisions, precisions.swapaxes(1, 2)):
            raise InputError("precisions_init is not symmetric; every precision matrix must be")
        whitener = inverse_factors(cholesky(precisions, "precisions_init"))
        covariances = whitener.swapaxes(1, 2) @ whitener
    return Given(weights, means, covariances)


def _array(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.array(value, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{name} must have the shape {shape}; got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{name} has an entry that is not finite; every entry must be a number")
    return array


def starts_of(
    given: Given, kind: str, n_components: int, n_starts: int, structure: Structure
) -> Starts:
    """Return a function that yields the starts of EM, for `point.estimate`."""

    def starts(rule: Rule, data: Sketch, rng: np.random.Generator) -> Iterator[Candidate]:
        one = given.means is not None or n_components == 1
        for _ in range(1 if one else n_starts):
            if given.means is None:
                statistics = shared_out(kind, data, n_components, rng)
            else:
                statistics = _around(given.means, data)
            found = rule.maximize(statistics, statistics.second)
            if given.n_known and found.lost < 0:
                found = rule.at(given.completed(found.parameters, structure))
            yield found

    return starts


def _around(means: np.ndarray, data: Sketch) -> SufficientStatistics:
    """E-step around given means, which adds D + 1 pseudo-rows to each component."""
    n_components, n_features = means.shape
    spheres = np.repeat(np.eye(n_features)[None], n_components, axis=0)
    own = from_log_quadratic(
        data.rows, LogQuadratic(np.zeros(n_components), means, spheres), data.counts
    )
    pooled = np.cov(data.rows.T, aweights=data.counts, ddof=0).reshape(n_features, n_features)
    pooled += 1e-6 * np.eye(n_features)
    helpers = n_features + 1.0
    return replace(own, count=own.count + helpers, second=own.second + helpers * pooled)


def shared_out(
    kind: str, data: Sketch, n_components: int, rng: np.random.Generator
) -> SufficientStatistics:
    """Compute the statistics of the components under random or nearest-point responsibilities."""
    rows, counts, _ = data
    if kind == "random":
        share = rng.random((len(rows), n_components))
        share *= (counts / share.sum(axis=1))[:, None]
        center = share.T @ rows / share.sum(axis=0)[:, None]
        return SufficientStatistics.of(rows, share, center, 0.0)
    if kind == "random_from_data":
        chances = counts / counts.sum()
        centers = rows[rng.choice(len(rows), n_components, replace=False, p=chances)]
    else:
        centers = spread_out(rows, counts, n_components, rng)
    labels = nearest(rows, centers)
    if kind == "kmeans":
        labels = _k_means(data, labels, n_components)
    return labelled_statistics(data, labels, n_components)


def _k_means(data: Sketch, labels: np.ndarray, n_components: int) -> np.ndarray:
    """Label rows by the nearest mean of those with the same label, until that changes nothing.

    scikit-learn's own adds in an order that depends on threads, and labels could with it.
    """
    for _ in range(MAX_K_MEANS):
        share = np.eye(n_components)[labels] * data.counts[:, None]
        means = share.T @ data.rows / share.sum(axis=0)[:, None]
        after = nearest(data.rows, means)
        if (after == labels).all() or len(np.unique(after)) < n_components:
            break
        labels = after
    return labels
