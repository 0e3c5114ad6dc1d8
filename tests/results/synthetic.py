"""Posterior results whose truth is known in closed form, laid out as `sample` lays them out.

With known labels the posterior of a mixture is conjugate, so that independent exact draws of it
come from `ConjugatePrior.posterior(...).sample`: with one component always, and with several where
they are so far apart that no label is in doubt.
"""

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.model import mixture, normal
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.invariants import invariants
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.tree import labelled_invariants, parameters_dataset

FAR_APART = Parameters(
    [0.3, 0.7],
    [[-8.0, 50.0], [8.0, 80.0]],
    [[[1.0, 2.0], [2.0, 9.0]], [[2.0, -1.0], [-1.0, 16.0]]],
)


def conjugate_posterior(x, z, n_components):
    """Return the exact posterior of a mixture whose labels are known, under the default prior."""
    shares = np.eye(n_components)[z]
    statistics = SufficientStatistics.of(x, shares, np.zeros((n_components, x.shape[1])), 0.0)
    return ConjugatePrior.default(x, n_components).posterior(statistics)


def maximum_likelihood(x, z, n_components):
    fitted = [normal.maximum_likelihood(x[z == k]) for k in range(n_components)]
    weights = np.bincount(z, minlength=n_components) / len(z)
    return Parameters(weights, [mean for mean, _ in fitted], [cov for _, cov in fitted])


def point_result(parameters, x, estimator="MLE", names=None):
    """Lay a point estimate out as a point result."""
    names = names or [f"x{j}" for j in range(x.shape[1])]
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"kind": "point", "estimator": estimator}),
            "/point_estimate": parameters_dataset(parameters, names),
            "/observed_data": labelled({"x": x}, feature_names=names),
        }
    )


def exact_draws(posterior, n_chains, n_draws, rng):
    """Return weights, means and covariances (chain, draw, ...), independent exact draws."""
    draws = [posterior.sample(rng) for _ in range(n_chains * n_draws)]
    stacked = (
        np.stack([getattr(draw, name) for draw in draws])
        for name in ("weights", "means", "covariances")
    )
    return tuple(array.reshape(n_chains, n_draws, *array.shape[1:]) for array in stacked)


def posterior_result(draws, x, prior, *, pivot=None, permutation=None, diverging=None, names=None):
    """Make a posterior result of draws, with the label-invariant quantities computed from them."""
    weights, means, covariances = draws
    n_chains, n_draws, n_components = weights.shape
    names = names or [f"x{j}" for j in range(x.shape[1])]
    stats = {
        "diverging": np.zeros((n_chains, n_draws), bool) if diverging is None else diverging,
        "permutation": np.broadcast_to(np.arange(n_components), weights.shape)
        if permutation is None
        else permutation,
    }
    first = Parameters(weights[0, 0], means[0, 0], covariances[0, 0])
    observations = Observations.of(x)
    found = invariants(Draws(*draws), observations, prior, pivot or first)
    free = labelled_invariants(found, observations)
    if pivot is None:
        best = np.unravel_index(free["log_posterior"].to_numpy().argmax(), weights.shape[:2])
        pivot = Parameters(weights[best], means[best], covariances[best])
    leading = ("chain", "draw")
    dims = {"permutation": ("cluster",)}
    arrays = {"weights": weights, "means": means, "covariances": covariances}
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"kind": "posterior", "n_components": n_components}),
            "/posterior": labelled(arrays, feature_names=names, leading=leading),
            "/sample_stats": labelled(stats, leading=leading, dims=dims),
            "/invariants": free.assign_coords(feature=names),
            "/point_estimate": parameters_dataset(pivot, names),
            "/observed_data": labelled({"x": x}, feature_names=names),
        }
    )


def one_component(seed, n=60, n_chains=4, n_draws=250, d=2):
    """Return data from one normal, its exact posterior in closed form, and a result with draws."""
    rng = np.random.default_rng(seed)
    root = np.tril(rng.normal(size=(d, d)), -1) + np.diag([1.0, 5.0, 0.2][:d])
    x = np.array([3.0, -40.0, 0.7])[:d] + rng.normal(size=(n, d)) @ root.T
    exact = conjugate_posterior(x, np.zeros(n, int), 1)
    draws = exact_draws(exact, n_chains, n_draws, rng)
    return x, exact, posterior_result(draws, x, ConjugatePrior.default(x, 1))


def two_components(seed, n=200, n_chains=4, n_draws=250, **more):
    """Return data from `FAR_APART`, labels, the exact posterior, and a result with draws."""
    rng = np.random.default_rng(seed)
    x, z = mixture.sample(FAR_APART, n, rng)
    exact = conjugate_posterior(x, z, 2)
    draws = exact_draws(exact, n_chains, n_draws, rng)
    return x, z, exact, posterior_result(draws, x, ConjugatePrior.default(x, 2), **more)


def sampled_tree(draws, names=None, **stats):
    """Lay draws out as an engine returns them."""
    names = names or [f"x{j}" for j in range(draws.means.shape[3])]
    leading = ("chain", "draw")
    shape = draws.weights.shape[:2]
    dims = {"component_counts": ("cluster",)}
    stats = {"diverging": np.zeros(shape, bool), **stats}
    return xr.DataTree.from_dict(
        {
            "/posterior": labelled(draws._asdict(), feature_names=names, leading=leading),
            "/sample_stats": labelled(stats, leading=leading, dims=dims),
        }
    )


def shuffled(rng, draws):
    """Return draws with their components in random order, and that order."""
    places = np.broadcast_to(np.arange(draws.weights.shape[2]), draws.weights.shape)
    order = rng.permuted(places, axis=2)
    assert draws.weights.shape[2] == 1 or (order != places).any()
    return draws.reorder(order), order
