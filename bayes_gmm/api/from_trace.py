"""A trace of any model that holds a mixture, as a result that every verb takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_gmm.arguments import as_observations, conjugate_to, prior_of_posterior
from bayes_gmm.errors import InputError
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    import xarray as xr

    from bayes_gmm.data import Observations
    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.model.prior_family import PriorFamily
    from bayes_gmm.model.priors import Prior
    from bayes_gmm.posterior.draws import Draws
    from bayes_gmm.seeds import Seed

OWN_LABELS = 0.9  # share of draws with the same labels from which these are the model's own


def from_trace(
    trace: xr.DataTree | xr.Dataset,
    X: Any,
    *,
    weights: str | Sequence[str] | xr.DataArray = "weights",
    means: str | Sequence[str] | xr.DataArray = "means",
    covariances: str | Sequence[str] | xr.DataArray | None = None,
    choleskys: str | Sequence[str] | xr.DataArray | None = None,
    sds: str | Sequence[str] | xr.DataArray | None = None,
    prior: Prior | PriorFamily | str | None = None,
    pivot: Parameters | xr.DataTree | None = None,
    row_weights: Any = None,
    seed: Seed = None,
) -> xr.DataTree:
    r"""Turn the draws of any model that holds a Gaussian mixture into a result like `sample`'s.

    .. math:: p(x \mid \theta_s) = \sum_k \phi_k^s N(x; \mu_k^s, \Sigma_k^s)

    Parameters
    ----------
    trace : DataTree or Dataset
        What `pymc.sample` returns, by whichever sampler, or `arviz.from_numpyro`, or anything else
        with a group posterior whose variables have the dims chain and draw.
    X : array, DataFrame, DataArray (N, D), or what else `sample` takes
        The rows that the mixture describes.
    weights : str, list of str or DataArray (chain, draw, K)
        The name of the variable. Or the names of K variables, one per component. Or an array made
        of variables of the trace, with dims chain and draw, such as
        ``trace["posterior"]["weights"].sel(group="a")``. Its dim is the dim of the components,
        whatever it is called.
    means : str, list of str or DataArray (chain, draw, K, D)
        With one feature its axis may be missing. An axis for components that is missing means that
        all have the same; so it is for the next three. Axes are told by their dims, and where dims
        have no names, by their order: components come first.
    covariances : str, list of str or DataArray (chain, draw, K, D, D), optional
        By default the variable "covariances". With one feature, variances (chain, draw, K).
    choleskys : str, list of str or DataArray (chain, draw, K, D, D), optional
        Lower Cholesky factors, in the place of covariances; or packed, (chain, draw, K,
        D (D + 1) / 2), as `pymc.LKJCholeskyCov` has them.
    sds : str, list of str or DataArray (chain, draw, K, D), optional
        Standard deviations of features that are not correlated, in the place of covariances.
    prior : Prior, IndependentPrior, HierarchicalPrior or "default", optional
        The prior of weights, means and covariances in the model, if it is one of these. It gives
        the log posterior of each draw, which `sensitivity` needs.
    pivot : Parameters or result of `fit`, optional
        The mixture to whose components those of each draw are matched. By default the optimum of
        EM on X that most draws are closest to, or a draw where none is close.
    row_weights : array_like (N,), optional
        How often each observation was seen in the model, as for `sample`. By default what the trace
        holds as "row_weights" in its group constant_data, as of a model of `pymc_model`.
    seed : int, SeedSequence or Generator, optional
        Of the search for that optimum.

    Returns
    -------
    xarray.DataTree
        As of `sample`: `posterior` has weights, means and covariances, relabelled, with the dims
        cluster, feature and feature_bis. The trace's other variables, those that the mixture was
        made of included, keep their names and values; along the dim of the components, now called
        cluster, they follow the permutation of their draw. Variables given one per component are
        in the result only as parts of weights, means and covariances. One that is called weights,
        means or covariances and is another is called "weights_of_model" and so on. `sample_stats`
        are the sampler's with the `permutation`; `observed_data` is X. Other groups of the trace
        stay as they are, without `warmup_...` and `unconstrained_posterior`.

    Raises
    ------
    InputError
        If the trace has no such variables, or their draws are no mixture with as many features as
        X has columns.

    Notes
    -----
    A result holds one mixture per draw, which describes every row of X. Where the model's weights
    vary from group to group, or its means from row to row, as in a regression, there is a result
    for each group, or for each value of the covariates: give the weights or means at that place,
    and as X the rows of that place.

    If nine draws in ten agree on the labels, because the prior tells the components apart, the
    labels of the model stay. Otherwise components are numbered by their means, as by `sample`.

    Examples
    --------
    A mixture of two normals in one dimension, as a trace of a model with other names:

    >>> import numpy as np
    >>> import xarray as xr
    >>> import bayes_gmm as bg
    >>> rng = np.random.default_rng(1)
    >>> x = np.append(rng.normal(-3, 1, 100), rng.normal(3, 1, 100))
    >>> size = 4, 200
    >>> draws = {
    ...     "w": (("chain", "draw", "k"), rng.dirichlet([100, 100], size)),
    ...     "mu": (("chain", "draw", "k"), rng.normal([3, -3], 0.1, (*size, 2))),
    ...     "sigma": (("chain", "draw", "k"), rng.normal(1, 0.05, (*size, 2))),
    ... }
    >>> trace = xr.DataTree.from_dict({"/posterior": xr.Dataset(draws)})
    >>> result = bg.from_trace(trace, x, weights="w", means="mu", sds="sigma", seed=1)
    >>> bg.diagnose(result).converged
    True
    """
    from bayes_gmm.inference.em import point
    from bayes_gmm.posterior.pivot import typical
    from bayes_gmm.results.trace import carried, posterior_of, read_mixture, weights_of_rows
    from bayes_gmm.results.tree import drawn, posterior_tree

    seed = as_seed(seed)
    if row_weights is None:
        row_weights = weights_of_rows(trace)
    observations = as_observations(X, prior, row_weights)
    mixture = read_mixture(
        trace,
        observations.n_features,
        weights=weights,
        means=means,
        covariances=covariances,
        choleskys=choleskys,
        sds=sds,
    )
    observations = _named(observations, mixture.feature_labels)
    n_components = mixture.draws.weights.shape[2]
    chosen = None if prior is None else _with_density(prior, observations, n_components)
    sampled = mixture.sampled(trace, observations.feature_names)
    if pivot is not None:
        matched = _pivot(pivot, n_components, observations)
    else:
        conjugate = conjugate_to(chosen, observations, n_components)
        found = point.mode(observations, n_components, conjugate, seed=seed)
        matched = _labelled(
            drawn(sampled), typical(drawn(sampled), found.mixtures), conjugate.is_exchangeable
        )
    about = posterior_of(trace).attrs
    result = posterior_tree(
        sampled,
        matched,
        observations,
        chosen,
        engine="trace",
        sampler=str(about.get("sampler") or about.get("inference_library", "")),
        seed=seed,
        tune=int(about.get("tuning_steps", 0)),
    )
    return carried(trace, result)


def _named(observations: Observations, labels: tuple[str, ...] | None) -> Observations:
    """Take the features' names from the trace if X has none; they must be the same if it has."""
    names = observations.feature_names
    if labels is None or labels == names:
        return observations
    if names == tuple(f"x{j}" for j in range(len(names))) and len(set(labels)) == len(labels):
        return replace(observations, feature_names=labels)
    raise InputError(
        f"X has the columns {', '.join(names)}, and the means of the trace are labelled "
        f"{', '.join(labels)}: give the columns by these names, in this order"
    )


def _with_density(
    prior: Prior | PriorFamily | str, observations: Observations, n_components: int
) -> Prior | PriorFamily:
    from bayes_gmm.model.prior_family import PriorFamily
    from bayes_gmm.model.priors import Prior

    chosen = prior_of_posterior(prior, observations, n_components)
    if not isinstance(chosen, Prior | PriorFamily):
        raise InputError(
            "prior is a function, which has no density that could be used here: leave it out"
        )
    return chosen


def _pivot(pivot: Any, n_components: int, observations: Observations) -> Parameters:
    from bayes_gmm.results.reading import point_parameters

    theta = point_parameters(pivot)
    sizes = theta.means.shape
    expected = n_components, observations.n_features
    if sizes != expected:
        raise InputError(
            f"pivot has {sizes[0]} components and {sizes[1]} features, and the trace "
            f"{expected[0]} and {expected[1]}"
        )
    return theta


def _labelled(draws: Draws, pivot: Parameters, exchangeable: bool) -> Parameters:
    """Give the pivot the labels of the draws, if these agree, or number it by its means."""
    from bayes_gmm.posterior.pivot import match

    permutation = match(*draws, pivot).permutation.reshape(-1, pivot.n_components)
    orders, counts = np.unique(permutation, axis=0, return_counts=True)
    if counts.max() > OWN_LABELS * len(permutation):
        return pivot.reorder(np.argsort(orders[counts.argmax()]))
    return pivot.reorder(pivot.order_of_means) if exchangeable else pivot
