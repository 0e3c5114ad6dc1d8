r"""The mixture as a PyMC model, to read, to sample and to extend.

    weights, means, covariances ~ prior                                   (priors.py)
    x_n ~ sum_k weights_k N(means_k, covariances_k)                  the label z_n summed out

The parameters are in the user's units, so that a posterior of `weights`, `means` and `covariances`
is all that PyMC needs for predictions, log-likelihoods or another run.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.data.row_labels import stored
from bayes_gmm.errors import InputError
from bayes_gmm.inference.pymc.distributions import normal_draws, normal_log_density
from bayes_gmm.inference.pymc.mixture import (
    SIGNATURE,
    SIGNATURE_OF_ROWS,
    draws,
    draws_of_rows,
    log_density,
    weighted_log_density,
)
from bayes_gmm.inference.pymc.priors import AnyPrior, variables

LIKELIHOODS = ("fused", "mixture")


def pymc_model(
    observations: Observations,
    prior: AnyPrior,
    *,
    likelihood: str = "fused",
    n_components: int | None = None,
) -> pm.Model:
    r"""Build the model of a Gaussian mixture.

    Returned: variables weights (cluster), covariances (cluster, feature, feature_bis) and means
    (cluster, feature), free unless a callable made them of others; observed variable x (obs_id,
    feature), whose rows are the data container "data", and the container "row_weights" (obs_id) if
    rows have weights: the log density of a row is multiplied by it.
    """
    if likelihood not in LIKELIHOODS:
        available = ", ".join(map(repr, LIKELIHOODS))
        raise InputError(f"likelihood is {likelihood!r}; choose one of {available}")
    if n_components is None:
        n_components = getattr(prior, "n_components", None)
    if n_components is None:
        raise InputError("n_components is missing, and a function as prior does not determine K")
    with pm.Model(coords=_coordinates(observations, n_components)) as model:
        theta = variables(prior, observations, n_components)
        rows = pm.Data("data", np.asarray(observations.values, float), dims=("obs_id", "feature"))
        observed = {"observed": rows, "dims": ("obs_id", "feature")}
        if observations.weights is not None:
            times = pm.Data("row_weights", observations.weights, dims="obs_id")
            fused = likelihood == "fused"
            pm.CustomDist(
                "x",
                *theta,
                times,
                logp=weighted_log_density if fused else _weighted_mixture,
                dist=draws_of_rows,
                signature=SIGNATURE_OF_ROWS,
                class_name="GaussianMixture" if fused else "WeightedMixture",
                **observed,
            )
        elif likelihood == "fused":
            pm.CustomDist(
                "x",
                *theta,
                logp=log_density,
                dist=draws,
                signature=SIGNATURE,
                class_name="GaussianMixture",
                **observed,
            )
        else:
            pm.Mixture("x", theta.weights, _components(theta.means, theta.covariances), **observed)
    return model


def _weighted_mixture(value: Any, weights: Any, means: Any, covariances: Any, times: Any) -> Any:
    """Log density of each row by `pymc.Mixture`, as often as it was seen."""
    return times * pm.logp(pm.Mixture.dist(weights, _components(means, covariances)), value)


def _components(means: Any, covariances: Any) -> Any:
    """A batch of normal distributions."""
    return pm.CustomDist.dist(
        means,
        covariances,
        logp=normal_log_density,
        dist=normal_draws,
        signature="(d),(d,d)->(d)",
        class_name="MvNormal",
    )


def _coordinates(observations: Observations, n_components: int) -> dict[str, Any]:
    names = observations.feature_names
    return {
        "cluster": range(n_components),
        "feature": names,
        "feature_bis": names,
        "obs_id": stored(observations.index)["obs_id"].to_numpy(),
    }


def prior_draws(model: pm.Model, n_draws: int, seed: np.random.SeedSequence) -> xr.Dataset:
    """Draw the variables of a model from their prior.

    Returned: all variables but the observed one, (chain, draw, ...), in one chain.
    """
    names = [variable.name for variable in (*model.free_RVs, *model.deterministics)]
    with _quiet():
        drawn = pm.sample_prior_predictive(
            n_draws, model=model, var_names=names, random_seed=np.random.default_rng(seed)
        )
    return drawn["prior"].to_dataset().drop_attrs()


def log_prior(model: pm.Model, draws: xr.Dataset) -> xr.Dataset:
    """Evaluate the log density of each free variable of a model at draws of it.

    Returned: the free variables, (chain, draw, ...), whose own dims are those of their densities.
    """
    tree = xr.DataTree.from_dict({"/posterior": draws})
    with _quiet():
        found = pm.stats.compute_log_prior(
            tree, model=model, extend_inferencedata=False, progressbar=False
        )
    return found.drop_attrs()


@contextmanager
def _quiet() -> Iterator[None]:
    """Let PyMC print nothing, and compile as for sampling."""
    logger = logging.getLogger("pymc")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with pytensor.config.change_flags(numba__fastmath=False, cxx=""):
            yield
    finally:
        logger.setLevel(level)
