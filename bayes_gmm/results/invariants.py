r"""What a draw says whatever its components are called: quantities that convergence is judged by.

A chain that swaps the names of two components looks as if it had not converged, and one that never
does looks converged in the names alone. Sums over components know neither: the log-likelihood, the
log posterior, sum_k phi_k^2, the mean and the covariance of the whole mixture, its density at a few
rows.
"""

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayes_gmm.data import Observations
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.results.labels import labelled
from bayes_gmm.streams import blocks

BLOCK_ROWS = 1 << 14
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the density at the rows: where it is watched


def invariants(
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    observations: Observations,
    prior: Prior,
    pivot: Parameters,
) -> xr.Dataset:
    """Compute the label-free quantities of every draw.

    Parameters
    ----------
    weights : ndarray (chain, draw, K)
    means : ndarray (chain, draw, K, D)
    covariances : ndarray (chain, draw, K, D, D)
    observations : Observations
    prior : Prior
    pivot : Parameters
        The point estimate, which says at which rows the density is watched.

    Returns
    -------
    xarray.Dataset
        With dims (chain, draw): log_likelihood, log_posterior (the log joint density of data and
        parameters), sum_squared_weights, mixture_mean (feature), mixture_covariance_logdet, and
        log_density_at (point), all in the user's units.
    """
    origin, scale = observations.origin, observations.scale
    n_components, n_features = means.shape[-2:]
    shape = weights.shape[:2]
    # Everything is computed in standardized coordinates; a density per unit of x is smaller by
    # the product of the scales, and the prior is a density over K means and K covariances.
    log_unit = np.log(scale).sum()
    log_prior_unit = n_components * (n_features + 2) * log_unit
    means, covariances = (means - origin) / scale, covariances / np.outer(scale, scale)
    prior = prior.rescale(-origin / scale, 1 / scale)
    pivot = pivot.rescale(-origin / scale, 1 / scale)
    rows = watched_rows(observations, pivot)
    watched = (np.asarray(observations.values)[rows] - origin) / scale
    expect = expectation(observations)

    log_likelihood, log_prior = np.empty(shape), np.empty(shape)
    log_joint = np.empty((*shape, len(rows), n_components))
    for place in np.ndindex(shape):
        theta = Parameters(weights[place], means[place], covariances[place])
        log_quadratic = theta.log_quadratic()
        log_likelihood[place] = expect(log_quadratic).log_normalizer
        log_prior[place] = prior.log_density(theta)
        log_joint[place] = log_quadratic(watched)
    log_likelihood -= observations.n_rows * log_unit
    mean, covariance = mixture_moments(weights, means, covariances)

    return labelled(
        {
            "log_likelihood": log_likelihood,
            "log_posterior": log_likelihood + log_prior - log_prior_unit,
            "sum_squared_weights": (weights**2).sum(axis=-1),
            "mixture_mean": origin + scale * mean,
            "mixture_covariance_logdet": np.linalg.slogdet(covariance)[1] + 2 * log_unit,
            "log_density_at": logsumexp(log_joint, axis=-1) - log_unit,
        },
        feature_names=observations.feature_names,
        leading=("chain", "draw"),
        dims={"mixture_mean": ("feature",), "log_density_at": ("point",)},
    ).assign_coords(point=observations.index[rows])


def mixture_moments(
    weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and covariance of x with the label summed out.

    .. math:: m = \sum_k \phi_k \mu_k, \qquad
        C = \sum_k \phi_k \{\Sigma_k + (\mu_k - m)(\mu_k - m)^\top\}

    Parameters
    ----------
    weights : ndarray (..., K)
    means : ndarray (..., K, D)
    covariances : ndarray (..., K, D, D)

    Returns
    -------
    mean : ndarray (..., D)
    covariance : ndarray (..., D, D)
    """
    mean = np.einsum("...k,...ki->...i", weights, means)
    gap = means - mean[..., None, :]
    within = np.einsum("...k,...kij->...ij", weights, covariances)
    return mean, within + np.einsum("...k,...ki,...kj->...ij", weights, gap, gap)


def watched_rows(observations: Observations, pivot: Parameters) -> np.ndarray:
    """Choose a few rows from the thick of the data to its edge, by their density at the pivot.

    Parameters
    ----------
    observations : Observations
    pivot : Parameters
        In standardized coordinates.

    Returns
    -------
    ndarray of int (P,)
        Row numbers, the least likely row first.
    """
    log_quadratic = pivot.log_quadratic()
    density = np.concatenate(
        [
            logsumexp(log_quadratic((block - observations.origin) / observations.scale), axis=1)
            for block in blocks(observations.values, BLOCK_ROWS)
        ]
    )
    order = np.argsort(density, kind="stable")
    chosen = np.rint(np.multiply(QUANTILES, len(order) - 1)).astype(int)
    return order[np.unique(chosen)]
