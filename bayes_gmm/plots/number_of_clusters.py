"""How many clusters: the posterior of their number, beside its prior."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayes_gmm.errors import InputError
from bayes_gmm.plots import style
from bayes_gmm.results.given import numbers_of_clusters
from bayes_gmm.results.reading import n_observed, read_number, require_posterior

SHOWN = 1e-3  # posterior probability of the largest number that is shown
MOST_ROWS = 2000  # of more, the prior takes long and hardly changes


def number_of_clusters(posterior: xr.DataTree) -> Figure:
    """Draw the posterior of the number of clusters K+, that of each chain, and the prior.

    Parameters
    ----------
    posterior : DataTree
        From `sample` with an unknown number of components.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the number of components was known.
    """
    number = read_number(require_posterior(posterior))
    if number is None:
        raise InputError("posterior has a known number of components: there is none to draw")
    found = numbers_of_clusters(posterior)
    last = max(3, *(k for k, p in found.items() if p >= SHOWN))
    sizes = np.arange(1, last + 1)
    drawn = posterior["posterior"]["n_clusters"].transpose("chain", "draw").to_numpy()
    n_rows = min(n_observed(posterior), MOST_ROWS)
    prior = np.zeros(last)
    before = number.cluster_probabilities(n_rows)[:last]
    prior[: len(before)] = before

    figure = style.picture(max(4.8, 1.6 + 0.55 * last), 3.6)
    axes = figure.subplots()
    heights = [found.get(int(k), 0.0) for k in sizes]
    axes.bar(sizes, heights, width=0.7, color=style.color(0), alpha=0.75)
    for place, chain in enumerate(drawn):
        offset = 0.5 * ((place + 0.5) / len(drawn) - 0.5)
        own = [(chain == k).mean() for k in sizes]
        axes.plot(sizes + offset, own, linestyle="none", marker=".", color=style.INK, markersize=4)
    axes.plot(sizes, prior, linestyle="--", marker="_", markersize=14, color=style.color(1))
    axes.set_ylim(0, 1.08 * max(*heights, *prior))
    style.tidy(axes, xlabel="number of clusters", ylabel="probability")
    axes.set_xticks(sizes)
    best, probability = next(iter(found.items()))
    style.headline(figure, f"{best} clusters with probability {probability:.2f}")
    style.key(
        figure,
        [
            Patch(color=style.color(0), alpha=0.75, label="posterior"),
            Line2D([], [], linestyle="none", marker=".", color=style.INK, label="each chain"),
            Line2D([], [], linestyle="--", marker="_", color=style.color(1), label="prior"),
        ],
        columns=3,
    )
    return figure
