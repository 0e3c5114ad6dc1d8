"""The pass with expected labels, compiled: the statistics of `reference`, near the machine's speed.

Rows are taken in chunks that stay in the second-level cache (`log_rho.py`). With few features all
sums are written out as loops; with many, the products of matrices go to BLAS. No array of N x K
numbers is ever made. The kernels are serial and release the GIL: samplers call them from threads of
their own, and `chunks.expectation` runs them on several blocks of rows at a time.

Diagonal whiteners (structures EII to VVI) need no product of two features, nor does their M-step,

    log rho_k(x) = offset_k - 1/2 sum_j (whitener_kjj d_j)^2        second_kjj = sum_n r_nk d_nj^2

with d = x - center_k: N K D operations where other whiteners take N K D^2.

With one whitener for all components and many features (structure EEE) rows are whitened once, and
second moments are needed only as their sum over the components. With w_n = sum_k r_nk and
c(n) = sum_k r_nk center_k / w_n,

    sum_nk r_nk (x_n - center_k)(x_n - center_k)'
        = sum_n w_n (x_n - c(n))(x_n - c(n))'  +  sum_{k<l} m_kl (center_k - center_l)(...)',

m_kl = sum_n r_nk r_nl / w_n: one product of D x D instead of K. No term is negative, so no digit is
lost. Each component is given its share count_k / N of the sum.
"""

import numpy as np

from bayes_gmm.kernels.incomplete import incomplete_rows
from bayes_gmm.kernels.kernel import Kernel, inlined, kernel
from bayes_gmm.kernels.log_rho import (
    CHUNK,
    FEW_FEATURES,
    LINE,
    PANEL,
    REASSOCIATE,
    log_rho_diagonal,
    log_rho_few,
    log_rho_many,
    normalize,
    packed,
    turn,
)
from bayes_gmm.kernels.signatures import PASS
from bayes_gmm.kernels.weighted_sums import add_diagonal, add_few, add_many, mirror
from bayes_gmm.model.structures import UNCONSTRAINED, Structure


def loop(n_features: int, structure: Structure = UNCONSTRAINED, *, complete: bool = True) -> Kernel:
    """Choose the fastest kernel of the signature `PASS`, given what the whiteners have in common.

    `complete` says whether no entry is missing.
    """
    if not complete:
        return incomplete_rows
    if structure.whiteners == "diagonal":
        return diagonal_whiteners
    if structure.whiteners == "one" and n_features > FEW_FEATURES:
        return shared_whitener
    return few_features if n_features <= FEW_FEATURES else many_features


@kernel(PASS, fastmath=REASSOCIATE)
def few_features(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass with every sum over rows written out; adds to count, first and second."""
    n_rows, n_features = x.shape
    n_components = offset.size
    rows, residual = np.empty((n_features, CHUNK)), np.empty((n_features, CHUNK))
    log_rho = np.empty((n_components, CHUNK))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    log_normalizer = 0.0
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        turn(x[start : start + n], origin, inverse_scale, rows)
        for k in range(n_components):
            log_rho_few(rows, residual, scratch, offset[k], center[k], whitener[k], log_rho[k], n)
        log_normalizer += normalize(
            log_rho, weights[start : start + n], peak, total, product, scratch, n
        )
        for k in range(n_components):
            count[k] += add_few(
                rows, residual, scratch, log_rho[k], center[k], first[k], second[k], n
            )
    mirror(second)
    return log_normalizer


@kernel(PASS, fastmath=REASSOCIATE)
def many_features(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass with the products of matrices by BLAS; adds to count, first and second."""
    n_rows, n_features = x.shape
    n_components = offset.size
    width = min(CHUNK, n_rows)  # BLAS works on whole chunks, however few rows there are
    rows, residual = np.zeros((n_features, width)), np.empty((n_features, width))
    panel, square = np.empty((PANEL, width)), np.empty(PANEL * n_features)
    log_rho = np.empty((n_components, width))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    panels = packed(whitener)
    log_normalizer = 0.0
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        turn(x[start : start + n], origin, inverse_scale, rows)
        for k in range(n_components):
            log_rho_many(rows, residual, panel, offset[k], center[k], panels[k], log_rho[k])
        log_normalizer += normalize(
            log_rho, weights[start : start + n], peak, total, product, scratch, n
        )
        for k in range(n_components):
            count[k] += add_many(
                rows, residual, panel, square, log_rho[k], center[k], first[k], second[k], n
            )
    mirror(second)
    return log_normalizer


@kernel(PASS, fastmath=REASSOCIATE)
def diagonal_whiteners(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass with diagonal whiteners; adds to count, first and the diagonals of second.

    What lies beside the diagonals is neither read nor written.
    """
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
