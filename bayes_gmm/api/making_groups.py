"""Groups for ArviZ, made when what they need is there: by formulas, or for a function by PyMC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayes_gmm.arguments import AnyPrior
    from bayes_gmm.data import Observations
    from bayes_gmm.model.structures.prior import StructuredPrior

PRIOR_DRAWS = 1000
MEMORY = 1.0  # GiB
OF_GROUPS = 2**32 - 2  # in a spawn key where the number of a chain would be


def added(
    posterior: xr.DataTree,
    names: tuple[str, ...],
    rows: tuple[Any, pd.Index],
    prior: AnyPrior | StructuredPrior | None,
    observations: Observations | None,
    *,
    draws: int = PRIOR_DRAWS,
    seed: int | None,
) -> xr.DataTree:
    """Make groups and add them, when all that they need is there.

    Parameters
    ----------
    posterior : DataTree
    names : tuple of str
        From `require_groups`.
    rows : tuple of ndarray and Index
        The data (N, D) and their labels (N,), where a group needs them.
    prior : Prior, StructuredPrior, PriorFamily, callable or None
        Where a group needs it.
    observations : Observations or None
        The data again, where the prior is a function.
    draws : int
    seed : int or None

    Returns
    -------
    xarray.DataTree
    """
    import xarray as xr

    from bayes_gmm.results import groups

    sequences = dict(
        zip(
            groups.NAMES,
            np.random.SeedSequence(seed, spawn_key=(OF_GROUPS,)).spawn(len(groups.NAMES)),
            strict=True,
        )
    )
    result = posterior.copy()
    values, index = rows
    for name in names:
        if name == "log_likelihood":
            made = groups.log_likelihood(posterior, values, index)
        elif name == "prior":
            made = _prior(posterior, prior, observations, draws, sequences[name])
        elif name == "log_prior":
            made = _log_prior(posterior, prior, observations)
        else:
            drawn = result[name.removesuffix("_predictive")].to_dataset()
            made = groups.predictive(drawn, index, np.random.default_rng(sequences[name]))
        result[name] = xr.DataTree(made)
    return result


def _prior(
    posterior: xr.DataTree,
    prior: Any,
    observations: Observations | None,
    n_draws: int,
    seed: np.random.SeedSequence,
) -> xr.Dataset:
    """Draw the variables of a posterior from the prior."""
    from bayes_gmm.results import draws, groups

    if not callable(prior):
        features = draws.feature_names(posterior)
        return groups.prior(prior, n_draws, features, np.random.default_rng(seed))
    from bayes_gmm.inference.pymc import prior_function

    drawn = prior_function.prior_draws(_model(posterior, prior, observations), n_draws, seed)
    return drawn[list(posterior["posterior"].data_vars)]


def _log_prior(posterior: xr.DataTree, prior: Any, observations: Observations | None) -> xr.Dataset:
    """Evaluate the prior, part by part, at the draws of a posterior."""
    from bayes_gmm.results import groups

    if not callable(prior):
        return groups.log_prior(posterior, prior)
    from bayes_gmm.inference.pymc import prior_function

    model = _model(posterior, prior, observations)
    raw = prior_function.log_prior(model, groups.as_drawn(posterior))
    return groups.relabelled(raw, posterior)


def _model(posterior: xr.DataTree, prior: Any, observations: Any) -> Any:
    from bayes_gmm.inference.pymc.model import pymc_model

    return pymc_model(observations, prior, n_components=posterior["posterior"].sizes["cluster"])
