r"""The Gaussian mixture: its generative story, and its joint, marginal and conditional probability.

z ~ Categorical(phi),   x | z = k ~ N(mu_k, Sigma_k)                    the story
p(x, z = k) = phi_k N(x; mu_k, Sigma_k)                                 joint
p(x) = sum_k p(x, z = k)                                                marginal
p(z = k | x) = p(x, z = k) / p(x)                                       conditional
L(theta) = sum_n log sum_k phi_k N(x_n; mu_k, Sigma_k)                  log-likelihood
"""

import numpy as np
from scipy.special import logsumexp

from bayes_gmm.model import categorical, normal
from bayes_gmm.model.parameters import Parameters


def sample(
    parameters: Parameters, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Ancestral sampling: draw the label z, then the row x given its label.

    Returns x (n, D), z (n,).
    """
    z = categorical.sample(parameters.weights, n, rng)
    x = np.empty((n, parameters.n_features))
    for k in range(parameters.n_components):
        rows = np.flatnonzero(z == k)
        x[rows] = normal.sample(parameters.means[k], parameters.covariances[k], rows.size, rng)
    return x, z


def joint_log_density(x: np.ndarray, parameters: Parameters) -> np.ndarray:
    r"""Log joint density of a row and each label it could have, log p(x_n, z_n = k).

    .. math:: \log p(x, z = k) = \log \phi_k + \log N(x; \mu_k, \Sigma_k)

    x (N, D) -> (N, K).
    """
    labels = np.arange(parameters.n_components)
    log_weights = categorical.log_density(labels, parameters.weights)
    log_normals = [
        normal.log_density(x, mean, covariance)
        for mean, covariance in zip(parameters.means, parameters.covariances, strict=True)
    ]
    return log_weights + np.stack(log_normals, axis=1)


def marginal_log_density(x: np.ndarray, parameters: Parameters) -> np.ndarray:
    r"""Log density of a row whose label is not known, the label summed out.

    .. math:: \log p(x) = \log \sum_k \phi_k N(x; \mu_k, \Sigma_k)

    x (N, D) -> (N,). Bishop (2006), eq. 9.12.
    """
    return logsumexp(joint_log_density(x, parameters), axis=1)


def responsibilities(x: np.ndarray, parameters: Parameters) -> np.ndarray:
    r"""Probability of each label given the row, p(z_n = k | x_n), by Bayes' rule.

    .. math:: r_{nk} = \frac{\phi_k N(x_n; \mu_k, \Sigma_k)}{\sum_j \phi_j N(x_n; \mu_j, \Sigma_j)}

    x (N, D) -> (N, K). Bishop (2006), eq. 9.13.
    """
    log_joint = joint_log_density(x, parameters)
    return np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))


def log_likelihood(x: np.ndarray, parameters: Parameters) -> float:
    r"""Log-likelihood of the rows, a sum over rows of a log of a sum over labels.

    .. math:: L(\theta) = \sum_n \log \sum_k \phi_k N(x_n; \mu_k, \Sigma_k)

    The log cannot pass the inner sum, so that setting the gradient to zero couples every
    parameter with every other: there is no closed form, hence EM.

    x (N, D). Bishop (2006), eq. 9.14.
    """
    return float(marginal_log_density(x, parameters).sum())


def mixture_moments(
    weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and covariance of x with the label summed out.

    .. math:: m = \sum_k \phi_k \mu_k, \qquad
        C = \sum_k \phi_k \{\Sigma_k + (\mu_k - m)(\mu_k - m)^\top\}

    Of weights (..., K), means (..., K, D) and covariances (..., K, D, D): (..., D), (..., D, D).
    """
    mean = np.einsum("...k,...ki->...i", weights, means)
    gap = means - mean[..., None, :]
    within = np.einsum("...k,...kij->...ij", weights, covariances)
    return mean, within + np.einsum("...k,...ki,...kj->...ij", weights, gap, gap, optimize=True)
