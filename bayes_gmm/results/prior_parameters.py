"""The group `prior_parameters` of a result: the fields of the prior, written down and read back."""

from dataclasses import fields
from typing import Any

import xarray as xr

from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.independent_prior import IndependentPrior
from bayes_gmm.model.prior_family import PriorFamily
from bayes_gmm.model.priors import Prior
from bayes_gmm.results.labels import DIMS as LABELLED
from bayes_gmm.results.labels import labelled

GROUP = "prior_parameters"
OF_COMPONENTS = {
    "mean": ("cluster", "feature"),
    "mean_precision": ("cluster",),
    "degrees_of_freedom": ("cluster",),
    "scale": ("cluster", "feature", "feature_bis"),
}
OF_FEATURES: dict[str, tuple[str, ...]] = {"mean_sd": ("feature",), "sd": ("feature",)}
# The dims of fields that are neither scalars nor in `labels.DIMS`.
DIMS: dict[type, dict[str, tuple[str, ...]]] = {
    Prior: OF_COMPONENTS,
    IndependentPrior: OF_FEATURES,
    HierarchicalPrior: OF_FEATURES,
}
FAMILIES = {kind.__name__: kind for kind in DIMS}


def prior_groups(prior: Any, feature_names: tuple[str, ...]) -> dict[str, xr.Dataset]:
    """Return the group that holds a result's prior; none for a function, which has no fields."""
    if not isinstance(prior, Prior | PriorFamily):
        return {}
    return {f"/{GROUP}": prior_dataset(prior, feature_names)}


def prior_dataset(prior: Prior | PriorFamily, feature_names: tuple[str, ...]) -> xr.Dataset:
    """Label the parameters of a prior."""
    kind = next(one for one in DIMS if isinstance(prior, one))
    values = {field.name: getattr(prior, field.name) for field in fields(kind)}
    described = labelled(values, feature_names=feature_names, dims=DIMS[kind])
    note = {"note": prior.note} if isinstance(prior, Prior) and prior.note else {}
    return described.assign_attrs(family=kind.__name__, **note)


def read_prior(result: xr.DataTree) -> Prior | PriorFamily | None:
    """Read the prior of a result, if it has one."""
    if GROUP not in result.children:
        return None
    group = result[GROUP].to_dataset()
    kind = FAMILIES[str(group.attrs.get("family", Prior.__name__))]
    own = {**LABELLED, **DIMS[kind]}
    return kind(
        **{
            field.name: group[field.name].transpose(*own.get(field.name, ())).to_numpy()
            for field in fields(kind)
        }
    )


def read_conjugate_prior(result: xr.DataTree) -> Prior | None:
    """Read the prior of a result, if it has one and that is conjugate."""
    prior = read_prior(result)
    return prior if isinstance(prior, Prior) else None
