"""Criteria for the number of clusters: what each one asks, its answer, and what that rests on.

Criteria disagree because they ask different things. Some count the components that a density is
made of, some the clusters that are apart, some the components that help to predict, some the peaks.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

LEVEL = 0.05  # of the bootstrap test
SMALL = 4.0  # nats of elpd below which a difference is small (Sivula, Magnusson & Vehtari, 2020)
ERRORS = 2.0  # standard errors within which a difference of elpd may be none
INFORMATION = ("bic", "icl", "aic")
POSTERIOR = ("n_components", "n_clusters")


class Criterion(NamedTuple):
    """One way to ask how many there are."""

    title: str
    heading: str  # Of its column
    variable: str  # In the dataset
    error: str  # Its standard error; empty if it has none
    question: str


CRITERIA = {
    "bic": Criterion(
        "BIC", "BIC", "bic", "", "Which number of components is the most probable, approximately?"
    ),
    "icl": Criterion(
        "ICL", "ICL", "icl", "", "How many components are well-separated clusters of rows?"
    ),
    "aic": Criterion(
        "AIC",
        "AIC",
        "aic",
        "",
        "How many components predict new rows best, by a count of parameters? It tends to too "
        "many.",
    ),
    "modes": Criterion(
        "modes", "modes", "n_modes", "", "How many peaks has the density of the fit with least BIC?"
    ),
    "bootstrap": Criterion(
        "bootstrap test",
        "p value",
        "p_value",
        "",
        "From how many components on do further ones improve the fit by no more than chance?",
    ),
    "loo": Criterion(
        "LOO",
        "elpd diff (se)",
        "elpd_difference",
        "elpd_difference_se",
        "How few components predict new rows as well as the best number?",
    ),
    "evidence": Criterion(
        "evidence",
        "log p(x) (se)",
        "log_evidence",
        "log_evidence_se",
        "Which number of components makes the data most probable, averaged over the prior?",
    ),
    "n_components": Criterion(
        "posterior of K",
        "P(K)",
        "probability_n_components",
        "probability_n_components_se",
        "How many components has the mixture, those that hold no row included?",
    ),
    "n_clusters": Criterion(
        "posterior of K+",
        "P(K+)",
        "probability_n_clusters",
        "probability_n_clusters_se",
        "How many components hold rows?",
    ),
}


def values_of(name: str, dataset: xr.Dataset) -> pd.Series:
    """Values of a criterion by number, where it has one."""
    return dataset[CRITERIA[name].variable].to_series().dropna()


def errors_of(name: str, dataset: xr.Dataset) -> pd.Series | None:
    """Standard errors of these values, if the criterion has any."""
    error = CRITERIA[name].error
    return dataset[error].to_series() if error else None


def answers(dataset: xr.Dataset) -> dict[str, int | None]:
    """Read the answer of every criterion that is there; None where it has none."""
    asked = [name for name, criterion in CRITERIA.items() if criterion.variable in dataset]
    return {name: _answer(name, values_of(name, dataset), dataset) for name in asked}


def _answer(name: str, values: pd.Series, dataset: xr.Dataset) -> int | None:
    if values.empty:
        return None
    if name in INFORMATION:
        return int(values.idxmin())
    if name == "modes":
        return int(values[dataset.attrs["least_bic"]])
    if name == "bootstrap":
        return _not_rejected(values, dataset["n_components"].to_numpy())
    if name == "loo":
        errors = errors_of(name, dataset)
        assert errors is not None
        as_good = -values <= np.maximum(SMALL, ERRORS * errors[values.index])
        return int(values.index[as_good].min())
    return int(values.idxmax())


def _not_rejected(p_values: pd.Series, sizes: np.ndarray) -> int:
    """The first number that is not rejected against the next, or the one after all that are."""
    accepted = p_values.index[p_values > LEVEL]
    return int(accepted.min() if len(accepted) else sizes[sizes > p_values.index.max()].min())


def ground(name: str, own: int | None, dataset: xr.Dataset) -> str:
    """What an answer rests on, in brackets; nothing where there is no alternative."""
    values = values_of(name, dataset)
    if name == "bootstrap" and own is not None and own not in values.index:
        return f" (each smaller number is rejected at the level {LEVEL})"
    if own not in values.index or name == "modes" or (len(values) < 2 and name != "bootstrap"):
        return ""
    errors = errors_of(name, dataset)
    said = f"probability {values[own]:.2f}"
    if name in POSTERIOR and errors is not None and np.isfinite(errors[own]):
        said += f", standard error {errors[own]:.2f}"
    if name == "bootstrap":
        said = f"p = {values[own]:.2f}, level {LEVEL}"
    elif name in INFORMATION:
        second = values.drop(own).idxmin()
        said = f"{second} is {values[second] - values[own]:.1f} behind"
    elif name == "loo" and errors is not None:
        best = values.idxmax()
        said = f"{best} is {-values[own]:.1f} nats ahead, standard error {errors[own]:.1f}"
        if best == own:
            second = values.drop(own).idxmax()
            said = f"{second} is {-values[second]:.1f} nats behind"
    elif name == "evidence":
        odds = np.exp(values - values.max())
        said = f"probability {odds[own] / odds.sum():.2f}, if all of these were equally likely"
    return f" ({said})"


def written(name: str, value: float, error: float | None) -> str:
    """Write a value as its column shows it."""
    if not np.isfinite(value):
        return "-"
    if name == "modes":
        return f"{value:.0f}"
    digits = 1 if name in (*INFORMATION, "loo") else 2
    spread = "" if error is None or name in POSTERIOR else f" ({error:.{digits}f})"
    return f"{value:z.{digits}f}{spread}"
