r"""How sharply the objective is curved at an estimate, and what that says about its error.

The information in the rows is what they would hold with labels, less what the labels take along:

    -d2 log p(x) = E[-d2 log p(x, z) | x] - Var[d log p(x, z) | x]                       (Louis)

The first part needs the sufficient statistics alone; the second is sum_k r g g' - s s', with g the
score of a row that has label k and s = sum_k r g its score without. A prior counts as rows seen
with their labels and adds to the first.
"""

from typing import NamedTuple

import numpy as np

from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures.local_coordinates import LocalCoordinates


class ScoreProducts(NamedTuple):
    """What a pass over the rows sums, in local coordinates."""

    n_rows: float  # how many rows, or the sum of their weights
    # Sufficient statistics of the whitened residuals R_k^-1 (x - mu_k):
    counts: np.ndarray  # (K,)
    first: np.ndarray  # (K, D)
    second: np.ndarray  # (K, D, D)
    total: np.ndarray  # (P,), sum of s
    outer: np.ndarray  # (P, P), sum of s s'
    within: np.ndarray  # (P, P), sum of r g g' over rows and components

    @classmethod
    def zeros(cls, local: LocalCoordinates) -> "ScoreProducts":
        """Start an empty sum."""
        n_components, n_features = local.parameters.means.shape
        size = local.n_coordinates
        return cls(
            0.0,
            np.zeros(n_components),
            np.zeros((n_components, n_features)),
            np.zeros((n_components, n_features, n_features)),
            np.zeros(size),
            np.zeros((size, size)),
            np.zeros((size, size)),
        )


class Curvature(NamedTuple):
    """First and second derivatives of the objective in local coordinates."""

    gradient: np.ndarray  # (P,)
    observed: np.ndarray  # (P, P), minus the second derivatives
    complete: np.ndarray  # (P, P), the same if the labels were known
    # (P, P), sum over rows of the squared deviation of their scores from the mean one
    scores: np.ndarray

    @classmethod
    def of(
        cls, local: LocalCoordinates, products: ScoreProducts, prior: ConjugatePrior | None = None
    ) -> "Curvature":
        """Put the curvature together from the sums of a pass and the prior, as counted.

        Louis (1982), J. R. Statist. Soc. B 44, 226-233.
        """
        labelled = LabelledRows.of(local, products, prior)
        complete = labelled.information(local)
        return cls(
            labelled.gradient(local),
            complete - products.within + products.outer,
            complete,
            products.outer - np.outer(products.total, products.total) / products.n_rows,
        )


class LabelledRows(NamedTuple):
    r"""The expected complete-data log density about a point, rows and prior together.

    .. math:: Q = \sum_k a_k \log \phi_k - \tfrac12 \left[ c_k \log |\Sigma_k|
        + \mathrm{tr}(\Sigma_k^{-1} S_k) - 2 F_k^\top \Sigma_k^{-1} \delta_k
        + m_k \delta_k^\top \Sigma_k^{-1} \delta_k \right], \qquad \delta_k = \mu_k - \hat\mu_k
    """

    weight: np.ndarray  # (K,), a
    mean: np.ndarray  # (K,), m
    covariance: np.ndarray  # (K,), c
    first: np.ndarray  # (K, D), F, whitened
    second: np.ndarray  # (K, D, D), S, whitened

    @classmethod
    def of(
        cls, local: LocalCoordinates, products: ScoreProducts, prior: ConjugatePrior | None
    ) -> "LabelledRows":
        """Add the rows that the prior stands for to those of the data."""
        count, first, second = products.counts, products.first, products.second
        if prior is None:
            return cls(count, count, count, first, second)
        precision = prior.mean_precision
        whitener = local.whitener
        gap = np.einsum("kij,kj->ki", whitener, prior.mean - local.parameters.means)
        spread = whitener @ prior.scale @ whitener.swapaxes(1, 2)
        return cls(
            count + prior.concentration - 1,
            count + precision,
            count + prior.degrees_of_freedom + prior.n_features + 2,
            first + precision[:, None] * gap,
            second + spread + precision[:, None, None] * gap[:, :, None] * gap[:, None, :],
        )

    def gradient(self, local: LocalCoordinates) -> np.ndarray:
        """First derivatives, (P,)."""
        a, b = local.pairs
        result = np.zeros(local.n_coordinates)
        for k, second in enumerate(self.second):
            entries = np.where(a == b, 0.5 * (second[a, b] - self.covariance[k]), second[a, b])
            features = np.concatenate([[self.weight[k]], self.first[k], entries])
            result[local.places(k)] += features @ local.score_map(k)
        return result

    def information(self, local: LocalCoordinates) -> np.ndarray:
        """Minus the second derivatives, (P, P)."""
        n_components, n_features = self.first.shape
        result = np.zeros(2 * (local.n_coordinates,))
        weights = local.parameters.weights[:-1]
        free = slice(0, n_components - 1)
        result[free, free] = self.weight.sum() * (np.diag(weights) - np.outer(weights, weights))
        basis = local.basis
        units = _units(*local.pairs, n_features)
        for k in range(n_components):
            means, spread = np.split(local.places(k)[n_components - 1 :], [n_features])
            # A mean moves more easily as its variance grows: e' M F is what the two share.
            mixed = ((units @ self.first[k]) * local.scale[k][:, None]).T @ basis
            result[means, means] += self.mean[k]
            result[np.ix_(means, spread)] += mixed
            result[np.ix_(spread, means)] += mixed.T
            if local.variances is None:
                own = _by_matrices(self.second[k], units, *local.pairs)
            else:
                own = _by_axes(self.second[k], local.variances[k], *local.pairs)
            result[np.ix_(spread, spread)] += basis.T @ own @ basis
        return result


def _units(a: np.ndarray, b: np.ndarray, n_features: int) -> np.ndarray:
    """The symmetric matrix that each entry alone makes, (Q, D, D)."""
    units = np.zeros((len(a), n_features, n_features))
    place = np.arange(len(a))
    units[place, a, b] = 1.0
    units[place, b, a] = 1.0
    return units


def _by_matrices(second: np.ndarray, units: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Second derivatives of tr(exp(-M) S) / 2 in the entries of M, tr(T_i T_j S) / 2 made even."""
    image = units @ second
    traces = image[:, a, b] + image[:, b, a]
    traces[:, a == b] /= 2
    return 0.25 * (traces + traces.T)


def _by_axes(second: np.ndarray, variances: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Second derivatives of tr(exp(-l) S^-1 exp(-W) B exp(W)) / 2 in log variances and angles.

    Commutators do it: exp(-W) B exp(W) = B - [W, B] + [W, [W, B]] / 2 - ...
    """
    n_features = len(variances)
    root = np.sqrt(variances)
    scatter = second * root[:, None] * root
    result = np.zeros((len(a), len(a)))
    diagonal = np.arange(n_features)
    result[diagonal, diagonal] = np.diagonal(second)
    i, j = a[n_features:], b[n_features:]
    angles = n_features + np.arange(len(i))
    mixed = np.zeros((n_features, len(i)))
    mixed[i, np.arange(len(i))] = 2 * scatter[i, j] / variances[i]
    mixed[j, np.arange(len(i))] = -2 * scatter[i, j] / variances[j]
    result[:n_features, n_features:] = mixed
    result[n_features:, :n_features] = mixed.T
    turns = np.zeros((len(i), n_features, n_features))
    turns[angles - n_features, i, j] = 1.0
    turns[angles - n_features, j, i] = -1.0
    commutator = turns @ scatter - scatter @ turns
    twice = 2 * (1 / variances[i] - 1 / variances[j]) * commutator[:, i, j]
    result[n_features:, n_features:] = 0.5 * (twice + twice.T)
    return 0.5 * result
