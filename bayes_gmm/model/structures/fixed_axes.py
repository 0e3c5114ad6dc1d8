r"""Structures whose covariances have known axes: spheres and diagonals.

    Sigma_k = Q diag(s_k1, .., s_kD) Q'         Q = I for both

A number s of theirs that stands for variances along several axes has the conjugate density
s^(-m c / 2) exp(-p / 2s), with m such axes and p the sum of P along them: inverse gamma,

    spheres       s ~ IG(D c / 2 - 1, tr P / 2)
    diagonals     s_j ~ IG(c / 2 - 1, P_jj / 2)

and under Sigma ~ IW(nu, Psi) a variance Sigma_jj is IG((nu - D + 1) / 2, Psi_jj / 2).
"""

from dataclasses import dataclass
from math import lgamma

import numpy as np
from scipy.special import digamma, gammaln

from bayes_gmm.model.structures.decomposition import Decomposition
from bayes_gmm.model.structures.loops import diagonal_matrices, spectrum
from bayes_gmm.model.structures.structure import Structure


class FixedAxes(Structure):
    """Coordinates of covariances with known axes: their entries are log variances along these."""

    turns = False

    def axes(self, n_features: int) -> np.ndarray:
        """Q, the same for all components, (D, D)."""
        return np.eye(n_features)

    def entries(self, covariances: np.ndarray) -> np.ndarray:
        """Log variances along the axes."""
        axes = self.axes(covariances.shape[-1])
        return np.log(np.einsum("ia,...ij,ja->...a", axes, covariances, axes))

    def from_entries(self, entries: np.ndarray, n_features: int) -> np.ndarray:
        """Q diag(exp(entries)) Q'."""
        axes = self.axes(n_features)
        return (axes * np.exp(entries)[..., None, :]) @ axes.T

    def pull_back_to_entries(self, entries: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """A log variance changes f by s q' G q."""
        axes = self.axes(entries.shape[-1])
        return np.exp(entries) * np.einsum("ia,kij,ja->ka", axes, gradient, axes)

    def log_slope(self, entries: np.ndarray, n_features: int) -> np.ndarray:
        """The prior is a density of the variances that are not bound to be equal."""
        distinct, first = np.unique(self.basis(n_features), axis=0, return_index=True)
        return np.linalg.slogdet(distinct)[1] + entries[..., first].sum(axis=-1)

    def frames(self, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The axes, each as long as its standard deviation."""
        sds = np.exp(0.5 * self.entries(covariances))
        return self.axes(covariances.shape[-1]) * sds[:, None, :], None


@dataclass(frozen=True)
class Spheres(Decomposition, FixedAxes):
    """EII, VII: one variance for all features, whose prior is the geometric mean of D priors."""

    shape: str = "I"
    orientation: str = "I"
    whiteners = "diagonal"

    def log_integral(self, power: float, scale: np.ndarray) -> float:
        """Constant of the inverse gamma."""
        shape = 0.5 * len(scale) * power - 1
        return float(gammaln(shape) - shape * np.log(0.5 * np.trace(scale)))

    def expectations(self, power: float, scale: np.ndarray) -> tuple[float, np.ndarray]:
        """1 / s is gamma: E log(1 / s) = digamma(a) - log b, E 1 / s = a / b."""
        n_features = len(scale)
        shape, rate = 0.5 * n_features * power - 1, 0.5 * np.trace(scale)
        log_det = n_features * (digamma(shape) - np.log(rate))
        return float(log_det), rate / shape * np.eye(n_features)

    def describe_prior(self, degrees: float, scale: np.ndarray) -> tuple[str, np.ndarray]:
        """One inverse gamma."""
        power = float(self.power(np.array(degrees), len(scale)))
        words = f"one variance for all features, inverse gamma with {power - 2:g}"
        return words, np.full(len(scale), np.sqrt(np.diagonal(scale).mean() / power))

    @staticmethod
    def maximize(scatter, weight, previous, constants):
        """Spheres, Sigma_k = lambda_k I."""
        n_components, n_features = scatter.shape[0], scatter.shape[1]
        diagonal = np.empty((n_components, n_features))
        for k in range(n_components):
            trace = 0.0
            for j in range(n_features):
                trace += scatter[k, j, j]
            for j in range(n_features):
                diagonal[k, j] = trace / n_features
        # Every diagonal is flat, and so is the best one, whatever is said of shapes.
        return diagonal_matrices(spectrum(diagonal, weight, constants[0] > 0, constants[1] > 0))

    @staticmethod
    def integrate_one(degrees, scale, constants):
        """The constant of the inverse gamma, in loops."""
        n_features = len(scale)
        shape, trace = 0.5 * n_features * (degrees + n_features + 1) - 1.0, 0.0
        for j in range(n_features):
            trace += scale[j, j]
        return lgamma(shape) - shape * np.log(0.5 * trace)

    @staticmethod
    def draw_one(rng, degrees, scale, constants, root, whitener, covariance):
        """A gamma for all features."""
        n_features = len(scale)
        power, trace = degrees + n_features + 1, 0.0
        for j in range(n_features):
            trace += scale[j, j]
        variance = 0.5 * trace / rng.standard_gamma(0.5 * n_features * power - 1.0)
        log_det = 0.0
        for j in range(n_features):
            log_det += write_variance(variance, j, root, whitener, covariance)
        return log_det


@dataclass(frozen=True)
class Diagonals(Decomposition, FixedAxes):
    """VEI, EVI: a variance for each feature, volume or shape of which is shared."""

    orientation: str = "I"
    whiteners = "diagonal"
    wider = "VVI"
    is_equivariant = True

    def describe_prior(self, degrees: float, scale: np.ndarray) -> tuple[str, np.ndarray]:
        """An inverse gamma for each."""
        power = float(self.power(np.array(degrees), len(scale)))
        words = f"a variance for each feature, inverse gamma with {power - 2:g}"
        return words, np.sqrt(np.diagonal(scale) / power)

    @staticmethod
    def maximize(scatter, weight, previous, constants):
        """Diagonal covariances, Sigma_k = lambda_k A_k."""
        n_components, n_features = scatter.shape[0], scatter.shape[1]
        diagonal = np.empty((n_components, n_features))
        for k in range(n_components):
            for j in range(n_features):
                diagonal[k, j] = scatter[k, j, j]
        return diagonal_matrices(spectrum(diagonal, weight, constants[0] > 0, constants[1] > 0))


@dataclass(frozen=True)
class DrawnDiagonals(Diagonals):
    """EEI, VVI: independent variances."""

    def log_integral(self, power: float, scale: np.ndarray) -> float:
        """Constants of the inverse gammas."""
        shape = 0.5 * power - 1
        return float((gammaln(shape) - shape * np.log(0.5 * np.diagonal(scale))).sum())

    def expectations(self, power: float, scale: np.ndarray) -> tuple[float, np.ndarray]:
        """Each 1 / s_j is gamma."""
        shape, rates = 0.5 * power - 1, 0.5 * np.diagonal(scale)
        return float((digamma(shape) - np.log(rates)).sum()), np.diag(rates / shape)

    @staticmethod
    def integrate_one(degrees, scale, constants):
        """The constants of the inverse gammas, in loops."""
        n_features = len(scale)
        shape, total = 0.5 * (degrees + n_features + 1) - 1.0, 0.0
        for j in range(n_features):
            total += lgamma(shape) - shape * np.log(0.5 * scale[j, j])
        return total

    @staticmethod
    def draw_one(rng, degrees, scale, constants, root, whitener, covariance):
        """A gamma for each feature."""
        n_features = len(scale)
        power, log_det = degrees + n_features + 1, 0.0
        for j in range(n_features):
            variance = 0.5 * scale[j, j] / rng.standard_gamma(0.5 * power - 1.0)
            log_det += write_variance(variance, j, root, whitener, covariance)
        return log_det


def write_variance(
    variance: float, j: int, root: np.ndarray, whitener: np.ndarray, covariance: np.ndarray
) -> float:
    """Write row j of diagonal matrices; return the log of the whitener's entry, or nan."""
    for i in range(len(root)):
        covariance[j, i] = 0.0
        whitener[j, i] = 0.0
    covariance[j, j] = variance
    root[j, j] = np.sqrt(variance)
    whitener[j, j] = 1.0 / root[j, j]
    return np.log(whitener[j, j]) if variance > 0.0 else np.nan
