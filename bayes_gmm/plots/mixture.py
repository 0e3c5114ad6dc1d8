"""A fitted mixture over its data: a density curve, a plane with ellipses, or a grid of planes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayes_gmm.model.parameters import Parameters
from bayes_gmm.plots import panels, style
from bayes_gmm.plots.subject import Subject

MOST_FEATURES = 6


def mixture(
    result: xr.DataTree | Parameters, X: Any = None, features: Sequence[str] | None = None
) -> Figure:
    """Draw a mixture over the rows.

    One feature: a histogram with each component's weighted density and their sum. Two: the rows in
    the color of their cluster, grayer if it is less certain, with ellipses that contain 50% and
    95% of each component, and shaded regions that contain 50%, 80% and 95% of the mixture. More:
    all pairs of features. For a posterior, bands and faint ellipses show its uncertainty.

    Parameters
    ----------
    result : DataTree or Parameters
        From `fit` or `sample`, or bare parameters.
    X : table, optional
        Rows to show instead of those of the result.
    features : sequence of str, optional
        Which features to show; all, or the `MOST_FEATURES` that separate the components most.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If X does not match the result, or there is no such feature.
    """
    subject = Subject.of(result, X)
    columns, note = subject.chosen(features, MOST_FEATURES)
    subject = subject.marginal(columns)
    n_features = len(columns)
    if n_features == 1:
        figure = _curve(subject)
    elif n_features == 2:
        figure = _plane(subject)
    else:
        figure = _grid(subject)
    style.headline(figure, _title(subject), note)
    return figure


def _title(subject: Subject) -> str:
    n_components = subject.point.n_components
    parts = [f"{n_components} component{'s' * (n_components != 1)}"]
    if subject.rows is not None:
        parts.append(f"{len(subject.rows):,} rows")
    if subject.dots is not None and subject.rows is not None:
        hidden = len(subject.rows) > len(subject.dots) and len(subject.features) > 1
        parts += [f"{len(subject.dots):,} of them shown"] if hidden else []
    names = {"posterior": "Posterior of the mixture", "mixture": "Mixture"}
    return f"{names.get(subject.name, f'Mixture by {subject.name}')}: {', '.join(parts)}"


def _curve(subject: Subject) -> Figure:
    figure = style.picture(7.0, 4.0)
    axes = figure.add_subplot()
    style.tidy(axes, xlabel=subject.features[0], ylabel="density", grid="y")
    panels.one_feature(axes, subject)
    if subject.rows is not None and len(subject.rows) <= 300:
        axes.plot(
            subject.rows[:, 0],
            np.zeros(len(subject.rows)),
            marker="|",
            markersize=9,
            linestyle="none",
            color=style.MUTED,
            alpha=0.7,
            clip_on=False,
        )
    handles: list[Artist] = [*_clusters(subject), Line2D([], [], color=style.INK, label="mixture")]
    if subject.draws:
        handles.append(Patch(color=style.INK, alpha=0.18, label="95% credible band"))
    style.key(figure, handles)
    return figure


def _plane(subject: Subject) -> Figure:
    figure = style.picture(6.4, 5.6)
    axes = figure.add_subplot()
    style.tidy(axes, xlabel=subject.features[0], ylabel=subject.features[1])
    panels.two_features(axes, subject)
    handles: list[Artist] = [*_clusters(subject), *_ellipses(subject)]
    handles.append(Patch(color=panels.SHADES[-1], label="50%, 80%, 95% of the mixture"))
    style.key(figure, handles, columns=3)
    return figure


def _grid(subject: Subject) -> Figure:
    n_features = len(subject.features)
    size = max(1.9, 7.6 / n_features)
    figure = style.picture(size * n_features, size * n_features)
    axes = figure.subplots(n_features, n_features, sharex="col", squeeze=False)
    limits = subject.limits()
    names = [style.short(name, int(11 * size)) for name in subject.features]
    for i in range(n_features):
        for j in range(n_features):
            panel = axes[i, j]
            if j > i:
                panel.remove()
                continue
            bottom = names[j] if i == n_features - 1 else ""
            left = names[i] if j == 0 and i > 0 else ""
            style.tidy(panel, xlabel=bottom, ylabel=left, ticks=4, grid=None)
            if i == j:
                panels.one_feature(panel, subject.marginal([i]), width=2.0)
                panel.set_yticks([])
                panel.spines["left"].set_visible(False)
            else:
                panels.two_features(panel, subject.marginal([j, i]), contours=False, dot=9)
                panel.tick_params(labelleft=j == 0)
            panel.tick_params(labelbottom=i == n_features - 1)
            panel.set_xlim(*limits[j])
    figure.align_labels()
    figure.legend(
        handles=[*_clusters(subject), *_ellipses(subject)],
        loc="upper right",
        bbox_to_anchor=(0.99, 0.94),
        fontsize=style.TEXT,
        labelcolor=style.INK,
        frameon=False,
    )
    return figure


def _clusters(subject: Subject) -> list[Line2D]:
    weights = np.stack([theta.weights for theta in subject.mixtures])
    sd = weights.std(axis=0)
    handles = []
    for k, weight in enumerate(weights.mean(axis=0)):
        spread = f" ± {sd[k]:.2f}" if subject.draws else ""
        handles.append(
            Line2D(
                [],
                [],
                color=style.color(k),
                marker=style.marker(k),
                markersize=5,
                label=f"cluster {k}: weight {weight:.2f}{spread}",
            )
        )
    return handles


def _ellipses(subject: Subject) -> list[Line2D]:
    handles = [Line2D([], [], color=style.MUTED, linewidth=1.6, label="50% and 95% of a component")]
    if subject.draws:
        handles.append(
            Line2D([], [], color=style.MUTED, linewidth=0.6, alpha=0.6, label="95% in other draws")
        )
    return handles
