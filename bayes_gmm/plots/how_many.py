"""How many clusters: a panel for each criterion over the number of components, answers marked."""

from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bayes_gmm.plots import style
from bayes_gmm.results.answers import (
    CRITERIA,
    INFORMATION,
    LEVEL,
    POSTERIOR,
    errors_of,
    values_of,
)
from bayes_gmm.results.how_many import HowMany

COLUMNS = 3
LETTERS = 36  # of the title above each column
AXES = {
    "modes": "modes of the density",
    "bootstrap": "p-value against more",
    "loo": "elpd minus the best, nats",
    "evidence": "log evidence",
    "n_components": "posterior probability",
    "n_clusters": "posterior probability",
}


def how_many(found: HowMany) -> Figure:
    """Draw every criterion over the number of components, with its answer ringed.

    Parameters
    ----------
    found : HowMany
        From `how_many`. Bars are two standard errors long each way. BIC, ICL and AIC are best where
        they are smallest, LOO and evidence where they are largest.

    Returns
    -------
    matplotlib.figure.Figure
    """
    answers = found.answers
    n_columns = min(COLUMNS, len(answers))
    n_rows = -(-len(answers) // n_columns)
    figure = style.picture(2.9 * n_columns + 0.4, 2.2 * n_rows + 0.7)
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes, (name, own) in zip(grid, answers.items(), strict=False):
        _panel(axes, found, name, own)
    for axes in grid[len(answers) :]:
        axes.set_axis_off()
    said = found.sentences[0] if len(answers) > 1 else "How many clusters?"
    style.headline(figure, fill(said, LETTERS * n_columns))
    return figure


def _panel(axes: Axes, found: HowMany, name: str, own: int | None) -> None:
    """Draw the values of one criterion."""
    values, errors = values_of(name, found.dataset), errors_of(name, found.dataset)
    sizes, heights = values.index.to_numpy(), values.to_numpy()
    wide = np.zeros(len(sizes))
    if errors is not None:
        wide = 2 * errors[values.index].fillna(0.0).to_numpy()
    title = f"{CRITERIA[name].title}: {'no answer' if own is None else own}"
    if name in POSTERIOR:
        shown = sizes <= max(sizes[heights > 0.002], default=1)
        tones = [style.color(0) if k == own else style.BAND for k in sizes[shown]]
        bars = {"ecolor": style.MUTED, "elinewidth": 1.0}
        axes.bar(sizes[shown], heights[shown], 0.8, yerr=wide[shown], color=tones, error_kw=bars)
    else:
        look: dict[str, Any] = {"color": style.color(0), "marker": "o", "markersize": 4}
        axes.errorbar(sizes, heights, wide, **look, linewidth=1.2, elinewidth=1.0)
        at = found.dataset.attrs["least_bic"] if name == "modes" else own
        if at is not None and at in values.index:
            axes.plot(
                at,
                values[at],
                marker="o",
                markersize=11,
                markerfacecolor="none",
                markeredgecolor=style.INK,
                linestyle="none",
            )
    if name == "bootstrap":
        axes.axhline(LEVEL, color=style.MUTED, linewidth=0.8, linestyle="--")
        axes.set_ylim(0, 1)
    label = "smaller is better" if name in INFORMATION else AXES[name]
    under = "clusters K+" if name == "n_clusters" else "components K"
    style.tidy(axes, xlabel=under, ylabel=label, title=title)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    if name == "modes":
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    if name not in POSTERIOR:
        tried = found.dataset["n_components"].to_numpy()
        axes.set_xlim(tried.min() - 0.5, tried.max() + 0.5)
        _frame(axes, name, heights, wide)


def _frame(axes: Axes, name: str, heights: np.ndarray, wide: np.ndarray) -> None:
    """Keep the far worst value from pressing all others together; it leaves the frame."""
    if name not in (*INFORMATION, "loo", "evidence") or len(heights) < 4:
        return
    sign = 1 if name in INFORMATION else -1
    costs = sign * heights
    rest = np.arange(len(costs)) != costs.argmax()
    low, high = (costs - wide)[rest].min(), (costs + wide)[rest].max()
    if costs.max() - high > 2 * (high - low):
        room = 0.15 * max(high - low, 1.0)
        axes.set_ylim(*sorted((sign * (low - room), sign * (high + room))))
