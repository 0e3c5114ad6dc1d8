r"""The pass with sampled labels: a Gibbs sampler's look at the rows.

    z_n = k with probability rho_nk / sum_j rho_nj
    count_k = #{n: z_n = k}     first_k = sum d     second_k = sum d d'

over the rows with z_n = k, with d = x_n - center_k, and the log normalizer of the expected pass. Up
to the probabilities it is the pass of EM; then each row is one component's alone, so that its
products are made once and not K times: a chunk is sorted by label, and every component sums its own
stretch of it.

Row n of sweep s takes the label where the cumulative probability passes a uniform number that is a
function of (key, s, n). So chunks, blocks and the order of the work change nothing.
"""

import numpy as np
from numba import types

from bayes_gmm.kernels.kernel import Kernel, inlined, kernel
from bayes_gmm.kernels.log_rho import (
    CHUNK,
    FEW_FEATURES,
    PANEL,
    REASSOCIATE,
    log_rho_few,
    log_rho_many,
    normalize,
    packed,
    turn,
)
from bayes_gmm.kernels.signatures import (
    BITS,
    FUNCTIONS,
    MATRIX,
    NUMBERS,
    OUT_VECTOR,
    REAL,
    SUMS,
    VECTOR,
    WHOLE,
)

# SplitMix64 (Steele, Lea & Flood 2014, OOPSLA): the increment and the two multipliers of its hash.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
SECOND_MULTIPLIER = np.uint64(0x94D049BB133111EB)
PASS = REAL(MATRIX, VECTOR, WHOLE, BITS, VECTOR, VECTOR, *FUNCTIONS, *SUMS, NUMBERS, REAL)
ONE = np.uint64(0x3FF0000000000000)  # the bits of 1.0
S12, S27, S30, S31 = (np.uint64(shift) for shift in (12, 27, 30, 31))


@inlined
def hashed(z):  # pragma: no cover - compiled
    """Mix the bits of a number: the hash of SplitMix64."""
    z = (z ^ (z >> S30)) * FIRST_MULTIPLIER
    z = (z ^ (z >> S27)) * SECOND_MULTIPLIER
    return z ^ (z >> S31)


@kernel(BITS(BITS, WHOLE))
def sweep_key(key, sweep):  # pragma: no cover - compiled
    """Key of one sweep, from the key of the chain."""
    return hashed(key + np.uint64(sweep + 1) * GOLDEN)


@kernel(types.void(BITS, WHOLE, OUT_VECTOR))
def uniforms(key, start, out):  # pragma: no cover - compiled
    """Fill `out` (n,) with uniform numbers in [0, 1), those of rows start, start + 1, ..."""
    bits = out.view(np.uint64)
    place = key + np.uint64(start) * GOLDEN
    for i in range(out.size):
        # 52 random bits behind the exponent of 1.0 are a number in [1, 2).
        bits[i] = (hashed(place + np.uint64(i + 1) * GOLDEN) >> S12) | ONE
    for i in range(out.size):
        out[i] -= 1.0


@inlined
def draw_labels(share, uniform, cumulative, labels, n):  # pragma: no cover - compiled
    """Take for each row the first component at which the cumulative share passes its number."""
    for i in range(n):
        cumulative[i] = 0.0
        labels[i] = 0
    for k in range(share.shape[0] - 1):
        row = share[k]
        for i in range(n):
            cumulative[i] += row[i]
            labels[i] += cumulative[i] <= uniform[i]


@inlined
def _sort(labels, stretch, order, n):  # pragma: no cover - compiled
    """Order the rows of a chunk by label; component k gets places stretch[k] to stretch[k + 1]."""
    for k in range(stretch.size):
        stretch[k] = 0
    for i in range(n):
        stretch[labels[i] + 1] += 1
    for k in range(1, stretch.size):
        stretch[k] += stretch[k - 1]
    for i in range(n):
        k = labels[i]
        order[stretch[k]] = i
        stretch[k] += 1
    # Every start has moved to its end, which is the start of the next.
    for k in range(stretch.size - 1, 0, -1):
        stretch[k] = stretch[k - 1]
    stretch[0] = 0


@inlined
def _add_few(rows, order, center, residual, first, second):  # pragma: no cover - compiled
    """Add the moments of the rows in `order` to one component's, sums written out."""
    n = order.size
    for j in range(rows.shape[0]):
        column, d, c = rows[j], residual[j], center[j]
        for i in range(n):
            d[i] = column[order[i]] - c
        sum_first = 0.0
        for i in range(n):
            sum_first += d[i]
        first[j] += sum_first
        for m in range(j + 1):
            other = residual[m]
            sum_second = 0.0
            for i in range(n):
                sum_second += d[i] * other[i]
            second[j, m] += sum_second


@inlined
def _add_many(
    x, order, origin, inverse_scale, center, residual, product, first, second
):  # pragma: no cover - compiled
    """Add the moments of the rows in `order` to one component's, the product by BLAS."""
    n = order.size
    own = residual[:n]
    for i in range(n):
        row, d = x[order[i]], own[i]
        for j in range(center.size):
            d[j] = (row[j] - origin[j]) * inverse_scale[j] - center[j]
            first[j] += d[j]
    np.dot(own.T, own, product)
    for j in range(center.size):
        for m in range(j + 1):
            second[j, m] += product[j, m]


def loop(n_features: int) -> Kernel:
    """Choose the faster kernel of the signature `PASS`, whose arguments `few_features` explains."""
    return few_features if n_features <= FEW_FEATURES else many_features


@kernel(PASS, fastmath=REASSOCIATE)
def few_features(
    x, times, start, key, origin, inverse_scale, offset, center, whitener,
    count, first, second, kept, log_normalizer,
):  # fmt: skip  # pragma: no cover - compiled
    """Run the pass over a block of rows with every sum written out.

    Shapes: x (n, D), origin, inverse_scale (D,), offset, center, whitener (K,), count, first,
    second (K,), kept (n,).

    Returned: the log normalizer with these rows.
    """
    n_rows, n_features = x.shape
    n_components = offset.size
    rows, residual = np.empty((n_features, CHUNK)), np.empty((n_features, CHUNK))
    log_rho = np.empty((n_components, CHUNK))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product, unweighted = np.empty(CHUNK // 32), np.empty(0)
    labels, order = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    stretch = np.empty(n_components + 1, np.int64)
    for low in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - low)
        turn(x[low : low + n], origin, inverse_scale, rows)
        for k in range(n_components):
            log_rho_few(rows, residual, scratch, offset[k], center[k], whitener[k], log_rho[k], n)
        log_normalizer += normalize(log_rho, unweighted, peak, total, product, scratch, n)
        uniforms(key, start + low, total[:n])
        draw_labels(log_rho, total, peak, labels, n)
        _sort(labels, stretch, order, n)
        for k in range(n_components):
            own = order[stretch[k] : stretch[k + 1]]
            count[k] += own.size
            _add_few(rows, own, center[k], residual, first[k], second[k])
        if kept.size:
            for i in range(n):
                kept[low + i] = labels[i]
    return log_normalizer


@kernel(PASS, fastmath=REASSOCIATE)
def many_features(
    x, times, start, key, origin, inverse_scale, offset, center, whitener,
    count, first, second, kept, log_normalizer,
):  # fmt: skip  # pragma: no cover - compiled
    """Run the pass with the products of matrices by BLAS; see `few_features`."""
    n_rows, n_features = x.shape
    n_components = offset.size
    rows, residual = np.zeros((n_features, CHUNK)), np.empty((n_features, CHUNK))
    turned = residual.reshape((CHUNK, n_features))
    panel, square = np.empty((PANEL, CHUNK)), np.empty((n_features, n_features))
    log_rho = np.empty((n_components, CHUNK))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product, unweighted = np.empty(CHUNK // 32), np.empty(0)
    labels, order = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    stretch = np.empty(n_components + 1, np.int64)
    panels = packed(whitener)
    for low in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - low)
        block = x[low : low + n]
        turn(block, origin, inverse_scale, rows)
        for k in range(n_components):
            log_rho_many(rows, residual, panel, offset[k], center[k], panels[k], log_rho[k])
        log_normalizer += normalize(log_rho, unweighted, peak, total, product, scratch, n)
        uniforms(key, start + low, total[:n])
        draw_labels(log_rho, total, peak, labels, n)
        _sort(labels, stretch, order, n)
        for k in range(n_components):
            own = order[stretch[k] : stretch[k + 1]]
            count[k] += own.size
            if own.size:
                _add_many(
                    block, own, origin, inverse_scale, center[k], turned, square, first[k],
                    second[k],
                )  # fmt: skip
        if kept.size:
            for i in range(n):
                kept[low + i] = labels[i]
    return log_normalizer
