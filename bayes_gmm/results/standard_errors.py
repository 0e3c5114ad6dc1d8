"""What `standard_errors` returns: every number of a fit with its standard error and interval."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.results.tables import as_html, as_text, counted, number, wrapped

SOURCES = {
    "observed": "the observed information",
    "sandwich": "the sandwich",
    "bootstrap": "the bootstrap",
    "weighted": "the weighted-likelihood bootstrap",
}
REFITTED = ("bootstrap", "weighted")
FAR = 1e-2  # nats from the optimum; a seventh of a standard error


@dataclass(frozen=True, eq=False, repr=False)
class StandardErrors:
    """Standard errors of a point estimate.

    Attributes
    ----------
    dataset : xarray.Dataset
        By ``parameter``: estimate, standard_error, lower, upper, and free (whether the structure
        leaves it to be estimated). From refits also bias (their mean less the estimate), and
        ``replicates`` (replicate, parameter); else ``covariance`` (parameter, parameter_bis), if
        there are at most 1000 parameters. A standard error that does not exist is not a number;
        the attributes say why: ``positive_definite``, ``n_flat``, ``distance_to_optimum``.
    """

    dataset: xr.Dataset

    @property
    def method(self) -> str:
        """How they were computed."""
        return str(self.dataset.attrs["method"])

    @property
    def table(self) -> pd.DataFrame:
        """One row per number; not rounded."""
        data = self.dataset
        lower, upper = self._ends
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
        """What they rest on, and what is wrong with them, in words."""
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
                "Not knowing the labels costs at most "
                f"{attrs['missing_information']:.1%} of the information in any direction."
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
    def _ends(self) -> tuple[str, str]:
        tail = 50 * (1 - self._attrs["ci_prob"])
        return f"{tail:g}%", f"{100 - tail:g}%"

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

    def __str__(self) -> str:
        written = self._written()
        covariances = [name.startswith("covariance") for name in written.index]
        note = "Covariances are in .table." if any(covariances) else ""
        return "\n\n".join(
            [
                self._title,
                f"{as_text(written[~np.array(covariances)])}\n{note}".strip(),
                "\n".join(map(wrapped, self.sentences)),
            ]
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return as_html(self._title, [self._written(), *self.sentences])


def lacking(attrs: dict) -> str:
    """Say that the information matrix is not positive definite, and what follows."""
    kind = "a saddle" if attrs["n_rising"] else "flat"
    where = "the estimate is no maximum" if attrs["n_rising"] else "the rows do not determine it"
    return (
        f"The objective is {kind} in {counted(attrs['n_flat'], 'direction')} at the estimate, "
        f"because {where}; what depends on {'it' if attrs['n_flat'] == 1 else 'them'} has no "
        "standard error."
    )


def astray(attrs: dict) -> str:
    """Say that the estimate is not where these rows put the optimum."""
    return (
        f"The objective still rises by {attrs['distance_to_optimum']:.2g} nats from the estimate: "
        "EM has not converged, or X is not the data of the fit."
    )


def collapsed(attrs: dict) -> str:
    """Say how many replicates lost a component."""
    return (
        f"{counted(attrs['n_collapsed'], 'replicate')} of {attrs['n_made']} lost a component and "
        "are left out: the errors are those of the others, and too small."
    )
