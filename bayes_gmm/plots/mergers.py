"""The tree in which components merge into clusters, and the entropy with each number of them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram

from bayes_gmm.errors import InputError
from bayes_gmm.plots import style
from bayes_gmm.results.merging import HEIGHTS, Mergers


def mergers(found: Mergers) -> Figure:
    """Draw the tree of mergers, cut at the clusters, and beside it the entropy of the labels.

    Parameters
    ----------
    found : Mergers
        From `merge`. Components of one cluster, and the mergers among them, have its color.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If there is one component only.
    """
    if found.dataset.sizes["cluster"] == 1:
        raise InputError("found has one component only, so that there is no tree to draw")
    figure = style.picture(7.6, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _tree(left, found)
    _entropy(right, found)
    style.headline(figure, found.sentences[0])
    return figure


def _tree(axes: Axes, found: Mergers) -> None:
    """Draw the tree with the linkage's heights upwards."""
    linkage, member = found.linkage, found.dataset["merged_cluster"].to_numpy()
    size = len(member)
    drawn = dendrogram(linkage, no_plot=True)
    cluster = list(member)  # of the two that merger m joins, or none where it joins clusters
    for one, other in linkage[:, :2].astype(int):
        same = cluster[one] == cluster[other]
        cluster.append(cluster[one] if same else -1)
    # SciPy gives brackets in the order of the leaves; here they are made in that of the mergers.
    place = {leaf: 5.0 + 10.0 * position for position, leaf in enumerate(drawn["leaves"])}
    for number, (one, other) in enumerate(linkage[:, :2].astype(int), start=size):
        place[number] = (place[one] + place[other]) / 2
        height = linkage[number - size, 2]
        ends = [linkage[node - size, 2] if node >= size else 0.0 for node in (one, other)]
        shade = style.color(cluster[number]) if cluster[number] >= 0 else style.BAND
        axes.plot(
            [place[one], place[one], place[other], place[other]],
            [ends[0], height, height, ends[1]],
            color=shade,
            linewidth=1.6,
        )
    for leaf in drawn["leaves"]:
        axes.plot(
            place[leaf],
            0.0,
            marker="o",
            markersize=6,
            color=style.color(member[leaf]),
            linestyle="none",
            clip_on=False,
            zorder=3,
        )
    style.tidy(axes, xlabel="component", ylabel=HEIGHTS[found.dataset.attrs["by"]])
    axes.set_xticks([place[leaf] for leaf in drawn["leaves"]], map(str, drawn["leaves"]))
    axes.set_xlim(0, 10 * size)
    axes.set_ylim(bottom=0)


def _entropy(axes: Axes, found: Mergers) -> None:
    """Draw the entropy over the number of clusters, the one chosen ringed."""
    values = found.dataset["entropy"].to_series()
    axes.plot(values.index, values, color=style.INK, marker="o", markersize=4, linewidth=1.2)
    axes.plot(
        found.n_clusters,
        values[found.n_clusters],
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=style.INK,
        linestyle="none",
    )
    bend = found.dataset.attrs.get("elbow")
    if bend:
        number = values.index.to_numpy(dtype=float)
        for part in (slice(0, bend), slice(bend - 1, None)):
            line = np.polyfit(number[part], values.to_numpy()[part], 1)
            axes.plot(
                number[part], np.polyval(line, number[part]), color=style.color(1), linewidth=1.0
            )
    style.tidy(axes, xlabel="clusters", ylabel="entropy of the labels, nats")
    axes.set_xticks(values.index)
