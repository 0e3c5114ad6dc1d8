"""A posterior as a DataTree: relabelled draws, how they were made, what no renaming changes."""

from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import within
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.relabel.pivot import match
from bayes_gmm.results.draws import VARIABLES
from bayes_gmm.results.invariants import invariants
from bayes_gmm.results.labels import DIMS, labelled
from bayes_gmm.results.prior_parameters import prior_groups
from bayes_gmm.results.relabel import follow
from bayes_gmm.results.tree import attributes, kept_rows, parameters_dataset

KNOWN = {  # statistics that spare the pass over the rows, and their own dims
    "log_likelihood": (),
    "component_counts": ("cluster",),
    "log_prior": (),
}
# Their sums over rows are in group invariants. In sample_stats ArviZ would take a variable of such
# a name for the log-likelihood of each row.
ELSEWHERE = ("log_likelihood", "log_prior")


def posterior_tree(
    sampled: xr.DataTree,
    pivot: Parameters,
    observations: Observations,
    prior: Any,
    structure: Structure = UNCONSTRAINED,
    **described: Any,
) -> xr.DataTree:
    """Build the result of `sample` from what the sampler returned.

    Parameters
    ----------
    sampled : DataTree
        Group posterior has weights, means and covariances in the user's units, their components
        named as they came, and whatever else the model has; group sample_stats has one value per
        draw of whatever was recorded. If the sampler was interrupted, its attribute partial is 1.
    pivot : Parameters
        The point estimate whose names the draws take.
    observations : Observations
    prior : Prior, a family of priors, or any other object, which then has no log density
    structure : Structure
        For which a conjugate prior counts.
    **described : object
        Attributes of the tree: engine, sampler, seed, draws, tune, chains. What was drawn is
        counted, and not taken from here.

    Returns
    -------
    xarray.DataTree
        Other variables of the model stay in group posterior if they hold numbers, which every file
        format can hold. Those along the dim cluster are named anew with the components; the rest
        is as it was drawn.
    """
    names = observations.feature_names
    posterior = sampled["posterior"].to_dataset()
    stats = _storable(sampled["sample_stats"].to_dataset())
    raw = drawn(sampled)
    permutation = match(*raw, pivot).permutation
    known = {
        name: stats[name].transpose("chain", "draw", *own).to_numpy()
        for name, own in KNOWN.items()
        if name in stats
    }
    chain_and_draw = {"chain": posterior["chain"], "draw": posterior["draw"]}
    relabelled = labelled(
        raw.reorder(permutation)._asdict(), feature_names=names, leading=("chain", "draw")
    )
    own = within(prior, structure)
    described |= {
        "chains": raw.n_chains,
        "draws": raw.n_draws,
        "partial": int(sampled.attrs.get("partial", 0)),
        "relabelling": "pivot",
    }
    groups = {
        "/": xr.Dataset(
            attrs=attributes("posterior", observations, pivot.n_components, **described)
        ),
        "/posterior": _beside(
            relabelled.assign_coords(chain_and_draw),
            follow(_storable(posterior.drop_vars(VARIABLES)), permutation),
        ),
        "/sample_stats": follow(stats.drop_vars(ELSEWHERE, errors="ignore"), permutation)
        .assign(permutation=(("chain", "draw", "cluster"), permutation))
        .assign_coords(cluster=np.arange(pivot.n_components)),
        "/invariants": invariants(raw, observations, own, pivot, **known).assign_coords(
            chain_and_draw
        ),
        "/point_estimate": parameters_dataset(pivot, names),
        **kept_rows(observations),
        **prior_groups(prior, names),
    }
    return xr.DataTree.from_dict(groups)


def drawn(sampled: xr.DataTree) -> Draws:
    """Read what the sampler returned, its components named as they came.

    Parameters
    ----------
    sampled : DataTree

    Returns
    -------
    Draws
    """
    posterior = sampled["posterior"]
    return Draws(
        *(posterior[name].transpose("chain", "draw", *DIMS[name]).to_numpy() for name in VARIABLES)
    )


def _storable(drawn: xr.Dataset) -> xr.Dataset:
    """Keep the variables that are numbers, which every file format can hold, and no attributes."""
    numbers = [name for name, array in drawn.data_vars.items() if array.dtype.kind in "biuf"]
    kept = drawn[numbers].drop_attrs()
    return kept.assign_coords(
        {name: labels.astype(str) for name, labels in kept.coords.items() if labels.dtype == object}
    )


def _beside(mixture: xr.Dataset, others: xr.Dataset) -> xr.Dataset:
    """Put other variables beside the mixture's, whose coordinates stand."""
    shared = [name for name in others.coords if name in mixture.coords]
    return mixture.assign_coords(others.drop_vars(shared).coords).assign(
        {name: array.drop_vars(shared, errors="ignore") for name, array in others.items()}
    )
