"""The numba twin of the reference pass: the same statistics, near the speed of the machine.

Rows are taken in chunks that stay in the second-level cache. A chunk is turned on its side, so that
the inner loops run over rows and vectorize. With few features all sums are written out as loops;
with many, the products of matrices go to BLAS. No array of N x K numbers is ever made.

The kernel is serial and releases the GIL: samplers call it from threads of their own, and
`chunks.expectation` runs it on several blocks of rows at a time.
"""

from collections.abc import Callable

import numpy as np
from numba import njit

from bayes_gmm.kernels.fast_exp import exp_in_place
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics

CHUNK = 512
FEW_FEATURES = 14  # up to here written-out loops beat BLAS on a chunk
PANEL = 8  # features at a time in a product by BLAS
REASSOCIATE = {"contract", "reassoc", "nsz", "arcp"}


UNWEIGHTED = np.empty(0)


def accumulate(
    x: np.ndarray,
    origin: np.ndarray,
    scale: np.ndarray,
    log_quadratic: LogQuadratic,
    weights: np.ndarray | None = None,
) -> SufficientStatistics:
    """Expected sufficient statistics of a block of rows; see `reference.accumulate`."""
    # Copies are writable and in C order, whatever came: numba compiles one version, not four.
    offset, center, whitener = (part.copy() for part in log_quadratic)
    n_components, n_features = center.shape
    count = np.zeros(n_components)
    first = np.zeros((n_components, n_features))
    second = np.zeros((n_components, n_features, n_features))
    row_weights = UNWEIGHTED if weights is None else weights
    log_normalizer = loop(n_features)(
        x, row_weights, origin, 1 / scale, offset, center, whitener, count, first, second
    )
    return SufficientStatistics(log_normalizer, count, first, second, log_quadratic.center)


def loop(n_features: int) -> Callable:
    """Choose the compiled loop over rows that is faster with so many features.

    Parameters
    ----------
    n_features : int

    Returns
    -------
    callable
    """
    return _few_features if n_features <= FEW_FEATURES else _many_features


@njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")
def _normalize(log_rho, weights, peak, total, product, scratch, n):  # pragma: no cover - compiled
    """Turn log_rho (K, n) into weighted responsibilities; return sum_n w_n log sum_k rho_nk.

    The log of a product of many sums is one call of log where each sum would need its own. A sum
    lies in [1, K], so that 32 of them overflow only beyond K = 10^9.
    """
    n_components = log_rho.shape[0]
    for i in range(n):
        peak[i] = log_rho[0, i]
    for k in range(1, n_components):
        row = log_rho[k]
        for i in range(n):
            peak[i] = max(peak[i], row[i])
    for i in range(n):
        total[i] = 0.0
    for k in range(n_components):
        row = log_rho[k]
        for i in range(n):
            row[i] -= peak[i]
        exp_in_place(row[:n], scratch)
        for i in range(n):
            total[i] += row[i]
    log_normalizer = 0.0
    if weights.size:
        for i in range(n):
            log_normalizer += weights[i] * (peak[i] + np.log(total[i]))
            total[i] = weights[i] / total[i]
    else:
        lanes = product.size
        for lane in range(lanes):
            product[lane] = 1.0
        whole = n - n % lanes
        for start in range(0, whole, lanes):
            for lane in range(lanes):
                product[lane] *= total[start + lane]
        for i in range(whole, n):
            product[i - whole] *= total[i]
        for lane in range(lanes):
            log_normalizer += np.log(product[lane])
        for i in range(n):
            log_normalizer += peak[i]
            total[i] = 1.0 / total[i]
    for k in range(n_components):
        row = log_rho[k]
        for i in range(n):
            row[i] *= total[i]
    return log_normalizer


@njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")
def _few_features(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass with every sum over rows written out; adds to count, first and second."""
    n_rows, n_features = x.shape
    n_components = offset.size
    rows = np.empty((n_features, CHUNK))
    residual = np.empty((n_features, CHUNK))
    log_rho = np.empty((n_components, CHUNK))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    log_normalizer = 0.0
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        for j in range(n_features):
            column = rows[j]
            for i in range(n):
                column[i] = (x[start + i, j] - origin[j]) * inverse_scale[j]
        for k in range(n_components):
            value = log_rho[k]
            for j in range(n_features):
                column, d, c = rows[j], residual[j], center[k, j]
                for i in range(n):
                    d[i] = column[i] - c
            for i in range(n):
                value[i] = offset[k]
            for j in range(n_features):
                for i in range(n):
                    scratch[i] = 0.0
                for m in range(j + 1):
                    d, a = residual[m], whitener[k, j, m]
                    for i in range(n):
                        scratch[i] += a * d[i]
                for i in range(n):
                    value[i] -= 0.5 * scratch[i] * scratch[i]
        log_normalizer += _normalize(
            log_rho, weights[start : start + n], peak, total, product, scratch, n
        )
        for k in range(n_components):
            share = log_rho[k]
            sum_of_shares = 0.0
            for i in range(n):
                sum_of_shares += share[i]
            count[k] += sum_of_shares
            for j in range(n_features):
                column, d, c = rows[j], residual[j], center[k, j]
                sum_first = 0.0
                for i in range(n):
                    d[i] = column[i] - c
                    scratch[i] = share[i] * d[i]
                    sum_first += scratch[i]
                first[k, j] += sum_first
                for m in range(j + 1):
                    other = residual[m]
                    sum_second = 0.0
                    for i in range(n):
                        sum_second += scratch[i] * other[i]
                    second[k, j, m] += sum_second
    _mirror(second)
    return log_normalizer


@njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")
def _many_features(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass with the products of matrices by BLAS; adds to count, first and second.

    A whitener is triangular and a second moment symmetric, so half of each product need not be
    made. Panels of a few features, each multiplied only as far as its own diagonal, save nearly
    that half at the full speed of gemm; trmm and syrk, which exist for this, are slower here.
    Every product is a whole chunk wide: rows beyond the last have a share of zero.
    """
    n_rows, n_features = x.shape
    n_components = offset.size
    rows = np.zeros((n_features, CHUNK))
    residual = np.empty((n_features, CHUNK))
    panel = np.empty((PANEL, CHUNK))
    square = np.empty(PANEL * n_features)
    log_rho = np.empty((n_components, CHUNK))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    packed = _packed(whitener)
    log_normalizer = 0.0
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        for i in range(n):
            for j in range(n_features):
                rows[j, i] = (x[start + i, j] - origin[j]) * inverse_scale[j]
        for k in range(n_components):
            value = log_rho[k]
            value[:] = offset[k]
            _subtract(rows, center[k], residual)
            place = 0
            for low in range(0, n_features, PANEL):
                high = min(low + PANEL, n_features)
                size = (high - low) * high
                block = packed[k, place : place + size].reshape((high - low, high))
                np.dot(block, residual[:high], panel[: high - low])
                for j in range(high - low):
                    whitened = panel[j]
                    for i in range(CHUNK):
                        value[i] -= 0.5 * whitened[i] * whitened[i]
                place += size
        log_normalizer += _normalize(
            log_rho, weights[start : start + n], peak, total, product, scratch, n
        )
        for k in range(n_components):
            share = log_rho[k]
            share[n:] = 0.0
            count[k] += share.sum()
            _subtract(rows, center[k], residual)
            for low in range(0, n_features, PANEL):
                high = min(low + PANEL, n_features)
                for j in range(low, high):
                    d, weighted = residual[j], panel[j - low]
                    sum_first = 0.0
                    for i in range(CHUNK):
                        weighted[i] = share[i] * d[i]
                        sum_first += weighted[i]
                    first[k, j] += sum_first
                block = square[: (high - low) * high].reshape((high - low, high))
                np.dot(panel[: high - low], residual[:high].T, block)
                second[k, low:high, :high] += block
    _mirror(second)
    return log_normalizer


@njit(nogil=True, cache=True)
def _subtract(rows, center, residual):  # pragma: no cover - compiled
    """Residuals about a center, (D, CHUNK)."""
    for j in range(center.size):
        column, d, c = rows[j], residual[j], center[j]
        for i in range(CHUNK):
            d[i] = column[i] - c


@njit(nogil=True, cache=True)
def _packed(whitener):  # pragma: no cover - compiled
    """Lay the panels of each whitener, cut at the diagonal, one after another, (K, D * D)."""
    n_components, n_features = whitener.shape[:2]
    packed = np.empty((n_components, n_features * n_features))
    for k in range(n_components):
        place = 0
        for low in range(0, n_features, PANEL):
            high = min(low + PANEL, n_features)
            for j in range(low, high):
                for m in range(high):
                    packed[k, place] = whitener[k, j, m]
                    place += 1
    return packed


@njit(nogil=True, cache=True)
def _mirror(second):  # pragma: no cover - compiled
    """Copy the lower triangle of each matrix to its upper one."""
    for k in range(second.shape[0]):
        for j in range(second.shape[1]):
            for m in range(j):
                second[k, m, j] = second[k, j, m]
