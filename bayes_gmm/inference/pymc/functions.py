r"""A user's function as prior: called inside the model, and checked before compilation.

It returns weights, means and Cholesky factors, which become variables with these names; or a dict
of fields of a `ConjugatePrior`, any of which may be random variables.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference.pymc.conjugate import (
    DIMS,
    ConjugateFields,
    MixtureVariables,
    conjugate,
)
from bayes_gmm.inference.pymc.coordinates import covariance_of_factor
from bayes_gmm.model.priors import ConjugatePrior

TAKEN = {"x", "data", "chain", "draw"}  # names of the model's own variables, and of dims of draws
# What a function returns: weights, means and lower Cholesky factors of the covariances, or fields
# of a conjugate prior by their names.
PriorFunction = Callable[
    [], tuple[TensorVariable, TensorVariable, TensorVariable] | Mapping[str, Any]
]


def of_function(
    prior: PriorFunction, observations: Observations, n_components: int
) -> MixtureVariables:
    """Call the user's function inside the model, check what comes, and name its parts."""
    returned = prior()
    _require_names_and_sizes()
    if isinstance(returned, Mapping):
        return _of_fields(returned, observations, n_components)
    expected = (
        "a tuple of weights (K,), means (K, D) and Cholesky factors (K, D, D), or a dict of "
        "fields of ConjugatePrior"
    )
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


def _require_names_and_sizes() -> None:
    """Check the variables of the user's function before anything is compiled."""
    model = pm.modelcontext(None)
    for name, variable in model.named_vars.items():
        if name in TAKEN:
            raise InputError(f"prior() has a variable {name!r}, a reserved name: rename it")
        dims = model.named_vars_to_dims.get(name, ())
        if not TAKEN.isdisjoint(dims):
            raise InputError(
                f"prior() has a variable {name!r} with the dim chain or draw, which are reserved: "
                "rename the dim"
            )
        for dim, size in zip(dims, variable.type.shape, strict=False):
            labels = model.coords.get(dim)
            if size is not None and labels is not None and size != len(labels):
                raise InputError(
                    f"prior() has a variable {name!r} with {size} entries along the dim {dim!r}, "
                    f"but the dim has {len(labels)}: give the variable as many"
                )


def _of_fields(
    given: Mapping[str, Any], observations: Observations, n_components: int
) -> MixtureVariables:
    """Add a conjugate prior whose parameters are variables of the model, or depend on them."""
    names = [field.name for field in fields(ConjugatePrior)]
    if not given or not set(given) <= set(names):
        raise InputError(
            f"prior() returned a dict with the keys {', '.join(map(str, given)) or '(none)'}; use "
            f"the fields of ConjugatePrior: {', '.join(names)}"
        )
    for name in MixtureVariables._fields:
        if name in pm.modelcontext(None).named_vars:
            raise InputError(f"prior() has a variable {name!r}, a reserved name: rename it")
    symbolic = {name: part for name, part in given.items() if isinstance(part, TensorVariable)}
    fixed = ConjugatePrior.default(observations, n_components)
    for name in set(given) - set(symbolic):
        full = getattr(fixed, name).shape
        for_all = np.shape(given[name]) == full[1:]
        part = np.broadcast_to(given[name], full) if for_all else given[name]
        fixed = replace(fixed, **{name: part})
    fixed.require_proper()
    whole = {name: getattr(fixed, name) for name in names}
    for name, part in symbolic.items():
        full, shape = whole[name].shape, _shape(part)
        # One concentration serves all components, and of the other fields one without them.
        if shape not in (full, full[1:]):
            raise InputError(
                f"prior() returned {name} of shape {shape}; it must be {full}, or {full[1:]} for "
                "all components"
            )
        whole[name] = pt.broadcast_to(part.astype("float64"), full)
    if "degrees_of_freedom" in symbolic:
        # Below D - 1 the density does not exist, but its formula often has a value.
        degrees = whole["degrees_of_freedom"]
        whole["degrees_of_freedom"] = pt.switch(
            degrees > observations.n_features - 1, degrees, np.nan
        )
    return conjugate(ConjugateFields(**whole), fixed, observations)


def _named(name: str, variable: TensorVariable) -> TensorVariable:
    """Return the variable of the model with this name, made from the given one if need be."""
    model = pm.modelcontext(None)
    if name not in model.named_vars:
        return pm.Deterministic(name, variable, dims=DIMS[name])
    if model.named_vars[name] is not variable:
        raise InputError(
            f"prior() has a variable {name!r} that is not the {name} that it returned: rename it"
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
