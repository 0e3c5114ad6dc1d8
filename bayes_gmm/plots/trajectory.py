"""The path of EM: the objective, its distance to the maximum, and the optima that were found."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bayes_gmm.errors import InputError
from bayes_gmm.plots import style
from bayes_gmm.results.reading import is_point
from bayes_gmm.results.remarks import how_found

RUN = style.PALETTE[0]
COLLAPSED = style.PALETTE[1]
MOST_OPTIMA = 12


def em_trajectory(point: xr.DataTree) -> Figure:
    """Draw the objective of the best EM run per iteration, the end of every start, and all optima.

    In the middle, the distance to the final value on a log scale: near a maximum it decreases by a
    constant factor per iteration, a straight line whose slope depends on the overlap of the
    components. On the right, if there are several, the optima that were found, each with the number
    of starts that reached it; spurious ones are higher, but are expected to predict worse.

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
        If `point` is not a result of `fit`.
    """
    if not is_point(point) or "objective" not in point["optimizer_result"]:
        raise InputError("point must be a result of bg.fit: only that has an EM trajectory")
    search = point["optimizer_result"].to_dataset()
    estimator = str(point.attrs["estimator"])
    n_panels = 2 if search.sizes["optimum"] == 1 else 3
    figure = style.picture(1.2 + 2.75 * n_panels, 3.5)
    progress, distance, *optima = figure.subplots(1, n_panels)
    _progress(
        progress, search, "log-likelihood" if estimator == "MLE" else "log-likelihood + log prior"
    )
    _distance(distance, search["objective"].to_numpy())
    for axes in optima:
        _optima(axes, search)
    style.headline(figure, f"EM for the {estimator}: {_verdict(search)}")
    handles = [
        Line2D([], [], color=RUN, label="best EM run"),
        Line2D([], [], **_mark("finished"), label="a start's end"),
    ]
    if not (search["start_converged"] | search["start_collapsed"]).all():
        handles.append(Line2D([], [], **_mark("dropped"), label="start not followed further"))
    if search["start_collapsed"].any():
        handles.append(Line2D([], [], **_mark("collapsed"), label="start that collapsed"))
    if search["optimum_spurious"].any():
        handles.append(Line2D([], [], **_mark("spurious"), label="spurious optimum"))
    style.key(figure, handles, columns=5)
    return figure


def _mark(kind: str) -> dict[str, Any]:
    shape, face, edge = {
        "finished": ("o", "#ffffff00", RUN),
        "dropped": ("o", "#ffffff00", style.BAND),
        "collapsed": ("x", COLLAPSED, COLLAPSED),
        "optimum": ("o", RUN, RUN),
        "spurious": ("D", "#ffffff", COLLAPSED),
    }[kind]
    return {
        "marker": shape,
        "markersize": 5.5,
        "markerfacecolor": face,
        "markeredgecolor": edge,
        "markeredgewidth": 1.3,
        "linestyle": "none",
    }


def _progress(axes: Axes, search: xr.Dataset, name: str) -> None:
    """Objective per iteration; very poor beginnings are cut off."""
    objective = search["objective"].to_numpy()
    style.tidy(axes, xlabel="iteration", ylabel=f"{name} [nats]")
    ends, iterations = search["start_objective"].to_numpy(), search["start_iterations"].to_numpy()
    collapsed = search["start_collapsed"].to_numpy().astype(bool)
    finished = search["start_converged"].to_numpy().astype(bool) & ~collapsed
    for kind, chosen in (
        ("dropped", ~finished & ~collapsed),
        ("collapsed", collapsed),
        ("finished", finished),
    ):
        if chosen.any():
            axes.plot(iterations[chosen], ends[chosen], **_mark(kind))
    axes.plot(objective, color=RUN, linewidth=1.6, zorder=3)
    shown = np.concatenate([objective[1:], ends[finished], [np.quantile(ends, 0.1)]])
    top = max(objective[-1], ends[~collapsed].max(initial=objective[-1]))
    span = (top - shown.min()) or 1.0
    axes.set_ylim(shown.min() - 0.08 * span, top + 0.08 * span)
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _distance(axes: Axes, objective: np.ndarray) -> None:
    """Distance of each iteration to the last, on a log scale."""
    gap = objective[-1] - objective[:-1]
    rounding = 8 * np.finfo(float).eps * abs(objective[-1])
    rising = np.flatnonzero(gap > rounding)
    style.tidy(axes, xlabel="iteration", ylabel="distance to the end [nats]")
    if rising.size:
        axes.set_yscale("log")
        axes.plot(rising, gap[rising], color=RUN, linewidth=1.6, marker=".", markersize=4)
        axes.minorticks_off()
    else:
        axes.set_yticks([])
        axes.text(
            0.5,
            0.5,
            "reached in one step",
            ha="center",
            transform=axes.transAxes,
            fontsize=style.TEXT,
            color=style.MUTED,
        )
    axes.set_xlim(-0.5, len(objective) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _optima(axes: Axes, search: xr.Dataset) -> None:
    """Height of each optimum above or below the chosen one, and how many starts reached it."""
    style.tidy(axes, xlabel="starts that reached it", ylabel="height above the chosen [nats]")
    optima = search.isel(optimum=slice(MOST_OPTIMA))
    height = optima["optimum_objective"].to_numpy() - float(search["objective"][-1])
    starts = optima["optimum_starts"].to_numpy()
    spurious = optima["optimum_spurious"].to_numpy().astype(bool)
    axes.axhline(0, color=style.BAND, linewidth=0.8)
    axes.hlines(height, 0, starts, color=style.BAND, linewidth=1)
    for x, y, doubtful in zip(starts, height, spurious, strict=True):
        axes.plot(x, y, **_mark("spurious" if doubtful else "optimum"), clip_on=False)
    axes.set_xlim(0, 1.08 * starts.max(initial=1))
    span = np.ptp(height) or 1.0
    axes.set_ylim(min(height.min(), 0) - 0.1 * span, max(height.max(), 0) + 0.1 * span)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _verdict(search: xr.Dataset) -> str:
    """Say how many starts agree."""
    said = how_found(search)
    spurious = int(search["optimum_spurious"].sum())
    others = search.sizes["optimum"] - 1 - spurious
    said += f", {others} lower optim{'um' if others == 1 else 'a'}" if others else ""
    if spurious:
        said += f", {spurious} spurious rejected"
    return said
