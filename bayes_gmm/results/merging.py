r"""Whether a mixture with one component fewer would do: two components taken for one.

The one has their joint weight, mean and covariance, so that the moments of the whole mixture stay
as they are; where components share parts of their covariances, all take what EM would give them,
were the rows as the mixture says. It is fitted to nothing, and the best mixture of K - 1 components
is better still; so if BIC is lower with two components merged than at this point, it is lower by as
much or more with one fewer. None of this depends on whether chains have converged. But BIC knows no
prior, and charges too much where there are many features and few rows: draws that say otherwise are
believed (`emptiness`).
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.invariants import mixture_moments


class Merger(NamedTuple):
    """Two components, and what taking them for one would save.

    Attributes
    ----------
    one, other : int
    saving : float
        By how much BIC falls; negative if it rises.
    """

    one: int
    other: int
    saving: float


def best_merger(
    point: Parameters,
    draws: Draws,
    log_likelihood: np.ndarray,
    x: np.ndarray | Observations,
    structure: Structure = UNCONSTRAINED,
) -> Merger | None:
    r"""Find the two components whose merger lowers BIC the most, or raises it the least.

    .. math:: \mathrm{BIC}_K - \mathrm{BIC}_{K-1}
        = (p_K - p_{K - 1}) \log N - 2 \{L(\theta) - L(\theta_{\mathrm{merged}})\}

    Parameters
    ----------
    point : Parameters
        theta, the posterior mode. If more than half of the draws have a higher likelihood, which
        those about a mode don't, the best of them takes its place.
    draws : Draws
        Named as the point is.
    log_likelihood : ndarray (chain, draw)
    x : ndarray (N, D) or Observations
        N counts each row as often as it was seen.
    structure : Structure
        By which the free parameters p are counted.

    Returns
    -------
    Merger or None
        None if there is one component.

    Notes
    -----
    A pass over the rows for each of the K (K - 1) / 2 pairs, which is little beside the thousands
    of passes that the draws took.

    References
    ----------
    Schwarz (1978); Fraley & Raftery (2007), J. Classification 24, for BIC at the mode.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> x = bg.datasets.load("faithful").to_numpy()
    >>> theta = bg.parameters(bg.fit(x, 3, prior="default", seed=1))
    >>> draws = Draws(*(a[None, None] for a in (theta.weights, theta.means, theta.covariances)))
    >>> best_merger(theta, draws, np.array([[-1e9]]), x).saving > 0
    True
    """
    if point.n_components == 1:
        return None
    # Rows were checked when they were sampled; here their scale only sets the coordinates.
    observations = structure.standardized(Observations.of(x, spread=np.ones(point.n_features)))
    expect = expectation(observations)
    to_standard = -observations.origin / observations.scale, 1 / observations.scale
    log_unit = observations.total_weight * np.log(observations.scale).sum()

    def likelihood(theta: Parameters) -> float:
        return expect(theta.log_quadratic()).log_normalizer

    theta = point.rescale(*to_standard)
    before = likelihood(theta)
    if np.median(log_likelihood) + log_unit > before:
        best = np.unravel_index(np.argmax(log_likelihood), log_likelihood.shape)
        theta = Parameters(*(array[best] for array in draws)).rescale(*to_standard)
        before = likelihood(theta)
    pairs = list(combinations(range(theta.n_components), 2))
    after = [likelihood(merged(theta, *pair, structure)) for pair in pairs]
    k, n_features = theta.means.shape
    fewer = structure.n_free(k, n_features) - structure.n_free(k - 1, n_features)
    price = fewer * np.log(observations.total_weight)
    place = int(np.argmax(after))
    return Merger(*pairs[place], float(price - 2 * (before - after[place])))


def merged(
    theta: Parameters, one: int, other: int, structure: Structure = UNCONSTRAINED
) -> Parameters:
    r"""Replace two components by one with the same weight, mean and covariance.

    .. math:: \phi = \phi_a + \phi_b, \qquad \mu = \tfrac1\phi (\phi_a \mu_a + \phi_b \mu_b), \qquad
        \Sigma = \tfrac1\phi \sum_{k \in \{a, b\}}
        \phi_k \{\Sigma_k + (\mu_k - \mu)(\mu_k - \mu)^\top\}

    Parameters
    ----------
    theta : Parameters
    one, other : int
        a and b.
    structure : Structure
        Of the result: the covariances of it that are closest to the ones above.

    Returns
    -------
    theta : Parameters
        Of K - 1 components; the new one is the last.
    """
    pair = [one, other]
    total = theta.weights[pair].sum()
    shares = theta.weights[pair] / total if total > 0 else np.array([0.5, 0.5])
    mean, covariance = mixture_moments(shares, theta.means[pair], theta.covariances[pair])
    weights = np.append(np.delete(theta.weights, pair), total)
    covariances = np.append(np.delete(theta.covariances, pair, axis=0), covariance[None], axis=0)
    if not structure.is_unconstrained(theta.n_features):
        held = np.maximum(weights, np.finfo(float).tiny)
        scatter = held[:, None, None] * covariances
        covariances = structure.covariances(scatter, held, covariances)
    means = np.append(np.delete(theta.means, pair, axis=0), mean[None], axis=0)
    return Parameters(weights, means, covariances)
