"""Conversion of a trace of any model with a mixture into a result like that of `sample`."""

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
    from bayes_gmm.model.priors import ConjugatePrior
    from bayes_gmm.posterior.draws import Draws
    from bayes_gmm.seeds import Seed

OWN_LABELS = 0.9  # if more than this fraction of draws agree on the labels, they are the model's


def from_trace(
    trace: xr.DataTree | xr.Dataset,
    X: Any,
    *,
    weights: str | Sequence[str] | xr.DataArray = "weights",
    means: str | Sequence[str] | xr.DataArray = "means",
    covariances: str | Sequence[str] | xr.DataArray | None = None,
    choleskys: str | Sequence[str] | xr.DataArray | None = None,
    sds: str | Sequence[str] | xr.DataArray | None = None,
    prior: ConjugatePrior | PriorFamily | str | None = None,
    pivot: Parameters | xr.DataTree | None = None,
    row_weights: Any = None,
    seed: Seed = None,
) -> xr.DataTree:
    r"""Convert draws of any model with a Gaussian mixture into a result like that of `sample`.

    .. math:: p(x \mid \theta_s) = \sum_k \phi_k^s N(x; \mu_k^s, \Sigma_k^s)

    Parameters
    ----------
    trace : DataTree or Dataset
        The return value of `pymc.sample` (with any sampler) or `arviz.from_numpyro`, or any other
        tree with a group posterior whose variables have the dims chain and draw.
    X : array, DataFrame, DataArray (N, D), or anything else that `sample` takes
        The rows that the mixture describes.
    weights : str, list of str or DataArray (chain, draw, K)
        The name of a variable; or the names of K variables, one per component; or an array
        computed from variables of the trace, with dims chain and draw, such as
        ``trace["posterior"]["weights"].sel(group="a")``. Its third dim, with any name, is the dim
        of the components.
    means : str, list of str or DataArray (chain, draw, K, D)
        With one feature, the axis D may be missing. If the axis K is missing, all components have
        the same value; this holds for the next three arguments too. Axes are identified by their
        dims or, where dims have no names, by their order: components come first.
    covariances : str, list of str or DataArray (chain, draw, K, D, D), optional
        By default the variable "covariances". With one feature, variances (chain, draw, K).
    choleskys : str, list of str or DataArray (chain, draw, K, D, D), optional
        Lower Cholesky factors, instead of covariances; or packed, (chain, draw, K,
        D (D + 1) / 2), as in `pymc.LKJCholeskyCov`.
    sds : str, list of str or DataArray (chain, draw, K, D), optional
        Standard deviations of uncorrelated features, instead of covariances.
    prior : a prior of the model, or "default", optional
        The prior of weights, means and covariances in the model, if it is a `ConjugatePrior`,
        `SemiconjugatePrior`, `HierarchicalPrior` or `IndependentPrior`. It gives the log posterior
        of each draw, which `sensitivity` needs.
    pivot : Parameters or result of `fit`, optional
        The mixture to which the components of each draw are matched. By default the optimum of EM
        on X that is closest to most draws, or one of the draws if no optimum is close.
    row_weights : array_like (N,), optional
        How often each observation was seen in the model, as for `sample`. By default the variable
        "row_weights" of the group constant_data, if the trace has it, as from `pymc_model`.
    seed : int, SeedSequence or Generator, optional
        Fixes the search for that optimum.

    Returns
    -------
    xarray.DataTree
        As from `sample`: `posterior` has weights, means and covariances, relabelled, with the dims
        cluster, feature and feature_bis. Other variables of the trace, including those from which
        the mixture was computed, keep their names and values; along the dim of the components, now
        called cluster, they are permuted with their draw. Variables given one per component appear
        only as parts of weights, means and covariances. A different variable of the trace that is
        called weights, means or covariances is renamed "weights_of_model" and so on.
        `sample_stats` are the sampler's, with the `permutation`; `observed_data` is X. Other
        groups of the trace are kept, except `warmup_...` and `unconstrained_posterior`.

    Raises
    ------
    InputError
        If the trace has no such variables, or if their draws are not a mixture with as many
        features as X has columns.

    Notes
    -----
    A result has one mixture per draw, which describes every row of X. If the model's weights vary
    between groups, or its means between rows as in a regression, make one result for each group or
    each value of the covariates: pass the weights or means there, and the rows there as X.

    If nine draws in ten agree on the labels, because the prior distinguishes the components, the
    labels of the model are kept. Otherwise components are numbered by their means, as in `sample`.

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
    """Take the names of the features from the trace if X has none; otherwise they must agree."""
    names = observations.feature_names
    if labels is None or labels == names:
        return observations
    if names == tuple(f"x{j}" for j in range(len(names))) and len(set(labels)) == len(labels):
        return replace(observations, feature_names=labels)
    raise InputError(
        f"X has the columns {', '.join(names)}, but the means of the trace are labelled "
        f"{', '.join(labels)}: rename or reorder the columns of X to agree"
    )


def _with_density(
    prior: ConjugatePrior | PriorFamily | str, observations: Observations, n_components: int
) -> ConjugatePrior | PriorFamily:
    from bayes_gmm.model.prior_family import PriorFamily
    from bayes_gmm.model.priors import ConjugatePrior

    chosen = prior_of_posterior(prior, observations, n_components)
    if not isinstance(chosen, ConjugatePrior | PriorFamily):
        raise InputError("prior is a function, whose density cannot be evaluated here: omit prior")
    return chosen


def _pivot(pivot: Any, n_components: int, observations: Observations) -> Parameters:
    from bayes_gmm.results.reading import point_parameters

    theta = point_parameters(pivot)
    sizes = theta.means.shape
    expected = n_components, observations.n_features
    if sizes != expected:
        raise InputError(
            f"pivot has {sizes[0]} components and {sizes[1]} features, but the trace has "
            f"{expected[0]} and {expected[1]}: pass a pivot of the same sizes"
        )
    return theta


def _labelled(draws: Draws, pivot: Parameters, exchangeable: bool) -> Parameters:
    """Give the pivot the labels of the draws if these agree; otherwise order it by its means."""
    from bayes_gmm.posterior.pivot import match

    permutation = match(*draws, pivot).permutation.reshape(-1, pivot.n_components)
    orders, counts = np.unique(permutation, axis=0, return_counts=True)
    if counts.max() > OWN_LABELS * len(permutation):
        return pivot.reorder(np.argsort(orders[counts.argmax()]))
    return pivot.reorder(pivot.order_of_means) if exchangeable else pivot
