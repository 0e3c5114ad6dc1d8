r"""The M-step of the 14 covariance structures: the best covariances that share some of their parts.

Every structure is one question, in which frame is Sigma_k diagonal (the axes, its own eigenvectors,
or common ones), and one answer, `spectrum`, what goes on the diagonal. Each minimizes

    sum_k  w_k log|Sigma_k| + tr(W_k Sigma_k^-1)

for given scatter W_k and weight w_k. The functions keep to the part of NumPy that numba compiles;
`kernels.rule` compiles this very source.
"""

import numpy as np

MAX_INNER = 500
INNER_TOLERANCE = 1e-13

# Every family has the same five arguments, so that one call serves all; not each uses all of them.


def unconstrained(
    scatter: np.ndarray,
    weight: np.ndarray,
    previous: np.ndarray,
    equal_volume: bool,
    equal_shape: bool,
) -> np.ndarray:
    """VVV: each component its own covariance, Sigma_k = W_k / w_k."""
    covariances = np.empty_like(scatter)
    for k in range(len(weight)):
        covariances[k] = scatter[k] / weight[k]
    return covariances


def spherical(
    scatter: np.ndarray,
    weight: np.ndarray,
    previous: np.ndarray,
    equal_volume: bool,
    equal_shape: bool,
) -> np.ndarray:
    """EII, VII: spheres, Sigma_k = lambda_k I."""
    n_components, n_features = scatter.shape[0], scatter.shape[1]
    diagonal = np.empty((n_components, n_features))
    for k in range(n_components):
        diagonal[k] = np.trace(scatter[k]) / n_features
    variances = spectrum(diagonal, weight, equal_volume, False)
    covariances = np.zeros_like(scatter)
    for k in range(n_components):
        for j in range(n_features):
            covariances[k, j, j] = variances[k, j]
    return covariances


def along_axes(
    scatter: np.ndarray,
    weight: np.ndarray,
    previous: np.ndarray,
    equal_volume: bool,
    equal_shape: bool,
) -> np.ndarray:
    """EEI, VEI, EVI, VVI: diagonal covariances, Sigma_k = lambda_k A_k."""
    n_components, n_features = scatter.shape[0], scatter.shape[1]
    diagonal = np.empty((n_components, n_features))
    for k in range(n_components):
        for j in range(n_features):
            diagonal[k, j] = scatter[k, j, j]
    variances = spectrum(diagonal, weight, equal_volume, equal_shape)
    covariances = np.zeros_like(scatter)
    for k in range(n_components):
        for j in range(n_features):
            covariances[k, j, j] = variances[k, j]
    return covariances


def along_own_axes(
    scatter: np.ndarray,
    weight: np.ndarray,
    previous: np.ndarray,
    equal_volume: bool,
    equal_shape: bool,
) -> np.ndarray:
    """EEV, VEV, EVV: each component keeps the eigenvectors of its own scatter."""
    n_components, n_features = scatter.shape[0], scatter.shape[1]
    diagonal = np.empty((n_components, n_features))
    axes = np.empty_like(scatter)
    for k in range(n_components):
        diagonal[k], axes[k] = np.linalg.eigh(scatter[k])
    variances = spectrum(diagonal, weight, equal_volume, equal_shape)
    covariances = np.empty_like(scatter)
    for k in range(n_components):
        covariances[k] = (axes[k] * variances[k]) @ axes[k].T
    return covariances


def along_common_axes(
    scatter: np.ndarray,
    weight: np.ndarray,
    previous: np.ndarray,
    equal_volume: bool,
    equal_shape: bool,
) -> np.ndarray:
    """EVE, VVE: common principal axes, each component its own variances along them."""
    n_components, n_features = scatter.shape[0], scatter.shape[1]
    # The previous covariances have common axes exactly, and from there the objective only falls.
    axes = common_axes(previous, weight, np.eye(n_features), equal_volume)
    axes = common_axes(scatter, weight, axes, equal_volume)
    diagonal = np.empty((n_components, n_features))
    for k in range(n_components):
        for j in range(n_features):
            axis = axes[:, j]
            diagonal[k, j] = (axis * (scatter[k] * axis).sum(axis=1)).sum()
    variances = spectrum(diagonal, weight, equal_volume, equal_shape)
    covariances = np.empty_like(scatter)
    for k in range(n_components):
        for i in range(n_features):
            for j in range(n_features):
                covariances[k, i, j] = (axes[i] * axes[j] * variances[k]).sum()
    return covariances


def one_matrix(
    scatter: np.ndarray,
    weight: np.ndarray,
    previous: np.ndarray,
    equal_volume: bool,
    equal_shape: bool,
) -> np.ndarray:
    """EEE, VEE: one matrix up to volume, Sigma_k = lambda_k C with |C| = 1."""
    n_components, n_features = scatter.shape[0], scatter.shape[1]
    common = np.zeros((n_features, n_features))
    covariances = np.empty_like(scatter)
    if equal_volume:
        for k in range(n_components):
            common += scatter[k]
        for k in range(n_components):
            covariances[k] = common / weight.sum()
        return covariances
    # Volumes vary and the matrix is common: each has a closed form given the other.
    volumes = np.empty(n_components)
    for k in range(n_components):
        volumes[k] = np.trace(scatter[k]) / (n_features * weight[k])
    for _ in range(MAX_INNER):
        common = np.zeros((n_features, n_features))
        for k in range(n_components):
            common += scatter[k] / volumes[k]
        common /= np.exp(np.linalg.slogdet(common)[1] / n_features)
        inverse = np.linalg.inv(common)
        change = 0.0
        for k in range(n_components):
            updated = (inverse * scatter[k]).sum() / (n_features * weight[k])
            change = max(change, abs(updated / volumes[k] - 1.0))
            volumes[k] = updated
        if not change > INNER_TOLERANCE:
            break
    for k in range(n_components):
        covariances[k] = volumes[k] * common
    return covariances


def spectrum(
    diagonal: np.ndarray, weight: np.ndarray, equal_volume: bool, equal_shape: bool
) -> np.ndarray:
    r"""Best variances when every Sigma_k is diagonal in a given frame.

    Minimizes :math:`\sum_k w_k \sum_j \log s_{kj} + \sum_k \sum_j \omega_{kj} / s_{kj}` over
    :math:`s_{kj} = \lambda_k a_{kj}` with :math:`\prod_j a_{kj} = 1`.

    Parameters
    ----------
    diagonal : ndarray (K, D)
        omega, the diagonal of W_k in the frame.
    weight : ndarray (K,)
    equal_volume, equal_shape : bool

    Returns
    -------
    ndarray (K, D)
    """
    n_components, n_features = diagonal.shape
    variances = np.empty((n_components, n_features))
    if not equal_shape:
        for k in range(n_components):
            variances[k] = diagonal[k] / weight[k]
        if not equal_volume:
            return variances
        geometric = np.empty(n_components)
        for k in range(n_components):
            geometric[k] = np.exp(np.log(diagonal[k]).mean())
        common = geometric.sum() / weight.sum()
        for k in range(n_components):
            variances[k] = diagonal[k] * (common / geometric[k])
        return variances
    if equal_volume:
        pooled = np.zeros(n_features)
        for k in range(n_components):
            pooled += diagonal[k]
        for k in range(n_components):
            variances[k] = pooled / weight.sum()
        return variances
    # Volumes vary and the shape is common: each has a closed form given the other.
    volumes = np.empty(n_components)
    for k in range(n_components):
        volumes[k] = diagonal[k].mean() / weight[k]
    common_shape = np.ones(n_features)
    for _ in range(MAX_INNER):
        pooled = np.zeros(n_features)
        for k in range(n_components):
            pooled += diagonal[k] / volumes[k]
        common_shape = pooled / np.exp(np.log(pooled).mean())
        change = 0.0
        for k in range(n_components):
            updated = (diagonal[k] / common_shape).mean() / weight[k]
            change = max(change, abs(updated / volumes[k] - 1.0))
            volumes[k] = updated
        if not change > INNER_TOLERANCE:
            break
    for k in range(n_components):
        variances[k] = volumes[k] * common_shape
    return variances


def common_axes(
    scatter: np.ndarray, weight: np.ndarray, axes: np.ndarray, equal_volume: bool
) -> np.ndarray:
    r"""Common principal axes of several scatter matrices: the frame in which all are most diagonal.

    Given variances, a rotation by t in the plane of two axes changes the objective by
    a cos 2t + b sin 2t, whose minimum is known; sweeps over all planes, with the variances set anew
    before each, never raise the objective.

    Parameters
    ----------
    scatter : ndarray (K, D, D)
    weight : ndarray (K,)
    axes : ndarray (D, D)
        Orthonormal columns, where the search sets out.
    equal_volume : bool

    Returns
    -------
    ndarray (D, D)

    References
    ----------
    Flury & Gautschi (1986), SIAM J. Sci. Stat. Comput. 7; Browne & McNicholas (2014).
    """
    n_components, n_features = scatter.shape[0], scatter.shape[1]
    axes = axes.copy()
    diagonal = np.empty((n_components, n_features))
    turned = np.empty((n_components, n_features, n_features))
    for k in range(n_components):
        for i in range(n_features):
            image = (scatter[k] * axes[:, i]).sum(axis=1)
            for j in range(n_features):
                turned[k, i, j] = (axes[:, j] * image).sum()
    for _ in range(MAX_INNER):
        largest = 0.0
        for k in range(n_components):
            for j in range(n_features):
                diagonal[k, j] = turned[k, j, j]
        variances = spectrum(diagonal, weight, equal_volume, False)
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
                for row in range(n_features):
                    first, second = axes[row, i], axes[row, j]
                    axes[row, i] = c * first + s * second
                    axes[row, j] = c * second - s * first
                for k in range(n_components):
                    for row in range(n_features):
                        first, second = turned[k, row, i], turned[k, row, j]
                        turned[k, row, i] = c * first + s * second
                        turned[k, row, j] = c * second - s * first
                    for column in range(n_features):
                        first, second = turned[k, i, column], turned[k, j, column]
                        turned[k, i, column] = c * first + s * second
                        turned[k, j, column] = c * second - s * first
        if not largest > INNER_TOLERANCE**0.5:
            break
    return axes
