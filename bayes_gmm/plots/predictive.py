"""What the next row will look like: the predictive density of each feature over the data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.plots import panels, style
from bayes_gmm.plots.subject import Subject, marginal_of
from bayes_gmm.posterior.predictive import density_band, tails
from bayes_gmm.results.predictive import mixtures
from bayes_gmm.results.reading import is_posterior

MOST_FEATURES = 12
MOST_COLUMNS = 4
BAND = style.PALETTE[0]


def predictive(
    result: xr.DataTree | Parameters,
    X: Any = None,
    features: Sequence[str] | None = None,
    *,
    ci_prob: float = 0.95,
) -> Figure:
    """Draw the predictive density of each feature over a histogram of the data.

    It is label-invariant: unlike `mixture` it shows no components. For a posterior the line is the
    average over the draws, which integrates to one, and the band contains the density with
    probability `ci_prob`, pointwise.

    Parameters
    ----------
    result : DataTree or Parameters
        From `fit` or `sample`, or bare parameters.
    X : table, optional
        Rows to show instead of those of the result.
    features : sequence of str, optional
        Which features to show; all, or the `MOST_FEATURES` that separate the components most.
    ci_prob : float

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If X does not match the result, or there is no such feature.
    """
    probabilities = tails(ci_prob) if is_posterior(result) else ()
    subject = Subject.of(result, X)
    columns, note = subject.chosen(features, MOST_FEATURES)
    averaged = mixtures(result)
    n_lines = -(-len(columns) // MOST_COLUMNS)
    n_columns = -(-len(columns) // n_lines)
    size = (6.4, 3.9) if len(columns) == 1 else (2.9 * n_columns, 2.4 * n_lines + 0.7)
    figure = style.picture(*size)
    grid = figure.subplots(n_lines, n_columns, squeeze=False).ravel()
    for axes, column in zip(grid, columns, strict=False):
        one = subject.marginal([column])
        ensemble = Ensemble.of([marginal_of(theta, [column]) for theta in averaged])
        _panel(axes, one, ensemble, probabilities)
    for axes in grid[len(columns) :]:
        axes.remove()
    handles: list[Any] = [Line2D([], [], color=style.INK, label="predictive density")]
    if probabilities:
        handles.append(Patch(color=BAND, alpha=0.35, label=f"{ci_prob:.0%} credible band"))
    if subject.rows is not None:
        handles.append(Patch(color=style.LINES, label=f"{len(subject.rows):,} rows"))
    style.key(figure, handles)
    name = "Posterior predictive density" if probabilities else "Density"
    style.headline(figure, name, note)
    return figure


def _panel(
    axes: Axes, subject: Subject, ensemble: Ensemble, probabilities: tuple[float, ...]
) -> None:
    """Draw one feature: the histogram, the band, and the density."""
    name = style.short(subject.features[0])
    style.tidy(axes, xlabel=name, grid=None, ticks=4, heights=False)
    low, high = subject.limits()[0]
    if subject.rows is not None:
        panels.histogram(axes, subject, style.LINES)
    grid = panels.fine_grid(subject.point, low, high)
    curves = [np.exp(v) for v in density_band(ensemble, grid[:, None], probabilities).values()]
    if probabilities:
        axes.fill_between(grid, curves[1], curves[2], color=BAND, alpha=0.35, linewidth=0)
    axes.plot(grid, curves[0], color=style.INK, linewidth=1.8)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)
