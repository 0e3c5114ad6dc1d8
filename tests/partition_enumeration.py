r"""Exact posteriors of mixtures with an unknown number of components: the sum over all partitions.

Given a partition C of the rows into blocks, weights integrate out, and so do the components:

    p(x, C, K, alpha, h) = p(K) p(alpha) p(h) p(C | K, alpha) prod_j m(rows of block j | h)

m is the marginal density of the rows of one component, and h what all components share: nothing,
the scale Psi of a hierarchical prior, or one variance. The sums over K and alpha depend on the
sizes of the blocks alone, and the sum over h on the blocks, so that a partition has a product of
two sums. Eight rows have 4140 partitions. A block is a bit set.

Nothing here is shared with the package but the containers of the priors and p(K): alpha and h are
integrated by the trapezoidal rule with SciPy's densities, rising factorials are products.

>>> number = bg.NumberOfComponents("uniform", maximum=3, alpha=1.0)
>>> prior = bg.ConjugatePrior([1.0], [0.0], 0.3, 3.0, [[1.0]])
>>> result = exact(np.array([[-2.0], [-1.9], [2.0]]), number, prior)
>>> bool(result.co_clustering[0, 1] > result.co_clustering[0, 2])
True
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from exact_enumeration import _component
from scipy import stats
from scipy.special import gammaln, logsumexp, multigammaln

import bayes_gmm as bg

MOST_ROWS = 9
STEP = 0.2  # of log alpha and of log variances
TAIL = 30.0  # nodes end where the density has fallen to exp(-30)


class FixedScale(NamedTuple):
    """mu ~ N(mean, diag(mean_sd^2)) and Sigma ~ IW(nu, Psi), independent; D is 1 or 2."""

    mean: np.ndarray
    mean_sd: np.ndarray
    degrees_of_freedom: float
    scale: np.ndarray


class SharedVariance(NamedTuple):
    """One variance for all components, ~ IW(nu, Psi), and mu ~ N(m, variance / kappa); D = 1."""

    prior: bg.ConjugatePrior


Prior = bg.ConjugatePrior | bg.HierarchicalPrior | FixedScale | SharedVariance


class Exact(NamedTuple):
    """Posterior of K, of the partition and of label-invariant quantities; made by `exact`."""

    log_evidence: float  # log p(x)
    p_k: np.ndarray  # (maximum,): p(K | x) for K = 1, 2, ...; empty for a Dirichlet process
    p_clusters: np.ndarray  # (N,): p(K+ | x) for K+ = 1, 2, ...
    co_clustering: np.ndarray  # (N, N)
    sum_of_squared_weights: float  # E sum_k phi_k^2
    mean_log_alpha: float
    mean_alpha: float  # under F(6, 3) the variance of alpha is infinite: compare its log
    log_density: Callable[[np.ndarray], np.ndarray]  # points (M, D) -> (M,), log p(y | x)


class Nodes(NamedTuple):
    """Arrays over nodes of alpha and over K (A, M), for one partition's sizes of blocks."""

    log_p: np.ndarray  # log p(alpha) p(K) p(C | K, alpha)
    alpha: np.ndarray
    gamma: np.ndarray  # what each block has besides its rows
    total: np.ndarray  # K gamma
    unused: np.ndarray  # (K - k) gamma, what the components without rows have


def exact(x: np.ndarray, number: bg.NumberOfComponents, prior: Prior) -> Exact:
    """Sum over all partitions of at most nine rows.

    Parameters
    ----------
    x : ndarray (N, D)
    number : NumberOfComponents
    prior : ConjugatePrior, HierarchicalPrior, FixedScale or SharedVariance
        Of one component; only the first one of a ConjugatePrior is read, and no concentration.

    Returns
    -------
    Exact
    """
    x = np.asarray(x, dtype=float)
    n_rows = len(x)
    assert n_rows <= MOST_ROWS, "there are too many partitions"
    log_h, marginal_of = _shared(prior)
    log_m = marginal_of(x)  # (H, 2^N)
    everything = [(labels, _bits(labels)) for labels in partitions(n_rows)]
    nodes = {key: _nodes(number, key) for key in {_sizes(of) for _, of in everything}}
    log_sizes = {key: logsumexp(of.log_p) for key, of in nodes.items()}
    possible = [(z, of) for z, of in everything if log_sizes[_sizes(of)] > -np.inf]
    nodes = {key: of for key, of in nodes.items() if log_sizes[key] > -np.inf}
    labels, blocks = np.array([z for z, _ in possible]), [of for _, of in possible]
    sizes = [_sizes(of) for of in blocks]
    log_rows = np.array([log_h + log_m[:, of].sum(axis=1) for of in blocks])  # (C, H)
    log_joint = np.array([log_sizes[key] for key in sizes]) + logsumexp(log_rows, axis=1)
    log_evidence = float(logsumexp(log_joint))
    p = np.exp(log_joint - log_evidence)
    of_size = {key: sum(p[i] for i, other in enumerate(sizes) if other == key) for key in nodes}
    given = {key: np.exp(of.log_p - log_sizes[key]) for key, of in nodes.items()}

    def mean(of: Callable[[Nodes, tuple[int, ...]], np.ndarray]) -> np.ndarray:
        """Posterior mean of a function of K, alpha and the sizes of the blocks."""
        return sum(of_size[key] * (given[key] * of(nodes[key], key)).sum() for key in nodes)

    p_k = sum(of_size[key] * given[key].sum(axis=0) for key in nodes)
    clusters = np.array([len(of) for of in blocks])
    same = labels[:, :, None] == labels[:, None, :]

    def log_density(points: np.ndarray) -> np.ndarray:
        """p(y | x): y joins a block of n rows with probability (n + gamma) / (N + K gamma)."""
        chance = np.exp(log_rows - logsumexp(log_rows, axis=1, keepdims=True))
        chance *= p[:, None]
        joins = {
            key: [
                (given[key] * mass / (of.total + n_rows)).sum()
                for mass in [*(n + of.gamma for n in range(n_rows + 1)), of.unused]
            ]
            for key, of in nodes.items()
        }
        weight = np.zeros_like(log_m)  # (H, 2^N): how probable it is that y joins a block
        for of_h, of, key in zip(chance, blocks, sizes, strict=True):
            for block in of:
                weight[:, block] += of_h * joins[key][block.bit_count()]
            weight[:, 0] += of_h * joins[key][-1]
        density = []
        for y in np.atleast_2d(points):
            longer = marginal_of(np.vstack([x, y]))[:, 1 << n_rows :]  # sets that hold y
            ratio = np.exp(np.where(weight > 0, longer - log_m, -np.inf))
            density.append((weight * ratio).sum())
        return np.log(density)

    return Exact(
        log_evidence=log_evidence,
        p_k=np.array([]) if number.is_dirichlet_process else p_k,
        p_clusters=np.bincount(clusters, p, minlength=n_rows + 1)[1:],
        co_clustering=np.tensordot(p, same, 1),
        sum_of_squared_weights=mean(_squares),
        mean_log_alpha=mean(lambda of, _: np.log(of.alpha)),
        mean_alpha=mean(lambda of, _: of.alpha),
        log_density=log_density,
    )


def partitions(n: int) -> Iterator[tuple[int, ...]]:
    """All partitions of n rows, as labels (n,): each label is an earlier one, or the next."""
    if n == 0:
        yield ()
        return
    for labels in partitions(n - 1):
        for label in range(max(labels, default=-1) + 2):
            yield (*labels, label)


def _bits(labels: tuple[int, ...]) -> list[int]:
    """The blocks of a partition as bit sets."""
    blocks = [0] * (max(labels) + 1)
    for row, label in enumerate(labels):
        blocks[label] |= 1 << row
    return blocks


def _sizes(blocks: list[int]) -> tuple[int, ...]:
    return tuple(sorted(block.bit_count() for block in blocks))


def _nodes(number: bg.NumberOfComponents, sizes: tuple[int, ...]) -> Nodes:
    """Evaluate the prior of K, alpha and a partition into blocks of these sizes.

    p(C | K) = K (K - 1) .. (K - k + 1) prod_j (gamma)_(N_j) / (K gamma)_N; of a Dirichlet process
    alpha^k prod_j (N_j - 1)! / (alpha)_N.
    """
    if number.alpha_kind == "fixed":
        alpha, log_p = np.array([[number.alpha]]), np.zeros((1, 1))
    else:
        kind, a, b = number.alpha
        law = stats.f(a, b) if kind == "F" else stats.gamma(a, scale=1 / b)
        t = np.arange(-60, 100, STEP)[:, None]
        alpha = np.exp(t)
        log_p = law.logpdf(alpha) + t + np.log(STEP)
    k, n_rows = len(sizes), sum(sizes)
    if number.is_dirichlet_process:
        log_c = k * np.log(alpha) + gammaln(sizes).sum() - _log_rising(alpha, n_rows)
        return Nodes(log_p + log_c, alpha, 0 * alpha, alpha, alpha)
    size = np.arange(1.0, number.maximum + 1)
    gamma = alpha / size if number.concentration == "dynamic" else alpha + 0 * size
    with np.errstate(divide="ignore"):
        log_c = sum(np.log(np.maximum(size - j, 0)) for j in range(k))
    log_c = log_c + sum(_log_rising(gamma, n) for n in sizes) - _log_rising(size * gamma, n_rows)
    log_p = log_p + log_c + number.log_probabilities
    return Nodes(log_p, alpha + 0 * gamma, gamma, size * gamma, np.maximum(size - k, 0) * gamma)


def _log_rising(x: np.ndarray, n: int) -> np.ndarray:
    """log x (x + 1) .. (x + n - 1)."""
    return sum(np.log(x + i) for i in range(n))


def _squares(of: Nodes, sizes: tuple[int, ...]) -> np.ndarray:
    """E sum_k phi_k^2 given the partition, from E phi^2 of a Dirichlet distribution."""
    total = of.total + sum(sizes)
    blocks = sum((n + of.gamma) * (n + of.gamma + 1) for n in sizes)
    return (blocks + of.unused * (of.gamma + 1)) / (total * (total + 1))


def _shared(prior: Prior) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Log weights (H,) of what components share, and log marginals (H, 2^N) of sets of rows."""
    if isinstance(prior, bg.ConjugatePrior):
        return np.zeros(1), lambda rows: _component(rows, prior, 0).log_marginal[None]
    if isinstance(prior, FixedScale):
        return np.zeros(1), lambda rows: fixed_scale_marginals(rows, prior)[None]
    if isinstance(prior, SharedVariance):
        return _shared_variance(prior.prior)
    return _hierarchical(prior)


def _shared_variance(prior: bg.ConjugatePrior) -> tuple:
    nu, psi, kappa = prior.degrees_of_freedom[0], prior.scale[0, 0, 0], prior.mean_precision[0]
    t = np.log(psi) + np.arange(-8, 2 * TAIL / nu + 8, STEP)
    log_h = stats.invgamma(0.5 * nu, scale=0.5 * psi).logpdf(np.exp(t)) + t + np.log(STEP)
    variance = np.exp(t)[:, None]
    return log_h, lambda rows: log_normal(rows, variance, prior.mean[0], variance / kappa)


def _hierarchical(prior: bg.HierarchicalPrior) -> tuple:
    """Psi ~ Wishart(q, V) and variances ~ IG(nu / 2, Psi / 2), both on grids of their logarithms.

    The means are integrated out in closed form; grids reach as far down as q / 2 says, because
    single rows do not bound variances from below.
    """
    assert prior.n_features == 1, "the quadrature over Psi is for one feature"
    nu, q, scale = prior.degrees_of_freedom, prior.scale_degrees_of_freedom, prior.scale[0, 0]
    t = np.log(scale * q) + np.arange(-2 * TAIL / q - 8, np.log(1 + TAIL / q) + 5, STEP)
    psi = np.exp(t)
    log_h = stats.gamma(0.5 * q, scale=2 * scale).logpdf(psi) + t + np.log(STEP)
    s = np.arange(t[0] - 8, t[-1] + 2 * TAIL / nu + 8, STEP)
    half = 0.5 * psi[:, None] * np.exp(-s)
    log_law = 0.5 * nu * np.log(half) - gammaln(0.5 * nu) - half + np.log(STEP)
    law = np.exp(log_law)  # (H, L): of log variance given Psi
    variance, spread = np.exp(s)[:, None], prior.mean_sd**2

    def marginals(rows: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(law @ np.exp(log_normal(rows, variance, prior.mean, spread)))

    return log_h, marginals


def log_normal(
    rows: np.ndarray, variance: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Log density of each set of rows of one feature, N(mean, variance I + spread 11').

    rows (N, 1), variance, spread (L, 1) -> (L, 2^N).
    """
    holds = _holds(len(rows))
    count = holds.sum(axis=1)
    d = rows[:, 0] - mean[0]
    total = holds @ d
    within = holds @ d**2 - total**2 / np.maximum(count, 1)
    wide = variance + count * spread
    log_det = (count - 1) * np.log(variance) + np.log(wide)
    squared = within / variance + total**2 / np.maximum(count, 1) / wide
    return -0.5 * np.where(count, count * np.log(2 * np.pi) + log_det + squared, 0.0)


def fixed_scale_marginals(rows: np.ndarray, prior: FixedScale, points: int = 200) -> np.ndarray:
    """Log marginals of sets of rows, on a grid of the mean: what is left is a matrix t, (2^N,).

    int prod_n N(x_n; mu, Sigma) IW(Sigma; nu, Psi) dSigma = pi^(-n D / 2) Gamma_D((nu + n) / 2)
    / Gamma_D(nu / 2) |Psi|^(nu / 2) |Psi + sum_n (x_n - mu)(x_n - mu)'|^(-(nu + n) / 2)
    """
    n_features, nu = rows.shape[1], prior.degrees_of_freedom
    standard = np.linspace(-9, 9, points)
    grid = np.stack(np.meshgrid(*[standard] * n_features), axis=-1).reshape(-1, n_features)
    log_weight = stats.norm.logpdf(grid).sum(axis=1) + n_features * np.log(18 / (points - 1))
    mu = np.asarray(prior.mean) + grid * prior.mean_sd
    log_det = np.linalg.slogdet(prior.scale)[1]
    found = np.zeros(1 << len(rows))
    for place, holds in enumerate(_holds(len(rows))):
        n = holds.sum()
        d = rows[holds == 1][:, None] - mu
        inner = np.linalg.slogdet(prior.scale + np.einsum("ngi,ngj->gij", d, d))[1]
        log_t = 0.5 * nu * log_det - 0.5 * (nu + n) * inner
        log_t += multigammaln(0.5 * (nu + n), n_features) - multigammaln(0.5 * nu, n_features)
        found[place] = logsumexp(log_weight + log_t) - 0.5 * n * n_features * np.log(np.pi)
    return found


def _holds(n_rows: int) -> np.ndarray:
    """Which rows each set holds, (2^N, N)."""
    return (np.arange(1 << n_rows)[:, None] >> np.arange(n_rows)) & 1


class Problem(NamedTuple):
    """Rows (N, D), the prior of K, and the prior of a component."""

    name: str
    x: np.ndarray
    number: bg.NumberOfComponents
    prior: Prior


def problems() -> list[Problem]:
    """Varied tiny problems, the same every time: every prior of K, D = 1 and 2, each family."""
    line = np.array([[-2.1], [-1.8], [-1.5], [1.4], [1.9], [2.2], [2.4], [-2.6]])
    crowd = np.array([[-0.9], [-0.4], [0.1], [0.5], [1.3], [-1.2], [2.0]])
    plane = np.array([[-1.0, 0.2], [-1.4, -0.3], [1.1, 0.4], [1.5, 0.1], [0.2, 2.0], [0.4, 2.5]])
    number = bg.NumberOfComponents
    default, process = number(), number.dirichlet_process(("gamma", 2, 4))
    uniform = number("uniform", maximum=30, concentration="static")
    static = number("poisson", 1.5, concentration="static", alpha=("gamma", 2, 4), maximum=20)
    dynamic = number([0.1, 0.4, 0.3, 0.2], alpha=1.5)
    sparse = number.sparse(5, ("gamma", 10, 50))
    of_line, of_crowd = _about(line), _about(crowd)
    richardson_green = bg.HierarchicalPrior([1.0], [0.0], [5.0], 4.0, 0.4, [[5.0]])
    smooth = bg.HierarchicalPrior([1.0], [0.0], [2.0], 6.0, 3.0, [[0.4]])
    fixed = FixedScale(np.zeros(2), np.array([2.0, 1.5]), 5.0, np.array([[1.0, 0.2], [0.2, 0.8]]))
    return [
        Problem("default, line", line, default, of_line),
        Problem("uniform static, line", line, uniform, of_line),
        Problem("Poisson static gamma, crowd", crowd, static, of_crowd),
        Problem("given dynamic, crowd", crowd, dynamic, of_crowd),
        Problem("sparse, line", line, sparse, of_line),
        Problem("Dirichlet process, crowd", crowd, process, of_crowd),
        Problem("default, plane", plane, default, _about(plane)),
        Problem("uniform static, plane", plane, uniform, _about(plane)),
        Problem("Dirichlet process, plane", plane, process, _about(plane)),
        Problem("Richardson & Green, line", line, uniform, richardson_green),
        Problem("default hierarchical, crowd", crowd, default, smooth),
        Problem("independent means, plane", plane[:5], dynamic, fixed),
        Problem("one variance, line", line, default, SharedVariance(of_line)),
    ]


def _about(x: np.ndarray) -> bg.ConjugatePrior:
    """A prior of a component that is about as wide as half of the data."""
    n_features = x.shape[1]
    scale = 0.5 * np.cov(x.T).reshape(n_features, n_features) + 0.2 * np.eye(n_features)
    return bg.ConjugatePrior([1.0], x.mean(axis=0), 0.2, n_features + 3.0, scale)
