r"""Bridge sampling: the integral of a density of which there are draws.

    r = E_q [h / (s_p h / r + s_q q)] / E_p [q / (s_p h / r + s_q q)]             r = integral of h

p = h / r is the posterior, q a density that can be drawn from, s_p and s_q the shares of their
draws. With l = log h - log q - log r, both sides of the equation are means of logistic functions
of l, so it has exactly one root, and neither mean can be ruined by tails: the terms are bounded
wherever q or p have no mass.

Meng & Wong (1996), Statistica Sinica 6; Bennett (1976), J. Comput. Phys. 22.
"""

from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

CONSTANT = 1e-9  # relative spread that is rounding
FEWEST_DRAWS = 4  # per chain, of which an effective sample size can be estimated


class Bridge(NamedTuple):
    """An estimate, its standard error, and how many independent draws it is worth on each side."""

    log_integral: float
    standard_error: float
    effective_draws: float  # of the posterior
    effective_proposals: float


def bridge(of_draws: np.ndarray, of_proposals: np.ndarray) -> Bridge:
    r"""Estimate log r from log h - log q at draws (chain, draw), and at proposals (M,).

    The standard error is that of Frühwirth-Schnatter (2004), Econometrics J. 7: the draws count
    as many as are independent, by the autocorrelation of their terms,

    .. math:: \frac{\mathrm{Var}_q f}{M (\mathrm{E}_q f)^2}
        + \frac{\mathrm{Var}_p g}{\mathrm{ESS}_g (\mathrm{E}_p g)^2}

    with f and g the terms of the two means. Shares are taken by these effective draws too. There is
    no estimate, nan, if h is zero at all proposals.
    """
    n_effective = float(of_draws.size)
    if not np.isfinite(of_proposals).any():
        return Bridge(np.nan, np.inf, n_effective, 0.0)
    for _ in range(2):
        log_odds = np.log(n_effective / of_proposals.size)
        found = _root(of_draws, of_proposals, log_odds)
        own, proposed = expit(found - of_draws - log_odds), expit(of_proposals - found + log_odds)
        n_effective = _effective(own)
    error = own.var() / (n_effective * own.mean() ** 2)
    error += proposed.var() / (proposed.size * proposed.mean() ** 2)
    worth = proposed.sum() ** 2 / (proposed**2).sum()
    return Bridge(found, float(np.sqrt(error)), n_effective, float(worth))


def _root(of_draws: np.ndarray, of_proposals: np.ndarray, log_odds: float) -> float:
    """Solve for log r, with log odds = log s_p / s_q."""

    def gap(log_r: float) -> float:
        proposed = _log_mean_expit(of_proposals - log_r + log_odds)
        return proposed - _log_mean_expit(log_r - of_draws.ravel() - log_odds) - log_odds

    finite = np.concatenate([part[np.isfinite(part)].ravel() for part in (of_draws, of_proposals)])
    low, high = finite.min() - abs(log_odds) - 1, finite.max() + abs(log_odds) + 1
    return float(brentq(gap, low, high, xtol=1e-10))


def _log_mean_expit(values: np.ndarray) -> float:
    """Log of the mean of 1 / (1 + exp(-v))."""
    return float(logsumexp(-np.logaddexp(0, -values)) - np.log(values.size))


def _effective(terms: np.ndarray) -> float:
    """Effective sample size of the mean of terms (chain, draw), at most their number."""
    if terms.shape[1] < FEWEST_DRAWS or np.ptp(terms) < CONSTANT * terms.mean():
        return float(terms.size)
    scaled = (terms - terms.mean()) / terms.std()
    found = array_stats.ess(scaled[None], chain_axis=1, draw_axis=2, method="mean")
    return float(min(np.squeeze(found), terms.size))
