r"""Many mixtures at many rows: the membership and the density of each row under each draw.

    r_nks = phi_ks N(x_n; mu_ks, Sigma_ks) / sum_j phi_js N(x_n; mu_js, Sigma_js)

A pass of EM has one mixture and runs over rows; here there are a thousand draws to each row, so
draws come last in memory and the inner loops run over them. At 64 features that still beats BLAS,
whose product with all whiteners at once has to go through memory. Arrays of n x K x S numbers are
made of the rows that are given: the caller cuts them into blocks. Every row is computed by itself,
so the blocks change nothing, to the last bit. Where entries are missing (nan), all of it is about
those that are observed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.kernels.fast_exp import SMALLEST, exp_in_place
from bayes_gmm.kernels.incomplete import fill, look, precisions, room_for_patterns, transposed
from bayes_gmm.kernels.kernel import c_order, inlined, kernel
from bayes_gmm.kernels.log_rho import CHUNK, REASSOCIATE, log_rho_few, turn
from bayes_gmm.kernels.signatures import MATRIX, OUT_MATRIX, OUT_STACK, OUT_VECTOR, STACK, STACKS
from bayes_gmm.model.missing import by_pattern
from bayes_gmm.model.parameters import Parameters

TILE = 128  # draws at a time, whose parameters stay in cache while rows pass by
FACTORS = 32  # of sums in [1, K]: their product overflows only beyond K = 10^9


class Ensemble(NamedTuple):
    """Mixtures of equal size, the draws in the last axis."""

    offset: np.ndarray  # (K, S)
    center: np.ndarray  # (K, D, S)
    whitener: np.ndarray  # (K, D, D, S), lower triangular

    @classmethod
    def of(cls, mixtures: Sequence[Parameters]) -> "Ensemble":
        """Stack mixtures."""
        parts = zip(*(mixture.log_quadratic() for mixture in mixtures), strict=True)
        return cls(*c_order(*(np.stack(part, axis=-1) for part in parts)))

    @property
    def n_components(self) -> int:
        """Number of components, K."""
        return self.offset.shape[0]

    @property
    def n_mixtures(self) -> int:
        """Number of mixtures, S."""
        return self.offset.shape[1]

    def membership(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Responsibilities of rows (n, D): (n, K, S), and the mean entropy of their labels (n,)."""
        shares = self._log_joint(x)
        entropy = np.empty(len(shares))
        _normalize(shares, entropy)
        return shares, entropy

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Evaluate log sum_k phi_k N(x; mu_k, Sigma_k) at rows (n, D): (n, S)."""
        log_joint = self._log_joint(x)
        log_density = np.empty((len(log_joint), self.n_mixtures))
        _log_sum_exp(log_joint, log_density)
        return log_density

    def _log_joint(self, x: np.ndarray) -> np.ndarray:
        """Log of phi_k N(x; mu_k, Sigma_k), (n, K, S)."""
        (x,) = c_order(x)
        log_joint = np.empty((len(x), *self.offset.shape))
        if not np.isnan(x).any():
            _log_joint(x, *self, log_joint)
            return log_joint
        order = by_pattern(x)
        draws_first = c_order(*(np.moveaxis(part, -1, 0) for part in self))
        _log_joint_of_observed(x[order], *draws_first, log_joint)
        unsorted = np.empty_like(log_joint)
        unsorted[order] = log_joint
        return unsorted


@kernel(types.void(MATRIX, MATRIX, STACK, STACKS, OUT_STACK), fastmath=REASSOCIATE)
def _log_joint(x, offset, center, whitener, log_joint):  # pragma: no cover - compiled
    """Write the log joint densities of rows x (n, D) into log_joint (n, K, S)."""
    n_rows, n_features = x.shape
    n_components, n_mixtures = offset.shape
    residual = np.empty((n_features, TILE))
    whitened, distance = np.empty(TILE), np.empty(TILE)
    for start in range(0, n_mixtures, TILE):
        n = min(TILE, n_mixtures - start)
        for k in range(n_components):
            level = offset[k, start : start + n]
            for i in range(n_rows):
                for s in range(n):
                    distance[s] = 0.0
                for j in range(n_features):
                    mean, last = center[k, j, start : start + n], residual[j]
                    for s in range(n):
                        last[s] = x[i, j] - mean[s]
                        whitened[s] = 0.0
                    for m in range(j + 1):
                        factor, d = whitener[k, j, m, start : start + n], residual[m]
                        for s in range(n):
                            whitened[s] += factor[s] * d[s]
                    for s in range(n):
                        distance[s] += whitened[s] * whitened[s]
                out = log_joint[i, k, start : start + n]
                for s in range(n):
                    out[s] = level[s] - 0.5 * distance[s]


@kernel(types.void(MATRIX, MATRIX, STACK, STACKS, OUT_STACK), fastmath=REASSOCIATE)
def _log_joint_of_observed(x, offset, center, whitener, log_joint):  # pragma: no cover - compiled
    """Write the log joint densities of what is observed of rows (n, D), draw after draw."""
    n_rows, n_features = x.shape
    n_mixtures, n_components = offset.shape
    origin, inverse_scale = np.zeros(n_features), np.ones(n_features)
    rows, filled = np.empty((n_features, CHUNK)), np.empty((n_features, CHUNK))
    residual, value = np.empty((n_features, CHUNK)), np.empty(CHUNK)
    change, scratch = np.empty(CHUNK), np.empty(CHUNK)
    room = room_for_patterns(CHUNK, n_features)
    roots = np.empty(CHUNK * n_features * (n_features + 1) // 2)
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        patterns = look(x[start : start + n], room)
        turn(x[start : start + n], origin, inverse_scale, rows)
        for s in range(n_mixtures):
            columns, precision = transposed(whitener[s]), precisions(whitener[s])
            for k in range(n_components):
                fill(rows, center[s, k], columns[k], precision[k], patterns, filled, change, roots)
                log_rho_few(
                    filled, residual, scratch, offset[s, k], center[s, k], whitener[s, k], value, n
                )
                for i in range(n):
                    log_joint[start + i, k, s] = value[i] + change[i]


@inlined
def _peaks(log_joint, i, start, n, peak):  # pragma: no cover - compiled
    """Find the largest component of row i under each of n draws."""
    value = log_joint[i, 0, start : start + n]
    for s in range(n):
        peak[s] = value[s]
    for k in range(1, log_joint.shape[1]):
        value = log_joint[i, k, start : start + n]
        for s in range(n):
            peak[s] = max(peak[s], value[s])


@kernel(types.void(OUT_STACK, OUT_VECTOR), fastmath=REASSOCIATE)
def _normalize(log_joint, entropy):  # pragma: no cover - compiled
    """Turn log_joint (n, K, S) into responsibilities and fill entropy (n,).

    With t_k = log rho_k - max_j log rho_j and T = sum_k exp(t_k), the entropy of the label is
    log T - sum_k t_k exp(t_k) / T. The log of a product of many sums T is one call of log where
    each would need its own.
    """
    n_rows, n_components, n_mixtures = log_joint.shape
    peak, total, cross = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    gap, scratch = np.empty(TILE), np.empty(TILE)
    for i in range(n_rows):
        sum_of_entropies = 0.0
        for start in range(0, n_mixtures, TILE):
            n = min(TILE, n_mixtures - start)
            _peaks(log_joint, i, start, n, peak)
            for s in range(n):
                total[s] = 0.0
                cross[s] = 0.0
            for k in range(n_components):
                value = log_joint[i, k, start : start + n]
                for s in range(n):
                    gap[s] = max(value[s] - peak[s], SMALLEST)
                    value[s] = gap[s]
                exp_in_place(value, scratch)
                for s in range(n):
                    total[s] += value[s]
                    cross[s] += gap[s] * value[s]
            for first in range(0, n, FACTORS):
                product = 1.0
                for s in range(first, min(first + FACTORS, n)):
                    product *= total[s]
                sum_of_entropies += np.log(product)
            for s in range(n):
                total[s] = 1.0 / total[s]
                sum_of_entropies -= cross[s] * total[s]
            for k in range(n_components):
                value = log_joint[i, k, start : start + n]
                for s in range(n):
                    value[s] *= total[s]
        entropy[i] = sum_of_entropies / n_mixtures


@kernel(types.void(OUT_STACK, OUT_MATRIX), fastmath=REASSOCIATE)
def _log_sum_exp(log_joint, log_density):  # pragma: no cover - compiled
    """Sum the components of log_joint (n, K, S), which is overwritten, into log_density (n, S)."""
    n_rows, n_components, n_mixtures = log_joint.shape
    peak, total, scratch = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    for i in range(n_rows):
        for start in range(0, n_mixtures, TILE):
            n = min(TILE, n_mixtures - start)
            _peaks(log_joint, i, start, n, peak)
            for s in range(n):
                total[s] = 0.0
            for k in range(n_components):
                value = log_joint[i, k, start : start + n]
                for s in range(n):
                    value[s] -= peak[s]
                exp_in_place(value, scratch)
                for s in range(n):
                    total[s] += value[s]
            out = log_density[i, start : start + n]
            for s in range(n):
                out[s] = peak[s] + np.log(total[s])
