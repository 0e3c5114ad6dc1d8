"""Point estimates on top of the posterior, one small panel per parameter.

Clusters are columns, quantities are rows. Each panel has its own axis, in the units of its
parameter and as wide as its posterior: what is read is where an estimate lies among the draws.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayes_gmm.plots import style
from bayes_gmm.posterior.draws import Scalar, catalogue, flatten
from bayes_gmm.results.compare import compare
from bayes_gmm.results.given import known_number
from bayes_gmm.results.reading import draws_of, feature_names

MOST_ROWS = 30
KINDS = ("weight", "mean", "sd", "correlation")
OUTER = (0.001, 0.999)
REACH = 1.5  # how many widths of the draws an axis is stretched to include an estimate


def comparison(point: Any, posterior: xr.DataTree, *, ci_prob: float = 0.95) -> Figure:
    """Draw the posterior of every weight, mean, sd and correlation with the estimates marked.

    Parameters
    ----------
    point : DataTree, Parameters, or a sequence or mapping of them
        As in `compare`; components are matched to those of the posterior.
    posterior : DataTree
        From `sample`.
    ci_prob : float
        Probability of the bars, equal-tailed.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the results belong to different data, or have different numbers of components.
    """
    posterior = known_number(posterior)
    table = compare(point, posterior, ci_prob=ci_prob).dataset
    draws = draws_of(posterior)
    n_components = draws.weights.shape[2]
    scalars = catalogue(n_components, feature_names(posterior))
    values = flatten(*draws).reshape(-1, len(scalars))
    rows, note = _rows(scalars, table)
    estimators = [str(name) for name in table["estimator"].to_numpy()]

    labels = [_label(scalars[next(iter(row.values()))]) for row in rows]
    beside = 0.4 + 0.075 * max(len(line) for label in labels for line in label.split("\n"))
    figure = style.picture(max(6.0, beside + 2.1 * n_components), 1.3 + 0.62 * len(rows))
    grid = figure.subplots(len(rows), n_components, squeeze=False)
    for i, row in enumerate(rows):
        for k in range(n_components):
            axes = grid[i, k]
            place = row.get(k)
            if place is None:
                axes.remove()
                continue
            entry = table.isel(parameter=place)
            _panel(axes, values[:, place], entry, style.color(k))
        grid[i, 0].set_ylabel(
            labels[i],
            rotation=0,
            ha="right",
            va="center",
            fontsize=style.SMALL,
            color=style.INK,
            labelpad=8,
        )
    for k in range(n_components):
        grid[0, k].set_title(
            f"cluster {k}", fontsize=style.TEXT, color=style.color(k), fontweight="bold"
        )
    handles = [
        Patch(color=style.BAND, alpha=0.5, label="posterior"),
        Line2D([], [], color=style.MUTED, linewidth=3, label=f"its {ci_prob:.0%} interval"),
        *(
            Line2D([], [], **style.estimator_mark(e), label=name)
            for e, name in enumerate(estimators)
        ),
    ]
    style.key(figure, handles, columns=6)
    style.headline(figure, f"{' and '.join(estimators)} against the posterior", note)
    return figure


def _rows(scalars: Sequence[Scalar], table: xr.Dataset) -> tuple[list[dict[int, int]], str]:
    """Group the scalars by what they are: each row maps clusters to places in the catalogue."""
    rows: dict[tuple, dict[int, int]] = {}
    for place, scalar in enumerate(scalars):
        if scalar.kind in KINDS:
            quantity = (scalar.kind, scalar.feature, scalar.feature_bis)
            rows.setdefault(quantity, {})[scalar.cluster] = place
    listed = list(rows.values())
    if len(listed) <= MOST_ROWS:
        return listed, ""
    z = np.nan_to_num(np.abs(table["z"].to_numpy()).max(axis=0))
    surprise = np.array([max(z[place] for place in row.values()) for row in listed])
    chosen = np.sort(np.argsort(-surprise, kind="stable")[:MOST_ROWS])
    note = f"the {MOST_ROWS} of {len(listed)} quantities with an estimate farthest from the mean"
    return [listed[i] for i in chosen], note


def _label(scalar: Scalar) -> str:
    if scalar.kind == "weight":
        return "weight"
    if scalar.kind == "correlation":
        return f"correlation\n{style.short(scalar.feature)}, {style.short(scalar.feature_bis)}"
    return f"{scalar.kind}\n{style.short(scalar.feature)}"


def _panel(axes: Axes, values: np.ndarray, entry: xr.Dataset, shade: str) -> None:
    style.tidy(axes, grid="x", ticks=4, heights=False)
    axes.tick_params(labelsize=style.SMALL - 1)
    x, height = density(values)
    axes.fill_between(x, height, color=shade, alpha=0.28, linewidth=0)
    axes.plot(x, height, color=shade, linewidth=1)
    axes.axhline(0, color=style.LINES, linewidth=0.8)
    axes.plot(
        [entry["lower"], entry["upper"]], [0, 0], color=shade, linewidth=3.2, solid_capstyle="butt"
    )
    estimates = entry["estimate"].to_numpy()
    low, high = window(values, estimates)
    for position, estimate in enumerate(estimates):
        mark = style.estimator_mark(position)
        outside = not low <= estimate <= high
        if outside:
            mark |= {"marker": ">" if estimate > high else "<"}
        place = float(np.clip(estimate, low, high))
        axes.plot(place, style.estimator_height(position), **mark, clip_on=False, zorder=4)
        if outside:
            axes.annotate(
                f"{estimate:.4g}",
                (place, 0.3),
                ha="right" if estimate > high else "left",
                fontsize=style.SMALL - 1,
                color=style.MUTED,
            )
    axes.set_xlim(low, high)
    axes.set_ylim(-0.28, 1.08)


def density(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the density of draws (S,), scaled to a peak of one: x, height (100,)."""
    center, spread = values.mean(), values.std()
    if not spread > 0 or np.ptp(values) <= 0:
        return np.empty(0), np.empty(0)
    grid, height, _ = array_stats.kde((values - center) / spread, grid_len=100)
    return center + spread * grid, height / height.max()


def window(values: np.ndarray, estimates: np.ndarray) -> tuple[float, float]:
    """Ends of an axis that shows the draws, and the estimates unless they are far away.

    Shapes: values (S,), estimates (E,).
    """
    low, high = np.quantile(values, OUTER)
    width = high - low
    if width <= 0:
        width = abs(low) or 1.0
    near = estimates[(estimates > low - REACH * width) & (estimates < high + REACH * width)]
    low, high = min(low, *near, low), max(high, *near, high)
    margin = 0.06 * (high - low or width)
    return float(low - margin), float(high + margin)
