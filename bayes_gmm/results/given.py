"""The draws of one number of clusters, from a posterior in which that number is unknown."""

from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.chains import longest_together
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.pivot import match, typical
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.reading import (
    draws_of,
    feature_names,
    is_posterior,
    kept_observations,
    read_number,
    require_posterior,
    structure_of,
)
from bayes_gmm.results.tree import posterior_tree

MENTIONED = 0.01  # probability from which a number of clusters is mentioned
ROUNDS = 2  # of matching to the average of what was matched before


def given(posterior: xr.DataTree, n_clusters: int | None = None) -> xr.DataTree:
    r"""Return the draws that have this many clusters, as a posterior with relabelled components.

    .. math:: p(\theta_1, \ldots, \theta_k \mid x, K_+ = k)

    An unknown number of components has no parameters of "component 2": draws differ in how many
    there are. Given the number of clusters, the components that hold rows are those of a mixture of
    that many. Their weights are divided by their sum, because empty components hold the rest.

    Parameters
    ----------
    posterior : DataTree
        A result of `sample` with an unknown number of components.
    n_clusters : int, optional
        K+; by default the most probable one.

    Returns
    -------
    DataTree
        As from `sample` with a known K. The attribute `given_n_clusters` is K+, `given_probability`
        its posterior probability. Chains are cut to a common length, and a chain with few such
        draws is left out: `given_share` is the share of the draws with K+ clusters that are kept.

    Raises
    ------
    InputError
        If the number of components was known, or no draws have this many clusters.

    References
    ----------
    Fruehwirth-Schnatter, Malsiner-Walli & Gruen (2021), Bayesian Analysis 16, sec. 4.3.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> x = [[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]]
    >>> posterior = bg.sample(x, None, draws=500, seed=1, progressbar=False)
    >>> bg.given(posterior, 2)["posterior"].sizes["cluster"]
    2
    """
    if read_number(require_posterior(posterior)) is None:
        raise InputError(
            "posterior has a known number of components already: given needs the result of "
            "bg.sample with n_components=None or a bg.NumberOfComponents"
        )
    numbers = posterior["posterior"]["n_clusters"].transpose("chain", "draw").to_numpy()
    found = np.bincount(numbers.ravel())
    if n_clusters is None:
        n_clusters = int(found.argmax())
    require_whole("n_clusters", n_clusters, 1)
    n_such = int(found[n_clusters]) if n_clusters < len(found) else 0
    kept, length = longest_together([int((own == n_clusters).sum()) for own in numbers])
    if not length:
        drawn = ", ".join(f"{k} ({n})" for k, n in enumerate(found) if n)
        raise InputError(
            f"n_clusters is {n_clusters}, but no chain has draws of so many: numbers of clusters, "
            f"with their draws, are {drawn}"
        )
    draws = _of_clusters(draws_of(posterior), numbers, n_clusters, kept, length)
    pivot = typical(draws, [])
    for _ in range(ROUNDS):
        own = draws.reorder(match(*draws, pivot).permutation)
        pivot = Parameters(*(array.mean(axis=(0, 1)) for array in own))
    pivot = pivot.reorder(pivot.order_of_means)
    sampled = xr.DataTree.from_dict(
        {
            "/posterior": labelled(
                draws._asdict(),
                feature_names=feature_names(posterior),
                leading=("chain", "draw"),
            ).assign_coords(chain=np.arange(len(kept)), draw=np.arange(length)),
            "/sample_stats": xr.Dataset(),
        }
    )
    how = ("engine", "sampler", "thin", "seed", "tune", "missing", "covariance")
    result = posterior_tree(
        sampled,
        pivot,
        kept_observations(posterior),
        None,
        structure_of(posterior),
        given_n_clusters=n_clusters,
        given_probability=n_such / numbers.size,
        given_share=len(kept) * length / n_such,
        **{name: np.asarray(posterior.attrs[name]).item() for name in how},
    )
    result.attrs["partial"] = posterior.attrs["partial"]
    return result


def known_number(result: Any) -> Any:
    """Give a posterior of an unknown number of components its most probable number of clusters."""
    if is_posterior(result) and read_number(result) is not None:
        return given(result)
    return result


def numbers_of_clusters(posterior: xr.DataTree) -> dict[int, float]:
    """Posterior probabilities of numbers of clusters, the largest first; none if it is known."""
    if read_number(posterior) is None:
        return {}
    found = np.bincount(posterior["posterior"]["n_clusters"].to_numpy().ravel())
    order = np.argsort(-found, kind="stable")
    return {int(k): float(found[k] / found.sum()) for k in order if found[k]}


def likely(found: dict[int, float], word: str = "probability ") -> list[str]:
    """Write numbers of clusters with their probabilities, those that are worth a mention."""
    return [f"{k} ({word}{p:.2f})" for k, p in found.items() if p >= MENTIONED]


def _of_clusters(
    draws: Draws, numbers: np.ndarray, n_clusters: int, kept: np.ndarray, length: int
) -> Draws:
    """The components that hold rows, which come first, of draws with so many clusters."""
    places = [np.flatnonzero(numbers[chain] == n_clusters)[:length] for chain in kept]
    weights, means, covariances = (
        np.stack([array[chain, own, :n_clusters] for chain, own in zip(kept, places, strict=True)])
        for array in draws
    )
    return Draws(weights / weights.sum(axis=-1, keepdims=True), means, covariances)
