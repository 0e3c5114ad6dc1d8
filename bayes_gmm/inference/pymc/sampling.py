"""The posterior of a PyMC model by NUTS: the draws of `pymc.sample`, each chain from its own start.

The model is compiled once; nutpie then runs every chain from its own start. The posterior of a
mixture has many modes, most of them with little mass, and a chain from an arbitrary start may stay
in the nearest one.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import nutpie
import pymc as pm
import pytensor
import xarray as xr

from bayes_gmm.inference.nuts.nutpie_chains import run
from bayes_gmm.inference.settings import nudged, require_settings, seeds_of_chains, with_weights
from bayes_gmm.model.parameters import Parameters

LARGEST_SEED = 2**32  # of PyMC's generators


def sample(
    model: pm.Model,
    starts: Sequence[Parameters],
    *,
    draws: int,
    tune: int,
    cores: int | None,
    seed: int | None,
    progressbar: bool,
) -> xr.DataTree:
    """Draw from the posterior of a model made by `pymc_model`.

    Returned: group posterior: the variables of the model, among them weights, means and
    covariances, components named as they came. Group sample_stats: statistics of NUTS under PyMC's
    names. Attribute partial is 1 if the run was interrupted.
    """
    require_settings(draws, tune, len(starts), cores, seed)
    values = [initial_values(start) for start in starts]
    free = {variable.name: variable for variable in model.free_RVs}
    where = {name: pytensor.shared(value) for name, value in values[0].items() if name in free}
    seeds = seeds_of_chains(seed, len(starts))
    models = []
    # With fast math, code that has just been compiled may round differently from the same code out
    # of the cache, and a chain remembers the last bit. The C compiler, which PyTensor would call
    # for a few shapes if there is one, costs seconds and gains nothing.
    with pytensor.config.change_flags(numba__fastmath=False, cxx=""):
        compiled = nutpie.compile_pymc_model(
            model,
            initial_points=where,
            jitter_rvs={variable for name, variable in free.items() if name not in where},
        )
        for own_seed, own in zip(seeds, values, strict=True):
            for name, variable in where.items():
                variable.set_value(own[name])
            point = nudged(compiled.initial_point_func(own_seed % LARGEST_SEED))
            models.append(replace(compiled, initial_point_func=_always(point)))
        chains = run(models, seeds, draws=draws, tune=tune, cores=cores, progressbar=progressbar)
    in_free_coordinates = set(compiled.reparameterized_names or ())
    kept = {name: draw for name, draw in chains.draws.items() if name not in in_free_coordinates}
    used = {dim for column in kept.values() for dim in column.dims}
    coords: dict[str, Any] = {
        dim: labels
        for dim, labels in model.coords.items()
        if dim in used and dim != "cluster" and labels is not None
    }
    return chains.tree(kept, {}, **coords)


def initial_values(start: Parameters) -> dict[str, np.ndarray]:
    """Values of the variables of a model where NUTS can start."""
    weighted = with_weights(start)
    return {name: getattr(weighted, name) for name in ("weights", "covariances", "means")}


def _always(point: np.ndarray) -> Callable[[int], np.ndarray]:
    """Make a function of a seed that gives this point."""
    return lambda seed: point
