"""Draws and log densities of a prior that is given as a function.

PyMC computes both from the model that the function builds.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pymc as pm
import pytensor
import xarray as xr


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
