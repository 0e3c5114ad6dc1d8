"""Log posterior density and gradient of `model.free_coordinates`, compiled, in one call.

A sampler asks for them thousands of times a second, from threads of its own. So everything from
free coordinates to gradient, the pass over the rows included, is one compiled function without the
GIL that a sampler outside Python calls by its address. Data, prior and the address of the pass
reach it as one block of numbers.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import carray, cfunc, types

from bayes_gmm.data import Observations
from bayes_gmm.kernels.cpu import loop
from bayes_gmm.kernels.kernel import inlined
from bayes_gmm.kernels.rows import pass_at, sorted_blocks
from bayes_gmm.model.free_coordinates import FreeCoordinates
from bayes_gmm.model.normal import LOG_2PI

HEADER = 6  # N, D, K, number of row weights, constant, address of the pass
NOT_FINITE = 1  # the status where the density has no value: to a sampler, a divergence


class FreePrior(NamedTuple):
    """The prior as `FreeCoordinates` writes it: (K,), (K,), (K, D), (K, D), (K, D, D)."""

    concentration: Any
    precision: Any
    mean: Any
    degrees: Any
    scale_whitener: Any


class FreePoint(NamedTuple):
    """Free coordinates taken apart: (K,), (K, D), (K, D, D)."""

    log_weights: Any
    log_diagonal: Any
    triangle: Any


class LogPosterior:
    """Log posterior density of free coordinates, data and prior closed over."""

    def __init__(self, observations: Observations, coordinates: FreeCoordinates):
        prior, complete = coordinates.prior, observations.is_complete
        (rows,) = sorted_blocks(observations, max(observations.n_rows, 1))()
        pass_address = loop(prior.n_features, complete=complete).address
        n_weights = rows.weights.size
        parts = (
            [*rows.x.shape, prior.n_components, n_weights, coordinates.log_constant, pass_address],
            prior.concentration,
            prior.mean_precision,
            prior.mean.ravel(),
            coordinates.degrees.ravel(),
            coordinates.scale_whitener.ravel(),
            rows.weights,
            ((rows.x - observations.origin) / observations.scale).ravel(),
        )
        self.block = np.concatenate(parts)
        self.function = _compiled()

    def __call__(self, free: np.ndarray) -> tuple[float, np.ndarray]:
        """Evaluate at one point (P,) as a sampler does, for rows in the coordinates of the pass."""
        free = np.array(free, float)
        gradient, value = np.empty_like(free), np.empty(1)
        call = self.function.ctypes
        pointers = (a.ctypes.data_as(call.argtypes[1]) for a in (free, gradient, value))
        call(free.size, *pointers, self.block.ctypes.data)
        return float(value[0]), gradient


@cache
def _compiled() -> Any:
    """Compile a C function (P, u, gradient, value, block) -> status, when first asked for."""
    numbers = types.CPointer(types.double)
    signature = types.int64(types.uint64, numbers, numbers, numbers, types.voidptr)
    return cfunc(signature, cache=True, error_model="numpy")(_evaluate)


@cache
def no_expansion() -> Any:
    """Compile the C function that expands a draw to nothing, for a sampler that wants one."""
    numbers = types.CPointer(types.double)
    signature = types.int64(types.uint64, types.uint64, numbers, numbers, types.voidptr)
    return cfunc(signature, cache=True)(_nothing)


def _nothing(size, expanded_size, free, expanded, block):  # pragma: no cover - compiled
    return 0


def _evaluate(size, free, gradient, value, block):  # pragma: no cover - compiled
    """Write log posterior density and gradient at a point."""
    rows, weights, prior, constant, address = _unpack(block)
    point, offset, center, whitener = _enter(carray(free, size), prior)
    count, first = np.zeros(offset.size), np.zeros(center.shape)
    second = np.zeros(whitener.shape)
    origin, unit = np.zeros(center.shape[1]), np.ones(center.shape[1])
    log_likelihood = pass_at(address)(
        rows, weights, origin, unit, offset, center, whitener, count, first, second
    )
    log_prior = _leave(point, center, whitener, count, first, second, prior, carray(gradient, size))
    return _report(log_likelihood + log_prior + constant, value, gradient, size)


@inlined
def _unpack(block):  # pragma: no cover - compiled
    """Find rows, weights and prior in the block, the constant, and the address of the pass."""
    header = carray(block, HEADER, np.float64)
    n, d, k, n_weights = int(header[0]), int(header[1]), int(header[2]), int(header[3])
    end = HEADER + k * (2 + 2 * d + d * d) + n_weights + n * d
    numbers = carray(block, end, np.float64)[HEADER:]
    concentration, precision = numbers[:k], numbers[k : 2 * k]
    numbers = numbers[2 * k :]
    mean = numbers[: k * d].reshape((k, d))
    degrees = numbers[k * d : 2 * k * d].reshape((k, d))
    numbers = numbers[2 * k * d :]
    a = numbers[: k * d * d].reshape((k, d, d))
    weights = numbers[k * d * d : k * d * d + n_weights]
    rows = numbers[k * d * d + n_weights :].reshape((n, d))
    prior = FreePrior(concentration, precision, mean, degrees, a)
    return rows, weights, prior, header[4], int(header[5])


@inlined
def _report(result, value, gradient, size):  # pragma: no cover - compiled
    """Write the value, and say whether it and the gradient are numbers."""
    carray(value, 1)[0] = result
    finite = np.isfinite(result)
    for slope in carray(gradient, size):
        finite = finite and np.isfinite(slope)
    return 0 if finite else NOT_FINITE


@inlined
def _enter(free, prior):  # pragma: no cover - compiled
    """Take free coordinates apart, up to the log-quadratic functions of the pass."""
    a = prior.scale_whitener
    n_components, n_features, _ = a.shape
    log_weights = np.empty(n_components)
    log_diagonal = np.empty((n_components, n_features))
    triangle = np.zeros(a.shape)
    whitener = np.zeros(a.shape)
    offset = np.empty(n_components)
    center = np.empty((n_components, n_features))
    last, peak = 0.0, -np.inf
    for k in range(n_components):
        log_weights[k] = free[k] if k < n_components - 1 else last
        last -= log_weights[k]
        peak = max(peak, log_weights[k])
    total = 0.0
    for k in range(n_components):
        total += np.exp(log_weights[k] - peak)
    for k in range(n_components):
        log_weights[k] -= peak + np.log(total)
    place = n_components - 1
    for k in range(n_components):
        offset[k] = log_weights[k] - 0.5 * n_features * LOG_2PI
        for i in range(n_features):
            log_diagonal[k, i] = free[place]
            triangle[k, i, i] = np.exp(free[place])
            offset[k] += free[place] + np.log(a[k, i, i])
            place += 1
        for i in range(1, n_features):
            for j in range(i):
                triangle[k, i, j] = free[place]
                place += 1
        for i in range(n_features):
            for m in range(i + 1):
                for j in range(m + 1):
                    whitener[k, i, j] += triangle[k, i, m] * a[k, m, j]
    for k in range(n_components):
        for i in range(n_features):
            center[k, i] = free[place]
            place += 1
    return FreePoint(log_weights, log_diagonal, triangle), offset, center, whitener


@inlined
def _leave(
    point, center, whitener, count, first, second, prior, gradient
):  # pragma: no cover - compiled
    """Fill in the gradient from the statistics; return the log prior but for its constant."""
    log_weights, triangle, a = point.log_weights, point.triangle, prior.scale_whitener
    concentration, precision, prior_mean = prior.concentration, prior.precision, prior.mean
    n_components, n_features = center.shape
    value = 0.0
    total = 0.0
    for k in range(n_components):
        value += concentration[k] * log_weights[k]
        total += count[k] + concentration[k]
    k = n_components - 1
    last = count[k] + concentration[k] - np.exp(log_weights[k]) * total
    for k in range(n_components - 1):
        gradient[k] = count[k] + concentration[k] - np.exp(log_weights[k]) * total - last
    added = np.empty((n_features, n_features))
    right = np.empty((n_features, n_features))
    place = n_components - 1
    slope = place + n_components * n_features * (n_features + 1) // 2
    for k in range(n_components):
        for i in range(n_features):
            distance = center[k, i] - prior_mean[k, i]
            for j in range(i + 1):
                other = center[k, j] - prior_mean[k, j]
                added[i, j] = second[k, i, j] + precision[k] * distance * other
                added[j, i] = added[i, j]
        # right = added A', then product = S (I + A right): with S A at hand, S + W right.
        for i in range(n_features):
            for j in range(n_features):
                entry = 0.0
                for m in range(j + 1):
                    entry += added[i, m] * a[k, j, m]
                right[i, j] = entry
        below = place + n_features
        for i in range(n_features):
            for j in range(i + 1):
                s = triangle[k, i, j]
                entry = s
                for m in range(i + 1):
                    entry += whitener[k, i, m] * right[m, j]
                value -= 0.5 * s * s
                if j < i:
                    gradient[below] = -entry
                    below += 1
                else:
                    free_power = prior.degrees[k, i] + 1.0
                    value += free_power * point.log_diagonal[k, i]
                    gradient[place + i] = count[k] + free_power - s * entry
        place = below
        for j in range(n_features):
            gradient[slope + j] = 0.0
        for i in range(n_features):
            whitened = 0.0
            pulled = 0.0
            for j in range(i + 1):
                distance = center[k, j] - prior_mean[k, j]
                whitened += whitener[k, i, j] * distance
                pulled += whitener[k, i, j] * (first[k, j] - precision[k] * distance)
            value -= 0.5 * precision[k] * whitened * whitened
            for j in range(i + 1):
                gradient[slope + j] += whitener[k, i, j] * pulled
        slope += n_features
    return value
