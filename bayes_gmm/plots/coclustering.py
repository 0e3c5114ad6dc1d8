"""Which rows belong together: the co-clustering matrix, its rows in the order of the clusters."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from bayes_gmm.errors import InputError
from bayes_gmm.plots import style
from bayes_gmm.posterior.partition import (
    VariationOfInformation,
    best_partition,
    cluster_mass,
    ordered,
)

MOST_NAMES = 40  # rows whose labels can still be read
MOST_CELLS = 1000  # along an edge; of more rows, neighbors are averaged
MOST_CLUSTERS = 20  # that the plot's own partition is cut into at first
SHADES = LinearSegmentedColormap.from_list("probability", ["white", style.PALETTE[0], style.INK])


def co_clustering(matrix: xr.DataArray, found: xr.Dataset | None = None) -> Figure:
    """Draw the probability that two rows share a component, with a partition's clusters as blocks.

    Uniformly dark blocks on a light background are well-determined clusters. Bands beside a block
    are rows that belong to different clusters in different draws.

    Parameters
    ----------
    matrix : DataArray
        From `co_clustering`.
    found : Dataset, optional
        From `partition`, of the same rows. By default the partition with the smallest expected
        variation of information.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If the arguments are of another kind, or of different rows.
    """
    values, labels = _checked(matrix, found)
    own = cluster_mass(values, labels)[np.arange(len(labels)), labels]
    order = np.lexsort((-own, labels))
    counts = np.bincount(labels)

    figure = style.picture(6.6, 5.8)
    axes = figure.subplots()
    image = axes.imshow(
        _thinned(values[np.ix_(order, order)]),
        cmap=SHADES,
        vmin=0,
        vmax=1,
        extent=(0, len(order), len(order), 0),
        interpolation="nearest",
    )
    start = 0
    for count in counts.tolist():
        block = Rectangle(
            (start, start), count, count, fill=False, edgecolor=style.PALETTE[1], clip_on=False
        )
        axes.add_patch(block)
        block.set_linewidth(1.4)
        start += count
    _name_rows(axes, matrix["obs_id"].to_numpy()[order], counts)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    bar.set_label("probability of sharing a component", fontsize=style.TEXT, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL, labelcolor=style.MUTED, color=style.BAND)
    bar.outline.set_visible(False)
    n_clusters = len(counts)
    style.headline(
        figure,
        f"{len(order):,} rows in {n_clusters} cluster{'s' * (n_clusters != 1)}",
        "rows in the order of the clusters, in each those that belong to it most surely first",
    )
    return figure


def _checked(matrix: xr.DataArray, found: xr.Dataset | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix and the labels of its rows, 0, 1, ... by decreasing size."""
    if not isinstance(matrix, xr.DataArray) or matrix.dims != ("obs_id", "obs_id_bis"):
        raise InputError("matrix must come from bg.co_clustering")
    values = matrix.to_numpy()
    if found is None:
        if len(values) == 1:
            return values, np.zeros(1, dtype=np.intp)
        return values, best_partition(values, VariationOfInformation, (), MOST_CLUSTERS)
    if not isinstance(found, xr.Dataset) or "label" not in found:
        raise InputError("found must come from bg.partition")
    if not np.array_equal(found["obs_id"].to_numpy(), matrix["obs_id"].to_numpy()):
        raise InputError(
            f"found has other rows ({found.sizes['obs_id']:,}) than matrix ({len(values):,}): give "
            "both the same rows"
        )
    return values, ordered(found["label"].to_numpy())


def _thinned(values: np.ndarray) -> np.ndarray:
    """Average neighboring rows, and columns, of a matrix that is finer than a picture."""
    step = -(-len(values) // MOST_CELLS)
    if step == 1:
        return values
    starts = np.arange(0, len(values), step)
    sizes = np.diff(np.append(starts, len(values)))
    sums = np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)
    return sums / np.outer(sizes, sizes)


def _name_rows(axes: Axes, names: np.ndarray, counts: np.ndarray) -> None:
    """Name each row of few; of many, the clusters that are large enough to have a name."""
    style.tidy(axes, grid=None)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.xaxis.set_major_locator(NullLocator())
    if len(names) <= MOST_NAMES:
        axes.set_yticks(np.arange(len(names)) + 0.5, [style.short(str(n), 20) for n in names])
    else:
        ends = np.cumsum(counts)
        large = counts >= 0.03 * len(names)
        axes.set_yticks(
            (ends - counts / 2)[large],
            [f"cluster {k}: {counts[k]:,} rows" for k in np.flatnonzero(large)],
        )
    axes.tick_params(axis="y", length=0, labelcolor=style.INK)
