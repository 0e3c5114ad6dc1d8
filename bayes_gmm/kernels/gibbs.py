r"""A Gibbs sweep compiled: the pass with sampled labels, then a draw of the conjugate posterior.

Small problems spend their time in the draw, so it and the loop around it are compiled too. The
specification of the draw is `StructuredPrior.posterior(statistics).sample(rng)`. Here, for
matrices, the triangle of Bartlett's decomposition is turned so that the whitener that the
next pass needs is a product,

    Psi = L L'     W = S L^-1     Sigma = W^-1 W^-T     mu = m + W^-1 e / sqrt(kappa)

with S lower triangular, S_ii^2 ~ chi2(nu - D + i) for i = 1..D and S_ij ~ N(0, 1) below: W'W is
Wishart, and no precision or covariance matrix is ever factored. Diagonals and spheres are drawn as
variances; a covariance that all components share is drawn once, of their scales together.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.kernels.groups import GROUPS
from bayes_gmm.kernels.kernel import inlined, kernel
from bayes_gmm.kernels.labels import sweep_key
from bayes_gmm.kernels.sampled_groups import GROUP_LOOK, LOOK
from bayes_gmm.kernels.signatures import (
    BITS,
    FLAG,
    MATRIX,
    OUT_MATRIX,
    OUT_STACK,
    OUT_STACKS,
    OUT_VECTOR,
    REAL,
    SUMS,
    VECTOR,
    WHOLE,
)
from bayes_gmm.model.covariance import UNCONSTRAINED, Structure
from bayes_gmm.model.families import MATRICES, SPHERES
from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.structured_prior import StructuredPrior

OF_MATRICES, OF_SPHERES = MATRICES.code, SPHERES.code


class Conjugate(NamedTuple):
    """A `StructuredPrior` as numba takes it: arrays that are writable and in C order.

    The arrays are those of `counted`; then the family of the covariances, and whether there is one
    for all components.
    """

    concentration: np.ndarray
    mean: np.ndarray
    mean_precision: np.ndarray
    degrees_of_freedom: np.ndarray
    scale: np.ndarray
    family: int
    is_common: bool

    @classmethod
    def of(cls, prior: Prior, structure: Structure = UNCONSTRAINED) -> "Conjugate":
        """Copy the fields of a prior, as they count for the structure."""
        own = StructuredPrior.of(prior, structure).counted
        family = (
            MATRICES
            if structure.is_unconstrained(prior.n_features)
            else structure.covariance_family
        )
        return cls(
            own.concentration.copy(),
            own.mean.copy(),
            own.mean_precision.copy(),
            own.degrees_of_freedom.copy(),
            own.scale.copy(),
            family.code,
            structure.is_common,
        )


class State(NamedTuple):
    """Where a chain is: parameters, and their log-quadratic functions; overwritten by a sweep."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    offset: np.ndarray
    whitener: np.ndarray

    @classmethod
    def of(cls, parameters: Parameters) -> "State":
        """Set out from parameters in the coordinates of the pass."""
        offset, means, whitener = parameters.log_quadratic()
        fields = (parameters.weights, means, parameters.covariances, offset, whitener)
        return cls(*(field.copy() for field in fields))


class Sums(NamedTuple):
    """Statistics of the sampled labels about the current means; overwritten by a sweep."""

    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @classmethod
    def zeros(cls, n_components: int, n_features: int) -> "Sums":
        """No rows yet."""
        shape = (n_components, n_features, n_features)
        return cls(np.zeros(shape[:1]), np.zeros(shape[:2]), np.zeros(shape))


class Record(NamedTuple):
    """Draws (draw, ...) of a chain, in the coordinates of the pass."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    log_likelihood: np.ndarray
    counts: np.ndarray

    @classmethod
    def empty(cls, leading: tuple[int, ...], n_components: int, n_features: int) -> "Record":
        """Room for draws, arrays (*leading, K, ...)."""
        shape = (*leading, n_components, n_features, n_features)
        return cls(
            np.empty(shape[:-2]),
            np.empty(shape[:-1]),
            np.empty(shape),
            np.empty(leading),
            np.empty(shape[:-2], np.int64),
        )


FIELDS = {
    Conjugate: (OUT_VECTOR, OUT_MATRIX, OUT_VECTOR, OUT_VECTOR, OUT_STACK, WHOLE, FLAG),
    State: (OUT_VECTOR, OUT_MATRIX, OUT_STACK, OUT_VECTOR, OUT_STACK),
    Sums: SUMS,
    Record: (OUT_MATRIX, OUT_STACK, OUT_STACKS, OUT_VECTOR, types.Array(WHOLE, 2, "C")),
}
CONJUGATE, STATE, TOTALS, RECORD = (
    types.BaseTuple.from_types(fields, kind) for kind, fields in FIELDS.items()
)
ENDING = (WHOLE, WHOLE, types.npy_rng, CONJUGATE, STATE, TOTALS, RECORD)


@kernel(
    WHOLE(types.FunctionType(GROUP_LOOK), LOOK, GROUPS, VECTOR, VECTOR, BITS, WHOLE, WHOLE, *ENDING)
)
def run_sweeps(
    run, look, groups, origin, inverse_scale, key, first_sweep, n_sweeps,
    tune, thin, rng, prior, state, sums, record,
):  # fmt: skip  # pragma: no cover - compiled
    """Run sweeps over rows that fit into one block; sweep 0 takes the labels at the start.

    Returns the component that has lost its covariance to rounding, or -1.
    """
    for sweep in range(first_sweep, first_sweep + n_sweeps):
        log_normalizer = run(
            look, groups, 0, sweep_key(key, sweep), rng, origin, inverse_scale,
            state.offset, state.means, state.whitener, sums.counts, sums.first, sums.second, 0.0,
        )  # fmt: skip
        lost = end_sweep(sweep, log_normalizer, tune, thin, rng, prior, state, sums, record)
        if lost >= 0:
            return lost
    return -1


@kernel(WHOLE(WHOLE, REAL, *ENDING))
def end_sweep(
    sweep, log_normalizer, tune, thin, rng, prior, state, sums, record
):  # pragma: no cover - compiled
    """Record the state with the labels it gave, then draw the next and empty the sums.

    Draw i is the state after tune + (i + 1) thin updates.

    Parameters
    ----------
    sweep : int
    log_normalizer : float
        Of the pass at the state.
    tune, thin : int
    rng : numpy.random.Generator
    prior : Conjugate
    state : State
    sums : Sums
        Of all rows.
    record : Record

    Returns
    -------
    int
        The component that has lost its covariance to rounding, or -1.
    """
    n_components, n_features = state.means.shape
    after = sweep - tune
    if after > 0 and after % thin == 0:
        place = after // thin - 1
        record.log_likelihood[place] = log_normalizer
        for k in range(n_components):
            record.counts[place, k] = np.int64(sums.counts[k])
            record.weights[place, k] = state.weights[k]
            for i in range(n_features):
                record.means[place, k, i] = state.means[k, i]
                for j in range(n_features):
                    record.covariances[place, k, i, j] = state.covariances[k, i, j]
    lost = draw(rng, prior, state, sums)
    for k in range(n_components):
        sums.counts[k] = 0.0
        for i in range(n_features):
            sums.first[k, i] = 0.0
            for j in range(n_features):
                sums.second[k, i, j] = 0.0
    return lost


@kernel(WHOLE(types.npy_rng, CONJUGATE, STATE, TOTALS))
def draw(rng, prior, state, sums):  # pragma: no cover - compiled
    """Draw the parameters given the labels: state becomes a draw of prior.posterior(sums).

    Parameters
    ----------
    rng : numpy.random.Generator
        Gives K gammas of the weights; then for each component its covariance and D normals of the
        mean. A matrix takes the triangle row by row, each with its diagonal last; diagonals and
        spheres a gamma for each variance.
    prior : Conjugate
    state : State
        Its means are what the sums are about.
    sums : Sums
        Of `second` only the lower triangles are read.

    Returns
    -------
    int
        The component that has lost its covariance to rounding, or -1.
    """
    n_components, n_features = state.means.shape
    factor = np.zeros((n_features, n_features))
    triangle = np.zeros((n_features, n_features))
    root = np.zeros((n_features, n_features))
    shift, distance = np.empty(n_features), np.empty(n_features)
    log_det, total = 0.0, 0.0
    for k in range(n_components):
        state.weights[k] = rng.standard_gamma(prior.concentration[k] + sums.counts[k])
        total += state.weights[k]
    for k in range(n_components):
        if k == 0 or not prior.is_common:
            # Lower triangle of the posterior's scale: of this component, or of all together.
            degrees = prior.degrees_of_freedom[k] + sums.counts[k]
            for m in range(k, n_components if prior.is_common else k + 1):
                if m > k:
                    degrees += prior.degrees_of_freedom[m] + sums.counts[m] + n_features + 1
                n = sums.counts[m]
                own = 1.0 / n if n > 0 else 0.0
                pull = prior.mean_precision[m] * n / (prior.mean_precision[m] + n)
                for i in range(n_features):
                    shift[i] = sums.first[m, i] * own
                    distance[i] = state.means[m, i] + shift[i] - prior.mean[m, i]
                for i in range(n_features):
                    for j in range(i + 1):
                        entry = (
                            prior.scale[m, i, j]
                            + (sums.second[m, i, j] - n * shift[i] * shift[j])
                            + pull * distance[i] * distance[j]
                        )
                        factor[i, j] = factor[i, j] + entry if m > k else entry
            if prior.family == OF_MATRICES:
                log_det = _matrix(rng, degrees, factor, triangle, root, state.whitener[k])
                for i in range(n_features):
                    for j in range(i + 1):
                        entry = 0.0
                        for m in range(j + 1):
                            entry += root[i, m] * root[j, m]
                        state.covariances[k, i, j] = entry
                        state.covariances[k, j, i] = entry
            else:
                sphere = prior.family == OF_SPHERES
                log_det = _variances(
                    rng, degrees, factor, sphere, root, state.whitener[k], state.covariances[k]
                )
            if np.isnan(log_det):
                return k
        else:
            for i in range(n_features):
                for j in range(n_features):
                    state.whitener[k, i, j] = state.whitener[0, i, j]
                    state.covariances[k, i, j] = state.covariances[0, i, j]
        n = sums.counts[k]
        precision = prior.mean_precision[k] + n
        if prior.is_common:  # `distance` is that of another component
            own = 1.0 / n if n > 0 else 0.0
            for i in range(n_features):
                distance[i] = state.means[k, i] + sums.first[k, i] * own - prior.mean[k, i]
        for i in range(n_features):
            distance[i] *= n / precision
        noise = shift
        for i in range(n_features):
            noise[i] = rng.standard_normal() / np.sqrt(precision)
        for i in range(n_features):
            moved = prior.mean[k, i] + distance[i]
            for j in range(i + 1):
                moved += root[i, j] * noise[j]
            state.means[k, i] = moved
        state.weights[k] /= total
        state.offset[k] = np.log(state.weights[k]) + log_det - 0.5 * n_features * LOG_2PI
    return -1


@inlined
def _matrix(rng, degrees, factor, triangle, root, whitener):  # pragma: no cover - compiled
    """Draw a root of a covariance, and its whitener; return the whitener's log-determinant or nan.

    `factor` comes as the lower triangle of the posterior's scale.
    """
    n_features = len(factor)
    # Its Cholesky factor takes its place, entry by entry.
    for j in range(n_features):
        for i in range(j, n_features):
            entry = factor[i, j]
            for m in range(j):
                entry -= factor[i, m] * factor[j, m]
            if i > j:
                factor[i, j] = entry / factor[j, j]
            elif entry > 0:
                factor[j, j] = np.sqrt(entry)
            else:
                return np.nan
    log_det = 0.0
    for i in range(n_features):
        for j in range(i):
            triangle[i, j] = rng.standard_normal()
        half = 0.5 * (degrees - n_features + 1 + i)
        triangle[i, i] = np.sqrt(2.0 * rng.standard_gamma(half))
        log_det += np.log(triangle[i, i] / factor[i, i])
    _right_divide(triangle, factor, whitener)
    _right_divide(factor, triangle, root)
    return log_det


@inlined
def _right_divide(numerator, denominator, quotient):  # pragma: no cover - compiled
    """Solve quotient denominator = numerator, all lower triangular."""
    for i in range(numerator.shape[0]):
        for j in range(i, -1, -1):
            entry = numerator[i, j]
            for m in range(j + 1, i + 1):
                entry -= quotient[i, m] * denominator[m, j]
            quotient[i, j] = entry / denominator[j, j]


@kernel(REAL(types.npy_rng, REAL, MATRIX, FLAG, OUT_MATRIX, OUT_MATRIX, OUT_MATRIX))
def _variances(
    rng, degrees, scale, sphere, root, whitener, covariance
):  # pragma: no cover - compiled
    """Draw the variances of a diagonal, or of a sphere; a kernel, so that `draw` stays small."""
    n_features = len(scale)
    power, trace = degrees + n_features + 1, 0.0
    for j in range(n_features):
        trace += scale[j, j]
    variance, log_det = 0.0, 0.0
    for i in range(n_features):
        if sphere and i == 0:
            variance = 0.5 * trace / rng.standard_gamma(0.5 * n_features * power - 1.0)
        elif not sphere:
            variance = 0.5 * scale[i, i] / rng.standard_gamma(0.5 * power - 1.0)
        if not variance > 0:
            return np.nan
        for j in range(n_features):
            covariance[i, j] = 0.0
            whitener[i, j] = 0.0
        covariance[i, i] = variance
        root[i, i] = np.sqrt(variance)
        whitener[i, i] = 1.0 / root[i, i]
        log_det += np.log(whitener[i, i])
    return log_det
