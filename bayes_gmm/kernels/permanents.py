r"""Permanents of small matrices of positive numbers, given by their logarithms.

    perm A = sum over permutations s of prod_k A[k, s(k)]

is what a product of K factors becomes if it is summed over all K! orders of its components. The sum
over the first k rows and each set of k columns takes K 2^K operations, and no term is negative:

    F(set) = sum over j in set of A[|set| - 1, j] F(set without j),        perm A = F(all columns)

(Held & Karp's recursion over sets, with sums for minima.)
"""

import numpy as np
from numba import types

from bayes_gmm.kernels.kernel import c_order, kernel
from bayes_gmm.kernels.signatures import OUT_VECTOR, STACK

MOST = 10  # rows: of more, a permanent takes longer than about 10 microseconds


def log_permanents(log_entries: np.ndarray) -> np.ndarray:
    """Logarithms of the permanents of matrices (n, K, K) given by the logarithms of their entries.

    Rows and columns are scaled to a largest entry of one. A permanent below the smallest float64 is
    then minus infinity: every permutation meets entries that much below their row's largest.

    Shapes: -> (n,).
    """
    result = np.empty(len(log_entries))
    _log_permanents(*c_order(log_entries), result)
    return result


@kernel(types.void(STACK, OUT_VECTOR))
def _log_permanents(log_entries, result):  # pragma: no cover - compiled
    """Write the logarithms of the permanents of (n, K, K)."""
    n, size = log_entries.shape[:2]
    n_sets = 1 << size
    total = np.empty(n_sets)
    entry = np.empty((size, size))
    bits = np.zeros(n_sets, np.int64)  # how many columns a set has
    for columns in range(1, n_sets):
        bits[columns] = bits[columns >> 1] + (columns & 1)
    for i in range(n):
        log_scale = 0.0
        for k in range(size):
            largest = log_entries[i, k].max()
            log_scale += largest
            for j in range(size):
                entry[k, j] = log_entries[i, k, j] - largest
        for j in range(size):
            largest = entry[:, j].max()
            log_scale += largest
            for k in range(size):
                entry[k, j] = np.exp(entry[k, j] - largest)
        total[0] = 1.0
        for columns in range(1, n_sets):
            row, found = bits[columns] - 1, 0.0
            for j in range(size):
                if columns >> j & 1:
                    found += entry[row, j] * total[columns ^ (1 << j)]
            total[columns] = found
        result[i] = log_scale + np.log(total[n_sets - 1])
