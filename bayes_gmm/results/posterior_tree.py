"""A posterior as a DataTree: relabelled draws, how they were made, what no renaming changes."""

from typing import Any

import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.results.draws import VARIABLES, Draws
from bayes_gmm.results.invariants import invariants
from bayes_gmm.results.labels import DIMS, labelled
from bayes_gmm.results.relabel import relabel
from bayes_gmm.results.tree import (
    attributes,
    observed_dataset,
    parameters_dataset,
    prior_dataset,
)


def posterior_tree(
    sampled: xr.DataTree,
    pivot: Parameters,
    observations: Observations,
    prior: Prior,
    **described: Any,
) -> xr.DataTree:
    """Build the result of `sample` from what the sampler returned.

    Parameters
    ----------
    sampled : DataTree
        Group posterior has weights, means and covariances in the user's units, their components
        named as they came; group sample_stats has one value per draw of whatever was recorded.
    pivot : Parameters
        The point estimate whose names the draws take.
    observations : Observations
    prior : Prior
    **described : object
        Attributes of the tree: engine, sampler, seed, draws, tune, chains.

    Returns
    -------
    xarray.DataTree
    """
    names = observations.feature_names
    posterior = sampled["posterior"].to_dataset()
    raw = Draws(
        *(posterior[name].transpose("chain", "draw", *DIMS[name]).to_numpy() for name in VARIABLES)
    )
    permutation = relabel(*raw, pivot)
    draws = raw.reorder(permutation)
    chain_and_draw = {"chain": posterior["chain"], "draw": posterior["draw"]}
    relabelled = labelled(draws._asdict(), feature_names=names, leading=("chain", "draw"))
    groups = {
        "/": xr.Dataset(
            attrs=attributes("posterior", observations, pivot.n_components, **described)
        ),
        "/posterior": relabelled.assign_coords(chain_and_draw),
        "/sample_stats": _storable(sampled["sample_stats"].to_dataset())
        .assign(permutation=(("chain", "draw", "cluster"), permutation))
        .assign_coords(cluster=relabelled["cluster"]),
        "/invariants": invariants(*draws, observations, prior, pivot).assign_coords(chain_and_draw),
        "/point_estimate": parameters_dataset(pivot, names),
        "/observed_data": observed_dataset(observations),
        "/prior_parameters": prior_dataset(prior, names),
    }
    return xr.DataTree.from_dict(groups)


def _storable(stats: xr.Dataset) -> xr.Dataset:
    """Keep the statistics that are numbers, which every file format can hold, and no attributes."""
    numbers = [name for name, array in stats.data_vars.items() if array.dtype.kind in "biuf"]
    return stats[numbers].drop_attrs()
