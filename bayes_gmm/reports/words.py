"""What can be said in words: the prior, the sampler, and how the results were made."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.results.tables import counted, number, some

ENGINES = {
    "gibbs": "Gibbs sampling (labels given the parameters, then parameters given the labels)",
    "nuts": "NUTS, with the labels summed out",
    "pymc": "NUTS on a PyMC model, with the labels summed out",
    "vb": "variational Bayes (Dirichlet weights, normal-inverse-Wishart components)",
}
RELABELLINGS = {
    "pivot": "the divergence from the MAP estimate is smallest",
    "ecr": "as many rows as possible are allocated as by the MAP estimate",
    "ecr-iterative": "as many rows as possible are allocated as in most draws",
    "stephens": "membership probabilities diverge least from their average",
    "data": "the groups of rows are closest to the average groups",
}
LIBRARIES = ("numpy", "scipy", "numba", "pymc", "nutpie", "arviz", "xarray")


def prior_sentences(prior: xr.Dataset, structure: Structure = UNCONSTRAINED) -> list[str]:
    """Say what a prior believes, in the units of the data."""
    features = [str(name) for name in prior["feature"].to_numpy()]
    alpha = prior["concentration"].to_numpy()
    one = prior.isel(cluster=0, missing_dims="ignore")
    precision, degrees = float(one["mean_precision"]), float(one["degrees_of_freedom"])
    scale = one["scale"].transpose("feature", "feature_bis").to_numpy()
    kind, typical = structure.describe_prior(degrees, scale)
    common = "one for all components, " if structure.is_common else ""
    flat = np.all(alpha == 1)
    center = _pairs(features, one["mean"].to_numpy(), typical)
    sentences = [
        f"Weights: Dirichlet with concentration {_short(alpha)}"
        + (", which is uniform." if flat else "."),
        f"Means: normal about {center}, with the covariance of the component divided by "
        f"{precision:g}: it counts as {precision:g} of a row.",
        f"Covariances: {common}{kind} degrees of freedom, whose mode has the "
        f"standard deviations {_pairs(features, typical, typical)}.",
    ]
    if not _alike(prior):
        sentences.append("It differs between components; these numbers are for cluster 0.")
    return [*sentences, *filter(None, [prior.attrs.get("note")])]


def _alike(prior: xr.Dataset) -> bool:
    """Whether all components have the same prior."""
    return all(
        bool((array == array.isel(cluster=0)).all())
        for name, array in prior.data_vars.items()
        if "cluster" in array.dims and name != "concentration"
    )


def _pairs(features: list[str], values: np.ndarray, sds: np.ndarray) -> str:
    written = [
        f"{feature} {number(value, sd)}"
        for feature, value, sd in zip(features, values, sds, strict=True)
    ]
    return some(written, "in the group prior_parameters of the result", most=12)


def _short(values: np.ndarray) -> str:
    if np.all(values == values[0]):
        return f"{values[0]:g} for each of {len(values)}"
    return ", ".join(f"{value:g}" for value in values)


def engine_sentence(posterior: xr.DataTree) -> str:
    """Say how the draws were made."""
    attrs, sizes = posterior.attrs, posterior["posterior"].sizes
    drawn = f"{counted(sizes['chain'], 'chain')} of {sizes['draw']:,} draws"
    if attrs.get("engine") not in ENGINES:
        return f"{drawn}."
    thin, tune = int(attrs.get("thin", 1)), int(attrs["tune"])
    if attrs["engine"] == "gibbs":
        kept = "every sweep is a draw" if thin == 1 else f"one sweep in {thin} is kept as a draw"
        before = f"{kept}, after {tune:,} burn-in sweeps"
    elif attrs["engine"] == "vb":
        before = "the draws are independent, from an approximation of the posterior"
    else:
        before = f"every step is a draw, after {tune:,} tuning steps"
    moves = ""
    if "split_acceptance" in attrs:
        moves = (
            f" Accepted were {attrs['split_acceptance']:.2%} of the proposed splits of a cluster "
            f"and {attrs.get('merge_acceptance', 0.0):.2%} of the mergers."
        )
    return f"{drawn} by {ENGINES[attrs['engine']]}; {before}.{moves}"


def relabelling_sentence(posterior: xr.DataTree) -> str:
    """Say how the components of every draw got their names."""
    how = str(posterior.attrs.get("relabelling", "pivot"))
    if how == "none":  # an unknown number of components: those of `given` are matched to a pivot
        how = "pivot"
    method, _, by = how.partition(" by ")
    if by:
        return f"The components of each draw are labelled in ascending order of {by}."
    return f"The components of each draw are labelled so that {RELABELLINGS[method]} ({method})."


def after_interrupt(posterior: xr.DataTree) -> str:
    """Say what an interrupted run left."""
    sizes = posterior["posterior"].sizes
    return (
        f"The sampler was interrupted. The posterior on this page consists of the "
        f"{sizes['draw']:,} draws of each of {counted(sizes['chain'], 'chain')} made by then; "
        "a full run with the same seed includes these draws."
    )


def provenance(trees: dict[str, xr.DataTree]) -> pd.DataFrame:
    """Tabulate what it takes to make the results again."""
    made = {name: _settings(tree) for name, tree in trees.items()}
    settings = list(dict.fromkeys(key for entry in made.values() for key in entry))
    columns = {name: [entry.get(key, "") for key in settings] for name, entry in made.items()}
    return pd.DataFrame(columns, index=pd.Index(settings, name="setting"))


def _settings(tree: xr.DataTree) -> dict[str, str]:
    names = (
        *("seed", "engine", "sampler", "covariance"),
        *("draws", "tune", "thin", "chains", "relabelling", "created_at"),
    )
    entry = {
        name.replace("_", " "): _value(tree.attrs[name]) for name in names if name in tree.attrs
    }
    if "optimizer_result" in tree.children:
        entry["starts"] = str(tree["optimizer_result"].sizes.get("start", ""))
    return entry


def _value(value: object) -> str:
    """Write an attribute; what is neither number nor string is kept as JSON."""
    if value == json.dumps(None):
        return "none"
    return str(value)


def versions() -> str:
    """Name this program and what it stands on, with versions."""
    found = [f"bayes-gmm {version('bayes-gmm')}", f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
