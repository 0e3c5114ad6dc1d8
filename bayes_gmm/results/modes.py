"""The modes of a fitted density, labelled: where they are, how high, and how many in each draw."""

import numpy as np
import xarray as xr

from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.model.density_modes import density_modes
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.given import known_number
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.predictive import features_of, some_draws
from bayes_gmm.results.reading import is_posterior, point_parameters, total_weight

MOST_DRAWS = 400


def modes(result: xr.DataTree | Parameters, *, n_draws: int | None = None) -> xr.Dataset:
    r"""Find the modes of the fitted density, in any number of dimensions.

    .. math:: x \leftarrow \left(\sum_k r_k(x) \Sigma_k^{-1}\right)^{-1}
        \sum_k r_k(x) \Sigma_k^{-1} \mu_k

    A mode is a peak of the density, which components that overlap may share: the number of modes is
    a number of clusters that does not depend on how many normals describe each. Climbs start at
    every mean, between every two and in the middle of every three. Each point that is found is a
    mode; with more than two components it is not proved that there is no other.

    Parameters
    ----------
    result : DataTree or Parameters
        A point result, a posterior result, or parameters. Of a posterior with an unknown number of
        components, the point estimate is that of `given`, and draws are of any number.
    n_draws : int, optional
        Number of draws of a posterior whose modes are counted, evenly spaced over the chains; by
        default 400, or as many as there are.

    Returns
    -------
    xarray.Dataset
        Of the point estimate: ``location`` (mode, feature), the highest first; ``log_density``
        (mode); ``mode_of_component`` (cluster), the mode to which the climb from each component's
        mean leads. Of a posterior also ``n_modes`` (draw), the number of modes of each draw, which
        is label-invariant; components that weigh less than one row are left out there, since the
        prior alone decides where they are.

    Raises
    ------
    InputError
        If `n_draws` is not a whole number, larger than the posterior has draws, or given for a
        point result.

    References
    ----------
    Carreira-Perpiñán (2000), IEEE PAMI 22; Ray & Lindsay (2005), Ann. Statist. 33, on how many
    there can be.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.5, 0.5], [[0.0], [1.9]], [[[1.0]], [[1.0]]])
    >>> bg.modes(theta)["location"].values.round(2).tolist()
    [[0.95]]
    """
    if n_draws is not None:
        require_whole("n_draws", n_draws, 1)
    found = density_modes(point_parameters(known_number(result)))
    variables = {
        "location": found.points,
        "log_density": found.log_density,
        "mode_of_component": found.of_component,
    }
    if isinstance(result, xr.DataTree) and is_posterior(result):
        drawn = some_draws(result, n_draws, MOST_DRAWS)
        least = 1 / total_weight(result)
        variables["n_modes"] = np.array(
            [len(density_modes(_held(theta, least)).points) for theta in drawn]
        )
    elif n_draws is not None:
        raise InputError("n_draws needs a result of bg.sample: for a point estimate, omit n_draws")
    dims = {
        "location": ("mode", "feature"),
        "log_density": ("mode",),
        "mode_of_component": ("cluster",),
        "n_modes": ("draw",),
    }
    return labelled(variables, feature_names=features_of(result), dims=dims)


def _held(theta: Parameters, least: float) -> Parameters:
    """Leave out components whose weight is below the least."""
    held = theta.weights >= min(least, theta.weights.max())
    weights = theta.weights[held] / theta.weights[held].sum()
    return Parameters(weights, theta.means[held], theta.covariances[held])
