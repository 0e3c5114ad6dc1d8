"""How EM climbed: the objective, its distance to the summit, and where every start ended."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_gmm.errors import InputError
from bayes_gmm.results.draws import is_point
from bayes_gmm.results.plots import style

SAME = 1e-6  # nats; starts this close to the best have found the same optimum


def em_trajectory(point: xr.DataTree) -> Figure:
    """Draw the objective of the best start per iteration, and the end of every start.

    On the right, the distance to the final value on a log scale: near a maximum EM approaches it
    by a constant factor per iteration, a straight line whose slope says how much the components
    overlap. Starts that stay far above the others have ended on a lower peak.

    Parameters
    ----------
    point : DataTree
        From `fit`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If it is anything else.
    """
    if not is_point(point) or "optimizer_result" not in point.children:
        raise InputError("point must be a result of bg.fit: only that has an EM trajectory")
    search = point["optimizer_result"].to_dataset()
    objective = search["objective"].to_numpy()
    collapsed = search["start_collapsed"].to_numpy().astype(bool)
    ends = search["start_objective"].to_numpy()[~collapsed]
    iterations = search["start_iterations"].to_numpy()[~collapsed]
    best = objective[-1]
    name = "log-likelihood" if point.attrs["estimator"] == "MLE" else "log-likelihood + log prior"

    figure = style.picture(7.6, 3.6)
    left, right = figure.subplots(1, 2)
    style.tidy(left, xlabel="iteration", ylabel=f"{name} [nats]")
    left.plot(objective, color=style.PALETTE[0], linewidth=1.6)
    left.plot(iterations, ends, **_end())
    left.margins(x=0.04)
    left.xaxis.get_major_locator().set_params(integer=True)

    distance = best - objective[:-1]
    climbing = np.flatnonzero(distance > 0)
    shown = distance[climbing]
    gaps = best - ends
    floor = _floor(shown, gaps)
    style.tidy(right, xlabel="iteration", ylabel="distance to the best [nats]")
    right.set_yscale("log")
    right.axhspan(floor / 2, floor * 4, color=style.LINES, linewidth=0)
    right.plot(climbing, shown, color=style.PALETTE[0], linewidth=1.6)
    right.plot(iterations, np.where(gaps > SAME, gaps, floor * np.sqrt(2)), **_end())
    right.set_ylim(bottom=floor / 2)
    right.margins(x=0.04)
    right.xaxis.get_major_locator().set_params(integer=True)
    right.minorticks_off()

    style.headline(
        figure, f"EM for the {point.attrs['estimator']}: {_verdict(gaps, int(collapsed.sum()))}"
    )
    handles = [
        Line2D([], [], color=style.PALETTE[0], label="best start"),
        Line2D([], [], **_end(), label="where a start ended (gray strip: at the best)"),
    ]
    style.key(figure, handles)
    return figure


def _end() -> dict:
    return {
        "marker": "o",
        "markersize": 6,
        "markerfacecolor": "#ffffff00",
        "markeredgecolor": style.PALETTE[1],
        "markeredgewidth": 1.3,
        "linestyle": "none",
    }


def _floor(distance: np.ndarray, gaps: np.ndarray) -> float:
    """Where a distance of zero is drawn: below all that is larger."""
    positive = np.concatenate([distance, gaps[gaps > SAME]])
    smallest = float(positive.min()) if positive.size else 1.0
    return smallest / 20


def _verdict(gaps: np.ndarray, n_collapsed: int) -> str:
    """Say how many starts agree."""
    n_starts = len(gaps) + n_collapsed
    n_best = int((gaps <= SAME).sum())
    said = f"{n_best} of {n_starts} start{'s' * (n_starts != 1)} reached the best peak"
    lower = len(gaps) - n_best
    said += f", {lower} a lower one" if lower else ""
    return said + (f", {n_collapsed} collapsed" if n_collapsed else "")
