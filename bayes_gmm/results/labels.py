"""Names of dims and coordinates: plain arrays in, labelled Datasets out; priors among them.

Everything below this floor is unlabelled. Which axis is what is said once, here.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.independent_prior import IndependentPrior
from bayes_gmm.model.prior_family import PriorFamily
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior

DIMS: dict[str, tuple[str, ...]] = {
    "weights": ("cluster",),
    "means": ("cluster", "feature"),
    "covariances": ("cluster", "feature", "feature_bis"),
    "concentration": ("cluster",),
    "mean": ("feature",),
    "scale": ("feature", "feature_bis"),
    "x": ("obs_id", "feature"),
    "z": ("obs_id",),
    "responsibilities": ("obs_id", "cluster"),
}
GROUP = "prior_parameters"
OF_COMPONENTS = {
    "mean": ("cluster", "feature"),
    "mean_precision": ("cluster",),
    "degrees_of_freedom": ("cluster",),
    "scale": ("cluster", "feature", "feature_bis"),
}
OF_FEATURES: dict[str, tuple[str, ...]] = {"mean_sd": ("feature",), "sd": ("feature",)}
# The dims of fields that are neither scalars nor in `DIMS`.
OF_PRIORS: dict[type, dict[str, tuple[str, ...]]] = {
    ConjugatePrior: OF_COMPONENTS,
    IndependentPrior: OF_FEATURES,
    HierarchicalPrior: OF_FEATURES,
    SemiconjugatePrior: OF_FEATURES,
}
FAMILIES = {kind.__name__: kind for kind in OF_PRIORS}


def is_unnamed(dim: Hashable) -> bool:
    """Whether a dim has no name but the one that ArviZ makes up, such as ``tau_dim_0``."""
    return re.search(r"_dim_\d+$", str(dim)) is not None


def labelled(
    arrays: Mapping[str, Any],
    *,
    feature_names: Sequence[str] = (),
    index: Any = None,
    leading: tuple[str, ...] = (),
    dims: Mapping[str, tuple[str, ...]] | None = None,
) -> xr.Dataset:
    """Attach dims and coordinates to arrays by the names of the variables."""
    own = {**DIMS, **(dims or {})}
    variables = {name: ((*leading, *own.get(name, ())), value) for name, value in arrays.items()}
    sizes = {
        dim: size
        for on, value in variables.values()
        for dim, size in zip(on, np.shape(value), strict=True)
    }
    known = {"feature": list(feature_names), "feature_bis": list(feature_names)}
    coordinates: dict[str, Any] = {
        dim: known[dim] if dim in known else np.arange(size) for dim, size in sizes.items()
    }
    dataset = xr.Dataset(variables, coordinates)
    if index is None or "obs_id" not in sizes:
        return dataset
    if isinstance(index, pd.MultiIndex):
        return dataset.assign_coords(xr.Coordinates.from_pandas_multiindex(index, "obs_id"))
    return dataset.assign_coords(obs_id=pd.Index(index, name="obs_id"))


def follow(dataset: xr.Dataset, order: np.ndarray) -> xr.Dataset:
    """Reorder the components of every variable that has some, draw by draw.

    Component k of the result is component order[..., k].

    Shapes: order (chain, draw, K).
    """
    renamed = {}
    for name, array in dataset.data_vars.items():
        if {"chain", "draw", "cluster"} <= set(array.dims):
            moved = array.transpose("chain", "draw", "cluster", ...)
            own = order.reshape(*order.shape, *(1,) * (moved.ndim - order.ndim))
            values = np.take_along_axis(moved.to_numpy(), own, axis=2)
            renamed[name] = moved.copy(data=values).transpose(*array.dims)
    return dataset.assign(renamed)


def record_columns(prefix: str, kind: type, found: Sequence[Any]) -> dict[str, np.ndarray]:
    """Lay named tuples of a kind out as variables `prefix_...`, one entry for each."""
    return {
        f"{prefix}_{name}": np.array([getattr(one, name) for one in found], dtype=type_)
        for name, type_ in kind.__annotations__.items()
    }


def records(prefix: str, kind: type, dataset: xr.Dataset) -> list[Any]:
    """Read named tuples back from variables along the dim `prefix`."""
    if not dataset.sizes[prefix]:
        return []
    columns = [dataset[f"{prefix}_{name}"].to_numpy().tolist() for name in kind.__annotations__]
    return [kind(*entries) for entries in zip(*columns, strict=True)]


def prior_groups(prior: Any, feature_names: tuple[str, ...]) -> dict[str, xr.Dataset]:
    """Return the group that holds a result's prior; none for a function, which has no fields."""
    if not isinstance(prior, ConjugatePrior | PriorFamily):
        return {}
    return {f"/{GROUP}": prior_dataset(prior, feature_names)}


def prior_dataset(
    prior: ConjugatePrior | PriorFamily, feature_names: tuple[str, ...]
) -> xr.Dataset:
    """Label the parameters of a prior."""
    kind = next(one for one in OF_PRIORS if isinstance(prior, one))
    values = {field.name: getattr(prior, field.name) for field in fields(kind)}
    described = labelled(values, feature_names=feature_names, dims=OF_PRIORS[kind])
    note = {"note": prior.note} if isinstance(prior, ConjugatePrior) and prior.note else {}
    return described.assign_attrs(family=kind.__name__, **note)


def read_prior(result: xr.DataTree) -> ConjugatePrior | PriorFamily | None:
    """Read the prior of a result, if it has one."""
    if GROUP not in result.children:
        return None
    group = result[GROUP].to_dataset()
    kind = FAMILIES[str(group.attrs.get("family", ConjugatePrior.__name__))]
    own = {**DIMS, **OF_PRIORS[kind]}
    return kind(
        **{
            field.name: group[field.name].transpose(*own.get(field.name, ())).to_numpy()
            for field in fields(kind)
        }
    )


def read_conjugate_prior(result: xr.DataTree) -> ConjugatePrior | None:
    """Read the prior of a result, if it has one and that is conjugate."""
    prior = read_prior(result)
    return prior if isinstance(prior, ConjugatePrior) else None
