"""Whether chains are long enough for a verdict: what is asked of a sampler that can go on."""

import numpy as np
import xarray as xr

from bayes_gmm.posterior import chains
from bayes_gmm.posterior.convergence import convergence
from bayes_gmm.results.convergence_rules import ESS_PER_CHAIN, shortage
from bayes_gmm.results.draws import invariants


def long_enough(posterior: xr.DataTree) -> bool:
    """Whether `diagnose` would not call the chains too short.

    Parameters
    ----------
    posterior : DataTree
        A result of `sample`.

    Returns
    -------
    bool
        True as well where longer chains would not help: where chains are stuck or have settled in
        different modes, or so few draws are kept that they are too few however far apart.
    """
    names, values = invariants(posterior)
    finite = values[..., np.isfinite(values).all(axis=(0, 1))]
    few = values.shape[1] < 2 * ESS_PER_CHAIN
    if few or chains.stuck(finite) or len(chains.modes(finite)) > 1:
        return True
    return not shortage(("short_chains", "convergence", ""), names, values, convergence(values))
