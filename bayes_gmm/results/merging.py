"""What `merge` returns: clusters that are made of several components, and the tree of mergers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.model.density_modes import density_modes
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.component_tree import (
    ComponentTree,
    by_entropy,
    by_modes,
    elbow,
    entropies,
    summed,
)
from bayes_gmm.results.given import known_number
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.predictive import predict, result_weights
from bayes_gmm.results.reading import point_parameters
from bayes_gmm.results.tables import Printed, counted

WAYS = ("entropy", "modes")
HEIGHTS = {
    "entropy": "entropy removed, nats",
    "modes": "valley, share of the lower peak",
}


@dataclass(frozen=True, eq=False, repr=False)
class Mergers(Printed):
    """Components merged into clusters, and the tree of all mergers.

    Attributes
    ----------
    dataset : xarray.Dataset
        ``merged_cluster`` (cluster), the cluster of each component. ``label`` (obs_id) and
        ``responsibilities`` (obs_id, merged_cluster), the most probable cluster of each row and the
        probability of each. ``joined`` (merger, part), ``height`` (merger): the tree, in which
        merger m joins two clusters to cluster K + m. ``entropy`` (n_clusters) of the labels of all
        rows with 1, ..., K clusters. The attributes ``by``, ``n_clusters``, ``n_modes`` and, by
        entropy, ``elbow``.
    """

    dataset: xr.Dataset

    @property
    def n_clusters(self) -> int:
        """Number of clusters after merging."""
        return int(self.dataset.attrs["n_clusters"])

    @property
    def linkage(self) -> np.ndarray:
        """The tree as `scipy.cluster.hierarchy` takes it, (K - 1, 4)."""
        return self._tree.linkage()

    @property
    def _tree(self) -> ComponentTree:
        return ComponentTree(self.dataset["joined"].to_numpy(), self.dataset["height"].to_numpy())

    @property
    def table(self) -> pd.DataFrame:
        """One row per cluster: its components, its weight, and the rows that it is likeliest of."""
        data = self.dataset
        members = data["merged_cluster"].to_numpy()
        times = data["row_weights"].to_numpy() if "row_weights" in data.coords else None
        rows = np.bincount(data["label"].to_numpy(), times, minlength=self.n_clusters)
        return pd.DataFrame(
            {
                "components": [np.flatnonzero(members == c).tolist() for c in range(len(rows))],
                "weight": np.bincount(members, data["weights"].to_numpy()),
                "rows": rows,
            },
            index=pd.RangeIndex(len(rows), name="cluster"),
        )

    @property
    def mergers(self) -> pd.DataFrame:
        """One row per merger, in order: the clusters left, what was joined, and at what height."""
        tree = self._tree
        size = tree.n_components
        members = [[k] for k in range(size)]
        for one, other in tree.joined:
            members.append(sorted(members[one] + members[other]))
        return pd.DataFrame(
            {
                "clusters left": np.arange(size - 1, 0, -1),
                "joined": [members[one] for one, _ in tree.joined],
                "to": [members[other] for _, other in tree.joined],
                HEIGHTS[self.dataset.attrs["by"]]: tree.height,
            }
        )

    @property
    def sentences(self) -> list[str]:
        """The main findings, in words."""
        attrs, size = self.dataset.attrs, self.dataset.sizes["cluster"]
        said = [
            f"{counted(size, 'component')}, merged by {attrs['by']}: "
            f"{counted(self.n_clusters, 'cluster')}."
        ]
        if attrs.get("elbow"):
            said.append(
                f"The entropy of the labels has its elbow at {attrs['elbow']} clusters: mergers "
                "beyond it remove little uncertainty of labels."
            )
        elif attrs["by"] == "entropy" and size > 1:
            said.append(
                "With fewer than four components the entropy has no elbow, so that nothing is "
                "merged unless n_clusters says so."
            )
        modes = attrs["n_modes"]
        said.append(
            f"The density has {counted(modes, 'mode')}"
            + (
                "."
                if modes == size
                else ": components that share a mode overlap without a valley between them."
            )
        )
        return said

    _heading = "Mergers of components"

    def _parts(self, *, html: bool) -> list[Any]:
        clusters = self.table
        written = pd.DataFrame(
            {
                "components": clusters["components"].map(_numbers),
                "weight": clusters["weight"].map("{:.3f}".format),
                "rows": clusters["rows"].map("{:,.0f}".format),
            }
        )
        return [written, *([self._steps()] if len(self._tree.height) else []), self.sentences]

    def _steps(self) -> pd.DataFrame:
        tree = self.mergers
        height = tree.columns[-1]
        return pd.DataFrame(
            {
                "joined": tree["joined"].map(_numbers) + " and " + tree["to"].map(_numbers),
                height: tree[height].map("{:.3g}".format),
            }
        ).set_index(pd.Index(tree["clusters left"], name="clusters left"))


def merge(
    result: xr.DataTree | Parameters,
    X: Any = None,
    *,
    by: str = "entropy",
    n_clusters: int | None = None,
) -> Mergers:
    r"""Merge components into clusters, for clusters that are not normal.

    .. math:: t_{nc} = \sum_{k \in c} P(z_n = k \mid x_n), \qquad
        \mathrm{ENT} = -\sum_n \sum_c t_{nc} \log t_{nc}

    The density stays as it is; only which components make up one cluster changes.

    Parameters
    ----------
    result : DataTree or Parameters
        A point result, a posterior result or parameters. Of a posterior, memberships are averaged
        over the draws, and modes are those of its point estimate; of one with an unknown number of
        components, the draws with the most probable number of clusters are taken, as by `given`.
    X : table, optional
        As in `predict`.
    by : "entropy" or "modes"
        "entropy": join the pair whose joining lowers the entropy of the labels the most, so that
        components between which rows are hardly distinguished come first. "modes": join the pair
        between which the density falls the least, as a share of the lower of their two peaks;
        components whose means climb to the same mode come first, at height 0.
    n_clusters : int, optional
        Where to cut the tree. By default, by entropy, at the elbow: the number of clusters at which
        two straight lines that meet there fit the entropies best; with fewer than four components
        nothing is merged. By modes, at height 0: one cluster for every mode to which means climb.

    Returns
    -------
    Mergers
        Prints as a table; ``.table`` (clusters), ``.mergers`` (the tree), `.linkage` (for SciPy),
        ``.dataset`` (labels and responsibilities of rows among them).

    Raises
    ------
    InputError
        If X does not match the result, there is no such `by`, or `n_clusters` is not between 1 and
        the number of components or, by modes, of modes.

    References
    ----------
    Baudry, Raftery, Celeux, Lo & Gottardo (2010), J. Comput. Graph. Statist. 19; Hennig (2010),
    Adv. Data Anal. Classif. 4; Chacón (2019), Adv. Data Anal. Classif. 13.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> result = bg.fit(bg.datasets.load("faithful"), 3, covariance="EEE", seed=1)
    >>> bg.merge(result, by="modes").table["components"].tolist()
    [[0], [1, 2]]
    """
    if by not in WAYS:
        raise InputError(f"by is {by!r}; choose one of {', '.join(map(repr, WAYS))}")
    result = known_number(result)
    theta = point_parameters(result)
    predicted = predict(result, X)
    shares = predicted["responsibilities"].transpose("obs_id", "cluster").to_numpy()
    times = result_weights(result, X, len(shares))
    modes = density_modes(theta)
    tree = by_modes(theta, modes) if by == "modes" else by_entropy(shares, times)
    entropy = entropies(tree, shares, times)
    attrs = {"by": by, "n_modes": len(modes.points)}
    if by == "modes":
        most = usual = len(np.unique(modes.of_component))
    else:
        bend, most = elbow(entropy), theta.n_components
        usual = bend or most
        attrs |= {} if bend is None else {"elbow": bend}
    size = usual if n_clusters is None else n_clusters
    require_whole("n_clusters", size, 1)
    if size > most:
        what = "component" if by == "entropy" else "mode"
        raise InputError(f"n_clusters is {size}, but there are only {counted(most, what)}")
    member = tree.labels(size)
    merged = summed(shares, member)
    variables = {
        "merged_cluster": member,
        "weights": theta.weights,
        "label": merged.argmax(axis=1),
        "responsibilities": merged,
        "joined": tree.joined,
        "height": tree.height,
        "entropy": entropy,
    }
    dims = {
        "merged_cluster": ("cluster",),
        "label": ("obs_id",),
        "responsibilities": ("obs_id", "merged"),
        "joined": ("merger", "part"),
        "height": ("merger",),
        "entropy": ("n_clusters",),
    }
    dataset = labelled(variables, dims=dims).assign_coords(
        obs_id=predicted["obs_id"], n_clusters=np.arange(1, theta.n_components + 1)
    )
    if times is not None:
        dataset = dataset.assign_coords(row_weights=("obs_id", times))
    return Mergers(dataset.assign_attrs(attrs, n_clusters=size))


def _numbers(components: list[int]) -> str:
    return "+".join(map(str, components))
