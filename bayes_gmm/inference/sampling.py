"""The posterior by NUTS: `pymc.sample` from a known good point, the same draws for the same seed.

Every chain starts at the point estimate. The posterior of a mixture has many modes, most of them
poor; chains that begin anywhere spend the run in whichever mode is nearest and say nothing about
the one that matters.
"""

import numpy as np
import pymc as pm
import pytensor
import xarray as xr

from bayes_gmm.errors import require_whole
from bayes_gmm.model.parameters import Parameters

SAMPLER = "nutpie"
SMALLEST_WEIGHT = 1e-6
NUDGE = 1e-4


def sample(
    model: pm.Model,
    start: Parameters,
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int | None,
    seed: int | None,
    progressbar: bool,
) -> xr.DataTree:
    """Draw from the posterior of a model made by `pymc_model`.

    Parameters
    ----------
    model : pymc.Model
    start : Parameters
        Where every chain starts, in the user's units.
    draws, tune : int
        Draws kept per chain, and draws made before them to adapt the sampler.
    chains : int
    cores : int or None
        How many chains run at a time; it changes the time taken and nothing else.
    seed : int or None
    progressbar : bool
        Show progress; if not, nothing is printed.

    Returns
    -------
    xarray.DataTree
        Groups posterior, sample_stats and observed_data, the components in the order in which
        the sampler met them.

    Raises
    ------
    InputError
        If a number is out of its range.
    """
    require_settings(draws, tune, chains, cores, seed)
    # With fast math, code that has just been compiled may round differently from the same code out
    # of the cache, and a chain remembers the last bit. The C compiler, which PyTensor would call
    # for a few shapes if there is one, costs seconds and gains nothing.
    with pytensor.config.change_flags(numba__fastmath=False, cxx=""):
        return pm.sample(
            draws,
            tune=tune,
            chains=chains,
            cores=cores,
            random_seed=seed,
            progressbar=progressbar,
            quiet=not progressbar,
            initvals=initial_values(start),
            nuts_sampler=SAMPLER,
            compile_kwargs={"jitter_rvs": set()},  # or the start would be moved by U(-1, 1)
            model=model,
        )


def initial_values(start: Parameters) -> dict[str, np.ndarray]:
    """Turn a point estimate into values of the free variables where NUTS can start.

    NUTS takes its first step sizes from the gradient and refuses a point where an entry of it is
    exactly zero, as it can be at an optimum; and the logarithm of a weight of zero is no number.
    Both are avoided by a move too small to matter.

    Parameters
    ----------
    start : Parameters

    Returns
    -------
    dict of str to ndarray
    """
    weights = np.maximum(start.weights, SMALLEST_WEIGHT)
    deviations = np.sqrt(np.einsum("kii->ki", start.covariances))
    return {
        "weights": weights / weights.sum(),
        "covariances": start.covariances,
        "means": start.means + NUDGE * deviations,
    }


def require_settings(
    draws: int, tune: int, chains: int, cores: int | None, seed: int | None
) -> None:
    """Check the numbers that `sample` takes, so that a caller can do so before any work."""
    require_whole("draws", draws, 1)
    require_whole("tune", tune, 1)
    require_whole("chains", chains, 1)
    if cores is not None:
        require_whole("cores", cores, 1)
    if seed is not None:
        require_whole("seed", seed, 0)
