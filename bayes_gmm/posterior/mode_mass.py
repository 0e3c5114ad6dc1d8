r"""How much of the posterior lies about a mode, by the Laplace-Metropolis estimator.

    log mass = log p(u*) + d/2 log 2 pi + 1/2 log |C|

with u* the best of the draws there, and C their covariance, in d unconstrained coordinates u: log
ratios of weights, means, and the coordinates that the structure of the covariances has, of matrices
their Cholesky factors with the logarithm of the diagonals. p is the density in these coordinates,
the Jacobian included. It is the volume of the normal density that has the draws' height and spread.
"""

import numpy as np
from scipy.special import digamma

from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.posterior.convergence import convergence
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.relabel.pivot import match

DRAWS_PER_COORDINATE = 2  # effective draws, below which a covariance says too little


def log_mass(
    draws: Draws, log_posterior: np.ndarray, structure: Structure = UNCONSTRAINED
) -> float:
    r"""Estimate the logarithm of the integral of the unnormalized posterior about a mode.

    Parameters
    ----------
    draws : Draws
        Of chains in this mode, named in any order: they are named after the best of them.
    log_posterior : ndarray (chain, draw)
        Log density of (phi, mu, Sigma), up to a constant.
    structure : Structure
        Of all draws.

    Returns
    -------
    float
        Not a number if there are too few effective draws for a covariance. Its logarithm is
        corrected for their number, as if they were normal and independent.

    References
    ----------
    Lewis & Raftery (1997), J. Am. Statist. Assoc. 92, eq. 5.
    """
    height = log_posterior + unconstrained(draws, structure)[1]
    best = np.unravel_index(np.argmax(height), height.shape)
    pivot = Parameters(*(array[best] for array in draws))
    free, _ = unconstrained(draws.reorder(match(*draws, pivot).permutation), structure)
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


def unconstrained(
    draws: Draws, structure: Structure = UNCONSTRAINED
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates without bounds, and log |d(phi, mu, Sigma) / du|.

    Parameters
    ----------
    draws : Draws
    structure : Structure

    Returns
    -------
    coordinates : ndarray (chain, draw, d)
        As many as there are free parameters.
    log_jacobian : ndarray (chain, draw)
    """
    lead = draws.weights.shape[:2]
    log_weights = np.log(np.maximum(draws.weights, np.finfo(float).tiny))
    of_covariances = structure.coordinates(draws.covariances)
    parts = [log_weights[..., :-1] - log_weights[..., -1:], draws.means, of_covariances]
    return (
        np.concatenate([part.reshape(*lead, -1) for part in parts], axis=-1),
        log_weights.sum(axis=-1) + structure.log_jacobian(draws.covariances),
    )
