r"""The pass where all components have one whitener and many features: structure EEE.

Rows are whitened once, and the M-step needs second moments only as their sum over the components.
With r_nk the responsibilities of a row, w_n = sum_k r_nk and c(n) = sum_k r_nk center_k / w_n,

    sum_nk r_nk (x_n - center_k)(x_n - center_k)'
        = sum_n w_n (x_n - c(n))(x_n - c(n))'  +  sum_{k<l} m_kl (center_k - center_l)(...)',

m_kl = sum_n r_nk r_nl / w_n: one product of D x D instead of K. No term is negative, so that no
digit is lost. Each component is given its share count_k / N of the sum.
"""

import numpy as np

from bayes_gmm.kernels.kernel import inlined, kernel
from bayes_gmm.kernels.log_rho import (
    CHUNK,
    PANEL,
    REASSOCIATE,
    log_rho_diagonal,
    normalize,
    turn,
)
from bayes_gmm.kernels.signatures import PASS
from bayes_gmm.kernels.weighted_sums import add_many


@inlined
def add_first(rows, share, center, first, n):  # pragma: no cover - compiled
    """Add one component's first moments; return its count."""
    for j in range(rows.shape[0]):
        column, c = rows[j], center[j]
        sum_first = 0.0
        for i in range(n):
            sum_first += share[i] * (column[i] - c)
        first[j] += sum_first
    count = 0.0
    for i in range(n):
        count += share[i]
    return count


@inlined
def add_between(center, overlap, within):  # pragma: no cover - compiled
    """Add sum_{k<l} m_kl (center_k - center_l)(center_k - center_l)' to the lower triangle."""
    n_components, n_features = center.shape
    apart = np.empty((n_components, n_features))
    for k in range(n_components):
        n = 0
        for m in range(k):
            if overlap[k, m] > 0.0:
                for j in range(n_features):
                    apart[n, j] = np.sqrt(overlap[k, m]) * (center[k, j] - center[m, j])
                n += 1
        if n > 0:
            between = np.dot(apart[:n].T, apart[:n])
            for j in range(n_features):
                for m in range(j + 1):
                    within[j, m] += between[j, m]


@kernel(PASS, fastmath=REASSOCIATE)
def shared_whitener(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass with the first whitener for all; adds to count and first, and writes second."""
    n_rows, n_features = x.shape
    n_components = offset.size
    width = min(CHUNK, n_rows)  # BLAS works on whole chunks, however few rows there are
    rows, residual = np.zeros((n_features, width)), np.empty((n_features, width))
    other = np.empty((n_features, width))
    panel, square = np.empty((PANEL, width)), np.empty(PANEL * n_features)
    log_rho = np.empty((n_components, width))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    whitened = np.dot(center, whitener[0].T)
    centers = center.T.copy()
    roots, zeros = np.full(n_features, np.sqrt(0.5)), np.zeros(n_features)
    root = np.zeros((n_components, width))
    overlap, part = np.zeros((n_components, n_components)), np.empty((n_components, n_components))
    within, ignored = np.zeros((n_features, n_features)), np.zeros(n_features)
    log_normalizer, n_total = 0.0, 0.0
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        turn(x[start : start + n], origin, inverse_scale, rows)
        np.dot(whitener[0], rows, residual)
        for k in range(n_components):
            log_rho_diagonal(residual, offset[k], whitened[k], roots, log_rho[k], n)
        log_normalizer += normalize(
            log_rho, weights[start : start + n], peak, total, product, scratch, n
        )
        for i in range(width):
            total[i] = 0.0
        for k in range(n_components):
            share = log_rho[k]
            for i in range(n, width):
                share[i] = 0.0
            for i in range(n):
                total[i] += share[i]
            count[k] += add_first(rows, share, center[k], first[k], n)
        # The responsibilities over w and over its root: for c(n) and for m.
        for i in range(n):
            peak[i] = 1.0 / total[i] if total[i] > 0.0 else 0.0
            scratch[i] = np.sqrt(peak[i])
        for k in range(n_components):
            for i in range(n):
                root[k, i] = log_rho[k, i] * scratch[i]
                log_rho[k, i] *= peak[i]
            for i in range(n, width):
                root[k, i] = 0.0
        np.dot(root, root.T, part)
        for k in range(n_components):
            for m in range(n_components):
                overlap[k, m] += part[k, m]
        np.dot(centers, log_rho, other)
        for j in range(n_features):
            for i in range(width):
                other[j, i] = rows[j, i] - other[j, i]
        n_total += add_many(
            other, residual, panel, square, total[:width], zeros, ignored, within, n
        )
    add_between(center, overlap, within)
    for k in range(n_components):
        share_of_all = count[k] / n_total if n_total > 0.0 else 0.0
        for j in range(n_features):
            for m in range(j + 1):
                second[k, j, m] = share_of_all * within[j, m]
                second[k, m, j] = second[k, j, m]
    return log_normalizer
