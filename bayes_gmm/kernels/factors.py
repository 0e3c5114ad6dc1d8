"""From parameters to the log-quadratic functions of the next pass, and their log prior.

    offset_k = log phi_k - 1/2 log|2 pi Sigma_k|,        whitener_k' whitener_k = Sigma_k^-1

A component whose covariance is singular, to rounding, is reported by its number.
"""

import numpy as np

from bayes_gmm.kernels.kernel import inlined, kernel
from bayes_gmm.kernels.log_rho import REASSOCIATE
from bayes_gmm.kernels.signatures import FACTOR
from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.structures.loops import SINGULAR


@inlined
def _factor(covariance, floor, whitener):  # pragma: no cover - compiled
    """Write the inverse of the Cholesky factor; return half the log-determinant, nan if singular.

    Row by row, so that the inner loops run along rows and vectorize.
    """
    n_features = len(floor)
    factor = np.empty((n_features, n_features))
    half_log_det = 0.0
    for i in range(n_features):
        row, pivot = factor[i], covariance[i, i]
        for j in range(i):
            above, entry = factor[j], 0.0
            for m in range(j):
                entry += row[m] * above[m]
            row[j] = (covariance[i, j] - entry) / above[j]
        for m in range(i):
            pivot -= row[m] * row[m]
        if not pivot > max(floor[i], SINGULAR * covariance[i, i]):
            return np.nan
        row[i] = np.sqrt(pivot)
        half_log_det += 0.5 * np.log(pivot)
    for i in range(n_features):
        row, solved = factor[i], whitener[i]
        solved[i] = 1.0 / row[i]
        for m in range(i):
            above, share = whitener[m], row[m] * solved[i]
            for j in range(m + 1):
                solved[j] -= share * above[j]
    return half_log_det


@inlined
def _trace(whitener, scale):  # pragma: no cover - compiled
    """Trace of whitener scale whitener'; a scale whose diagonal is zero is zero."""
    n_features = len(scale)
    size, trace = 0.0, 0.0
    for j in range(n_features):
        size += scale[j, j]
    if size == 0.0:
        return 0.0
    for i in range(n_features):
        row = whitener[i]
        for j in range(i + 1):
            other, entry = scale[j], 0.0
            for m in range(i + 1):
                entry += row[m] * other[m]
            trace += row[j] * entry
    return trace


@inlined
def _equal(one, other):  # pragma: no cover - compiled
    """Whether two matrices are the same."""
    for i in range(len(one)):
        for j in range(len(one)):
            if one[i, j] != other[i, j]:
                return False
    return True


@kernel(FACTOR, fastmath=REASSOCIATE)
def factored(
    weights, means, covariances, floor, concentration, prior_mean, precision, degrees, prior_scale
):  # pragma: no cover - compiled
    """Log-quadratic functions, log prior kernel and the first lost component of parameters."""
    n_components, n_features = means.shape
    offset = np.empty(n_components)
    whitener = np.zeros((n_components, n_features, n_features))
    distance = np.empty(n_features)
    half_log_det, trace, log_prior = 0.0, 0.0, 0.0
    lost = -1
    for k in range(n_components):
        # Covariances that are one and the same are factored once.
        same = k > 0 and _equal(covariances[k], covariances[k - 1])
        if same:
            # loops, because for an assignment of slices numba also compiles the words of its errors
            for i in range(n_features):
                for j in range(i + 1):
                    whitener[k, i, j] = whitener[k - 1, i, j]
        else:
            half_log_det = _factor(covariances[k], floor, whitener[k])
            if np.isnan(half_log_det) and lost < 0:
                lost = k
        if not (same and _equal(prior_scale[k], prior_scale[k - 1])):
            trace = _trace(whitener[k], prior_scale[k])
        offset[k] = np.log(weights[k]) - half_log_det - 0.5 * n_features * LOG_2PI
        if concentration[k] != 1.0:
            log_prior += (concentration[k] - 1.0) * np.log(weights[k])
        log_prior -= (degrees[k] + n_features + 2.0) * half_log_det + 0.5 * trace
        for j in range(n_features):
            distance[j] = means[k, j] - prior_mean[k, j]
        for i in range(n_features):
            whitened = 0.0
            for j in range(i + 1):
                whitened += whitener[k, i, j] * distance[j]
            log_prior -= 0.5 * precision[k] * whitened * whitened
    return offset, whitener, log_prior, lost


@kernel(FACTOR)
def factored_diagonal(
    weights, means, covariances, floor, concentration, prior_mean, precision, degrees, prior_scale
):  # pragma: no cover - compiled
    """`factored` of the diagonals of covariances."""
    n_components, n_features = means.shape
    offset = np.empty(n_components)
    whitener = np.zeros((n_components, n_features, n_features))
    log_prior = 0.0
    lost = -1
    for k in range(n_components):
        half_log_det = 0.0
        for j in range(n_features):
            variance = covariances[k, j, j]
            if not variance > max(floor[j], 0.0) and lost < 0:
                lost = k
            half_log_det += 0.5 * np.log(variance)
            whitener[k, j, j] = 1.0 / np.sqrt(variance)
            distance = means[k, j] - prior_mean[k, j]
            log_prior -= 0.5 * (prior_scale[k, j, j] + precision[k] * distance**2) / variance
        offset[k] = np.log(weights[k]) - half_log_det - 0.5 * n_features * LOG_2PI
        if concentration[k] != 1.0:
            log_prior += (concentration[k] - 1.0) * np.log(weights[k])
        log_prior -= (degrees[k] + n_features + 2.0) * half_log_det
    return offset, whitener, log_prior, lost
