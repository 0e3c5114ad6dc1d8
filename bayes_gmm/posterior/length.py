"""Whether chains are long enough, by R-hat and effective sample sizes.

The samplers that can extend their chains use it, and so does the verdict on the draws.
"""

from typing import NamedTuple

import numpy as np

from bayes_gmm.posterior import chains
from bayes_gmm.posterior.convergence import FEWEST_DRAWS, Convergence, convergence, too_large

RHAT = 1.01
ESS_PER_CHAIN = 100


class Shortage(NamedTuple):
    """Why chains are too short: one quantity, by its place, and by how much it fails.

    `measure` is "rhat", "ess", or "draws" where there are too few for either; `factor` says how
    many times as many draws it would take.
    """

    measure: str
    place: int
    value: float
    limit: float
    factor: int = 2


def shortage(values: np.ndarray, measured: Convergence) -> Shortage | None:
    """Find an R-hat that is too large, or else an ESS that is too small, in (chain, draw, P)."""
    n_chains, n_draws, _ = values.shape
    if n_draws < FEWEST_DRAWS:
        return Shortage("draws", 0, n_draws, FEWEST_DRAWS)
    wanted = ESS_PER_CHAIN * n_chains
    sizes = np.minimum(measured.ess_bulk, measured.ess_tail)
    few = bool((sizes[~np.isnan(sizes)] < wanted).any())
    factor = max(2, int(np.ceil(wanted / np.nanmin(sizes)))) if few else 2
    limits = too_large(values, measured.rhat, RHAT)
    if not np.isnan(limits).all():
        worst = int(np.nanargmax(np.where(np.isnan(limits), np.nan, measured.rhat)))
        return Shortage("rhat", worst, float(measured.rhat[worst]), float(limits[worst]), factor)
    if few:
        worst = int(np.nanargmin(sizes))
        return Shortage("ess", worst, float(sizes[worst]), wanted, factor)
    return None


def long_enough(values: np.ndarray) -> bool:
    """Whether `diagnose` would not call the chains too short, by label-invariant quantities.

    True as well where longer chains would not help: where chains are stuck or have settled in
    different modes, or so few draws are kept that they are too few however far apart.
    """
    finite = values[..., np.isfinite(values).all(axis=(0, 1))]
    few = values.shape[1] < 2 * ESS_PER_CHAIN
    if few or chains.stuck(finite) or len(chains.modes(finite)) > 1:
        return True
    return shortage(values, convergence(values)) is None
