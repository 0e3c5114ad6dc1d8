"""Do the chains agree? Traces, and ranks of each chain's draws among all draws.

If the chains sample one distribution, the ranks of each are uniform, and the difference between
their cumulative share and that of a uniform distribution stays near zero (Vehtari et al., 2021;
Sailynoja et al., 2022). The band is Kolmogorov's, at each chain's own effective sample size.
"""

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import kstwobign, rankdata

from bayes_gmm.plots import style
from bayes_gmm.posterior.convergence import convergence
from bayes_gmm.posterior.draws import catalogue, flatten
from bayes_gmm.results.reading import draws_of, feature_names, invariants, read_number

MOST_ROWS = 6
MOST_POINTS = 400  # of a trace
FIRST = "log_likelihood"
BAND = 0.99


def ranks(posterior: xr.DataTree) -> Figure:
    """Draw traces and rank plots of the log-likelihood and of the quantities that mix worst.

    Parameters
    ----------
    posterior : DataTree
        From `sample`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If `posterior` is not a posterior result.
    """
    names, values = _quantities(posterior)
    found = convergence(values)
    chosen = _worst(names, found.rhat)
    n_chains = values.shape[0]
    shades = [colormaps["viridis"](share) for share in np.linspace(0.05, 0.85, n_chains)]

    figure = style.picture(7.8, 1.1 + 1.05 * len(chosen))
    grid = figure.subplots(
        len(chosen), 2, squeeze=False, sharex="col", gridspec_kw={"width_ratios": [1.6, 1]}
    )
    for (left, right), place in zip(grid, chosen, strict=True):
        last = place == chosen[-1]
        style.tidy(left, xlabel="draw" if last else "", grid="y", ticks=3)
        style.tidy(right, xlabel="relative rank among all draws" if last else "", grid="y", ticks=4)
        _trace(left, values[..., place], shades)
        _rank_difference(right, values[..., place], shades)
        left.set_title(names[place], fontsize=style.TEXT, color=style.INK, loc="left", pad=3)
        right.set_title(
            f"R-hat {found.rhat[place]:.3f}, ESS {found.ess_bulk[place]:.0f}",
            fontsize=style.SMALL,
            color=style.MUTED,
            loc="right",
            pad=3,
        )
    handles = [
        *(Line2D([], [], color=shade, label=f"chain {c}") for c, shade in enumerate(shades[:8])),
        Patch(color=style.LINES, label=f"{BAND:.0%} band of chains that agree"),
    ]
    style.key(figure, handles, columns=min(n_chains, 8) + 1)
    note = ""
    if len(chosen) < len(names):
        note = f"the log-likelihood, and the largest R-hat of {len(names) - 1} other quantities"
    style.headline(figure, "Traces, and how the ranks of each chain differ from uniform", note)
    return figure


def _quantities(posterior: xr.DataTree) -> tuple[list[str], np.ndarray]:
    """Label-invariant quantities and relabelled parameters, with names as a reader writes them."""
    label_invariant, values = invariants(posterior)
    if read_number(posterior) is not None:
        numbers = ["n_clusters", "n_components", "alpha"]
        there = [name for name in numbers if name in posterior["posterior"]]
        drawn = [posterior["posterior"][name].transpose("chain", "draw") for name in there]
        return label_invariant + there, np.concatenate(
            [values, np.stack([array.to_numpy() for array in drawn], axis=-1)], axis=2
        )
    draws = draws_of(posterior)
    scalars = catalogue(draws.weights.shape[2], feature_names(posterior))
    kept = [place for place, scalar in enumerate(scalars) if scalar.kind != "covariance"]
    names = [name.replace("_", " ") if name == FIRST else name for name in label_invariant]
    names += [scalars[place].name for place in kept]
    return names, np.concatenate([values, flatten(*draws)[..., kept]], axis=2)


def _worst(names: list[str], rhat: np.ndarray) -> list[int]:
    """The log-likelihood first, then what has the largest R-hat; constants never."""
    first = [place for place, name in enumerate(names) if name == FIRST.replace("_", " ")]
    order = np.argsort(-np.nan_to_num(rhat, nan=-1.0, posinf=1e300), kind="stable")
    others = [int(place) for place in order if place not in first and not np.isnan(rhat[place])]
    return (first + others)[:MOST_ROWS]


def _trace(axes: Axes, values: np.ndarray, shades: list) -> None:
    n_draws = values.shape[1]
    shown = np.unique(np.linspace(0, n_draws - 1, min(n_draws, MOST_POINTS)).round().astype(int))
    for chain, shade in zip(values, shades, strict=True):
        axes.plot(shown, chain[shown], color=shade, linewidth=0.6, alpha=0.75, rasterized=True)
    axes.set_xlim(0, n_draws - 1 or 1)


def _rank_difference(axes: Axes, values: np.ndarray, shades: list) -> None:
    """Cumulative share of each chain's ranks minus that of uniform ones."""
    n_chains, n_draws = values.shape
    share = rankdata(values).reshape(values.shape) / values.size
    grid = np.linspace(0, 1, 201)
    # A chain is part of the pool that it is ranked in, which takes away part of its own scatter.
    own = np.sqrt(1 - 1 / n_chains) if n_chains > 1 else 1.0
    alone = [convergence(chain[None, :, None]).ess_bulk[0] for chain in values]
    effective = float(np.nanmean(alone)) if np.isfinite(alone).any() else float(n_draws)
    band = own * float(kstwobign.ppf(BAND)) / np.sqrt(max(effective, 1.0))
    axes.axhspan(-band, band, color=style.LINES, linewidth=0)
    for chain, shade in zip(share, shades, strict=True):
        cumulative = np.searchsorted(np.sort(chain), grid, side="right") / n_draws
        axes.plot(grid, cumulative - grid, color=shade, linewidth=1.1)
    reach = max(1.4 * band, 1.1 * float(np.abs(axes.dataLim.intervaly).max()))
    axes.set_xlim(0, 1)
    axes.set_ylim(-reach, reach)
