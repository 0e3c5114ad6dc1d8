"""What a prior says before any row is seen: mixtures drawn from it, each beside the data."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.model import mixture
from bayes_gmm.model.number_of_components import NumberOfComponents
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.plots import panels, style
from bayes_gmm.plots.number_of_components import clusters
from bayes_gmm.plots.subject import Subject
from bayes_gmm.seeds import Seed, as_seed

MOST_DOTS = 250
MIXTURES, PARTITIONS = 8, 24  # drawn by default
OUTER = (0.1, 0.9)  # where the limits of the axes lie among the draws' components


class Drawable(Protocol):
    """A prior that mixtures can be drawn from."""

    n_features: int

    def sample(self, rng: np.random.Generator) -> Parameters:
        """Return one draw."""


def prior(
    prior: Drawable | NumberOfComponents,
    X: Any = None,
    features: Sequence[str] | None = None,
    *,
    n_rows: int | None = None,
    draws: int | None = None,
    seed: Seed = 0,
) -> Figure:
    """Draw mixtures from a prior, next to the data; or the clusters that a prior of K expects.

    Each panel is a mixture drawn from the prior, with as many rows simulated from it as are shown
    of the data, which are in gray. If the data look like no panel, the prior contradicts them; if
    they fill only a small corner of every panel, the prior is vague.

    Of a `NumberOfComponents` the left panel has the prior of K and of the number of clusters of N
    rows, K+, and the right one partitions of N rows that are drawn from it.

    Parameters
    ----------
    prior : ConjugatePrior, IndependentPrior, HierarchicalPrior, SemiconjugatePrior or \
            NumberOfComponents
    X : table (N, D)
        Of a `NumberOfComponents` only N is read.
    features : str or sequence of str, optional
        One feature, for density curves, or two; by default the first two.
    n_rows : int
        N in the place of X, for a `NumberOfComponents`.
    draws : int, optional
        Number of panels, 8 by default, or of partitions, 24 by default.
    seed : int, SeedSequence or Generator

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the prior cannot be sampled or is for another number of features, the features are not
        one or two of those of X, or X and `n_rows` are missing.
    """
    if draws is not None:
        require_whole("draws", draws, 1)
    if isinstance(prior, NumberOfComponents):
        if (X is None) == (n_rows is None) or features is not None:
            raise InputError("a NumberOfComponents is drawn for X or for n_rows, without features")
        if n_rows is None:
            n_rows = Observations.of(X).n_rows
        require_whole("n_rows", n_rows, 1)
        return clusters(prior, n_rows, draws or PARTITIONS, as_seed(seed))
    if n_rows is not None or X is None:
        raise InputError("n_rows is for a NumberOfComponents; other priors are drawn beside X")
    if not hasattr(prior, "sample"):
        raise InputError(
            "prior cannot be sampled here: give a ConjugatePrior, an IndependentPrior, a "
            "HierarchicalPrior, a SemiconjugatePrior or a NumberOfComponents, and use "
            "pymc.sample_prior_predictive for a function"
        )
    draws = draws or MIXTURES
    observations = Observations.of(X)
    if prior.n_features != observations.n_features:
        raise InputError(
            f"prior is for {prior.n_features} features, but X has {observations.n_features}"
        )
    rng = np.random.default_rng(as_seed(seed))
    drawn = [prior.sample(rng) for _ in range(draws)]
    rows = np.asarray(observations.values, dtype=float)
    subjects = [
        Subject("prior", observations.feature_names, theta, [], None, None, None) for theta in drawn
    ]
    columns = _choose(subjects[0], features)
    subjects = [subject.marginal(columns) for subject in subjects]
    rows = rows[:, columns]
    limits = _limits(rows, subjects)

    across = min(draws, 3 if draws % 4 and not draws % 3 else 4)
    down = -(-draws // across)
    figure = style.picture(2.1 * across + 0.4, 2.0 * down + 0.9)
    grid = figure.subplots(down, across, sharex=True, sharey=len(columns) == 2, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= draws:
            axes.remove()
            continue
        bottom, left = place + across >= draws, place % across == 0
        names = [style.short(name, 22) for name in subjects[0].features]
        style.tidy(axes, xlabel=names[0] if bottom else "", ticks=4, grid=None)
        axes.tick_params(labelbottom=bottom)
        if len(columns) == 1:
            _curve(axes, rows[:, 0], subjects[place], limits[0])
        else:
            _plane(axes, rows, subjects[place], limits, rng)
            axes.set_ylabel(names[1] if left else "", fontsize=style.TEXT, color=style.INK)
    style.headline(
        figure,
        f"{type(prior).__name__}: {draws} mixtures drawn from it, with the data in gray",
        "components far outside are cut off",
    )
    style.key(figure, _handles(len(columns)))
    return figure


def _choose(subject: Subject, features: Sequence[str] | None) -> list[int]:
    if features is None:
        return list(range(min(len(subject.features), 2)))
    columns = subject.columns([features] if isinstance(features, str) else list(features))
    if len(columns) not in (1, 2):
        raise InputError(f"features: name one or two; got {len(columns)}")
    return columns


def _limits(rows: np.ndarray, subjects: list[Subject]) -> np.ndarray:
    """Ends of the axes, (D, 2): all of the data, and most components of most draws."""
    means = np.concatenate([subject.point.means for subject in subjects])
    covariances = np.concatenate([subject.point.covariances for subject in subjects])
    reach = 2 * np.sqrt(np.einsum("kjj->kj", covariances))
    low = np.minimum(np.quantile(means - reach, OUTER[0], axis=0), rows.min(axis=0))
    high = np.maximum(np.quantile(means + reach, OUTER[1], axis=0), rows.max(axis=0))
    margin = 0.04 * (high - low)
    return np.stack([low - margin, high + margin], axis=1)


def _curve(axes: Axes, values: np.ndarray, subject: Subject, limits: np.ndarray) -> None:
    """One feature: the data as a histogram, the mixture and its components as curves."""
    axes.hist(values, bins=20, density=True, color=style.BAND, alpha=0.6, linewidth=0)
    deviations = np.sqrt(subject.point.covariances[:, 0, 0])
    near = subject.point.means + deviations[:, None] * np.linspace(-4, 4, 61)
    x = np.unique(np.clip(np.append(near.ravel(), np.linspace(limits[0], limits[1], 200)), *limits))
    densities = subject.component_densities(x[:, None])[0]
    axes.plot(x, densities.sum(axis=1), color=style.INK, linewidth=2.2)
    for k in range(subject.point.n_components):
        axes.plot(x, densities[:, k], color=style.color(k), linewidth=1.2)
    axes.set_xlim(*limits)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _plane(
    axes: Axes,
    rows: np.ndarray,
    subject: Subject,
    limits: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Two features: the data in gray, rows drawn from the mixture in color, 95% ellipses."""
    n = min(len(rows), MOST_DOTS)
    shown = rows[np.linspace(0, len(rows) - 1, n).round().astype(int)]
    axes.scatter(shown[:, 0], shown[:, 1], s=5, color=style.BAND, linewidths=0)
    x, z = mixture.sample(subject.point, n, rng)
    for k in range(subject.point.n_components):
        mine = x[z == k]
        axes.scatter(mine[:, 0], mine[:, 1], s=5, color=style.color(k), alpha=0.6, linewidths=0)
        outline = panels.ellipse(subject.point, k, panels.ELLIPSES[-1])
        axes.plot(*outline.T, color=style.color(k), linewidth=1.2)
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])


def _handles(n_columns: int) -> list[Artist]:
    def line(color: str, label: str, **look: Any) -> Line2D:
        return Line2D([], [], color=color, label=label, **look)

    if n_columns == 1:
        return [
            line(style.BAND, "data", linewidth=5),
            line(style.INK, "mixture", linewidth=2.2),
            line(style.color(0), "a component times its weight", linewidth=1.2),
        ]
    dot = {"marker": "o", "markersize": 4, "linestyle": "none"}
    return [
        line(style.BAND, "data", **dot),
        line(style.color(0), "rows drawn from a component", **dot),
        line(style.color(0), "95% of a component", linewidth=1.2),
    ]
