r"""The prior of the model as PyMC variables, one function for each kind of prior.

Each adds `weights`, `means` and `covariances` to the model of the context. For the families in
`bayes_gmm.model` all three are free variables, sampled in the coordinates of `coordinates.py`. A
user's function may compute them from any other variables, which are then the free ones; or it
returns fields of a `ConjugatePrior` that are random variables, given which the prior is conjugate.
"""

import warnings
from functools import singledispatch
from typing import Any

import numpy as np
import pymc as pm
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference.em.initialize import means_apart
from bayes_gmm.inference.pymc.conjugate import (
    DIMS,
    ConjugateFields,
    MixtureVariables,
    conjugate,
    start_at,
    whiteners,
)
from bayes_gmm.inference.pymc.coordinates import (
    BartlettCoordinates,
    JointBartlettCoordinates,
    Standardized,
)
from bayes_gmm.inference.pymc.distributions import (
    hierarchical_draws,
    hierarchical_log_density,
    independent_draws,
    independent_log_density,
    inverse_wishart_draws,
    inverse_wishart_log_density,
)
from bayes_gmm.inference.pymc.functions import PriorFunction, of_function
from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.independent_prior import IndependentPrior
from bayes_gmm.model.prior_family import PriorFamily
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior

AnyPrior = ConjugatePrior | PriorFamily | PriorFunction


@singledispatch
def variables(prior: AnyPrior, observations: Observations, n_components: int) -> MixtureVariables:
    """Add the parameters of the mixture to the model around this call."""
    if not callable(prior):
        raise InputError(
            "prior must be a ConjugatePrior, an IndependentPrior, a HierarchicalPrior, a "
            "SemiconjugatePrior, or a function that returns weights, means and Cholesky factors, "
            "or a dict of fields of a ConjugatePrior; "
            f"got {prior!r}"
        )
    return of_function(prior, observations, n_components)


@variables.register
def _conjugate(
    prior: ConjugatePrior, observations: Observations, n_components: int
) -> MixtureVariables:
    prior.require_proper()
    own = ConjugateFields(*(getattr(prior, name) for name in ConjugateFields._fields))
    return conjugate(own, prior, observations)


@variables.register
def _independent(
    prior: IndependentPrior, observations: Observations, n_components: int
) -> MixtureVariables:
    return _of_family(
        prior,
        observations,
        (np.tile(prior.sd, (n_components, 1)), prior.sd_spread, prior.eta),
        BartlettCoordinates,
        logp=independent_log_density,
        dist=independent_draws,
        signature="(d),(),()->(d,d)",
        class_name="LogNormalLKJ",
    )


@variables.register
def _semiconjugate(
    prior: SemiconjugatePrior, observations: Observations, n_components: int
) -> MixtureVariables:
    degrees = np.full(n_components, prior.degrees_of_freedom)
    return _of_family(
        prior,
        observations,
        (degrees, np.tile(prior.scale, (n_components, 1, 1))),
        BartlettCoordinates,
        logp=inverse_wishart_log_density,
        dist=inverse_wishart_draws,
        signature="(),(d,d)->(d,d)",
        class_name="InverseWishart",
    )


@variables.register
def _hierarchical(
    prior: HierarchicalPrior, observations: Observations, n_components: int
) -> MixtureVariables:
    _warn_of_ties(prior, observations)
    degrees = np.full(n_components, prior.degrees_of_freedom)
    return _of_family(
        prior,
        observations,
        (degrees, prior.scale_degrees_of_freedom, prior.scale),
        JointBartlettCoordinates,
        logp=hierarchical_log_density,
        dist=hierarchical_draws,
        signature="(k),(),(d,d)->(k,d,d)",
        class_name="HierarchicalInverseWishart",
    )


def _of_family(
    prior: PriorFamily,
    observations: Observations,
    parameters: tuple[Any, ...],
    coordinates: type[BartlettCoordinates],
    **of_covariances: Any,
) -> MixtureVariables:
    """Add covariances of a distribution with these parameters, weights, and normal means."""
    typical = np.tile(prior.typical_covariance, (prior.n_components, 1, 1))
    covariances = pm.CustomDist(
        "covariances",
        *parameters,
        support_point=start_at(typical),
        transform=coordinates(whiteners(typical)),
        dims=DIMS["covariances"],
        **of_covariances,
    )
    weights = pm.Dirichlet("weights", prior.concentration, dims=DIMS["weights"])
    mean = np.tile(prior.mean, (prior.n_components, 1))
    means = pm.CustomDist(
        "means",
        mean,
        prior.mean_sd,
        dist=_normal_means,
        class_name="Normal",
        support_point=start_at(means_apart(observations, mean)),
        transform=Standardized(observations.origin, observations.scale),
        dims=DIMS["means"],
    )
    return MixtureVariables(weights, means, covariances)


def _normal_means(mean: TensorVariable, sd: TensorVariable, size: Any) -> TensorVariable:
    return pm.Normal.dist(mean, sd, size=size)


def _warn_of_ties(prior: HierarchicalPrior, observations: Observations) -> None:
    """Warn where a component could shrink onto rows that share a value, without bound."""
    values = np.asarray(observations.values)
    for name, column in zip(observations.feature_names, values.T, strict=True):
        value, count = _commonest(column, observations.weights)
        if count > prior.most_tied_rows:
            warnings.warn(
                f"{count:g} rows have {name} = {value:g}. Under this HierarchicalPrior the "
                f"posterior is proper only with up to {prior.most_tied_rows} such rows. Use "
                "ConjugatePrior, or a larger scale_degrees_of_freedom.",
                stacklevel=2,
            )


def _commonest(column: np.ndarray, weights: np.ndarray | None) -> tuple[Any, Any]:
    """The value that was seen most often, and how often."""
    value, place = np.unique(column, return_inverse=True)
    count = np.bincount(place, weights)
    most = np.argmax(count)
    return value[most], count[most]
