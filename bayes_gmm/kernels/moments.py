"""Sufficient statistics as one flat vector of raw moments, a space in which they can be mixed.

Statistics are about the current means, which move; moments about the origin are linear in the
responsibilities, so that a combination of several is again the statistics of some responsibilities.
"""

import numpy as np
from numba import types

from bayes_gmm.kernels.kernel import c_order, kernel
from bayes_gmm.kernels.signatures import FLAG, FUNCTIONS, MATRIX, OUT_VECTOR, SUMS, VECTOR
from bayes_gmm.model.statistics import SufficientStatistics


def flatten(statistics: SufficientStatistics, diagonal: bool = False) -> np.ndarray:
    """Count, first and second moment about the origin of all components, one after another."""
    s = statistics
    return _flatten(*c_order(s.count, s.first, s.second, s.center), diagonal)


def restore(flat: np.ndarray, center: np.ndarray, diagonal: bool = False) -> SufficientStatistics:
    """Statistics about given centers (K, D); a mixture of passes has no log normalizer."""
    count, first, second = _restore(*c_order(flat, center), diagonal)
    return SufficientStatistics(np.nan, count, first, second, center)


@kernel(OUT_VECTOR(*FUNCTIONS, MATRIX, FLAG))
def _flatten(count, first, second, center, diagonal):  # pragma: no cover - compiled
    n_components, n_features = center.shape
    n_moments = n_features if diagonal else n_features * (n_features + 1) // 2
    flat = np.empty(n_components * (1 + n_features + n_moments))
    place = 0
    for k in range(n_components):
        flat[place] = count[k]
        place += 1
        for i in range(n_features):
            flat[place] = first[k, i] + count[k] * center[k, i]
            place += 1
        for i in range(n_features):
            for j in range(i if diagonal else 0, i + 1):
                flat[place] = (
                    second[k, i, j]
                    + first[k, i] * center[k, j]
                    + center[k, i] * first[k, j]
                    + count[k] * center[k, i] * center[k, j]
                )
                place += 1
    return flat


@kernel(types.Tuple(SUMS)(VECTOR, MATRIX, FLAG))
def _restore(flat, center, diagonal):  # pragma: no cover - compiled
    n_components, n_features = center.shape
    count = np.empty(n_components)
    first = np.empty((n_components, n_features))
    second = np.zeros((n_components, n_features, n_features))
    place = 0
    for k in range(n_components):
        count[k] = flat[place]
        place += 1
        for i in range(n_features):
            first[k, i] = flat[place] - count[k] * center[k, i]
            place += 1
        for i in range(n_features):
            for j in range(i if diagonal else 0, i + 1):
                moment = (
                    flat[place]
                    - first[k, i] * center[k, j]
                    - center[k, i] * first[k, j]
                    - count[k] * center[k, i] * center[k, j]
                )
                second[k, i, j] = moment
                second[k, j, i] = moment
                place += 1
    return count, first, second
