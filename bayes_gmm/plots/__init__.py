"""Plots of results: each function returns a matplotlib Figure."""

from bayes_gmm.plots.checks import checks
from bayes_gmm.plots.coclustering import co_clustering
from bayes_gmm.plots.forest import comparison
from bayes_gmm.plots.mixture import mixture
from bayes_gmm.plots.number_of_clusters import number_of_clusters
from bayes_gmm.plots.predictive import predictive
from bayes_gmm.plots.prior import prior
from bayes_gmm.plots.ranks import ranks
from bayes_gmm.plots.selection import selection
from bayes_gmm.plots.trajectory import em_trajectory

__all__ = [
    "checks",
    "co_clustering",
    "comparison",
    "em_trajectory",
    "mixture",
    "number_of_clusters",
    "predictive",
    "prior",
    "ranks",
    "selection",
]
