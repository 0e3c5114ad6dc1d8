"""Gaussian mixtures as a careful person writes them without us, in PyMC and in NumPyro.

Both have the same priors: weights ~ Dirichlet(1), means ~ Normal at the data's mean with three of
its standard deviations, covariances by half-normal standard deviations and LKJ(2) correlations.
Both start at scikit-learn's solution, and their draws are relabelled to it by us.
"""

import os

import numpy as np

import bayes_gmm as bg
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.pivot import match

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def pymc(x: np.ndarray, n_components: int, settings: dict) -> Arrays:
    import pymc as pm

    n_features = x.shape[1]
    start = optimum(x, n_components)
    lower = np.tril_indices(n_features)
    with pm.Model():
        weights = pm.Dirichlet("weights", np.ones(n_components))
        means = pm.Normal("means", x.mean(0), 3 * x.std(0), shape=(n_components, n_features))
        factors = [
            pm.LKJCholeskyCov(
                f"factor_{k}",
                n=n_features,
                eta=2.0,
                sd_dist=pm.HalfNormal.dist(x.std(0), shape=n_features),
            )[0]
            for k in range(n_components)
        ]
        components = [pm.MvNormal.dist(means[k], chol=factors[k]) for k in range(n_components)]
        pm.Mixture("x", weights, components, observed=x)
        roots = np.linalg.cholesky(start.covariances)
        initial = {
            "weights": start.weights,
            "means": start.means,
            **{f"factor_{k}": roots[k][lower] for k in range(n_components)},
        }
        trace = pm.sample(
            random_seed=1, initvals=initial, progressbar=False, quiet=True, **settings
        )
    group = trace["posterior"]
    chol = np.zeros((*group["weights"].shape, n_features, n_features))
    for k in range(n_components):
        chol[:, :, k][..., *lower] = group[f"factor_{k}"].to_numpy()
    return relabelled(group["weights"].to_numpy(), group["means"].to_numpy(), chol, start)


def numpyro(x: np.ndarray, n_components: int, settings: dict) -> Arrays:
    chains = settings["chains"]
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={chains}"
    import jax
    import numpyro as npy
    from numpyro import distributions as dist
    from numpyro.infer import MCMC, NUTS, init_to_value

    jax.config.update("jax_enable_x64", True)
    n_features = x.shape[1]
    center, spread = x.mean(0), x.std(0)
    start = optimum(x, n_components)

    def model(rows):
        weights = npy.sample("weights", dist.Dirichlet(np.ones(n_components)))
        with npy.plate("component", n_components):
            means = npy.sample("means", dist.Normal(center, 3 * spread).to_event(1))
            sds = npy.sample("sds", dist.HalfNormal(spread).to_event(1))
            correlation = npy.sample("correlation", dist.LKJCholesky(n_features, 2.0))
        factor = npy.deterministic("factor", sds[..., None] * correlation)
        mixture = dist.MixtureSameFamily(
            dist.Categorical(weights), dist.MultivariateNormal(means, scale_tril=factor)
        )
        with npy.plate("row", len(rows)):
            npy.sample("x", mixture, obs=rows)

    sds = np.sqrt(np.einsum("kii->ki", start.covariances))
    initial = {
        "weights": start.weights,
        "means": start.means,
        "sds": sds,
        "correlation": np.linalg.cholesky(start.covariances) / sds[..., None],
    }
    sampler = MCMC(
        NUTS(model, init_strategy=init_to_value(values=jax.tree.map(jax.numpy.asarray, initial))),
        num_warmup=settings["tune"],
        num_samples=settings["draws"],
        num_chains=chains,
        progress_bar=False,
    )
    sampler.run(jax.random.PRNGKey(1), x)
    draws = sampler.get_samples(group_by_chain=True)
    return relabelled(*(np.asarray(draws[name]) for name in ("weights", "means", "factor")), start)


def optimum(x: np.ndarray, n_components: int) -> bg.Parameters:
    from sklearn.mixture import GaussianMixture

    found = GaussianMixture(n_components, random_state=1).fit(x)
    return bg.Parameters(found.weights_, found.means_, found.covariances_)


def relabelled(
    weights: np.ndarray, means: np.ndarray, factor: np.ndarray, pivot: bg.Parameters
) -> Arrays:
    draws = Draws(weights, means, factor @ factor.swapaxes(-1, -2))
    return tuple(draws.reorder(match(*draws, pivot).permutation))
