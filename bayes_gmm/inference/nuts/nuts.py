r"""The posterior under the conjugate prior by NUTS, with a hand-written density and gradient.

The density is that of `pymc_model` in the same free coordinates, and the sampler is the same. But
no model needs to be compiled: value and gradient come from one pass over the rows, by Fisher's
identity, in a compiled function that numba caches.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from nutpie.compile_pymc import CompiledPyMCModel

from bayes_gmm.data import Observations
from bayes_gmm.inference.nuts.nutpie_chains import Column, run
from bayes_gmm.inference.settings import (
    nudged,
    require_settings,
    seeds_of_chains,
    standardized,
    with_weights,
)
from bayes_gmm.kernels.log_posterior import LogPosterior, no_expansion
from bayes_gmm.model.free_coordinates import FreeCoordinates
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior


def sample(
    observations: Observations,
    prior: ConjugatePrior,
    starts: Sequence[Parameters],
    *,
    draws: int,
    tune: int,
    cores: int | None,
    seed: int | None,
    progressbar: bool,
) -> xr.DataTree:
    """Draw from the posterior of a mixture with a conjugate prior.

    Returned: group posterior: weights (chain, draw, cluster), means (chain, draw, cluster,
    feature), covariances (chain, draw, cluster, feature, feature_bis). Group sample_stats:
    statistics of NUTS under PyMC's names, log_likelihood (chain, draw), and component_counts
    (chain, draw, cluster), the expected number of rows of each component. All in the user's units,
    components named as they came. Attribute partial is 1 if the run was interrupted.

    Hoffman & Gelman (2014), J. Mach. Learn. Res. 15.
    """
    require_settings(draws, tune, len(starts), cores, seed)
    coordinates = FreeCoordinates(standardized(prior, observations))
    density = LogPosterior(observations, coordinates)
    points = [nudged(coordinates.of(standardized(with_weights(s), observations))) for s in starts]
    chains = run(
        [compiled_model(density, point) for point in points],
        seeds_of_chains(seed, len(starts)),
        draws=draws,
        tune=tune,
        cores=cores,
        progressbar=progressbar,
        store_unconstrained=True,
        store_gradient=True,
    )
    free = chains.statistics["unconstrained_draw"].values
    gradient = chains.statistics["gradient"].values
    weights, means, covariances = coordinates.parameters(free)
    scale = observations.scale
    # The sampler saw densities of (x - origin) / scale, so that units change no draw.
    log_units = observations.log_volume
    log_density = chains.statistics["logp"].values - log_units
    counts = coordinates.counts(free, gradient, observations.total_weight)
    return chains.tree(
        {
            "weights": Column(weights, ("cluster",)),
            "means": Column(observations.origin + scale * means, ("cluster", "feature")),
            "covariances": Column(
                covariances * np.outer(scale, scale), ("cluster", "feature", "feature_bis")
            ),
        },
        {
            "lp": Column(log_density, ()),
            "energy": Column(chains.statistics["energy"].values + log_units, ()),
            "log_likelihood": Column(log_density - coordinates.log_prior(free), ()),
            "component_counts": Column(np.maximum(counts, 0), ("cluster",)),
        },
        feature=observations.feature_names,
        feature_bis=observations.feature_names,
    )


def compiled_model(density: LogPosterior, start: np.ndarray) -> CompiledPyMCModel:
    """Give nutpie the density as it takes a compiled PyMC model: by the addresses of C functions.

    Nothing is expanded: the sampler keeps its free coordinates.

    Shapes: start (P,).
    """
    return CompiledPyMCModel(
        dims={},
        compiled_logp_func=density.function,
        compiled_expand_func=no_expansion(),
        initial_point_func=lambda seed: start,
        shared_data={},
        shared_var_keys={},
        user_data=density.block,
        n_expanded=0,
        shape_info=([], [], []),
        logp_func=None,
        expand_func=None,
        _n_dim=start.size,
        _shapes={},
        _coords={},
    )
