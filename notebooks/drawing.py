"""The few pictures that the notebooks share: ellipses of components, and rows colored by share."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.parameters import Parameters

CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 200)) for f in (np.cos, np.sin)])
COLORS = plt.rcParams["axes.prop_cycle"].by_key()["color"]
DATA = "#777777"


def ellipse(ax: Axes, mean, covariance, radius: float = 1.0, **style) -> None:
    """Draw the points at Mahalanobis distance `radius` from the mean: mu + radius L (cos, sin)."""
    x, y = np.asarray(mean)[:, None] + radius * cholesky(np.asarray(covariance)) @ CIRCLE
    ax.plot(x, y, **style)


def components(ax: Axes, theta: Parameters, radii=(1.0, 2.0), **style) -> None:
    """Draw each component as ellipses at one and two standard deviations, and its mean."""
    for k in range(theta.n_components):
        for radius in radii:
            look = {"color": COLORS[k], "alpha": 1 if radius == min(radii) else 0.55} | style
            ellipse(ax, theta.means[k], theta.covariances[k], radius, **look)
        ax.plot(*theta.means[k], "+", color=COLORS[k], markersize=9, markeredgewidth=2)


def rows(ax: Axes, x, shares=None, *, size: float = 14) -> None:
    """Scatter the rows: gray, or in the colors of the components mixed by responsibility."""
    color = DATA if shares is None else np.clip(shares @ rgb(shares.shape[1]), 0, 1)
    ax.scatter(*np.asarray(x).T, c=color, s=size, alpha=0.75, linewidths=0)


def rgb(n: int) -> np.ndarray:
    """Give the colors of the first n components as an (n, 3) array."""
    return np.array([plt.matplotlib.colors.to_rgb(color) for color in COLORS[:n]])


def name_axes(ax: Axes, title: str = "") -> None:
    """Label the axes of a picture of Old Faithful."""
    ax.set(xlabel="eruption (min)", ylabel="waiting (min)", title=title)
