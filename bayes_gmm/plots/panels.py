"""The two panels that pictures of a mixture are composed of: one feature, and two features."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy.stats import chi2

from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.plots import style
from bayes_gmm.plots.subject import Subject

ELLIPSES = (0.5, 0.95)
REGIONS = (0.95, 0.8, 0.5)
SHADES = ("#f0f3f6", "#e1e7ed", "#cfd8e1")
FAINT_DRAWS = 30
BAND = (0.025, 0.975)
MOST_BINS = 60


def one_feature(axes: Axes, subject: Subject, *, width: float = 2.8) -> None:
    """Draw a histogram under the components, the mixture and, of a posterior, its 95% band."""
    low, high = subject.limits()[0]
    if subject.rows is not None:
        histogram(axes, subject, "#dde3e9")
    grid = fine_grid(subject.point, low, high)
    densities = subject.component_densities(grid[:, None])
    total = densities.sum(axis=2)
    if subject.draws:
        lower, upper = np.quantile(total, BAND, axis=0)
        axes.fill_between(grid, lower, upper, color=style.INK, alpha=0.16, linewidth=0)
    # Where a component is nearly all of the mixture, the wider line of the mixture shows beside it.
    axes.plot(grid, total.mean(axis=0), color=style.INK, linewidth=width)
    for k in range(subject.point.n_components):
        axes.plot(grid, densities[..., k].mean(axis=0), color=style.color(k), linewidth=width / 2)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom=0)


def histogram(axes: Axes, subject: Subject, color: str) -> None:
    """Draw the density of the rows of one feature."""
    assert subject.rows is not None
    values, (low, high) = subject.rows[:, 0], subject.limits()[0]
    bins = bin_edges(values) if np.ptp(values) > 0 else np.linspace(low, high, 21)
    axes.hist(
        values,
        bins=bins,  # type: ignore[arg-type]
        weights=subject.times,
        density=True,
        color=color,
        edgecolor="white",
        linewidth=0.6,
    )


def two_features(axes: Axes, subject: Subject, *, contours: bool = True, dot: float = 16) -> None:
    """Draw the rows, each component's 50% and 95% ellipse, and regions of highest density."""
    limits = subject.limits()
    if contours:
        _regions(axes, subject, limits)
    _dots(axes, subject, dot)
    step = -(-len(subject.draws) // FAINT_DRAWS) or 1
    clusters = range(subject.point.n_components)
    for k in clusters:
        outer = [ellipse(theta, k, ELLIPSES[-1], 60) for theta in subject.draws[::step]]
        shade = style.color(k)
        faint = LineCollection(outer, colors=shade, linewidths=0.5, alpha=0.22, rasterized=True)
        axes.add_collection(faint)
    for k in clusters:
        shade = style.color(k)
        for level, width in zip(ELLIPSES, (1.1, 1.7), strict=True):
            axes.plot(*ellipse(subject.point, k, level).T, color=shade, linewidth=width)
        axes.plot(
            *subject.point.means[k],
            marker="+",
            markersize=8,
            markeredgewidth=1.8,
            color=style.blend(shade, "black", 0.6),
        )
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])


def ellipse(theta: Parameters, k: int, probability: float, n: int = 120) -> np.ndarray:
    r"""Trace the ellipse that holds a share of component k, (n, 2).

    .. math:: (x - \mu)^\top \Sigma^{-1} (x - \mu) = \chi^2_{2, p}

    Shapes: -> (n, 2).
    """
    angle = np.linspace(0, 2 * np.pi, n)
    circle = np.sqrt(chi2.ppf(probability, 2)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return theta.means[k] + circle @ theta.choleskys[k].T


def _dots(axes: Axes, subject: Subject, size: float) -> None:
    """Each row in the color of its likeliest cluster, the grayer the less sure."""
    if subject.dots is None or subject.shares is None:
        return
    label = subject.shares.argmax(axis=1)
    n_components = subject.shares.shape[1]
    for k in range(n_components):
        mine = label == k
        chance = 1 / n_components if n_components > 1 else 0.0
        certainty = (subject.shares[mine, k] - chance) / (1 - chance)
        axes.scatter(
            subject.dots[mine, 0],
            subject.dots[mine, 1],
            s=size,
            c=[style.blend(style.color(k), "#7b8794", share) for share in certainty],
            marker=style.marker(k),
            alpha=0.65,
            linewidths=0,
            rasterized=len(subject.dots) > 1000,
        )


def _regions(axes: Axes, subject: Subject, limits: np.ndarray) -> None:
    """Shade the smallest regions that hold given shares of the mixture."""
    n_grid, n_sampled, most_draws = 140, 4000, 50
    x, y = (np.linspace(low, high, n_grid) for low, high in limits)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    density = subject.log_density(grid, most_draws).reshape(n_grid, n_grid)
    rng = np.random.default_rng(0)
    each = -(-n_sampled // len(subject.mixtures))
    sampled = np.concatenate([mixture.sample(theta, each, rng)[0] for theta in subject.mixtures])
    at_sampled = subject.log_density(sampled, most_draws)
    levels = np.quantile(at_sampled, [1 - share for share in REGIONS])
    peak = max(float(density.max()), float(at_sampled.max())) + 1
    axes.contourf(x, y, density, levels=[*levels, peak], colors=SHADES)


def fine_grid(theta: Parameters, low: float, high: float) -> np.ndarray:
    """Points along the axis, close together where a component is narrow."""
    spread = np.linspace(-4, 4, 41)
    deviations = np.sqrt(theta.covariances[:, 0, 0])
    near = (theta.means + deviations[:, None] * spread).ravel()
    near = near[(near > low) & (near < high)]
    return np.unique(np.concatenate([np.linspace(low, high, 160), near]))


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Bins by the rule of Freedman and Diaconis, within limits that show something."""
    fewest = 20 if len(values) >= 50 else 8
    quartiles = np.quantile(values, [0.25, 0.75])
    width = 2 * (quartiles[1] - quartiles[0]) / len(values) ** (1 / 3)
    span = float(np.ptp(values))
    wanted = span / width if width > 0 else MOST_BINS
    return np.linspace(values.min(), values.max(), int(np.clip(wanted, fewest, MOST_BINS)) + 1)
