"""Error bars of a fit: from the curvature at the estimate, or from refits of weighted rows.

The curvature gives the covariance of the estimates in free coordinates, and the delta method that
of every number a person reads. Refits give a sample of these numbers, of which the standard
deviation and percentiles are taken.
"""

import json
import warnings
from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.errors import (
    CollapseError,
    CollapseWarning,
    ConvergenceWarning,
    IdentificationWarning,
    InputError,
)
from bayes_gmm.kernels.scores import score_products
from bayes_gmm.model.information import Curvature
from bayes_gmm.model.structures.local_coordinates import LocalCoordinates
from bayes_gmm.model.uncertainty import FLAT, Uncertainty
from bayes_gmm.posterior.delta_method import delta_method, interval
from bayes_gmm.posterior.predictive import tails
from bayes_gmm.posterior.relabel.pivot import match
from bayes_gmm.posterior.scalars import Scalar, catalogue, flatten
from bayes_gmm.results.draws import is_point, keeps_rows, n_incomplete
from bayes_gmm.results.fitted import Fitted
from bayes_gmm.results.standard_errors import FAR, StandardErrors, astray, collapsed, lacking

TWO = 2  # replicates, of which there is a standard deviation
QUICK = 1e9  # rows times squared parameters, a second's work or less
MOST_PARAMETERS = 1000  # of more, their covariance matrix is not kept


def from_curvature(fitted: Fitted, *, method: str, ci_prob: float) -> StandardErrors:
    """Standard errors from the observed information, or from the sandwich about it."""
    tails(ci_prob)
    if fitted.equal_weights:
        raise InputError(
            f"method is {method!r}, which has no form for weights held equal; "
            "choose 'bootstrap' or 'weighted'"
        )
    parameters = fitted.parameters
    local = LocalCoordinates.at(parameters, fitted.structure)
    curvature = Curvature.of(local, score_products(fitted.observations, local), fitted.counted)
    uncertainty = Uncertainty.of(curvature)
    attrs = {
        "positive_definite": int(not uncertainty.flat.any()),
        "n_flat": int(uncertainty.flat.sum()),
        "n_rising": int((uncertainty.shares < -FLAT).sum()),
        "missing_information": float(1 - uncertainty.shares[0]),
        "distance_to_optimum": uncertainty.distance(curvature.gradient),
    }
    if attrs["n_flat"]:
        warnings.warn(lacking(attrs), IdentificationWarning, stacklevel=3)
    if attrs["distance_to_optimum"] > FAR:
        warnings.warn(astray(attrs), ConvergenceWarning, stacklevel=3)
    if method == "sandwich":
        uncertainty = uncertainty.sandwich(curvature.scores)
    scalars = catalogue(parameters.n_components, fitted.features)
    estimate = flatten(parameters.weights, parameters.means, parameters.covariances)
    errors, covariance = delta_method(
        local, uncertainty, with_covariance=len(scalars) <= MOST_PARAMETERS
    )
    lower, upper = interval(scalars, estimate, errors, ci_prob)
    variables: dict[str, Any] = {
        "estimate": ("parameter", estimate),
        "standard_error": ("parameter", errors),
        "lower": ("parameter", lower),
        "upper": ("parameter", upper),
    }
    if covariance is not None:
        variables["covariance"] = (("parameter", "parameter_bis"), covariance)
    return _labelled(variables, fitted, method, ci_prob, attrs)


def quick_errors(result: Any) -> np.ndarray | None:
    """Standard errors from the observed information, in the order of `scalars.catalogue`.

    None where a result lacks what they need, or there would be much to compute.
    """
    if not is_point(result) or not {"covariance", "estimator"} <= set(result.attrs):
        return None
    if not keeps_rows(result) or n_incomplete(result):
        return None
    fitted = Fitted.of(result)
    local = LocalCoordinates.at(fitted.parameters, fitted.structure)
    size = max(fitted.observations.n_rows, local.n_coordinates)
    if fitted.equal_weights or size * local.n_coordinates**2 > QUICK:
        return None
    products = score_products(fitted.observations, local)
    uncertainty = Uncertainty.of(Curvature.of(local, products, fitted.counted))
    return delta_method(local, uncertainty, with_covariance=False)[0]


def from_replicates(
    fitted: Fitted,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    *,
    method: str,
    ci_prob: float,
    replicate: np.ndarray,
    **counts: Any,
) -> StandardErrors:
    """Standard errors from refits, their components matched to those of the estimate.

    Shapes: weights, means, covariances (R, K), replicate (R,).
    """
    ends = tails(ci_prob)
    if len(replicate) < TWO:
        raise CollapseError(
            f"{counts['n_collapsed']} of {counts['n_made']} replicates lost a component, and "
            'fewer than two are left: use method="observed", a prior or fewer components'
        )
    order = match(weights[None], means[None], covariances[None], fitted.parameters).permutation[0]
    replicates = flatten(
        np.take_along_axis(weights, order, axis=1),
        np.take_along_axis(means, order[..., None], axis=1),
        np.take_along_axis(covariances, order[..., None, None], axis=1),
    )
    attrs = {**counts, "partial": int(counts["n_made"] < counts["n_bootstrap"])}
    if attrs["n_collapsed"]:
        warnings.warn(collapsed(attrs), CollapseWarning, stacklevel=3)
    theta = fitted.parameters
    estimate = flatten(theta.weights, theta.means, theta.covariances)
    lower, upper = np.quantile(replicates, ends, axis=0)
    variables = {
        "estimate": ("parameter", estimate),
        "standard_error": ("parameter", replicates.std(axis=0, ddof=1)),
        "lower": ("parameter", lower),
        "upper": ("parameter", upper),
        "bias": ("parameter", replicates.mean(axis=0) - estimate),
        "replicates": (("replicate", "parameter"), replicates),
    }
    labelled = _labelled(variables, fitted, method, ci_prob, attrs)
    return StandardErrors(labelled.dataset.assign_coords(replicate=replicate))


def _labelled(
    variables: dict[str, Any], fitted: Fitted, method: str, ci_prob: float, attrs: dict[str, Any]
) -> StandardErrors:
    """Name the parameters and say how the numbers came about."""
    theta = fitted.parameters
    scalars = catalogue(theta.n_components, fitted.features)
    names = [scalar.name for scalar in scalars]
    fixed = [
        fitted.structure.is_diagonal
        and scalar.kind in ("correlation", "covariance")
        and scalar.feature != scalar.feature_bis
        for scalar in scalars
    ]
    coordinates: dict[str, Any] = {
        "parameter": names,
        **{
            name: ("parameter", [getattr(scalar, name) for scalar in scalars])
            for name in Scalar._fields
        },
    }
    if "covariance" in variables:
        coordinates["parameter_bis"] = names
    return StandardErrors(
        xr.Dataset(
            {**variables, "free": ("parameter", ~np.array(fixed))},
            coords=coordinates,
            attrs={
                "method": method,
                "ci_prob": ci_prob,
                "estimator": fitted.estimator,
                "covariance": fitted.structure.label(theta.n_features),
                "n_observations": fitted.observations.n_rows,
                "n_features": theta.n_features,
                "n_components": theta.n_components,
                **{
                    name: value if isinstance(value, int | float | str) else json.dumps(value)
                    for name, value in attrs.items()
                },
            },
        )
    )
