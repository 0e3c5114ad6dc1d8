"""The delta method: from free coordinates to the numbers that a person reads.

Intervals are symmetric on the scale on which a number has no bounds, the log odds of a weight, the
log of an sd or a variance, atanh of a correlation, and so they stay within its bounds.
"""

import numpy as np
from scipy.special import expit, logit, ndtri

from bayes_gmm.model.structures.local_coordinates import LocalCoordinates
from bayes_gmm.model.uncertainty import Uncertainty
from bayes_gmm.posterior.scalars import Scalar


def jacobian_of_scalars(local: LocalCoordinates, k: int) -> dict[str, np.ndarray]:
    """Derivatives of the numbers that describe a component, in the coordinates `local.places(k)`.

    Shapes: -> (n, C).
    """
    weight, mean, covariance = local.jacobian(k)
    sigma = local.parameters.covariances[k]
    n_features = len(sigma)
    sd = np.sqrt(np.diagonal(sigma))
    of_sd = np.einsum("iic->ic", covariance) / (2 * sd[:, None])
    i, j = np.tril_indices(n_features, -1)
    correlation = (sigma[i, j] / (sd[i] * sd[j]))[:, None]
    relative = of_sd / sd[:, None]
    of_correlation = covariance[i, j] / (sd[i] * sd[j])[:, None]
    of_correlation -= correlation * (relative[i] + relative[j])
    return {
        "weight": weight[None] if len(local.parameters.weights) > 1 else weight[None][:0],
        "mean": mean,
        "sd": of_sd,
        "correlation": of_correlation,
        "covariance": covariance[np.tril_indices(n_features)],
    }


def delta_method(
    local: LocalCoordinates, uncertainty: Uncertainty, *, with_covariance: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Standard errors of all scalars, and their covariance matrix.

    In the order of `scalars.catalogue`; not a number where the scalar is not determined.

    Shapes: -> errors (S,), covariance (S, S).
    """
    n_components = local.parameters.n_components
    own = [jacobian_of_scalars(local, k) for k in range(n_components)]
    errors, images = [], []
    for kind in own[0]:
        for k in range(n_components):
            errors.append(uncertainty.standard_errors(own[k][kind], local.places(k)))
            if with_covariance:
                images.append(own[k][kind] @ uncertainty.root[local.places(k)])
    flat = np.concatenate(errors)
    if not images:
        return flat, None
    image = np.concatenate(images)
    image[np.isnan(flat)] = np.nan
    return flat, image @ image.T


def interval(
    scalars: list[Scalar], estimate: np.ndarray, errors: np.ndarray, ci_prob: float
) -> tuple[np.ndarray, np.ndarray]:
    """Equal-tailed interval of each scalar, by the normal distribution.

    Shapes: estimate, errors (S,) -> lower, upper (S,).
    """
    reach = ndtri((1 + ci_prob) / 2) * errors
    lower, upper = estimate - reach, estimate + reach
    kinds = np.array([scalar.kind for scalar in scalars])
    diagonal = np.array([scalar.feature == scalar.feature_bis for scalar in scalars])
    for chosen, onto, back, slope in (
        (kinds == "weight", logit, expit, lambda p: 1 / (p * (1 - p))),
        ((kinds == "sd") | (kinds == "covariance") & diagonal, np.log, np.exp, lambda v: 1 / v),
        (kinds == "correlation", np.arctanh, np.tanh, lambda r: 1 / (1 - r**2)),
    ):
        value = estimate[chosen]
        # A weight of 0 or 1 is on the border of its range, and has no interval.
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = reach[chosen] * slope(value)
            lower[chosen] = back(onto(value) - distance)
            upper[chosen] = back(onto(value) + distance)
    return lower, upper
