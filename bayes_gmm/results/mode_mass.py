r"""How much of the posterior lies about a mode, by the Laplace-Metropolis estimator.

    log mass = log p(u*) + d/2 log 2 pi + 1/2 log |C|

with u* the best of the draws there, and C their covariance, in d unconstrained coordinates u: log
ratios of weights, means, and the Cholesky factors of the covariances with the logarithm of their
diagonals. p is the density in these coordinates, the Jacobian included. It is the volume of the
normal density that has the draws' height and spread.
"""

import numpy as np
from scipy.special import digamma

from bayes_gmm.model.normal import LOG_2PI, cholesky
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.convergence import convergence
from bayes_gmm.results.draws import Draws
from bayes_gmm.results.relabel.pivot import match

DRAWS_PER_COORDINATE = 2  # effective draws, below which a covariance says too little


def log_mass(draws: Draws, log_posterior: np.ndarray) -> float:
    r"""Estimate the logarithm of the integral of the unnormalized posterior about a mode.

    Parameters
    ----------
    draws : Draws
        Of chains in this mode, named in any order: they are named after the best of them.
    log_posterior : ndarray (chain, draw)
        Log density of (phi, mu, Sigma), up to a constant.

    Returns
    -------
    float
        Not a number if there are too few effective draws for a covariance. Its logarithm is
        corrected for their number, as if they were normal and independent.

    References
    ----------
    Lewis & Raftery (1997), J. Am. Statist. Assoc. 92, eq. 5.
    """
    height = log_posterior + _log_jacobian(draws)
    best = np.unravel_index(np.argmax(height), height.shape)
    pivot = Parameters(*(array[best] for array in draws))
    free = unconstrained(draws.reorder(match(*draws, pivot).permutation))
    size = free.shape[-1]
    effective = min(float(np.median(convergence(free, ["ess_bulk"]).ess_bulk)), height.size)
    if not effective > DRAWS_PER_COORDINATE * size:
        return float("nan")
    flat = free.reshape(-1, size)
    sd = flat.std(axis=0, ddof=1)
    correlation = np.corrcoef(flat, rowvar=False).reshape(size, size)
    log_det = 2 * np.log(sd).sum() + np.linalg.slogdet(correlation)[1]
    # E log |C| of n independent normal draws, by which the logarithm is too small.
    log_det -= (digamma((effective - 1 - np.arange(size)) / 2) - np.log((effective - 1) / 2)).sum()
    return float(height[best] + 0.5 * (size * LOG_2PI + log_det))


def unconstrained(draws: Draws) -> np.ndarray:
    """Coordinates without bounds, (chain, draw, K - 1 + K D + K D (D + 1) / 2).

    Parameters
    ----------
    draws : Draws
    """
    lead, n_features = draws.weights.shape[:2], draws.means.shape[-1]
    log_weights = np.log(np.maximum(draws.weights, np.finfo(float).tiny))
    factors = cholesky(draws.covariances, "covariances")
    diagonal = np.arange(n_features)
    parts = [
        log_weights[..., :-1] - log_weights[..., -1:],
        draws.means,
        np.log(factors[..., diagonal, diagonal]),
        factors[..., *np.tril_indices(n_features, -1)],
    ]
    return np.concatenate([part.reshape(*lead, -1) for part in parts], axis=-1)


def _log_jacobian(draws: Draws) -> np.ndarray:
    r"""Log of |d(phi, mu, Sigma) / du|: sum_k log phi_k + sum_ki (D - i + 2) log L_ii + K D log 2.

    The derivative of L L' by the entries of L is 2^D prod_i L_ii^(D-i+1), i = 1..D, and that of
    L_ii by its logarithm is L_ii.
    """
    n_components, n_features = draws.means.shape[2:]
    diagonal = np.einsum("...kii->...ki", cholesky(draws.covariances, "covariances"))
    powers = np.arange(n_features + 1, 1, -1)
    log_weights = np.log(np.maximum(draws.weights, np.finfo(float).tiny))
    of_weights = log_weights.sum(axis=-1)
    of_covariances = (powers * np.log(diagonal)).sum(axis=(-2, -1))
    return of_weights + of_covariances + n_components * n_features * np.log(2)
