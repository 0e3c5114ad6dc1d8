r"""A Gibbs sweep with an unknown number of components: the telescoping sampler.

    z | theta, K            one pass; then the partition C, of J clusters that hold rows
    C                       moves that split or merge clusters
    K | C, alpha            p(K) p(C | K, alpha)
    alpha | C, K            random-walk Metropolis
    theta, phi | C, K       parameters of the J clusters given their rows, of the K - J others from
                            the prior, weights from Dirichlet(g + N_1, .., g + N_J, g, ..)

A Dirichlet process has infinitely many components. Its weights are broken off a stick until what is
left could hold a row with probability `NEGLIGIBLE` at most.

Arrays of a state have room for M components, of which the first K are in use and the first J hold
rows. Fruehwirth-Schnatter, Malsiner-Walli & Gruen (2021), Bayesian Analysis 16, algorithm 1.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.kernels.gibbs import (
    PRIOR,
    RECORD,
    STATE,
    TOTALS,
    State,
    Sums,
    clear,
    draw_at,
    look_at,
)
from bayes_gmm.kernels.kernel import inlined, kernel
from bayes_gmm.kernels.labels import sweep_key
from bayes_gmm.kernels.partition import NUMBER, Number, draw_alpha, draw_number
from bayes_gmm.kernels.rows import ROWS
from bayes_gmm.kernels.signatures import (
    BITS,
    MATRIX,
    NUMBERS,
    OUT_VECTOR,
    REAL,
    VECTOR,
    WHOLE,
)
from bayes_gmm.kernels.split_merge import split_or_merge

NEGLIGIBLE = 1e-6
COMPONENTS, CLUSTERS = range(2)


class Unknown(NamedTuple):
    """What a chain holds besides its parameters; all but the first two are overwritten."""

    number: Number
    integrate: int  # the address of the structure's `integrate_one`
    sizes: np.ndarray  # (2,), K and J
    alpha: np.ndarray  # (1,)
    labels: np.ndarray  # (N,), of each row; empty where there are no moves
    moves: np.ndarray  # (4,): splits, those accepted, mergers, those accepted
    terms: np.ndarray  # (M,)


class NumberRecord(NamedTuple):
    """K, J and alpha of each draw (draw,)."""

    n_components: np.ndarray
    n_clusters: np.ndarray
    alpha: np.ndarray

    @classmethod
    def empty(cls, leading: tuple[int, ...]) -> "NumberRecord":
        """Room for draws."""
        return cls(np.empty(leading, np.int64), np.empty(leading, np.int64), np.empty(leading))


UNKNOWN = types.BaseTuple.from_types(
    (NUMBER, WHOLE, NUMBERS, OUT_VECTOR, NUMBERS, NUMBERS, OUT_VECTOR), Unknown
)
NUMBER_RECORD = types.BaseTuple.from_types((NUMBERS, NUMBERS, OUT_VECTOR), NumberRecord)
ENDING = (
    WHOLE, WHOLE, types.npy_rng, PRIOR, STATE, TOTALS, RECORD, UNKNOWN, NUMBER_RECORD,
)  # fmt: skip


@kernel(WHOLE(WHOLE, ROWS, VECTOR, VECTOR, BITS, WHOLE, WHOLE, *ENDING))
def run_telescoping(
    address, rows, origin, inverse_scale, key, first_sweep, n_sweeps,
    tune, thin, rng, prior, state, sums, record, unknown, numbers,
):  # fmt: skip  # pragma: no cover - compiled
    """Run sweeps over rows that fit into one block; see `gibbs.run_sweeps`.

    Returned: how many it ran, fewer than asked for if a draw needs more room than a record has, or
    minus the number of the component that has lost its covariance, less one.
    """
    look = look_at(address)
    for sweep in range(first_sweep, first_sweep + n_sweeps):
        n = unknown.sizes[COMPONENTS]
        if n > record.weights.shape[1]:
            return sweep - first_sweep
        log_normalizer = look(
            rows.x, rows.weights, 0, sweep_key(key, sweep), origin, inverse_scale,
            state.offset[:n], state.means[:n], state.whitener[:n],
            sums.counts[:n], sums.first[:n], sums.second[:n], unknown.labels, 0.0,
        )  # fmt: skip
        lost = end_telescoping(
            sweep, log_normalizer, rows.x, origin, inverse_scale,
            tune, thin, rng, prior, state, sums, record, unknown, numbers,
        )  # fmt: skip
        if lost >= 0:
            return -1 - lost
    return n_sweeps


@kernel(WHOLE(WHOLE, REAL, MATRIX, VECTOR, VECTOR, *ENDING))
def end_telescoping(
    sweep, log_normalizer, x, origin, inverse_scale,
    tune, thin, rng, prior, state, sums, record, unknown, numbers,
):  # fmt: skip  # pragma: no cover - compiled
    """Record the state with the labels it gave, then draw the next; see `gibbs.end_sweep`."""
    sizes, terms, number = unknown.sizes, unknown.terms, unknown.number
    n_clusters = _clusters_first(state, sums, sizes[COMPONENTS], unknown.labels)
    after = sweep - tune
    if after > 0 and after % thin == 0:
        place = after // thin - 1
        n = sizes[COMPONENTS]
        record.log_likelihood[place] = log_normalizer
        record.weights[place, :n], record.means[place, :n] = state.weights[:n], state.means[:n]
        record.covariances[place, :n] = state.covariances[:n]
        for k in range(record.weights.shape[1]):
            record.counts[place, k] = np.int64(sums.counts[k]) if k < n else 0
            if k >= n:
                record.weights[place, k] = 0.0
                record.means[place, k] = state.means[0]
                record.covariances[place, k] = state.covariances[0]
        numbers.n_components[place], numbers.n_clusters[place] = n, n_clusters
        numbers.alpha[place] = unknown.alpha[0]
    if unknown.labels.size:
        n_clusters = split_or_merge(
            rng, x, origin, inverse_scale, unknown.integrate, prior, number, unknown.alpha[0],
            state, sums, n_clusters, unknown.labels, unknown.moves, terms,
        )  # fmt: skip
    counts = sums.counts[:n_clusters]
    n = n_clusters
    if not number.is_process:
        n = draw_number(rng, number, counts, unknown.alpha[0], terms)
    unknown.alpha[0] = draw_alpha(rng, number, counts, n, unknown.alpha[0])
    alpha = unknown.alpha[0]
    if number.is_process:
        n = _break_stick(rng, alpha, counts, terms)
    for k in range(n):
        prior.concentration[k] = alpha / n if number.is_dynamic else alpha
        if number.is_process:
            prior.concentration[k] = 1.0
    for k in range(n_clusters, n):
        sums.counts[k] = 0.0
    used = State(
        state.weights[:n], state.means[:n], state.covariances[:n], state.offset[:n],
        state.whitener[:n],
    )  # fmt: skip
    totals = Sums(sums.counts[:n], sums.first[:n], sums.second[:n])
    lost = draw_at(prior.draw)(rng, prior, used, totals)
    if number.is_process:
        for k in range(n):
            state.offset[k] += np.log(terms[k]) - np.log(state.weights[k])
            state.weights[k] = terms[k]
    clear(sums)
    sizes[COMPONENTS], sizes[CLUSTERS] = n, n_clusters
    return lost


@inlined
def _clusters_first(state, sums, n_components, labels):  # pragma: no cover - compiled
    """Number the components that hold rows before the others, in order; return how many hold."""
    place = np.zeros(n_components, np.int64)
    n_clusters = 0
    for k in range(n_components):
        if sums.counts[k] > 0.0:
            place[k] = n_clusters
            n_clusters += 1
    n_empty = 0
    for k in range(n_components):
        if sums.counts[k] == 0.0:
            place[k] = n_clusters + n_empty
            n_empty += 1
    moved = False
    for k in range(n_components):
        moved = moved or place[k] != k
    if moved:
        reorder(state, sums, place)
        for row in range(labels.size):
            labels[row] = place[labels[row]]
    return n_clusters


@kernel(types.void(STATE, TOTALS, NUMBERS))
def reorder(state, sums, place):  # pragma: no cover - compiled
    """Move component k to place[k], (K,), a permutation, with its statistics."""
    n, n_features = place.size, state.means.shape[1]
    square = (n, n_features, n_features)
    held = State(
        np.empty(n), np.empty((n, n_features)), np.empty(square), np.empty(n), np.empty(square)
    )
    totals = Sums(np.empty(n), np.empty((n, n_features)), np.empty(square))
    for k in range(n):
        to = place[k]
        held.weights[to], held.offset[to] = state.weights[k], state.offset[k]
        held.means[to], held.covariances[to] = state.means[k], state.covariances[k]
        held.whitener[to] = state.whitener[k]
        totals.counts[to], totals.first[to] = sums.counts[k], sums.first[k]
        totals.second[to] = sums.second[k]
    state.weights[:n], state.offset[:n], state.means[:n] = held.weights, held.offset, held.means
    state.covariances[:n], state.whitener[:n] = held.covariances, held.whitener
    sums.counts[:n], sums.first[:n], sums.second[:n] = totals.counts, totals.first, totals.second


@kernel(WHOLE(types.npy_rng, REAL, VECTOR, OUT_VECTOR))
def _break_stick(rng, alpha, counts, weights):  # pragma: no cover - compiled
    """Draw weights of a Dirichlet process given its clusters (J,); return how many, at most M.

    (w_1, .., w_J, rest) ~ Dirichlet(N_1, .., N_J, alpha), and of the rest Beta(1, alpha) each time.
    """
    n_rows, total = 0.0, 0.0
    for k in range(counts.size):
        n_rows += counts[k]
        weights[k] = rng.standard_gamma(counts[k])
        total += weights[k]
    rest = rng.standard_gamma(alpha)
    total += rest
    rest /= total
    for k in range(counts.size):
        weights[k] /= total
    n = counts.size
    while n < weights.size and rest * n_rows > NEGLIGIBLE:
        left = rest * rng.random() ** (1.0 / alpha)  # 1 - Beta(1, alpha) is U^(1 / alpha)
        weights[n] = rest - left
        rest = left
        n += 1
    weights[n - 1] += rest
    return n
