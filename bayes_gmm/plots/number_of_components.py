"""What a prior of K says before any row is seen: K, the number of clusters, and their sizes."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bayes_gmm.model.number_of_components import NumberOfComponents
from bayes_gmm.plots import style

SHOWN = 0.99  # of the probability, as far as MOST bars go
MOST = 30
MOST_CLUSTERS = 40  # of a partition that are drawn; the others are one gray rest


class Bars(NamedTuple):
    """A distribution on 1, 2, ...."""

    symbol: str
    what: str
    color: str
    p: np.ndarray


def clusters(number: NumberOfComponents, n_rows: int, draws: int, seed: int | None) -> Figure:
    """Draw p(K) and p(K+) as bars, and partitions of N rows as lines that are cut into clusters."""
    bars = [Bars("K+", "clusters", style.color(0), number.cluster_probabilities(n_rows))]
    if not number.is_dirichlet_process:
        bars.insert(0, Bars("K", "components", style.BAND, np.exp(number.log_probabilities)))
    sizes = number.sample_sizes(n_rows, draws, np.random.default_rng(seed))[1]

    figure = style.picture(8.4, 3.9)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    beyond = _bars(left, bars)
    _lines(right, sizes / n_rows)
    style.headline(
        figure,
        f"What the prior says about the number of clusters of {n_rows} rows",
        "\n".join([*number.assumptions, *beyond]),
    )
    style.key(figure, [Patch(color=of.color, label=f"{of.what}, {of.symbol}") for of in bars])
    return figure


def _bars(axes: Axes, bars: list[Bars]) -> list[str]:
    """Draw distributions on 1, 2, ... side by side, and say what is beyond the frame."""
    ends = [int(np.searchsorted(of.p.cumsum(), SHOWN)) + 1 for of in bars]
    end = min(max([*ends, 3]), MOST)
    width = 0.8 / len(bars)
    for place, of in enumerate(bars):
        at = np.arange(1, min(end, len(of.p)) + 1)
        offset = (place - 0.5 * (len(bars) - 1)) * width
        axes.bar(at + offset, of.p[: len(at)], width=width, color=of.color)
    style.tidy(
        axes, xlabel="number of components, or of clusters", ylabel="prior probability", grid="y"
    )
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlim(0.4, end + 0.6)
    beyond = [(of.symbol, of.p[end:].sum()) for of in bars]
    return [f"P({name} > {end}) = {p:.2g}, not shown" for name, p in beyond if p > 1 - SHOWN]


def _lines(axes: Axes, shares: np.ndarray) -> None:
    """Draw each partition as a line of its clusters, largest first; shares (draws, J)."""
    order = np.lexsort([-shares[:, 0], (shares > 0).sum(axis=1)])
    start = np.zeros(len(shares))
    for j, share in enumerate(shares[order][:, :MOST_CLUSTERS].T):
        axes.barh(
            np.arange(len(shares)),
            share,
            left=start,
            height=0.82,
            color=style.color(j),
            edgecolor="white",
            linewidth=0.4,
        )
        start = start + share
    axes.barh(np.arange(len(shares)), 1 - start, left=start, height=0.82, color=style.BAND)
    style.tidy(
        axes,
        xlabel="share of the rows",
        title=f"{len(shares)} partitions drawn, largest cluster first",
        grid=None,
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
