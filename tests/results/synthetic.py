"""Posterior results whose truth is known in closed form, laid out as `sample` lays them out.

With known labels the posterior of a mixture is conjugate, so that independent exact draws of it
come from `Prior.posterior(...).sample`: with one component always, and with several where they are
so far apart that no label is in doubt.
"""

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayes_gmm.model import mixture, normal
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.tree import parameters_dataset

FAR_APART = Parameters(
    [0.3, 0.7],
    [[-8.0, 50.0], [8.0, 80.0]],
    [[[1.0, 2.0], [2.0, 9.0]], [[2.0, -1.0], [-1.0, 16.0]]],
)


def conjugate_posterior(x, z, n_components):
    """Return the exact posterior of a mixture whose labels are known, under the default prior."""
    shares = np.eye(n_components)[z]
    statistics = SufficientStatistics.of(x, shares, np.zeros((n_components, x.shape[1])), 0.0)
    return Prior.default(x, n_components).posterior(statistics)


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
    """Lay draws out as a posterior result, with the label-free quantities computed from them."""
    weights, means, covariances = draws
    n_chains, n_draws, n_components = weights.shape
    names = names or [f"x{j}" for j in range(x.shape[1])]
    stats = {
        "diverging": np.zeros((n_chains, n_draws), bool) if diverging is None else diverging,
        "permutation": np.broadcast_to(np.arange(n_components), weights.shape)
        if permutation is None
        else permutation,
    }
    mean = np.einsum("sck,sckd->scd", weights, means)
    second = np.einsum("sck,sckd,scke->scde", weights, means, means)
    within = np.einsum("sck,sckde->scde", weights, covariances)
    covariance = within + second - mean[..., :, None] * mean[..., None, :]
    mixtures = [
        Parameters(weights[c, s], means[c, s], covariances[c, s])
        for c in range(n_chains)
        for s in range(n_draws)
    ]
    at = x[np.linspace(0, len(x) - 1, 3).astype(int)]
    rows = np.vstack([at, x])
    density = logsumexp([theta.log_quadratic()(rows) for theta in mixtures], axis=2)
    density, likelihood = density[:, : len(at)], density[:, len(at) :].sum(axis=1)
    height = likelihood + [prior.log_density(theta) for theta in mixtures]
    free = {
        "log_likelihood": likelihood.reshape(n_chains, n_draws),
        "log_posterior": height.reshape(n_chains, n_draws),
        "sum_squared_weights": (weights**2).sum(axis=2),
        "mixture_mean": mean,
        "mixture_covariance_logdet": np.linalg.slogdet(covariance)[1],
        "log_density_at": density.reshape(n_chains, n_draws, 3),
    }
    leading = ("chain", "draw")
    dims = {
        "permutation": ("cluster",),
        "mixture_mean": ("feature",),
        "log_density_at": ("point",),
    }
    best = mixtures[int(np.argmax(height))] if pivot is None else pivot
    arrays = {"weights": weights, "means": means, "covariances": covariances}
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"kind": "posterior", "n_components": n_components}),
            "/posterior": labelled(arrays, feature_names=names, leading=leading),
            "/sample_stats": labelled(stats, leading=leading, dims=dims),
            "/invariants": labelled(free, feature_names=names, leading=leading, dims=dims),
            "/point_estimate": parameters_dataset(best, names),
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
    return x, exact, posterior_result(draws, x, Prior.default(x, 1))


def two_components(seed, n=200, n_chains=4, n_draws=250, **more):
    """Return data from `FAR_APART`, labels, the exact posterior, and a result with draws."""
    rng = np.random.default_rng(seed)
    x, z = mixture.sample(FAR_APART, n, rng)
    exact = conjugate_posterior(x, z, 2)
    draws = exact_draws(exact, n_chains, n_draws, rng)
    return x, z, exact, posterior_result(draws, x, Prior.default(x, 2), **more)
