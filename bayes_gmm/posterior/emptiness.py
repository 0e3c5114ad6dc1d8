r"""Whether draws bear a component out: how rarely one of the K holds no row at all.

A mixture of K components of which one is empty is one of K - 1, so that how often the draws leave
one empty gives the Bayes factor between the two, under the prior that the draws were made with:

    P(n_k = 0 | x) = c p(x | K - 1) / p(x | K),
    c = P(n_k = 0) = Gamma(K a) Gamma(K a - a + N) / {Gamma(K a + N) Gamma(K a - a)},

a being the concentration of the weights. No draw has to be empty for it: given its parameters, a
component has no rows with probability prod_n (1 - r_nk).
"""

import numpy as np
from scipy.special import gammaln
from scipy.stats import beta

from bayes_gmm.data import Observations
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.posterior.draws import Draws

REACHED = 0.99  # share of the empty components that are looked for, those of the smallest weights


def borne_out(
    draws: Draws,
    log_likelihood: np.ndarray,
    concentration: float,
    x: np.ndarray | Observations,
    odds: float,
) -> bool:
    r"""Whether the draws favor K components over K - 1 by more than these odds.

    .. math:: \frac{p(x \mid K)}{p(x \mid K - 1)}
        = c \Big/ \frac{1}{S K} \sum_{sk} \prod_n \{1 - r_{nk}(\theta_s)\}

    Parameters
    ----------
    draws : Draws
        Of at least two components, in any order.
    log_likelihood : ndarray (chain, draw)
    concentration : float
        a, the same for all components.
    x : ndarray (N, D) or Observations
        N counts each row as often as it was seen.
    odds : float

    Returns
    -------
    bool
        False as well where at these odds not even one draw would be empty: that none is says
        little then. True rightly so if the sampler can empty a component and fill it again.

    Notes
    -----
    The weight of an empty component is Beta(a, K a - a + N), so that only draws with a weight about
    as small are looked at, and no more of them than it takes to settle the matter.

    References
    ----------
    Nobile (2004), Ann. Statist. 32.
    """
    n_components = draws.weights.shape[2]
    # Rows were checked when they were sampled; here their scale only sets the coordinates.
    observations = Observations.of(x, spread=np.ones(draws.means.shape[-1]))
    expect = expectation(observations)
    origin, scale, n = observations.origin, observations.scale, observations.total_weight
    height = log_likelihood + n * np.log(scale).sum()
    limit = np.exp(log_empty(concentration, n_components, n)) / odds * draws.weights.size
    if limit < 1:
        return False
    rest = (n_components - 1) * concentration + n
    small = np.argwhere(draws.weights < beta.ppf(REACHED, concentration, rest))
    total = 0.0
    for chain, draw, k in small[np.argsort(draws.weights[tuple(small.T)])]:
        theta = Parameters(*(array[chain, draw] for array in draws)).rescale(
            -origin / scale, 1 / scale
        )
        without = LogQuadratic(*(np.delete(part, k, axis=0) for part in theta.log_quadratic()))
        total += np.exp(min(expect(without).log_normalizer - height[chain, draw], 0.0))
        if total >= limit:
            return False
    return True


def log_empty(concentration: float, n_components: int, n: float) -> float:
    """Log prior probability that a given one of the components holds none of n rows."""
    total = n_components * concentration
    rest = total - concentration
    return float(gammaln(total) + gammaln(rest + n) - gammaln(total + n) - gammaln(rest))
