r"""The prior of the model as PyMC variables, one function for each kind of prior.

Each adds `weights`, `means` and `covariances` to the model around it. Of the families in
`bayes_gmm.model` all three are free variables, sampled in the coordinates of
`pymc_coordinates.py`. A function of the user's may build them of whatever variables it likes;
there they are what it returned, and the free variables are its own.
"""

import warnings
from collections.abc import Callable
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference.pymc_coordinates import (
    BartlettCoordinates,
    JointBartlettCoordinates,
    Standardized,
)
from bayes_gmm.inference.pymc_distributions import (
    inverse_wishart_draws,
    inverse_wishart_log_density,
    mean_draws,
    mean_log_density,
)
from bayes_gmm.inference.pymc_families import (
    hierarchical_draws,
    hierarchical_log_density,
    independent_draws,
    independent_log_density,
)
from bayes_gmm.inference.pytensor_op import covariance_of_factor
from bayes_gmm.model.normal import cholesky, inverse_factors
from bayes_gmm.model.prior_families import HierarchicalPrior, IndependentPrior
from bayes_gmm.model.prior_family import PriorFamily
from bayes_gmm.model.priors import Prior

DIMS = {
    "weights": ("cluster",),
    "means": ("cluster", "feature"),
    "covariances": ("cluster", "feature", "feature_bis"),
}
# What a function returns: weights, means and lower Cholesky factors of the covariances.
PriorFunction = Callable[[], tuple[TensorVariable, TensorVariable, TensorVariable]]
AnyPrior = Prior | PriorFamily | PriorFunction


class MixtureVariables(NamedTuple):
    """The parameters of the mixture in a PyMC model."""

    weights: TensorVariable
    means: TensorVariable
    covariances: TensorVariable


@singledispatch
def variables(prior: AnyPrior, observations: Observations, n_components: int) -> MixtureVariables:
    """Add the parameters of the mixture to the model around this call.

    Parameters
    ----------
    prior : Prior, IndependentPrior, HierarchicalPrior or callable
        In the user's units.
    observations : Observations
    n_components : int

    Returns
    -------
    MixtureVariables

    Raises
    ------
    InputError
        If the prior is improper, does not fit the data, or is not a prior at all.
    """
    if not callable(prior):
        raise InputError(
            "prior must be a Prior, an IndependentPrior, a HierarchicalPrior, or a function that "
            f"returns weights, means and Cholesky factors; got {prior!r}"
        )
    return _of_function(prior, observations, n_components)


@variables.register
def _conjugate(prior: Prior, observations: Observations, n_components: int) -> MixtureVariables:
    prior.require_proper()
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
        transform=BartlettCoordinates(_whiteners(prior.scale)),
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
        support_point=lambda rv, size, mean, *_: mean,
        transform=Standardized(observations.origin, observations.scale),
        dims=DIMS["means"],
    )
    return MixtureVariables(weights, means, covariances)


@variables.register
def _independent(
    prior: IndependentPrior, observations: Observations, n_components: int
) -> MixtureVariables:
    typical = _typical(prior)
    covariances = pm.CustomDist(
        "covariances",
        np.tile(prior.sd, (n_components, 1)),
        prior.sd_spread,
        prior.eta,
        logp=independent_log_density,
        dist=independent_draws,
        signature="(d),(),()->(d,d)",
        class_name="LogNormalLKJ",
        support_point=lambda rv, size, *_: pt.as_tensor(typical),
        transform=BartlettCoordinates(_whiteners(typical)),
        dims=DIMS["covariances"],
    )
    return _with_normal_means(prior, observations, covariances)


@variables.register
def _hierarchical(
    prior: HierarchicalPrior, observations: Observations, n_components: int
) -> MixtureVariables:
    _warn_of_ties(prior, observations)
    typical = _typical(prior)
    covariances = pm.CustomDist(
        "covariances",
        np.full(n_components, prior.degrees_of_freedom),
        prior.scale_degrees_of_freedom,
        prior.scale,
        logp=hierarchical_log_density,
        dist=hierarchical_draws,
        signature="(k),(),(d,d)->(k,d,d)",
        class_name="HierarchicalInverseWishart",
        support_point=lambda rv, size, *_: pt.as_tensor(typical),
        transform=JointBartlettCoordinates(_whiteners(typical)),
        dims=DIMS["covariances"],
    )
    return _with_normal_means(prior, observations, covariances)


def _with_normal_means(
    prior: PriorFamily, observations: Observations, covariances: TensorVariable
) -> MixtureVariables:
    weights = pm.Dirichlet("weights", prior.concentration, dims=DIMS["weights"])
    means = pm.Normal(
        "means",
        prior.mean,
        prior.mean_sd,
        transform=Standardized(observations.origin, observations.scale),
        dims=DIMS["means"],
    )
    return MixtureVariables(weights, means, covariances)


def _of_function(
    prior: PriorFunction, observations: Observations, n_components: int
) -> MixtureVariables:
    """Call the user's function, check what comes, and give the parts their names and dims."""
    returned = prior()
    expected = "a tuple of weights (K,), means (K, D) and Cholesky factors (K, D, D)"
    if not isinstance(returned, tuple | list) or len(returned) != 3:
        raise InputError(f"prior() must return {expected}; got {type(returned).__name__}")
    # PyTensor keeps numbers like 0.5 in single precision.
    weights, means, choleskys = (pt.as_tensor_variable(part).astype("float64") for part in returned)
    n_features = observations.n_features
    sizes = (n_components,), (n_components, n_features), (n_components, n_features, n_features)
    names = "weights", "means", "Cholesky factors"
    for name, part, size in zip(names, (weights, means, choleskys), sizes, strict=True):
        shape = _shape(part)
        if shape != size:
            raise InputError(f"prior() returned {name} of shape {shape}; they must be {size}")
    covariances = covariance_of_factor(choleskys)
    return MixtureVariables(
        _named("weights", weights), _named("means", means), _named("covariances", covariances)
    )


def _named(name: str, variable: TensorVariable) -> TensorVariable:
    """Return the variable of the model with this name, made from the given one if need be."""
    model = pm.modelcontext(None)
    if name not in model.named_vars:
        return pm.Deterministic(name, variable, dims=DIMS[name])
    if model.named_vars[name] is not variable:
        raise InputError(
            f"prior() has a variable {name!r} that is not the {name} that it returned; "
            "call it something else"
        )
    model.named_vars_to_dims.setdefault(name, DIMS[name])
    return variable


def _shape(variable: TensorVariable) -> tuple[int, ...]:
    """Shape of a symbolic variable, as numbers."""
    known = variable.type.shape
    if None not in known:
        return known
    # Compiled for Python, which takes milliseconds where numba takes seconds.
    mode = Mode(linker="py", optimizer="fast_compile")
    with pytensor.config.change_flags(cxx=""):
        return tuple(int(size) for size in variable.shape.eval(mode=mode))


def _typical(prior: PriorFamily) -> np.ndarray:
    return np.tile(prior.typical_covariance, (prior.n_components, 1, 1))


def _whiteners(scale: np.ndarray) -> np.ndarray:
    return inverse_factors(np.stack([cholesky(matrix, "scale") for matrix in scale]))


def _warn_of_ties(prior: HierarchicalPrior, observations: Observations) -> None:
    """Warn where a component could shrink onto rows that share a value, without bound."""
    values = np.asarray(observations.values)
    for name, column in zip(observations.feature_names, values.T, strict=True):
        value, count = (part[0] for part in _commonest(column))
        if count > prior.most_tied_rows:
            warnings.warn(
                f"{count} rows have {name} = {value:g}, and under this HierarchicalPrior the "
                f"posterior of components is proper with up to {prior.most_tied_rows} such rows: "
                "use Prior, or a larger scale_degrees_of_freedom",
                stacklevel=2,
            )


def _commonest(column: np.ndarray) -> tuple[Any, Any]:
    value, count = np.unique(column, return_counts=True)
    most = [np.argmax(count)]
    return value[most], count[most]
