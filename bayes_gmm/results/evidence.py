"""What a verdict on a posterior sample rests on, gathered once, with its own tables."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.results import chains
from bayes_gmm.results.convergence import Convergence, convergence
from bayes_gmm.results.draws import (
    Draws,
    feature_names,
    invariants,
    observed_rows,
    permutation,
    require_posterior,
)
from bayes_gmm.results.scalars import catalogue, flatten

LABEL_FREE, RELABELLED = "label-free quantities", "relabelled parameters"


class Evidence(NamedTuple):
    """What the rules look at; chain and draw come first in every array."""

    names: list[str]
    values: np.ndarray
    label_free: Convergence
    parameter_names: list[str]
    parameters: Convergence
    draws: Draws
    permutation: np.ndarray
    diverging: np.ndarray
    n_rows: int

    @property
    def log_posterior(self) -> np.ndarray:
        """Log posterior of every draw (chain, draw)."""
        return self.values[..., self.names.index("log_posterior")]

    @property
    def finite(self) -> np.ndarray:
        """Label-free quantities that are finite in every draw."""
        return self.values[..., np.isfinite(self.values).all(axis=(0, 1))]


def gather(posterior: xr.DataTree) -> Evidence:
    """Collect the evidence of a posterior result."""
    draws = Draws.of(require_posterior(posterior))
    names, values = invariants(posterior)
    stats = posterior["sample_stats"]
    if "diverging" in stats:
        diverging = stats["diverging"].transpose("chain", "draw").to_numpy().astype(bool)
    else:
        diverging = np.zeros(values.shape[:2], dtype=bool)
    parameters = catalogue(draws.weights.shape[2], feature_names(posterior))
    return Evidence(
        names,
        values,
        convergence(values),
        [scalar.name for scalar in parameters],
        convergence(flatten(*draws)),
        draws,
        permutation(posterior),
        diverging,
        len(observed_rows(posterior)),
    )


def table(evidence: Evidence) -> pd.DataFrame:
    """R-hat and ESS of the label-free quantities and of the relabelled parameters."""
    parts = [
        pd.DataFrame({"group": group, "quantity": names, **measured._asdict()})
        for group, names, measured in (
            (LABEL_FREE, evidence.names, evidence.label_free),
            (RELABELLED, evidence.parameter_names, evidence.parameters),
        )
    ]
    return pd.concat(parts).set_index(["group", "quantity"])


def by_chain(evidence: Evidence) -> pd.DataFrame:
    """One row per chain: what it did."""
    n_chains = evidence.draws.n_chains
    mode = np.full(n_chains, "unsettled", dtype=object)
    for name, group in enumerate(chains.modes(evidence.finite)):
        mode[group] = str(name)
    mode[chains.stuck(evidence.finite)] = "stuck"
    return pd.DataFrame(
        {
            "log posterior": evidence.log_posterior.mean(axis=1),
            "divergences": evidence.diverging.sum(axis=1),
            "other labels": chains.other_labels(evidence.permutation),
            "switches": chains.switches(evidence.permutation)[0],
            "mode": mode,
        },
        index=pd.RangeIndex(n_chains, name="chain"),
    )
