r"""The pass with sampled labels of rows that were seen several times: a label for each copy.

    (c_n1, ..., c_nK) ~ Multinomial(w_n; rho_n1 / sum_j rho_nj, ...)
    count_k = sum_n c_nk     first_k = sum_n c_nk d     second_k = sum_n c_nk d d'

How many copies of a row take which label is all that the statistics need of their labels, and is
drawn as it is, component after component, by binomials of the copies that are left. So a row costs
no more for having been seen more often. The rest is the pass of EM with these counts in the place
of responsibilities.

The counts of row n in sweep s are a function of (key, s, n), whatever chunks and blocks are.
"""

from math import lgamma

import numpy as np
from numba import types

from bayes_gmm.kernels.kernel import inlined, kernel
from bayes_gmm.kernels.labels import GOLDEN, PASS, S12, hashed
from bayes_gmm.kernels.log_rho import (
    CHUNK,
    PANEL,
    REASSOCIATE,
    log_rho_either,
    normalize,
    packed,
    turn,
)
from bayes_gmm.kernels.signatures import BITS, OUT_MATRIX, REAL, VECTOR, WHOLE
from bayes_gmm.kernels.weighted_sums import add_either

MOST = 2.0**31  # copies of a row: of more, factorials would cost ratios their fifth digit
EXPECTED = 10.0  # successes, from which a binomial is drawn by rejection
STEP = 2.0**-52
STREAM = types.Array(BITS, 1, "C")


@inlined
def uniform(stream):  # pragma: no cover - compiled
    """Give the next uniform number in [0, 1) of a stream, by SplitMix64."""
    stream[0] += GOLDEN
    return np.float64(hashed(stream[0]) >> S12) * STEP


@kernel(REAL(STREAM, REAL, REAL, REAL))
def binomial(stream, n, p, q):  # pragma: no cover - compiled
    """Draw from Binomial(n, p), q = 1 - p; of n whole and at most `MOST`.

    Few expected successes are counted up (inversion); many are drawn by transformed rejection
    (BTRS; Hörmann, 1993, J. Stat. Comput. Simul. 46).
    """
    if n == 0.0 or p <= 0.0:
        return 0.0
    if q <= 0.0:
        return n
    if p > q:
        return n - _of_the_rarer(stream, n, q, p)
    return _of_the_rarer(stream, n, p, q)


@inlined
def _of_the_rarer(stream, n, p, q):  # pragma: no cover - compiled
    """Draw from Binomial(n, p) with p at most 1/2."""
    odds = p / q
    if n * p < EXPECTED:
        probability, left, drawn = np.exp(n * np.log1p(-p)), uniform(stream), 0.0
        while left >= probability and drawn < n:
            left -= probability
            drawn += 1.0
            probability *= odds * (n - drawn + 1.0) / drawn
        return drawn
    sd = np.sqrt(n * p * q)
    b = 1.15 + 2.53 * sd
    a = -0.0873 + 0.0248 * b + 0.01 * p
    middle, mode = n * p + 0.5, np.floor((n + 1.0) * p)
    squeeze, alpha = 0.92 - 4.2 / b, (2.83 + 5.1 / b) * sd
    log_odds = np.log(odds)
    height = lgamma(mode + 1.0) + lgamma(n - mode + 1.0)
    while True:
        u, v = uniform(stream) - 0.5, uniform(stream)
        us = 0.5 - abs(u)
        drawn = np.floor((2.0 * a / us + b) * u + middle)
        if us >= 0.07 and v <= squeeze:
            return drawn
        if 0.0 <= drawn <= n:
            bound = height - lgamma(drawn + 1.0) - lgamma(n - drawn + 1.0)
            if np.log(v * alpha / (a / (us * us) + b)) <= bound + (drawn - mode) * log_odds:
                return drawn


@kernel(types.void(BITS, WHOLE, VECTOR, OUT_MATRIX))
def allot(key, start, times, share):  # pragma: no cover - compiled
    """Draw how many of the copies (n,) of each row take which label: share (K, >= n)."""
    last = share.shape[0] - 1
    rest, stream = np.empty(last + 1), np.empty(1, np.uint64)
    place = key + np.uint64(start) * GOLDEN
    for i in range(times.size):
        # Probabilities among the labels that are left, summed from the end to lose no digit.
        rest[last] = share[last, i]
        for k in range(last - 1, -1, -1):
            rest[k] = rest[k + 1] + share[k, i]
        left, stream[0] = times[i], hashed(place + np.uint64(i + 1) * GOLDEN)
        for k in range(last):
            drawn = 0.0
            if left > 0.0:
                drawn = binomial(stream, left, share[k, i] / rest[k], rest[k + 1] / rest[k])
            share[k, i] = drawn
            left -= drawn
        share[last, i] = left


def can_count(weights: np.ndarray) -> np.ndarray:
    """Say of each weight (N,) whether it is a number of copies that can be drawn."""
    return (weights == np.rint(weights)) & (weights <= MOST)


@kernel(PASS, fastmath=REASSOCIATE)
def counted_rows(
    x, times, start, key, origin, inverse_scale, offset, center, whitener,
    count, first, second, kept, log_normalizer,
):  # fmt: skip  # pragma: no cover - compiled
    """Run the pass over a block of rows; see `labels.few_features`.

    Nothing is kept: the copies of a row have no one label.
    """
    n_rows, n_features = x.shape
    n_components = offset.size
    # Whole chunks, so that a shorter block at the end has the same sums to the last bit.
    rows, residual = np.zeros((n_features, CHUNK)), np.empty((n_features, CHUNK))
    panel, square = np.empty((PANEL, CHUNK)), np.empty(PANEL * n_features)
    share = np.empty((n_components, CHUNK))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    panels = packed(whitener)
    for low in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - low)
        seen = times[low : low + n]
        turn(x[low : low + n], origin, inverse_scale, rows)
        for k in range(n_components):
            log_rho_either(
                rows, residual, scratch, panel, offset[k], center[k], whitener[k], panels[k],
                share[k], n,
            )  # fmt: skip
        log_normalizer += normalize(share, seen, peak, total, product, scratch, n)
        allot(key, start + low, seen, share)
        for k in range(n_components):
            count[k] += add_either(
                rows, residual, scratch, panel, square, share[k], center[k], first[k], second[k], n
            )
    return log_normalizer
