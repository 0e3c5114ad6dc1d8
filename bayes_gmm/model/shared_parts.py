r"""The M-step of the 14 covariance structures: the best covariances that share some of their parts.

Every structure is one question, in which frame is Sigma_k diagonal (the axes, its own eigenvectors,
or common ones), and one answer, `spectrum`, what goes on the diagonal. Each minimizes

    sum_k  w_k log|Sigma_k| + tr(W_k Sigma_k^-1)

for given scatter W_k and weight w_k. `kernels.rule` compiles this very source with numba, in which
every operation on a whole array is a program of its own to compile, and a loop costs nothing: hence
sums are written out, and what is needed twice has a name.
"""

import numpy as np

MAX_INNER = 500
INNER_TOLERANCE = 1e-13
MAX_SWEEPS = 30
GRADED = 1e-2  # ratio of variances below which Jacobi's rotations find eigenvalues more exactly
ROUNDING = 1e-15
# A conditional variance this small beside the variance that it is left over from is rounding:
# three digits at most.
SINGULAR = 1024 * np.finfo(float).eps

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
        divided(scatter[k], weight[k], covariances[k])
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
        trace = 0.0
        for j in range(n_features):
            trace += scatter[k, j, j]
        for j in range(n_features):
            diagonal[k, j] = trace / n_features
    # Every diagonal is flat, and so is the best one, whatever the structure says of shapes.
    return on_axes(spectrum(diagonal, weight, equal_volume, equal_shape))


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
    return on_axes(spectrum(diagonal, weight, equal_volume, equal_shape))


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
        own_axes(scatter[k], axes[k], diagonal[k])
    variances = spectrum(diagonal, weight, equal_volume, equal_shape)
    covariances = np.empty_like(scatter)
    for k in range(n_components):
        compose(axes[k], variances[k], covariances[k])
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
    # The previous covariances have common axes exactly, and from there the objective only falls.
    joint_axes(previous, axes)
    diagonal = common_axes(scatter, weight, equal_volume, equal_shape, axes)
    variances = spectrum(diagonal, weight, equal_volume, equal_shape)
    for k in range(n_components):
        compose(axes, variances[k], covariances[k])
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
    covariances = np.empty_like(scatter)
    # The sum of W_k / lambda_k, which is C times the sum of w_k; with equal volumes all of Sigma.
    common = np.empty((n_features, n_features))
    volumes = np.ones(n_components)
    if equal_volume:
        pool(scatter, volumes, common)
        total = 0.0
        for k in range(n_components):
            total += weight[k]
        for k in range(n_components):
            divided(common, total, covariances[k])
        return covariances
    # Volumes vary and the matrix is common: each has a closed form given the other.
    inverse = np.empty((n_features, n_features))
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
    volumes, pooled = np.empty(n_components), np.zeros(n_features)
    total = 0.0
    for k in range(n_components):
        total += weight[k]
    if not equal_shape and not equal_volume:
        for k in range(n_components):
            for j in range(n_features):
                variances[k, j] = diagonal[k, j] / weight[k]
        return variances
    if not equal_shape:
        common = 0.0
        for k in range(n_components):
            volumes[k] = geometric_mean(diagonal[k])
            common += volumes[k] / total
        for k in range(n_components):
            for j in range(n_features):
                variances[k, j] = diagonal[k, j] * (common / volumes[k])
        return variances
    if equal_volume:
        for j in range(n_features):
            for k in range(n_components):
                pooled[j] += diagonal[k, j]
            for k in range(n_components):
                variances[k, j] = pooled[j] / total
        return variances
    # Volumes vary and the shape is common: each has a closed form given the other.
    for k in range(n_components):
        mean = 0.0
        for j in range(n_features):
            mean += diagonal[k, j] / n_features
        volumes[k] = mean / weight[k]
    size = 1.0
    for _ in range(MAX_INNER):
        for j in range(n_features):
            pooled[j] = 0.0
            for k in range(n_components):
                pooled[j] += diagonal[k, j] / volumes[k]
        size = geometric_mean(pooled)
        change = 0.0
        for k in range(n_components):
            mean = 0.0
            for j in range(n_features):
                mean += diagonal[k, j] / pooled[j] / n_features
            updated = size * mean / weight[k]
            change = max(change, abs(updated / volumes[k] - 1.0))
            volumes[k] = updated
        if not change > INNER_TOLERANCE:
            break
    for k in range(n_components):
        for j in range(n_features):
            variances[k, j] = volumes[k] * pooled[j] / size
    return variances


def common_axes(
    scatter: np.ndarray,
    weight: np.ndarray,
    equal_volume: bool,
    equal_shape: bool,
    axes: np.ndarray,
) -> np.ndarray:
    r"""Turn axes to the common principal ones of several scatters: where all are most diagonal.

    Given variances, a rotation by t in the plane of two axes changes the objective by
    a cos 2t + b sin 2t, whose minimum is known; sweeps over all planes, with the variances set anew
    before each, never raise the objective.

    Parameters
    ----------
    scatter : ndarray (K, D, D)
    weight : ndarray (K,)
    equal_volume, equal_shape : bool
    axes : ndarray (D, D)
        Orthonormal columns, where the search sets out; overwritten by where it ends.

    Returns
    -------
    ndarray (K, D)
        The diagonals of W_k in that frame.

    References
    ----------
    Flury & Gautschi (1986), SIAM J. Sci. Stat. Comput. 7; Browne & McNicholas (2014).
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
    planes of any size have a say.

    References
    ----------
    Cardoso & Souloumiac (1996), SIAM J. Matrix Anal. Appl. 17.
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
        if not largest > ROUNDING:
            break


def own_axes(matrix: np.ndarray, axes: np.ndarray, values: np.ndarray) -> None:
    """Write the eigenvectors, as columns, and eigenvalues of a scatter matrix, smallest first.

    Components that share a shape share it in this order, which makes the objective least.

    LAPACK finds small eigenvalues to the last digit of the largest one, and loses them where
    features differ much in spread. Jacobi's rotations find each to its own last digit there.

    References
    ----------
    Demmel & Veselic (1992), SIAM J. Matrix Anal. Appl. 13.
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
                if not abs(off) > ROUNDING * np.sqrt(abs(turned[i, i] * turned[j, j])):
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


def divided(matrix: np.ndarray, divisor: float, out: np.ndarray) -> None:
    """Write matrix / divisor."""
    for i in range(len(matrix)):
        for j in range(len(matrix)):
            out[i, j] = matrix[i, j] / divisor


def pool(scatter: np.ndarray, volumes: np.ndarray, out: np.ndarray) -> None:
    """Write the sum of W_k / lambda_k."""
    n_features = len(out)
    for i in range(n_features):
        for j in range(n_features):
            out[i, j] = 0.0
            for k in range(len(volumes)):
                out[i, j] += scatter[k, i, j] / volumes[k]


def geometric_mean(numbers: np.ndarray) -> float:
    """The D-th root of the product of D numbers."""
    total = 0.0
    for j in range(len(numbers)):
        total += np.log(numbers[j])
    return np.exp(total / len(numbers))


def on_axes(variances: np.ndarray) -> np.ndarray:
    """Diagonal matrices (K, D, D) of variances (K, D)."""
    n_components, n_features = variances.shape
    covariances = np.zeros((n_components, n_features, n_features))
    for k in range(n_components):
        for j in range(n_features):
            covariances[k, j, j] = variances[k, j]
    return covariances


def compose(axes: np.ndarray, variances: np.ndarray, out: np.ndarray) -> None:
    """Write D diag(s) D' for orthonormal axes D and variances s."""
    n_features = len(variances)
    for i in range(n_features):
        for j in range(i + 1):
            entry = 0.0
            for m in range(n_features):
                entry += axes[i, m] * axes[j, m] * variances[m]
            out[i, j] = entry
            out[j, i] = entry


def is_definite(matrix: np.ndarray) -> bool:
    """Whether a scatter has spread in every direction, more than rounding leaves of none."""
    n_features = len(matrix)
    left = matrix.copy()
    for m in range(n_features):
        pivot = left[m, m]
        if not pivot > 0.5 * SINGULAR * matrix[m, m]:
            return False
        for i in range(m + 1, n_features):
            factor = left[i, m] / pivot
            for j in range(m + 1, n_features):
                left[i, j] -= factor * left[m, j]
    return True


def invert(matrix: np.ndarray, out: np.ndarray) -> float:
    """Write the inverse of a positive-definite matrix and return its log-determinant, or nan.

    Gauss-Jordan elimination in place: no pivoting is needed, and the pivots' product is the
    determinant.
    """
    n_features = len(matrix)
    for i in range(n_features):
        for j in range(n_features):
            out[i, j] = matrix[i, j]
    log_det = 0.0
    for m in range(n_features):
        pivot = out[m, m]
        if not pivot > 0.0:
            return np.nan
        log_det += np.log(pivot)
        out[m, m] = 1.0
        for j in range(n_features):
            out[m, j] /= pivot
        for i in range(n_features):
            if i != m:
                factor = out[i, m]
                out[i, m] = 0.0
                for j in range(n_features):
                    out[i, j] -= factor * out[m, j]
    return log_det
