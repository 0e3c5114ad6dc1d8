r"""The log density of every row, and its gradient, in one sweep over the rows.

With r_nk = rho_nk / sum_j rho_nj and d_nk = x_n - center_k, any weighted sum of log densities
sum_n g_n log sum_k rho_nk has the gradient

    d/d offset_k   = sum_n g_n r_nk
    d/d center_k   = W_k' W_k sum_n g_n r_nk d_nk
    d/d whitener_k = -tril(W_k sum_n g_n r_nk d_nk d_nk')

(Fisher's identity, row by row). So the gradient needs the sums that EM needs, with weights g that
may have any sign, and its cost is that of the pass. The loops are serial and release the GIL, since
samplers call them from threads and forked processes of their own.
"""

import numpy as np
from numba import types

from bayes_gmm.kernels.kernel import inlined, kernel
from bayes_gmm.kernels.log_rho import (
    CHUNK,
    PANEL,
    REASSOCIATE,
    exponentiate,
    log_rho_either,
    packed,
    scale_rows,
    turn,
)
from bayes_gmm.kernels.signatures import FUNCTIONS, MATRIX, OUT_VECTOR, SUMS, VECTOR
from bayes_gmm.kernels.weighted_sums import add_either

LN2 = 0.6931471805599453
ROOT_HALF = 0x3FE6A09E667F3BCD  # 1/sqrt(2) as the bits of a double
NO_COTANGENT = np.empty(0)  # where no gradient is wanted
SWEEP = types.Tuple([OUT_VECTOR, *SUMS])(MATRIX, *FUNCTIONS, VECTOR)


@inlined
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


@kernel(SWEEP, fastmath=REASSOCIATE)
def sweep(x, offset, center, whitener, cotangent):  # pragma: no cover - compiled
    """Log densities of all rows, and the gradient of their weighted sum if there is a cotangent.

    Shapes: x (N, D), offset (K,), center (K, D), whitener (K, D, D), cotangent (N,) or (0,) ->
    (N,), (K,), (K, D), (K, D, D), the last lower triangular.
    """
    n_rows, n_features = x.shape
    n_components = offset.size
    width = min(CHUNK, n_rows)  # BLAS works on whole chunks, however few rows there are
    rows, residual = np.zeros((n_features, width)), np.empty((n_features, width))
    panel, square = np.empty((PANEL, width)), np.empty(PANEL * n_features)
    log_rho = np.empty((n_components, width))
    total, scratch = np.empty(CHUNK), np.empty(CHUNK)
    values = np.empty(n_rows)
    count = np.zeros(n_components)
    first = np.zeros((n_components, n_features))
    second = np.zeros((n_components, n_features, n_features))
    origin, unit = np.zeros(n_features), np.ones(n_features)
    panels = packed(whitener)
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        turn(x[start : start + n], origin, unit, rows)
        for k in range(n_components):
            log_rho_either(
                rows, residual, scratch, panel, offset[k], center[k], whitener[k], panels[k],
                log_rho[k], n,
            )  # fmt: skip
        own = values[start : start + n]
        exponentiate(log_rho, own, total, scratch, n)
        add_log(own, total[:n], scratch)
        if cotangent.size:
            g = cotangent[start : start + n]
            for i in range(n):
                total[i] = g[i] / total[i]
            scale_rows(log_rho, total, n)
            for k in range(n_components):
                count[k] += add_either(
                    rows, residual, scratch, panel, square, log_rho[k], center[k], first[k],
                    second[k], n,
                )  # fmt: skip
    # The fast exp makes a number of nan, so that the sums would not show it.
    if not _are_numbers(offset, center, whitener):
        for sums in (values, count, first.ravel(), second.ravel()):
            sums[:] = np.nan
    d_center, d_whitener = np.zeros(first.shape), np.zeros(second.shape)
    if cotangent.size:
        _pull_back(whitener, first, second, d_center, d_whitener)
    return values, count, d_center, d_whitener


@inlined
def _pull_back(whitener, first, second, d_center, d_whitener):  # pragma: no cover - compiled
    """Turn weighted sums of residuals into the gradient, W' W first and -tril(W second)."""
    for k in range(whitener.shape[0]):
        for i in range(whitener.shape[1]):
            whitened = 0.0
            for j in range(i + 1):
                whitened += whitener[k, i, j] * first[k, j]
            for j in range(i + 1):
                d_center[k, j] += whitener[k, i, j] * whitened
                for m in range(i + 1):
                    # The sums fill the lower triangle only.
                    moment = second[k, j, m] if j >= m else second[k, m, j]
                    d_whitener[k, i, m] -= whitener[k, i, j] * moment


@kernel(types.void(OUT_VECTOR, OUT_VECTOR, OUT_VECTOR), fastmath={"contract"})
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
