r"""Free coordinates of a mixture about a point, from which its covariance structure cannot be left.

    log phi_k = log phi^_k + u_k + const      mu_k = mu^_k + R_k t_k      Sigma^_k = R_k R_k'

Of a structure Sigma_k = lambda_k D_k A_k D_k', volume, shape and orientation are each shared,
own or absent, and each is a block of coordinates: a log volume v, log variances a that sum to zero,
and, for every pair of features, an angle w or the entry of a symmetric matrix m,

    by axes      Sigma_k = D_k exp(W_k) S_k exp(v_k + diag(a_k)) exp(-W_k) D_k'   R_k = D_k S_k^1/2
    by matrices  Sigma_k = R_k exp(v_k + diag(a_k) + M_k) R_k'                    R_k triangular.

The first is for structures that share axes or shapes of rotated axes. Where both would do, the
second has no trouble with axes that are not determined because two variances are equal. To first
order Sigma_k = R_k (I + M_k) R_k' in either, with M_k linear in the coordinates.
"""

from typing import NamedTuple

import numpy as np

from bayes_gmm.model.normal import inverse_factors
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.structure import pairs


class LocalCoordinates(NamedTuple):
    """Coordinates about a point, all zero there."""

    parameters: Parameters  # the point
    root: np.ndarray  # (K, D, D), R_k
    whitener: np.ndarray  # (K, D, D), its inverse
    # (K, D), the diagonals of S_k, if the orientation is given by angles
    variances: np.ndarray | None
    # (K, Q), what an entry of M_k gains per unit of its own coordinate, by pairs of features
    scale: np.ndarray
    # (Q, B), the part of M_k's entries in each of a component's B coordinates of covariances
    basis: np.ndarray
    # (K, B), where these are among all coordinates; components share some of them
    columns: np.ndarray
    n_coordinates: int  # K - 1 for weights, K D for means, and those of the covariances

    @classmethod
    def at(cls, parameters: Parameters, structure: Structure) -> "LocalCoordinates":
        """Build the coordinates about a point that has this structure."""
        n_components, n_features = parameters.means.shape
        root, variances = structure.frames(parameters.covariances)
        first, second = pairs(n_features, structure.turns)
        scale = np.ones((n_components, len(first)))
        if variances is not None:
            a, b = variances[:, first], variances[:, second]
            scale[:, n_features:] = ((b - a) / np.sqrt(a * b))[:, n_features:]
        start = n_components - 1 + n_components * n_features
        columns = start + structure.columns(n_components, n_features)
        size = start + structure.n_parameters(n_components, n_features)
        basis = structure.basis(n_features)
        inverse = np.linalg.inv if np.triu(root, 1).any() else inverse_factors
        return cls(parameters, root, inverse(root), variances, scale, basis, columns, size)

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of features of which there are coordinates: each with itself, then the others."""
        n_features = self.root.shape[1]
        return pairs(n_features, self.scale.shape[1] > n_features)

    def places(self, k: int) -> np.ndarray:
        """Which coordinates a component depends on: weights, its mean, its spread."""
        n_components, n_features = self.parameters.means.shape
        weights = np.arange(n_components - 1)
        means = n_components - 1 + k * n_features + np.arange(n_features)
        return np.concatenate([weights, means, self.columns[k]])

    def score_map(self, k: int) -> np.ndarray:
        r"""Linear map to the gradient of a component's log joint density with a row.

        .. math:: \nabla \log p(x, z = k) = (1, e, q) \cdot \mathrm{map}, \qquad
            e = R_k^{-1}(x - \mu_k), \quad q_{aa} = \tfrac12(e_a^2 - 1), \quad q_{ab} = e_a e_b

        Returns (1 + D + Q, K - 1 + D + B).
        """
        weights = self.parameters.weights
        n_features = self.root.shape[1]
        own = np.arange(len(weights) - 1) == k
        spread = self.scale[k][:, None] * self.basis
        start = len(weights) - 1
        result = np.zeros((1 + n_features + len(spread), start + n_features + spread.shape[1]))
        result[0, :start] = own - weights[:-1]
        result[1 : 1 + n_features, start : start + n_features] = np.eye(n_features)
        result[1 + n_features :, start + n_features :] = spread
        return result

    def jacobian(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Derivatives of a component's weight, mean and covariance in the coordinates `places`.

        Returns weight (C,), mean (D, C), covariance (D, D, C).
        """
        places, root, weights = self.places(k), self.root[k], self.parameters.weights
        n_features, start = len(root), len(weights) - 1
        weight = np.zeros(len(places))
        weight[:start] = weights[k] * ((np.arange(start) == k) - weights[:-1])
        mean = np.zeros((n_features, len(places)))
        mean[:, start : start + n_features] = root
        first, second = self.pairs
        turned = np.einsum("iq,jq->ijq", root[:, first], root[:, second])
        turned[:, :, n_features:] += turned[:, :, n_features:].swapaxes(0, 1)
        covariance = np.zeros((n_features, n_features, len(places)))
        covariance[:, :, start + n_features :] = (turned * self.scale[k]) @ self.basis
        return weight, mean, covariance
