r"""Probabilities of partitions: what Dirichlet weights say about which rows share a label.

    phi ~ Dirichlet(gamma, ..., gamma)        z_n ~ Categorical(phi)        n = 1..N

The labels make a partition C of the rows into k clusters, the components that hold rows, of sizes
N_1..N_k. With the weights integrated out and the numbering of the components forgotten

    p(C | K, gamma) = K! / (K - k)!  Gamma(gamma K) / Gamma(gamma K + N)
                      prod_j Gamma(N_j + gamma) / Gamma(gamma),

and with gamma = alpha / K and K -> infinity, the Dirichlet process,

    p(C | alpha) = alpha^k Gamma(alpha) / Gamma(alpha + N) prod_j Gamma(N_j).

References: Miller & Harrison (2018), J. Am. Stat. Assoc. 113, sec. 2; Fruehwirth-Schnatter,
Malsiner-Walli & Gruen (2021), Bayesian Analysis 16, sec. 2; Antoniak (1974), Ann. Stat. 2.
"""

import numpy as np
from scipy.special import betaln, gammaln

from bayes_gmm.model.parameters import ArrayOrLike


def log_rising(x: ArrayOrLike, n: ArrayOrLike) -> np.ndarray:
    r"""Log of the rising factorial, Gamma(x + n) / Gamma(x) = Gamma(n) / B(n, x) for n >= 1.

    The beta function keeps the digits that a difference of two large log-gammas loses.
    """
    return gammaln(n) - betaln(n, x)


def log_partition(counts: np.ndarray, n_components: ArrayOrLike, gamma: ArrayOrLike) -> np.ndarray:
    """Log probability of a partition under K components; -inf where K is below its clusters.

    counts (k,), n_components (...), gamma (...) -> (...).
    """
    size, gamma = np.asarray(n_components, dtype=float), np.asarray(gamma, dtype=float)
    n_clusters = len(counts)
    enough = size >= n_clusters
    log_ways = gammaln(size + 1) - gammaln(np.where(enough, size - n_clusters, 0.0) + 1)
    log_rows = log_rising(gamma[..., None], counts).sum(axis=-1)
    log_p = log_ways + log_rows - log_rising(gamma * size, counts.sum())
    return np.where(enough, log_p, -np.inf)


def log_partition_of_process(counts: np.ndarray, alpha: ArrayOrLike) -> np.ndarray:
    """Log probability of a partition under a Dirichlet process. counts (k,), alpha (...) -> (...).

    Ewens' sampling formula.
    """
    log_sizes = gammaln(counts).sum()
    return len(counts) * np.log(alpha) + log_sizes - log_rising(alpha, counts.sum())


def cluster_probabilities(n_rows: int, n_components: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    r"""Probability that N rows make k = 1, 2, ... clusters, for each K.

    The rows come one by one. After n of them the next one starts a cluster with the probability
    (K - k) gamma / (n + K gamma), whatever the sizes of the clusters are, so that their number is
    a Markov chain:

    .. math:: p_{n+1}(k) = p_n(k) \frac{n + k\gamma}{n + K\gamma}
        + p_n(k - 1) \frac{(K - k + 1)\gamma}{n + K\gamma}

    All terms are positive, so that no digits are lost.

    n_components, gamma (M,) -> (M, min(N, max K)).
    """
    most = int(min(n_rows, n_components.max()))
    unused = np.maximum(n_components[:, None] - np.arange(1, most + 1), 0)
    return _filled(n_rows, unused * gamma[:, None], (n_components * gamma)[:, None])


def cluster_probabilities_of_process(n_rows: int, alpha: float) -> np.ndarray:
    """Probability that N rows make k = 1..N clusters under a Dirichlet process, (N,).

    As `cluster_probabilities`; the next row starts a cluster with probability alpha / (n + alpha).
    """
    return _filled(n_rows, np.full((1, n_rows), alpha), np.full((1, 1), alpha))[0]


def _filled(n_rows: int, weight_of_new: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Run the chain of the number of clusters. weight_of_new (M, k), total (M, 1) -> (M, k)."""
    p = np.zeros_like(weight_of_new, dtype=float)
    p[:, 0] = 1.0
    moved = np.empty_like(p)
    for n in range(1, n_rows):
        np.multiply(p, weight_of_new, out=moved)
        moved /= n + total
        p -= moved
        p[:, 1:] += moved[:, :-1]
    return p


def sample_sizes(
    n_rows: int, n_components: np.ndarray, alpha: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    r"""Draw the sizes of the clusters, largest first, one draw for each K (S,) and alpha = K gamma.

    The rows that the components before j do not hold fall to j with the probability v_j,

    .. math:: v_j \sim \mathrm{Beta}\left(\frac\alpha K, \alpha - j \frac\alpha K\right), \qquad
        v_j \sim \mathrm{Beta}(1, \alpha) \quad\text{for } K = \infty,

    until none are left: Sethuraman's stick breaking (1994), and its finite twin.

    Returned: (S, J), zero beyond the last cluster.
    """
    left = np.full(len(alpha), n_rows)
    columns: list[np.ndarray] = []
    finite = np.isfinite(n_components)
    gamma = np.where(finite, alpha / n_components, 1.0)
    while (open_ := np.flatnonzero(left)).size:
        rest = np.where(finite, (n_components - len(columns) - 1) * gamma, alpha)[open_]
        share = np.ones(open_.size)
        more = rest > 0
        share[more] = rng.beta(gamma[open_][more], rest[more])
        held = np.zeros_like(left)
        held[open_] = rng.binomial(left[open_], share)
        left -= held
        columns.append(held)
    sizes = -np.sort(-np.stack(columns, axis=1), axis=1)
    return sizes[:, sizes.any(axis=0)]
