"""Draw docs/_static/faithful.png, the picture of the README: `.venv/bin/python docs/picture.py`."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import bayes_gmm as bg
from bayes_gmm.model.normal import cholesky

COLORS = np.array([[0, 114, 178], [213, 94, 0]]) / 255
INK, MUTED = "#1f2933", "#616e7c"
CIRCLE = np.stack([f(np.linspace(0, 2 * np.pi, 200)) for f in (np.cos, np.sin)])
RADIUS = 2.0  # an ellipse of two standard deviations holds 86% of a component


def ellipse(ax, mean, covariance, **style):
    """Draw a component at two standard deviations."""
    ax.plot(*(mean[:, None] + RADIUS * cholesky(covariance) @ CIRCLE), **style)


def quiet(ax, title, xlabel="", ylabel=""):
    """Give an axes its labels and little else."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=MUTED, labelsize=9)
    ax.set_title(title, loc="left", fontsize=11, color=INK)
    ax.set_xlabel(xlabel, color=MUTED)
    ax.set_ylabel(ylabel, color=MUTED)


def mixture_panel(ax, mle, posterior):
    """Draw the rows, the fit, and some draws of the posterior."""
    rows = mle["observed_data"]["x"].to_numpy()
    shares = bg.predict(mle)["responsibilities"].to_numpy()
    ax.scatter(*rows.T, c=np.clip(shares @ COLORS, 0, 1), s=14, alpha=0.8, linewidths=0)
    draws = posterior["posterior"].to_dataset().stack(sample=("chain", "draw"))
    for i in np.linspace(0, draws.sizes["sample"] - 1, 60).astype(int):
        one = draws.isel(sample=i)
        for k, color in enumerate(COLORS):
            mean, covariance = one["means"].to_numpy()[k], one["covariances"].to_numpy()[k]
            ellipse(ax, mean, covariance, color=color, alpha=0.1, linewidth=0.8)
    theta = bg.point_estimate(mle)
    for k, color in enumerate(COLORS):
        ellipse(ax, theta.means[k], theta.covariances[k], color=color, linewidth=2)
        ax.plot(*theta.means[k], "+", color=color, markersize=9, markeredgewidth=2)
    quiet(
        ax, "Old Faithful: the fit, and what else is plausible", "eruption (min)", "waiting (min)"
    )


def parameter_panel(ax, draws, points, title, xlabel):
    """Draw the posterior of one number, its interval, and the estimates."""
    ax.hist(draws.ravel(), bins=50, density=True, color="#9aa5b1", alpha=0.55)
    lower, upper = np.quantile(draws, [0.025, 0.975])
    ax.plot([lower, upper], [0, 0], color=INK, linewidth=3, solid_capstyle="butt", clip_on=False)
    top = ax.get_ylim()[1]
    for (name, value), style in zip(points.items(), ("-", ":"), strict=True):
        ax.plot([value, value], [0, 0.92 * top], style, color=INK, linewidth=1.5, label=name)
    quiet(ax, title, xlabel)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def main():
    """Fit, sample, draw, save."""
    data = bg.datasets.load("faithful")
    fits = {"MLE": bg.fit(data, 2, seed=1), "MAP": bg.fit(data, 2, prior="default", seed=1)}
    posterior = bg.sample(data, 2, seed=1, progressbar=False)
    draws = posterior["posterior"]
    points = {name: bg.point_estimate(fit) for name, fit in fits.items()}

    fig = plt.figure(figsize=(10, 4.6), dpi=160, layout="constrained")
    grid = fig.add_gridspec(3, 2, width_ratios=[1.55, 1])
    mixture_panel(fig.add_subplot(grid[:, 0]), fits["MLE"], posterior)
    weight = fig.add_subplot(grid[0, 1])
    parameter_panel(
        weight,
        draws["weights"].to_numpy()[..., 0],
        {name: theta.weights[0] for name, theta in points.items()},
        "share of short eruptions",
        "",
    )
    weight.legend(frameon=False, fontsize=9, labelcolor=INK)
    parameter_panel(
        fig.add_subplot(grid[1, 1]),
        draws["means"].to_numpy()[..., 1, 1] - draws["means"].to_numpy()[..., 0, 1],
        {name: theta.means[1, 1] - theta.means[0, 1] for name, theta in points.items()},
        "extra wait after a long eruption (min)",
        "",
    )
    covariances = draws["covariances"].to_numpy()[..., 0, :, :]
    parameter_panel(
        fig.add_subplot(grid[2, 1]),
        correlation(covariances),
        {name: correlation(theta.covariances[0]) for name, theta in points.items()},
        "correlation within short eruptions",
        "",
    )
    path = Path(__file__).parent / "_static" / "faithful.png"
    fig.savefig(path)
    print(path)


def correlation(covariance):
    """Correlation of two features from their covariance."""
    return covariance[..., 0, 1] / np.sqrt(covariance[..., 0, 0] * covariance[..., 1, 1])


if __name__ == "__main__":
    main()
