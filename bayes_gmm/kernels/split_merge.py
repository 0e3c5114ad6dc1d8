r"""Moves that split a cluster in two, or merge two, in one step (Jain & Neal 2004, 2007).

Two rows are chosen at random. If they share a cluster S, a split into A and B is proposed, one row
in each; else their clusters are proposed to become one. A split is accepted with probability
min(1, r), a merger with min(1, 1 / r),

    r = p(.., A, B, ..) m(A) m(B) / (p(.., S, ..) m(S) q(A, B | S))

where p is the prior of partitions and m the marginal likelihood of a cluster's rows. The proposal q
begins with a few steps of EM for two components in S, which start at the two rows. It is a function
of S and the two rows alone, so that it is the same for the reverse move; then each row is allocated
by its responsibility, independently.

The marginal likelihood is known

    with a conjugate prior                  Z(nu + n, Psi') / Z(nu, Psi) (kappa / (kappa + n))^(D/2)
    given a covariance that all share       an integral over the mean alone
    with independent means                  given Sigma, an integral over the mean alone

In the last case Sigma is proposed with the partition, from its density q given a mean near the
posterior mode, and m(A) is the ratio p(x_A, Sigma) / q(Sigma): it is
Z(nu + n, Psi + S(mode)) / Z(nu, Psi) times the integral over the mean less its integrand's value
at the mode, in logarithms.
"""

import numpy as np
from numba import types

from bayes_gmm.kernels.gibbs import PRIOR, STATE, TOTALS, add_scale, draw_one_at
from bayes_gmm.kernels.independent import (
    lower_factor,
    scatter_about,
    solve_mean,
    solve_transposed,
)
from bayes_gmm.kernels.kernel import at_address, inlined, kernel, twin
from bayes_gmm.kernels.log_rho import REASSOCIATE
from bayes_gmm.kernels.partition import NUMBER, log_eppf
from bayes_gmm.kernels.signatures import (
    MATRIX,
    NUMBERS,
    OUT_MATRIX,
    OUT_VECTOR,
    REAL,
    VECTOR,
    WHOLE,
)
from bayes_gmm.model.structures.loops import right_divide as right_divide_of_the_book

INTEGRATE = REAL(REAL, OUT_MATRIX, VECTOR)  # see `model.structures.structure.Structure`
integrate_at = at_address(INTEGRATE)
right_divide = twin(right_divide_of_the_book, types.void(MATRIX, MATRIX, OUT_MATRIX))

EM_STEPS, HARD_STEPS = 6, 2  # of the proposal; the first allocate rows to one side
MODE_STEPS = 3
CANDIDATES = 8
CERTAIN = 1e-6  # a row is allocated to either side with at least this probability
SPLITS, ACCEPTED_SPLITS, MERGERS, ACCEPTED_MERGERS = range(4)


@kernel(
    WHOLE(
        types.npy_rng, MATRIX, VECTOR, VECTOR, WHOLE, PRIOR, NUMBER, REAL, STATE, TOTALS, WHOLE,
        NUMBERS, NUMBERS, OUT_VECTOR,
    )
)  # fmt: skip
def split_or_merge(
    rng, x, origin, inverse_scale, integrate, prior, number, alpha, state, sums, n_clusters,
    labels, moves, terms,
):  # fmt: skip  # pragma: no cover - compiled
    """Propose one move; return the number of clusters, which are the first components of `state`.

    `integrate` is the address of the structure's `integrate_one`; `labels` (N,) are those of the
    rows, `moves` (4,) counts proposals and what was accepted; `terms` (M,) is overwritten.
    """
    n_rows, n_features = x.shape
    one = int(rng.random() * n_rows)
    other = _near(rng, x, inverse_scale, one)
    a, b = labels[one], labels[other]
    is_split = a == b
    if is_split and n_clusters == terms.size:
        return n_clusters
    moves[SPLITS if is_split else MERGERS] += 1
    members = _members(labels, a, b, int(sums.counts[a] + (0.0 if is_split else sums.counts[b])))
    n = members.size
    rows, probability = np.empty((n_features, n)), np.empty(n)  # rows less the first chosen one
    center = np.empty(n_features)
    for j in range(n_features):
        center[j] = (x[one, j] - origin[j]) * inverse_scale[j]
        for i in range(n):
            rows[j, i] = (x[members[i], j] - origin[j]) * inverse_scale[j] - center[j]
    in_first = np.empty(n)
    _two_components(rows, np.searchsorted(members, one), np.searchsorted(members, other),
                    prior, state.whitener[a], probability)  # fmt: skip
    log_q = 0.0
    for i in range(n):
        row, p = members[i], probability[i]
        if row in (one, other):
            in_first[i] = 1.0 if row == one else 0.0
            continue
        if is_split:
            in_first[i] = 1.0 if rng.random() < p else 0.0
        else:
            in_first[i] = 1.0 if labels[row] == a else 0.0
        log_q += np.log(p if in_first[i] > 0.0 else 1.0 - p)
    # The moments of A, B and S about the first chosen row.
    count, first = np.zeros(3), np.zeros((3, n_features))
    second = np.zeros((3, n_features, n_features))
    _moments(rows, in_first, count, first, second)
    # Covariances of A, B and S, where they are part of the state; else they stay as they are.
    whiteners, covariances = np.zeros_like(second), np.zeros_like(second)
    log_m = np.empty(3)
    for part in range(3):
        exists = (part == 2) == is_split
        k = b if part == 1 else a
        if exists:
            whiteners[part], covariances[part] = state.whitener[k], state.covariances[k]
        elif prior.is_common:
            whiteners[part] = state.whitener[0]
        log_m[part] = _log_marginal(
            rng, integrate, prior, count[part], first[part], second[part], center, not exists,
            whiteners[part], covariances[part],
        )  # fmt: skip
    split, log_u = log_m[0] + log_m[1] - log_m[2] - log_q, np.log(1.0 - rng.random())
    # A split multiplies p(C | K) by K - J <= M and Gamma(N_A + g) Gamma(N_B + g) / Gamma(N_S + g)
    # Gamma(g) <= 1, because log Gamma is convex; that of a process at most by alpha.
    if is_split and not log_u < split + np.log(max(float(terms.size), alpha)):
        return n_clusters
    sizes = np.empty(n_clusters + (1 if is_split else -1))
    at = 0
    for k in range(n_clusters):
        if k not in (a, b):
            sizes[at] = sums.counts[k]
            at += 1
    if is_split:
        sizes[at], sizes[at + 1] = count[0], count[1]
    else:
        sizes[at] = count[2]
    gain = log_eppf(number, sizes, alpha, terms)
    gain -= log_eppf(number, sums.counts[:n_clusters], alpha, terms)
    gain += split if is_split else -split
    if not log_u < gain:
        return n_clusters
    moves[ACCEPTED_SPLITS if is_split else ACCEPTED_MERGERS] += 1
    if is_split:
        for i in range(n):
            if in_first[i] == 0.0:
                labels[members[i]] = n_clusters
        _replace(state, sums, a, 0, center, count, first, second, whiteners, covariances)
        _replace(state, sums, n_clusters, 1, center, count, first, second, whiteners, covariances)
        return n_clusters + 1
    last = n_clusters - 1
    keep, gone = min(a, b), max(a, b)
    for i in range(n):
        labels[members[i]] = keep
    _replace(state, sums, keep, 2, center, count, first, second, whiteners, covariances)
    if gone != last:
        for row in range(n_rows):
            if labels[row] == last:
                labels[row] = gone
        move_component(state, sums, last, gone)
    sums.counts[last], sums.first[last], sums.second[last] = 0.0, 0.0, 0.0
    return last


@inlined
def _near(rng, x, inverse_scale, one):  # pragma: no cover - compiled
    """Choose another row: the nearest of up to `CANDIDATES` random ones, labels disregarded."""
    n_rows, n_features = x.shape
    other, nearest = one, np.inf
    for _ in range(1 + int(rng.random() * CANDIDATES)):
        row = int(rng.random() * (n_rows - 1))
        row += row >= one
        distance = 0.0
        for j in range(n_features):
            distance += ((x[row, j] - x[one, j]) * inverse_scale[j]) ** 2
        if distance < nearest:
            other, nearest = row, distance
    return other


@inlined
def _members(labels, a, b, n):  # pragma: no cover - compiled
    """Find the rows of two clusters, in order."""
    members, found = np.empty(n, np.int64), 0
    for row in range(labels.size):
        if labels[row] == a or labels[row] == b:
            members[found] = row
            found += 1
    return members


@kernel(types.void(MATRIX, VECTOR, OUT_VECTOR, OUT_MATRIX, types.Array(REAL, 3, "C")))
def _moments(rows, in_first, count, first, second):  # pragma: no cover - compiled
    """Sum the moments of the rows in A, in B, and in both.

    Shapes: rows (D, n), in_first (n,), count (3,), first (3, D), second (3, D, D), zero before.
    """
    n_features, n = rows.shape
    for i in range(n):
        part = 0 if in_first[i] > 0.0 else 1
        count[part] += 1.0
        for j in range(n_features):
            first[part, j] += rows[j, i]
            for m in range(j + 1):
                second[part, j, m] += rows[j, i] * rows[m, i]
    count[2] = count[0] + count[1]
    for j in range(n_features):
        first[2, j] = first[0, j] + first[1, j]
        for m in range(j + 1):
            second[2, j, m] = second[0, j, m] + second[1, j, m]


@kernel(types.void(MATRIX, WHOLE, WHOLE, PRIOR, MATRIX, OUT_VECTOR), fastmath=REASSOCIATE)
def _two_components(rows, one, other, prior, common, probability):  # pragma: no cover - compiled
    """Write the probability (n,) that each row is allocated to the side of the first chosen row.

    Rows (D, n) are first allocated to the nearer of the two in the metric of their own covariance;
    steps of EM with hard allocations follow. A covariance that all components share is given.
    """
    n_features, n = rows.shape
    scale, whitener = np.empty((n_features, n_features)), np.zeros((n_features, n_features))
    mean = np.zeros(n_features)
    share, z, log_odds = np.empty(n), np.empty(n), np.empty(n)
    probability[:] = 0.5
    for step in range(EM_STEPS + 1):
        log_odds[:] = 0.0
        for side in range(2):
            sign = 1.0 if side == 0 else -1.0
            total = 0.0
            for i in range(n):
                share[i] = probability[i] if side == 0 else 1.0 - probability[i]
                total += share[i]
            for j in range(n_features):
                entry = 0.0
                for i in range(n):
                    entry += share[i] * rows[j, i]
                mean[j] = entry / total
            offset = np.log(total)
            if prior.is_common:
                whitener[:] = common
            else:
                for j in range(n_features):
                    for m in range(j + 1):
                        entry = 0.0
                        for i in range(n):
                            entry += share[i] * (rows[j, i] - mean[j]) * (rows[m, i] - mean[m])
                        scale[j, m] = prior.scale[0, j, m] + entry
                if not whiten(scale, max(prior.degrees_of_freedom[0], 0.0) + total, whitener):
                    probability[:] = 0.5
                    return
                for j in range(n_features):
                    offset += np.log(whitener[j, j])
            if step == 0:  # the two rows themselves are the first means
                chosen = one if side == 0 else other
                for j in range(n_features):
                    mean[j] = rows[j, chosen]
            for j in range(n_features):
                z[:] = 0.0
                for m in range(j + 1):
                    w, c = whitener[j, m], mean[m]
                    for i in range(n):
                        z[i] += w * (rows[m, i] - c)
                for i in range(n):
                    log_odds[i] -= 0.5 * sign * z[i] * z[i]
            for i in range(n):
                log_odds[i] += sign * offset
        if step < HARD_STEPS:
            for i in range(n):
                probability[i] = 1.0 if log_odds[i] > 0.0 else 0.0
        else:
            for i in range(n):
                p = 1.0 / (1.0 + np.exp(-log_odds[i]))
                probability[i] = min(max(p, CERTAIN), 1.0 - CERTAIN)
        probability[one], probability[other] = 1.0, 0.0


@kernel(types.boolean(OUT_MATRIX, REAL, OUT_MATRIX))
def whiten(scale, degrees, whitener):  # pragma: no cover - compiled
    """Write W with W'W = degrees scale^-1; the lower triangle of `scale` becomes its factor.

    Returned: whether there is one. Shapes: scale, whitener (D, D).
    """
    if not lower_factor(scale):
        return False
    identity = np.zeros_like(scale)
    for i in range(len(scale)):
        identity[i, i] = np.sqrt(degrees)
    right_divide(identity, scale, whitener)
    return True


@kernel(
    REAL(
        types.npy_rng, WHOLE, PRIOR, REAL, VECTOR, MATRIX, VECTOR, types.boolean, OUT_MATRIX,
        OUT_MATRIX,
    )
)  # fmt: skip
def _log_marginal(
    rng, integrate, prior, count, first, second, center, is_new, whitener, covariance
):  # pragma: no cover - compiled
    """Log of the marginal likelihood of a cluster's rows, less n D / 2 log 2 pi; see above.

    With independent means a new covariance is drawn into `whitener` and `covariance` (D, D).
    """
    n_features = center.size
    factor, shift = np.zeros((n_features, n_features)), np.empty(n_features)
    distance = np.empty(n_features)
    if prior.mean_information.size:
        return _log_ratio(
            rng, integrate, prior, count, first, second, center, is_new, whitener, covariance
        )
    kappa = prior.mean_precision[0]
    log_m = 0.5 * n_features * np.log(kappa / (kappa + count))
    add_scale(prior, 0, count, first, second, center, shift, distance, factor)
    if prior.is_common:  # tr(Sigma^-1 Psi'), of which Psi is no part
        for i in range(n_features):
            for j in range(i + 1):
                entry = 0.0
                for m in range(i, n_features):
                    entry += whitener[m, i] * whitener[m, j]
                own = factor[i, j] - prior.scale[0, i, j]
                log_m -= (0.5 if i == j else 1.0) * entry * own
        return log_m
    degrees = prior.degrees_of_freedom[0]
    log_m += integrate_at(integrate)(degrees + count, factor, prior.constants)
    for i in range(n_features):
        for j in range(i + 1):
            factor[i, j] = prior.scale[0, i, j]
    return log_m - integrate_at(integrate)(degrees, factor, prior.constants)


@inlined
def _log_ratio(
    rng, integrate, prior, count, first, second, center, is_new, whitener, covariance
):  # pragma: no cover - compiled
    """Log of p(x_A, Sigma) / q(Sigma), with the mean integrated out."""
    n_features = center.size
    degrees = prior.degrees_of_freedom[0] + count
    mode, gap = np.empty(n_features), np.empty(n_features)
    factor, precision = np.zeros((n_features, n_features)), np.zeros((n_features, n_features))
    root, near = np.zeros((n_features, n_features)), np.zeros((n_features, n_features))
    for j in range(n_features):
        mode[j] = center[j] + first[j] / count
    for _ in range(MODE_STEPS):
        scatter_about(prior, count, first, second, center, mode, factor)
        whiten(factor, degrees, near)
        solve_mean(prior, count, first, center, near, precision, gap)
        solve_transposed(precision, gap)
        for i in range(n_features):
            mode[i] = prior.mean[0, i] + gap[i]
    scatter_about(prior, count, first, second, center, mode, factor)
    if is_new:
        draw_one_at(prior.draw_one)(
            rng, degrees, factor, prior.constants, root, whitener, covariance
        )
        scatter_about(prior, count, first, second, center, mode, factor)
    log_m = integrate_at(integrate)(degrees, factor, prior.constants)
    for i in range(n_features):
        for j in range(i + 1):
            factor[i, j] = prior.scale[0, i, j]
    log_m -= integrate_at(integrate)(degrees - count, factor, prior.constants)
    # The integral over the mean, against the rows' density at the mode.
    solve_mean(prior, count, first, center, whitener, precision, gap)
    for i in range(n_features):
        at_mode, at_prior = 0.0, 0.0
        for j in range(i + 1):
            mean = center[j] + first[j] / count
            at_mode += whitener[i, j] * (mean - mode[j])
            at_prior += whitener[i, j] * (mean - prior.mean[0, j])
        log_m += 0.5 * count * (at_mode * at_mode - at_prior * at_prior) + 0.5 * gap[i] * gap[i]
        log_m += 0.5 * np.log(prior.mean_information[i]) - np.log(precision[i, i])
    return log_m


@inlined
def _replace(
    state, sums, k, part, center, count, first, second, whiteners, covariances
):  # pragma: no cover - compiled
    """Put a new cluster in the place of component k; its covariance too, where it has one."""
    sums.counts[k], sums.first[k], sums.second[k] = count[part], first[part], second[part]
    state.means[k] = center
    if covariances[part, 0, 0] > 0.0:
        state.whitener[k], state.covariances[k] = whiteners[part], covariances[part]


@inlined
def move_component(state, sums, source, target):  # pragma: no cover - compiled
    """Copy a component and its statistics to another place."""
    state.weights[target], state.offset[target] = state.weights[source], state.offset[source]
    state.means[target] = state.means[source]
    state.covariances[target] = state.covariances[source]
    state.whitener[target] = state.whitener[source]
    sums.counts[target], sums.first[target] = sums.counts[source], sums.first[source]
    sums.second[target] = sums.second[source]
