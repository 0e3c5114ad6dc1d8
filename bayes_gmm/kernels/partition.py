r"""The prior of a partition of the rows, and what it says of the number of components.

    p(C | K) = K! / (K - J)!  Gamma(g K) / Gamma(g K + N)  prod_k Gamma(N_k + g) / Gamma(g)

for J clusters of N_k rows, with g = alpha (static) or alpha / K (dynamic); for a Dirichlet process

    p(C) = alpha^J Gamma(alpha) / Gamma(alpha + N)  prod_k Gamma(N_k)

The book's functions are `NumberOfComponents.log_partition` and `log_eppf`.
"""

from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.kernels.kernel import inlined, kernel
from bayes_gmm.kernels.signatures import FLAG, OUT_VECTOR, REAL, VECTOR, WHOLE
from bayes_gmm.model.number_of_components import NumberOfComponents

FIXED, GAMMA, F = range(3)  # priors of alpha
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
KINDS = {"fixed": FIXED, "gamma": GAMMA, "F": F}
STEPS = (0.3, 1.0, 3.0)  # standard deviations of random-walk steps of log alpha


class Number(NamedTuple):
    """A `NumberOfComponents` as numba takes it, read-only."""

    log_prior: np.ndarray  # (M,), log p(K) for K = 1..M
    is_dynamic: bool
    is_process: bool
    alpha_kind: int
    alpha_parameters: np.ndarray  # (2,)

    @classmethod
    def of(cls, number: NumberOfComponents) -> "Number":
        """Copy its numbers."""
        return cls(
            np.array(number.log_probabilities, float),
            bool(number.is_dynamic),
            bool(number.is_dirichlet_process),
            KINDS[number.alpha_kind],
            np.array(number.alpha_parameters, float),
        )


NUMBER = types.BaseTuple.from_types((OUT_VECTOR, FLAG, FLAG, WHOLE, OUT_VECTOR), Number)


@inlined
def log_gamma(x):  # pragma: no cover - compiled
    """Log Gamma(x) of x > 0, to 1e-13: Stirling's series, from 9 on; a call of C is slower."""
    below = 1.0
    while x < 9.0:
        below *= x
        x += 1.0
    y = 1.0 / (x * x)
    series = 1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y * (1 / 1188))))
    return (x - 0.5) * np.log(x) - x + HALF_LOG_2PI + series / x - np.log(below)


@kernel(REAL(NUMBER, VECTOR, WHOLE, REAL))
def log_partition(number, counts, n_components, alpha):  # pragma: no cover - compiled
    """Log p(C | K, alpha), or log p(C | alpha) of a process, of clusters with counts (J,)."""
    n_clusters, n_rows, total = counts.size, 0.0, 0.0
    if number.is_process:
        for k in range(n_clusters):
            n_rows += counts[k]
            total += log_gamma(counts[k])
        return total + n_clusters * np.log(alpha) + log_gamma(alpha) - log_gamma(alpha + n_rows)
    g = alpha / n_components if number.is_dynamic else alpha
    # Gamma(g) = Gamma(1 + g) / g loses no digit for small g.
    for k in range(n_clusters):
        n_rows += counts[k]
        total += log_gamma(counts[k] + g)
    total += n_clusters * (np.log(g) - log_gamma(1.0 + g))
    total += log_gamma(n_components + 1.0) - log_gamma(n_components - n_clusters + 1.0)
    return total + log_gamma(g * n_components) - log_gamma(g * n_components + n_rows)


@kernel(REAL(NUMBER, VECTOR, REAL, OUT_VECTOR))
def log_eppf(number, counts, alpha, terms):  # pragma: no cover - compiled
    """Log p(C | alpha), summed over K; `terms` (M,) get log p(K) p(C | K, alpha)."""
    if number.is_process:
        return log_partition(number, counts, 0, alpha)
    highest = -np.inf
    for at in range(terms.size):
        terms[at] = -np.inf
        if at + 1 >= counts.size and number.log_prior[at] > -np.inf:
            terms[at] = number.log_prior[at] + log_partition(number, counts, at + 1, alpha)
            highest = max(highest, terms[at])
    total = 0.0
    for at in range(terms.size):
        total += np.exp(terms[at] - highest)
    return highest + np.log(total)


@kernel(WHOLE(types.npy_rng, NUMBER, VECTOR, REAL, OUT_VECTOR))
def draw_number(rng, number, counts, alpha, terms):  # pragma: no cover - compiled
    """Draw K given the partition and alpha; `terms` (M,) is overwritten."""
    below = log_eppf(number, counts, alpha, terms) + np.log(1.0 - rng.random())
    highest = np.max(terms)
    total, target = 0.0, np.exp(below - highest)
    last = counts.size
    for at in range(terms.size):
        if terms[at] > -np.inf:
            last = at + 1
            total += np.exp(terms[at] - highest)
            if total >= target:
                break
    return last


@kernel(REAL(types.npy_rng, NUMBER, VECTOR, WHOLE, REAL))
def draw_alpha(rng, number, counts, n_components, alpha):  # pragma: no cover - compiled
    """Move alpha given the partition and K, by random-walk Metropolis steps of its logarithm."""
    if number.alpha_kind == FIXED:
        return alpha
    here = _log_alpha(number, alpha) + log_partition(number, counts, n_components, alpha)
    for sd in STEPS:
        proposed = alpha * np.exp(sd * rng.standard_normal())
        there = _log_alpha(number, proposed)
        there += log_partition(number, counts, n_components, proposed)
        if np.log(1.0 - rng.random()) < there - here:
            alpha, here = proposed, there
    return alpha


@kernel(REAL(NUMBER, REAL))
def _log_alpha(number, alpha):  # pragma: no cover - compiled
    """Log prior density of log alpha, up to a constant."""
    a, b = number.alpha_parameters[0], number.alpha_parameters[1]
    if number.alpha_kind == GAMMA:
        return a * np.log(alpha) - b * alpha
    return 0.5 * a * np.log(alpha) - 0.5 * (a + b) * np.log1p(a * alpha / b)
