"""Does the model make data like the data? Densities above, p-values of statistics below."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bayes_gmm.plots import style
from bayes_gmm.results.checks import LEVEL, Check

MOST_FEATURES = 5
MOST_PAIRS = 15
SURPRISE = style.PALETTE[1]


def checks(result: Check) -> Figure:
    """Draw each feature's density against those of replicates, and the p-value of each statistic.

    Parameters
    ----------
    result : Check
        From `check`. If there are many features, those with the smallest p-values are shown.

    Returns
    -------
    matplotlib.figure.Figure
    """
    tree = result.tree
    features, note = _choose(tree)
    columns = len(features) + ("correlations" in tree.children)
    widths = [1.0] * len(features) + [0.85] * (columns - len(features))
    rows = tree["statistics"].sizes["statistic"]
    if "correlations" in tree.children:
        rows = max(rows, min(tree["correlations"].sizes["pair"], MOST_PAIRS))
    lower = 0.5 + 0.19 * rows
    figure = style.picture(_labels_width(tree) + max(4.4, 2.0 * sum(widths)), 3.0 + lower)
    grid = figure.subplots(
        2,
        columns,
        squeeze=False,
        gridspec_kw={"width_ratios": widths, "height_ratios": [2.0, lower]},
    )
    for column, feature in enumerate(features):
        _density(grid[0, column], tree["density"].to_dataset().sel(feature=feature))
        grid[0, column].set_xlabel(style.short(feature), fontsize=style.TEXT, color=style.INK)
        of_feature = tree["statistics"].to_dataset().sel(feature=feature)
        names = [str(name) for name in of_feature["statistic"].to_numpy()]
        _p_values(grid[1, column], names if column == 0 else None, of_feature, tree)
    if "correlations" in tree.children:
        pairs = tree["correlations"].to_dataset()
        order = np.sort(np.argsort(pairs["p_value"].to_numpy(), kind="stable")[:MOST_PAIRS])
        pairs = pairs.isel(pair=order)
        labels = _pair_labels(tree)
        _p_values(grid[1, -1], [labels[place] for place in order], pairs, tree)
        grid[1, -1].set_title("correlations", fontsize=style.TEXT, color=style.INK, loc="left")
    if "correlations" in tree.children:
        style.key_in(grid[0, -1], _handles(result))
    else:
        style.key(figure, _handles(result), columns=2)
    style.headline(figure, f"{tree.attrs['n_replicates']} replicates against the data", note)
    return figure


def _handles(result: Check) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], color=SURPRISE, linewidth=1.8, label="the data"),
        Patch(color=style.BAND, alpha=0.5, label=f"{result.tree.attrs['band']:.0%} of replicates"),
        Line2D([], [], **_dot(False), label="p-value of a statistic"),
        Patch(
            color=style.LINES, alpha=0.5, label=f"below {LEVEL:g}: by chance, 1 in {1 / LEVEL:g}"
        ),
    ]
    if not result.ok:
        handles.append(Line2D([], [], **_dot(True), label="surprising among so many"))
    return handles


def _labels_width(tree: xr.DataTree) -> float:
    """Inches that the names beside the p-values take."""
    names = [str(name) for name in tree["statistics"]["statistic"].to_numpy()]
    longest = max(map(len, names))
    if "correlations" in tree.children:
        longest += max(map(len, _pair_labels(tree)))
    return 0.3 + 0.075 * longest


def _pair_labels(tree: xr.DataTree) -> list[str]:
    """Names of the pairs of features, in the order of the correlations, each cut if it is long."""
    features = [style.short(str(name), 20) for name in tree["statistics"]["feature"].to_numpy()]
    return [f"{features[i]}, {features[j]}" for i in range(len(features)) for j in range(i)]


def _choose(tree: xr.DataTree) -> tuple[list[str], str]:
    """All features, or those with the smallest p-values."""
    statistics = tree["statistics"].to_dataset()
    features = [str(name) for name in statistics["feature"].to_numpy()]
    if len(features) <= MOST_FEATURES:
        return features, ""
    smallest = statistics["p_value"].min("statistic").to_numpy()
    chosen = np.sort(np.argsort(smallest, kind="stable")[:MOST_FEATURES])
    note = f"the {MOST_FEATURES} of {len(features)} features with the smallest p-values"
    return [features[j] for j in chosen], note


def _density(axes: Axes, curves: xr.Dataset) -> None:
    style.tidy(axes, grid=None, ticks=4, heights=False)
    axes.fill_between(
        curves["x"], curves["lower"], curves["upper"], color=style.BAND, alpha=0.5, linewidth=0
    )
    axes.plot(curves["x"], curves["mean"], color=style.MUTED, linewidth=1)
    axes.plot(curves["x"], curves["observed"], color=SURPRISE, linewidth=1.8)
    axes.set_ylim(bottom=0)


def _p_values(axes: Axes, names: list[str] | None, compared: xr.Dataset, tree: xr.DataTree) -> None:
    smallest = 1 / (tree.attrs["n_replicates"] + 1)
    p = np.clip(compared["p_value"].to_numpy(), smallest, 1)
    surprising = compared["adjusted_p_value"].to_numpy() < LEVEL
    places = np.arange(len(p))[::-1]
    style.tidy(axes, xlabel="p-value", grid=None)
    axes.set_xscale("log")
    axes.axvspan(smallest / 2, LEVEL, color=style.LINES, alpha=0.5, linewidth=0)
    axes.hlines(places, p, 1, color=style.LINES, linewidth=1)
    for value, place, bad in zip(p, places, surprising, strict=True):
        axes.plot(value, place, **_dot(bad), clip_on=False)
    axes.set_xlim(smallest / 1.5, 1)
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(places, names or [""] * len(places))
    axes.tick_params(axis="y", length=0, labelcolor=style.INK)
    axes.set_ylim(-0.7, len(p) - 0.3)


def _dot(surprising: bool) -> dict:
    shade, shape = (SURPRISE, "D") if surprising else (style.PALETTE[0], "o")
    return {"marker": shape, "markersize": 4.5, "color": shade, "linestyle": "none"}
