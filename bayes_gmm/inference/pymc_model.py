r"""The generative story as a PyMC model, to read, to sample and to extend.

    weights        ~ Dirichlet(alpha)
    covariances_k  ~ InverseWishart(nu_k, Psi_k)
    means_k        ~ N(m_k, covariances_k / kappa_k)
    x_n            ~ sum_k weights_k N(means_k, covariances_k)       the label z_n summed out

The free random variables are the parameters themselves, in the user's units, so that a posterior
of `weights`, `means` and `covariances` is all that PyMC needs for predictions, log-likelihoods or
another run.
"""

from typing import Any

import numpy as np
import pymc as pm

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference.pymc_distributions import (
    BartlettCoordinates,
    Standardized,
    inverse_wishart_draws,
    inverse_wishart_log_density,
    mean_draws,
    mean_log_density,
    normal_draws,
    normal_log_density,
)
from bayes_gmm.model.normal import cholesky, inverse_factors
from bayes_gmm.model.priors import Prior

LIKELIHOODS = ("mixture",)


def pymc_model(
    observations: Observations, prior: Prior, *, likelihood: str = "mixture"
) -> pm.Model:
    r"""Build the model of a Gaussian mixture with a conjugate prior.

    Parameters
    ----------
    observations : Observations
    prior : Prior
        In the user's units; it must be proper.
    likelihood : str
        "mixture", the only one: `pymc.Mixture` over a batch of normal distributions.

    Returns
    -------
    pymc.Model
        Free variables weights (cluster), covariances (cluster, feature, feature_bis) and means
        (cluster, feature); observed variable x (obs_id, feature), whose rows are the data
        container "data".

    Raises
    ------
    InputError
        If the prior is improper, or the likelihood is not known.
    """
    if likelihood not in LIKELIHOODS:
        available = ", ".join(map(repr, LIKELIHOODS))
        raise InputError(f"likelihood is {likelihood!r}; what is available is {available}")
    if not prior.is_proper:
        raise InputError(
            "prior is improper, and so might the posterior be: give mean_precision > 0, "
            "degrees_of_freedom > D - 1 and a positive-definite scale"
        )
    scale_factors = np.stack([cholesky(matrix, "scale") for matrix in prior.scale])
    with pm.Model(coords=_coordinates(observations, prior.n_components)) as model:
        weights = pm.Dirichlet("weights", prior.concentration, dims="cluster")
        covariances = pm.CustomDist(
            "covariances",
            prior.degrees_of_freedom,
            prior.scale,
            logp=inverse_wishart_log_density,
            dist=inverse_wishart_draws,
            signature="(),(d,d)->(d,d)",
            class_name="InverseWishart",
            support_point=lambda rv, size, nu, psi: psi / nu[:, None, None],
            transform=BartlettCoordinates(inverse_factors(scale_factors)),
            dims=("cluster", "feature", "feature_bis"),
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
            support_point=lambda rv, size, mean, *_: mean,
            transform=Standardized(observations.origin, observations.scale),
            dims=("cluster", "feature"),
        )
        components = pm.CustomDist.dist(
            means,
            covariances,
            logp=normal_log_density,
            dist=normal_draws,
            signature="(d),(d,d)->(d)",
            class_name="MvNormal",
        )
        rows = pm.Data("data", np.asarray(observations.values, float), dims=("obs_id", "feature"))
        pm.Mixture("x", weights, components, observed=rows, dims=("obs_id", "feature"))
    return model


def _coordinates(observations: Observations, n_components: int) -> dict[str, Any]:
    names = observations.feature_names
    return {
        "cluster": range(n_components),
        "feature": names,
        "feature_bis": names,
        "obs_id": observations.index,
    }
