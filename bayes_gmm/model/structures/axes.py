r"""Structures whose covariances have axes that turn: own ones, or common ones.

    Sigma_k = D_k diag(s_k1, .., s_kD) D_k'          s_kj = lambda_k a_kj

Entries are the D log variances along the axes, and the angles of a rotation D_k = exp(W), W skew
with W_ij = -W_ji = w_ij.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm, expm_frechet, logm

from bayes_gmm.model.structures.decomposition import Rotated
from bayes_gmm.model.structures.loops import (
    INNER_TOLERANCE,
    MAX_INNER,
    compose,
    divided,
    is_definite,
    spectrum,
)

MAX_SWEEPS = 30
GRADED = 1e-2  # ratio of variances below which Jacobi's rotations find eigenvalues more exactly
ORTHOGONAL = 1e-15  # cosine between axes that is rounding


class TurningAxes(Rotated):
    """Coordinates by axes and the variances along them; `principal` says which axes."""

    def principal(self, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variances (K, D) and axes (K, D, D), as columns, of covariances of the structure."""
        raise NotImplementedError

    def entries(self, covariances: np.ndarray) -> np.ndarray:
        """Log variances, and angles of rotations from the features to the axes."""
        shape = covariances.shape
        lower = np.tril_indices(shape[-1], -1)
        found = []
        for some in covariances.reshape(-1, *shape[-3:]):
            variances, axes = self.principal(some)
            skew = np.array([logm(_rotation(one)).real for one in axes])
            found.append(np.concatenate([np.log(variances), skew[:, *lower]], axis=1))
        return np.reshape(found, (*shape[:-2], -1))

    def from_entries(self, entries: np.ndarray, n_features: int) -> np.ndarray:
        """D diag(s) D'."""
        axes = expm(self._skew(entries, n_features))
        return (axes * np.exp(entries[..., None, :n_features])) @ axes.swapaxes(-1, -2)

    def pull_back_to_entries(self, entries: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Of D, df = tr(2 S D' G dD), and the adjoint of dD = L(W, dW) is L(W', .)."""
        n_features = gradient.shape[-1]
        lower = np.tril_indices(n_features, -1)
        result = []
        for own, g, skew in zip(entries, gradient, self._skew(entries, n_features), strict=True):
            axes, variances = expm(skew), np.exp(own[:n_features])
            turned = expm_frechet(skew.T, 2 * g @ axes * variances, compute_expm=False)
            along = variances * np.einsum("ia,ij,ja->a", axes, g, axes)
            result.append(np.concatenate([along, (turned - turned.T)[lower]]))
        return np.array(result)

    def frames(self, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The axes, each as long as its standard deviation, and the variances."""
        variances, axes = self.principal(covariances)
        return axes * np.sqrt(variances)[:, None, :], variances

    def _skew(self, entries: np.ndarray, n_features: int) -> np.ndarray:
        skew = np.zeros((*entries.shape[:-1], n_features, n_features))
        skew[..., *np.tril_indices(n_features, -1)] = entries[..., n_features:]
        return skew - skew.swapaxes(-1, -2)


def _rotation(axes: np.ndarray) -> np.ndarray:
    """The same axes as columns of a rotation, which turns by no more than it must."""
    turned = axes * np.where(np.diagonal(axes) < 0, -1.0, 1.0)
    turned[:, -1] *= np.sign(np.linalg.det(turned))
    return turned


def along_own_axes(scatter, weight, previous, constants):
    """Each component keeps the eigenvectors of its own scatter."""
    n_components, n_features = scatter.shape[0], scatter.shape[1]
    diagonal = np.empty((n_components, n_features))
    axes = np.empty_like(scatter)
    for k in range(n_components):
        own_axes(scatter[k], axes[k], diagonal[k])
    variances = spectrum(diagonal, weight, constants[0] > 0, constants[1] > 0)
    covariances = np.empty_like(scatter)
    for k in range(n_components):
        compose(axes[k], variances[k], covariances[k])
    return covariances


@dataclass(frozen=True)
class OwnAxes(TurningAxes):
    """EEV, VEV: axes of its own for each component, of one shape in the order of eigenvalues."""

    shape: str = "E"
    orientation: str = "V"
    maximize = staticmethod(along_own_axes)

    def principal(self, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and eigenvectors."""
        variances, axes = np.linalg.eigh(covariances)
        return variances, axes


@dataclass(frozen=True)
class CommonAxes(TurningAxes):
    """EVE, VVE: common principal axes, each component its own variances along them."""

    shape: str = "V"
    orientation: str = "E"

    def principal(self, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The axes that all have."""
        one = np.empty(covariances.shape[1:])
        joint_axes(covariances, one)
        axes = np.broadcast_to(one, covariances.shape)
        return np.einsum("kia,kij,kja->ka", axes, covariances, axes), axes

    @staticmethod
    def maximize(scatter, weight, previous, constants):
        """Turn the axes until the scatters are as diagonal as they can be."""
        n_components, n_features = scatter.shape[0], scatter.shape[1]
        equal_volume, equal_shape = constants[0] > 0, constants[1] > 0
        covariances = np.empty_like(scatter)
        definite = True
        for k in range(n_components):
            definite = definite and is_definite(scatter[k])
            divided(scatter[k], weight[k], covariances[k])
        if not definite:
            # An axis along which a component has no spread is a pole; left as they are, its own
            # covariance tells whose.
            return covariances
        axes = np.empty((n_features, n_features))
        # The previous covariances have common axes exactly; from there the objective only falls.
        joint_axes(previous, axes)
        diagonal = common_axes(scatter, weight, equal_volume, equal_shape, axes)
        variances = spectrum(diagonal, weight, equal_volume, equal_shape)
        for k in range(n_components):
            compose(axes, variances[k], covariances[k])
        return covariances


def common_axes(
    scatter: np.ndarray,
    weight: np.ndarray,
    equal_volume: bool,
    equal_shape: bool,
    axes: np.ndarray,
) -> np.ndarray:
    """Turn axes to the common principal ones of several scatters: where all are most diagonal.

    Overwrites `axes` (D, D), orthonormal columns where the search sets out; returns the diagonals
    (K, D) of W_k there. Given variances, a rotation by t in the plane of two axes changes the
    objective by a cos 2t + b sin 2t, whose minimum is known; sweeps over all planes, with the
    variances set anew before each, never raise the objective. Flury & Gautschi (1986), SIAM J. Sci.
    Stat. Comput. 7; Browne & McNicholas (2014).
    """
    n_components, n_features = scatter.shape[0], scatter.shape[1]
    diagonal = np.empty((n_components, n_features))
    turned = np.empty((n_components, n_features, n_features))
    image = np.empty(n_features)
    for k in range(n_components):
        for i in range(n_features):
            for row in range(n_features):
                image[row] = 0.0
                for column in range(n_features):
                    image[row] += scatter[k, row, column] * axes[column, i]
            for j in range(n_features):
                turned[k, i, j] = 0.0
                for row in range(n_features):
                    turned[k, i, j] += axes[row, j] * image[row]
    for _ in range(MAX_INNER):
        largest = 0.0
        for k in range(n_components):
            for j in range(n_features):
                diagonal[k, j] = turned[k, j, j]
        variances = spectrum(diagonal, weight, equal_volume, equal_shape)
        for i in range(n_features):
            for j in range(i):
                cosine, sine = 0.0, 0.0
                for k in range(n_components):
                    contrast = 1.0 / variances[k, i] - 1.0 / variances[k, j]
                    cosine += 0.5 * contrast * (turned[k, i, i] - turned[k, j, j])
                    sine += contrast * turned[k, i, j]
                # Minimum of cosine cos 2t + sine sin 2t.
                angle = 0.5 * np.arctan2(-sine, -cosine)
                c, s = np.cos(angle), np.sin(angle)
                largest = max(largest, abs(s * c))
                turn_columns(axes, i, j, c, s)
                for k in range(n_components):
                    turn(turned[k], i, j, c, s)
        if not largest > INNER_TOLERANCE**0.5:
            break
    for k in range(n_components):
        for j in range(n_features):
            diagonal[k, j] = turned[k, j, j]
    return diagonal


def joint_axes(matrices: np.ndarray, axes: np.ndarray) -> None:
    """Write the axes that covariances have in common, up to rounding if they have them exactly.

    In the plane of two axes, (m_ii - m_jj, 2 m_ij) of every matrix then lie along one direction,
    whose angle is twice that of the rotation. Each is divided by m_ii + m_jj, so that matrices and
    planes of any size have a say. Cardoso & Souloumiac (1996), SIAM J. Matrix Anal. Appl. 17.
    """
    n_components, n_features = matrices.shape[0], matrices.shape[1]
    turned = matrices.copy()
    for i in range(n_features):
        for j in range(n_features):
            axes[i, j] = 1.0 if i == j else 0.0
    for _ in range(MAX_SWEEPS):
        largest = 0.0
        for i in range(n_features):
            for j in range(i):
                contrast, cross = 0.0, 0.0
                for k in range(n_components):
                    size = turned[k, i, i] + turned[k, j, j]
                    if not size > 0.0:
                        continue
                    gap = (turned[k, i, i] - turned[k, j, j]) / size
                    off = 2.0 * turned[k, i, j] / size
                    contrast += gap * gap - off * off
                    cross += 2.0 * gap * off
                angle = 0.25 * np.arctan2(cross, contrast)
                c, s = np.cos(angle), np.sin(angle)
                largest = max(largest, abs(s))
                turn_columns(axes, i, j, c, s)
                for k in range(n_components):
                    turn(turned[k], i, j, c, s)
        if not largest > ORTHOGONAL:
            break


def own_axes(matrix: np.ndarray, axes: np.ndarray, values: np.ndarray) -> None:
    """Write the eigenvectors, as columns, and eigenvalues of a scatter matrix, smallest first.

    Components that share a shape share it in this order, which makes the objective least. LAPACK
    finds small eigenvalues to the last digit of the largest one, and loses them where features
    differ much in spread. Jacobi's rotations find each to its own last digit there: Demmel &
    Veselic (1992), SIAM J. Matrix Anal. Appl. 13.
    """
    n_features = len(values)
    low, high = matrix[0, 0], matrix[0, 0]
    for j in range(n_features):
        low, high = min(low, matrix[j, j]), max(high, matrix[j, j])
    if low > GRADED * high:
        found = np.linalg.eigh(matrix)
        for j in range(n_features):
            values[j] = found[0][j]
            for i in range(n_features):
                axes[i, j] = found[1][i, j]
        return
    turned = np.empty((n_features, n_features))
    for i in range(n_features):
        for j in range(n_features):
            turned[i, j] = matrix[i, j]
            axes[i, j] = 1.0 if i == j else 0.0
    for _ in range(MAX_SWEEPS):
        settled = True
        for i in range(n_features):
            for j in range(i):
                off, gap = turned[i, j], turned[i, i] - turned[j, j]
                if not abs(off) > ORTHOGONAL * np.sqrt(abs(turned[i, i] * turned[j, j])):
                    continue
                settled = False
                # The smaller of the two angles that make the entry zero.
                angle = 0.5 * np.arctan2(2.0 * off, abs(gap))
                c, s = np.cos(angle), np.sin(angle)
                if gap < 0.0:
                    s = -s
                turn_columns(axes, i, j, c, s)
                turn(turned, i, j, c, s)
                turned[i, j], turned[j, i] = 0.0, 0.0
        if settled:
            break
    for j in range(n_features):
        values[j] = turned[j, j]
    for j in range(n_features):
        for m in range(j, 0, -1):
            if values[m] >= values[m - 1]:
                break
            values[m], values[m - 1] = values[m - 1], values[m]
            for row in range(n_features):
                axes[row, m], axes[row, m - 1] = axes[row, m - 1], axes[row, m]


def turn_columns(axes: np.ndarray, i: int, j: int, c: float, s: float) -> None:
    """Rotate columns i and j in their plane, by the angle with cosine c and sine s."""
    for row in range(len(axes)):
        first, second = axes[row, i], axes[row, j]
        axes[row, i] = c * first + s * second
        axes[row, j] = c * second - s * first


def turn(matrix: np.ndarray, i: int, j: int, c: float, s: float) -> None:
    """Write a matrix in a frame whose axes i and j are rotated."""
    turn_columns(matrix, i, j, c, s)
    for column in range(len(matrix)):
        first, second = matrix[i, column], matrix[j, column]
        matrix[i, column] = c * first + s * second
        matrix[j, column] = c * second - s * first
