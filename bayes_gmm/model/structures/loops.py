r"""What the M-steps of several structures are made of, in plain loops.

`kernels` compiles M-steps and draws, and what they call, from this very source: in numba every
operation on a whole array is a program of its own to compile, and a loop costs nothing. Hence sums
are written out, and what is needed twice has a name.
"""

import numpy as np

MAX_INNER = 500
INNER_TOLERANCE = 1e-13
# A conditional variance this small beside the variance that it is left over from is rounding:
# three digits at most.
SINGULAR = 1024 * np.finfo(float).eps


def spectrum(
    diagonal: np.ndarray, weight: np.ndarray, equal_volume: bool, equal_shape: bool
) -> np.ndarray:
    """Best variances (K, D) when every Sigma_k is diagonal in a given frame.

    Minimizes sum_k w_k sum_j log s_kj + sum_kj omega_kj / s_kj over s_kj = lambda_k a_kj with
    prod_j a_kj = 1, for the diagonals omega (K, D) of W_k in the frame.
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


def diagonal_matrices(variances: np.ndarray) -> np.ndarray:
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


def lower_factor(matrix: np.ndarray) -> bool:
    """Put its Cholesky factor in the place of a lower triangle; return whether there is one."""
    for j in range(len(matrix)):
        for i in range(j, len(matrix)):
            entry = matrix[i, j]
            for m in range(j):
                entry -= matrix[i, m] * matrix[j, m]
            if i > j:
                matrix[i, j] = entry / matrix[j, j]
            elif entry > 0:
                matrix[j, j] = np.sqrt(entry)
            else:
                return False
    return True


def right_divide(numerator: np.ndarray, denominator: np.ndarray, quotient: np.ndarray) -> None:
    """Solve quotient denominator = numerator, all lower triangular."""
    for i in range(len(numerator)):
        for j in range(i, -1, -1):
            entry = numerator[i, j]
            for m in range(j + 1, i + 1):
                entry -= quotient[i, m] * denominator[m, j]
            quotient[i, j] = entry / denominator[j, j]
