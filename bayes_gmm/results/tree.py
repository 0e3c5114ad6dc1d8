"""A point estimate as a DataTree: labelled, in the user's units, and safe to write to a file."""

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
from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.posterior.criteria import criteria
from bayes_gmm.posterior.deciding_rows import DecidingRow, deciding_rows
from bayes_gmm.results.labels import labelled, record_columns
from bayes_gmm.results.prior_parameters import prior_groups

MOST_ROWS = 1_000_000  # of more, a result does not keep a copy
BY_NAME = ("start_", "optimum_", "pole_", "deciding_")  # variables along the dim that they name


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
    prior: Prior | None,
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


def point_parameters(result: Any) -> Parameters:
    """Read the point estimate of a result back as `Parameters`."""
    if isinstance(result, Parameters):
        return result
    if not isinstance(result, xr.DataTree) or "point_estimate" not in result.children:
        kind = type(result).__name__
        if isinstance(result, xr.DataTree) and set(result.children) & {"mle", "map"}:
            inside = " or ".join(
                f"[{name!r}]" for name in ("map", "mle") if name in result.children
            )
            kind = f"a whole analysis: choose {inside} of it"
        raise InputError(f"result must come from fit or sample, or be Parameters; got {kind}")
    point = result["point_estimate"].to_dataset()
    return Parameters(*(np.asarray(point[name]) for name in ("weights", "means", "covariances")))
