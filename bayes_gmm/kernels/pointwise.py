r"""The log density of every row, and its gradient, in one sweep over the rows.

With r_nk = rho_nk / sum_j rho_nj and d_nk = x_n - center_k, any weighted sum of log densities
sum_n g_n log sum_k rho_nk has the gradient

    d/d offset_k   = sum_n g_n r_nk
    d/d center_k   = W_k' W_k sum_n g_n r_nk d_nk
    d/d whitener_k = -tril(W_k sum_n g_n r_nk d_nk d_nk')

(Fisher's identity, row by row). So the gradient needs the sums that EM needs, with weights g that
may have any sign, and its cost is that of the pass. The loops are those of `cpu.py`: chunks of rows
on their side for few features, BLAS for many. They are serial and release the GIL, since samplers
call them from threads and forked processes of their own.
"""

import numpy as np
from numba import njit

from bayes_gmm.kernels.cpu import CHUNK, FEW_FEATURES, REASSOCIATE
from bayes_gmm.kernels.fast_exp import exp_in_place

LN2 = 0.6931471805599453
ROOT_HALF = 0x3FE6A09E667F3BCD  # 1/sqrt(2) as the bits of a double


@njit(nogil=True, cache=True)
def log_density(x, offset, center, whitener):  # pragma: no cover - compiled
    """Log density of every row.

    Parameters
    ----------
    x : ndarray (N, D)
    offset : ndarray (K,)
    center : ndarray (K, D)
    whitener : ndarray (K, D, D)
        Lower triangular; what is above the diagonal is not read.

    Returns
    -------
    ndarray (N,)
    """
    return _sweep(x, offset.copy(), center.copy(), whitener.copy(), np.empty(0))[0]


@njit(nogil=True, cache=True)
def log_density_and_gradient(x, offset, center, whitener, cotangent):  # pragma: no cover - compiled
    """Log density of every row, and the gradient of their weighted sum.

    Parameters
    ----------
    x : ndarray (N, D)
    offset : ndarray (K,)
    center : ndarray (K, D)
    whitener : ndarray (K, D, D)
        Lower triangular; what is above the diagonal is not read.
    cotangent : ndarray (N,)
        g, the weight of each row in the sum, of any sign.

    Returns
    -------
    values : ndarray (N,)
    d_offset : ndarray (K,)
    d_center : ndarray (K, D)
    d_whitener : ndarray (K, D, D)
        Lower triangular.
    """
    # Copies are writable and in C order, whatever came: the loops are compiled once, not ten times.
    values, count, first, second = _sweep(
        x, offset.copy(), center.copy(), whitener.copy(), cotangent.copy()
    )
    n_components, n_features = center.shape
    d_center = np.zeros((n_components, n_features))
    d_whitener = np.zeros((n_components, n_features, n_features))
    for k in range(n_components):
        for i in range(n_features):
            whitened = 0.0
            for j in range(i + 1):
                whitened += whitener[k, i, j] * first[k, j]
            for j in range(i + 1):
                d_center[k, j] += whitener[k, i, j] * whitened
                for m in range(i + 1):
                    # The sums fill the lower triangle only.
                    moment = second[k, j, m] if j >= m else second[k, m, j]
                    d_whitener[k, i, m] -= whitener[k, i, j] * moment
    return values, count, d_center, d_whitener


@njit(nogil=True, cache=True)
def _are_numbers(offset, center, whitener):  # pragma: no cover - compiled
    """Whether the parameters can be computed with; a weight of zero, offset -inf, can."""
    for k in range(offset.size):
        if not offset[k] < np.inf:
            return False
        for j in range(center.shape[1]):
            if not np.isfinite(center[k, j]):
                return False
            for m in range(j + 1):
                if not np.isfinite(whitener[k, j, m]):
                    return False
    return True


@njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")
def _sweep(x, offset, center, whitener, cotangent):  # pragma: no cover - compiled
    """Values of all rows; their weighted sums too, unless there are no weights."""
    n_rows, n_features = x.shape
    n_components = offset.size
    few = n_features <= FEW_FEATURES
    shape = (n_features, CHUNK) if few else (CHUNK, n_features)
    rows, residual, other = np.empty(shape), np.empty(shape), np.empty(shape)
    log_rho = np.empty((n_components, CHUNK))
    total, scratch = np.empty(CHUNK), np.empty(CHUNK)
    values = np.empty(n_rows)
    count = np.zeros(n_components)
    first = np.zeros((n_components, n_features))
    second = np.zeros((n_components, n_features, n_features))
    transposed = np.zeros((n_components, n_features, n_features))
    for k in range(n_components):
        for i in range(n_features):
            for j in range(i + 1):
                transposed[k, j, i] = whitener[k, i, j]
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        block = x[start : start + n]
        for i in range(n):
            for j in range(n_features):
                if few:
                    rows[j, i] = block[i, j]
                else:
                    rows[i, j] = block[i, j]
        for k in range(n_components):
            if few:
                _log_rho_few(
                    rows, residual, scratch, offset[k], center[k], transposed[k], log_rho[k], n
                )
            else:
                _log_rho_many(
                    rows, residual, other, offset[k], center[k], transposed[k], log_rho[k], n
                )
        _sum_components(log_rho, values[start : start + n], total, scratch, n)
        if cotangent.size:
            g = cotangent[start : start + n]
            for i in range(n):
                total[i] = g[i] / total[i]
            for k in range(n_components):
                share = log_rho[k]
                for i in range(n):
                    share[i] *= total[i]
                if few:
                    count[k] += _moments_few(
                        rows, residual, scratch, share, center[k], first[k], second[k], n
                    )
                else:
                    count[k] += _moments_many(
                        rows, residual, other, share, center[k], first[k], second[k], n
                    )
    # The fast exp makes a number of nan, so that the sums would not show it.
    if not _are_numbers(offset, center, whitener):
        for sums in (values, count, first.ravel(), second.ravel()):
            sums[:] = np.nan
    return values, count, first, second


@njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")
def _log_rho_few(rows, residual, scratch, offset, center, upper, value, n):  # pragma: no cover
    """Log rho of one component at a chunk on its side, sums over rows written out."""
    for i in range(n):
        value[i] = offset
    for j in range(rows.shape[0]):
        column, d, c = rows[j], residual[j], center[j]
        for i in range(n):
            d[i] = column[i] - c
            scratch[i] = 0.0
        for m in range(j + 1):
            d, a = residual[m], upper[m, j]
            for i in range(n):
                scratch[i] += a * d[i]
        for i in range(n):
            value[i] -= 0.5 * scratch[i] * scratch[i]


@njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")
def _log_rho_many(rows, residual, whitened, offset, center, upper, value, n):  # pragma: no cover
    """Log rho of one component at a chunk, the product of matrices by BLAS."""
    for i in range(n):
        for j in range(center.size):
            residual[i, j] = rows[i, j] - center[j]
    np.dot(residual[:n], upper, whitened[:n])
    for i in range(n):
        squared = 0.0
        for j in range(center.size):
            squared += whitened[i, j] * whitened[i, j]
        value[i] = offset - 0.5 * squared


@njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")
def _sum_components(log_rho, values, total, scratch, n):  # pragma: no cover - compiled
    """Log of each row's sum over components; log_rho becomes rho / max rho, and total its sum."""
    n_components = log_rho.shape[0]
    for i in range(n):
        values[i] = log_rho[0, i]
        total[i] = 0.0
    for k in range(1, n_components):
        row = log_rho[k]
        for i in range(n):
            values[i] = max(values[i], row[i])
    for k in range(n_components):
        row = log_rho[k]
        for i in range(n):
            row[i] -= values[i]
        exp_in_place(row[:n], scratch)
        for i in range(n):
            total[i] += row[i]
    add_log(values, total[:n], scratch)


@njit(nogil=True, cache=True, fastmath={"contract"}, inline="never")
def add_log(values, t, scratch):  # pragma: no cover - compiled
    """Add log(t) to values, t >= 1, a buffer at a time as `exp_in_place` does.

    With t = 2^n m, 1/sqrt(2) <= m < sqrt(2) and s = (m - 1) / (m + 1), log t = n log 2 + log m and
    log m = 2 (s + s^3/3 + s^5/5 + ...).
    """
    bits = t.view(np.int64)
    mantissas = scratch.view(np.int64)
    for i in range(t.size):
        n = (bits[i] - ROOT_HALF) >> 52
        mantissas[i] = bits[i] - (n << 52)
        values[i] += n * LN2
    for i in range(t.size):
        s = (scratch[i] - 1.0) / (scratch[i] + 1.0)
        z = s * s
        p = 1 / 13 + z * (1 / 15 + z * (1 / 17 + z * (1 / 19 + z * (1 / 21))))
        p = 1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * p)))
        values[i] += 2.0 * s * (1.0 + z * (1 / 3 + z * p))


@njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")
def _moments_few(rows, residual, scratch, share, center, first, second, n):  # pragma: no cover
    """Add one component's sums over a chunk on its side; the sum of shares is returned."""
    for j in range(rows.shape[0]):
        column, d, c = rows[j], residual[j], center[j]
        sum_first = 0.0
        for i in range(n):
            d[i] = column[i] - c
            scratch[i] = share[i] * d[i]
            sum_first += scratch[i]
        first[j] += sum_first
        for m in range(j + 1):
            d = residual[m]
            sum_second = 0.0
            for i in range(n):
                sum_second += scratch[i] * d[i]
            second[j, m] += sum_second
    count = 0.0
    for i in range(n):
        count += share[i]
    return count


@njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")
def _moments_many(rows, residual, weighted, share, center, first, second, n):  # pragma: no cover
    """Add one component's sums over a chunk, the product of matrices by BLAS."""
    count = 0.0
    for i in range(n):
        count += share[i]
        for j in range(center.size):
            residual[i, j] = rows[i, j] - center[j]
            weighted[i, j] = share[i] * residual[i, j]
            first[j] += weighted[i, j]
    second += np.dot(weighted[:n].T, residual[:n])
    return count
