"""The categorical distribution of the label: P(z = k) = phi_k, phi_k >= 0, sum_k phi_k = 1."""

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.model.arrays import as_numbers

SUM_TOLERANCE = 1e-8


def check_weights(weights: np.ndarray) -> np.ndarray:
    """Return phi as a float array after checking phi_k >= 0 and sum_k phi_k = 1.

    weights (K,) -> (K,).
    """
    phi = as_numbers("weights", weights)
    if phi.ndim != 1 or phi.size == 0:
        raise InputError(
            f"weights must be one number per component, shape (K,); got shape {phi.shape}"
        )
    bad = np.flatnonzero(~(np.isfinite(phi) & (phi >= 0)))
    if bad.size:
        raise InputError(
            f"weights[{bad[0]}] is {phi[bad[0]]}; every weight must be >= 0 and finite"
        )
    if abs(phi.sum() - 1) > SUM_TOLERANCE:
        raise InputError(f"weights sum to {phi.sum():.10g}, not 1; divide them by their sum")
    return phi


def log_density(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log probability of each label, log P(z = k) = log phi_k. z (N,), weights (K,) -> (N,)."""
    with np.errstate(divide="ignore"):
        return np.log(check_weights(weights))[z]


def sample(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draws z ~ Categorical(phi). weights (K,) -> (n,)."""
    phi = check_weights(weights)
    return rng.choice(phi.size, size=n, p=phi / phi.sum())


def maximum_likelihood(z: np.ndarray, n_components: int) -> np.ndarray:
    r"""Maximum-likelihood weights from known labels: the observed proportions, N_k / N.

    z (N,) -> (K,).
    """
    return np.bincount(z, minlength=n_components) / len(z)
