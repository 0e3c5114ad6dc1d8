"""What is read of a result: draws as plain arrays, rows, parameters, its kind, or all of a fit."""

import json
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.data.row_labels import restored
from bayes_gmm.data.row_weights import in_rows
from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.model.number_of_components import NumberOfComponents
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.draws import Draws, Scalar, catalogue
from bayes_gmm.results.labels import DIMS, read_conjugate_prior

VARIABLES = ("weights", "means", "covariances")


def draws_of(posterior: xr.DataTree) -> Draws:
    """Read the relabelled draws of a posterior result."""
    dataset = require_posterior(posterior)["posterior"]
    return Draws(
        *(dataset[name].transpose("chain", "draw", *DIMS[name]).to_numpy() for name in VARIABLES)
    )


def raw_draws(posterior: xr.DataTree) -> Draws:
    """Undo the relabelling: the draws in the order in which the sampler made them.

    The stored permutation says relabelled[c] = raw[permutation[c]], so its inverse leads back.
    """
    return draws_of(posterior).reorder(np.argsort(permutation(posterior), axis=-1))


def permutation(posterior: xr.DataTree) -> np.ndarray:
    """Which raw component became which component, (chain, draw, K)."""
    stored = require_posterior(posterior)["sample_stats"]["permutation"]
    return stored.transpose("chain", "draw", "cluster").to_numpy().astype(int)


def invariants(posterior: xr.DataTree) -> tuple[list[str], np.ndarray]:
    """Read the label-invariant quantities of every draw, (chain, draw, Q)."""
    names: list[str] = []
    columns = []
    for variable, array in require_posterior(posterior)["invariants"].dataset.data_vars.items():
        flat = array.transpose("chain", "draw", ...)
        own = flat.dims[2:]
        labels = [""] if not own else [f"[{label}]" for label in flat[own[0]].to_numpy()]
        names += [f"{variable}{label}" for label in labels]
        columns.append(flat.to_numpy().reshape(*flat.shape[:2], len(labels)))
    return names, np.concatenate(columns, axis=2)


def unknown_number(number: NumberOfComponents) -> dict[str, Any]:
    """Write the prior of an unknown number of components as attributes of a result."""
    prior = number.prior if isinstance(number.prior, str) else np.asarray(number.prior).tolist()
    fields = (prior, number.parameters, number.concentration, number.alpha, number.maximum)
    return {"unknown_number": json.dumps(fields)}


def read_number(tree: xr.DataTree) -> NumberOfComponents | None:
    """Read the prior of the number of components, if that was unknown."""
    if "unknown_number" not in tree.attrs:
        return None
    prior, parameters, concentration, alpha, maximum = json.loads(tree.attrs["unknown_number"])
    alpha = tuple(alpha) if isinstance(alpha, list) else alpha
    return NumberOfComponents(
        prior, parameters, concentration=concentration, alpha=alpha, maximum=maximum
    )


def feature_names(tree: xr.DataTree) -> tuple[str, ...]:
    """Read the names of the columns."""
    return tuple(str(name) for name in tree["point_estimate"]["feature"].to_numpy())


def structure_of(tree: xr.DataTree) -> Structure:
    """What the components of a result share; nothing, if it does not say."""
    return Structure.named(str(tree.attrs.get("covariance", "VVV")), len(feature_names(tree)))


def keeps_rows(tree: xr.DataTree) -> bool:
    """Whether a result holds the data that it was computed from; of very many rows it does not."""
    return "observed_data" in tree.children and "x" in tree["observed_data"]


def n_observed(tree: xr.DataTree) -> int:
    """Count the rows that a result was computed from, kept or not, each once."""
    return len(observed_rows(tree)) if keeps_rows(tree) else int(tree.attrs["n_observations"])


def n_incomplete(tree: xr.DataTree) -> int:
    """Count the rows that lack entries, of those that the result keeps."""
    if not keeps_rows(tree):
        return 0
    return int(np.isnan(observed_rows(tree)).any(axis=1).sum())


def row_weights(tree: xr.DataTree) -> np.ndarray | None:
    """Read how often each row counts, (N,); None is once."""
    if "observed_data" not in tree.children or "row_weights" not in tree["observed_data"].coords:
        return None
    return tree["observed_data"]["row_weights"].to_numpy()


def total_weight(tree: xr.DataTree) -> float:
    """Count the rows that a result was computed from, each as often as it was seen."""
    weights = row_weights(tree)
    return float(n_observed(tree) if weights is None else weights.sum())


def n_seen(tree: xr.DataTree) -> float:
    """Count the rows as `Observations.n_seen` does."""
    weights, _ = in_rows(row_weights(tree))
    return float(n_observed(tree) if weights is None else weights.sum())


def observed_rows(tree: xr.DataTree) -> np.ndarray:
    """Read the data that a result was computed from, (N, D), nan where entries are missing.

    Raises InputError if the result does not keep them.
    """
    if not keeps_rows(tree):
        raise InputError(
            f"the result keeps no copy of its {n_observed(tree):,} rows, which are needed here: "
            "sample from a random part of them"
        )
    return tree["observed_data"]["x"].transpose("obs_id", "feature").to_numpy()


def complete_rows(rows: np.ndarray, needed_by: str) -> np.ndarray:
    """Check that rows (N, D) of a result lack no entry, for what cannot do without yet."""
    incomplete = int(np.isnan(rows).any(axis=1).sum())
    if incomplete:
        raise InputError(
            f"{incomplete} of {len(rows)} rows have missing entries, and {needed_by} takes "
            "complete rows only; predict, log_density, loo, partition and compare take any"
        )
    return rows


def is_posterior(result: object) -> bool:
    """Whether a result holds draws rather than a point."""
    return isinstance(result, xr.DataTree) and "posterior" in result.children


def is_point(result: object) -> bool:
    """Whether a result is a point result."""
    return (
        isinstance(result, xr.DataTree)
        and not is_posterior(result)
        and ("point_estimate" in result.children)
    )


def require_posterior(result: object) -> xr.DataTree:
    """Return the result if it is a posterior result."""
    if not isinstance(result, xr.DataTree) or not is_posterior(result):
        raise InputError(f"posterior must be a result of bg.sample; got {_describe(result)}")
    for group in ("sample_stats", "invariants", "point_estimate"):
        if group not in result.children:
            raise InputError(f"posterior has no group {group!r}; use the whole result of bg.sample")
    return result


def _describe(result: object) -> str:
    if is_point(result):
        return "a point result (bg.fit)"
    return f"an object of type {type(result).__name__}"


def kept_observations(result: xr.DataTree) -> Observations:
    """Read the rows of a result, with their names, labels and weights."""
    rows = observed_rows(result)
    spread = np.ones(rows.shape[1])
    observations = Observations.of(np.ascontiguousarray(rows), spread=spread, missing="mar")
    weights = row_weights(result)
    if weights is not None:
        observations = observations.weighted(weights, spread=spread)
    return replace(
        observations,
        feature_names=feature_names(result),
        row_labels=restored(result["observed_data"].dataset),
    )


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


class Fitted(NamedTuple):
    """A point estimate and all that it was an estimate from."""

    observations: Observations
    parameters: Parameters
    structure: Structure
    prior: ConjugatePrior | None  # None for maximum likelihood
    estimator: str  # MLE or MAP
    features: tuple[str, ...]
    equal_weights: bool = False  # Whether every weight was held at 1 / K

    @property
    def counted(self) -> ConjugatePrior | None:
        """The prior as it counts for this structure; see `model.structures.prior`."""
        if self.prior is None:
            return None
        return StructuredPrior.of(self.prior, self.structure).counted

    @property
    def scalars(self) -> list[Scalar]:
        """Names of all numbers of the estimate."""
        return catalogue(self.parameters.n_components, self.features)

    @classmethod
    def of(cls, result: Any, X: Any = None) -> "Fitted":
        """Read a result of `fit`."""
        if not is_point(result) or "covariance" not in result.attrs:
            raise InputError(
                "result must come from bg.fit or be the best of bg.select, which record the prior "
                "and the covariance structure"
            )
        parameters = point_parameters(result)
        features = tuple(str(name) for name in result["point_estimate"]["feature"].to_numpy())
        prior = read_conjugate_prior(result)
        return cls(
            _rows(result, X, features, prior),
            parameters,
            Structure.of(result.attrs["covariance"], parameters.n_features),
            prior,
            str(result.attrs["estimator"]),
            features,
            bool(result.attrs.get("equal_weights", 0)),
        )


def _rows(
    result: xr.DataTree, X: Any, features: tuple[str, ...], prior: ConjugatePrior | None
) -> Observations:
    """The data, given or kept."""
    spread = None if prior is None else prior.spread
    if X is None:
        if not keeps_rows(result):
            raise InputError("X is needed, because the result keeps no copy of its rows")
        rows = complete_rows(observed_rows(result), "standard_errors")
        observations = Observations.of(np.ascontiguousarray(rows), spread=spread)
        return _weighted(observations, result, spread)
    observations = Observations.of(X, spread=spread)
    names = observations.feature_names
    nameless = names == tuple(f"x{j}" for j in range(len(features)))
    if names != features and not nameless:
        raise InputError(
            f"X has the columns {listing(names)}, but the result has {listing(features)}: "
            "give the data of the fit"
        )
    expected = result.attrs.get("n_observations", observations.n_rows)
    if observations.n_rows != expected:
        raise InputError(
            f"X has {observations.n_rows} rows, but the fit had {expected}: "
            "give the data of the fit"
        )
    return _weighted(observations, result, spread)


def _weighted(
    observations: Observations, result: xr.DataTree, spread: np.ndarray | None
) -> Observations:
    """Let rows count as often as they did in the fit, if weights are kept."""
    weights = row_weights(result)
    if weights is None:
        return observations
    return observations.weighted(weights, what="row_weights", spread=spread)
