"""Simulation of data from a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    import xarray as xr

    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.seeds import Seed


def simulate(parameters: Parameters, n: int, *, seed: Seed = None) -> xr.Dataset:
    r"""Simulate data from a mixture: for each row first the label, then the observation.

    .. math:: z_n \sim \mathrm{Categorical}(\phi), \qquad x_n \mid z_n = k \sim N(\mu_k, \Sigma_k)

    Parameters
    ----------
    parameters : Parameters
    n : int
        Number of rows.
    seed : int, SeedSequence or Generator, optional

    Returns
    -------
    xarray.Dataset
        The observations x (obs_id, feature) and the latent labels z (obs_id).

    Raises
    ------
    InputError
        If n is not positive, or if `parameters` has another type.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.3, 0.7], [[0.0], [5.0]], [[[1.0]], [[1.0]]])
    >>> bg.simulate(theta, 100, seed=1).sizes["obs_id"]
    100
    """
    from bayes_gmm.model import mixture
    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.results.labels import labelled

    if not isinstance(parameters, Parameters):
        raise InputError(
            f"parameters must be bayes_gmm.Parameters; got {type(parameters).__name__}"
        )
    require_whole("n", n, 1)
    x, z = mixture.sample(parameters, n, np.random.default_rng(as_seed(seed)))
    names = [f"x{j}" for j in range(parameters.n_features)]
    return labelled({"x": x, "z": z}, feature_names=names)
