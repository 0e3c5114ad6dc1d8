r"""The pass with sampled labels over groups of rows: missing entries are drawn with the labels.

Of n rows with one label, the sums over their observed entries are F = sum d_o and S = sum d_o d_o'.
Completed, a row is d_m = B d_o + e with e ~ N(0, C), so that the statistics need sum e, sum d_o e'
and sum e e', whatever n is. With

    [n F'; F S] = R R', R of rank r <= min(n, 1 + |o|)        G (r, |m|): rows iid N(0, C)

they are, as for normal errors of a regression,

    [sum e'; sum d_o e'] = R G         sum e e' = G'G + Wishart(n - r, C)

and jointly have the distribution of sums over rows that are completed one by one.
"""

import numpy as np
from numba import types

from bayes_gmm.kernels.groups import (
    GROUPS,
    Groups,
    add_completed,
    add_symmetric,
    given_observed,
    restricted,
)
from bayes_gmm.kernels.kernel import Kernel, at_address, inlined, kernel
from bayes_gmm.kernels.labels import PASS
from bayes_gmm.kernels.signatures import BITS, FUNCTIONS, REAL, SUMS, VECTOR, WHOLE

ROUNDING = 1e-13  # of a diagonal: a pivot this small is zero
look_at = at_address(PASS)
# The address of the pass over rows, groups, place of the first row, key of the sweep, random
# generator, origin and inverse scale, functions, sums, and the log normalizer so far.
GROUP_LOOK = REAL(
    WHOLE, GROUPS, WHOLE, BITS, types.npy_rng, VECTOR, VECTOR, *FUNCTIONS, *SUMS, REAL
)


def pass_over(groups: Groups) -> Kernel:
    """Choose the pass, `complete_rows` or `incomplete_rows`, of the signature `GROUP_LOOK`."""
    return complete_rows if groups.is_complete else incomplete_rows


@kernel(GROUP_LOOK)
def complete_rows(
    look_address, groups, start, key, rng, origin, inverse_scale, offset, center, whitener,
    count, first, second, log_normalizer,
):  # fmt: skip  # pragma: no cover - compiled
    """Run the pass where no entry is missing."""
    not_kept = np.empty(0, np.int64)
    rows = groups.values.reshape((groups.edges[1], groups.order.shape[1]))
    return look_at(look_address)(
        rows, groups.weights, start, key, origin, inverse_scale, offset, center, whitener,
        count, first, second, not_kept, log_normalizer,
    )  # fmt: skip


@kernel(GROUP_LOOK)
def incomplete_rows(
    look_address, groups, start, key, rng, origin, inverse_scale, offset, center, whitener,
    count, first, second, log_normalizer,
):  # fmt: skip  # pragma: no cover - compiled
    """Run the pass over every group, and complete its sums by draws."""
    look = look_at(look_address)
    n_components, n_features = center.shape
    not_kept = np.empty(0, np.int64)
    rotated = np.empty((n_components, n_features, n_features))
    place = 0
    for g in range(groups.widths.size):
        order, width = groups.order[g], groups.widths[g]
        low, high = groups.edges[g], groups.edges[g + 1]
        size = (high - low) * width
        rows = groups.values[place : place + size].reshape((high - low, width))
        weights = groups.weights[low:high] if groups.weights.size else groups.weights
        place += size
        own_origin, own_scale = np.empty(width), np.empty(width)
        for j in range(width):
            own_origin[j], own_scale[j] = origin[order[j]], inverse_scale[order[j]]
        own_offset, own_center, own_whitener = restricted(
            offset, center, whitener, order, width, rotated
        )
        own_count = np.zeros(n_components)
        own_first = np.zeros((n_components, width))
        own_second = np.zeros((n_components, width, width))
        log_normalizer = look(
            rows, weights, start + low, key, own_origin, own_scale,
            own_offset, own_center, own_whitener, own_count, own_first, own_second,
            not_kept, log_normalizer,
        )  # fmt: skip
        for k in range(n_components):
            n = own_count[k]
            if n > 0:
                count[k] += n
                slope, root = given_observed(rotated[k], width)
                add_completed(order, width, slope, own_first[k], own_second[k], first[k], second[k])
                add_drawn(
                    rng, n, order, width, slope, root, own_first[k], own_second[k],
                    first[k], second[k],
                )  # fmt: skip
    return log_normalizer


@inlined
def add_drawn(
    rng, n, order, width, slope, root, own_first, own_second, first, second
):  # pragma: no cover - compiled
    """Add to the completed sums of one component what the e of its n rows contribute."""
    n_missing = len(slope)
    factor, rank = factored(n, own_first, own_second)
    drawn = np.zeros((1 + width, n_missing))
    squares = np.zeros((n_missing, n_missing))
    for i in range(1 + width):
        if factor[i, i] > 0.0:
            for j in range(n_missing):
                drawn[i, j] = rng.standard_normal()
    for i in range(n_missing):
        for j in range(i + 1):
            for r in range(1 + width):
                squares[i, j] += drawn[r, i] * drawn[r, j]
    add_wishart(rng, n - rank, squares)
    # in units of the root of C so far: e = root g
    of_rows = np.zeros((1 + width, n_missing))  # R G
    for i in range(1 + width):
        for j in range(n_missing):
            for m in range(j + 1):
                entry = 0.0
                for r in range(i + 1):
                    entry += factor[i, r] * drawn[r, m]
                of_rows[i, j] += root[j, m] * entry
    for i in range(n_missing):
        first[order[width + i]] += of_rows[0, i]
        for j in range(width):
            add_symmetric(second, order[width + i], order[j], of_rows[1 + j, i])
        for j in range(i + 1):
            entry = 0.0
            for a in range(i + 1):
                for b in range(j + 1):
                    entry += root[i, a] * squares[max(a, b), min(a, b)] * root[j, b]
            for m in range(width):
                entry += slope[i, m] * of_rows[1 + m, j] + slope[j, m] * of_rows[1 + m, i]
            add_symmetric(second, order[width + i], order[width + j], entry)


@inlined
def factored(n, first, second):  # pragma: no cover - compiled
    """Triangle R with R R' = [n F'; F S], columns of zero where it is singular; and its rank."""
    size = 1 + first.size
    factor = np.zeros((size, size))
    rank = 0
    for j in range(size):
        for i in range(j, size):
            if j == 0:
                entry = n if i == 0 else first[i - 1]
            else:
                entry = second[i - 1, j - 1]
            whole = entry
            for m in range(j):
                entry -= factor[i, m] * factor[j, m]
            if i == j:
                # n rows have a rank of at most n, whatever rounding leaves
                if rank >= n or not entry > ROUNDING * whole:
                    break
                factor[j, j] = np.sqrt(entry)
                rank += 1
            else:
                factor[i, j] = entry / factor[j, j]
    return factor, rank


@inlined
def add_wishart(rng, degrees, squares):  # pragma: no cover - compiled
    """Add a draw of Wishart(degrees, I), of any whole degrees, to a lower triangle."""
    size = len(squares)
    triangle = np.zeros((size, size))
    if degrees >= size:  # Bartlett's decomposition
        for i in range(size):
            for j in range(i):
                triangle[i, j] = rng.standard_normal()
            triangle[i, i] = np.sqrt(2.0 * rng.standard_gamma(0.5 * (degrees - i)))
    else:
        for j in range(int(degrees)):
            for i in range(size):
                triangle[i, j] = rng.standard_normal()
    for i in range(size):
        for j in range(i + 1):
            for m in range(size):
                squares[i, j] += triangle[i, m] * triangle[j, m]
