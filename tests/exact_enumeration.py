r"""Exact posteriors of tiny mixtures: the sum over all K^N labellings, each in closed form.

Given the labels z, weights and components integrate out of a conjugate model:

    p(x, z) = Gamma(A) / Gamma(A + N) prod_k Gamma(alpha_k + n_k) / Gamma(alpha_k) p_k(rows of k),

where p_k is the marginal density of a normal-inverse-Wishart component, so that every posterior
expectation is a finite sum. Nothing here is shared with the package but the container of the prior.
Rows of a component are a bit set: there are 2^N of them, fewer than labellings.

A test samples a problem by an engine, and holds `z_scores(draws, exact)` below 5:

>>> problem = problems()[0]
>>> exact = enumerate_posterior(problem.x, problem.prior)
>>> exact.co_clustering.shape == (len(problem.x),) * 2
True
"""

from functools import cached_property
from typing import NamedTuple

import arviz as az
import numpy as np
from scipy.special import gammaln, logsumexp, multigammaln

from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior

MOST_ROWS = 9


class Problem(NamedTuple):
    """Rows (N, D) and a prior."""

    name: str
    x: np.ndarray
    prior: ConjugatePrior


class Component(NamedTuple):
    """Posterior of one component for every set of rows it may hold: arrays over the 2^N sets."""

    count: np.ndarray
    precision: np.ndarray
    degrees: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    log_marginal: np.ndarray


class Exact:
    """Posterior expectations of a tiny problem; made by `enumerate_posterior`.

    Attributes
    ----------
    labellings : ndarray of int (K^N, N)
    probability : ndarray (K^N,)
        Posterior probability of each labelling.
    log_evidence : float
        log p(x).
    n_occupied : ndarray (K + 1,)
        Probability that j components hold rows, j = 0..K.
    occupied : ndarray (K,)
        Probability that component k holds rows.
    co_clustering : ndarray (N, N)
        P(z_i = z_j).
    weights : ndarray (K,)
        E w_k.
    sum_of_squared_weights : float
        E sum_k w_k^2.
    """

    def __init__(self, x: np.ndarray, prior: ConjugatePrior):
        n_rows, n_components = len(x), prior.n_components
        assert n_rows <= MOST_ROWS, "K^N labellings are too many"
        self.x, self.prior = x, prior
        self.components = [_component(x, prior, k) for k in range(n_components)]
        self.labellings = np.indices((n_components,) * n_rows).reshape(n_rows, -1).T
        holds = self.labellings[:, None, :] == np.arange(n_components)[:, None]
        self._sets = holds @ (1 << np.arange(n_rows))  # (K^N, K)
        count, alpha = holds.sum(axis=2), prior.concentration
        self._alpha = alpha + count
        log_labels = (
            gammaln(alpha.sum())
            - gammaln(alpha.sum() + n_rows)
            + (gammaln(self._alpha) - gammaln(alpha)).sum(axis=1)
        )
        log_rows = sum(
            component.log_marginal[self._sets[:, k]] for k, component in enumerate(self.components)
        )
        log_joint = log_labels + log_rows
        self.log_evidence = float(logsumexp(log_joint))
        self.probability = np.exp(log_joint - self.log_evidence)
        occupied = count > 0
        self.n_occupied = np.bincount(
            occupied.sum(axis=1), self.probability, minlength=n_components + 1
        )
        self.occupied = self.probability @ occupied
        same = self.labellings[:, :, None] == self.labellings[:, None, :]
        self.co_clustering = np.einsum("z,zij->ij", self.probability, same)
        total = alpha.sum() + n_rows
        self.weights = self.probability @ self._alpha / total
        squares = (self._alpha * (self._alpha + 1)).sum(axis=1) / (total * (total + 1))
        self.sum_of_squared_weights = float(self.probability @ squares)

    def predictive(self, points: np.ndarray) -> np.ndarray:
        r"""Posterior predictive density of a new row, a mixture of Student's t over all labellings.

        .. math:: p(x^* \mid x) = \sum_z p(z \mid x) \sum_k \frac{\alpha_k + n_k}{A + N}
            t_{\nu_k' - D + 1}\!\left(x^*; m_k',
            \frac{\kappa_k' + 1}{\kappa_k' (\nu_k' - D + 1)} \Psi_k'\right)

        Parameters
        ----------
        points : ndarray (M, D)

        Returns
        -------
        ndarray (M,)
        """
        share = self.probability[:, None] * self._alpha / self._alpha.sum(axis=1, keepdims=True)
        density = np.zeros(len(points))
        for k, component in enumerate(self.components):
            of_set = np.bincount(self._sets[:, k], share[:, k], minlength=len(component.count))
            density += of_set @ np.exp(_log_student(points, component))
        return density

    def conjugate(self, z: int) -> ConjugatePrior:
        """Posterior of the parameters given labelling z."""
        parts = [
            (c.mean[s], c.precision[s], c.degrees[s], c.scale[s])
            for c, s in zip(self.components, self._sets[z], strict=True)
        ]
        return ConjugatePrior(
            self._alpha[z], *(np.array(part) for part in zip(*parts, strict=True))
        )

    @cached_property
    def theta(self) -> Parameters:
        """A point of high posterior density, taken given the most probable labelling."""
        given = self.conjugate(int(np.argmax(self.probability)))
        spread = given.degrees_of_freedom + given.n_features + 2
        return Parameters(
            given.concentration / given.concentration.sum(),
            given.mean,
            given.scale / spread[:, None, None],
        )

    @cached_property
    def inverse_evidence(self) -> np.ndarray:
        """p(theta | x, z) / p(theta | x) at `theta` for each labelling; the posterior mean is 1.

        By Bayes' rule the denominator is p(x, theta) / p(x), so that this mean holds the evidence:
        Chib's identity.
        """
        log_joint = mixture.log_likelihood(self.x, self.theta) + self.prior.log_density(self.theta)
        return np.exp(self.log_density_given_labels(self.theta) - log_joint + self.log_evidence)

    def log_density_given_labels(self, theta: Parameters) -> np.ndarray:
        """log p(theta | x, z) of every labelling, (K^N,)."""
        log_density = (
            gammaln(self._alpha.sum(axis=1))
            - gammaln(self._alpha).sum(axis=1)
            + (self._alpha - 1) @ np.log(theta.weights)
        )
        for k, component in enumerate(self.components):
            of_set = _log_component_density(theta.means[k], theta.covariances[k], component)
            log_density += of_set[self._sets[:, k]]
        return log_density


def enumerate_posterior(x: np.ndarray, prior: ConjugatePrior) -> Exact:
    """Sum over all labellings of at most nine rows.

    Parameters
    ----------
    x : ndarray (N, D)
    prior : ConjugatePrior
        Proper; it may say something else of each component.

    Returns
    -------
    Exact
    """
    return Exact(np.asarray(x, dtype=float), prior)


def _component(x: np.ndarray, prior: ConjugatePrior, k: int) -> Component:
    """Integrate one component out for each set of rows; Murphy (2012), eqs. 4.209 to 4.214."""
    n_rows, n_features = x.shape
    m, kappa = prior.mean[k], prior.mean_precision[k]
    nu, psi = prior.degrees_of_freedom[k], prior.scale[k]
    holds = (np.arange(1 << n_rows)[:, None] >> np.arange(n_rows)) & 1  # (2^N, N)
    count = holds.sum(axis=1)
    precision, degrees = kappa + count, nu + count
    residual = x - m
    # About the prior mean: Psi' = Psi + sum d d' - (sum d)(sum d)' / kappa'.
    total = holds @ residual
    raw = np.einsum("sn,ni,nj->sij", holds, residual, residual)
    scale = psi + raw - total[:, :, None] * total[:, None, :] / precision[:, None, None]
    log_marginal = (
        -0.5 * count * n_features * np.log(np.pi)
        + 0.5 * n_features * (np.log(kappa) - np.log(precision))
        + multigammaln(0.5 * degrees, n_features)
        - multigammaln(0.5 * nu, n_features)
        + 0.5 * nu * np.linalg.slogdet(psi)[1]
        - 0.5 * degrees * np.linalg.slogdet(scale)[1]
    )
    return Component(count, precision, degrees, m + total / precision[:, None], scale, log_marginal)


def _log_component_density(
    mean: np.ndarray, covariance: np.ndarray, component: Component
) -> np.ndarray:
    """Log density of one component's mean and covariance given each set of rows, (2^N,)."""
    n_features = len(mean)
    precision, half = np.linalg.inv(covariance), 0.5 * component.degrees
    log_det = np.linalg.slogdet(covariance)[1]
    gap = mean - component.mean
    log_normal = 0.5 * (
        n_features * np.log(component.precision / (2 * np.pi))
        - log_det
        - component.precision * np.einsum("si,ij,sj->s", gap, precision, gap)
    )
    log_wishart = (
        half * np.linalg.slogdet(component.scale)[1]
        - half * n_features * np.log(2)
        - multigammaln(half, n_features)
        - (half + 0.5 * (n_features + 1)) * log_det
        - 0.5 * np.einsum("sij,ji->s", component.scale, precision)
    )
    return log_normal + log_wishart


def _log_student(points: np.ndarray, component: Component) -> np.ndarray:
    """Log predictive density of new rows given each set of rows, (2^N, M)."""
    n_features = points.shape[1]
    freedom = component.degrees - n_features + 1
    spread = (component.precision + 1) / (component.precision * freedom)
    shape = spread[:, None, None] * component.scale
    residual = points - component.mean[:, None, :]
    squared = np.einsum("smi,sij,smj->sm", residual, np.linalg.inv(shape), residual)
    log_constant = (
        gammaln(0.5 * (freedom + n_features))
        - gammaln(0.5 * freedom)
        - 0.5 * n_features * np.log(np.pi * freedom)
        - 0.5 * np.linalg.slogdet(shape)[1]
    )
    power = 0.5 * (freedom + n_features)[:, None]
    return log_constant[:, None] - power * np.log1p(squared / freedom[:, None])


class Sampled(NamedTuple):
    """Draws (chain, draw, ...) of the quantities whose expectations `Exact` knows."""

    n_occupied: np.ndarray
    occupied: np.ndarray
    co_clustering: np.ndarray
    weights: np.ndarray
    sum_of_squared_weights: np.ndarray
    predictive: np.ndarray
    inverse_evidence: np.ndarray


PROBABILITIES = ("n_occupied", "occupied", "co_clustering")


def points_of(x: np.ndarray) -> np.ndarray:
    """Where a problem's predictive density is compared: near, between and beyond the rows."""
    middle, spread = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    return np.array([middle, x[0] + 0.2 * spread, middle + 2 * spread, (x[0] + x[-1]) / 2])


def sampled_quantities(
    exact: Exact,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> Sampled:
    """Compute what `Exact` knows for every draw of an engine.

    Parameters
    ----------
    exact : Exact
    weights, means, covariances : ndarray (chain, draw, K, ...)
        In the units of exact.x.
    labels : ndarray of int (chain, draw, N), optional
        Drawn given the parameters; sampled here if the engine has none.
    seed : int

    Returns
    -------
    Sampled
    """
    n_rows, n_components = len(exact.x), weights.shape[-1]
    points = points_of(exact.x)
    joint = weights[..., None, :] * normal_density(exact.x, means, covariances)
    if labels is None:
        cumulative = joint.cumsum(axis=-1)
        uniform = np.random.default_rng(seed).random((*weights.shape[:2], n_rows, 1))
        labels = (cumulative <= uniform * cumulative[..., -1:]).sum(axis=-1)
    occupied = (labels[..., None] == np.arange(n_components)).any(axis=2)
    which = labels @ n_components ** np.arange(n_rows)[::-1]
    place = np.arange(n_components + 1)
    return Sampled(
        n_occupied=occupied.sum(axis=2)[..., None] == place,
        occupied=occupied,
        co_clustering=labels[..., :, None] == labels[..., None, :],
        weights=weights,
        sum_of_squared_weights=(weights**2).sum(axis=-1),
        predictive=np.einsum("cdk,cdmk->cdm", weights, normal_density(points, means, covariances)),
        inverse_evidence=exact.inverse_evidence[which],
    )


def normal_density(rows: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """N(row; mean_k, covariance_k) of every draw, (chain, draw, M, K), nan left out."""
    if np.isnan(rows).any():
        parts = []
        for row in rows:
            o = np.flatnonzero(~np.isnan(row))
            own = covariances[..., o[:, None], o]
            parts.append(normal_density(row[None, o], means[..., o], own))
        return np.concatenate(parts, axis=2)
    precision = np.linalg.inv(covariances)
    residual = rows[:, None, :] - means[:, :, None]
    squared = np.einsum("cdmki,cdkij,cdmkj->cdmk", residual, precision, residual, optimize=False)
    log_det = np.linalg.slogdet(2 * np.pi * covariances)[1]
    return np.exp(-0.5 * (squared + log_det[:, :, None]))


def z_scores(sampled: Sampled, exact: Exact) -> dict[str, np.ndarray]:
    """How many Monte Carlo standard errors every mean is from its exact value.

    Errors come from the effective sample size. An event that is too rare for that gets the error
    that independent draws would have, so that its absence is no surprise.

    Parameters
    ----------
    sampled : Sampled
    exact : Exact

    Returns
    -------
    dict of str to ndarray
    """
    scores = {}
    for name, draws in sampled._asdict().items():
        if name == "predictive":
            expected = exact.predictive(points_of(exact.x))
        elif name == "inverse_evidence":
            expected = np.array(1.0)
        else:
            expected = np.asarray(getattr(exact, name))
        scores[name] = np.reshape(
            [
                _z_score(draws[:, :, *place], expected[place], name in PROBABILITIES)
                for place in np.ndindex(expected.shape)
            ],
            expected.shape,
        )
    return scores


def _z_score(draws: np.ndarray, expected: float, is_probability: bool) -> float:
    draws = draws.astype(float)
    gap = draws.mean() - expected
    error = 0.0 if np.ptp(draws) == 0 else float(az.mcse(draws, method="mean"))
    if is_probability:
        variance = max(expected * (1 - expected), 0.0)
        error = max(error, np.sqrt(variance / draws.size))
    # A constant has no error but rounding.
    return gap / max(error, 1e-10 * max(1.0, abs(expected)))


def worst(scores: dict[str, np.ndarray]) -> tuple[float, str]:
    """Largest |z| and the name of its quantity."""
    return max((float(np.abs(values).max()), name) for name, values in scores.items())


def problems() -> list[Problem]:
    """Varied tiny problems, the same every time."""
    pair = np.array([[-1.0], [1.2]])
    line = np.array([[-2.1], [-1.8], [-1.5], [1.4], [1.9], [2.2], [2.4], [-2.6]])
    crowd = np.array([[-0.9], [-0.4], [0.0], [0.1], [0.5], [1.3], [-1.2], [0.8], [2.0]])
    tied = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [3.0]])
    plane = np.random.default_rng(3).normal(size=(7, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    apart = plane + 4 * np.array([[1, 1], [1, 1], [1, 1], [0, 0], [0, 0], [0, 0], [0, 0]])
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    three = np.array([[0.0, 0.0], [2.0, 0.5], [0.5, 2.0]])
    return [
        Problem("one component, 1-D", crowd, _prior(crowd, 1, 1.0)),
        Problem("one component, 2-D", plane, _prior(plane, 1, 2.0)),
        Problem("two rows, K = 2", pair, _prior(pair, 2, 1.0)),
        Problem("two rows, K = 3", pair, _prior(pair, 3, 0.7)),
        Problem("separated, K = 2", line, _prior(line, 2, 1.0)),
        Problem("separated, K = 3", line, _prior(line, 3, 1.0)),
        Problem("overlapping, K = 2", crowd, _prior(crowd, 2, 1.0)),
        Problem("overlapping, K = 3, sparse", crowd, _prior(crowd, 3, 0.5)),
        Problem("overlapping, K = 3, even", crowd[:8], _prior(crowd, 3, 5.0)),
        Problem("ties, K = 2", tied, _prior(tied, 2, 2.0)),
        Problem("ties, K = 3", tied, _prior(tied, 3, 0.5)),
        Problem("plane, K = 2", plane, _prior(plane, 2, 1.0)),
        Problem("plane, K = 3", plane, _prior(plane, 3, 1.5)),
        Problem("plane, separated, K = 2", apart, _prior(apart, 2, 1.0)),
        Problem("plane, separated, K = 3", apart, _prior(apart, 3, 0.5)),
        Problem("corners with a tie, K = 2", square, _prior(square, 2, 1.0)),
        Problem("three rows in a plane, K = 3", three, _prior(three, 3, 1.0)),
        Problem("data-scaled default prior", line, ConjugatePrior.default(line, 2)),
        Problem("default prior, plane", plane, ConjugatePrior.default(plane, 2)),
        Problem("components told apart, K = 2", crowd, _told_apart(crowd, 2)),
        Problem("components told apart, K = 3", line, _told_apart(line, 3)),
        Problem("components told apart, plane", plane, _told_apart(plane, 2)),
    ]


def _prior(x: np.ndarray, n_components: int, concentration: float) -> ConjugatePrior:
    """A prior about as wide as the data, the same for every component."""
    n_features = x.shape[1]
    return ConjugatePrior(
        np.full(n_components, concentration),
        x.mean(axis=0),
        0.3,
        n_features + 3.0,
        np.cov(x.T).reshape(n_features, n_features) + 0.2 * np.eye(n_features),
    )


def _told_apart(x: np.ndarray, n_components: int) -> ConjugatePrior:
    """A prior that is different for every component in every field."""
    n_features = x.shape[1]
    place = np.arange(n_components)
    turned = 0.3 * (np.ones((n_features, n_features)) - np.eye(n_features))
    return ConjugatePrior(
        0.5 + place,
        x.mean(axis=0) + x.std(axis=0) * (place - 0.4)[:, None],
        0.2 + 0.5 * place,
        n_features + 2.5 + place,
        np.stack([(0.5 + 0.4 * k) * (np.eye(n_features) + turned) for k in place]),
    )
