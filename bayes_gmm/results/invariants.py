r"""What a draw says whatever its components are called: quantities that convergence is judged by.

A chain that swaps the names of two components looks as if it had not converged, and one that never
does looks converged in the names alone. Sums over components know neither: the log-likelihood, the
log posterior, sum_k phi_k^2, the mean and the covariance of the whole mixture, its density at a few
rows, how many components hold rows, and whether two rows belong to the same one.
"""

from typing import Any

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayes_gmm.data import Observations
from bayes_gmm.data.row_labels import stored
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.missing import as_expected
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.monitored import Monitored, monitor
from bayes_gmm.results.labels import labelled

OCCUPIED = 0.5  # rows that a component holds at least


def invariants(
    draws: Draws,
    observations: Observations,
    prior: Any,
    pivot: Parameters,
    *,
    log_likelihood: np.ndarray | None = None,
    component_counts: np.ndarray | None = None,
    log_prior: np.ndarray | None = None,
) -> xr.Dataset:
    r"""Compute the label-free quantities of every draw.

    Parameters
    ----------
    draws : Draws
        Named as the sampler had them, so that a prior that tells components apart is met rightly.
    observations : Observations
    prior : object
        With `log_densities` of parameters in the user's units; without them, and without
        `log_prior`, there is no log posterior.
    pivot : Parameters
        The point estimate, which says which rows are monitored.
    log_likelihood : ndarray (chain, draw), optional
    component_counts : ndarray (chain, draw, K), optional
        What the sampler knows of each draw, in the user's units; if one of these is missing, a pass
        over the rows per draw finds both.
    log_prior : ndarray (chain, draw), optional

    Returns
    -------
    xarray.Dataset
        With dims (chain, draw), all in the user's units: log_likelihood; log_posterior, the log
        joint density of data and parameters; sum_squared_weights; mixture_mean (feature);
        mixture_covariance_logdet; log_density_at (point); occupied_components, those that hold
        half a row or more, expected or sampled; co_clustering (pair), the probability that two rows
        belong to the same component, :math:`\sum_k p(z_n = k \mid x) p(z_m = k \mid x)`.
    """
    origin, scale = observations.origin, observations.scale
    shape = draws.weights.shape[:2]
    # In standardized coordinates every digit counts; a density per unit of x is smaller by the
    # product of the scales.
    log_unit = np.log(scale).sum()
    standard = Draws(
        draws.weights, (draws.means - origin) / scale, draws.covariances / np.outer(scale, scale)
    )
    functions = standard.log_quadratic()
    if log_likelihood is None or component_counts is None:
        log_likelihood, component_counts = _passes(functions, observations, shape)
        log_likelihood = log_likelihood - observations.log_volume
    if log_prior is None and hasattr(prior, "log_densities"):
        factors = cholesky(draws.covariances, "covariances")
        log_prior = prior.log_densities(draws.weights, draws.means, factors)

    monitored = monitor(as_expected(observations, pivot), pivot.rescale(-origin / scale, 1 / scale))
    log_density, together = _at_rows(functions, monitored)
    mean, covariance = mixture_moments(*standard)
    found = {"log_likelihood": log_likelihood}
    if log_prior is not None:
        found["log_posterior"] = log_likelihood + log_prior
    found |= {
        "sum_squared_weights": (draws.weights**2).sum(axis=-1),
        "mixture_mean": origin + scale * mean,
        "mixture_covariance_logdet": np.linalg.slogdet(covariance)[1] + 2 * log_unit,
        "log_density_at": log_density.reshape(*shape, -1) - log_unit,
        "occupied_components": (component_counts >= OCCUPIED).sum(axis=-1),
        "co_clustering": together.reshape(*shape, -1),
    }
    index = observations.index
    storable = stored(index)["obs_id"].to_numpy()
    return labelled(
        found,
        feature_names=observations.feature_names,
        leading=("chain", "draw"),
        dims={
            "mixture_mean": ("feature",),
            "log_density_at": ("point",),
            "co_clustering": ("pair",),
        },
    ).assign_coords(
        point=storable[monitored.points],
        pair=np.array([f"{index[a]} & {index[b]}" for a, b in monitored.pairs], dtype=str),
    )


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
    return mean, within + np.einsum("...k,...ki,...kj->...ij", weights, gap, gap, optimize=True)


def _passes(
    functions: LogQuadratic, observations: Observations, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of standardized rows and expected counts, by a pass over the rows per draw."""
    expect = expectation(observations)
    found = [expect(LogQuadratic(*one)) for one in zip(*functions, strict=True)]
    log_likelihood = np.array([statistics.log_normalizer for statistics in found])
    counts = np.stack([statistics.count for statistics in found])
    return log_likelihood.reshape(shape), counts.reshape(*shape, -1)


def _at_rows(functions: LogQuadratic, monitored: Monitored) -> tuple[np.ndarray, np.ndarray]:
    """Log densities at the points (S, P), and the co-clustering of the pairs (S, Q)."""
    n_points = len(monitored.points)
    gap = monitored.rows[:, None, None, :] - functions.center
    whitened = np.matmul(functions.whitener, gap[..., None])[..., 0]
    log_joint = functions.offset - 0.5 * (whitened**2).sum(axis=-1)
    log_density = logsumexp(log_joint, axis=-1)
    shares = np.exp(log_joint - log_density[..., None])[n_points:]
    first, second = shares[0::2], shares[1::2]
    return log_density[:n_points].T, (first * second).sum(axis=-1).T
