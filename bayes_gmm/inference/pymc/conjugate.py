r"""The conjugate prior as variables of a PyMC model.

    phi ~ Dirichlet(alpha)   Sigma_k ~ IW(nu_k, Psi_k)   mu_k | Sigma_k ~ N(m_k, Sigma_k / kappa_k)

Each of alpha, nu, Psi, m and kappa may be a number or a variable of the model: given all of them
the prior is conjugate, which is what the Gibbs step needs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.data import Observations
from bayes_gmm.inference.em.initialize import means_apart
from bayes_gmm.inference.pymc.coordinates import BartlettCoordinates, Standardized
from bayes_gmm.inference.pymc.distributions import (
    inverse_wishart_draws,
    inverse_wishart_log_density,
    mean_draws,
    mean_log_density,
)
from bayes_gmm.model.normal import cholesky, inverse_factors
from bayes_gmm.model.priors import ConjugatePrior

DIMS = {
    "weights": ("cluster",),
    "means": ("cluster", "feature"),
    "covariances": ("cluster", "feature", "feature_bis"),
}


class MixtureVariables(NamedTuple):
    """The parameters of the mixture in a PyMC model."""

    weights: TensorVariable
    means: TensorVariable
    covariances: TensorVariable


class ConjugateFields(NamedTuple):
    """The fields of a `ConjugatePrior`, of which any may be a variable of the model."""

    concentration: Any
    mean: Any
    mean_precision: Any
    degrees_of_freedom: Any
    scale: Any


def conjugate(
    prior: ConjugateFields, typical: ConjugatePrior, observations: Observations
) -> MixtureVariables:
    """Add the parameters of a mixture under the conjugate prior."""
    weights = pm.Dirichlet("weights", prior.concentration, dims=DIMS["weights"])
    covariances = pm.CustomDist(
        "covariances",
        prior.degrees_of_freedom,
        prior.scale,
        logp=inverse_wishart_log_density,
        dist=inverse_wishart_draws,
        signature="(),(d,d)->(d,d)",
        class_name="InverseWishart",
        support_point=lambda rv, size, nu, psi: psi / nu[:, None, None],
        transform=BartlettCoordinates(whiteners(typical.scale)),
        dims=DIMS["covariances"],
    )
    means = pm.CustomDist(
        "means",
        prior.mean,
        prior.mean_precision,
        covariances,
        logp=mean_log_density,
        dist=mean_draws,
        signature="(d),(),(d,d)->(d)",
        class_name="MvNormal",
        support_point=start_at(means_apart(observations, typical.mean)),
        transform=Standardized(observations.origin, observations.scale),
        dims=DIMS["means"],
    )
    return MixtureVariables(weights, means, covariances)


def start_at(point: np.ndarray) -> Callable[..., TensorVariable]:
    """Make the function that PyMC asks for the point where a variable starts.

    At the mean of the prior all components would be alike, and no gradient leads away from there.
    """
    return lambda rv, size, *parameters: pt.as_tensor_variable(point)


def whiteners(scale: np.ndarray) -> np.ndarray:
    """Lower triangular A with A'A = scale^-1, of each of K matrices."""
    return inverse_factors(np.stack([cholesky(matrix, "scale") for matrix in scale]))
