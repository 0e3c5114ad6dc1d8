"""What `standard_errors` returns: every number of a fit with its standard error and interval."""

import json
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.errors import (
    CollapseError,
    CollapseWarning,
    ConvergenceWarning,
    IdentificationWarning,
    InputError,
)
from bayes_gmm.posterior import standard_errors
from bayes_gmm.posterior.draws import Scalar
from bayes_gmm.posterior.predictive import tails
from bayes_gmm.posterior.standard_errors import Errors, from_curvature, from_refits
from bayes_gmm.results.reading import Fitted, is_point, keeps_rows, n_incomplete
from bayes_gmm.results.tables import Printed, counted, ends, number

SOURCES = {
    "observed": "the observed information",
    "sandwich": "the sandwich",
    "bootstrap": "the bootstrap",
    "weighted": "the weighted-likelihood bootstrap",
}
REFITTED = ("bootstrap", "weighted")
FAR = 1e-2  # nats from the optimum; a seventh of a standard error
TWO = 2  # replicates, of which there is a standard deviation


@dataclass(frozen=True, eq=False, repr=False)
class StandardErrors(Printed):
    """Standard errors of a point estimate.

    Attributes
    ----------
    dataset : xarray.Dataset
        By ``parameter``: estimate, standard_error, lower, upper, and free (whether the structure
        leaves it to be estimated). From refits also bias (their mean minus the estimate), and
        ``replicates`` (replicate, parameter); otherwise ``covariance`` (parameter, parameter_bis),
        if there are at most 1000 parameters. A standard error that does not exist is nan; the
        attributes ``positive_definite``, ``n_flat`` and ``distance_to_optimum`` say why.
    """

    dataset: xr.Dataset

    @property
    def method(self) -> str:
        """The method by which they were computed."""
        return str(self.dataset.attrs["method"])

    @property
    def table(self) -> pd.DataFrame:
        """One row per parameter; numbers are not rounded."""
        data = self.dataset
        lower, upper = ends(self._attrs["ci_prob"])
        columns = {
            "estimate": data["estimate"],
            "standard error": data["standard_error"],
            lower: data["lower"],
            upper: data["upper"],
        }
        if "bias" in data:
            columns["bias"] = data["bias"]
        frame = pd.DataFrame({name: values.to_numpy() for name, values in columns.items()})
        return frame.set_index(pd.Index(data["parameter"].to_numpy(), name="parameter"))

    @property
    def sentences(self) -> list[str]:
        """Assumptions and problems, in words."""
        return self._of_refits if self.method in REFITTED else self._of_curvature

    @property
    def _attrs(self) -> dict[str, Any]:
        """What is known beside the numbers; files give integers back as NumPy's."""
        return {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.dataset.attrs.items()
        }

    @property
    def _of_curvature(self) -> list[str]:
        attrs = self._attrs
        said = []
        if attrs["positive_definite"]:
            said.append(
                "The missing information (unknown labels) is at most "
                f"{attrs['missing_information']:.1%} in any direction."
            )
        else:
            said.append(lacking(attrs))
        if attrs["distance_to_optimum"] > FAR:
            said.append(astray(attrs))
        return said

    @property
    def _of_refits(self) -> list[str]:
        attrs = self._attrs
        made, asked = attrs["n_made"], attrs["n_bootstrap"]
        seed = f"seed {attrs['seed']}" if attrs["seed"] != "null" else "no seed"
        said = [f"{counted(made, 'replicate')}, {seed}; intervals are percentiles."]
        if attrs["partial"]:
            said.append(f"Interrupted: {made} of {asked} replicates were made.")
        if attrs["n_collapsed"]:
            said.append(collapsed(attrs))
        if attrs["n_unconverged"]:
            said.append(f"{counted(attrs['n_unconverged'], 'replicate')} had not converged.")
        return said

    @property
    def _title(self) -> str:
        attrs = self._attrs
        return (
            f"{attrs['estimator']} ({attrs['covariance']}), standard errors from "
            f"{SOURCES[self.method]}: {counted(attrs['n_observations'], 'row')}, "
            f"{counted(attrs['n_features'], 'feature')}, "
            f"{counted(attrs['n_components'], 'component')}"
        )

    def _written(self) -> pd.DataFrame:
        """Round the table to what the errors leave of it; what is no parameter is left out."""
        table = self.table
        errors = table["standard error"].to_numpy()
        written = pd.DataFrame(index=table.index)
        for name in table.columns:
            written[name] = [number(v, error) for v, error in zip(table[name], errors, strict=True)]
        return written[self.dataset["free"].to_numpy()]

    def _parts(self, *, html: bool) -> list[Any]:
        written: Any = self._written()
        covariances = np.array([name.startswith("covariance") for name in written.index])
        if not html and covariances.any():
            written = [written[~covariances], "Covariances are in .table."]
        return [self._title, written, self.sentences]


def lacking(attrs: dict) -> str:
    """Say that the information matrix is not positive definite, and what follows."""
    kind = "a saddle" if attrs["n_rising"] else "flat"
    where = "the estimate is not a maximum" if attrs["n_rising"] else "the rows do not determine it"
    return (
        f"The objective is {kind} in {counted(attrs['n_flat'], 'direction')} at the estimate, "
        f"because {where}; parameters that depend on {'it' if attrs['n_flat'] == 1 else 'them'} "
        "have no standard error."
    )


def astray(attrs: dict) -> str:
    """Say that the estimate is not where these rows put the optimum."""
    return (
        f"The estimate is about {attrs['distance_to_optimum']:.2g} nats below the maximum: EM had "
        "not converged, or X is not the data of the fit."
    )


def collapsed(attrs: dict) -> str:
    """Say how many replicates lost a component."""
    return (
        f"A component collapsed in {attrs['n_collapsed']} of "
        f"{counted(attrs['n_made'], 'replicate')}. These are left out, so the standard errors are "
        "too small."
    )


def errors_from_curvature(fitted: Fitted, *, method: str, ci_prob: float) -> StandardErrors:
    """Standard errors from the observed information, or from the sandwich about it."""
    tails(ci_prob)
    if fitted.equal_weights:
        raise InputError(
            f"method is {method!r}, which does not support equal_weights=True: choose 'bootstrap' "
            "or 'weighted'"
        )
    found, flatness = from_curvature(
        fitted.observations,
        fitted.parameters,
        fitted.structure,
        fitted.counted,
        fitted.scalars,
        ci_prob,
        sandwich=method == "sandwich",
    )
    attrs = {"positive_definite": int(not flatness.n_flat), **flatness._asdict()}
    if attrs["n_flat"]:
        warnings.warn(lacking(attrs), IdentificationWarning, stacklevel=3)
    if attrs["distance_to_optimum"] > FAR:
        warnings.warn(astray(attrs), ConvergenceWarning, stacklevel=3)
    return _labelled(found, fitted, method, ci_prob, attrs)


def quick_errors(result: Any) -> np.ndarray | None:
    """Standard errors from the observed information, in the order of `scalars.catalogue`.

    None where a result lacks what they need, or there would be much to compute.
    """
    if not is_point(result) or not {"covariance", "estimator"} <= set(result.attrs):
        return None
    if not keeps_rows(result) or n_incomplete(result):
        return None
    fitted = Fitted.of(result)
    if fitted.equal_weights:
        return None
    own = (fitted.observations, fitted.parameters, fitted.structure, fitted.counted)
    return standard_errors.quick_errors(*own)


def errors_from_refits(
    fitted: Fitted,
    weights: np.ndarray,
    means: np.ndarray,
    covariances: np.ndarray,
    *,
    method: str,
    ci_prob: float,
    replicate: np.ndarray,
    **counts: Any,
) -> StandardErrors:
    """Standard errors from refits, their components matched to those of the estimate.

    Shapes: weights (R, K), means (R, K, D), covariances (R, K, D, D), replicate (R,).
    """
    ends = tails(ci_prob)
    if len(replicate) < TWO:
        raise CollapseError(
            f"a component collapsed in {counts['n_collapsed']} of {counts['n_made']} replicates, "
            'and fewer than two are left: use method="observed", a prior or fewer components'
        )
    found = from_refits(fitted.parameters, weights, means, covariances, ends)
    attrs = {**counts, "partial": int(counts["n_made"] < counts["n_bootstrap"])}
    if attrs["n_collapsed"]:
        warnings.warn(collapsed(attrs), CollapseWarning, stacklevel=3)
    labelled = _labelled(found, fitted, method, ci_prob, attrs)
    return StandardErrors(labelled.dataset.assign_coords(replicate=replicate))


def _labelled(
    found: Errors, fitted: Fitted, method: str, ci_prob: float, attrs: dict[str, Any]
) -> StandardErrors:
    """Name the parameters and say how the numbers came about."""
    theta, scalars = fitted.parameters, fitted.scalars
    dims = {"covariance": ("parameter", "parameter_bis"), "replicates": ("replicate", "parameter")}
    variables: dict[str, Any] = {
        name: ("parameter", values) for name, values in found._asdict().items() if name != "more"
    } | {name: (dims.get(name, ("parameter",)), values) for name, values in found.more.items()}
    names = [scalar.name for scalar in scalars]
    fixed = [
        fitted.structure.is_diagonal
        and scalar.kind in ("correlation", "covariance")
        and scalar.feature != scalar.feature_bis
        for scalar in scalars
    ]
    coordinates: dict[str, Any] = {
        "parameter": names,
        **{
            name: ("parameter", [getattr(scalar, name) for scalar in scalars])
            for name in Scalar._fields
        },
    }
    if "covariance" in variables:
        coordinates["parameter_bis"] = names
    return StandardErrors(
        xr.Dataset(
            {**variables, "free": ("parameter", ~np.array(fixed))},
            coords=coordinates,
            attrs={
                "method": method,
                "ci_prob": ci_prob,
                "estimator": fitted.estimator,
                "covariance": fitted.structure.label(theta.n_features),
                "n_observations": fitted.observations.n_rows,
                "n_features": theta.n_features,
                "n_components": theta.n_components,
                **{
                    name: value if isinstance(value, int | float | str) else json.dumps(value)
                    for name, value in attrs.items()
                },
            },
        )
    )
