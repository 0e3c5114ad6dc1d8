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

from collections.abc import Iterator
from itertools import count

import numpy as np
from scipy.special import betaln, digamma, gammaln, loggamma, zeta

from bayes_gmm.model.parameters import ArrayOrLike

NEGLIGIBLE = 1e-13  # probability
FEW, ROWS = 0.1, 32  # above this epsilon rows are taken singly; as many between looks at the rest
SUM = 2.0  # of epsilon over the rows that are taken together
MOST_EXPONENT = 100.0  # of a number of rows


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


def cluster_probabilities(n_rows: int, n_components: np.ndarray, total: np.ndarray) -> np.ndarray:
    r"""Probability that N rows make k = 1, 2, ... clusters, for each K and each total K gamma.

    The rows come one by one. After n of them the next one starts a cluster with the probability
    (K - k) gamma / (n + K gamma), whatever the sizes of the clusters are, so that their number is
    a Markov chain:

    .. math:: p_{n+1} = (I + \epsilon_n B)\, p_n, \quad
        \epsilon_n = \frac{K\gamma}{n + K\gamma}, \quad
        (B p)(k) = \frac{K - k + 1}{K}\, p(k - 1) - \frac{K - k}{K}\, p(k)

    B is the same for all rows, so that many of them are one step,

    .. math:: \prod_n (I + \epsilon_n B) = \sum_j e_j B^j,

    with the elementary symmetric polynomials e_j of their epsilon. Once epsilon is small, rows are
    taken together until its sum is 2, and the number of steps grows with log N alone.

    n_components (M,), total (M,) or (1,) -> (M, min(N, max K)).
    """
    most = int(min(n_rows, n_components.max()))
    size = n_components[:, None]
    unused = np.maximum(size - np.arange(1, most + 1), 0) / size
    p = np.zeros(unused.shape)
    p[:, 0] = 1.0
    largest = total.max()
    n = 1
    while n < n_rows and (p * unused).sum(axis=1).max() > NEGLIGIBLE:
        if largest / (n + largest) > FEW:
            end = min(n_rows, n + ROWS)
            for row in range(n, end):
                moved = p * unused
                moved *= (total / (row + total))[:, None]
                p -= moved
                p[:, 1:] += moved[:, :-1]
        else:
            rows = (n + largest) * np.expm1(min(SUM / largest, MOST_EXPONENT))
            end = min(n_rows, n + max(1, int(rows)))
            p = _step(p, unused, _power_sums(n, end, total))
        n = end
    return p


def _step(p: np.ndarray, unused: np.ndarray, power_sums: Iterator[np.ndarray]) -> np.ndarray:
    """Sum e_j B^j p until a term is negligible; Newton: j e_j = sum_i (-1)^(i-1) e_(j-i) s_i."""
    term, result = p, p.copy()
    signed: list[np.ndarray] = []
    e: list[np.ndarray] = [np.ones(1)]
    while True:
        j = len(e)
        signed.append((-1) ** (j - 1) * next(power_sums))
        e.append(np.sum([a * b for a, b in zip(reversed(e), signed, strict=True)], axis=0) / j)
        moved = term * unused
        term = -moved
        term[:, 1:] += moved[:, :-1]
        added = e[j][:, None] * term
        result += added
        if np.abs(added).max() < NEGLIGIBLE:
            return result


def _power_sums(first: int, end: int, total: np.ndarray) -> Iterator[np.ndarray]:
    """Sums of epsilon^i over the rows n = first..end - 1 for i = 1, 2, ...; each (M,) or (1,)."""
    low, high = first + total, end + total
    yield total * (digamma(high) - digamma(low))
    yield from (total**i * (zeta(i, low) - zeta(i, high)) for i in count(2))


def cluster_probabilities_of_process(n_rows: int, alpha: float) -> np.ndarray:
    r"""Probability that N rows make k = 1..N clusters under a Dirichlet process, (N,).

    After n rows the next one starts a cluster with probability alpha / (n + alpha), so that their
    number is a sum of independent events with the generating function

    .. math:: \mathrm{E}\, u^{K_+} = \prod_{n=0}^{N-1} \frac{n + \alpha u}{n + \alpha}
        = \frac{\Gamma(N + \alpha u)}{\Gamma(\alpha u)} \frac{\Gamma(\alpha)}{\Gamma(N + \alpha)},

    whose values on the unit circle are the Fourier transform of the probabilities.
    """
    u = np.exp(-2j * np.pi * np.arange((n_rows + 1) // 2 + 1) / (n_rows + 1))
    log_u = loggamma(n_rows + alpha * u) - loggamma(alpha * u)
    p = np.fft.irfft(np.exp(log_u - log_rising(alpha, n_rows)), n_rows + 1)
    return np.maximum(p[1:], 0.0)


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
