"""A posterior result with its components named by another method."""

import re
from collections.abc import Callable

import numpy as np
import xarray as xr

from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.pivot import match
from bayes_gmm.posterior.relabel_by_rows import by_rows
from bayes_gmm.results.given import known_number
from bayes_gmm.results.labels import follow
from bayes_gmm.results.reading import (
    complete_rows,
    feature_names,
    observed_rows,
    permutation,
    point_parameters,
    raw_draws,
    require_posterior,
    row_weights,
)

BY_ROWS = ("ecr", "ecr-iterative", "stephens", "data")
METHODS = ("pivot", *BY_ROWS, "ordering")
OF_COMPONENTS = ("posterior", "sample_stats", "log_prior")  # groups that belong to components
Key = Callable[[Draws], np.ndarray]
WRITTEN = re.compile(r"(weights|means|covariances)(?:\[(.+)\])?")


def relabel(
    posterior: xr.DataTree,
    method: str = "pivot",
    *,
    by: str | Callable[[Draws], np.ndarray] | None = None,
) -> xr.DataTree:
    r"""Relabel the components of every draw, starting from the sampler's labels.

    .. math:: \min_{s} \sum_k \mathrm{cost}_{k, s(k)}

    for each draw, over the permutations s of its components; the method defines the cost of giving
    component s(k) of the draw the label k.

    Parameters
    ----------
    posterior : DataTree
        A result of `sample`.
    method : str
        * "pivot": the Kullback-Leibler divergence from the point estimate, as in `sample`.
        * "ecr": the number of rows that the draw allocates differently from the point estimate
          (equivalence classes representatives).
        * "ecr-iterative": the same, with the allocation that most draws agree on.
        * "stephens": the divergence of the rows' membership probabilities from their mean.
        * "data": squared distances of the draw's clusters of rows from the average clusters.
        * "ordering": components in ascending order of `by`.

        Methods that use the rows use at most 2^24 membership probabilities, rows x draws x
        components; of more rows, they use a subset that represents each component.
    by : str or callable, optional
        For "ordering": "weights", "means[waiting]", "covariances[waiting]", or a function from
        draws (weights, means and covariances as arrays) to numbers (chain, draw, K).

    Returns
    -------
    xarray.DataTree
        A copy of `posterior` with all variables along the dim cluster relabelled: the draws, the
        `point_estimate`, those of `sample_stats` with the `permutation`, and a group `log_prior`.
        The attribute `relabelling` has the method. The sampler's own draws can still be recovered
        from the permutation.

    Raises
    ------
    InputError
        If `posterior` is not a posterior result, or there is no such method.

    References
    ----------
    Stephens (2000), J. R. Statist. Soc. B 62; Papastamoulis & Iliopoulos (2010), J. Comput. Graph.
    Statist. 19; Rodriguez & Walker (2014), J. Comput. Graph. Statist. 23; Papastamoulis (2016),
    J. Statist. Softw. 69.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> posterior = bg.sample(bg.datasets.load("faithful"), 2, seed=1, progressbar=False)
    >>> by_size = bg.relabel(posterior, "ordering", by="weights")
    >>> bool((by_size["posterior"]["weights"].diff("cluster") >= 0).all())
    True
    """
    posterior = known_number(require_posterior(posterior))
    if method not in METHODS:
        raise InputError(f"method is {method!r}; choose one of {', '.join(METHODS)}")
    if (method == "ordering") != (by is not None):
        raise InputError("method='ordering' needs by=, and no other method takes it")
    features = feature_names(posterior)
    point, raw = point_parameters(posterior), raw_draws(posterior)
    # Every method sets out from the order of the pivot, so that the sampler's own has no influence.
    first = match(*raw, point).permutation
    draws = raw.reorder(first)
    if method == "pivot":
        then, order = np.broadcast_to(np.arange(point.n_components), first.shape), None
    elif method == "ordering":
        key = read_key(by, features)
        own = (point.weights, point.means, point.covariances)
        then = ordering(draws, key)
        order = ordering(Draws(*(array[None, None] for array in own)), key)[0, 0]
    else:
        rows = observed_rows(posterior)
        if method == "data":
            complete_rows(rows, 'relabel with method="data"')
        then, order = by_rows(method, draws, rows, point, row_weights(posterior))
    how = f"{method} by {by if isinstance(by, str) else 'a function'}" if by else method
    return _renamed(posterior, np.take_along_axis(first, then, axis=2), order, how)


def _renamed(
    posterior: xr.DataTree, new: np.ndarray, order: np.ndarray | None, how: str
) -> xr.DataTree:
    """Write down new permutations, and let everything that belongs to components follow."""
    step = np.take_along_axis(np.argsort(permutation(posterior), axis=2), new, axis=2)
    result = posterior.copy()
    for group in (name for name in OF_COMPONENTS if name in posterior.children):
        named = follow(posterior[group].to_dataset(), step)
        if group == "sample_stats":
            named["permutation"] = (("chain", "draw", "cluster"), new)
        result[group] = xr.DataTree(named)
    if order is not None:
        point = posterior["point_estimate"].to_dataset()
        result["point_estimate"] = xr.DataTree(
            point.isel(cluster=order).assign_coords(cluster=point["cluster"])
        )
    result.attrs["relabelling"] = how
    return result


def ordering(draws: Draws, key: Key) -> np.ndarray:
    """Sort the components of each draw: (chain, draw, K)."""
    values = np.asarray(key(draws))
    if values.shape != draws.weights.shape:
        raise InputError(
            f"by returns an array of shape {values.shape}; give one number per chain, draw and "
            f"component, {draws.weights.shape}"
        )
    if values.dtype.kind not in "biuf" or np.isnan(values).any():
        raise InputError("by returns values that are not numbers: components can't be sorted so")
    return np.argsort(values, axis=2, kind="stable")


def read_key(by: object, features: tuple[str, ...]) -> Key:
    """Turn the user's word for a number into a function of draws.

    Such as "weights", "means[waiting]" or "covariances[waiting, eruptions]"; or the function
    itself.
    """
    if callable(by):
        return by
    found = WRITTEN.fullmatch(by) if isinstance(by, str) else None
    example = f"'weights', 'means[{features[0]}]', or a function of the draws"
    if found is None:
        raise InputError(f"by is {by!r}; for method='ordering' give {example}")
    variable, inside = found.groups()
    places = _places(inside, features)
    needed = {"weights": (0,), "means": (1,), "covariances": (1, 2)}[variable]
    if len(places) not in needed:
        raise InputError(
            f"by is {by!r}, which is not one number per component: give, for example, {example}"
        )
    if variable == "covariances":
        return lambda draws: draws.covariances[..., places[0], places[-1]]
    if variable == "means":
        return lambda draws: draws.means[..., places[0]]
    return lambda draws: draws.weights


def _places(inside: str | None, features: tuple[str, ...]) -> list[int]:
    """Columns named between brackets; a name may itself hold a comma."""
    if inside is None:
        return []
    if inside in features:
        return [features.index(inside)]
    for comma in (place for place, letter in enumerate(inside) if letter == ","):
        pair = inside[:comma].strip(), inside[comma + 1 :].strip()
        if all(name in features for name in pair):
            return [features.index(name) for name in pair]
    raise InputError(
        f"by is for {inside!r}, which is no feature of this result: it has {listing(features)}"
    )
