"""Standard errors of all that a person reads: from the curvature, or from refits.

The curvature gives the covariance of the estimates in free coordinates, and the delta method that
of every number a person reads. Its intervals are symmetric on the scale on which a number has no
bounds, the log odds of a weight, the log of an sd or a variance, atanh of a correlation, and so
they stay within its bounds. Refits give a sample of these numbers, of which the standard deviation
and percentiles are taken.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, ndtri

from bayes_gmm.data import Observations
from bayes_gmm.kernels.scores import score_products
from bayes_gmm.model.information import Curvature
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.local_coordinates import LocalCoordinates
from bayes_gmm.model.uncertainty import FLAT, Uncertainty
from bayes_gmm.posterior.draws import Scalar, flatten
from bayes_gmm.posterior.pivot import match

QUICK = 1e9  # rows times squared parameters, a second's work or less
MOST_PARAMETERS = 1000  # of more, their covariance matrix is not kept


def jacobian_of_scalars(local: LocalCoordinates, k: int) -> dict[str, np.ndarray]:
    """Derivatives (n, C) of the numbers of a component, in the coordinates `local.places(k)`."""
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
    """Equal-tailed interval of each scalar (S,), by the normal distribution."""
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


class Errors(NamedTuple):
    """Estimates of all scalars with their standard errors and intervals, each (S,), and more."""

    estimate: np.ndarray
    standard_error: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    more: dict[str, np.ndarray]  # covariance (S, S), if asked for; or bias (S,), replicates (R, S)


class Flatness(NamedTuple):
    """What is wrong with the curvature at an estimate, if anything is."""

    n_flat: int
    n_rising: int
    missing_information: float
    distance_to_optimum: float


def from_curvature(
    observations: Observations,
    parameters: Parameters,
    structure: Structure,
    prior: ConjugatePrior | None,
    scalars: list[Scalar],
    ci_prob: float,
    *,
    sandwich: bool,
) -> tuple[Errors, Flatness]:
    """Standard errors from the observed information, or from the sandwich about it.

    The prior is the one that counts for the structure.
    """
    local = LocalCoordinates.at(parameters, structure)
    curvature = Curvature.of(local, score_products(observations, local), prior)
    uncertainty = Uncertainty.of(curvature)
    found = Flatness(
        int(uncertainty.flat.sum()),
        int((uncertainty.shares < -FLAT).sum()),
        float(1 - uncertainty.shares[0]),
        uncertainty.distance(curvature.gradient),
    )
    if sandwich:
        uncertainty = uncertainty.sandwich(curvature.scores)
    estimate = flatten(parameters.weights, parameters.means, parameters.covariances)
    errors, covariance = delta_method(
        local, uncertainty, with_covariance=len(scalars) <= MOST_PARAMETERS
    )
    more = {} if covariance is None else {"covariance": covariance}
    return Errors(estimate, errors, *interval(scalars, estimate, errors, ci_prob), more), found


def quick_errors(
    observations: Observations,
    parameters: Parameters,
    structure: Structure,
    prior: ConjugatePrior | None,
) -> np.ndarray | None:
    """Standard errors from the observed information (S,); None if there is much to compute."""
    local = LocalCoordinates.at(parameters, structure)
    if max(observations.n_rows, local.n_coordinates) * local.n_coordinates**2 > QUICK:
        return None
    curvature = Curvature.of(local, score_products(observations, local), prior)
    return delta_method(local, Uncertainty.of(curvature), with_covariance=False)[0]


def from_refits(
    parameters: Parameters,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    ends: tuple[float, float],
) -> Errors:
    """Standard errors from R refits, their components matched to those of the estimate."""
    order = match(weights[None], means[None], covariances[None], parameters).permutation[0]
    replicates = flatten(
        np.take_along_axis(weights, order, axis=1),
        np.take_along_axis(means, order[..., None], axis=1),
        np.take_along_axis(covariances, order[..., None, None], axis=1),
    )
    estimate = flatten(parameters.weights, parameters.means, parameters.covariances)
    lower, upper = np.quantile(replicates, ends, axis=0)
    more = {"bias": replicates.mean(axis=0) - estimate, "replicates": replicates}
    return Errors(estimate, replicates.std(axis=0, ddof=1), lower, upper, more)
