"""Results as DataTrees: labelled, in the user's units, and safe to write to a file.

A point estimate with the search for it; and relabelled draws with how they were made, and what no
renaming changes.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.data.row_labels import stored
from bayes_gmm.data.streams import Stream
from bayes_gmm.model.number_of_components import NumberOfComponents
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import within
from bayes_gmm.posterior.chains import usual_order
from bayes_gmm.posterior.criteria import criteria
from bayes_gmm.posterior.deciding_rows import DecidingRow, deciding_rows
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.invariants import Invariants, invariants
from bayes_gmm.posterior.pivot import match
from bayes_gmm.results.labels import DIMS, follow, labelled, prior_groups, record_columns
from bayes_gmm.results.reading import VARIABLES, unknown_number

MOST_ROWS = 1_000_000  # of more, a result does not keep a copy
BY_NAME = ("start_", "optimum_", "pole_", "deciding_")  # variables along the dim that they name
KNOWN = {  # statistics that spare the pass over the rows, and their own dims
    "log_likelihood": (),
    "component_counts": ("cluster",),
    "log_prior": (),
}
# Their sums over rows are in group invariants. In sample_stats ArviZ would take a variable of such
# a name for the log-likelihood of each row.
ELSEWHERE = ("log_likelihood", "log_prior")


def parameters_dataset(parameters: Parameters, feature_names: tuple[str, ...]) -> xr.Dataset:
    """Label the weights, means and covariances."""
    arrays = {
        "weights": parameters.weights,
        "means": parameters.means,
        "covariances": parameters.covariances,
    }
    return labelled(arrays, feature_names=feature_names)


def kept_rows(observations: Observations) -> dict[str, xr.Dataset]:
    """Label the data, unless they are too many for a result to keep a copy; weights are kept."""
    few = observations.n_rows <= MOST_ROWS and not isinstance(observations.values, Stream)
    if not few and observations.weights is None:
        return {}
    kept = {"x": observations.values} if few else {}
    rows = labelled(kept, feature_names=observations.feature_names)
    rows = rows.assign_coords(stored(observations.index))
    return {"/observed_data": with_weights(rows, observations.weights)}


def with_weights(rows: xr.Dataset, weights: np.ndarray | None) -> xr.Dataset:
    """Put beside rows how often each counts, as a coordinate: for ArviZ all variables are data."""
    return rows if weights is None else rows.assign_coords(row_weights=("obs_id", weights))


def attributes(kind: str, observations: Observations, n_components: int, **more: Any) -> dict:
    """Describe how a result was made, in scalars and strings that any file format keeps."""
    described = {
        "kind": kind,
        "n_components": n_components,
        "n_features": observations.n_features,
        "n_observations": observations.n_rows,
        **more,
        "bayes_gmm_version": version("bayes-gmm"),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {
        name: value if isinstance(value, int | float | str) else json.dumps(value)
        for name, value in described.items()
    }


def point_tree(
    parameters: Parameters,
    observations: Observations,
    prior: ConjugatePrior | None,
    optimizer: Mapping[str, Any],
    **described: Any,
) -> xr.DataTree:
    """Build the result of `fit`."""
    optimizer = {
        **optimizer,
        **criteria(
            optimizer["log_likelihood"],
            optimizer["n_parameters"],
            observations.total_weight,
            optimizer["entropy"],
        ),
        **record_columns("deciding", DecidingRow, deciding_rows(parameters, observations)),
    }
    dims: dict[str, tuple[str, ...]] = {
        name: (name.split("_")[0],) for name in optimizer if name.startswith(BY_NAME)
    }
    dims["component_spurious"] = ("cluster",)
    dims["objective"] = ("iteration",)
    groups = {
        "/": xr.Dataset(
            attrs=attributes("point", observations, parameters.n_components, **described)
        ),
        "/point_estimate": parameters_dataset(parameters, observations.feature_names),
        "/optimizer_result": labelled(optimizer, dims=dims),
    }
    groups |= kept_rows(observations) | prior_groups(prior, observations.feature_names)
    return xr.DataTree.from_dict(groups)


def posterior_tree(
    sampled: xr.DataTree,
    pivot: Parameters,
    observations: Observations,
    prior: Any,
    structure: Structure = UNCONSTRAINED,
    label_invariant: Invariants | None = None,
    number: NumberOfComponents | None = None,
    **described: Any,
) -> xr.DataTree:
    """Build the result of `sample` from what the sampler returned.

    Where the number of components is unknown, nothing is relabelled: `number` is its prior.

    `sampled` has the groups posterior (weights, means and covariances in the user's units, and
    any other variables of the model, with the sampler's labels) and sample_stats. Other variables
    stay if they are numbers, which every file format can hold.
    """
    names = observations.feature_names
    posterior = sampled["posterior"].to_dataset()
    stats = _storable(sampled["sample_stats"].to_dataset())
    raw = drawn(sampled)
    if number is None:
        permutation = match(*raw, pivot).permutation
    else:
        permutation = np.broadcast_to(np.arange(raw.weights.shape[2]), raw.weights.shape)
        described |= unknown_number(number)
    known = {
        name: stats[name].transpose("chain", "draw", *own).to_numpy()
        for name, own in KNOWN.items()
        if name in stats
    }
    chain_and_draw = {"chain": posterior["chain"], "draw": posterior["draw"]}
    relabelled = labelled(
        raw.reorder(permutation)._asdict(), feature_names=names, leading=("chain", "draw")
    )
    if label_invariant is None:
        own = within(prior, structure)
        label_invariant = invariants(raw, observations, own, pivot, **known)
    described |= {
        "chains": raw.n_chains,
        "draws": raw.n_draws,
        "partial": int(sampled.attrs.get("partial", 0)),
        "relabelling": "pivot" if number is None else "none",
    }
    variational = _variational(sampled, permutation)
    for group in variational.values():
        described["elbo"] = float(group["elbo"][-1])
    n_components = raw.weights.shape[2]
    groups = {
        "/": xr.Dataset(attrs=attributes("posterior", observations, n_components, **described)),
        "/posterior": _beside(
            relabelled.assign_coords(chain_and_draw),
            follow(_storable(posterior.drop_vars(VARIABLES)), permutation),
        ),
        "/sample_stats": follow(stats.drop_vars(ELSEWHERE, errors="ignore"), permutation)
        .assign(permutation=(("chain", "draw", "cluster"), permutation))
        .assign_coords(cluster=np.arange(n_components)),
        "/invariants": labelled_invariants(label_invariant, observations).assign_coords(
            chain_and_draw
        ),
        "/point_estimate": parameters_dataset(pivot, names),
        **kept_rows(observations),
        **prior_groups(prior, names),
        **variational,
    }
    return xr.DataTree.from_dict(groups)


def _variational(sampled: xr.DataTree, permutation: np.ndarray) -> dict[str, xr.Dataset]:
    """Number the distribution that draws of variational Bayes came from as most of them are."""
    if "variational" not in sampled.children:
        return {}
    n_components = permutation.shape[2]
    order = usual_order(permutation.reshape(-1, n_components))
    own = sampled["variational"].to_dataset().isel(cluster=order)
    features = sampled["posterior"]["feature"].to_numpy()
    coordinates = {"cluster": np.arange(n_components), "feature": features, "feature_bis": features}
    return {"/variational": own.assign_coords(coordinates)}


def labelled_invariants(found: Invariants, observations: Observations) -> xr.Dataset:
    """Add coordinates: features, monitored rows (point) and monitored pairs."""
    index = observations.index
    storable = stored(index)["obs_id"].to_numpy()
    return labelled(
        found.quantities,
        feature_names=observations.feature_names,
        leading=("chain", "draw"),
        dims={
            "mixture_mean": ("feature",),
            "log_density_at": ("point",),
            "co_clustering": ("pair",),
        },
    ).assign_coords(
        point=storable[found.monitored.points],
        pair=np.array([f"{index[a]} & {index[b]}" for a, b in found.monitored.pairs], dtype=str),
    )


def drawn(sampled: xr.DataTree) -> Draws:
    """Read what the sampler returned, its components named as they came."""
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
