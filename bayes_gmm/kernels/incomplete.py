r"""The pass over rows in which entries are missing (nan): marginal densities, completed statistics.

With the columns of a component's whitener W for missing features, W_m = Q R, Q'Q = I, and those
for observed ones, W_o, a row x_o with d_o = x_o - c_o has

    |W d|^2 = |R (d_m - B d_o)|^2 + rest(d_o),        B = -R^-1 Q' W_o,

so that x_m given x_o and the label is normal about c_m + B d_o with covariance C = (R'R)^-1, and
integrating it out leaves the value at that mean, with another offset:

    log rho_o(x_o) = log rho(x_o, c_m + B d_o) + |m|/2 log 2 pi - log|R|

So each component fills the rows of a chunk with its conditional means, and what follows is the pass
over complete rows; only the second moments still lack what the missing entries vary by themselves,
N C. Neighbours that lack the same entries are filled together.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types

from bayes_gmm.kernels.kernel import inlined, kernel
from bayes_gmm.kernels.log_rho import (
    CHUNK,
    FEW_FEATURES,
    PANEL,
    REASSOCIATE,
    log_rho_either,
    normalize,
    packed,
    turn,
)
from bayes_gmm.kernels.signatures import (
    MATRIX,
    NUMBERS,
    OUT_MATRIX,
    OUT_VECTOR,
    PASS,
    TABLE_OF_NUMBERS,
    VECTOR,
)
from bayes_gmm.kernels.weighted_sums import add_either, mirror
from bayes_gmm.model.normal import LOG_2PI


class Patterns(NamedTuple):
    """Stretches of rows that lack the same entries.

    Shapes: features (P, D), of each stretch the missing ones, then those observed, both ascending;
    n_missing (P,), how many are missing; edges (P + 1,), where the stretches begin.
    """

    features: Any
    n_missing: Any
    edges: Any


@kernel(PASS, fastmath=REASSOCIATE)
def incomplete_rows(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass; adds to count, first and second."""
    n_rows, n_features = x.shape
    n_components = offset.size
    width = CHUNK if n_features <= FEW_FEATURES else min(CHUNK, n_rows)
    rows, residual = np.zeros((n_features, width)), np.empty((n_features, width))
    filled = np.zeros((n_components, n_features, width))
    panel, square = np.empty((PANEL, width)), np.empty(PANEL * n_features)
    log_rho = np.empty((n_components, width))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    panels = packed(whitener)
    columns, precision = transposed(whitener), precisions(whitener)
    room = room_for_patterns(width, n_features)
    roots = np.empty((n_components, width * n_features * (n_features + 1) // 2))
    covariance = np.empty((n_features, n_features))
    log_normalizer = 0.0
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        patterns = look(x[start : start + n], room)
        turn(x[start : start + n], origin, inverse_scale, rows)
        for k in range(n_components):
            value = log_rho[k]
            fill(rows, center[k], columns[k], precision[k], patterns, filled[k], scratch, roots[k])
            log_rho_either(
                filled[k], residual, peak, panel, offset[k], center[k], whitener[k], panels[k],
                value, n,
            )  # fmt: skip
            for i in range(n):
                value[i] += scratch[i]
        log_normalizer += normalize(
            log_rho, weights[start : start + n], peak, total, product, scratch, n
        )
        for k in range(n_components):
            add_own(log_rho[k], patterns, roots[k], covariance, second[k])
            count[k] += add_either(
                filled[k], residual, scratch, panel, square, log_rho[k], center[k], first[k],
                second[k], n,
            )  # fmt: skip
    mirror(second)
    return log_normalizer


@inlined
def transposed(whitener):  # pragma: no cover - compiled
    """Whiteners (K, D, D) with their columns as rows."""
    columns = np.empty_like(whitener)
    for k in range(whitener.shape[0]):
        for i in range(whitener.shape[1]):
            for j in range(whitener.shape[1]):
                columns[k, j, i] = whitener[k, i, j]
    return columns


@inlined
def room_for_patterns(n_rows, n_features):  # pragma: no cover - compiled
    """Memory for the patterns of so many rows."""
    return Patterns(
        np.empty((n_rows, n_features), np.int64),
        np.empty(n_rows, np.int64),
        np.empty(n_rows + 1, np.int64),
    )


@inlined
def look(x, room):  # pragma: no cover - compiled
    """Find the stretches of rows that lack the same entries."""
    features, n_missing, edges = room
    n_rows, n_features = x.shape
    n_patterns = 0
    for i in range(n_rows):
        same = i > 0
        for j in range(n_features):
            same = same and np.isnan(x[i, j]) == np.isnan(x[i - 1, j])
        if same:
            continue
        edges[n_patterns] = i
        place = 0
        for j in range(n_features):
            if np.isnan(x[i, j]):
                features[n_patterns, place] = j
                place += 1
        n_missing[n_patterns] = place
        for j in range(n_features):
            if not np.isnan(x[i, j]):
                features[n_patterns, place] = j
                place += 1
        n_patterns += 1
    edges[n_patterns] = n_rows
    return Patterns(features[:n_patterns], n_missing[:n_patterns], edges[: n_patterns + 1])


FEW_DIGITS = 1e-5  # what may be left of a pivot

PATTERNS = types.BaseTuple.from_types((TABLE_OF_NUMBERS, NUMBERS, NUMBERS), Patterns)
FILL = types.void(MATRIX, VECTOR, MATRIX, MATRIX, PATTERNS, OUT_MATRIX, OUT_VECTOR, OUT_VECTOR)


@kernel(FILL, fastmath=REASSOCIATE)
def fill(
    rows, center, columns, precision, patterns, filled, change, roots
):  # pragma: no cover - compiled
    """Fill rows (D, n) by one component's conditional means; write the change of its log rho (n,).

    R^-1 of each stretch is kept in `roots`, upper triangles row by row.
    """
    features, n_missing, edges = patterns
    n_features, n_patterns = len(center), len(n_missing)
    n = edges[n_patterns]
    q, r = np.empty((n_features, n_features)), np.empty((n_features, n_features))
    slope = np.empty((n_features, n_features))
    place = 0
    for j in range(n_features):
        for i in range(n):
            filled[j, i] = rows[j, i]
    for p in range(n_patterns):
        missing, own = n_missing[p], features[p]
        low, high = edges[p], edges[p + 1]
        well = factored(precision, own, missing, r)
        if not well:
            orthogonalized(columns, own, missing, q, r)
        log_det = 0.0
        for i in range(missing):
            log_det += np.log(r[i, i])
        for i in range(low, high):
            change[i] = 0.5 * missing * LOG_2PI - log_det
        if missing == 0:
            continue
        # Q' W_o = R^-T (W'W)_mo, column by column
        for j in range(missing, n_features):
            column, given = columns[own[j]], precision[own[j]]
            for i in range(missing):
                entry = 0.0
                if well:
                    entry = given[own[i]]
                    for m in range(i):
                        entry -= r[m, i] * slope[m, j]
                    entry /= r[i, i]
                else:
                    for m in range(own[j], n_features):
                        entry += q[i, m] * column[m]
                slope[i, j] = entry
        # R^-1 in the place of R, from the last row up
        for i in range(missing - 1, -1, -1):
            r[i, i] = 1.0 / r[i, i]
            for j in range(missing - 1, i, -1):
                entry = 0.0
                for m in range(i + 1, j + 1):
                    entry += r[i, m] * r[m, j]
                r[i, j] = -r[i, i] * entry
        # B = -R^-1 Q' W_o
        for i in range(missing):
            for j in range(missing, n_features):
                entry = 0.0
                for m in range(i, missing):
                    entry += r[i, m] * slope[m, j]
                slope[i, j] = -entry
        for i in range(missing):
            out = filled[own[i]]
            for t in range(low, high):
                out[t] = center[own[i]]
            for j in range(missing, n_features):
                b, given, c = slope[i, j], rows[own[j]], center[own[j]]
                for t in range(low, high):
                    out[t] += b * (given[t] - c)
            for j in range(i, missing):
                roots[place] = r[i, j]
                place += 1


@inlined
def precisions(whitener):  # pragma: no cover - compiled
    """W'W of each component, (K, D, D)."""
    n_features = whitener.shape[1]
    precision = np.zeros_like(whitener)
    for k in range(whitener.shape[0]):
        for m in range(n_features):
            row = whitener[k, m]
            for i in range(m + 1):
                for j in range(m + 1):
                    precision[k, i, j] += row[i] * row[j]
    return precision


@inlined
def factored(precision, own, missing, r):  # pragma: no cover - compiled
    """Write R, upper triangular with R'R = (W'W)_mm; say whether that lost few digits."""
    for j in range(missing):
        for i in range(j + 1):
            entry = precision[own[i], own[j]]
            whole = entry
            for m in range(i):
                entry -= r[m, i] * r[m, j]
            if i < j:
                r[i, j] = entry / r[i, i]
            elif entry > FEW_DIGITS * whole:
                r[j, j] = np.sqrt(entry)
            else:
                return False
    return True


@inlined
def orthogonalized(columns, own, missing, q, r):  # pragma: no cover - compiled
    """Q (rows of q) and R of the columns of missing features, by modified Gram-Schmidt, twice.

    It does not square the condition of W. The second round leaves Q orthogonal to rounding.
    """
    n_features = len(columns)
    for i in range(missing):
        vector = q[i]
        for m in range(n_features):
            vector[m] = columns[own[i], m]
        for j in range(i):
            r[j, i] = 0.0
        for _ in range(2):
            for j in range(i):
                entry = 0.0
                for m in range(n_features):
                    entry += q[j, m] * vector[m]
                r[j, i] += entry
                for m in range(n_features):
                    vector[m] -= entry * q[j, m]
        square = 0.0
        for m in range(n_features):
            square += vector[m] * vector[m]
        r[i, i] = np.sqrt(square)
        for m in range(n_features):
            vector[m] /= r[i, i]


@inlined
def add_own(share, patterns, roots, covariance, second):  # pragma: no cover - compiled
    """Add what missing entries vary by themselves, C times the rows of each stretch."""
    features, n_missing, edges = patterns
    place = 0
    for p in range(len(n_missing)):
        missing, own = n_missing[p], features[p]
        if missing == 0:
            continue
        mass = 0.0
        for i in range(edges[p], edges[p + 1]):
            mass += share[i]
        # C = R^-1 R^-T; its lower triangle, of which row i of R^-1 holds places i .. missing - 1
        begin = place
        for i in range(missing):
            other = begin
            for j in range(i + 1):
                entry = 0.0
                for m in range(i, missing):
                    entry += roots[place + m - i] * roots[other + m - j]
                covariance[i, j] = entry
                other += missing - j
            place += missing - i
        for i in range(missing):
            for j in range(i + 1):
                second[own[i], own[j]] += mass * covariance[i, j]
