r"""Structures of whole matrices: one for all components, one up to volume, one for each.

Entries are those of the Cholesky factor, Sigma_k = L_k L_k': 2 log L_ii, then what is below the
diagonal. Where volumes vary over one matrix, they are entries of L_k / sqrt(lambda_k).
"""

from dataclasses import dataclass
from math import lgamma

import numpy as np
from scipy.special import digamma, multigammaln

from bayes_gmm.model.normal import cholesky, inverse_factors, wishart_root
from bayes_gmm.model.structures.axes import along_own_axes
from bayes_gmm.model.structures.decomposition import Rotated
from bayes_gmm.model.structures.loops import (
    INNER_TOLERANCE,
    MAX_INNER,
    divided,
    invert,
    lower_factor,
    pool,
    right_divide,
)

LOG_PI, LOG_2 = np.log(np.pi), np.log(2)


class Matrices(Rotated):
    """Coordinates by Cholesky factors."""

    is_equivariant = True

    def entries(self, covariances: np.ndarray) -> np.ndarray:
        """2 log L_ii and L_ij."""
        factors = cholesky(covariances, "covariances")
        log_diagonal = 2 * np.log(np.einsum("...ii->...i", factors))
        below = factors[..., *np.tril_indices(factors.shape[-1], -1)]
        return np.concatenate([log_diagonal, below / self._unit(log_diagonal)], axis=-1)

    def from_entries(self, entries: np.ndarray, n_features: int) -> np.ndarray:
        """L L'."""
        factors = self._factors(entries, n_features)
        return factors @ factors.swapaxes(-1, -2)

    def pull_back_to_entries(self, entries: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Df = tr(2 L' G dL)."""
        n_features = gradient.shape[-1]
        factors = self._factors(entries, n_features)
        by_factor = 2 * gradient @ factors * factors
        diagonal = 0.5 * np.einsum("kii->ki", by_factor)
        below = by_factor[:, *np.tril_indices(n_features, -1)]
        if self._has_unit:  # the diagonal moves the unit of what is below it
            diagonal = diagonal + below.sum(axis=1, keepdims=True) / (2 * n_features)
        slope = (2 * gradient @ factors)[:, *np.tril_indices(n_features, -1)]
        return np.concatenate([diagonal, slope * self._unit(entries[:, :n_features])], axis=1)

    def frames(self, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The Cholesky factors; equal variances, whose axes are not determined, do no harm."""
        return cholesky(covariances, "covariances"), None

    @property
    def _has_unit(self) -> bool:
        return self.volume == "V" and self.orientation == "E"

    def _unit(self, log_diagonal: np.ndarray) -> np.ndarray:
        """sqrt(lambda_k) (..., 1), where entries below the diagonal are in units of it; else 1."""
        volume = log_diagonal.mean(axis=-1, keepdims=True)
        return np.exp(0.5 * volume) if self._has_unit else np.ones_like(volume)

    def _factors(self, entries: np.ndarray, n_features: int) -> np.ndarray:
        factors = np.zeros((*entries.shape[:-1], n_features, n_features))
        diagonal, log_diagonal = np.arange(n_features), entries[..., :n_features]
        factors[..., diagonal, diagonal] = np.exp(0.5 * log_diagonal)
        below = entries[..., n_features:] * self._unit(log_diagonal)
        factors[..., *np.tril_indices(n_features, -1)] = below
        return factors


class DrawnMatrices(Matrices):
    """Matrices of which all or nothing is shared: inverse-Wishart densities."""

    def log_integral(self, power: float, scale: np.ndarray) -> float:
        """Constant of the inverse Wishart."""
        n_features = len(scale)
        degrees = power - n_features - 1
        half_log_det = np.log(np.diagonal(cholesky(scale, "scale"))).sum()
        return float(
            0.5 * degrees * n_features * np.log(2)
            + multigammaln(0.5 * degrees, n_features)
            - degrees * half_log_det
        )

    def expectations(self, power: float, scale: np.ndarray) -> tuple[float, np.ndarray]:
        """The precision is Wishart; Bishop (2006), eqs. B.80 and B.81."""
        n_features = len(scale)
        degrees = power - n_features - 1
        half_log_det = np.log(np.diagonal(cholesky(scale, "scale"))).sum()
        logs = digamma(0.5 * (degrees - np.arange(n_features))).sum()
        return float(logs + n_features * np.log(2) - 2 * half_log_det), scale / degrees

    def draw(self, degrees: float, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw as `ConjugatePrior.sample` does."""
        (whitener,) = inverse_factors(cholesky(scale[None], "scale"))
        return wishart_root(degrees, whitener, rng)

    def log_slope(self, entries: np.ndarray, n_features: int) -> np.ndarray:
        """The derivative of L L' by the entries of L is 2^D prod_i L_ii^(D-i+1), i = 1..D."""
        powers = np.arange(n_features + 1, 1, -1)
        log_diagonal = 0.5 * entries[..., :n_features]
        to_log_diagonal = np.linalg.slogdet(0.5 * self.basis(n_features)[:n_features, :n_features])
        constant = to_log_diagonal[1] + n_features * np.log(2)
        return (powers * log_diagonal).sum(axis=-1) + constant

    @staticmethod
    def draw_one(rng, degrees, scale, constants, root, whitener, covariance):
        """Draw by Bartlett's decomposition, turned so that the whitener is a product.

        Psi = L L', W = S L^-1, Sigma = W^-1 W^-T, with S lower triangular, S_ii^2 ~ chi2(nu - D +
        i) for i = 1..D and S_ij ~ N(0, 1) below: W'W is Wishart, and no precision or covariance
        matrix is ever factored. The triangle is drawn row by row, each with its diagonal last.
        """
        n_features = len(scale)
        if not lower_factor(scale):
            return np.nan
        triangle = np.zeros((n_features, n_features))
        log_det = 0.0
        for i in range(n_features):
            for j in range(i):
                triangle[i, j] = rng.standard_normal()
            half = 0.5 * (degrees - n_features + 1 + i)
            triangle[i, i] = np.sqrt(2.0 * rng.standard_gamma(half))
            log_det += np.log(triangle[i, i] / scale[i, i])
        right_divide(triangle, scale, whitener)
        right_divide(scale, triangle, root)
        for i in range(n_features):
            for j in range(i + 1):
                entry = 0.0
                for m in range(j + 1):
                    entry += root[i, m] * root[j, m]
                covariance[i, j] = entry
                covariance[j, i] = entry
        return log_det

    @staticmethod
    def integrate_one(degrees, scale, constants):
        """The constant of the inverse Wishart, in loops."""
        n_features = len(scale)
        if not lower_factor(scale):
            return np.nan
        total = 0.25 * n_features * (n_features - 1) * LOG_PI + 0.5 * degrees * n_features * LOG_2
        for i in range(n_features):
            total += lgamma(0.5 * (degrees - i)) - degrees * np.log(scale[i, i])
        return total


@dataclass(frozen=True)
class Common(DrawnMatrices):
    """EEE: one covariance for all components."""

    volume: str = "E"
    shape: str = "E"
    orientation: str = "E"
    whiteners = "one"
    wider = "EEE"

    @staticmethod
    def maximize(scatter, weight, previous, constants):
        """The sum of W_k over the sum of w_k."""
        n_components, n_features = scatter.shape[0], scatter.shape[1]
        covariances = np.empty_like(scatter)
        common, total = np.empty((n_features, n_features)), 0.0
        pool(scatter, np.ones(n_components), common)
        for k in range(n_components):
            total += weight[k]
        for k in range(n_components):
            divided(common, total, covariances[k])
        return covariances


@dataclass(frozen=True)
class Proportional(Matrices):
    """VEE: one matrix up to volume, Sigma_k = lambda_k C with |C| = 1."""

    volume: str = "V"
    shape: str = "E"
    orientation: str = "E"

    @staticmethod
    def maximize(scatter, weight, previous, constants):
        """Volumes vary and the matrix is common: each has a closed form given the other."""
        n_components, n_features = scatter.shape[0], scatter.shape[1]
        covariances = np.empty_like(scatter)
        # The sum of W_k / lambda_k, which is C times the sum of w_k.
        common = np.empty((n_features, n_features))
        inverse = np.empty((n_features, n_features))
        volumes = np.empty(n_components)
        for k in range(n_components):
            trace = 0.0
            for j in range(n_features):
                trace += scatter[k, j, j]
            volumes[k] = trace / (n_features * weight[k])
        size = 1.0
        for _ in range(MAX_INNER):
            pool(scatter, volumes, common)
            size = np.exp(invert(common, inverse) / n_features)
            change = 0.0
            for k in range(n_components):
                trace = 0.0
                for i in range(n_features):
                    for j in range(n_features):
                        trace += inverse[i, j] * scatter[k, i, j]
                updated = size * trace / (n_features * weight[k])
                change = max(change, abs(updated / volumes[k] - 1.0))
                volumes[k] = updated
            if not change > INNER_TOLERANCE:
                break
        for k in range(n_components):
            divided(common, size / volumes[k], covariances[k])
        return covariances


@dataclass(frozen=True)
class EqualVolumes(Matrices):
    """EVV: any matrix for each component, all of one volume."""

    volume: str = "E"
    shape: str = "V"
    orientation: str = "V"
    maximize = staticmethod(along_own_axes)


@dataclass(frozen=True)
class Unconstrained(DrawnMatrices):
    """VVV: any matrix for each component."""

    volume: str = "V"
    shape: str = "V"
    orientation: str = "V"

    def is_unconstrained(self, n_features: int) -> bool:
        """Always."""
        return True

    @staticmethod
    def maximize(scatter, weight, previous, constants):
        """Each component its own covariance, Sigma_k = W_k / w_k."""
        covariances = np.empty_like(scatter)
        for k in range(len(weight)):
            divided(scatter[k], weight[k], covariances[k])
        return covariances


UNCONSTRAINED = Unconstrained()
