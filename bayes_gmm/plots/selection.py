"""Which model: a criterion against the number of components, one line per covariance structure."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_gmm.plots import style
from bayes_gmm.results.selection import Selection

DASHES = ("-", "--", ":")


def selection(found: Selection) -> Figure:
    """Draw the criterion of every fit; the lowest point is the best model.

    Parameters
    ----------
    found : Selection
        From `select`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    values = found.dataset[found.criterion]
    sizes = values["n_components"].to_numpy()
    figure = style.picture(7.2, 4.4)
    axes = figure.subplots()
    handles = []
    for place, code in enumerate(values["covariance"].to_numpy()):
        look: dict[str, Any] = {
            "color": style.color(place),
            "linestyle": DASHES[place // len(style.PALETTE) % len(DASHES)],
            "marker": style.marker(place),
        }
        heights = values.sel(covariance=code).to_numpy()
        axes.plot(sizes, heights, **look, linewidth=1.3, markersize=4)
        handles.append(Line2D([], [], **look, label=str(code), linewidth=1.3, markersize=4))
    best = found.table.iloc[0]
    axes.plot(
        best["n_components"],
        best[found.criterion],
        marker="o",
        markersize=13,
        markerfacecolor="none",
        markeredgecolor=style.INK,
        linestyle="none",
    )
    name = found.criterion.upper()
    style.tidy(axes, xlabel="number of components", ylabel=f"{name} (smaller is better)")
    axes.set_xticks(sizes)
    finite = values.to_numpy()[np.isfinite(values.to_numpy())]
    # The worst fits, of one sphere, would press all others into a corner.
    ceiling = np.quantile(finite, 0.9)
    span = max(ceiling - finite.min(), 1.0)
    axes.set_ylim(finite.min() - 0.08 * span, ceiling + 0.05 * span)
    style.headline(
        figure,
        f"{name} chooses {best['covariance']} with {int(best['n_components'])} components",
        "the highest tenth of the values lies above the frame" if finite.max() > ceiling else "",
    )
    style.key(figure, handles, columns=7)
    return figure
