r"""The pass with sampled labels over rows in which entries are missing: both are drawn.

    z_n by the marginal responsibilities of x_o;  x_m = c_m + B d_o + e,  e = R^-1 g,  g ~ N(0, I)

`incomplete` explains B and R. Of c copies of a row with one label, the sums need the mean of their
e and the scatter about it, R^-1 g / sqrt(c) and R^-1 V R^-T with V ~ Wishart(c - 1, I), whatever c
is. The random numbers of row n are a function of (key, sweep, n), as in `labels`.
"""

import numpy as np
from numba import types

from bayes_gmm.kernels.incomplete import (
    PATTERNS,
    fill,
    look,
    precisions,
    room_for_patterns,
    transposed,
)
from bayes_gmm.kernels.kernel import inlined, kernel
from bayes_gmm.kernels.label_counts import STREAM, allot, uniform
from bayes_gmm.kernels.labels import GOLDEN, PASS, draw_labels, hashed, uniforms
from bayes_gmm.kernels.log_rho import (
    CHUNK,
    PANEL,
    REASSOCIATE,
    log_rho_either,
    normalize,
    packed,
    turn,
)
from bayes_gmm.kernels.signatures import (
    BITS,
    OUT_MATRIX,
    OUT_VECTOR,
    REAL,
    VECTOR,
    WHOLE,
)
from bayes_gmm.kernels.weighted_sums import add_either

NORMALS = np.uint64(0xD1B54A32D192ED03)  # tells the normals of a row from what draws its label


@kernel(PASS, fastmath=REASSOCIATE)
def incomplete_labels(
    x, times, start, key, origin, inverse_scale, offset, center, whitener,
    count, first, second, kept, log_normalizer,
):  # fmt: skip  # pragma: no cover - compiled
    """Run the pass over a block of rows; see `labels.few_features`."""
    n_rows, n_features = x.shape
    n_components = offset.size
    rows, residual = np.zeros((n_features, CHUNK)), np.empty((n_features, CHUNK))
    filled = np.zeros((n_components, n_features, CHUNK))
    panel, square = np.empty((PANEL, CHUNK)), np.empty(PANEL * n_features)
    share, labels = np.empty((n_components, CHUNK)), np.empty(CHUNK, np.int64)
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    panels = packed(whitener)
    columns, precision = transposed(whitener), precisions(whitener)
    room = room_for_patterns(CHUNK, n_features)
    roots = np.empty((n_components, CHUNK * n_features * (n_features + 1) // 2))
    for low in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - low)
        seen = times[low : low + n] if times.size else times
        patterns = look(x[low : low + n], room)
        turn(x[low : low + n], origin, inverse_scale, rows)
        for k in range(n_components):
            fill(rows, center[k], columns[k], precision[k], patterns, filled[k], scratch, roots[k])
            log_rho_either(
                filled[k], residual, peak, panel, offset[k], center[k], whitener[k], panels[k],
                share[k], n,
            )  # fmt: skip
            for i in range(n):
                share[k, i] += scratch[i]
        log_normalizer += normalize(share, seen, peak, total, product, scratch, n)
        # From here on share (K, n) is how many copies of each row have each label.
        if times.size:
            allot(key, start + low, seen, share)
        else:
            uniforms(key, start + low, total[:n])
            draw_labels(share, total, peak, labels, n)
            for k in range(n_components):
                for i in range(n):
                    share[k, i] = 1.0 if labels[i] == k else 0.0
        for k in range(n_components):
            complete(key, start + low, k, share[k], patterns, roots[k], filled[k], second[k])
            count[k] += add_either(
                filled[k], residual, scratch, panel, square, share[k], center[k], first[k],
                second[k], n,
            )  # fmt: skip
        if kept.size:
            for i in range(n):
                kept[low + i] = labels[i]
    return log_normalizer


@kernel(types.void(BITS, WHOLE, WHOLE, VECTOR, PATTERNS, VECTOR, OUT_MATRIX, OUT_MATRIX))
def complete(key, start, k, copies, patterns, roots, filled, second):  # pragma: no cover - compiled
    """Draw the missing entries of rows that have copies with label k; add the copies' scatter."""
    features, n_missing, edges = patterns
    n_features = len(filled)
    stream = np.empty(1, np.uint64)
    g, triangle = np.empty(n_features + 1), np.empty((n_features, n_features))
    place = 0
    for p in range(len(n_missing)):
        missing, own = n_missing[p], features[p]
        for i in range(edges[p], edges[p + 1] if missing else edges[p]):
            if copies[i] == 0.0:
                continue
            of_row = hashed((key ^ NORMALS) + np.uint64(start + i + 1) * GOLDEN)
            stream[0] = hashed(of_row + np.uint64(k))
            normals(stream, g, missing)
            row = place
            for a in range(missing):
                entry = 0.0
                for b in range(a, missing):
                    entry += roots[row + b - a] * g[b]
                row += missing - a
                filled[own[a], i] += entry / np.sqrt(copies[i])
            if copies[i] > 1.0:
                wishart_root(stream, copies[i] - 1.0, missing, g, triangle)
                add_scatter(roots, place, own, missing, triangle, second)
        place += missing * (missing + 1) // 2


@inlined
def normals(stream, g, n):  # pragma: no cover - compiled
    """Fill g[:n] with standard normal numbers, two at a time (Marsaglia & Bray's polar method)."""
    for i in range(0, n, 2):
        square, a, b = 1.0, 0.0, 0.0
        while square >= 1.0 or square == 0.0:
            a, b = 2.0 * uniform(stream) - 1.0, 2.0 * uniform(stream) - 1.0
            square = a * a + b * b
        radius = np.sqrt(-2.0 * np.log(square) / square)
        g[i] = radius * a
        g[i + 1] = radius * b


@kernel(types.void(STREAM, REAL, WHOLE, OUT_VECTOR, OUT_MATRIX))
def wishart_root(stream, degrees, size, g, triangle):  # pragma: no cover - compiled
    """Draw T with T T' ~ Wishart(degrees, I), of any whole degrees: Bartlett, or normal columns."""
    for i in range(size):
        for j in range(size):
            triangle[i, j] = 0.0
    for i in range(size):
        n_columns = min(i, int(degrees)) if degrees >= size else min(size, int(degrees))
        normals(stream, g, n_columns)
        for j in range(n_columns):
            triangle[i, j] = g[j]
        if degrees >= size:
            triangle[i, i] = np.sqrt(2.0 * gamma(stream, 0.5 * (degrees - i)))


@inlined
def gamma(stream, shape):  # pragma: no cover - compiled
    """Draw from Gamma(shape, 1) by the method of Marsaglia & Tsang (2000), shape >= 1/2."""
    g = np.empty(2)
    boost = 1.0
    if shape < 1.0:  # Gamma(shape + 1) times U^(1 / shape)
        boost = (1.0 - uniform(stream)) ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    while True:
        normals(stream, g, 1)
        v = (1.0 + c * g[0]) ** 3
        if v > 0.0:
            bound = 0.5 * g[0] ** 2 + d - d * v + d * np.log(v)
            if np.log(1.0 - uniform(stream)) < bound:
                return boost * d * v


@inlined
def add_scatter(roots, place, own, missing, triangle, second):  # pragma: no cover - compiled
    """Add R^-1 T T' R^-T to the lower triangle of a second moment."""
    product = np.zeros((missing, missing))
    row = place
    for i in range(missing):
        for j in range(missing):
            for m in range(i, missing):
                product[i, j] += roots[row + m - i] * triangle[m, j]
        row += missing - i
    for i in range(missing):
        for j in range(i + 1):
            for m in range(missing):
                second[own[i], own[j]] += product[i, m] * product[j, m]
