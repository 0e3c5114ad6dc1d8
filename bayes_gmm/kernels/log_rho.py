"""Log rho of a chunk of rows and what becomes of it: the first half of every pass.

A chunk is turned on its side, (D, n), so that the inner loops run over rows and vectorize. With few
features the products of matrices are written out as loops; with many they go to BLAS.

These functions are inlined where they are called: a pass is one piece of machine code, compiled and
rounded as a whole.
"""

import numpy as np

from bayes_gmm.kernels.fast_exp import exp_in_place
from bayes_gmm.kernels.kernel import inlined

CHUNK = 512  # rows that stay in the second-level cache
FEW_FEATURES = 14  # up to here written-out loops beat BLAS on a chunk
PANEL = 8  # features at a time in a product by BLAS
LINE = 8  # numbers in a line of the cache
REASSOCIATE = {"contract", "reassoc", "nsz", "arcp"}


@inlined
def turn(x, origin, inverse_scale, rows):  # pragma: no cover - compiled
    """Write (x - origin) * inverse_scale, x (n, D), into the first n columns of rows."""
    n, n_features = x.shape
    if n_features <= FEW_FEATURES:
        for j in range(n_features):
            column = rows[j]
            for i in range(n):
                column[i] = (x[i, j] - origin[j]) * inverse_scale[j]
        return
    # A few rows at a time: they fill a line of the cache of every feature.
    whole = n - n % LINE
    for low in range(0, whole, LINE):
        for j in range(n_features):
            column = rows[j]
            for i in range(low, low + LINE):
                column[i] = (x[i, j] - origin[j]) * inverse_scale[j]
    for i in range(whole, n):
        for j in range(n_features):
            rows[j, i] = (x[i, j] - origin[j]) * inverse_scale[j]


@inlined
def subtract(rows, center, residual):  # pragma: no cover - compiled
    """Residuals about a center of all columns of rows."""
    for j in range(rows.shape[0]):
        column, d, c = rows[j], residual[j], center[j]
        for i in range(rows.shape[1]):
            d[i] = column[i] - c


@inlined
def log_rho_few(
    rows, residual, scratch, offset, center, whitener, value, n
):  # pragma: no cover - compiled
    """Log rho of one component at n rows, every sum written out."""
    for i in range(n):
        value[i] = offset
    for j in range(rows.shape[0]):
        column, d, c = rows[j], residual[j], center[j]
        for i in range(n):
            d[i] = column[i] - c
            scratch[i] = 0.0
        for m in range(j + 1):
            d, a = residual[m], whitener[j, m]
            for i in range(n):
                scratch[i] += a * d[i]
        for i in range(n):
            value[i] -= 0.5 * scratch[i] * scratch[i]


@inlined
def log_rho_diagonal(rows, offset, center, roots, value, n):  # pragma: no cover - compiled
    """Log rho of one component at n rows, its whitener diagonal; roots (D,) is sqrt(1/2) of it.

    Four features at a time: a row's sum is read and written a fourth as often.
    """
    n_features = rows.shape[0]
    for i in range(n):
        value[i] = offset
    whole = n_features - n_features % 4
    for j in range(0, whole, 4):
        x0, x1, x2, x3 = rows[j], rows[j + 1], rows[j + 2], rows[j + 3]
        c0, c1, c2, c3 = center[j], center[j + 1], center[j + 2], center[j + 3]
        a0, a1, a2, a3 = roots[j], roots[j + 1], roots[j + 2], roots[j + 3]
        for i in range(n):
            d0, d1 = a0 * (x0[i] - c0), a1 * (x1[i] - c1)
            d2, d3 = a2 * (x2[i] - c2), a3 * (x3[i] - c3)
            value[i] -= (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
    for j in range(whole, n_features):
        column, c, a = rows[j], center[j], roots[j]
        for i in range(n):
            d = a * (column[i] - c)
            value[i] -= d * d


@inlined
def packed(whitener):  # pragma: no cover - compiled
    """Lay the panels of each whitener, cut at the diagonal, one after another, (K, D * D).

    A whitener is triangular, so half of its product need not be made. Panels of a few features,
    each multiplied only as far as its own diagonal, save nearly that half at the full speed of
    gemm; trmm, which exists for this, is slower here.
    """
    n_components, n_features = whitener.shape[:2]
    panels = np.empty((n_components, n_features * n_features))
    for k in range(n_components):
        place = 0
        for low in range(0, n_features, PANEL):
            high = min(low + PANEL, n_features)
            for j in range(low, high):
                for m in range(high):
                    panels[k, place] = whitener[k, j, m] if m <= j else 0.0
                    place += 1
    return panels


@inlined
def log_rho_many(
    rows, residual, panel, offset, center, panels, value
):  # pragma: no cover - compiled
    """Log rho of one component at a whole chunk, the products by BLAS; panels is `packed`."""
    n_features, width = rows.shape
    for i in range(width):
        value[i] = offset
    subtract(rows, center, residual)
    place = 0
    for low in range(0, n_features, PANEL):
        high = min(low + PANEL, n_features)
        size = (high - low) * high
        block = panels[place : place + size].reshape((high - low, high))
        np.dot(block, residual[:high], panel[: high - low])
        for j in range(high - low):
            whitened = panel[j]
            for i in range(width):
                value[i] -= 0.5 * whitened[i] * whitened[i]
        place += size


@inlined
def log_rho_either(
    rows, residual, scratch, panel, offset, center, whitener, panels, value, n
):  # pragma: no cover - compiled
    """`log_rho_few` or `log_rho_many`, whichever is faster, for any number of features."""
    if rows.shape[0] <= FEW_FEATURES:
        log_rho_few(rows, residual, scratch, offset, center, whitener, value, n)
    else:
        log_rho_many(rows, residual, panel, offset, center, panels, value)


@inlined
def exponentiate(log_rho, peak, total, scratch, n):  # pragma: no cover - compiled
    """Turn log_rho (K, n) into rho / max rho; peak becomes log max rho, and total the sum."""
    for i in range(n):
        peak[i] = log_rho[0, i]
        total[i] = 0.0
    for k in range(1, log_rho.shape[0]):
        row = log_rho[k]
        for i in range(n):
            peak[i] = max(peak[i], row[i])
    for k in range(log_rho.shape[0]):
        row = log_rho[k]
        for i in range(n):
            row[i] -= peak[i]
        exp_in_place(row[:n], scratch)
        for i in range(n):
            total[i] += row[i]


@inlined
def normalize(log_rho, weights, peak, total, product, scratch, n):  # pragma: no cover - compiled
    """Turn log_rho (K, n) into weighted responsibilities; return sum_n w_n log sum_k rho_nk.

    The log of a product of many sums is one call of log where each sum would need its own. A sum
    lies in [1, K], so that 32 of them overflow only beyond K = 10^9.
    """
    exponentiate(log_rho, peak, total, scratch, n)
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
    scale_rows(log_rho, total, n)
    return log_normalizer


@inlined
def scale_rows(rho, factor, n):  # pragma: no cover - compiled
    """Multiply the rho (K, n) of every row by its own factor."""
    for k in range(rho.shape[0]):
        row = rho[k]
        for i in range(n):
            row[i] *= factor[i]
