"""Sums over a chunk of rows, each row with a share of its own: the second half of a pass.

    count = sum_n r_n        first = sum_n r_n d_n        second = sum_n r_n d_n d_n'

with d_n = x_n - center.
Chunks are on their side, and the functions are inlined where they are called, as in `log_rho.py`.
Of `second` only the lower triangle is promised.
"""

import numpy as np

from bayes_gmm.kernels.kernel import inlined
from bayes_gmm.kernels.log_rho import FEW_FEATURES, PANEL, subtract


@inlined
def add_few(
    rows, residual, scratch, share, center, first, second, n
):  # pragma: no cover - compiled
    """Add one component's first and second moments, sums written out; return its count."""
    for j in range(rows.shape[0]):
        column, d, c = rows[j], residual[j], center[j]
        sum_first = 0.0
        for i in range(n):
            d[i] = column[i] - c
            scratch[i] = share[i] * d[i]
            sum_first += scratch[i]
        first[j] += sum_first
        for m in range(j + 1):
            other = residual[m]
            sum_second = 0.0
            for i in range(n):
                sum_second += scratch[i] * other[i]
            second[j, m] += sum_second
    count = 0.0
    for i in range(n):
        count += share[i]
    return count


@inlined
def add_diagonal(rows, share, center, first, second, n):  # pragma: no cover - compiled
    """Add one component's first moments and the diagonal of its second; return its count."""
    for j in range(rows.shape[0]):
        column, c = rows[j], center[j]
        sum_first, sum_second = 0.0, 0.0
        for i in range(n):
            d = column[i] - c
            weighted = share[i] * d
            sum_first += weighted
            sum_second += weighted * d
        first[j] += sum_first
        second[j, j] += sum_second
    count = 0.0
    for i in range(n):
        count += share[i]
    return count


@inlined
def add_many(
    rows, residual, panel, square, share, center, first, second, n
):  # pragma: no cover - compiled
    """Add one component's first and second moments, the products by BLAS; return its count.

    A second moment is symmetric, so panels of a few features are multiplied only as far as their
    diagonals; syrk, which exists for this, is slower here. Every product is a whole chunk wide:
    rows beyond the last get a share of zero.
    """
    n_features, width = rows.shape
    for i in range(n, width):
        share[i] = 0.0
    subtract(rows, center, residual)
    for low in range(0, n_features, PANEL):
        high = min(low + PANEL, n_features)
        for j in range(low, high):
            d, weighted = residual[j], panel[j - low]
            sum_first = 0.0
            for i in range(width):
                weighted[i] = share[i] * d[i]
                sum_first += weighted[i]
            first[j] += sum_first
        block = square[: (high - low) * high].reshape((high - low, high))
        np.dot(panel[: high - low], residual[:high].T, block)
        for j in range(low, high):
            for m in range(high):
                second[j, m] += block[j - low, m]
    count = 0.0
    for i in range(n):
        count += share[i]
    return count


@inlined
def mirror(second):  # pragma: no cover - compiled
    """Copy the lower triangle of each matrix to its upper one."""
    for k in range(second.shape[0]):
        for j in range(second.shape[1]):
            for m in range(j):
                second[k, m, j] = second[k, j, m]


@inlined
def add_either(
    rows, residual, scratch, panel, square, share, center, first, second, n
):  # pragma: no cover - compiled
    """`add_few` or `add_many`, whichever is faster, for any number of features."""
    if rows.shape[0] <= FEW_FEATURES:
        return add_few(rows, residual, scratch, share, center, first, second, n)
    return add_many(rows, residual, panel, square, share, center, first, second, n)
