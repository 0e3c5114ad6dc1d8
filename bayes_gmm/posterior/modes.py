r"""Posterior mass of a mode, by the Laplace-Metropolis estimator.

    log mass = log p(u*) + d/2 log 2 pi + 1/2 log |C|

with u* the best of the draws there, and C their covariance, in d unconstrained coordinates u: log
ratios of weights, means, and the coordinates that the structure of the covariances has, of matrices
their Cholesky factors with the logarithm of the diagonals. p is the density in these coordinates,
the Jacobian included. It is the volume of the normal density that has the draws' height and spread.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import digamma

from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.posterior.convergence import convergence
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.pivot import match

DRAWS_PER_COORDINATE = 2  # effective draws, below which a covariance says too little


def log_mass(
    draws: Draws, log_posterior: np.ndarray, structure: Structure = UNCONSTRAINED
) -> float:
    r"""Estimate the logarithm of the integral of the unnormalized posterior about a mode.

    The draws, of chains in this mode, are named after the best of them. Not a number if there are
    too few effective draws for a covariance; its logarithm is corrected for their number, as if
    they were normal and independent.

    Shapes: log_posterior (chain, draw).

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

    Shapes: -> coordinates (chain, draw, d), log_jacobian (chain, draw).
    """
    lead = draws.weights.shape[:2]
    log_weights = np.log(np.maximum(draws.weights, np.finfo(float).tiny))
    of_covariances = structure.coordinates(draws.covariances)
    parts = [log_weights[..., :-1] - log_weights[..., -1:], draws.means, of_covariances]
    return (
        np.concatenate([part.reshape(*lead, -1) for part in parts], axis=-1),
        log_weights.sum(axis=-1) + structure.log_jacobian(draws.covariances),
    )


class Mode(NamedTuple):
    """Chains that have settled in one place."""

    chains: list[int]
    height: float  # Mean log posterior, or log-likelihood where the prior has no density
    share: float  # Of the posterior mass of all modes found; not a number if it cannot be told


def weighed(
    groups: list[list[int]],
    draws: Draws,
    heights: np.ndarray,
    structure: Structure,
    *,
    with_prior: bool,
) -> list[Mode]:
    """Estimate the share of each mode, if there are several and the heights know the prior.

    Shapes: heights (chain, draw).
    """
    if len(groups) <= 1 or not with_prior:
        shares = np.full(len(groups), 1.0 if len(groups) == 1 else np.nan)
    else:
        masses = np.array(
            [
                log_mass(Draws(*(array[group] for array in draws)), heights[group], structure)
                for group in groups
            ]
        )
        shares = np.exp(masses - np.logaddexp.reduce(masses))
    return [
        Mode(group, float(heights[group].mean()), float(share))
        for group, share in zip(groups, shares, strict=True)
    ]
