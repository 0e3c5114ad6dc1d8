"""Independent truths about curvature: mixtures by volume, shape and angle, and finite differences.

Nothing here knows the package's local coordinates: a covariance of two features is written as
lambda R(angle) diag(a, 1/a) R(angle)', and shared parts are written once.
"""

import numpy as np
from helpers import random_parameters
from scipy.linalg import expm

from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.local_coordinates import LocalCoordinates


def of_structure(code: str, n_components: int, n_features: int, seed: int = 0) -> Parameters:
    """A random mixture that has a structure, and no more regularity than that."""
    rng = np.random.default_rng(seed)
    theta = random_parameters(rng, n_components, n_features)
    structure = Structure.of(code, n_features)
    scatter = theta.covariances * theta.weights[:, None, None]
    return Parameters(
        theta.weights, theta.means, structure.covariances(scatter, theta.weights, scatter)
    )


def moved(local: LocalCoordinates, place: np.ndarray) -> Parameters:
    """The mixture at these coordinates, by the formulas of `local_coordinates`."""
    theta = local.parameters
    n_components, n_features = theta.means.shape
    free = n_components - 1
    weights = theta.weights * np.exp(np.append(place[:free], 0.0))
    shift = place[free : free + theta.means.size].reshape(theta.means.shape)
    a, b = local.pairs
    covariances = []
    for k, root in enumerate(local.root):
        entries = local.basis @ place[local.columns[k]]
        matrix = np.zeros((n_features, n_features))
        if local.variances is None:
            matrix[a, b] = matrix[b, a] = entries
            covariances.append(root @ expm(matrix) @ root.T)
        else:
            i, j = a[n_features:], b[n_features:]
            matrix[i, j], matrix[j, i] = entries[n_features:], -entries[n_features:]
            axes = root / np.sqrt(local.variances[k]) @ expm(matrix)
            variances = local.variances[k] * np.exp(entries[:n_features])
            covariances.append((axes * variances) @ axes.T)
    covariance = np.array(covariances)
    return Parameters(
        weights / weights.sum(),
        theta.means + np.einsum("kij,kj->ki", local.root, shift),
        (covariance + covariance.swapaxes(1, 2)) / 2,
    )


def along(function, direction: np.ndarray, step: float = 1e-2) -> tuple[float, float]:
    """First and second derivative along a line through zero, by five points."""
    low2, low, mid, high, high2 = (function(t * step * direction) for t in (-2, -1, 0, 1, 2))
    first = (8 * (high - low) - (high2 - low2)) / (12 * step)
    second = (16 * (high + low) - (high2 + low2) - 30 * mid) / (12 * step**2)
    return first, second


def hessian(function, point: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Second derivatives by central differences, extrapolated to a step of zero."""

    def once(h: np.ndarray) -> np.ndarray:
        size = len(point)
        result = np.empty((size, size))
        shifts = np.diag(h)
        for i in range(size):
            for j in range(i + 1):
                value = (
                    function(point + shifts[i] + shifts[j])
                    - function(point + shifts[i] - shifts[j])
                    - function(point - shifts[i] + shifts[j])
                    + function(point - shifts[i] - shifts[j])
                )
                result[i, j] = result[j, i] = value / (4 * h[i] * h[j])
        return result

    return (4 * once(steps) - once(2 * steps)) / 3


def jacobian(function, point: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """First derivatives of an array by five points, (..., P)."""
    columns = []
    for i in range(len(point)):
        shift = np.eye(len(point))[i] * steps[i]
        near = function(point + shift) - function(point - shift)
        far = function(point + 2 * shift) - function(point - 2 * shift)
        columns.append((8 * near - far) / (12 * steps[i]))
    return np.stack(columns, axis=-1)


class Angles:
    """Two features: log lambda, log a and the angle of every component, shared ones once."""

    def __init__(self, structure: Structure, n_components: int) -> None:
        self.structure, self.n_components = structure, n_components

    def _parts(self) -> list[str]:
        return [self.structure.volume, self.structure.shape, self.structure.orientation]

    def pack(self, theta: Parameters) -> np.ndarray:
        """Free coordinates of a mixture that has the structure."""
        values, axes = np.linalg.eigh(theta.covariances)
        angle = np.arctan2(axes[:, 1, 1], axes[:, 0, 1])
        long, short = values[:, 1], values[:, 0]
        if self.structure.orientation == "I":
            long, short = np.einsum("kii->ik", theta.covariances)
        elif self.structure.orientation == "E":
            # Which axis is the long one may differ; the shared frame is that of the first.
            first = np.array([np.cos(angle[0]), np.sin(angle[0])])
            second = np.array([-first[1], first[0]])
            long = np.einsum("i,kij,j->k", first, theta.covariances, first)
            short = np.einsum("i,kij,j->k", second, theta.covariances, second)
            angle[:] = angle[0]
        whole = [0.5 * np.log(long * short), 0.5 * np.log(long / short), angle]
        sizes = {"I": 0, "E": 1, "V": self.n_components}
        parts = [part[: sizes[x]] for part, x in zip(whole, self._parts(), strict=True)]
        logits = np.log(theta.weights[1:] / theta.weights[0])
        return np.concatenate([logits, theta.means.ravel(), *parts])

    def unpack(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, means and covariances."""
        k = self.n_components
        weights = np.exp(np.append(0.0, point[: k - 1]))
        means = point[k - 1 : 3 * k - 1].reshape(k, 2)
        rest = point[3 * k - 1 :]
        parts = []
        for letter in self._parts():
            size = {"I": 0, "E": 1, "V": k}[letter]
            parts.append(np.broadcast_to(rest[:size], k) if size else np.zeros(k))
            rest = rest[size:]
        volume, shape, angle = parts
        c, s = np.cos(angle), np.sin(angle)
        axes = np.stack([np.stack([c, s], 1), np.stack([-s, c], 1)], 2)
        variances = np.exp(volume[:, None] + np.stack([shape, -shape], 1))
        return weights / weights.sum(), means, (axes * variances[:, None]) @ axes.swapaxes(1, 2)


def log_likelihood(x: np.ndarray, weights, means, covariances) -> float:
    """Of a mixture, with the inverse and the determinant of the textbook."""
    residual = x[:, None] - means
    squared = np.einsum("nki,kij,nkj->nk", residual, np.linalg.inv(covariances), residual)
    density = np.exp(-squared / 2) / np.sqrt(np.linalg.det(2 * np.pi * covariances))
    return float(np.log(density @ weights).sum())
