r"""A Gibbs sweep compiled: the pass with sampled labels, then a draw of the conjugate posterior.

Small problems spend their time in the draw, so it and the loop around it are compiled too. The
specification of the draw is `StructuredPrior.posterior(statistics).sample(rng)`. A covariance is
drawn by the compiled `draw_one` of its structure, known by its address; one that all components
share is drawn once, of their scales together.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.kernels.kernel import at_address, inlined, kernel, twin
from bayes_gmm.kernels.labels import PASS, sweep_key
from bayes_gmm.kernels.rows import ROWS
from bayes_gmm.kernels.signatures import (
    BITS,
    FLAG,
    OUT_MATRIX,
    OUT_STACK,
    OUT_STACKS,
    OUT_VECTOR,
    REAL,
    SUMS,
    VECTOR,
    WHOLE,
)
from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import StructuredPrior

SMALLEST_WEIGHT = 1e-300  # so that an empty component's logarithm is a number
DRAW_ONE = REAL(
    types.npy_rng, REAL, OUT_MATRIX, VECTOR, OUT_MATRIX, OUT_MATRIX, OUT_MATRIX
)  # see `model.structures.structure.Structure`


class Prior(NamedTuple):
    """A prior as numba takes it, every array writable and in C order.

    First the fields of a `StructuredPrior`'s `counted`; then what the structure says of
    covariances: whether there is one for all components, its constants, and the address of what
    draws one. Means that are independent of the covariances have `mean_information` (D,), one over
    their variances, and no `mean_precision`; a random scale of the covariances has degrees of
    freedom q > 0 and V^-1, and is drawn into `scale`. Last, the address of the draw of everything.
    """

    concentration: np.ndarray
    mean: np.ndarray
    mean_precision: np.ndarray
    degrees_of_freedom: np.ndarray
    scale: np.ndarray
    is_common: bool
    constants: np.ndarray
    draw_one: int
    mean_information: np.ndarray
    scale_degrees: float
    scale_information: np.ndarray
    draw: int

    @classmethod
    def conjugate(cls, prior: ConjugatePrior, structure: Structure = UNCONSTRAINED) -> "Prior":
        """Copy the fields of a conjugate prior, as they count for the structure."""
        return cls.structured(StructuredPrior.of(prior, structure))

    @classmethod
    def structured(cls, structured: StructuredPrior) -> "Prior":
        """Copy the fields of what a prior, or a posterior, says of a structure."""
        own, structure = structured.counted, structured.structure
        assert structure.draw_one is not None
        return cls(
            own.concentration.copy(),
            own.mean.copy(),
            own.mean_precision.copy(),
            own.degrees_of_freedom.copy(),
            own.scale.copy(),
            structure.is_common,
            structure.constants.copy(),
            twin(structure.draw_one, DRAW_ONE).address,
            np.empty(0),
            0.0,
            np.empty((0, 0)),
            draw_conjugate.address,
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
    Prior: (
        OUT_VECTOR,
        OUT_MATRIX,
        OUT_VECTOR,
        OUT_VECTOR,
        OUT_STACK,
        FLAG,
        OUT_VECTOR,
        WHOLE,
        OUT_VECTOR,
        REAL,
        OUT_MATRIX,
        WHOLE,
    ),
    State: (OUT_VECTOR, OUT_MATRIX, OUT_STACK, OUT_VECTOR, OUT_STACK),
    Sums: SUMS,
    Record: (OUT_MATRIX, OUT_STACK, OUT_STACKS, OUT_VECTOR, types.Array(WHOLE, 2, "C")),
}
PRIOR, STATE, TOTALS, RECORD = (
    types.BaseTuple.from_types(fields, kind) for kind, fields in FIELDS.items()
)
ENDING = (WHOLE, WHOLE, types.npy_rng, PRIOR, STATE, TOTALS, RECORD)
DRAW = WHOLE(types.npy_rng, PRIOR, STATE, TOTALS)
look_at, draw_one_at, draw_at = at_address(PASS), at_address(DRAW_ONE), at_address(DRAW)


@kernel(WHOLE(WHOLE, ROWS, VECTOR, VECTOR, BITS, WHOLE, WHOLE, *ENDING))
def run_sweeps(
    address, rows, origin, inverse_scale, key, first_sweep, n_sweeps,
    tune, thin, rng, prior, state, sums, record,
):  # fmt: skip  # pragma: no cover - compiled
    """Run sweeps over rows that fit into one block; sweep 0 takes the labels at the start.

    Returns the component that has lost its covariance to rounding, or -1.
    """
    look = look_at(address)
    not_kept = np.empty(0, np.int64)
    for sweep in range(first_sweep, first_sweep + n_sweeps):
        log_normalizer = look(
            rows.x, rows.weights, 0, sweep_key(key, sweep), origin, inverse_scale,
            state.offset, state.means, state.whitener, sums.counts, sums.first, sums.second,
            not_kept, 0.0,
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

    Returned: the component that has lost its covariance to rounding, or -1.
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
    lost = draw_at(prior.draw)(rng, prior, state, sums)
    clear(sums)
    return lost


@inlined
def clear(sums):  # pragma: no cover - compiled
    """Set statistics to those of no rows."""
    n_components, n_features = sums.first.shape
    for k in range(n_components):
        sums.counts[k] = 0.0
        for i in range(n_features):
            sums.first[k, i] = 0.0
            for j in range(i + 1):
                sums.second[k, i, j] = 0.0


@inlined
def draw_weights(rng, prior, state, sums):  # pragma: no cover - compiled
    """Draw the weights from Dirichlet(alpha + counts), as normalized gamma numbers."""
    total = 0.0
    for k in range(state.weights.size):
        shape = prior.concentration[k] + sums.counts[k]
        state.weights[k] = max(rng.standard_gamma(shape), SMALLEST_WEIGHT)
        total += state.weights[k]
    for k in range(state.weights.size):
        state.weights[k] /= total


@inlined
def add_scale(
    prior, k, n, first, second, center, shift, distance, factor
):  # pragma: no cover - compiled
    """Add the scale of a component's posterior, Psi' of n rows with moments about a center.

    `shift` becomes the rows' mean less the center, `distance` their mean less that of the prior.
    """
    own = 1.0 / n if n > 0 else 0.0
    pull = prior.mean_precision[k] * n / (prior.mean_precision[k] + n)
    for i in range(center.size):
        shift[i] = first[i] * own
        distance[i] = center[i] + shift[i] - prior.mean[k, i]
    for i in range(center.size):
        for j in range(i + 1):
            entry = (
                prior.scale[k, i, j]
                + (second[i, j] - n * shift[i] * shift[j])
                + pull * distance[i] * distance[j]
            )
            factor[i, j] += entry


@kernel(DRAW)
def draw_conjugate(rng, prior, state, sums):  # pragma: no cover - compiled
    """Draw the parameters given the labels: state becomes a draw of prior.posterior(sums).

    Returned: the component that has lost its covariance to rounding, or -1.
    """
    n_components, n_features = state.means.shape
    factor = np.zeros((n_features, n_features))
    root = np.zeros((n_features, n_features))
    shift, distance = np.empty(n_features), np.empty(n_features)
    log_det = 0.0
    draw_weights(rng, prior, state, sums)
    for k in range(n_components):
        if k == 0 or not prior.is_common:
            # Lower triangle of the posterior's scale: of this component, or of all together.
            degrees = prior.degrees_of_freedom[k] + sums.counts[k]
            for i in range(n_features):
                for j in range(i + 1):
                    factor[i, j] = 0.0
            for m in range(k, n_components if prior.is_common else k + 1):
                if m > k:
                    degrees += prior.degrees_of_freedom[m] + sums.counts[m] + n_features + 1
                add_scale(
                    prior, m, sums.counts[m], sums.first[m], sums.second[m], state.means[m],
                    shift, distance, factor,
                )  # fmt: skip
            log_det = draw_one_at(prior.draw_one)(
                rng,
                degrees,
                factor,
                prior.constants,
                root,
                state.whitener[k],
                state.covariances[k],
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
        state.offset[k] = np.log(state.weights[k]) + log_det - 0.5 * n_features * LOG_2PI
    return -1
