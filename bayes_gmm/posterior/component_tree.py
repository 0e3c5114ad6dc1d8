r"""Trees of components: which of them make up one cluster, from all apart to all in one.

Several normals may describe one cluster that is not normal. Merging joins two clusters of
components at a time, and the whole tree of mergers is kept. There are two reasons to join.

* Entropy: of all pairs, the one whose joining makes the labels of the rows the most certain,

      ENT = -sum_n w_n sum_c t_nc log t_nc,       t_nc = sum_{k in c} r_nk.

* Modes: the pair between which the density falls the least, as a share of the lower of their two
  peaks. Components whose means climb to the same mode come first: there is no valley between them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import entr

from bayes_gmm.model.density_modes import Modes, log_density_of, precisions, ridgeline
from bayes_gmm.model.parameters import Parameters

N_BETWEEN = 199  # points between two means at which the density is looked at
FEWEST_OF_ELBOW = 4  # components, from which there are two places or more for an elbow


class ComponentTree(NamedTuple):
    """Mergers in order; cluster K + m is made by merger m, as in SciPy's linkages."""

    joined: np.ndarray  # (K - 1, 2), numbers of the two clusters
    height: np.ndarray  # (K - 1,), does not decrease

    @property
    def n_components(self) -> int:
        """K."""
        return len(self.height) + 1

    def labels(self, n_clusters: int) -> np.ndarray:
        """Cluster of each component (K,) where so many are left, numbered by first component."""
        size = self.n_components
        members = [[k] for k in range(size)]
        for one, other in self.joined[: size - n_clusters]:
            members.append(members[one] + members[other])
            members[one] = members[other] = []
        label = np.empty(size, dtype=int)
        for number, cluster in enumerate(sorted(filter(None, members), key=min)):
            label[cluster] = number
        return label

    def linkage(self) -> np.ndarray:
        """The matrix that functions of `scipy.cluster.hierarchy` take, (K - 1, 4)."""
        sizes = [1] * self.n_components
        for one, other in self.joined:
            sizes.append(sizes[one] + sizes[other])
        return np.column_stack([self.joined, self.height, sizes[self.n_components :]])


def joined_greedily(
    n_components: int, gain: Callable[[list[int], list[int]], float]
) -> tuple[np.ndarray, np.ndarray]:
    """Join the two clusters with the largest gain, until one is left.

    Shapes: -> joined (K - 1, 2), gains (K - 1,).
    """
    members = {k: [k] for k in range(n_components)}
    gains = {
        (one, other): gain([one], [other]) for one in range(n_components) for other in range(one)
    }
    joined, gained = [], []
    for number in range(n_components, 2 * n_components - 1):
        best = max(gains, key=lambda pair: gains[pair])
        joined.append(sorted(best))
        gained.append(gains[best])
        merged = members.pop(best[0]) + members.pop(best[1])
        gains = {pair: value for pair, value in gains.items() if not {*pair} & {*best}}
        gains |= {(number, other): gain(merged, own) for other, own in members.items()}
        members[number] = merged
    return np.array(joined, dtype=int).reshape(-1, 2), np.array(gained)


def by_entropy(responsibilities: np.ndarray, times: np.ndarray | None) -> ComponentTree:
    r"""Join clusters so that the entropy of the labels falls the most.

    .. math:: \sum_n w_n \left\{ h(t_{na} + t_{nb}) - h(t_{na}) - h(t_{nb}) \right\},
        \qquad h(t) = t \log t

    The heights are what has been removed of the entropy, in nats.

    Shapes: responsibilities (N, K), times (N,).

    Baudry, Raftery, Celeux, Lo & Gottardo (2010), J. Comput. Graph. Statist. 19.
    """
    weights = np.ones(len(responsibilities)) if times is None else times

    def entropy(cluster: list[int]) -> float:
        return float(weights @ entr(responsibilities[:, cluster].sum(axis=1)))

    def gain(one: list[int], other: list[int]) -> float:
        return entropy(one) + entropy(other) - entropy(one + other)

    joined, gains = joined_greedily(responsibilities.shape[1], gain)
    # Never negative, but for rounding.
    return ComponentTree(joined, np.cumsum(np.maximum(gains, 0.0)))


def entropies(
    tree: ComponentTree, responsibilities: np.ndarray, times: np.ndarray | None
) -> np.ndarray:
    """Entropy of the labels with 1, ..., K clusters of a tree, in nats.

    Shapes: responsibilities (N, K), times (N,) -> (K,).
    """
    weights = np.ones(len(responsibilities)) if times is None else times
    cuts = (tree.labels(n_clusters) for n_clusters in range(1, tree.n_components + 1))
    return np.array([weights @ entr(summed(responsibilities, cut)).sum(axis=1) for cut in cuts])


def summed(responsibilities: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Responsibilities of clusters (N, C) from those of components (N, K) with labels (K,)."""
    return responsibilities @ np.eye(label.max() + 1)[label]


def by_modes(theta: Parameters, modes: Modes) -> ComponentTree:
    r"""Join clusters between which the density falls the least.

    .. math:: 1 - \max_{\text{ways}} \min_{x \text{ on the way}} p(x) \,/\, \min(\text{both peaks})

    The way between two components is the ridgeline between their means, on which all critical
    points of a mixture of the two lie, and from there up to their modes.

    Hennig (2010), Adv. Data Anal. Classif. 4, on ridgelines; Chacón (2019), Adv. Data Anal.
    Classif. 13, on clusters of components with the same mode.
    """
    functions = theta.log_quadratic()
    precision = precisions(functions)
    peak = modes.log_density[modes.of_component]
    size = theta.n_components
    valley = np.full((size, size), np.inf)
    shares = np.linspace(0, 1, N_BETWEEN + 2)
    for one in range(size):
        for other in range(one):
            if modes.of_component[one] != modes.of_component[other]:
                way = ridgeline(
                    theta, precision, (one, other), np.column_stack([1 - shares, shares])
                )
                lowest = log_density_of(functions, way).min()
                valley[one, other] = valley[other, one] = lowest

    def gain(one: list[int], other: list[int]) -> float:
        fall = valley[np.ix_(one, other)].max() - min(peak[one].max(), peak[other].max())
        return float(min(fall, 0.0))

    joined, gains = joined_greedily(size, gain)
    # Adding zero turns -0.0 into 0.0.
    return ComponentTree(joined, np.maximum.accumulate(-np.expm1(gains)) + 0.0)


def elbow(entropy: np.ndarray) -> int | None:
    """Number of clusters at which two lines that meet there fit the entropies (K,) best.

    None with fewer than four components, where there is no choice of a place.

    Baudry et al. (2010); the rule is that of mclust's clustCombiOptim.
    """
    size = len(entropy)
    if size < FEWEST_OF_ELBOW:
        return None
    number = np.arange(1.0, size + 1)

    def misfit(place: int) -> float:
        total = 0.0
        for part in (slice(0, place), slice(place - 1, size)):
            line = np.polyfit(number[part], entropy[part], 1)
            total += float(((np.polyval(line, number[part]) - entropy[part]) ** 2).sum())
        return total

    return min(range(2, size), key=misfit)
