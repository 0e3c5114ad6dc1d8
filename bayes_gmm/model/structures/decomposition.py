r"""The 14 structures of Celeux & Govaert: which parts of Sigma_k the components share.

    Sigma_k = lambda_k D_k A_k D_k'          volume, orientation, shape (|A_k| = 1)

Each is three letters, for volume, shape and orientation: E is equal over the components, V is
varying, I is the identity. A component's coordinates are the log volume, D - 1 contrasts of log
variances, and an entry for each pair of features, each block shared or own as its letter says.

Where only parts are shared, the integral of the conjugate density over the covariances is known
only about its peak, the logarithms of variances being its coordinates. With degrees nu_k = c_k less
what c_k has because the density is one of variances (s times `measure`),

    log Z = -1/2 sum_k nu_k {log|Sigma^_k| + D} + sum g(nu)

where g, a sum over volume, shape and orientation, each of them once if it is shared, is for volume,
volume and shape, and all three

    g(nu) = log Gamma(nu D / 2) - h,   D log Gamma(nu / 2) - h,   log Gamma_D(nu / 2) - h,
    h = (nu D / 2) (log(nu*) - 1),     nu* = nu D / 2 for the volume alone, else nu / 2

which is exact for EII, VII, EEI, VVI, EEE and VVV.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import helmert
from scipy.special import gammaln, multigammaln

from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.structures.structure import Project, Structure, pairs


@dataclass(frozen=True)
class Decomposition(Structure):
    """A structure by its three letters."""

    volume: str
    shape: str
    orientation: str

    @property
    def name(self) -> str:  # type: ignore[override]
        """Three letters."""
        return self.volume + self.shape + self.orientation

    @property
    def constants(self) -> np.ndarray:  # type: ignore[override]
        """Whether volumes and shapes are equal."""
        return np.array([self.volume == "E", self.shape == "E"], float)

    @property
    def is_common(self) -> bool:  # type: ignore[override]
        """Whether nothing varies."""
        return "V" not in self.name

    def label(self, n_features: int) -> str:
        """The letters, or that of the volume for one feature."""
        return self.volume if n_features == 1 else self.name

    def measure(self, n_features: int) -> float:
        """How much of c is there because the density is one of variances, and not of their logs."""
        return 2.0

    def blocks(self, n_features: int) -> list[tuple[int, bool]]:
        """Volume, shape and orientation; Celeux & Govaert (1995), Table 1."""
        sizes = 1, n_features - 1, n_features * (n_features - 1) // 2
        return [
            (size, letter == "V")
            for letter, size in zip(self.name, sizes, strict=True)
            if letter != "I"
        ]

    def basis(self, n_features: int) -> np.ndarray:
        """Log variances are the volume plus contrasts that sum to zero; pairs stand alone."""
        n_entries = len(pairs(n_features, self.turns)[0])
        parts = [np.eye(n_entries, n_features).sum(axis=1, keepdims=True)]
        if self.shape != "I":
            parts.append(np.zeros((n_entries, n_features - 1)))
            parts[1][:n_features] = helmert(n_features).T
        if self.orientation != "I":
            parts.append(np.eye(n_entries)[:, n_features:])
        return np.hstack(parts)

    def log_volume(self, power: np.ndarray, scale: np.ndarray, project: Project) -> float:
        """Exact where the structure is drawn, else about the peak."""
        if self.is_drawn:
            return super().log_volume(power, scale, project)
        n_features = scale.shape[-1]
        degrees = power - self.share(len(power), n_features) * self.measure(n_features)
        factors = cholesky(project(scale, degrees, scale), "covariances")
        log_det = 2 * np.log(np.einsum("kii->ki", factors)).sum(axis=1)
        result = -0.5 * degrees @ (log_det + n_features)
        for letter, part in zip(self.name, (_volume, _shape, _orientation), strict=True):
            if letter != "I":
                counted = degrees if letter == "V" else degrees.sum(keepdims=True)
                result += part(counted, n_features).sum()
        return float(result)


class Rotated(Decomposition):
    """A structure whose covariances are no diagonals: prior and words are of whole matrices."""

    def full(self, n_features: int) -> int:
        """Of a matrix."""
        return n_features * (n_features + 1) // 2

    def measure(self, n_features: int) -> float:
        """Of a matrix."""
        return n_features + 1.0

    def power(self, degrees: np.ndarray, n_features: int) -> np.ndarray:
        """That of the inverse Wishart."""
        return degrees + n_features + 1

    def describe_prior(self, degrees: float, scale: np.ndarray) -> tuple[str, np.ndarray]:
        """Inverse Wishart."""
        power = float(self.power(np.array(degrees), len(scale)))
        return f"inverse Wishart with {degrees:g}", np.sqrt(np.diagonal(scale) / power)


def _volume(nu: np.ndarray, n_features: int) -> np.ndarray:
    half = 0.5 * nu * n_features
    return gammaln(half) - half * (np.log(half) - 1)


def _axes(nu: np.ndarray, n_features: int) -> np.ndarray:
    half = 0.5 * nu
    return n_features * (gammaln(half) - half * (np.log(half) - 1))


def _shape(nu: np.ndarray, n_features: int) -> np.ndarray:
    return _axes(nu, n_features) - _volume(nu, n_features)


def _orientation(nu: np.ndarray, n_features: int) -> np.ndarray:
    half = 0.5 * nu
    log_gamma = np.array([multigammaln(h, n_features) for h in half])
    return log_gamma - n_features * half * (np.log(half) - 1) - _axes(nu, n_features)
