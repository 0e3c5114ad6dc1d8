"""The pass and the factors where every covariance is diagonal, in the structures EII to VVI.

A diagonal whitener needs no product of two features, nor does the M-step of these structures,

    log rho_k(x) = offset_k - 1/2 sum_j (whitener_kjj d_j)^2        second_kjj = sum_n r_nk d_nj^2

with d = x - center_k: N K D operations where other whiteners take N K D^2. What lies beside the
diagonals is neither read nor written. Rows are taken in chunks on their side, as in `log_rho.py`.
"""

import numpy as np

from bayes_gmm.kernels.kernel import kernel
from bayes_gmm.kernels.log_rho import (
    CHUNK,
    LINE,
    REASSOCIATE,
    log_rho_diagonal,
    normalize,
    turn,
)
from bayes_gmm.kernels.signatures import FACTOR, PASS
from bayes_gmm.kernels.weighted_sums import add_diagonal
from bayes_gmm.model.normal import LOG_2PI


@kernel(PASS, fastmath=REASSOCIATE)
def diagonal_whiteners(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass with diagonal whiteners; adds to count, first and the diagonals of second."""
    n_rows, n_features = x.shape
    n_components = offset.size
    # With a power of two between features, those of one row would share a few lines of the cache.
    rows = np.empty((n_features, min(CHUNK, n_rows) + LINE))
    log_rho = np.empty((n_components, CHUNK))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    roots = np.empty((n_components, n_features))
    for k in range(n_components):
        for j in range(n_features):
            roots[k, j] = np.sqrt(0.5) * whitener[k, j, j]
    log_normalizer = 0.0
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        turn(x[start : start + n], origin, inverse_scale, rows)
        for k in range(n_components):
            log_rho_diagonal(rows, offset[k], center[k], roots[k], log_rho[k], n)
        log_normalizer += normalize(
            log_rho, weights[start : start + n], peak, total, product, scratch, n
        )
        for k in range(n_components):
            count[k] += add_diagonal(rows, log_rho[k], center[k], first[k], second[k], n)
    return log_normalizer


@kernel(FACTOR)
def factored_diagonal(
    weights,
    means,
    covariances,
    floor,
    concentration,
    prior_mean,
    precision,
    degrees,
    prior_scale,
):  # pragma: no cover - compiled
    """`rule.factored` of the diagonals of covariances."""
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
